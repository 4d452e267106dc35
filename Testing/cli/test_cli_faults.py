"""What `mip.py segment` does with input that is no image and replies that are no answer: one sentence, and nothing is written."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cli_support import assert_one_error_line, text_file, write_dicom

from doubles.forms import nifti_bytes
from MedImageParseLib.cli.main import main
from MedImageParseLib.search.records import Record
from MedImageParseLib.tasks.find_similar import name_of, place_of

LONG = "x" * 300


@pytest.mark.parametrize("words", [
    ["embed", f"{LONG}.png", "--output", "v.npz", "--endpoint", "http://127.0.0.1:9/score"], ["index", "info", LONG], ["adapter", "evaluate", LONG, "i.index"],
    ["evaluate", "--reference", LONG, "--prediction", LONG], ["engine", "add", f"{LONG}.py:Engine"], ["serve", "--engine", f"{LONG}.py:Engine"],
    ["batch", LONG, "--model", "medimageparse3d", "--prompt", "a", "--output-dir", "o", "--endpoint", "http://127.0.0.1:9/score"],
    ["batch", "import-azure", LONG, LONG, "--output-dir", "o"],
], ids=lambda words: words[0])  # fmt: skip
def test_a_name_that_no_file_system_takes_is_bad_input_and_no_fault_of_the_program(bench, words, monkeypatch):
    monkeypatch.chdir(bench.folder)
    assert bench.run(*words) == 2
    assert "program itself" not in assert_one_error_line(bench) and not bench.new_files()


# Bad input: each one its one sentence and status 2, and nothing is written or sent.


def truncated(folder: Path) -> str:
    data = (folder / "phantom.nii.gz").read_bytes()
    (folder / "short.nii.gz").write_bytes(data[: len(data) // 2])
    return "short.nii.gz"


def empty_volume(folder: Path) -> str:
    data = bytearray(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)).to_bytes())
    data[42:44] = bytes(2)
    (folder / "empty.nii").write_bytes(bytes(data))
    return "empty.nii"


def empty_file(folder: Path) -> str:
    (folder / "nothing.nii.gz").write_bytes(b"")
    return "nothing.nii.gz"


def nan_voxels(folder: Path) -> str:
    voxels = np.zeros((4, 4, 4), np.float32)
    voxels[1, 2, 3] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / "nan.nii.gz")
    return "nan.nii.gz"


def four_dimensions(folder: Path) -> str:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4)), folder / "series.nii.gz")
    return "series.nii.gz"


def two_series(folder: Path) -> str:
    (folder / "dicom").mkdir()
    for number, series in enumerate(["1.2.3.1", "1.2.3.1", "1.2.3.2", "1.2.3.2"]):
        write_dicom(folder / "dicom" / f"{number}.dcm", series, number)
    return "dicom"


def empty_folder(folder: Path) -> str:
    (folder / "hollow").mkdir()
    return "hollow"


BAD_INPUT = {
    "missing file": (lambda folder: "missing.nii.gz", "missing.nii.gz"), "text file": (text_file, "NIfTI"), "truncated gzip": (truncated, "truncated"),
    "empty volume": (empty_volume, "empty"), "empty file": (empty_file, "empty"), "NaN voxels": (nan_voxels, "NaN"), "4D volume": (four_dimensions, "dimensions"),
    "two series": (two_series, "1.2.3.2"), "empty folder": (empty_folder, "hollow"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_sentence_and_status_2_and_nothing_is_written_but_the_report(bench, name):
    make, word = BAD_INPUT[name]
    image = make(bench.folder)
    before = bench.new_files()
    status = bench.segment(
        "--prompt", "cube", "--output", bench.path("masks.seg.nrrd"), "--labels", bench.path("labels.nii.gz"),
        "--picture", bench.path("picture.png"), "--probability", bench.path("maps"), "--report", bench.path("report.json"), image=image,
    )  # fmt: skip
    assert status == 2
    line = assert_one_error_line(bench)
    assert word in line and "Secret" not in line
    assert bench.new_files() - before == {"report.json"} and not bench.double.seen
    assert bench.report()["error"] == line.removeprefix("error: ")


# Bad replies: status 3.


def shifted_shape(_reply: bytes) -> bytes:
    data = gzip.compress(nifti_bytes(np.zeros((5, 5, 5), np.uint8), np.eye(4)))
    return json.dumps([{"nifti_file": json.dumps({"data": base64.b64encode(data).decode()})}]).encode()


BAD_REPLIES = {
    "truncated": (lambda reply: reply[: len(reply) // 2], ""),
    "another shape": (shifted_shape, "5x5x5"),
    "HTML": (lambda _reply: (200, "text/html", b"<html><body>Please sign in</body></html>"), "HTML|web page"),
    "another model": (lambda _reply: json.dumps([{"image_features": [[0.1] * 8], "scaling_factor": 4.5}]).encode(), "model"),
    "an error object": (lambda _reply: json.dumps({"message": "The scoring script failed"}).encode(), "scoring script failed"),
    "status 400": (lambda _reply: (400, "application/json", b'{"message": "bad payload"}'), "400"),
    "status 401": (lambda _reply: (401, "application/json", b"{}"), "key|sign"),
    "status 404": (lambda _reply: (404, "text/plain", b"nothing here"), "404|URL"),
    "nothing": (lambda _reply: b"", ""),
}


@pytest.mark.parametrize("name", BAD_REPLIES)
def test_a_bad_reply_is_one_sentence_and_status_3_and_nothing_is_written_but_the_report(bench, name):
    bench.double.tamper, word = BAD_REPLIES[name]
    status = bench.segment(
        "--prompt", "cube", "--output", bench.path("masks.seg.nrrd"), "--labels", bench.path("labels.nii.gz"), "--retries", "1",
        "--picture", bench.path("picture.png"), "--probability", bench.path("maps"), "--report", bench.path("report.json"),
    )  # fmt: skip
    assert status == 3
    line = assert_one_error_line(bench)
    assert re.search(word, line), line
    assert len(line) < 600
    assert bench.new_files() == {"report.json"}
    report = bench.report()
    assert report["exit_status"] == 3 and report["endpoint"] == bench.url


def test_an_endpoint_that_is_down_is_one_sentence_and_status_3(bench):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/score"
        assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--retries", "1", url=url) == 3
    assert "127.0.0.1" in assert_one_error_line(bench)
    assert not bench.new_files()


@pytest.mark.parametrize("foreign", ["\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\u202egpj.exe", "\x08\x08\x08ok", "a\rerror: none"])
def test_nothing_that_is_printed_commands_the_terminal(bench, foreign):
    assert bench.segment("--prompt", "cube", "--labels", bench.path("o.nii.gz"), image=f"no{foreign}.nii.gz") == 2
    assert "nii.gz" in bench.err
    told = [bench.out, bench.err]
    bench.segment("--prompt", f"cube{foreign}", "--labels", bench.path("o.nii.gz"))
    for text in (*told, bench.out, bench.err):
        assert all(letter.isprintable() or letter == "\n" for letter in text), repr(text)


def test_a_row_of_a_listed_profile_stays_one_row(capsys):
    from MedImageParseLib.cli.terminal import PlainStream

    stream = PlainStream(__import__("sys").stdout)
    print("name\tmodel\u2028next", "\x1b[1mbold", file=stream)
    stream.write("\rprogress 1 of 2\x07")
    assert capsys.readouterr().out == "name\tmodel next  [1mbold\n\rprogress 1 of 2 "


def test_a_line_break_in_a_name_makes_no_second_line(tmp_path, capsys):
    words = [
        "--model",
        "medimageparse",
        "--prompt",
        "liver",
        "--endpoint",
        "http://127.0.0.1:9/score",
        "--labels",
        str(tmp_path / "l.nrrd"),
    ]
    assert main(["segment", str(tmp_path / "no\nerror: forged.nii"), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    record = Record("0" * 64, "slice", plane="axial\n2", position={"name": "a\n1\t1.00\tb"})
    assert (name_of(record), place_of(record)) == ("a 1 1.00 b", "axial 2, slice -1")
