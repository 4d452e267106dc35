"""A cohort that is killed twice: every good case is on the wire once, and nothing is lost."""

from __future__ import annotations

import csv
import os
import signal
import time

import nibabel
import numpy as np
import pytest
from batch_support import CountingDouble, batch_words, lines_of, start, write_case

CORRUPT, FAILING = {"case020", "case090", "case150"}, {"case040", "case160"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "images").mkdir()
    for number in range(200):
        path = folder / "images" / f"case{number:03}.nii.gz"
        write_case(path, number, fails=path.name[:7] in FAILING)
        if path.name[:7] in CORRUPT:
            path.write_bytes(path.read_bytes()[:60])
    return folder


def kill_when(process, double, count: int) -> None:
    """kill -9 as soon as the endpoint has been sent so many requests, some of which it is still working on."""
    until = time.monotonic() + 60
    while len(double.seen) < count and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    assert process.poll() is None, process.stderr.read()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is what POSIX systems have")
def test_a_cohort_that_is_killed_twice_sends_each_good_case_once_and_ends_with_every_file_whole(cohort):
    double = CountingDouble()
    double.pause = lambda: time.sleep(0.05)
    with double.serve() as url:
        words = batch_words(cohort, url, "--write", "seg,labels", "--at-once", "4")
        kill_when(start(words), double, 60)
    port = int(url.rpartition(":")[2].partition("/")[0])
    second = start(words)
    time.sleep(0.3)  # the endpoint is away when the second run begins
    with double.serve(port=port):
        kill_when(second, double, 130)
        last = start(words)
        out, err = last.communicate(timeout=120)
        assert last.returncode == 4 and "195 done" in out and "5 failed" in out, err
        sent = double.on_the_wire()
        assert len(sent) == 197 and set(sent.values()) == {1}
        again = start(words)
        out, err = again.communicate(timeout=60)
        assert again.returncode == 4 and "195 before" in out and len(double.seen) == 197
        for name in CORRUPT:
            write_case(cohort / "images" / f"{name}.nii.gz", int(name[4:]))
        redo = start([*words, "--redo", "failed"])
        redo.communicate(timeout=60)
        assert redo.returncode == 4 and len(double.seen) == 202
    entries = lines_of(cohort / "out")
    assert {name for name, entry in entries.items() if entry["state"] != "done"} == FAILING and len(entries) == 200
    assert {entries[name]["kind"] for name in FAILING} == {"endpoint"}
    check_results(cohort, entries)


def check_results(cohort, entries) -> None:
    """Every file is whole and says what the double knows; nothing else lies there."""
    done = sorted(set(entries) - FAILING)
    for name in done:
        labels = np.asarray(nibabel.load(cohort / "out" / f"{name}_labels.nii.gz").dataobj)
        assert [np.count_nonzero(labels == value) for value in (1, 2)] == [60, 18]
        assert len(entries[name]["request_ids"]) == 1 and entries[name]["bytes_sent"] > 0
    files = {path.name for path in (cohort / "out").iterdir()} - {"batch.jsonl", "batch.csv", ".batch"}
    assert files == {f"{name}{ending}" for name in done for ending in (".seg.nrrd", "_labels.nii.gz")}
    assert not list((cohort / "out" / ".batch" / "replies").iterdir())
    rows = list(csv.DictReader((cohort / "out" / "batch.csv").open()))
    assert len(rows) == 2 * 198 + 2 and {row["voxels"] for row in rows if row["name"] == "liver"} == {"60"}
    assert {row["mean"] for row in rows if row["name"] == "spleen"} == {"200.0"}
