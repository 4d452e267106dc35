"""A volume of one slice is that slice, however it lies; a plane along which slices are strips is refused."""

from __future__ import annotations

import numpy as np
import pytest
from exactness_support import affine_of

from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges
from MedImageParseLib.api.segment import segment
from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.volume import Volume

ORDERS = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}


@pytest.fixture(scope="module")
def served():
    double = EndpointDouble(GrayRanges({"cube": (40, 60)}))
    with double.serve() as url:
        yield double, url


def slab(plane: str, slices: int) -> Volume:
    voxels = np.random.default_rng(3).integers(0, 200, (slices, 50, 70)).astype(np.int16)
    return Volume(voxels, affine_of(ORDERS[plane], (1, 1, 1), spacing=(1.0, 1.0, 4.0)))


@pytest.mark.parametrize("plane", ORDERS)
def test_a_volume_of_one_slice_is_sent_as_that_slice_without_asking(served, plane):
    double, url = served
    double.seen.clear()
    result = segment(slab(plane, 1), "cube", model="medimageparse", endpoint=url)
    assert len(double.seen) == 1 and result.report["plane"] == plane and result.report["slices"] == [0]


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_a_plane_of_strips_is_refused_with_the_one_to_choose_and_auto_takes_it(served, plane):
    double, url = served
    double.seen.clear()
    with pytest.raises(UsageError, match=f"{plane}: choose that plane"):
        segment(slab(plane, 6), "cube", model="medimageparse", endpoint=url, slices="all")
    assert not double.seen
    result = segment(slab(plane, 6), "cube", model="medimageparse", endpoint=url, slices="all", plane="auto")
    assert len(double.seen) == 6 and result.report["plane"] == plane
