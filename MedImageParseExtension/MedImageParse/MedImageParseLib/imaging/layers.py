"""Masks of one grid: what they have in common, all of them together, and those that do not overlap put into one array, as Slicer keeps and
saves them: one layer is smaller than many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .volume import CroppedMask, three

_MOST = 255  # values that a layer of uint8 has beside the background


def share_layers(masks: Sequence[CroppedMask]) -> list[list[int]]:
    """Which masks can share an array: lists of their numbers, none of which overlaps another of its list.

    Args:
        masks: on one grid, none of them empty; the first goes into the first layer.
    """
    shared: list[list[int]] = []
    for number, mask in enumerate(masks):
        layer = next((each for each in shared if len(each) < _MOST and not any(overlap(masks[other], mask) for other in each)), None)
        if layer is None:
            shared.append([number])
        else:
            layer.append(number)
    return shared


def overlap(one: CroppedMask, other: CroppedMask) -> bool:
    """Whether two masks of one grid have a voxel in common."""
    common = _common(one, other)
    # Slice by slice: most overlaps are found early, and no copy of a whole organ is made.
    return common is not None and any(bool(np.any(a & b)) for a, b in zip(one.voxels[common[0]], other.voxels[common[1]]))


def within(mask: CroppedMask, other: CroppedMask) -> CroppedMask:
    """The voxels of a mask that are in another mask of the same grid too."""
    common = _common(mask, other)
    voxels = np.zeros_like(mask.voxels)
    if common is not None:
        voxels[common[0]] = mask.voxels[common[0]] & other.voxels[common[1]]
    return CroppedMask(mask.shape_kji, mask.start_kji, voxels).trimmed()


def without(mask: CroppedMask, *others: CroppedMask) -> CroppedMask:
    """The voxels of a mask that are in no other of these masks of the same grid."""
    voxels = mask.voxels.copy()
    for other in others:
        common = _common(mask, other)
        if common is not None:
            voxels[common[0]] &= (other.voxels[common[1]] == 0).view(np.uint8)
    return CroppedMask(mask.shape_kji, mask.start_kji, voxels).trimmed()


def union(masks: Sequence[CroppedMask]) -> CroppedMask:
    """One mask of everything in any of these masks of one grid, none of which is empty."""
    whole = common_box(masks)
    voxels = np.zeros([part.stop - part.start for part in whole], np.uint8)
    for mask in masks:
        voxels[_inside(mask.box, whole)] |= mask.voxels
    return CroppedMask(masks[0].shape_kji, three(part.start for part in whole), voxels)


def _inside(box: Sequence[slice], outer: Sequence[slice]) -> tuple[slice, ...]:
    """Where a box lies in the array of a box that holds it."""
    return tuple(slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(box, outer))


def _common(one: CroppedMask, other: CroppedMask) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """What two boxes have in common, in the array of either; None where that is nothing."""
    common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.box, other.box)]
    if any(part.start >= part.stop for part in common):
        return None
    return _inside(common, one.box), _inside(common, other.box)


def common_box(masks: Sequence[CroppedMask]) -> tuple[slice, slice, slice]:
    """The smallest box, kji, that holds all these masks, none of which is empty."""
    return three(slice(min(mask.box[axis].start for mask in masks), max(mask.box[axis].stop for mask in masks)) for axis in range(3))


def merged(masks: Sequence[CroppedMask]) -> CroppedMask:
    """One array of several masks that do not overlap, value k where the k-th is."""
    if len(masks) == 1:
        return masks[0]
    whole = common_box(masks)
    voxels = np.zeros([part.stop - part.start for part in whole], np.uint8)
    for label, mask in enumerate(masks, start=1):
        voxels[_inside(mask.box, whole)][mask.voxels != 0] = label
    return CroppedMask(masks[0].shape_kji, three(part.start for part in whole), voxels)


def planes(masks: Sequence[CroppedMask], shared: list[list[int]], shape_kji: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Slice by slice what these layers hold, the position in its layer (from 1) where a mask is.

    Args:
        masks: on one grid.
        shared: as `share_layers` gives it.
        shape_kji: of the grid.

    Yields:
        uint8 (j, i, layer), (j, i) where there is one layer; the array is used again for the next slice.
    """
    plane = np.zeros((*shape_kji[1:], max(len(shared), 1)), np.uint8)
    is_dirty = False
    for k in range(shape_kji[0]):
        if is_dirty:
            plane[:] = 0
        is_dirty = False
        for layer, members in enumerate(shared):
            for label, number in enumerate(members, start=1):
                mask = masks[number]
                if mask.box[0].start <= k < mask.box[0].stop:
                    plane[(*mask.box[1:], layer)] += mask.voxels[k - mask.start_kji[0]] * np.uint8(label)
                    is_dirty = True
        yield plane if len(shared) > 1 else plane[..., 0]
