"""Exit 2 means that nothing was sent: a disk that turns out full after the requests is exit 4, and the sentence names the file."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from doubles.insight import InsightDouble
from MedImageParseLib.cli.main import main

MIP = Path(__file__).resolve().parents[2] / "scripts" / "mip.py"
OUTPUTS = {"--labels": "labels.nii.gz", "--output": "masks.seg.nrrd", "--picture": "picture.png"}


@pytest.fixture
def full_disk(monkeypatch):
    """From now on no file reaches the disk. The files are written by several libraries; all of them end in one rename."""
    import os

    real = os.replace

    def refuse(source: object, target: object, **options: object) -> None:
        if str(target).endswith(refuse.endings):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target, **options)

    refuse.endings = ()
    monkeypatch.setattr(os, "replace", refuse)
    return refuse


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_result_that_finds_no_room_is_exit_4_and_named(bench, full_disk, option):
    full_disk.endings = (OUTPUTS[option],)
    status = bench.segment("--prompt", "cube", option, bench.path(OUTPUTS[option]), "--report", bench.path("report.json"))
    assert status == 4 and bench.double.seen
    (line,) = [line for line in bench.err.splitlines() if line.startswith("error: ")]
    assert bench.path(OUTPUTS[option]) in line and "No space left on device" in line
    assert not (bench.folder / OUTPUTS[option]).exists()
    report = json.loads((bench.folder / "report.json").read_text())
    assert report["exit_status"] == 4 and report["error"] in line


@pytest.mark.parametrize("option", OUTPUTS)
def test_the_other_results_are_written_and_the_report_tells_what_was_done(bench, full_disk, option):
    full_disk.endings = (OUTPUTS[option],)
    words = [word for name, file in OUTPUTS.items() for word in (name, bench.path(file))]
    assert bench.segment("--prompt", "cube", *words, "--masks", bench.path("masks"), "--report", bench.path("report.json")) == 4
    written = {bench.path(file) for file in (*OUTPUTS.values(), "masks") if file != OUTPUTS[option]}
    report = bench.report()
    assert set(report["outputs"]) == written and all(Path(path).exists() for path in written)
    assert (
        report["request_ids"]
        and report["tries"] == len(bench.double.seen)
        and report["http_status"] == 200
        and report["prompts"][0]["found"]
    )
    assert report["kind"] == "usage" and report["exit_status"] == 4 and report["command"][0] == "segment"


def test_a_disk_without_any_room_is_told_before_anything_is_sent(bench, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(total=10**9, used=10**9, free=0))
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz")) == 2
    assert "is full" in bench.err and not bench.double.seen
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(total=0, used=0, free=0))  # a drive that does not know
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz")) == 0


def test_a_report_that_finds_no_room_is_exit_4_after_requests_and_hides_no_other_error(bench, full_disk):
    full_disk.endings = ("report.json",)
    assert bench.segment("--prompt", "cube", "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json")) == 4
    assert bench.path("report.json") in bench.err
    assert (
        bench.segment("--prompt", "cube", "--window", "5,1", "--labels", bench.path("labels.nii.gz"), "--report", bench.path("report.json"))
        == 2
    )
    assert any(line.startswith("error: ") and "report.json" not in line for line in bench.err.splitlines())


def test_vectors_that_find_no_room_are_exit_4(tmp_path, full_disk, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / "a.png")
    full_disk.endings = ("v.npz",)
    words = ["--output", str(tmp_path / "v.npz"), "--report", str(tmp_path / "r.json")]
    with InsightDouble().serve() as url:
        assert main(["embed", str(tmp_path / "a.png"), *words, "--endpoint", url, "--quiet"]) == 4
    assert str(tmp_path / "v.npz") in capsys.readouterr().err
    assert json.loads((tmp_path / "r.json").read_text())["request_ids"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_an_index_that_really_cannot_grow_is_exit_4_after_requests(tmp_path):
    """A real limit of the system: no file may grow beyond 60 KB, which a new index fits into and its thumbnails do not."""
    for number in range(12):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (128, 128), dtype=np.uint8)).save(tmp_path / f"p{number}.png")
    code = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    pictures = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    with InsightDouble().serve() as url:
        words = ["index", "add", str(tmp_path / "small.index"), *pictures, "--endpoint", url, "--quiet", "--batch", "2"]
        done = subprocess.run([sys.executable, "-c", code, str(MIP), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith("error: ") and "small.index" in done.stderr and done.stderr.count("\n") == 1
