"""What the demo finds on the product's own sample it finds behind the window that the client chooses for it: alone, together, in any order."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from MedImageParseLib.engines.classical.calibration import calibrate, not_brain
from MedImageParseLib.engines.classical.engine import segment_volume
from MedImageParseLib.engines.classical.phantom import make_phantom
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.imaging.windows import CT_WINDOWS, apply_window, choose_window
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


def thinned(sample, *steps: int):
    """The sample with every n-th slice, row and column: less work, and the same organs."""
    some = tuple(slice(None, None, step) for step in steps)
    matrix = sample.ijk_to_ras @ np.diag([*map(float, steps[::-1]), 1.0])
    references = {name: mask[some] for name, mask in sample.references.items()}
    return SimpleNamespace(voxels=np.ascontiguousarray(sample.voxels[some]), ijk_to_ras=matrix, references=references)


@pytest.fixture(scope="module")
def coarse(sample):
    return thinned(sample, 1, 2, 2)


@pytest.fixture(scope="module")
def coarser(sample):
    """For windows in which organs stand out enough: half the work again."""
    return thinned(sample, 2, 2, 2)


def agreements(sample, window, prompts) -> dict[str, float]:
    """Dice of each prompt with what the sample holds; the smaller structure wins in a labelmap."""
    labels = segment_volume(apply_window(sample.voxels, window), sample.ijk_to_ras, list(prompts))
    found = {}
    for value, prompt in enumerate(prompts, 1):
        truth = sample.references[prompt].copy()
        for other in prompts:
            if other != prompt and np.count_nonzero(sample.references[other]) < np.count_nonzero(truth):
                truth &= ~sample.references[other]
        got = labels == value
        found[prompt] = 2 * np.count_nonzero(got & truth) / max(1, np.count_nonzero(got) + np.count_nonzero(truth))
    return found


@pytest.mark.parametrize("setting, prompts", SETS, ids=str)
def test_what_the_sample_holds_is_found_alone_together_and_in_any_order(coarser, setting, prompts):
    volume = Volume(coarser.voxels, coarser.ijk_to_ras, modality="CT")
    window = choose_window(volume, setting, [site for site in map(site_of, prompts) if site], "medimageparse3d")
    found = agreements(coarser, window, prompts)
    assert min(found.values()) > LEAST, (found, window.describe())


def test_the_liver_ends_where_the_vena_cava_leaves_it(coarse):
    found, truth = segment_volume(coarse.voxels, coarse.ijk_to_ras, ["liver"]) == 1, coarse.references["liver"]
    lowest = lambda mask: (np.argwhere(mask)[:, ::-1] @ coarse.ijk_to_ras[:3, :3].T)[:, 2].min()  # noqa: E731
    assert lowest(truth) - lowest(found) < 15  # mm


# Behind a brain window all that contrast medium brightens is white: nothing but the outline is left of a trunk.
@pytest.mark.parametrize("name", sorted(set(CT_WINDOWS) - {"brain"}))
def test_a_window_chosen_by_name_hides_nothing_that_it_shows(coarse, name):
    """Where fat is as black as air, lung cannot be told from it, and of the outline only the skin is left."""
    window = choose_window(Volume(coarse.voxels, coarse.ijk_to_ras, modality="CT"), name, [], "medimageparse3d")
    shows_fat = CT_WINDOWS[name][0] < -125
    prompts = [str(each) for each in np.random.default_rng(len(name)).permutation(FINDABLE)]
    found = agreements(coarse, window, prompts)
    assert {prompt: dice for prompt, dice in found.items() if prompt not in ("lungs", "body") and dice <= LEAST} == {}
    assert found["lungs"] > 0.9 if shows_fat else found["lungs"] == 0
    assert found["body"] > (0.9 if shows_fat else 0.6)


def test_percentiles_for_a_window_hide_nothing(sample):
    window = choose_window(Volume(sample.voxels, sample.ijk_to_ras, modality="CT"), "percentile", [], "medimageparse3d")
    found = agreements(sample, window, EVERYTHING)
    assert min(found.values()) > LEAST, found


@pytest.mark.parametrize("name", sorted(set(CT_WINDOWS) - {"brain"}))
def test_each_window_is_recognized_by_what_is_seen_through_it(coarser, name):
    low, high = CT_WINDOWS[name]
    sent = apply_window(coarser.voxels, choose_window(Volume(coarser.voxels, modality="CT"), name, [], "medimageparse3d"))
    read = not_brain(sent, calibrate(sent))
    inside = np.array([max(low, -100), 40, min(high, 150)], float)
    assert np.abs(read.hu((inside - low) / (high - low) * 255) - inside).max() < 12


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
