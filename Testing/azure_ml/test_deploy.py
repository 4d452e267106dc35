"""Making, watching and deleting an endpoint, against a look-alike of Azure Resource Manager on loopback over TLS."""

from __future__ import annotations

import json
import logging
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from doubles.azure_control_plane import BASE, GROUP, LOCATION, SUBSCRIPTION, WORKSPACE, ControlPlane
from doubles.endpoint import EndpointDouble
from doubles.entra import AZURE_VARIABLES, CLIENT_ID, TENANT, EntraDouble
from doubles.fault_server import FaultServer
from doubles.fault_server import status as fault_status
from doubles.truth import GrayRanges
from MedImageParseLib.api import deploy as api
from MedImageParseLib.api import segment as segment_api
from MedImageParseLib.api.deploy import Azure, DeployOptions
from MedImageParseLib.azure.resource_manager import ControlPlaneError, ResourceManager
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import Cancelled, InputError, PartlyDone, UsageError
from MedImageParseLib.profiles.profiles import ProfileStore
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.signin.auth import StaticKey, session_keys

PERSON = "99999999-8888-4777-8666-555555555555"


@pytest.fixture
def plane(tmp_path):
    double = EndpointDouble(GrayRanges({"liver": (90, 110)}))
    with double.serve() as url, ControlPlane(tmp_path, scoring_url=url) as plane:
        yield plane
    session_keys.forget()
    assert plane.errors == []


def azure_for(plane: ControlPlane, cancellation: Cancellation | None = None) -> Azure:
    manager = ResourceManager(StaticKey(plane.token), plane.url, ca_bundle=str(plane.ca_file), cancellation=cancellation)
    return Azure(manager, arm_url=plane.url, prices_url=plane.prices_url, poll_s=0.01)


@pytest.fixture
def azure(plane, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(plane.ca_file))  # for the price list, which takes no profile's certificates
    return azure_for(plane)


OPTIONS = DeployOptions(workspace=WORKSPACE, name="ours")


def deployed(azure: Azure, model: str = "medimageparse3d", options: DeployOptions = OPTIONS):
    return azure.deploy(azure.plan(model, options), options)


@pytest.mark.parametrize("model", ["medimageparse", "medimageparse3d", "medimageinsight", "medimageinsight-onnx"])
def test_a_model_is_deployed_with_traffic_probe_timeout_and_a_profile_that_works(plane, azure, model):
    made = deployed(azure, model)
    endpoint = plane.endpoints["ours"]
    body = endpoint["deployments"]["main"]["body"]["properties"]
    assert body["model"].startswith("azureml://registries/azureml/models/MedImage") and body["model"].split("/")[-1].isdigit()
    assert body["livenessProbe"]["initialDelay"] == "PT10M" and body["environmentVariables"]["WORKER_COUNT"] == "1"
    assert body["requestSettings"]["requestTimeout"] == ("PT180S" if model == "medimageparse3d" else "PT90S")
    assert body["instanceType"] == ("Standard_NC4as_T4_v3" if "insight" in model else "Standard_NC40ads_H100_v5")
    assert endpoint["body"]["properties"]["traffic"] == {"main": 100}
    profile = ProfileStore().get(made.profile)
    assert profile.url == plane.scoring_url and profile.model == model.removesuffix("-onnx") and profile.deployment == "main"
    assert session_keys.recall(made.profile, profile.url) == plane.key
    if "insight" not in model:
        assert "answers" in made.check, made


def test_what_is_agreed_to_names_place_machine_price_and_that_it_bills_while_idle(plane, azure):
    text = " ".join(azure.sentences(azure.plan("medimageparse3d", OPTIONS)))
    for word in (WORKSPACE, LOCATION, "MedImageParse 3D", "Standard_NC40ads_H100_v5", "8.90 USD an hour", "bills while idle",
                 "it takes 40 cores, and 40 of standardNCADSH100v5Family are free"):  # fmt: skip
        assert word in text
    assert not any(request.startswith(("PUT", "POST", "DELETE")) for request in plane.requests)


