"""Every result says who made it: segments, labelmaps and reports; and never a key, a path or anything about the patient."""

from __future__ import annotations

import json
import re
import sys

import nibabel
import pytest
from exactness_support import LEVELS
from stored_segments import readSegmentation

from MedImageParseLib import __version__

FIRST, SECOND = list(LEVELS)[:2]
CANARY = "canary-key-0123456789abcdef"


@pytest.fixture
def run(bench, monkeypatch):
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", CANARY)

    def work(*more: str) -> int:
        return bench.segment(
            "--prompt", f"{FIRST} & {SECOND}", "--output", bench.path("o.seg.nrrd"), "--report", bench.path("report.json"), *more
        )

    return work


def test_a_saved_segment_tells_prompt_model_endpoint_window_request_date_and_version(bench, run):
    assert run() == 0
    stored = {segment.name: segment.tags for segment in readSegmentation(bench.path("o.seg.nrrd"))}
    tags = {name.removeprefix("MedImageParse."): value for name, value in stored[FIRST].items()}
    assert tags["Prompt"] == FIRST and tags["Model"] == "medimageparse3d" and tags["Version"] == __version__
    assert tags["Endpoint"] == bench.url.split("/")[2] and tags["RequestId"] == " ".join(bench.report()["request_ids"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", tags["Date"]) and tags["Window"]
    assert "Engine" not in tags  # the double says nothing of a local engine


def test_no_key_and_no_path_is_in_a_result(bench, run):
    assert run("--labels", bench.path("l.nii.gz")) == 0
    for name in ("o.seg.nrrd", "l.nii.gz"):
        data = (bench.folder / name).read_bytes()
        assert CANARY.encode() not in data and str(bench.folder).encode() not in data
    assert CANARY not in (bench.folder / "report.json").read_text()


def test_a_labelmap_of_a_local_engine_names_it_and_one_of_a_model_does_not(bench):
    def body_of(engine: str):
        bench.double.tamper = None if not engine else lambda reply: (200, "application/json", _with_engine(reply, engine))
        assert bench.segment("--prompt", FIRST, "--labels", bench.path("l.nii.gz")) == 0
        return nibabel.load(bench.path("l.nii.gz")).header["descrip"].tobytes().rstrip(b"\0").decode()

    assert body_of("") == ""
    assert body_of("a small engine") == "a small engine"


def _with_engine(reply: bytes, engine: str) -> bytes:
    outer = json.loads(reply)
    outer[0]["engine"] = engine
    return json.dumps(outer).encode()


def test_a_report_holds_version_date_command_outputs_and_status_also_after_an_error(bench, run):
    assert run() == 0
    done = bench.report()
    assert done["version"] == __version__ and done["kind"] is None and done["http_status"] == 200
    assert done["outputs"] == [bench.path("o.seg.nrrd")] and done["command"][0] == "segment" and f"{FIRST} & {SECOND}" in done["command"]
    bench.double.tamper = lambda reply: (401, "application/json", b"{}")
    assert run() == 3
    failed = bench.report()
    assert failed["kind"] == "endpoint" and failed["http_status"] == 401 and failed["outputs"] == [] and failed["error"]
    assert set(done) - {"slabs", "group", "groups", "region", "deterministic"} <= set(failed)
    assert failed["endpoint"] == done["endpoint"] == bench.url and failed["dialect"] == done["dialect"] == "azureml"


def test_a_report_of_a_failed_run_through_a_profile_names_its_endpoint(bench):
    assert bench.run("profiles", "add", "Here", "--endpoint", f"{bench.url.removesuffix('/score')}/invocations") == 0
    bench.double.tamper = lambda _reply: (400, "application/json", b"{}")
    words = ["--model", "medimageparse3d", "--prompt", FIRST, "--report", bench.path("report.json")]
    assert bench.run("segment", bench.path("phantom.nii.gz"), "--profile", "Here", *words) == 3
    assert bench.report()["endpoint"].endswith("/invocations") and bench.report()["dialect"] == "mlflow"


def test_a_secret_in_a_url_is_not_in_the_report(bench, run):
    assert bench.segment("--prompt", FIRST, "--report", bench.path("report.json"), url=f"{bench.url}?code={CANARY}") in (0, 2)
    assert CANARY not in (bench.folder / "report.json").read_text()


def test_a_missing_package_is_told_before_anything_is_sent(bench, monkeypatch):
    from MedImageParseLib import packages

    monkeypatch.setattr(packages, "is_there", lambda module: module != "highdicom")
    assert bench.segment("--prompt", FIRST, "--dicom-seg", bench.path("o.dcm")) == 2
    assert "pip install highdicom" in bench.err and not bench.double.seen


def test_a_segmentation_file_needs_no_slicer(bench, run, monkeypatch):
    """It is complete without Slicer's libraries: SimpleITK reads it."""
    monkeypatch.setitem(sys.modules, "slicer", None)
    monkeypatch.setitem(sys.modules, "vtk", None)
    assert run() == 0
    image = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed").ReadImage(bench.path("o.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") and image.GetMetaData("Segmentation_MasterRepresentation") == "Binary labelmap"


def test_a_missing_package_of_any_command_is_one_sentence(bench, monkeypatch):
    from MedImageParseLib.api import segment

    def lacking(*_arguments, **_options):
        raise ModuleNotFoundError("No module named 'skimage.measure'", name="skimage.measure")

    monkeypatch.setattr(segment, "segment", lacking)
    assert bench.segment("--prompt", FIRST, "--labels", bench.path("l.nrrd")) == 2
    assert "pip install scikit-image" in bench.err and "Traceback" not in bench.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["segmnt"], "did you mean segment?"),
        (["frobnicate"], "the commands are"),
        (["index", "info", "a.index", "--reprt", "r.json"], "index info --help"),
        (["profiles", "list", "--name"], "profiles list --help"),
        (["segment", "a.nii", "--prompt", "x", "--model", "medimageparse3d", "--outptu", "o"], "did you mean --output?"),
        (["check", "--frobnicate"], "medimageparse check --help"),
        (["segment", "a.nii", "b.nii", "--prompt", "x", "--model", "medimageparse3d"], "`batch` takes several"),
        (["segment", "ct/*.nii.gz", "--prompt", "x", "--model", "medimageparse3d", "--labels", "l.nii.gz"], "use `batch` for all of them"),
    ],
)
def test_a_mistyped_command_or_option_is_guessed_at_or_leads_to_the_help(bench, words, said):
    assert bench.run(*words) == 2
    assert said in bench.err and bench.err.count("error: ") == 1


def test_the_version_is_printed(bench):
    assert bench.run("--version") == 0
    assert bench.out.strip() == f"medimageparse {__version__}"
