"""`mip.py segment` as docs/command-line.md describes it, against the double over HTTP."""

from __future__ import annotations

import gzip
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cli_support import AFFINE, assert_one_error_line, text_file, write_dicom
from exactness_support import LEVELS, assert_labels_are, assert_segments_are
from places import LIBRARY

from doubles.forms import Form
from MedImageParseLib.cli.main import _cancel_on_interrupt
from MedImageParseLib.progress import Cancellation

MIP = Path(__file__).resolve().parents[2] / "scripts" / "mip.py"
REPORT_KEYS = {
    "model", "endpoint", "dialect", "reply_form", "request_ids", "input", "window", "bytes_sent", "bytes_received", "tries", "timings_s", "prompts", "warnings",
}  # fmt: skip


def test_a_segmentation_gives_status_0_both_files_and_the_report(bench):
    status = bench.segment(
        "--prompt", "cube & rod", "--prompt", "corner & unicorn", "--window", "0,255", "--slabs", "none",
        "--output", bench.path("masks.seg.nrrd"), "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json"),
    )  # fmt: skip
    assert status == 0
    assert_labels_are(bench.folder / "labels.nii.gz", bench.labels, AFFINE)
    truth = {name: bench.labels == number for number, name in enumerate(LEVELS, start=1)}
    assert_segments_are(bench.folder / "masks.seg.nrrd", truth, AFFINE)
    report = bench.report()
    assert set(report) >= REPORT_KEYS
    assert report["endpoint"] == bench.url and report["dialect"] == "azureml" and report["model"] == "medimageparse3d"
    assert report["input"]["path"] == bench.path("phantom.nii.gz") and report["input"]["size_kji"] == [9, 11, 13]
    assert [(entry["text"], entry["label"], entry["found"]) for entry in report["prompts"]] == [
        ("cube", 1, True), ("rod", 2, True), ("corner", 3, True), ("unicorn", 4, False),
    ]  # fmt: skip
    assert {"text", "name", "found", "label", "voxels", "volume_ml", "terminology"} <= set(report["prompts"][0])
    assert set(report["timings_s"]) == {"read", "prepare", "encode", "wait", "decode", "import", "write", "total"}
    assert all(seconds >= 0 for seconds in report["timings_s"].values()) and report["timings_s"]["total"] > 0
    assert report["bytes_sent"] == len(bench.double.seen[0].body) and report["tries"] == 1 and len(report["request_ids"]) == 1
    assert bench.double.seen[0].headers["x-ms-client-request-id"] == report["request_ids"][0]
    assert bench.double.seen[0].texts == ["cube & rod & corner & unicorn"]
    assert "unicorn: not found" in bench.out and bench.path("masks.seg.nrrd") in bench.out.splitlines()


def test_an_absent_structure_alone_gives_status_0_no_segments_and_zero_labels(bench):
    assert bench.segment("--prompt", "unicorn", "--output", bench.path("masks.seg.nrrd"), "--labels", bench.path("labels.nrrd")) == 0
    import SimpleITK as sitk

    labels = sitk.ReadImage(bench.path("labels.nrrd"))
    assert labels.GetSize() == (13, 11, 9) and not sitk.GetArrayFromImage(labels).any()
    assert_segments_are(bench.folder / "masks.seg.nrrd", {}, AFFINE)


def test_prompts_are_trimmed_and_sent_verbatim(bench):
    assert bench.segment("--prompt", "  Left  Kidney in abdomen CT & & über-organ ", "--report", bench.path("report.json")) == 0
    assert bench.double.seen[0].texts == ["Left  Kidney in abdomen CT & über-organ"]
    assert [entry["text"] for entry in bench.report()["prompts"]] == ["Left  Kidney in abdomen CT", "über-organ"]


def test_the_mlflow_dialect_follows_from_the_path_or_is_asked_for(bench):
    assert bench.segment("--prompt", "cube", "--report", bench.path("report.json"), url=bench.url.replace("/score", "/invocations")) == 0
    assert bench.report()["dialect"] == "mlflow" and bench.double.seen[0].dialect == "mlflow"
    assert bench.report()["reply_form"].startswith("predictions")
    assert (
        bench.segment(
            "--prompt",
            "cube",
            "--report",
            bench.path("report.json"),
            "--dialect",
            "azureml",
            url=bench.url.replace("/score", "/x/invocations"),
        )
        == 3
    )


