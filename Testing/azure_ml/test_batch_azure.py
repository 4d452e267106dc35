"""Many cases through an Azure ML batch endpoint: exported, run on by a look-alike on loopback, and back on each case's own grid."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from doubles.azure_batch import SAS, BatchPlane
from doubles.azure_control_plane import BASE, GROUP, SUBSCRIPTION, WORKSPACE
from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges
from MedImageParseLib import segment
from MedImageParseLib.api.batch_azure import batch_export_azure, batch_import_azure, batch_submit_azure
from MedImageParseLib.azure.batch_jobs import BatchEndpoint
from MedImageParseLib.azure.resource_manager import ResourceManager
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import Cancelled, EndpointError, InputError, UsageError
from MedImageParseLib.profiles.profiles import Profile, ProfileStore
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.signin.auth import StaticKey

pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is not installed")

GRAYS = {"cube": (90, 110), "bar": (190, 210)}
PROMPTS = "cube & bar & unicorn"


def phantom(number: int) -> np.ndarray:
    voxels = np.full((4, 24, 30), 10, np.uint8)
    voxels[1:3, 3:9, 4 + number : 12 + number] = 100
    voxels[2:4, 12:18, 2:22] = 200
    return voxels


@pytest.fixture
def images(tmp_path) -> Path:
    """Three oblique volumes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        image = sitk.GetImageFromArray(phantom(number))
        image.SetSpacing((0.7, 0.8, 2.5))
        image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
        sitk.WriteImage(image, str(folder / f"case{number}.nii.gz"))
    return folder


@pytest.fixture
def plane(tmp_path):
    double = EndpointDouble(GrayRanges(GRAYS))
    with BatchPlane(tmp_path, model=double.answer) as plane:
        yield plane
    assert plane.errors == []


def endpoint_of(plane: BatchPlane) -> BatchEndpoint:
    manager = ResourceManager(StaticKey(plane.token), plane.url, ca_bundle=str(plane.ca_file))
    scoring, where = StaticKey(plane.token), f"{BASE}/batchEndpoints/ours"
    return BatchEndpoint(
        manager, where, scoring, ca_bundle=str(plane.ca_file), poll_s=0.01, account_url=lambda _account, _endpoint: f"{plane.url}/storage"
    )


