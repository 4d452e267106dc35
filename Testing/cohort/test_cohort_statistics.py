"""Sizes, gray values and places of structures, compared with SimpleITK and VTK."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from MedImageParseLib.cohort.instances import split_instances
from MedImageParseLib.cohort.statistics import describe, write_statistics
from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.volume import CroppedMask, Volume


def oblique() -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation * [0.8, 1.1, 3.0], [-40.0, 15.0, 700.0]
    return matrix


def case(seed: int, share: float = 0.1) -> tuple[Volume, np.ndarray]:
    rng = np.random.default_rng(seed)
    return Volume(rng.integers(-500, 900, (6, 9, 11)).astype(np.int16), oblique(), "CT"), rng.random((6, 9, 11)) < share


def as_itk(array: np.ndarray, matrix: np.ndarray) -> sitk.Image:
    lps = np.diag([-1.0, -1, 1, 1]) @ matrix
    image = sitk.GetImageFromArray(array)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.01, 0.9))
def test_values_and_centroid_are_those_of_simpleitk(seed, share):
    volume, inside = case(seed, share)
    if not inside.any():
        return
    found = describe(volume, CroppedMask.from_full(inside))
    label, image = as_itk(inside.astype(np.uint8), volume.ijk_to_ras), as_itk(volume.voxels, volume.ijk_to_ras)
    gray, shape = sitk.LabelStatisticsImageFilter(), sitk.LabelShapeStatisticsImageFilter()
    gray.Execute(image, label)
    shape.Execute(label)
    assert (found.mean, found.minimum, found.maximum) == (
        pytest.approx(gray.GetMean(1), abs=1e-6), gray.GetMinimum(1), gray.GetMaximum(1)
    )  # fmt: skip
    assert found.sd == pytest.approx(gray.GetSigma(1), abs=1e-6) if inside.sum() > 1 else found.sd == 0
    assert found.volume_ml == pytest.approx(shape.GetPhysicalSize(1) / 1000, abs=1e-9)
    assert np.array(found.centroid_mm) * [-1, -1, 1] == pytest.approx(shape.GetCentroid(1), abs=1e-6)
    assert found.median == np.median(volume.voxels[inside])


def test_deviation_and_mean_are_those_of_vtk_which_slicer_uses():
    vtk = pytest.importorskip("vtk", reason="VTK is not installed")
    from vtk.util.numpy_support import numpy_to_vtk

    volume, inside = case(5, 0.4)
    values = volume.voxels[inside]
    image = vtk.vtkImageData()
    image.SetDimensions(len(values), 1, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    oracle = vtk.vtkImageAccumulate()
    oracle.SetInputData(image)
    oracle.Update()
    found = describe(volume, CroppedMask.from_full(inside))
    assert (found.mean, found.sd) == (pytest.approx(oracle.GetMean()[0]), pytest.approx(oracle.GetStandardDeviation()[0]))
    assert (found.voxels, found.minimum, found.maximum) == (oracle.GetVoxelCount(), oracle.GetMin()[0], oracle.GetMax()[0])


def test_the_box_holds_every_corner_of_every_voxel_and_nothing_more():
    volume, inside = case(8, 0.05)
    found = describe(volume, CroppedMask.from_full(inside))
    centers = np.argwhere(inside)[:, ::-1]
    corners = np.concatenate([centers + np.array(offset) for offset in np.ndindex(2, 2, 2)]) - 0.5
    places = corners @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]
    assert np.array(found.box_mm) == pytest.approx(np.array([places.min(axis=0), places.max(axis=0)]), abs=1e-9)
    slices = np.unique(np.argwhere(inside)[:, 0])
    assert (found.slices, found.first_slice, found.last_slice) == (len(slices), slices[0], slices[-1])


def test_files_hold_one_row_a_structure_and_empty_cells_where_nothing_was_found(tmp_path):
    volume, inside = case(2)
    rows = [("liver", describe(volume, CroppedMask.from_full(inside))), ("unicorn", describe(volume, CroppedMask.empty(inside.shape)))]
    write_statistics(tmp_path / "s.csv", rows)
    write_statistics(tmp_path / "s.json", rows)
    with open(tmp_path / "s.csv", newline="") as lines:
        table = list(csv.DictReader(lines))
    data = json.loads((tmp_path / "s.json").read_text())
    assert [row["name"] for row in table] == ["liver", "unicorn"] and table[1]["mean"] == "" and table[1]["voxels"] == "0"
    assert float(table[0]["mean"]) == data[0]["mean"] and data[1]["centroid_mm"] is None and data[1]["found"] is False
    with pytest.raises(UsageError, match="must end with"):
        write_statistics(tmp_path / "s.txt", rows)


def test_a_picture_has_pixels_and_no_millilitres():
    picture = Volume(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), np.diag([-1.0, -1, 1, 1]), is_picture=True)
    found = describe(picture, CroppedMask.from_full(picture.voxels > 5))
    assert (found.voxels, found.volume_ml, found.centroid_mm, found.mean) == (6, None, None, 8.5)


def test_parts_that_do_not_touch_by_faces_are_structures_largest_first():
    mask = np.zeros((4, 8, 8), bool)
    mask[0, :2, :2], mask[2:4, 4:8, 4:8], mask[1, 2, 2], mask[0, 6, 0] = True, True, True, True
    parts = split_instances(CroppedMask.from_full(mask), 0.5, 0.0)
    assert [part.count for part in parts] == [32, 4, 1, 1]
    assert np.array_equal(sum(part.full() for part in parts), mask)
    assert [part.count for part in split_instances(CroppedMask.from_full(mask), 0.5, 2.0)] == [32, 4]
    assert split_instances(CroppedMask.empty((2, 2, 2)), 1.0, 0.0) == []
    with pytest.raises(UsageError, match="millilitres"):
        split_instances(CroppedMask.from_full(mask), 0.5, -1)