def test_quiet_leaves_stderr_empty_on_success_and_one_line_on_failure(bench):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--quiet") == 0
    assert bench.err == "" and bench.path("labels.nii.gz") in bench.out
    assert bench.segment("--prompt", "&", "--labels", bench.path("labels.nii.gz"), "--quiet") == 2
    assert len(bench.err.splitlines()) == 1


def test_without_quiet_progress_goes_to_stderr_and_results_to_stdout(bench):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz")) == 0
    assert bench.err and "error" not in bench.err and bench.out.splitlines()[-1] == bench.path("labels.nii.gz")


@pytest.mark.parametrize("prompt", ["", "   ", "&", " & && ", "liver [SEP] spleen", "[sep]", "liver & spleen & liver", "liver & LIVER"])
def test_prompts_that_make_no_sense_are_bad_usage(bench, prompt):
    assert bench.segment("--prompt", prompt, "--output", bench.path("masks.seg.nrrd"), "--labels", bench.path("labels.nii.gz")) == 2
    assert_one_error_line(bench)
    assert not bench.new_files() and not bench.double.seen


def test_a_prompt_given_twice_over_two_options_is_bad_usage(bench):
    assert bench.segment("--prompt", "liver", "--prompt", "spleen & liver", "--labels", bench.path("labels.nii.gz")) == 2
    assert "twice" in assert_one_error_line(bench)


@pytest.mark.parametrize("words", [
    [], ["segment"], ["nonsense"], ["segment", "x.nii.gz"], ["segment", "x.nii.gz", "--model", "medimageparse4d", "--prompt", "a"],
    ["segment", "x.nii.gz", "--model", "medimageparse3d", "--prompt", "a", "--labels", "y.nii.gz", "--nonsense"],
    ["segment", "x.nii.gz", "--model", "medimageparse3d", "--prompt", "a", "--labels", "y.nii.gz"],
    ["segment", "x.nii.gz", "--model", "medimageparse3d", "--prompt", "a", "--labels", "y.nii.gz", "--endpoint", "http://127.0.0.1:1/score", "--profile", "p"],
    ["segment", "x.nii.gz", "--model", "medimageparse3d", "--prompt", "a", "--labels", "y.nii.gz", "--endpoint", "http://127.0.0.1:1/score", "--timeout", "soon"],
], ids=lambda words: " ".join(words)[-40:])  # fmt: skip
def test_bad_usage_is_status_2_with_one_line(bench, words, monkeypatch):
    monkeypatch.chdir(bench.folder)
    assert bench.run(*words) == 2
    assert_one_error_line(bench)
    assert not bench.new_files()


@pytest.mark.parametrize("words", [
    ("--window", "knee"), ("--window", "5,1"), ("--plane", "oblique"), ("--orient", "upside"), ("--slabs", "0"), ("--slabs", "some"), ("--group", "all"),
    ("--slices", "3"), ("--timeout", "0"), ("--retries", "0"), ("--region", "1:2"), ("--auth", "magic"), ("--dialect", "soap"),
], ids=" ".join)  # fmt: skip
def test_an_option_value_that_makes_no_sense_is_status_2_and_nothing_is_written_or_sent(bench, words):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), *words) == 2
    assert_one_error_line(bench)
    assert not bench.new_files() and not bench.double.seen


