"""More from one image: masks, statistics, separate structures and DICOM results from one run of `segment`."""

from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_support import write_series
from stored_segments import readSegmentation


def test_one_labelmap_and_one_row_a_structure_are_written(bench):
    status = bench.segment(
        "--prompt", "cube & rod & unicorn", "--window", "raw", "--masks", bench.path("m"), "--statistics", bench.path("s.csv")
    )
    assert status == 0
    rows = {row["name"]: row for row in csv.DictReader(open(bench.path("s.csv"), encoding="utf-8"))}
    assert list(rows) == ["cube", "rod", "unicorn"] and rows["unicorn"]["found"] == "0"
    for name in ("cube", "rod"):
        mask = np.asarray(nibabel.load(bench.folder / "m" / f"{name}.nii.gz").dataobj)
        assert int(rows[name]["voxels"]) == np.count_nonzero(mask) > 0 and set(np.unique(mask)) == {0, 1}
    assert not (bench.folder / "m" / "unicorn.nii.gz").exists()


def test_separate_structures_become_segments_by_size_and_keep_the_prompts_code(bench):
    from PIL import Image

    pixels = np.zeros((40, 40), np.uint8)
    pixels[2:6, 2:6], pixels[10:30, 10:30], pixels[35, 35] = 45, 45, 45
    Image.fromarray(pixels).save(bench.folder / "p.png")
    words = ["--prompt", "cube", "--output", bench.path("o.seg.nrrd"), "--report", bench.path("report.json"), "--instances", "0"]
    assert bench.segment(*words, image="p.png", model="medimageparse") == 0
    stored = readSegmentation(bench.path("o.seg.nrrd"))
    assert [segment.name for segment in stored] == ["cube 1", "cube 2", "cube 3"]
    assert [segment.mask.count for segment in stored] == [400, 16, 1]
    assert [entry["voxels"] for entry in bench.report()["prompts"][0]["instances"]] == [400, 16, 1]


@pytest.mark.parametrize("option", ["--dicom-seg", "--rtstruct"])
def test_dicom_results_come_of_dicom_input_only_and_are_refused_before_sending_else(bench, option):
    pytest.importorskip("highdicom", reason="highdicom is not installed: no DICOM segmentation can be written")
    assert bench.segment("--prompt", "cube", option, bench.path("d.dcm")) == 2
    assert "DICOM input" in bench.err and not bench.double.seen
    write_series(bench.folder / "series", FrameOfReferenceUID="1.2.9")
    assert bench.segment("--prompt", "cube", option, bench.path("d.dcm"), "--report", bench.path("report.json"), image="series") == 0
    report = json.loads((bench.folder / "report.json").read_text())
    assert report["outputs"] == ([bench.path("d.dcm")] if report["prompts"][0]["found"] or option == "--rtstruct" else [])
    if report["outputs"]:
        assert pydicom.dcmread(bench.path("d.dcm")).PatientID == "4711"


def test_repeated_runs_are_sent_and_told_with_their_agreement(bench):
    words = ["--prompt", "cube", "--window", "raw", "--labels", bench.path("l.nrrd"), "--report", bench.path("report.json")]
    assert bench.segment(*words) == 0
    once = len(bench.double.seen)
    assert bench.segment(*words, "--repeat", "3") == 0
    assert len(bench.double.seen) == 4 * once
    report = bench.report()
    assert report["repeat"] == 3 and report["prompts"][0]["agreement"] == 1.0  # the double always answers alike
    assert bench.segment(*words, "--repeat", "0") == 2 and len(bench.double.seen) == 4 * once


def test_a_folder_that_nothing_was_written_to_is_no_output(bench):
    folders = ["--masks", bench.path("masks"), "--probability", bench.path("probability")]
    assert bench.segment("--prompt", "unicorn", *folders, "--report", bench.path("report.json")) == 0
    assert bench.report()["outputs"] == [] and bench.out == "unicorn: not found\n"
    assert bench.new_files() == {"report.json"}
