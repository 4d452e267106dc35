"""What the demo finds on the product's own sample it finds behind the window that the client chooses for it: alone, together, in any order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from MedImageParseLib.engines.classical.engine import segment_volume
from MedImageParseLib.engines.classical.phantom import make_phantom
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.imaging.windows import apply_window, choose_window
from MedImageParseLib.prompts.sites import site_of

FINDABLE = ("lungs", "bones", "body", "liver", "spleen", "left kidney", "right kidney")
LEAST = 0.7  # Dice
RANDOM = np.random.default_rng(7)
EVERYTHING = tuple(str(name) for name in RANDOM.permutation(FINDABLE))
SETS = [
    ("auto", names) for names in (("lungs",), ("bones",), ("body",), ("left kidney",), ("lungs", "body"), ("bones", "lungs"), EVERYTHING)
]
SETS += [("raw", EVERYTHING[::-1]), ("auto", ("spleen", "bones", "liver"))]


@pytest.fixture(scope="module")
def sample():
    return make_phantom()


@pytest.mark.parametrize("setting, prompts", SETS, ids=str)
def test_what_the_sample_holds_is_found_alone_together_and_in_any_order(sample, setting, prompts):
    volume = Volume(sample.voxels, sample.ijk_to_ras, modality="CT")
    window = choose_window(volume, setting, [site for site in map(site_of, prompts) if site], "medimageparse3d")
    labels = segment_volume(apply_window(volume.voxels, window), volume.ijk_to_ras, list(prompts))
    for value, prompt in enumerate(prompts, 1):
        truth = sample.references[prompt].copy()
        for other in prompts:
            if other != prompt and np.count_nonzero(sample.references[other]) < np.count_nonzero(truth):
                truth &= ~sample.references[other]  # the smaller one wins in a labelmap
        got = labels == value
        assert 2 * np.count_nonzero(got & truth) > LEAST * (np.count_nonzero(got) + np.count_nonzero(truth)), (prompt, window.describe())


def head(scalp: float, skull: float, fluid: float, gray: float, white: float, noise: float) -> np.ndarray:
    """A head on MR as a stack of ellipses."""
    _k, j, i = np.indices((40, 80, 70))
    radius = np.hypot(j - 40, (i - 35) / 0.85)
    voxels = np.select([radius < r for r in (8, 25, 30, 31, 33, 36)], [fluid, white, gray, fluid, skull, scalp], 0.0)
    return np.abs(voxels + np.random.default_rng(1).normal(0, noise, voxels.shape)).astype(np.uint16)


@pytest.mark.parametrize("noise", [2, 6])
@pytest.mark.parametrize(
    "shades", [(250, 30, 60, 140, 200), (220, 40, 80, 120, 150), (400, 30, 60, 110, 170), (180, 20, 90, 150, 190), (300, 60, 200, 160, 120)]
)
def test_a_head_on_mr_is_not_taken_for_a_ct(shades, noise):
    voxels, matrix = head(*shades, noise), np.diag([2.6, 2.6, 4.0, 1.0])
    for setting in ("auto", "raw"):
        sent = apply_window(voxels, choose_window(Volume(voxels, matrix), setting, ["brain"], "medimageparse3d"))
        labels = segment_volume(sent, matrix, ["brain", "lungs", "bones", "liver", "kidneys"])
        counts = np.bincount(labels.ravel(), minlength=6)
        assert counts[1] > 20_000 and not counts[2:].any(), list(itertools.islice(counts, 6))
