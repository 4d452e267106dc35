"""Images with several volumes and folders with several series: one of them, or each with files of its own."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from dicom_support import write_series

from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges
from MedImageParseLib.api.embed import embed, index_add
from MedImageParseLib.api.segment import segment
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.files.read import read_frames, read_image

SHAPE = (12, 10, 8)  # ijk
AFFINE = np.diag([-1.5, -1.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def served():
    double = EndpointDouble(GrayRanges({"cube": (150, 256)}))
    with double.serve() as url:
        yield SimpleNamespace(double=double, url=url)


@pytest.fixture
def beating(tmp_path, served):
    """Three volumes with a cube that grows, as a 4D NIfTI; its path and the voxels of each cube."""
    served.double.seen.clear()
    served.double.tamper = None
    voxels = np.zeros((*SHAPE, 3), np.uint8)
    for frame in range(3):
        voxels[2 : 4 + frame, 2:5, 2:5, frame] = 200
    nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "beating.nii.gz")
    return tmp_path / "beating.nii.gz", [18, 27, 36]


def run(served, image, *words) -> int:
    given = ["--model", "medimageparse3d", "--window", "raw", "--prompt", "cube", "--slabs", "none", "--endpoint", served.url]
    return main(["segment", str(image), *given, *map(str, words)])


def test_all_frames_give_files_of_their_own_and_one_report(served, beating, tmp_path, capsys):
    image, sizes = beating
    out, masks, report = tmp_path / "o.seg.nrrd", tmp_path / "masks", tmp_path / "report.json"
    assert (
        run(served, image, "--frame", "all", "--labels", tmp_path / "l.nii.gz", "--output", out, "--masks", masks, "--report", report) == 0
    )
    for frame, size in enumerate(sizes):
        labels = nib.load(tmp_path / f"l_frame{frame}.nii.gz")
        assert labels.shape == SHAPE and np.allclose(labels.affine, AFFINE)
        assert np.count_nonzero(np.asarray(labels.dataobj)) == size
        assert (tmp_path / f"o_frame{frame}.seg.nrrd").exists() and (masks / f"frame{frame}" / "cube.nii.gz").exists()
    assert not out.exists() and len(served.double.seen) == 3
    told = json.loads(report.read_text())
    assert [(entry["frame"], entry["name"], entry["voxels"]) for entry in told["prompts"]] == list(zip(range(3), ["cube"] * 3, sizes))
    assert told["frames"] == 3 and told["tries"] == 3 and len(set(told["request_ids"])) == 3 and told["input"]["path"] == str(image)
    assert len(told["outputs"]) == 9
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("frame 2, cube: found, 36 voxels")


def test_an_image_in_memory_gives_a_result_a_frame(served, beating):
    image, sizes = beating
    results = segment(nib.load(image), "cube", model="medimageparse3d", window="raw", endpoint=served.url, frame="all")
    assert [result["cube"].mask.count for result in results] == sizes
    assert len(results) == 3 and results[1].volume.shape_kji == SHAPE[::-1]


def test_a_frame_that_fails_keeps_those_before_it(served, beating, tmp_path, capsys):
    image, _sizes = beating
    served.double.tamper = lambda reply: reply if len(served.double.seen) < 3 else (400, "application/json", b"{}")
    assert run(served, image, "--frame", "all", "--labels", tmp_path / "l.nii.gz", "--retries", "1") == 4
    assert sorted(path.name for path in tmp_path.glob("l_*")) == ["l_frame0.nii.gz", "l_frame1.nii.gz"]
    assert "Frame 2 of 3 failed" in capsys.readouterr().err


def test_frames_of_which_none_was_done_leave_no_folder(served, beating, tmp_path):
    served.double.tamper = lambda _reply: (400, "application/json", b"{}")
    words = ["--frame", "all", "--masks", tmp_path / "m", "--probability", tmp_path / "p", "--retries", "1"]
    assert run(served, beating[0], *words) == 3
    assert not (tmp_path / "m").exists() and not (tmp_path / "p").exists()


def test_every_name_is_checked_before_the_first_frame_is_sent(served, beating, tmp_path, capsys):
    image, _sizes = beating
    (tmp_path / "l_frame2.nii.gz").symlink_to(image)
    assert run(served, image, "--frame", "all", "--labels", tmp_path / "l.nii.gz") == 2
    assert run(served, image, "--frame", "all", "--dicom-seg", tmp_path / "s.dcm") == 2
    assert "one frame at a time" in capsys.readouterr().err
    assert not served.double.seen


@pytest.mark.parametrize("frame", ["0", "1", "all"])
def test_a_frame_of_one_volume_is_refused_in_a_sentence(served, frame, tmp_path, capsys):
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE), tmp_path / "one.nii.gz")
    write_series(tmp_path / "ct")
    for image in ("one.nii.gz", "ct"):
        assert run(served, tmp_path / image, "--frame", frame, "--labels", tmp_path / "l.nii.gz") == 2
        assert capsys.readouterr().err == "error: The image holds one volume only, so there is no frame to choose: leave --frame out.\n"


def test_a_series_of_what_is_no_dicom_is_refused_in_a_sentence(served, beating, tmp_path, capsys):
    assert run(served, beating[0], "--series", "3", "--labels", tmp_path / "l.nii.gz") == 2
    assert "beating.nii.gz is no DICOM" in capsys.readouterr().err
    assert run(served, beating[0], "--frame", "-1", "--labels", tmp_path / "l.nii.gz") == 2
    assert run(served, beating[0], "--frame", "two", "--labels", tmp_path / "l.nii.gz") == 2
    assert "counted from 0" in capsys.readouterr().err


def test_phases_of_a_dicom_series_are_read_one_by_one_and_together(tmp_path):
    positions = [[0, 0, height] for height in (0, 2, 4) for _phase in range(2)]
    pixels = write_series(tmp_path / "phases", count=6, positions=positions)
    volumes, _warnings = read_frames(tmp_path / "phases")
    assert len(volumes) == 2
    for frame, volume in enumerate(volumes):
        alone, _warnings = read_image(tmp_path / "phases", frame=frame)
        assert np.array_equal(volume.voxels, alone.voxels) and np.allclose(volume.ijk_to_ras, alone.ijk_to_ras)
        assert np.array_equal(volume.voxels, pixels[1 - frame :: 2] - 1024)  # of two the one with the lower instance number is first


def test_embedding_takes_one_series_or_one_frame(beating, tmp_path):
    from doubles.insight import InsightDouble

    two = tmp_path / "two"
    two.mkdir()
    for series, count in (("1.2.3.1", 3), ("1.2.3.2", 4)):
        write_series(two / series, count=count, SeriesInstanceUID=series)
    with InsightDouble().serve() as url:
        assert len(embed(two, endpoint=url, series="1.2.3.2").vectors) == 4
        result = embed(beating[0], endpoint=url, frame=1)
        assert len(result.vectors) == SHAPE[2] and {record.position["frame"] for record in result.records} == {1}
        assert index_add(tmp_path / "a.index", beating[0], endpoint=url, frame="2").embedded > 0
        with pytest.raises(UsageError, match="one frame"):
            embed(beating[0], endpoint=url, frame="all")
        with pytest.raises(InputError):
            embed(beating[0], endpoint=url, series="1")
