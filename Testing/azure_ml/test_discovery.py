"""Finding endpoints through a Resource Manager look-alike, with the real azure-identity, and making profiles of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from doubles.entra import AZURE_VARIABLES, CLIENT_ID, TENANT, EntraDouble
from MedImageParseLib.azure.discovery import CLOUDS, FoundEndpoint, discover, make_profile, seconds_of
from MedImageParseLib.azure.resource_manager import ControlPlaneError, ResourceManager, arm_scope
from MedImageParseLib.cli.main import main, run_command
from MedImageParseLib.errors import Cancelled, UsageError
from MedImageParseLib.models import recognize_model
from MedImageParseLib.profiles.profiles import ProfileStore
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.signin.entra import EntraOptions
from MedImageParseLib.signin.methods import entra_session, make_auth, sign_out
from MedImageParseLib.transport.client import EndpointClient

LIBRARY = Path(make_auth.__code__.co_filename).parents[2]
REGISTRY = "azureml://registries/azureml/models"


def deployed(model: str | None, **properties) -> dict:
    return {
        "properties": {"provisioningState": "Succeeded", "endpointComputeType": "Managed"}
        | ({"model": model} if model else {})
        | properties
    }


def endpoint(
    mode: str, traffic: dict[str, int], deployments: dict[str, dict], url: str = "https://e.inference.ml.azure.com/score", **node
) -> dict:
    properties = {"authMode": mode, "provisioningState": "Succeeded", "scoringUri": url, "traffic": traffic}
    return {"properties": properties, "deployments": deployments, **node}


@pytest.fixture
def azure(tmp_path, monkeypatch):
    """Two subscriptions that may be read and one that may not, with endpoints of every sign-in mode."""
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    sign_out()
    with EntraDouble(tmp_path) as double:
        score = f"{double.url}/score"
        monkeypatch.setenv("AZURE_CLIENT_SECRET", double.client_secret)
        hospital = {
            "parse": endpoint("Key", {"blue": 100}, {"blue": deployed(f"{REGISTRY}/MedImageParse/versions/17")}, score),
            "parse3d": endpoint("AMLToken", {"v6": 100, "old": 0}, {
                "old": deployed(f"{REGISTRY}/MedImageParse3D/versions/2"),
                "v6": deployed(f"{REGISTRY}/MedImageParse3D/versions/6", requestSettings={"requestTimeout": "PT3M"}),
            }, score),
            "insight": endpoint("AADToken", {}, {"green": deployed("/subscriptions/s1/x/models/MedImageInsight/versions/13")}, score),
            "custom": endpoint("Key", {"c": 100}, {"c": deployed(None)}),
            "making": endpoint("Key", {}, {}, ""),
        }  # fmt: skip
        double.tree = {
            "s1": {"name": "Radiology", "workspaces": {
                "hospital": {"onlineEndpoints": hospital}, "closed": {"forbidden": True}, "empty": {},
            }},
            "s2": {"name": "Finance", "forbidden": True},
            "s3": {"name": "Research", "workspaces": {"lab": {"onlineEndpoints": {"both": endpoint("Key", {"a": 50, "b": 50}, {
                "a": deployed(f"{REGISTRY}/MedImageParse/versions/17"), "b": deployed(f"{REGISTRY}/MedImageInsight/versions/13"),
            })}}}},
        }  # fmt: skip
        yield double
    sign_out()
    assert double.errors == []


def options_for(azure: EntraDouble) -> EntraOptions:
    return EntraOptions("environment", TENANT, CLIENT_ID, azure.url, True, str(azure.ca_file))


@pytest.fixture
def manager(azure) -> ResourceManager:
    auth = entra_session(options_for(azure)).auth(arm_scope(azure.url))
    return ResourceManager(auth, azure.url, ca_bundle=str(azure.ca_file))


def made(manager: ResourceManager, azure: EntraDouble, name: str, deployment: str = ""):
    found = {item.name: item for item in discover(manager).endpoints}[name]
    chosen = next((item for item in found.deployments if item.name == deployment), None)
    return make_profile(manager, found, chosen, options=options_for(azure), arm_url=azure.url)


@pytest.mark.parametrize(
    ("model_id", "model"),
    [
        (f"{REGISTRY}/MedImageParse/versions/17", "medimageparse"),
        (f"{REGISTRY}/MedImageParse3D/versions/6", "medimageparse3d"),
        (f"{REGISTRY}/MedImageInsight/versions/13", "medimageinsight"),
        ("azureml://registries/azureml/models/medimageparse3d/labels/latest", "medimageparse3d"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/models/MedImageParse-3D-prostate/versions/1",
         "medimageparse3d"),
        ("/subscriptions/s/resourceGroups/medimageparse3d/providers/P/workspaces/w/models/MedImageParse_tuned/versions/3", "medimageparse"),
        ("azureml:MedImageParse:17", "medimageparse"),
        ("azureml:MedImageParse3D:3", "medimageparse3d"),
        ("azureml:3d-copy-of-MedImageParse:1", ""),
        ("azureml:MedImageParse-then-3D:1", ""),
        ("azureml:MedImageParse-and-MedImageInsight:1", ""),
        (f"{REGISTRY}/BiomedParse/versions/1", ""),
        (f"{REGISTRY}/CxrReportGen/versions/1", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_model_is_recognized_by_its_name_and_the_2d_and_3d_ones_are_not_confused(model_id, model):
    assert recognize_model(model_id) == model


def test_every_endpoint_that_may_be_seen_is_found_across_pages(azure, manager):
    azure.page_size = 1
    found = discover(manager)
    rows = [
        (e.subscription, e.workspace, e.name, e.sign_in, d.name, d.model, d.traffic)
        for e in found.endpoints
        for d in e.deployments or [None]
        if d
    ]
    assert rows == [
        ("Radiology", "hospital", "parse", "key", "blue", "medimageparse", 100),
        ("Radiology", "hospital", "parse3d", "aml-token", "old", "medimageparse3d", 0),
        ("Radiology", "hospital", "parse3d", "aml-token", "v6", "medimageparse3d", 100),
        ("Radiology", "hospital", "insight", "entra", "green", "medimageinsight", 0),
        ("Radiology", "hospital", "custom", "key", "c", "", 100),
        ("Research", "lab", "both", "key", "a", "medimageparse", 50),
        ("Research", "lab", "both", "key", "b", "medimageinsight", 50),
    ]
    assert [token.audience for token in azure.issued] == [azure.url], "one token, for Resource Manager only"


def test_what_may_not_be_read_becomes_a_sentence_and_stops_nothing_else(manager):
    warnings = discover(manager).warnings
    assert len(warnings) == 2
    assert "workspaces of subscription s2" in warnings[0] and "Microsoft.MachineLearningServices/workspaces/read" in warnings[0]
    assert "endpoints of workspace closed" in warnings[1] and "onlineEndpoints/read" in warnings[1]
    assert "ada@example.org" not in "".join(warnings)


def test_one_subscription_alone_can_be_looked_into(azure, manager):
    assert [item.name for item in discover(manager, subscription="s3").endpoints] == ["both"]
    assert "GET /subscriptions" not in azure.requests
    with pytest.raises(ControlPlaneError, match="may not read the workspaces of subscription s2"):
        discover(manager, subscription="s2")
    with pytest.raises(UsageError, match="is not a subscription id"):
        discover(manager, subscription="../../tenants")


def test_a_person_without_subscriptions_is_told_so(azure, manager):
    azure.tree = {}
    with pytest.raises(ControlPlaneError, match="signed in, but you can see no Azure subscription.*--tenant"):
        discover(manager)


def test_a_list_that_continues_at_another_host_is_not_followed(azure, manager):
    azure.page_size, azure.next_host = 1, "https://localhost:1"
    with pytest.raises(ControlPlaneError, match="continues at another host"):
        discover(manager)
    azure.next_host = azure.url.replace("https", "http")
    with pytest.raises(ControlPlaneError, match="continues at another host"):
        discover(manager)


def test_a_busy_resource_manager_is_asked_again_and_a_broken_one_is_told(azure, manager):
    azure.arm_failures = [429, 503]
    assert len(discover(manager).endpoints) == 6
    azure.arm_failures = [503, 503, 503]
    with pytest.raises(ControlPlaneError, match="failed with status 503") as caught:
        discover(manager)
    assert caught.value.status == 503
    azure.arm_failures = [302]
    with pytest.raises(ControlPlaneError, match="sent the request for subscriptions elsewhere, which is not followed"):
        discover(manager)


def test_a_refused_sign_in_is_renewed_once_and_then_told(azure, manager):
    azure.arm_failures = [401]
    assert len(discover(manager).endpoints) == 6
    assert len(azure.issued) == 2
    azure.arm_failures = [401, 401, 401]
    with pytest.raises(ControlPlaneError, match="does not accept the sign-in") as caught:
        discover(manager)
    assert caught.value.status == 401


def test_a_resource_manager_that_is_not_trusted_or_not_there_is_told_apart(azure, manager):
    auth = entra_session(options_for(azure)).auth(arm_scope(azure.url))
    with pytest.raises(ControlPlaneError, match="certificate of 127.0.0.1 is not trusted"):
        discover(ResourceManager(auth, azure.url))
    with pytest.raises(ControlPlaneError, match="127.0.0.1 cannot be reached"):
        discover(ResourceManager(auth, "https://127.0.0.1:9"))
    with pytest.raises(UsageError, match="has to begin with https://"):
        ResourceManager(auth, azure.url.replace("https", "http"))


def test_looking_can_be_cancelled(azure, manager):
    cancellation = Cancellation()
    with pytest.raises(Cancelled):
        discover(manager, progress=lambda stage, done, total: cancellation.cancel(), cancellation=cancellation)


def test_a_profile_with_a_key_is_made_in_a_step_and_opens_the_endpoint(azure, manager, tmp_path):
    result = made(manager, azure, "parse")
    profile = result.profile
    assert (profile.name, profile.model, profile.deployment, profile.sign_in) == ("parse", "medimageparse", "blue", "key")
    assert result.key == azure.endpoint_key and result.notes == []
    ProfileStore(tmp_path).add(profile)
    assert azure.endpoint_key not in f"{result!r}" + (tmp_path / "profiles.json").read_text()
    with EndpointClient(profile.url, auth=make_auth(ProfileStore(tmp_path).get("parse")), ca_bundle=profile.ca_bundle) as client:
        assert client.send(b"{}").status == 200


@pytest.mark.parametrize(("name", "sign_in", "how"), [("parse3d", "aml-token", "aml-token"), ("insight", "entra", "client_credentials")])
def test_a_profile_with_tokens_is_made_in_a_step_and_opens_the_endpoint(azure, manager, name, sign_in, how):
    result = made(manager, azure, name)
    assert (result.profile.sign_in, result.key) == (sign_in, "")
    with EndpointClient(result.profile.url, auth=make_auth(result.profile), ca_bundle=result.profile.ca_bundle) as client:
        assert client.send(b"{}").status == 200
    assert (azure.issued[-1].how, azure.issued[-1].audience) == (how, "https://ml.azure.com")


def test_a_profile_takes_the_deployment_with_the_traffic_and_its_longer_timeout(azure, manager):
    azure.tree["s1"]["workspaces"]["hospital"]["onlineEndpoints"]["parse3d"]["deployments"]["v6"]["properties"]["requestSettings"] = {
        "requestTimeout": "PT5M"
    }
    assert (made(manager, azure, "parse3d").profile.deployment, made(manager, azure, "parse3d").profile.reply_timeout_s) == ("v6", 310.0)
    assert (made(manager, azure, "parse3d", "old").profile.deployment, made(manager, azure, "parse3d", "old").profile.reply_timeout_s) == (
        "old",
        190.0,
    )


def test_a_deployment_with_azures_own_short_timeout_is_warned_about(azure, manager):
    deployments = azure.tree["s1"]["workspaces"]["hospital"]["onlineEndpoints"]["parse"]["deployments"]
    deployments["blue"]["properties"]["requestSettings"] = {"requestTimeout": "PT5S"}
    assert 'gives up on a request to "blue" after 5 s' in made(manager, azure, "parse").notes[0]


def test_two_deployments_that_share_the_traffic_need_a_choice(azure, manager):
    with pytest.raises(UsageError, match=r"several deployments \(a, b\): say which one"):
        made(manager, azure, "both")
    assert made(manager, azure, "both", "b").profile.model == "medimageinsight"


def test_a_key_that_may_not_be_read_leaves_a_profile_without_and_a_sentence(azure, manager):
    azure.tree["s1"]["workspaces"]["hospital"]["onlineEndpoints"]["parse"]["keys_forbidden"] = True
    result = made(manager, azure, "parse")
    assert result.key == "" and result.profile.url == f"{azure.url}/score"
    assert "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listkeys/action" in result.notes[0]
    with pytest.raises(UsageError, match="asks for a key and none was given"):
        make_auth(result.profile)


def test_an_unknown_model_is_said_and_an_endpoint_in_the_making_is_refused(azure, manager):
    assert made(manager, azure, "custom").profile.model == ""
    assert "cannot be told" in made(manager, azure, "custom").notes[0]
    with pytest.raises(UsageError, match="has no URL yet"):
        made(manager, azure, "making")


def test_an_id_that_would_leave_resource_manager_is_refused(manager):
    for bad in ("https://evil.example/x", "/subscriptions/../tenants", "/subscriptions/s?x=", "//evil.example/subscriptions", "/tenants/t"):
        with pytest.raises(UsageError, match="has to look like /subscriptions/"):
            manager.endpoint_key(bad)
    with pytest.raises(UsageError):
        make_profile(manager, FoundEndpoint("x", "w", "s", "l", "/tenants/t", "https://e.example/score", "key", ""))


def test_durations_of_azure_are_understood():
    assert [seconds_of(text) for text in ("PT5S", "PT1M30S", "PT3M", "PT1H", "P1D", "", "PT")] == [5, 90, 180, 3600, 0, 0, 0]


def test_every_cloud_has_its_own_sign_in_host_control_plane_and_scope():
    from MedImageParseLib.signin.entra import KNOWN_AUTHORITIES

    for name in ("authority", "arm_url", "scope"):
        assert len({getattr(cloud, name) for cloud in CLOUDS.values()}) == len(CLOUDS)
    assert {cloud.authority for cloud in CLOUDS.values()} - {""} <= KNOWN_AUTHORITIES


# -- the command --------------------------------------------------------------------------------------------------------------------


def command(azure: EntraDouble, *more: str) -> list[str]:
    return [
        "discover", "--method", "environment", "--tenant", TENANT, "--client-id", CLIENT_ID, "--authority", azure.url,
        "--arm-url", azure.url, "--ca-bundle", str(azure.ca_file), *more,
    ]  # fmt: skip


def test_the_command_lists_a_line_a_deployment_and_warns_on_stderr(azure, capsys):
    assert main(command(azure)) == 0
    told = capsys.readouterr()
    lines = [line.split("\t") for line in told.out.splitlines()]
    assert [line[:3] for line in lines[:3]] == [
        ["parse/blue", "medimageparse", "key"],
        ["parse3d/old", "medimageparse3d", "aml-token"], ["parse3d/v6", "medimageparse3d", "aml-token"],
    ]  # fmt: skip
    assert lines[4][:2] == ["custom/c", "unknown: probe it with `medimageparse check`"]
    assert told.err.count("warning: ") == 2
    assert main(command(azure, "--json", "--quiet")) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)["endpoints"]) == 6 and told.err == ""


def test_the_command_saves_profiles_that_work_and_shows_no_secret(azure, capsys, caplog, tmp_path):
    caplog.set_level("DEBUG")
    assert main(command(azure, "--save", "parse", "parse3d/old")) == 0
    told = capsys.readouterr()
    assert [line.split("\t")[:2] for line in told.out.splitlines()] == [["parse", "medimageparse"], ["parse3d", "medimageparse3d"]]
    store = ProfileStore()
    assert store.get("parse3d").deployment == "old"
    for name in ("parse", "parse3d"):
        profile = store.get(name)
        with EndpointClient(profile.url, auth=make_auth(profile), ca_bundle=profile.ca_bundle) as client:
            assert client.send(b"{}").status == 200
    everywhere = told.out + told.err + caplog.text + store.path.read_text()
    assert not any(secret in everywhere for secret in azure.all_secrets)
    assert main(command(azure, "--save", "parse")) == 2
    assert "There is already a profile" in capsys.readouterr().err
    assert main(command(azure, "--save", "parse", "--replace")) == 0


def test_the_command_tells_what_it_cannot_find(azure, capsys, monkeypatch):
    for name, sentence in (
        ("nothing", 'no endpoint "nothing"'),
        ("parse/red", 'no deployment "red": it has blue'),
        ("making", "has no URL yet"),
    ):
        assert main(command(azure, "--save", name)) == 2
        assert sentence in capsys.readouterr().err
    assert ProfileStore().path.exists() is False
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    sign_out()
    assert main(command(azure)) == 3
    told = capsys.readouterr()
    assert told.err.startswith("error: Microsoft Entra refused the sign-in") and told.err.count("\n") == 1 and told.out == ""


def test_an_interrupt_stops_the_command_before_azure_is_asked(azure):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        run_command(command(azure), cancellation)
    assert not azure.requests


def test_the_command_shows_the_device_code_on_stderr_even_when_quiet(azure, capsys):
    azure.pending_polls = 0
    assert main([*command(azure, "--quiet", "--json"), "--method", "device-code"]) == 0
    told = capsys.readouterr()
    assert "open https://login.example/device in a browser and enter the code F9K2PWXYZ" in told.err
    json.loads(told.out)


def test_no_process_of_a_sign_in_carries_a_secret_in_its_arguments(azure, monkeypatch):
    """A discovery in a process of its own, its arguments and those of its children looked at until it ends."""
    import psutil

    code = "import sys; from MedImageParseLib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    monkeypatch.setenv("PYTHONPATH", str(LIBRARY))
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", azure.endpoint_key)
    seen = ""
    with subprocess.Popen(
        [sys.executable, "-c", code, *command(azure, "--save", "parse")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                for running in [watched, *watched.children(recursive=True)]:
                    seen += " ".join(running.cmdline())
            except psutil.NoSuchProcess:
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "discover" in seen
    leaked = [secret for secret in azure.all_secrets if secret in seen or secret.encode() in out + err]
    assert leaked == []