def labels_of(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def lines_of(folder: Path) -> dict[str, dict]:
    return {line["id"]: line for line in map(json.loads, (folder / "batch.jsonl").read_text().splitlines())}


@pytest.mark.parametrize("model", ["medimageparse3d", "medimageparse"])
def test_cases_go_through_the_endpoint_and_come_back_on_their_own_grids(images, plane, tmp_path, model):
    more = {"slices": "2:3", "window": "raw", "orient": "radiological"} if model == "medimageparse" else {"slabs": "none", "window": "raw"}
    export = tmp_path / "export"
    if model == "medimageparse":  # a map of 1024x1024 for each prompt and slice takes its time
        (images / "case0.nii.gz").unlink()
    made = batch_export_azure(images, PROMPTS, output_dir=export, model=model, **more)
    count = len(list(images.iterdir()))
    assert made.done == made.rows == count
    predictions = batch_submit_azure(export, endpoint_of(plane))
    result = batch_import_azure(export, predictions, write="labels,statistics")
    assert (result.done, result.failed, result.failure) == (count, 0, "")
    for number in (2,):
        labels = labels_of(export / "results" / f"case{number}_labels.nii.gz")
        # The same masks as when the model answers one image after the other.
        online = segment(images / f"case{number}.nii.gz", PROMPTS, model=model, client=EndpointDouble(GrayRanges(GRAYS)).client(), **more)
        assert np.array_equal(labels, online.labels()[0])
        if model == "medimageparse3d":
            assert np.array_equal(labels, (phantom(number) == 100) + 2 * (phantom(number) == 200))
    line = lines_of(export / "results")["case1"]
    assert (
        line["state"] == "done"
        and [Path(path).name for path in line["outputs"]] == ["case1_labels.nii.gz", "case1_statistics.csv"]
        and len(line["fingerprint"]) == 32
    )
    assert [(one["name"], one["found"]) for one in line["prompts"]] == [("cube", True), ("bar", True), ("unicorn", False)]
    assert line["prompts"][1]["mean"] == 200
    assert "case1,done,cube,cube" in (export / "results" / "batch.csv").read_text()


def test_the_files_are_what_microsofts_notebook_writes(images, tmp_path):
    batch_export_azure(images, PROMPTS, output_dir=tmp_path / "export", model="medimageparse3d", rows_per_file=2)
    assert sorted(path.name for path in (tmp_path / "export").glob("*.csv")) == ["batch_input_001.csv", "batch_input_002.csv"]
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: nobody to compare with")
    table = pandas.read_csv(tmp_path / "export" / "batch_input_001.csv", index_col=0)
    assert list(table.columns) == ["image", "text"] and list(table.index) == [0, 1] and table.text[1] == PROMPTS
    assert not any(b"images" in path.read_bytes() for path in (tmp_path / "export").glob("*.csv"))


def test_a_row_that_failed_costs_its_case_only_and_is_named(images, plane, tmp_path, capsys):
    batch_export_azure(images, PROMPTS, output_dir=tmp_path / "export", model="medimageparse3d", rows_per_file=1)
    plane.failing.add(("batch_input_002.csv", 0))
    predictions = batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    status = main(["batch", "import-azure", str(tmp_path / "export"), str(predictions), "--output-dir", str(tmp_path / "out"), "--quiet"])
    assert status == 4
    said = capsys.readouterr()
    assert "2 cases done, 1 failed" in said.out and "no line for row 0 of batch_input_002.csv" in said.err and said.err.count("\n") == 1
    lines = lines_of(tmp_path / "out")
    assert (lines["case1"]["state"], lines["case1"]["kind"]) == ("failed", "endpoint") and lines["case0"]["state"] == "done"
    assert (tmp_path / "out" / "case0.seg.nrrd").exists() and not (tmp_path / "out" / "case1.seg.nrrd").exists()


def test_an_image_that_changed_since_the_export_is_not_given_anothers_masks(images, plane, tmp_path):
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d")
    predictions = batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    sitk.WriteImage(sitk.GetImageFromArray(phantom(5)), str(images / "case2.nii.gz"))
    result = batch_import_azure(tmp_path / "export", predictions)
    assert result.errors == {"case2": "The image has changed since it was exported; export it again."} and result.done == 2


def test_a_picture_goes_as_it_is_and_a_table_names_prompts_of_its_own(plane, tmp_path):
    pixels = np.full((40, 60), 10, np.uint8)
    pixels[5:20, 10:40] = 100
    Image.fromarray(pixels).save(tmp_path / "xray.png")
    (tmp_path / "cases.csv").write_text("id,image,prompt\na,xray.png,cube\nb,xray.png,bar & cube\n")
    batch_export_azure(tmp_path / "cases.csv", output_dir=tmp_path / "export", model="medimageparse")
    predictions = batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    batch_import_azure(tmp_path / "export", predictions, write=["labels"])
    for name, value in (("a", 1), ("b", 2)):
        labels = labels_of(tmp_path / "export" / "results" / f"{name}_labels.nii.gz")[0]
        assert set(np.unique(labels)) == {0, value} and abs(np.count_nonzero(labels) - 450) < 60


def test_an_interrupted_watch_goes_on_with_the_same_job(images, plane, tmp_path):
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d")
    plane.job_looks = 3
    cancellation = Cancellation()

    def stop(stage: str, _done: float, _total: float) -> None:
        if stage == "job running":
            cancellation.cancel()

    with pytest.raises(Cancelled):
        batch_submit_azure(tmp_path / "export", endpoint_of(plane), progress=stop, cancellation=cancellation)
    batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    assert len(plane.jobs) == 1 and sum(request.startswith("PUT blob") for request in plane.requests) == 1


def test_a_job_that_failed_is_one_sentence_and_the_next_call_starts_another(images, plane, tmp_path):
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d")
    plane.job_end = "Failed"
    with pytest.raises(EndpointError, match="ended as failed") as caught:
        batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    assert "sig=" not in str(caught.value)
    plane.job_end = "Completed"
    batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    assert len(plane.jobs) == 2


@pytest.mark.parametrize("through_a_link", [False, True])
def test_results_never_replace_an_image_of_another_case(images, plane, tmp_path, through_a_link):
    sitk.WriteImage(sitk.GetImageFromArray(phantom(7)), str(images / "case0_labels.nii.gz"))
    before = (images / "case0_labels.nii.gz").read_bytes()
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d")
    predictions = batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    target = images
    if through_a_link:
        target = tmp_path / "link"
        target.symlink_to(images, target_is_directory=True)
    with pytest.raises(UsageError, match="would replace"):
        batch_import_azure(tmp_path / "export", predictions, output_dir=target, write="labels")
    assert (images / "case0_labels.nii.gz").read_bytes() == before and not (images / "batch.jsonl").exists()


def test_no_secret_is_in_the_export(images, plane, tmp_path):
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d")
    batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    everything = b"".join(path.read_bytes() for path in (tmp_path / "export").rglob("*") if path.is_file())
    assert plane.token.encode() not in everything and SAS.encode() not in everything and b"c2VjcmV0" not in everything


@pytest.mark.parametrize(
    "text",
    [
        "", "a,b\n", '0,"{""data"": ""AAAA""}",nowhere.csv\n', "0,__import__('os').system('x'),batch_input_001.csv\n", "\x00\n",
        "\u00b2,{},batch_input_001.csv\n",
    ],
)  # fmt: skip
def test_predictions_of_something_else_are_one_sentence_and_nothing_is_written(images, tmp_path, text):
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d", rows_per_file=1)
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(InputError, match="predictions") as caught:
        batch_import_azure(tmp_path / "export", tmp_path / "predictions.csv", output_dir=tmp_path / "out")
    assert "\n" not in str(caught.value) and not list((tmp_path / "out").glob("*.*"))


def test_a_cell_that_is_no_answer_fails_its_case_and_is_not_evaluated(images, plane, tmp_path):
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d", rows_per_file=1)
    predictions = batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    lines = list(csv.reader(predictions.open()))
    lines[0][1] = "{'data': __import__('os').getcwd()}"
    with predictions.open("w") as file:
        csv.writer(file).writerows(lines)
    result = batch_import_azure(tmp_path / "export", predictions)
    assert result.failed == 1 and result.done == 2


def _set(part: str, **values):
    def change(export: dict) -> None:
        entry = export["cases"][0]
        {"case": entry["case"], "entry": entry, "row": entry["rows"][0], "export": export, "settings": export["settings"]}[part].update(
            values
        )

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("case", id="../../elsewhere/x"), _set("case", id="/elsewhere/x"), _set("case", id=".."), _set("case", place="../elsewhere"),
        _set("case", place="/elsewhere"), _set("case", id=5), _set("case", id="a\0b"), _set("case", input=None), _set("case", frame="x"),
        _set("case", more=1), _set("row", row="0"), _set("row", text=1), _set("row", file="other.csv"), _set("entry", rows=[1]),
        _set("entry", content=1), _set("export", cases=[1]), _set("export", files=[1]), _set("export", files=["key.txt"]),
        _set("settings", texts=[1]), _set("settings", model="x"), _set("settings", folder="/elsewhere"), lambda export: export.clear(),
    ],
)  # fmt: skip
def test_an_export_that_somebody_else_wrote_cannot_name_files_beside_the_results(images, tmp_path, change):
    folder, elsewhere = tmp_path / "export", tmp_path / "elsewhere"
    elsewhere.mkdir()
    batch_export_azure(images / "case0.nii.gz", "cube", output_dir=folder, model="medimageparse3d")
    export = json.loads((folder / "export.json").read_text())
    change(export)
    (folder / "export.json").write_text(json.dumps(export).replace('"/elsewhere', f'"{elsewhere}'))
    inner = json.dumps({"data": "AAAA"}).replace('"', '""')
    (tmp_path / "predictions.csv").write_text(f'0,"{inner}",batch_input_001.csv\n')
    with pytest.raises(InputError, match="damaged"):
        batch_import_azure(folder, tmp_path / "predictions.csv", output_dir=tmp_path / "out")
    assert not list(elsewhere.iterdir()) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export-azure", "IMAGES", "--model", "medimageparse3d", "--output-dir", "NEW"], "Say what to look for"),
        (["export-azure", "IMAGES", "--model", "medimageparse3d", "--prompt", "cube", "--output-dir", "IMAGES"], "is not empty"),
        (["import-azure", "IMAGES", "IMAGES/case0.nii.gz"], "holds no export"),
        (["submit-azure", "IMAGES", "--profile", "nobody"], 'no profile "nobody"'),
    ],
)
def test_bad_usage_is_one_sentence(images, tmp_path, capsys, words, said):
    named = [word.replace("IMAGES", str(images)).replace("NEW", str(tmp_path / "new")) for word in words]
    assert main(["batch", *named]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("error: ")


def test_only_a_batch_endpoint_is_taken(plane):
    manager = ResourceManager(StaticKey(plane.token), plane.url, ca_bundle=str(plane.ca_file))
    with pytest.raises(UsageError, match="batch endpoint"):
        BatchEndpoint(manager, f"{BASE}/onlineEndpoints/ours", StaticKey(plane.token))


def test_microsofts_sdk_names_the_input_of_a_job_in_the_same_words(images, plane, tmp_path, monkeypatch):
    ml = pytest.importorskip("azure.ai.ml", reason="azure-ai-ml is not installed")
    from azure.ai.ml import Input, _azure_environments
    from azure.core.credentials import AccessToken

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(plane.ca_file))
    cloud = dict.fromkeys(
        ("azure_portal", "resource_manager", "active_directory", "aml_resource_id", "registry_discovery_endpoint"), plane.url
    )
    monkeypatch.setattr(_azure_environments, "_environments", {})
    monkeypatch.delenv("AZUREML_CURRENT_CLOUD", raising=False)
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "look-alike")
    person = type("Credential", (), {"get_token": lambda *_scopes, **_options: AccessToken(plane.token, 4102444800)})()
    client = ml.MLClient(
        person, SUBSCRIPTION, GROUP, WORKSPACE, enable_telemetry=False, logging_enable=False, cloud="look-alike",
        cloud_metadata=cloud | {"storage_endpoint": "storage.example"},
    )  # fmt: skip
    batch_export_azure(images, "cube", output_dir=tmp_path / "export", model="medimageparse3d")
    batch_submit_azure(tmp_path / "export", endpoint_of(plane))
    ours = next(body for path, body in plane.bodies if path == "/jobs")
    (uri,) = [each["uri"] for each in ours["properties"]["inputData"].values()]
    plane.bodies.clear()
    client.batch_endpoints.invoke("ours", input=Input(type="uri_folder", path=uri))
    theirs = next(body for path, body in plane.bodies if path == "/jobs")
    assert theirs["properties"]["inputData"] == ours["properties"]["inputData"]


