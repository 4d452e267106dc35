"""Slabs: every slice used once, neighbours overlapping by two, merged to what the whole volume would have given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.slabs import guessed_axis, merge_slabs, slabs_for
from MedImageParseLib.imaging.volume import CroppedMask


def axis_of_biomedparse(shape: tuple[int, int, int]) -> int:
    """The rule as it was written down before the code."""
    s0, s1, s2 = shape
    return 0 if 2 * abs(s1 - s2) / (s1 + s2) < 0.5 else int(np.argmin(shape))


@pytest.mark.parametrize("shape,axis", [((512, 512, 300), 2), ((512, 512, 308), 0), ((240, 240, 155), 0), ((122, 101, 30), 2)])
def test_the_guess_of_the_published_network_is_known(shape, axis):
    assert guessed_axis(shape) == axis == axis_of_biomedparse(shape)


@pytest.mark.parametrize(
    "shape_ijk,is_cut",
    [
        ((512, 512, 300), False),
        ((512, 512, 308), True),
        ((240, 240, 155), True),
        ((122, 101, 30), False),
        ((256, 256, 1), False),
        ((150, 300, 200), True),
        ((200, 512, 300), True),
        ((180, 400, 320), True),
        ((60, 110, 100), True),
        ((100, 90, 80), True),
    ],
)
def test_auto_cuts_only_where_the_axis_trap_is(shape_ijk, is_cut):
    slabs, why = slabs_for("auto", shape_ijk[::-1])
    assert (len(slabs) > 1) == is_cut == bool(why)
    if is_cut:
        assert all(axis_of_biomedparse((*shape_ijk[:2], slab.stop - slab.start)) == 2 for slab in slabs)
        assert all(slab.stop - slab.start < min(0.55 * shape_ijk[1], shape_ijk[0]) for slab in slabs)


def test_auto_cuts_a_volume_that_is_larger_than_the_body_limit_into_slabs_that_fit():
    slabs, why = slabs_for("auto", (200, 512, 512), bytes_estimate=230, body_limit=100)
    assert "larger" in why
    assert max(slab.stop - slab.start for slab in slabs) / 200 * 230 <= 100
    assert slabs_for("auto", (200, 512, 512), bytes_estimate=99, body_limit=100) == slabs_for("none", (200, 512, 512))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 90), st.integers(1, 30))
def test_every_slice_is_used_once_and_neighbours_overlap_by_two(depth, count):
    slabs, why = slabs_for(str(count), (depth, 8, 8))
    assert 1 <= len(slabs) <= count
    assert [number for slab in slabs for number in range(slab.keep_start, slab.keep_stop)] == list(range(depth))
    for slab in slabs:
        assert 0 <= slab.start <= slab.keep_start < slab.keep_stop <= slab.stop <= depth
        # Every slice that is used is sent with the neighbours it has.
        assert slab.start <= max(slab.keep_start - 1, 0) and slab.stop >= min(slab.keep_stop + 1, depth)
    for upper, lower in itertools.pairwise(slabs):
        assert upper.stop - lower.start == 2
    if depth >= 3 * count:
        assert len(slabs) == count
    assert bool(why) == (count > 1)


@pytest.mark.parametrize("rows", range(4, 24))
def test_auto_ends_for_the_smallest_volumes_too(rows):
    """Where a slab may have three slices only, no number of unevenly cut ones would be enough."""
    for depth in range(1, 40):
        slabs, _why = slabs_for("auto", (depth, rows, 30))
        if len(slabs) > 1:
            assert max(slab.stop - slab.start for slab in slabs) <= 0.55 * rows


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40))
def test_slabs_that_are_sent_are_of_even_height(depth, count):
    slabs, _why = slabs_for(str(count), (depth, 8, 8))
    heights = [slab.stop - slab.start for slab in slabs]
    assert max(heights) - min(heights) <= 1


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 999), st.floats(0.0, 0.4))
def test_merged_masks_are_the_mask_of_the_whole(depth, count, seed, density):
    random = np.random.default_rng(seed)
    whole = (random.random((depth, 5, 6)) < density).astype(np.uint8)
    whole[random.integers(0, depth)] = 0
    slabs, _why = slabs_for(str(count), whole.shape)
    masks = []
    for slab in slabs:
        part = whole[slab.start : slab.stop].copy()
        # What is only context may be judged otherwise there; it must not be used.
        part[: slab.keep_start - slab.start] = 1
        part[slab.keep_stop - slab.start :] = 1
        masks.append(CroppedMask.from_full(part))
    merged = merge_slabs(slabs, masks, depth)
    assert merged.shape_kji == whole.shape
    np.testing.assert_array_equal(merged.full(), whole)


@pytest.mark.parametrize("setting", ["", "0", "-1", "two", "1.5", "²", "all"])
def test_unknown_slabs_are_bad_usage(setting):
    with pytest.raises(UsageError):
        slabs_for(setting, (30, 8, 8))


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 700), st.integers(4, 700), st.integers(1, 900))
def test_auto_never_leaves_a_slab_in_the_trap_where_it_cuts(i, j, k):
    slabs, why = slabs_for("auto", (k, j, i))
    heights = [slab.stop - slab.start for slab in slabs]
    if axis_of_biomedparse((i, j, k)) == 2:
        assert len(slabs) == 1 and not why
    elif len(slabs) > 1:
        assert all(axis_of_biomedparse((i, j, height)) == 2 and height < min(0.55 * j, i) for height in heights)
    else:  # said aloud, and only where no height of three slices and more would do
        assert "no cut" in why
        assert not any(axis_of_biomedparse((i, j, height)) == 2 and height < min(0.55 * j, i) for height in range(3, k))
