"""Turning arrays towards patient directions and back, against nibabel's canonical orientation and patient coordinates by hand."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MedImageParseLib.imaging.geometry import AxisMap, SliceView, nearest_directions
from MedImageParseLib.imaging.volume import CroppedMask, Volume

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SHEAR = np.array([[1, 0.15, 0.1], [0, 1, 0.3], [-0.05, 0, 1]])
TILT = np.array(  # 18 degrees round x, then 12 round z
    [[0.97815, -0.20791, 0], [0.20791, 0.97815, 0], [0, 0, 1]]
) @ np.array([[1, 0, 0], [0, 0.95106, -0.30902], [0, 0.30902, 0.95106]])
WORLDS = {"straight": np.eye(3), "oblique": TILT, "sheared": SHEAR}
TOWARDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def affine_of(order, signs, world=np.eye(3), spacing=(0.8, 1.1, 2.7)) -> np.ndarray:
    """4x4 of a volume whose i, j, k run along +-x, y, z in some order."""
    matrix = np.diag([0.0, 0, 0, 1])
    for axis in range(3):
        matrix[order[axis], axis] = signs[axis] * spacing[axis]
    matrix[:3, :3] = world @ matrix[:3, :3]
    matrix[:3, 3] = [-40, 77, 1003]
    return matrix


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("order,signs", ORIENTATIONS)
def test_ras_turning_equals_nibabels_closest_canonical(order, signs, world):
    affine = affine_of(order, signs, WORLDS[world])
    voxels_ijk = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(np.int16)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(voxels_ijk, affine))
    voxels = voxels_ijk.transpose(2, 1, 0)
    axes = AxisMap.towards(affine, ("S", "A", "R"))
    np.testing.assert_array_equal(axes.apply(voxels), np.asarray(canonical.dataobj).transpose(2, 1, 0))
    np.testing.assert_allclose(axes.turned_matrix(affine, voxels.shape), canonical.affine, atol=1e-4)
    np.testing.assert_array_equal(axes.undo(axes.apply(voxels)), voxels)
    assert "".join(nearest_directions(affine)[::-1]) == "".join(nib.aff2axcodes(affine))


@pytest.mark.parametrize("order,signs", ORIENTATIONS)
def test_a_mask_comes_back_to_where_it_was_in_the_patient(order, signs):
    affine = affine_of(order, signs, TILT)
    mask = np.zeros((5, 4, 3), np.uint8)
    mask[1:4, 2:4, 0] = 1
    axes = AxisMap.towards(affine, ("S", "A", "R"))
    turned = CroppedMask.from_full(axes.apply(mask))
    back = axes.undo_mask(turned)
    np.testing.assert_array_equal(back.full(), mask)
    there = axes.turned_matrix(affine, mask.shape)

    def points(array, matrix):
        kji = np.argwhere(array)
        return sorted(map(tuple, np.round((matrix @ np.c_[kji[:, ::-1], np.ones(len(kji))].T).T[:, :3], 6)))

    assert points(mask, affine) == points(turned.full(), there)


def test_an_empty_mask_comes_back_empty_on_the_right_grid():
    axes = AxisMap.towards(affine_of((2, 0, 1), (1, -1, 1)), ("S", "A", "R"))
    turned_shape = axes.apply(np.zeros((5, 4, 3))).shape
    assert axes.undo_mask(CroppedMask.empty(turned_shape)).shape_kji == (5, 4, 3)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_any_rotation_gives_each_patient_axis_once_and_an_exact_way_back(seed):
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0] * random.uniform(0.3, 5, 3)
    letters = nearest_directions(affine)
    assert sorted(TOWARDS[letter][0] for letter in letters) == [0, 1, 2]
    voxels = random.integers(0, 99, (2, 3, 4))
    axes = AxisMap.towards(affine, ("I", "L", "P"))
    np.testing.assert_array_equal(axes.undo(axes.apply(voxels)), voxels)


VIEWS = {"axial": ("P", "L"), "coronal": ("I", "L"), "sagittal": ("I", "P")}
ACROSS = {"axial": 2, "coronal": 1, "sagittal": 0}


@pytest.mark.parametrize("plane", VIEWS)
@pytest.mark.parametrize("world", WORLDS)
def test_the_radiological_view_runs_the_right_way_in_the_patient_for_all_48_orientations(plane, world):
    for order, signs in ORIENTATIONS:
        affine = affine_of(order, signs, WORLDS[world])
        volume = Volume(np.zeros((5, 4, 3), np.uint8), affine)
        view = SliceView.of(volume, plane)
        indices = np.stack(np.meshgrid(*map(np.arange, (5, 4, 3)), indexing="ij"), axis=-1)  # each voxel holds its own kji
        turned = view.axes.apply(indices)

        def place(kji):
            return (affine @ [*kji[::-1], 1])[:3]

        down = place(turned[0, 1, 0]) - place(turned[0, 0, 0])
        right = place(turned[0, 0, 1]) - place(turned[0, 0, 0])
        for step, letter in zip((down, right), VIEWS[plane]):
            axis, sign = TOWARDS[letter]
            assert np.argmax(np.abs(step)) == axis and np.sign(step[axis]) == sign
        # Slices are counted along the volume's own array axis, in its own order.
        first, second = turned[0, 0, 0], turned[1, 0, 0]
        assert (second - first).sum() == 1 and np.argmax(np.abs(place(second) - place(first))) == ACROSS[plane]
        assert first[np.argmax(second - first)] == 0
        assert view.count(volume) == (5, 4, 3)[int(np.argmax(second - first))]


@pytest.mark.parametrize("plane", VIEWS)
@pytest.mark.parametrize("down,right", [("", ""), ("L", "A"), ("R", "A"), ("A", "R")])
def test_slices_put_back_in_place_are_the_volume_again(plane, down, right):
    if down and plane != "axial":
        down, right = {"coronal": ("S", "R"), "sagittal": ("A", "S")}[plane]
    for order, signs in ORIENTATIONS[::5]:
        volume = Volume((np.random.default_rng(1).random((5, 4, 3)) > 0.6).astype(np.uint8), affine_of(order, signs))
        view = SliceView.of(volume, plane, down=down, right=right)
        slices = {index: view.axes.apply(volume.voxels)[index] for index in range(view.count(volume))}
        np.testing.assert_array_equal(view.place(slices, volume.shape_kji).full(), volume.voxels)
        some = {index: slices[index] for index in list(slices)[1::2]}
        mask = view.place(some, volume.shape_kji)
        expected = volume.voxels.copy()
        keep = np.isin(np.indices(volume.shape_kji)[view.axes.order[0]], list(some))
        np.testing.assert_array_equal(mask.full(), expected * keep)


def test_a_picture_is_never_turned():
    volume = Volume(np.zeros((1, 7, 9), np.uint8), np.diag([-1.0, -1, 1, 1]), is_picture=True)
    for plane in VIEWS:
        view = SliceView.of(volume, plane)
        assert view.axes.order == (0, 1, 2) and view.axes.flips == (False, False, False) and view.count(volume) == 1