@pytest.mark.parametrize("words", [
    ("--output", "masks.nrrd"), ("--output", "nowhere/masks.seg.nrrd"), ("--labels", "labels.txt"), ("--labels", "labels.seg.nrrd"),
    ("--picture", "picture.jpg"), ("--report", "nowhere/report.json"), ("--masks", "nowhere/masks"), ("--probability", "nowhere/masks"),
    ("--masks", "closed/masks"), ("--masks", "closed"), ("--probability", "closed/masks"), ("--labels", "closed/labels.nii.gz"),
], ids=" ".join)  # fmt: skip
def test_an_output_that_cannot_be_written_is_told_before_anything_is_sent(bench, words, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(bench.folder)
    closed = tmp_path_factory.mktemp("read-only") / "closed"
    closed.mkdir()
    real = os.access  # root may write anywhere
    monkeypatch.setattr(os, "access", lambda path, *mode: Path(path) != closed and real(path, *mode))
    words = tuple(word.replace("closed", str(closed)) for word in words)
    assert bench.segment("--prompt", "cube", *words) == 2
    assert_one_error_line(bench)
    assert not bench.new_files() and not bench.double.seen


def test_a_window_with_a_leading_minus_works_with_the_space_and_with_the_equals_sign(bench):
    for words in (["--window", "-160,240"], ["--window=-160,240"], ["--window", "-160.5,-20"], ["--window", "-.5,20"]):
        assert bench.segment("--prompt", "cube", "--report", bench.path("report.json"), *words) == 0
        assert words[-1].removeprefix("--window=").replace(",", " to ").replace("-.", "-0.") in bench.report()["window"]


@pytest.mark.parametrize("words", [
    ("batch", "", "--model", "medimageparse3d", "--prompt", "cube", "--output-dir", "out"), ("embed", "--quiet", "", "--output", "v.npz"),
    ("index", "add", "i.index", ""), ("index", "add", "", "phantom.nii.gz"), ("classify", "", "--label", "a"),
    ("index", "search", "i.index", "--image", ""), ("segment", "", "--model", "medimageparse3d", "--prompt", "cube", "--labels", "l.nii.gz"),
    ("segment", "phantom.nii.gz", "--model", "medimageparse3d", "--prompt", "cube", "--labels", "", "--masks", "m"),
    ("segment", "phantom.nii.gz", "--model", "medimageparse3d", "--prompt", "cube", "--masks", "m", "--report="),
    ("segment", "phantom.nii.gz", "--model", "medimageparse3d", "--prompt", "cube", "--masks", "m", "--key-file", ""),
], ids=" ".join)  # fmt: skip
def test_an_empty_name_as_of_an_unset_variable_is_not_the_current_folder_and_not_left_out(bench, words, monkeypatch):
    monkeypatch.chdir(bench.folder)
    assert bench.run(*words, "--endpoint", bench.url) == 2
    assert "is empty" in assert_one_error_line(bench)
    assert not bench.new_files() and not bench.double.seen


def test_an_empty_value_of_another_option_is_as_if_it_were_not_given(bench):
    words = ["--deployment", "", "--modality=", "--series", ""]
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), *words) == 0


def test_slices_are_required_for_the_2d_model_on_a_volume(bench):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), model="medimageparse") == 2
    assert "slices" in assert_one_error_line(bench) and not bench.double.seen
    assert bench.segment("--prompt", "cube", "--slices", "99", "--labels", bench.path("labels.nii.gz"), model="medimageparse") == 2
    assert_one_error_line(bench)
    assert not bench.new_files() and not bench.double.seen


def test_slices_of_a_volume_give_labels_on_the_whole_grid(bench):
    status = bench.segment(
        "--prompt", "cube & rod", "--plane", "coronal", "--slices", "2:4", "--window", "0,255", "--orient", "radiological",
        "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json"), model="medimageparse",
    )  # fmt: skip
    assert status == 0
    labels = np.asarray(nib.load(bench.path("labels.nii.gz")).dataobj)
    assert labels.shape == bench.labels.shape
    report = bench.report()
    assert (report["plane"], report["slices"], report["orient"]) == ("coronal", [2, 3], "radiological") and report["tries"] == 2


def test_a_2d_picture_needs_no_slices_and_its_labels_are_w_h_1(bench):
    from PIL import Image

    pixels = np.full((31, 47), 10, np.uint8)
    pixels[4:20, 25:40] = LEVELS["rod"]
    Image.fromarray(pixels).save(bench.path("picture.png"))
    status = bench.segment(
        "--prompt",
        "rod",
        "--labels",
        bench.path("labels.nii.gz"),
        "--report",
        bench.path("report.json"),
        image="picture.png",
        model="medimageparse",
    )
    assert status == 0
    labels = np.asarray(nib.load(bench.path("labels.nii.gz")).dataobj)
    assert labels.shape == (47, 31, 1)
    np.testing.assert_array_equal(labels[..., 0].T, pixels == LEVELS["rod"])
    assert bench.report()["prompts"][0]["volume_ml"] is None and bench.report()["orient"] == "as it is"


def test_probabilities_are_one_float_volume_a_prompt(bench):
    bench.double.form = Form(volume="stack", values="fractions")
    assert bench.segment("--prompt", "cube & rod", "--window", "0,255", "--probability", bench.path("maps")) == 0
    assert sorted(path.name for path in (bench.folder / "maps").iterdir()) == ["cube.nii.gz", "rod.nii.gz"]
    image = nib.load(bench.folder / "maps" / "rod.nii.gz")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.get_fdata(), np.where(bench.labels == 2, 0.93, 0.04), atol=1e-6)