def test_where_the_price_list_does_not_answer_the_sentence_says_where_to_look(plane, azure):
    plane.prices_down = True
    assert "azure.microsoft.com/pricing" in " ".join(azure.sentences(azure.plan("medimageparse3d", OPTIONS)))


def test_missing_quota_is_told_with_the_numbers_and_nothing_is_made(plane, azure):
    plane.free = {"Standard_NC40ads_H100_v5": 8, "Standard_NC24ads_A100_v4": 0}
    with pytest.raises(UsageError, match=r"needs 40 cores and 8 of standardNCADSH100v5Family are free"):
        azure.plan("medimageparse3d", OPTIONS)
    assert plane.endpoints == {}
    plan = azure.plan("medimageparse3d", replace(OPTIONS, shared_quota=True))
    assert "168 hours" in " ".join(azure.sentences(plan))


def test_the_second_recommended_machine_is_taken_where_only_it_has_quota(plane, azure):
    plane.free = {"Standard_NC40ads_H100_v5": 0, "Standard_NC24ads_A100_v4": 24}
    assert azure.plan("medimageparse", OPTIONS).machine.name == "Standard_NC24ads_A100_v4"


@pytest.mark.parametrize("action", ["workspaces/onlineEndpoints/write", "workspaces/onlineEndpoints/deployments/write"])
def test_a_missing_role_is_named_with_its_scope(plane, azure, action):
    plane.refused.add(action)
    with pytest.raises(ControlPlaneError, match="role Contributor on the resource group") as caught:
        deployed(azure)
    assert GROUP in str(caught.value) and SUBSCRIPTION in str(caught.value) and action in str(caught.value)


def test_a_name_that_somebody_else_has_is_refused_and_theirs_is_not_touched(plane, azure):
    plane.endpoints["ours"] = {"name": "ours", "deployments": {}, "made": "", "state": "Succeeded", "body": {"tags": {"team": "other"}}}
    with pytest.raises(UsageError, match="taken by another endpoint"):
        azure.plan("medimageparse3d", OPTIONS)
    with pytest.raises(UsageError, match="not made by this program"):
        azure.delete("ours", WORKSPACE)
    plane.endpoints.clear()
    plane.taken.add("ours")
    with pytest.raises(ControlPlaneError, match="already taken"):
        deployed(azure)


@pytest.mark.parametrize(
    ("code", "message", "word"),
    [
        ("OutOfCapacity", "No machines are left.", "another region"),
        ("OutOfQuota", "Not enough quota.", "ask for more"),
        ("ResourceNotFound", "Model not found", "--model-version"),
        ("Strange", "Something new", "Something new"),
    ],
)
def test_a_failed_deployment_is_told_with_the_reason_the_log_and_how_to_delete_it_and_is_made_anew_by_the_next_run(
    plane, azure, code, message, word
):
    plane.failure["deployment"] = (code, message)
    with pytest.raises(ControlPlaneError) as caught:
        deployed(azure)
    told = str(caught.value)
    assert word in told and "environment could not be built" in told and "deploy delete ours" in told
    assert [each.state for each in azure.deployments(WORKSPACE)] == ["Failed"]
    plane.failure.clear()
    assert "answers" in deployed(azure).check


@pytest.mark.parametrize("step", range(1, 14))
def test_interrupted_anywhere_the_next_run_goes_on_and_makes_nothing_twice(plane, azure, step):
    cancellation = Cancellation()
    count = 0

    def stop(_stage: str, _done: float, _total: float) -> None:
        nonlocal count
        count += 1
        if count == step:
            cancellation.cancel()

    plane.looks = 2
    first = azure_for(plane, cancellation)
    plan = first.plan("medimageparse3d", OPTIONS)
    try:
        first.deploy(plan, OPTIONS, progress=stop, cancellation=cancellation)
    except Cancelled:
        pass
    plane.finish_all()
    assert "answers" in deployed(azure).check
    puts = [path for path, _ in plane.bodies if path.endswith("/deployments/main")]
    assert len(puts) == 1, "one deployment, whatever happened"
    assert plane.endpoints["ours"]["body"]["properties"]["traffic"] == {"main": 100}


