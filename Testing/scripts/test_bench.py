"""The benchmarks run and measure the same work both ways. How fast either is, is not tested: that depends on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(BENCH / script), *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_volume_benchmark_ends_in_the_same_segments_both_ways_and_writes_every_ratio(tmp_path):
    pytest.importorskip("nibabel", reason="the sample's way needs nibabel")
    pytest.importorskip("slicer", reason="importing segments needs slicer-core")
    report = tmp_path / "figures.json"
    done = run(
        "segment_volume.py",
        "--size",
        "40x36x30",
        "--prompts",
        "3",
        "--repeat",
        "1",
        "--steps",
        "request,stack,whole",
        "--json",
        str(report),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert figures["steps"]["stack"]["same_segments"] is True
    assert figures["steps"]["request"]["ours"]["bytes"] < figures["steps"]["request"]["sample"]["bytes"]
    assert figures["steps"]["whole"]["same_segments"] is True and figures["steps"]["whole"]["ours"]["peak_mb"] > 0
    assert {target["step"] for target in figures["targets"]} == {"request", "stack", "whole"}
    assert all(figures["steps"][step]["ratios"]["seconds"] > 0 for step in ("request", "stack", "whole"))
    assert "ours / sample's" in done.stdout


def test_both_ways_of_the_volume_benchmark_carry_the_masks_that_were_made(monkeypatch):
    nibabel = pytest.importorskip("nibabel", reason="the sample's way needs nibabel")
    monkeypatch.syspath_prepend(str(BENCH))
    import made_up
    import our_way
    import sample_way

    shape, names = (20, 24, 28), made_up.prompts(3)
    matrix = made_up.ijk_to_ras(shape)
    truth = [made_up.mask(number, 3, shape) for number in range(3)]
    assert (truth[0] & truth[1]).any(), "the masks should overlap"
    assert nibabel.aff2axcodes(matrix) == ("L", "P", "S")
    values, affine = sample_way.decode_reply(made_up.reply("stack", 3, shape))
    ours = our_way.decode_reply(made_up.reply("stack", 3, shape, our_way.axes_for(matrix)), matrix, shape, names)
    assert abs(affine - matrix).max() < 1e-4
    for number in range(3):
        assert (truth[number] == values[..., number].T).all()
        assert (ours[number].full() == truth[number]).all()


def test_slice_benchmark_measures_both_ways_or_says_what_is_missing(tmp_path):
    report = tmp_path / "figures.json"
    done = run("segment_slices.py", "--size", "40x30", "--slices", "1", "--prompts", "1", "--json", str(report))
    if done.returncode == 1 and "needs scikit-image" in done.stderr:
        assert not report.exists()
        return
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())["a_slice"]
    assert found["ours"]["request_ms"] > 0 and found["toolkit"]["reply_ms"] > 0


def test_volume_benchmark_refuses_a_size_that_is_none():
    done = run("segment_volume.py", "--size", "512")
    assert done.returncode == 2
    assert "columns x rows x slices" in done.stderr


def test_batch_benchmark_measures_the_ideal_the_loop_and_the_memory(tmp_path):
    pytest.importorskip("nibabel", reason="its cases are written with nibabel")
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell a process's memory")
    words = ["--cases", "2", "--size", "24x20x10", "--seconds", "0.05", "--at-once", "2", "--loop", "1", "--many", "8"]
    done = run("batch_cohort.py", *words, "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["throughput"]["ideal_s"] == 0.05 and figures["throughput"]["loop / batch"] > 0
    assert figures["memory"]["cases"] == 8 and figures["memory"]["MB at the end"] > 0
