"""The made-up CT: true Hounsfield units, anatomy on the right side, oblique, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from MedImageParseLib.engines.classical.phantom import make_phantom
from MedImageParseLib.imaging.geometry import nearest_directions
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.imaging.windows import looks_like_ct


@pytest.fixture(scope="module")
def phantom():
    return make_phantom()


def centroid_ras(phantom, name: str) -> np.ndarray:
    k, j, i = (index.mean() for index in np.nonzero(phantom.references[name]))
    return (phantom.ijk_to_ras @ [i, j, k, 1])[:3]


def test_tissues_have_their_hounsfield_units(phantom):
    medians = {name: np.median(phantom.voxels[mask]) for name, mask in phantom.references.items()}
    assert -900 < medians["lungs"] < -800 and 90 < medians["liver"] < 130 and 100 < medians["spleen"] < 140
    assert 170 < medians["kidneys"] < 220 and medians["bones"] > 200 and medians["airways"] < -850
    assert -1010 < np.median(phantom.voxels[~phantom.references["body"]]) < -990
    assert phantom.voxels.dtype == np.int16 and phantom.voxels.min() >= -1024


def test_organs_lie_where_they_lie_in_a_patient(phantom):
    at = {name: centroid_ras(phantom, name) for name in phantom.references}
    right, front, up = 0, 1, 2
    assert at["liver"][right] > at["body"][right] + 30 and at["spleen"][right] < at["body"][right] - 50
    assert at["right kidney"][right] > at["left kidney"][right] + 80 and at["right lung"][right] > at["left lung"][right] + 80
    assert at["right kidney"][up] < at["left kidney"][up] < at["spleen"][up] and at["liver"][up] < at["lungs"][up]
    assert at["bones"][front] < at["liver"][front] and at["kidneys"][front] < at["liver"][front]


def test_volumes_of_organs_are_those_of_an_adult(phantom):
    ml = {name: mask.sum() * abs(np.linalg.det(phantom.ijk_to_ras[:3, :3])) / 1000 for name, mask in phantom.references.items()}
    assert 1000 < ml["liver"] < 2000 and 100 < ml["spleen"] < 400 and 200 < ml["kidneys"] < 450 and 1000 < ml["lungs"] < 4000


def test_it_is_oblique_with_an_origin_far_away_and_looks_like_a_ct(phantom):
    directions = phantom.ijk_to_ras[:3, :3] / np.linalg.norm(phantom.ijk_to_ras[:3, :3], axis=0)
    assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-12) and np.linalg.det(directions) > 0
    assert nearest_directions(phantom.ijk_to_ras) == ("S", "P", "L") and np.abs(directions).max() < 0.995
    assert np.linalg.norm(phantom.ijk_to_ras[:3, 3]) > 200 and looks_like_ct(Volume(phantom.voxels, phantom.ijk_to_ras))


def test_organs_do_not_overlap_and_parts_make_the_whole(phantom):
    masks = phantom.references
    single = [masks[name] for name in ("right lung", "left lung", "airways", "bones", "liver", "spleen", "right kidney", "left kidney")]
    assert np.sum(single, axis=0).max() == 1
    assert np.array_equal(masks["lungs"], masks["left lung"] | masks["right lung"])
    assert not any(mask[~masks["body"]].any() for mask in single)


def test_it_is_the_same_every_time(phantom):
    assert np.array_equal(make_phantom().voxels, phantom.voxels)