def test_a_run_is_taken_up_while_azure_is_still_at_work(plane, azure):
    plane.looks = 3
    cancellation = Cancellation()
    first = azure_for(plane, cancellation)

    def stop(stage: str, _done: float, _total: float) -> None:
        if stage == "making the deployment":
            cancellation.cancel()

    with pytest.raises(Cancelled):
        first.deploy(first.plan("medimageparse3d", OPTIONS), OPTIONS, progress=stop, cancellation=cancellation)
    looked = 0

    def time_passes(stage: str, _done: float, _total: float) -> None:
        nonlocal looked
        looked += stage == "making the deployment"
        if looked == 3:
            plane.finish_all()

    plan = azure.plan("medimageparse3d", OPTIONS)
    assert plan.exists == "deployment"
    assert "answers" in azure.deploy(plan, OPTIONS, progress=time_passes).check
    assert looked >= 3


def test_an_endpoint_that_does_not_answer_yet_is_kept_and_told(plane, azure):
    plane.scoring_url = "http://127.0.0.1:9/score"
    made = deployed(azure)
    assert made.check == "" and any("costs money" in note for note in made.notes)
    assert ProfileStore().get(made.profile).url == plane.scoring_url


def test_deleting_takes_away_what_is_whole_and_what_is_half_made_and_the_reminder_goes_with_it(plane, azure):
    deployed(azure, options=replace(OPTIONS, delete_by="2099-01-01"))
    assert len(api.reminders()) == 1 and "has cost money since" in api.reminders()[0]
    azure.delete("ours", WORKSPACE)
    assert plane.endpoints == {} and api.reminders() == []
    plane.failure["deployment"] = ("OutOfCapacity", "none")
    with pytest.raises(ControlPlaneError):
        deployed(azure)
    azure.delete("ours", WORKSPACE)
    assert plane.endpoints == {}
    with pytest.raises(UsageError, match="no endpoint 'ours'"):
        azure.delete("ours", WORKSPACE)


def test_a_deletion_that_was_interrupted_is_taken_up_and_a_new_endpoint_waits_for_its_end(plane, azure):
    for go_on in ("delete", "deploy"):
        deployed(azure)
        plane.looks = 5
        cancellation = Cancellation()
        with pytest.raises(Cancelled):
            azure_for(plane, cancellation).delete("ours", WORKSPACE, progress=lambda *_: cancellation.cancel(), cancellation=cancellation)
        assert plane.endpoints["ours"]["state"] == "Deleting"
        looked = 0

        def time_passes(_stage: str, _done: float, _total: float) -> None:
            nonlocal looked
            looked += 1
            if looked == 2:
                plane.finish_all()

        if go_on == "delete":
            azure.delete("ours", WORKSPACE, progress=time_passes)
            assert plane.endpoints == {} and api.reminders() == []
        else:
            plan = azure.plan("medimageparse3d", OPTIONS)
            assert "answers" in azure.deploy(plan, OPTIONS, progress=time_passes).check
            assert plane.endpoints["ours"]["state"] == "Succeeded"