def test_the_command_signs_in_by_the_profile_asks_for_consent_and_ends_with_results(images, plane, tmp_path, monkeypatch, capsys):
    class Session:
        auth = staticmethod(lambda _scope: StaticKey(plane.token))

    here = partial(BatchEndpoint, account_url=lambda _account, _endpoint: f"{plane.url}/storage", poll_s=0.01)
    for name, value in (
        ("BatchEndpoint", here),
        ("entra_session", lambda *_: Session()),
        ("make_auth", lambda *_, **__: StaticKey(plane.token)),
    ):
        monkeypatch.setattr(f"MedImageParseLib.cli.batch_azure.{name}", value)
    profile = Profile(
        name="Night", url="https://ours.eastus2.inference.ml.azure.com/jobs", sign_in="entra", resource_id=f"{BASE}/batchEndpoints/ours",
        arm_url=plane.url, ca_bundle=str(plane.ca_file),
    )  # fmt: skip
    ProfileStore().add(profile)
    export = str(tmp_path / "export")
    assert main(["batch", "export-azure", str(images), "--model", "medimageparse3d", "--prompt", "cube", "--output-dir", export]) == 0
    assert main(["batch", "submit-azure", export, "--profile", "Night"]) != 0
    assert "nobody has agreed" in capsys.readouterr().err and not plane.blobs
    report = tmp_path / "report.json"
    assert main(["batch", "submit-azure", export, "--profile", "Night", "--consent", "--quiet", "--report", str(report)]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "3 cases done, 0 failed" in said.out
    assert json.loads(report.read_text())["model"] == "medimageparse3d" and plane.token not in report.read_text()
    assert len(list((tmp_path / "export" / "results").glob("*.seg.nrrd"))) == 3