def test_a_reply_without_probabilities_writes_none_and_says_so(bench):
    assert bench.segment("--prompt", "cube", "--probability", bench.path("maps"), "--report", bench.path("report.json")) == 0
    assert any("no probabilities" in warning for warning in bench.report()["warnings"])


@pytest.mark.parametrize(
    "image,model,more", [("phantom.nii.gz", "medimageparse3d", []), ("phantom.nii.gz", "medimageparse", ["--slices", "3"])]
)
def test_the_picture_is_a_png(bench, image, model, more):
    from PIL import Image

    assert bench.segment("--prompt", "cube", "--picture", bench.path("picture.png"), *more, image=image, model=model) == 0
    with Image.open(bench.path("picture.png")) as picture:
        assert picture.format == "PNG" and min(picture.size) > 100


def test_a_run_that_breaks_off_half_way_is_status_4_and_keeps_what_is_done(bench):
    count = iter(range(9))
    bench.double.tamper = lambda reply: (400, "application/json", b'{"message": "no"}') if next(count) == 2 else reply
    status = bench.segment(
        "--prompt", "rod", "--slices", "1:7", "--window", "0,255", "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json"), model="medimageparse",
    )  # fmt: skip
    assert status == 4
    assert bench.err.splitlines()[-1].startswith("error: ") and (bench.folder / "labels.nii.gz").exists()
    assert np.asarray(nib.load(bench.path("labels.nii.gz")).dataobj).any()
    report = bench.report()
    assert report["exit_status"] == 4 and report["kind"] == "endpoint" and f"error: {report['error']}" == bench.err.splitlines()[-1]
    assert report["outputs"] == [bench.path("labels.nii.gz")] and len(report["request_ids"]) >= 2


def test_image_data_goes_to_another_host_only_with_consent(bench):
    status = bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), url="https://endpoint.example.invalid/score")
    assert status == 2
    line = assert_one_error_line(bench)
    assert "--consent" in line and "endpoint.example.invalid" in line and not bench.new_files()


def test_the_key_is_sent_to_the_endpoint_and_appears_nowhere_else(bench, monkeypatch):
    key = "k3y-that-nobody-may-see-0123456789"
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", key)
    words = ["--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json"), "--debug"]
    assert bench.segment(*words) == 0
    assert bench.double.seen[0].headers["authorization"] == f"Bearer {key}"
    texts = [bench.out, bench.err, json.dumps(bench.report())]
    bench.double.tamper = lambda _reply: (200, "application/json", json.dumps({"message": f"Your key {key} is odd"}).encode())
    assert bench.segment(*words) == 3
    texts += [bench.out, bench.err, json.dumps(bench.report())]
    bench.double.tamper = lambda _reply: (401, "application/json", json.dumps({"message": f"Bearer {key} is refused"}).encode())
    assert bench.segment(*words) == 3
    texts += [bench.out, bench.err, json.dumps(bench.report())]
    texts += [path.read_text(errors="replace") for path in (bench.folder / "configuration").rglob("*") if path.is_file()]
    assert not any(key in text for text in texts)


def test_a_key_file_is_used_and_a_missing_one_is_status_2(bench):
    (bench.folder / "key.txt").write_text("key-from-a-file\n")
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--key-file", bench.path("key.txt")) == 0
    assert bench.double.seen[0].headers["authorization"] == "Bearer key-from-a-file"
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--key-file", bench.path("none.txt")) == 2
    assert_one_error_line(bench)


def test_a_key_on_the_command_line_is_refused_and_not_repeated(bench):
    for words in (["--key", "s3cret-value"], ["--key=s3cret-value"]):
        assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), *words) == 2
        assert "s3cret-value" not in bench.err + bench.out


def test_the_deployment_goes_into_its_header(bench):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--deployment", "blue") == 0
    assert bench.double.seen[0].headers["azureml-model-deployment"] == "blue"


def test_debug_shows_the_traceback_and_the_error_line_stays_last(bench):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--debug", image="missing.nii.gz") == 2
    assert "Traceback" in bench.err and bench.err.splitlines()[-1].startswith("error: ")


def test_an_output_that_exists_is_left_alone_by_a_failed_run_and_replaced_by_a_good_one(bench):
    (bench.folder / "labels.nii.gz").write_bytes(b"precious")
    bench.double.tamper = lambda reply: reply[:50]
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--retries", "1") == 3
    assert (bench.folder / "labels.nii.gz").read_bytes() == b"precious"
    bench.double.tamper = None
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz")) == 0
    assert nib.load(bench.path("labels.nii.gz")).shape == (13, 11, 9)


