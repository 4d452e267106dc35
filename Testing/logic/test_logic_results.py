"""Segments handed on: files, tables, and two segmentations compared; as they are now, corrections and transforms included."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_support import write_series
from logic_support import HeldClient, ct, phantom
from scene_support import oblique, spec

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.files.read import read_image
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene.masks import segmentsOnVolume
from MedImageParseLib.scene.segments import importSegments
from MedImageParseLib.scene.volumes import nodeFromVolume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

CUBE = (phantom() == 100).astype(np.uint8)
BAR = (phantom() == 200).astype(np.uint8)


def column(table, title: str) -> list:
    array = table.GetTable().GetColumnByName(title)
    return [array.GetValue(row) for row in range(array.GetNumberOfValues())]


@pytest.fixture
def made(scene, logic):
    node = ct()
    return node, logic.segmentVolume(node, "cube & bar", client=HeldClient()).segmentationNode


def test_segments_come_back_on_the_volumes_grid(made):
    node, segmentation = made
    placed = segmentsOnVolume(segmentation, node)
    assert [one.prompt for one in placed] == ["cube", "bar"] and placed[0].tags["MedImageParse.Model"] == "medimageparse3d"
    assert np.array_equal(placed[0].mask.full(), CUBE) and np.array_equal(placed[1].mask.full(), BAR)


def test_segments_of_another_grid_are_sampled_at_the_middle_of_each_voxel(made):
    _node, segmentation = made
    finer = oblique() @ np.diag([0.5, 0.5, 0.5, 1.0])
    finer[:3, 3] = (oblique() @ [-0.25, -0.25, -0.25, 1.0])[:3]
    shape = tuple(2 * size for size in CUBE.shape)
    other = nodeFromVolume(Volume(np.zeros(shape, np.uint8), finer), "finer")
    truth = CUBE.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(segmentsOnVolume(segmentation, other)[0].mask.full(), truth)
    part = oblique()
    part[:3, 3] = (oblique() @ [5, 4, 2, 1.0])[:3]  # begins inside the cube
    cut = nodeFromVolume(Volume(np.zeros((2, 6, 9), np.uint8), part), "cut")
    assert np.array_equal(segmentsOnVolume(segmentation, cut)[0].mask.full(), CUBE[2:4, 4:10, 5:14])
    away = oblique()
    away[:3, 3] += 5000
    far = nodeFromVolume(Volume(np.zeros((2, 6, 9), np.uint8), away), "far")
    assert segmentsOnVolume(segmentation, far)[0].mask.count == 0


def test_labelmaps_masks_and_statistics_are_written_as_the_segments_are_now(made, logic, tmp_path):
    node, segmentation = made
    segmentation.GetSegmentation().GetNthSegment(1).SetName("beam")
    names = {"labels": "l.nii.gz", "statistics": "s.csv", "masks": "masks"}
    saved = logic.saveResults(segmentation, node, **{name: str(tmp_path / file) for name, file in names.items()})
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nii.gz")))
    assert np.array_equal(labels, CUBE + 2 * BAR)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "masks" / "beam.nii.gz"))) != 0, BAR != 0)
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [row["name"] for row in rows] == ["cube", "beam"] and float(rows[1]["mean"]) == 200
    assert len(saved.paths) == 4 and saved.warnings == []


@pytest.mark.parametrize("isAi", [True, False])
def test_dicom_results_refer_to_the_series_and_say_whether_a_model_made_them(scene, logic, tmp_path, monkeypatch, isAi):
    import pydicom

    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: no DICOM results")
    write_series(tmp_path / "series", FrameOfReferenceUID="1.2.9", StudyID="1", StudyDate="")
    files = sorted(map(str, (tmp_path / "series").iterdir()))
    volume = read_image(tmp_path / "series")[0]
    node = nodeFromVolume(volume, "CT")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(str(pydicom.dcmread(file).SOPInstanceUID) for file in files))
    database = type("Database", (), {"isOpen": True, "instanceValue": lambda *_: "1.2.3", "filesForSeries": lambda *_: files})()
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    mask = np.zeros(volume.shape_kji, np.uint8)
    mask[1:3, 2:4, 3:6] = 1
    segmentation = importSegments(None, node, [spec("liver", mask)]).segmentationNode
    if isAi:
        segmentation.GetSegmentation().GetNthSegment(0).SetTag("MedImageParse.Model", "medimageparse3d")
    logic.saveResults(segmentation, node, dicomSeg=str(tmp_path / "s.dcm"), rtstruct=str(tmp_path / "r.dcm"))
    read = highdicom.seg.segread(tmp_path / "s.dcm")
    assert int(read.pixel_array.sum()) == 12 and ("AI-generated" in read.SeriesDescription) == isAi
    assert pydicom.dcmread(tmp_path / "r.dcm").StructureSetROISequence[0].ROIName == "liver"


def test_what_cannot_be_saved_is_one_sentence_and_nothing_is_written(made, logic, tmp_path):
    node, segmentation = made
    with pytest.raises(InputError, match="not loaded from one; save labelmaps instead"):
        logic.saveResults(segmentation, node, rtstruct=str(tmp_path / "r.dcm"))
    with pytest.raises(UsageError, match="Say what to write"):
        logic.saveResults(segmentation, node)
    with pytest.raises(UsageError):
        logic.saveResults(segmentation, node, labels=str(tmp_path / "l.txt"))
    with pytest.raises(UsageError, match="Choose a segmentation"):
        logic.saveResults(None, node, labels=str(tmp_path / "l.nii"))
    assert list(tmp_path.glob("*.*")) == []


def test_statistics_are_a_table_node_that_agrees_with_simpleitk(made, logic):
    node, segmentation = made
    table = logic.statistics(segmentation, node)
    filter_ = sitk.LabelStatisticsImageFilter()
    filter_.Execute(sitk.GetImageFromArray(phantom()), sitk.GetImageFromArray(CUBE + 2 * BAR))
    assert column(table, "name") == ["cube", "bar"] and column(table, "mean") == [filter_.GetMean(1), filter_.GetMean(2)]
    assert column(table, "voxels") == [filter_.GetCount(1), filter_.GetCount(2)]


def test_two_segmentations_are_compared_structure_by_structure_whatever_their_grids(made, logic):
    node, prediction = made
    smaller = CUBE.copy()
    smaller[1] = 0
    reference = importSegments(None, node, [spec("Cube", smaller), spec("bar", BAR)]).segmentationNode
    table = logic.evaluate(reference, prediction)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.GetImageFromArray(smaller), sitk.GetImageFromArray(CUBE))
    assert column(table, "structure") == ["Cube", "bar"]
    assert column(table, "dice") == pytest.approx([overlap.GetDiceCoefficient(1), 1.0])
    assert table.GetName().endswith(reference.GetName()) and "Protocol plain" in table.GetDescription()
    stranger = importSegments(None, node, [spec("unicorn", BAR)]).segmentationNode
    with pytest.raises(InputError, match="no name in common"):
        logic.evaluate(stranger, prediction)
    with pytest.raises(UsageError, match="protocol"):
        logic.evaluate(reference, prediction, protocol="mine")