def test_check_reminds_of_what_costs_money_and_of_a_date_that_is_over(plane, azure, monkeypatch, capsys):
    made = deployed(azure, options=replace(OPTIONS, delete_by="2099-01-01"))
    assert plane.endpoints["ours"]["body"]["tags"]["MedImageParse.DeleteBy"] == "2099-01-01"
    assert main(["check", "--profile", made.profile, "--consent"]) == 0
    told = capsys.readouterr()
    assert (
        'warning: The endpoint "ours" (1 x Standard_NC40ads_H100_v5) has cost money since' in told.err and len(told.out.splitlines()) == 1
    )
    (record,) = json.loads((api.configuration_folder() / api.RECORD).read_text())["deployments"]
    record["delete_by"] = "2026-01-01"
    (api.configuration_folder() / api.RECORD).write_text(json.dumps({"deployments": [record]}))
    assert "It was to be deleted by 2026-01-01." in " ".join(segment_api.check(profile=made.profile).warnings)


@pytest.mark.parametrize(("status", "word"), [(500, "failed"), (401, "401"), (404, "404")])
def test_a_probe_that_fails_is_told_and_what_is_made_is_kept(plane, azure, status, word):
    with FaultServer([fault_status(status, "no")] * 60) as server:
        plane.scoring_url = server.url
        made = deployed(azure)
    (note,) = [note for note in made.notes if "costs money" in note]
    assert made.check == "" and word in note and ProfileStore().get(made.profile).url == plane.scoring_url
    assert "ours" in " ".join(api.reminders())


def test_a_key_that_is_to_be_kept_is_in_the_keyring_and_nowhere_else(plane, azure, monkeypatch, capsys, tmp_path):
    kept: dict[tuple[str, str], str] = {}
    package, backends, fail, errors = (
        types.ModuleType(name) for name in ("keyring", "keyring.backends", "keyring.backends.fail", "keyring.errors")
    )
    package.get_keyring = lambda: object()
    package.set_password = lambda service, user, secret: kept.update({(service, user): secret})
    package.get_password = lambda service, user: kept.get((service, user))
    package.delete_password = lambda service, user: kept.pop((service, user))
    fail.Keyring, errors.KeyringError = type("Keyring", (), {}), type("KeyringError", (Exception,), {})
    package.backends, package.errors, backends.fail = backends, errors, fail
    for module in (package, backends, fail, errors):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("MedImageParseLib.cli.deploy.sign_in_to_azure", lambda **_: azure)
    assert main(["deploy", "medimageparse3d", "--name", "ours", "--yes", "--keep-key", "--workspace", WORKSPACE]) == 0
    told = capsys.readouterr()
    assert list(kept.values()) == [plane.key] and ProfileStore().get("ours").key_in_keyring
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert plane.key not in told.out + told.err + written