def test_a_dicom_folder_with_one_series_is_segmented_and_its_patient_is_named_nowhere(bench):
    (bench.folder / "dicom").mkdir()
    for number in range(4):
        write_dicom(bench.folder / "dicom" / f"{number}.dcm", "1.2.3.1", number)
    status = bench.segment(
        "--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json"), image="dicom"
    )
    assert status == 0 and bench.report()["input"]["modality"] == "CT"
    sent = bench.double.seen[0]
    assert b"Secret" not in gzip.decompress(sent.images[0]) and b"Secret" not in sent.body
    assert "Secret" not in bench.out + bench.err + json.dumps(bench.report())


# The real program, as a person starts it.


def start(*words: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(MIP), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def test_the_program_itself_segments_and_is_silent_with_quiet(bench):
    process = start("segment", bench.path("phantom.nii.gz"), "--model", "medimageparse3d", "--endpoint", bench.url, "--prompt", "cube & rod & corner",
                    "--window", "0,255", "--output", bench.path("masks.seg.nrrd"), "--labels", bench.path("labels.nii.gz"), "--quiet")  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-2:] == [bench.path("masks.seg.nrrd"), bench.path("labels.nii.gz")]
    assert_labels_are(bench.folder / "labels.nii.gz", bench.labels, AFFINE)


def test_the_program_itself_ends_with_status_2_and_one_line_on_bad_input(bench):
    text_file(bench.folder)
    process = start(
        "segment",
        bench.path("text.nii.gz"),
        "--model",
        "medimageparse3d",
        "--endpoint",
        bench.url,
        "--prompt",
        "cube",
        "--labels",
        bench.path("labels.nii.gz"),
        "--quiet",
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith("error: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_asks_it_to_end_ends_the_program_with_status_130_and_nothing_is_written(bench, number):
    arrived, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        arrived.set()
        go_on.wait(60)

    bench.double.pause = pause
    process = start("segment", bench.path("phantom.nii.gz"), "--model", "medimageparse3d", "--endpoint", bench.url, "--prompt", "cube",
                    "--labels", bench.path("labels.nii.gz"), "--quiet")  # fmt: skip
    try:
        assert arrived.wait(60)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        go_on.set()
        process.kill()
    assert process.returncode == 130 and out == ""
    assert err.splitlines()[-1].startswith("error: ") and len(err.splitlines()) == 1
    assert not bench.new_files()


def test_control_c_while_the_program_holds_a_lock_of_its_own_does_not_hang_it():
    # A handler runs between two lines of the main thread, whatever that thread holds at the moment.
    program = """
import signal, sys, time
from MedImageParseLib.cli.main import _cancel_on_interrupt
from MedImageParseLib.progress import Cancellation

switch = Cancellation()
_cancel_on_interrupt(switch)
with switch._lock:
    signal.raise_signal(signal.SIGINT)
switch.wait(30)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, timeout=60
    )
    assert "Cancelled" in done.stderr


def test_work_that_does_not_heed_the_systems_request_to_end_is_stopped_hard(monkeypatch):
    monkeypatch.setattr("MedImageParseLib.cli.main._GRACE_S", 0.01)
    switch = Cancellation()
    give_back = _cancel_on_interrupt(switch)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)
    finally:
        give_back()
    assert switch.is_cancelled


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for a single thread")
def test_a_signal_that_finds_the_main_thread_asleep_cancels_all_the_same():
    # As where it waits for requests: the system may wake another thread for the signal, and Python's handlers run in the main thread only.
    def interrupted() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    switch, woken = Cancellation(), threading.Event()
    switch.on_cancel(woken.set)
    give_back = _cancel_on_interrupt(switch)
    try:
        threading.Thread(target=interrupted).start()
        assert woken.wait(20)
    finally:
        give_back()


def test_control_c_while_the_program_is_still_loading_leaves_no_traceback(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "environment", types.SimpleNamespace(reexec_if_present=lambda: signal.raise_signal(signal.SIGINT)))
    assert runpy.run_path(str(MIP))["start"]() == 130
    assert capsys.readouterr().err == "error: Cancelled.\n"


def test_help_is_status_0_and_lists_the_commands(bench):
    assert bench.run("--help") == 0
    assert all(command in bench.out for command in ("segment", "check", "serve"))
    assert bench.run("segment", "--help") == 0 and "--prompt" in bench.out
