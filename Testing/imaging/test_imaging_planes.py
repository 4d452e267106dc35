"""The plane in which a volume was acquired, and planes whose slices are strips."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.geometry import PLANES, acquisition_plane, resolve_plane
from MedImageParseLib.imaging.volume import Volume

ACROSS = {0: "sagittal", 1: "coronal", 2: "axial"}  # the plane to which each patient axis (R, A, S) is normal


def volume_with(shape_kji, spacing_kji, ras_axes_kji, signs=(1, 1, 1), tilt: float = 0.0) -> Volume:
    """A volume whose array axes (k, j, i) run along these patient axes, turned by `tilt` radians about the first."""
    matrix = np.eye(4)
    for axis in range(3):
        direction = np.eye(3)[ras_axes_kji[axis]] * signs[axis]
        matrix[:3, 2 - axis] = direction * spacing_kji[axis]
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    return Volume(np.zeros(shape_kji, np.uint8), matrix)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("spacing", [4.0, 1.2, 0.5])
def test_the_axis_with_a_spacing_of_its_own_is_the_one_across_the_slices_wherever_it_lies(axes, spacing):
    for signs, tilt, place in product([(1, 1, 1), (-1, 1, -1)], [0.0, 0.3], range(3)):
        spacings = [0.8, 0.8, 0.8]
        spacings[place] = spacing
        assert acquisition_plane(volume_with((30, 40, 50), spacings, axes, signs, tilt)) == ACROSS[axes[place]]


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_even_voxels_are_taken_as_the_array_stacks_them_and_one_slice_is_its_own_plane(axes):
    assert acquisition_plane(volume_with((30, 40, 50), (1, 1, 1), axes)) == ACROSS[axes[0]]
    for place in range(3):
        shape = [40, 40, 40]
        shape[place] = 1
        assert acquisition_plane(volume_with(shape, (0.9, 0.8, 2.5), axes)) == ACROSS[axes[place]]


def test_a_picture_has_no_other_plane():
    picture = Volume(np.zeros((1, 10, 300), np.uint8), is_picture=True)
    assert all(resolve_plane(picture, plane) == "axial" for plane in ("auto", *PLANES))


def test_a_plane_across_a_few_slices_is_refused_and_the_own_one_named():
    few = volume_with((6, 50, 70), (4, 0.8, 0.8), (0, 2, 1))
    assert resolve_plane(few, "auto") == resolve_plane(few, "sagittal") == "sagittal"
    for plane, shape in (("axial", "70 x 6|6 x 70"), ("coronal", "50 x 6|6 x 50")):
        with pytest.raises(UsageError, match=rf"strip of ({shape}) pixels; its own slices are sagittal") as caught:
            resolve_plane(few, plane)
        assert caught.value.code == "strip"


def test_a_plane_across_many_or_small_slices_is_allowed():
    for shape in ((20, 512, 512), (12, 40, 40), (6, 20, 20)):
        volume = volume_with(shape, (5, 0.8, 0.8), (2, 1, 0))
        assert [resolve_plane(volume, plane) for plane in PLANES] == list(PLANES)


def test_a_plane_that_nobody_knows_is_named():
    with pytest.raises(UsageError, match="'oblique' is not known"):
        resolve_plane(volume_with((4, 4, 4), (1, 1, 1), (2, 1, 0)), "oblique")