def test_a_person_is_let_in_once_and_a_refusal_names_the_role_that_may(plane, azure):
    deployed(azure)
    azure.grant("ours", PERSON, WORKSPACE)
    azure.grant("ours", PERSON, WORKSPACE)
    (path,) = plane.assignments
    assert path.startswith(f"{BASE}/onlineEndpoints/ours/providers/Microsoft.Authorization/")
    assert plane.assignments[path]["properties"]["principalId"] == PERSON
    with pytest.raises(UsageError, match="not an object id"):
        azure.grant("ours", "ada@example.org", WORKSPACE)
    plane.refused.add("Microsoft.Authorization/roleAssignments/write")
    with pytest.raises(ControlPlaneError, match="User Access Administrator"):
        azure.grant("ours", PERSON[:-1] + "6", WORKSPACE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "-x"}, "3 to 32 letters"), ({"count": 0}, "1 to 20"), ({"sign_in": "password"}, "not known"), ({"workspace": "ward"}, "no workspace"),
        ({"delete_by": "tomorrow"}, "2026-12-31"), ({"delete_by": "2001-01-01"}, "is over"), ({"model_version": "latest"}, "whole number"),
        ({"instance": "Standard_D2"}, "has no Standard_D2"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_made(plane, azure, change, words):
    with pytest.raises(UsageError, match=words):
        azure.plan("medimageparse3d", replace(OPTIONS, **change))
    assert plane.bodies == []


@pytest.fixture
def command(plane, azure, monkeypatch):
    """The command line, signed in to the look-alike."""
    monkeypatch.setattr("MedImageParseLib.cli.deploy.sign_in_to_azure", lambda **_: azure)
    return main


def test_the_command_line_asks_makes_lists_watches_and_deletes(plane, command, capsys, tmp_path):
    base = ["--workspace", WORKSPACE]
    assert command(["deploy", "medimageparse3d", "--name", "ours", *base]) == 2
    assert "add --yes" in capsys.readouterr().err and plane.bodies == []
    assert command(["deploy", "medimageparse3d", "--name", "ours", "--yes", "--json", *base]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["profile"] == "ours" and made["delete"].startswith("deploy delete ours")
    assert command(["deploy", "list", *base]) == 0
    told = capsys.readouterr()
    assert told.out.split("\t")[:3] == ["ours", "medimageparse3d", "Succeeded"] and "has cost money since" in told.err
    report = tmp_path / "report.json"
    assert command(["deploy", "list", "--report", str(report), *base]) == 0
    assert json.loads(report.read_text())["deployments"][0]["name"] == "ours"
    assert command(["check", "--profile", "ours", "--consent", "--report", str(report)]) == 0
    checked = json.loads(report.read_text())
    assert checked["kind"] is None and checked["model"] == "medimageparse" and "has cost money" in checked["warnings"][0]
    assert command(["deploy", "status", "theirs", "--report", str(report), *base]) == 2
    failure = json.loads(report.read_text())
    assert failure["kind"] == "usage" and failure["exit_status"] == 2 and failure["model"] is None
    capsys.readouterr()
    assert command(["deploy", "status", "ours", "--json", *base]) == 0
    assert json.loads(capsys.readouterr().out)["instance"] == "Standard_NC40ads_H100_v5"
    assert command(["deploy", "logs", "ours", *base]) == 0
    assert "environment could not be built" in capsys.readouterr().out
    assert command(["deploy", "status", "ours", "--quiet", *base]) == 0 and capsys.readouterr().err == ""
    assert command(["deploy", "medimageparse3d", "--name", "ours", "--yes", "--quiet", *base]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("ours\t") and told.err == ""
    assert command(["deploy", "delete", "ours", *base]) == 2
    assert command(["deploy", "delete", "ours", "--yes", *base]) == 0
    assert plane.endpoints == {}
    assert command(["deploy", "status", *base]) == 2


def test_the_whole_way_with_a_service_principal_from_sign_in_to_a_mask_and_away_again(plane, monkeypatch, capsys, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    plane.looks = 0
    monkeypatch.setattr("MedImageParseLib.azure.offers._hourly", lambda *_: None)  # the public price list is not asked by tests
    (tmp_path / "entra").mkdir()
    with EntraDouble(tmp_path / "entra") as entra:
        plane.accepts = lambda header: entra.accepts(header, plane.url)
        for name in AZURE_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AZURE_CLIENT_SECRET", entra.client_secret)
        bundle = tmp_path / "both.pem"
        bundle.write_text(plane.ca_file.read_text() + entra.ca_file.read_text())
        azure = ["--workspace", WORKSPACE, "--method", "environment", "--tenant", TENANT, "--client-id", CLIENT_ID, "--authority", entra.url,
                 "--arm-url", plane.url, "--ca-bundle", str(bundle)]  # fmt: skip
        assert main(["deploy", "medimageparse3d", "--name", "ours", "--yes", *azure]) == 0
        told = capsys.readouterr()
        assert told.out.startswith("ours\tmedimageparse3d\t") and "is listed at https://azure.microsoft.com" in told.err
        image = sitk.GetImageFromArray(np.full((4, 16, 16), 100, np.int16))
        sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
        segment = [
            "segment",
            str(tmp_path / "ct.nii.gz"),
            "--model",
            "medimageparse3d",
            "--prompt",
            "liver",
            "--window",
            "raw",
            "--profile",
            "ours",
        ]
        assert main([*segment, "--consent", "--labels", str(tmp_path / "labels.nii.gz")]) == 0
        assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "labels.nii.gz"))).all()
        assert main(["deploy", "grant", "ours", PERSON, *azure]) == 0 and main(["deploy", "delete", "ours", "--yes", *azure]) == 0
        assert plane.endpoints == {} and api.reminders() == []
        secrets = [*(token.value for token in entra.issued), entra.client_secret, plane.key]
    told = capsys.readouterr()
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert len(secrets) > 2 and not any(secret in told.out + told.err + caplog.text + written for secret in secrets)


def test_no_key_or_token_is_in_any_output_log_or_file(plane, command, capsys, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    assert command(["deploy", "medimageparse3d", "--name", "ours", "--yes", "--workspace", WORKSPACE]) == 0
    command(["deploy", "logs", "ours", "--workspace", WORKSPACE])
    told = capsys.readouterr()
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    for secret in (plane.key, plane.token):
        assert secret not in told.out + told.err + caplog.text + written


@pytest.mark.slow
def test_microsofts_own_sdk_makes_directs_reads_and_deletes_an_endpoint_through_the_look_alike(plane, monkeypatch):
    ml = pytest.importorskip("azure.ai.ml", reason="azure-ai-ml is not installed")
    from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint, Model
    from azure.core.credentials import AccessToken

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(plane.ca_file))

    class Credential:
        def get_token(self, *_scopes, **_options):
            return AccessToken(plane.token, 4102444800)

    cloud = {
        "azure_portal": plane.url, "resource_manager": plane.url, "active_directory": plane.url, "aml_resource_id": plane.url,
        "storage_endpoint": "storage.example", "registry_discovery_endpoint": plane.url,
    }  # fmt: skip
    from azure.ai.ml import _azure_environments

    # The SDK keeps its clouds in the module and its choice in the environment: both are put back afterwards.
    monkeypatch.setattr(_azure_environments, "_environments", {})
    monkeypatch.delenv("AZUREML_CURRENT_CLOUD", raising=False)
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "look-alike")
    client = ml.MLClient(
        Credential(), SUBSCRIPTION, GROUP, WORKSPACE, enable_telemetry=False, cloud="look-alike", cloud_metadata=cloud, logging_enable=False
    )  # fmt: skip
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="theirs", auth_mode="key")).result()
    deployment = ManagedOnlineDeployment(
        name="main", endpoint_name="theirs", model="azureml://registries/azureml/models/MedImageParse3D/versions/6",
        instance_type="Standard_NC40ads_H100_v5", instance_count=1,
    )  # fmt: skip
    client.online_deployments.begin_create_or_update(deployment).result()
    endpoint = client.online_endpoints.get("theirs")
    endpoint.traffic = {"main": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    assert plane.endpoints["theirs"]["body"]["properties"]["traffic"] == {"main": 100}
    assert client.online_endpoints.get_keys("theirs").primary_key == plane.key
    client.online_endpoints.begin_delete("theirs").result()
    assert plane.endpoints == {} and Model is not None


def test_an_endpoint_whose_profile_finds_no_room_is_named_as_made_and_remembered(plane, azure, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise InputError("The profile file profiles.json cannot be written: No space left on device.")

    monkeypatch.setattr(ProfileStore, "add", full)
    with pytest.raises(PartlyDone, match="ours is made and costs money.*No space left.*deploy delete ours") as caught:
        deployed(azure)
    assert caught.value.exit_status == 4 and "ours" in " ".join(api.reminders())


def test_a_note_on_cost_that_finds_no_room_is_said_and_the_profile_is_kept(plane, azure, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(api, "write_atomically", full)
    made = deployed(azure)
    assert any("could not be noted" in note and "No space left" in note for note in made.notes)
    assert ProfileStore().get(made.profile).url == plane.scoring_url
