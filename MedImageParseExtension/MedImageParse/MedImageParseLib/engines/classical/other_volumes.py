"""Volumes that are not CT (MR above all): what stands out from the background, and the brain of a head.

MR numbers mean nothing by themselves, so only shapes are found: the foreground by Otsu's threshold (N. Otsu, 1979), the brain as the
large bright mass deep inside a foreground of a head's size.
"""

from __future__ import annotations

import numpy as np

from .ct_scene import CtScene
from .grid import closed, dilate, distance_inside, erode, fill_slices, largest, opened

_HEAD_WIDTH_MM = (110.0, 230.0)


def otsu(values: np.ndarray) -> float:
    """The threshold that parts values into two classes most evenly spread each."""
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
    if not high > low:
        return high
    counts, edges = np.histogram(values, bins=256, range=(low, high))
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centers[int(np.nanargmax(between))])


def find_foreground(values: np.ndarray, spacing_kji: tuple[float, ...]) -> np.ndarray:
    """What stands out from a dark background, holes filled slice by slice; coarse boolean mask."""
    if float(values.min()) == float(values.max()):
        return np.zeros(values.shape, bool)
    # Half of Otsu's threshold: dark tissue (fluid, bone) belongs to the foreground too.
    low = float(np.percentile(values, 1.0))
    solid = values > low + 0.5 * (otsu(values) - low)
    solid = opened(solid, min(3.0, 0.05 * min(s * n for s, n in zip(spacing_kji[1:], values.shape[1:]))), spacing_kji)
    return fill_slices(closed(largest(fill_slices(solid), also_above=0.2), 7.0, spacing_kji))


def looks_like_head(foreground: np.ndarray, spacing_kji: tuple[float, ...]) -> bool:
    """A foreground of the size of a head; a knee or a prostate coil image can pass too, which this cannot know."""
    used = np.flatnonzero(foreground.any(axis=(0, 1)))
    if used.size == 0:
        return False
    width = (used[-1] - used[0] + 1) * spacing_kji[2]
    return _HEAD_WIDTH_MM[0] <= width <= _HEAD_WIDTH_MM[1]


def find_brain(values: np.ndarray, spacing_kji: tuple[float, ...]) -> np.ndarray:
    """The brain of a head on MR: the largest mass left when scalp and skull are taken off; coarse boolean mask."""
    head = find_foreground(values, spacing_kji)
    if not looks_like_head(head, spacing_kji):
        return np.zeros(values.shape, bool)
    inside = distance_inside(head, (1e3, *spacing_kji[1:]) if values.shape[0] < 3 else spacing_kji) > 12.0
    if not inside.any():
        return inside
    low = float(np.percentile(values[head], 2.0))
    tissue = inside & (values > low + 0.5 * (float(np.median(values[inside])) - low))
    core = largest(erode(tissue, 5.0, spacing_kji))
    return fill_slices(closed(dilate(core, 6.5, spacing_kji), 6.0, spacing_kji)) & head


def find_ct_brain(scene: CtScene) -> np.ndarray:
    """The inside of the skull on CT, empty where no slice shows a ring of bone."""
    spacing = scene.grid.spacing_kji
    ring = closed(scene.bones, 4.0, spacing)
    cavity = fill_slices(ring) & ~ring
    share = cavity.sum(axis=(1, 2)) / np.maximum(scene.body.sum(axis=(1, 2)), 1)
    cavity[share < 0.35] = False
    if (share >= 0.35).sum() * spacing[0] < 15.0:
        return np.zeros_like(cavity)
    return largest(opened(cavity & (scene.hu > -50.0), 3.0, spacing))
