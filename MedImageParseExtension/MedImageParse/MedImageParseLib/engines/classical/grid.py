"""A coarser copy of a volume to think on, and the way back to the volume's own voxels.

Finding organs needs 2 to 3 mm, not 0.7: block means on such a grid are quick, bounded in memory, and less noisy. Masks come back by
linear interpolation, cut where the interpolated mask crosses one half.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from ...imaging.volume import bounding_box, three

# Memory and time stay bounded whatever the volume: no more coarse voxels than this (about 430 x 430 x 430 mm at 3 mm).
_MOST_VOXELS = 3_000_000


@dataclass(slots=True, frozen=True)
class Grid:
    """The coarse grid of a volume.

    Attributes:
        shape_kji: size of the full volume.
        factors_kji: how many voxels a coarse voxel holds along each axis.
        spacing_kji: size of a coarse voxel in mm.
    """

    shape_kji: tuple[int, int, int]
    factors_kji: tuple[int, int, int]
    spacing_kji: tuple[float, float, float]

    @property
    def coarse_shape_kji(self) -> tuple[int, int, int]:
        return three(-(-size // factor) for size, factor in zip(self.shape_kji, self.factors_kji))

    @property
    def voxel_ml(self) -> float:
        """Volume of a coarse voxel in mL."""
        return float(np.prod(self.spacing_kji)) / 1000.0


def make_grid(shape_kji: tuple[int, int, int], spacing_kji: tuple[float, float, float], target_mm: float = 3.0) -> Grid:
    """The grid with coarse voxels of about `target_mm`, coarser where the volume is very large."""
    while True:
        factors = three(int(min(size, max(1, int(target_mm / spacing + 0.3)))) for size, spacing in zip(shape_kji, spacing_kji))
        grid = Grid(three(shape_kji), factors, three(float(f * s) for f, s in zip(factors, spacing_kji)))
        if np.prod(grid.coarse_shape_kji) <= _MOST_VOXELS or all(f >= s for f, s in zip(factors, shape_kji)):
            return grid
        target_mm *= 1.25


def coarsen(voxels_kji: np.ndarray, grid: Grid, low: float, high: float) -> np.ndarray:
    """Block means of the volume on the coarse grid, float32, values clipped to low..high first; not-a-numbers count as low."""
    fk, fj, fi = grid.factors_kji
    out = np.empty(grid.coarse_shape_kji, np.float32)
    j_starts, i_starts = np.arange(0, voxels_kji.shape[1], fj), np.arange(0, voxels_kji.shape[2], fi)
    counts_j = np.diff(np.append(j_starts, voxels_kji.shape[1]))
    counts_i = np.diff(np.append(i_starts, voxels_kji.shape[2]))
    area = np.outer(counts_j, counts_i).astype(np.float32)
    # One slab at a time: the working copy is never larger than a few slices.
    for k in range(out.shape[0]):
        slab = np.asarray(voxels_kji[k * fk : (k + 1) * fk], np.float32)
        if slab.dtype.kind == "f":
            slab = np.nan_to_num(slab, nan=low, posinf=high, neginf=low)
        slab = np.clip(slab, low, high).mean(axis=0)
        out[k] = np.add.reduceat(np.add.reduceat(slab, j_starts, axis=0), i_starts, axis=1) / area
    return out


def refine(mask: np.ndarray, grid: Grid) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """A coarse mask on the volume's own voxels.

    Returns:
        the box of the full volume that holds the mask, and the boolean voxels of that box; None where the mask is empty.
    """
    import SimpleITK as sitk

    box = bounding_box(mask)
    if box is None:
        return None
    if grid.factors_kji == (1, 1, 1):
        return box, mask[box] != 0
    box = tuple(slice(max(0, s.start - 1), min(size, s.stop + 1)) for s, size in zip(box, mask.shape))
    full = tuple(slice(s.start * f, min(s.stop * f, size)) for s, f, size in zip(box, grid.factors_kji, grid.shape_kji))
    # Edge voxels are repeated outwards once, so that a mask that reaches the volume's border keeps it.
    coarse = sitk.GetImageFromArray(np.pad(mask[box].astype(np.float32), 1, mode="edge"))
    coarse.SetSpacing([float(f) for f in grid.factors_kji[::-1]])
    coarse.SetOrigin([(f - 1) / 2.0 - f for f in grid.factors_kji[::-1]])
    size = [s.stop - s.start for s in full[::-1]]
    fine = sitk.Resample(coarse, size, sitk.Transform(), sitk.sitkLinear, [0.0] * 3, [1.0] * 3, [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], 0.0)
    return full, sitk.GetArrayViewFromImage(fine) >= 0.5


def distance_inside(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance in mm from each voxel inside the mask to the nearest voxel outside, float32; the volume's border is no outside."""
    import SimpleITK as sitk

    if mask.all() or not mask.any():
        return np.where(mask, np.float32(1e3), np.float32(0))
    out = np.zeros(mask.shape, np.float32)
    box = _grown_box(mask, [1] * mask.ndim)
    image = sitk.GetImageFromArray((~mask[box]).astype(np.uint8))
    image.SetSpacing([float(s) for s in spacing[::-1]])
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    np.maximum(sitk.GetArrayViewFromImage(distance), 0.0, out=out[box])
    return out


def erode(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """The voxels deeper than `mm` inside the mask."""
    out = mask.astype(bool)
    if out.any():
        box = _grown_box(out, [1] * out.ndim)
        out[box] &= ~dilate(~out[box], mm, spacing)
    return out


def dilate(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """The mask and what is within `mm` of it."""
    out = mask.astype(bool)
    if out.any() and not out.all():
        # Only the neighborhood counts: most masks are far smaller than the volume.
        box = _grown_box(out, [int(mm / step) + 1 for step in spacing])
        rows = _rows_of_ball(float(mm), tuple(float(step) for step in spacing))
        out[box] = _painted(out[box], rows) if rows else distance_inside(~out[box], spacing) <= mm
    return out


_MOST_ROWS = 500  # of a ball and its corners; beyond that a map of distances takes less time
_ROUNDING = 1 + 1e-6


@lru_cache(maxsize=64)
def _rows_of_ball(mm: float, spacing: tuple[float, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """A ball as rows along the last axis: (half length, offset along the other axes) of each, the shortest first; none where they would be
    too many. What is as far as `mm` but for rounding belongs to the ball."""
    *others, step = spacing
    reach = [int(mm / each * _ROUNDING) for each in others]
    if np.prod([2.0 * n + 1 for n in reach]) > _MOST_ROWS:
        return []
    rows = []
    for offset in product(*(range(-n, n + 1) for n in reach)):
        rest = (mm * _ROUNDING) ** 2 - sum((n * each) ** 2 for n, each in zip(offset, others))
        if rest >= 0:
            rows.append((int(rest**0.5 / step), offset))
    return sorted(rows)


def _painted(mask: np.ndarray, rows: list[tuple[int, tuple[int, ...]]]) -> np.ndarray:
    """The mask with a ball at each of its voxels: lengthened along the last axis as far as each row goes, and shifted to the row."""
    out, long, half = np.zeros_like(mask), mask.copy(), 0
    for length, offset in rows:
        for step in range(half + 1, min(length, mask.shape[-1] - 1) + 1):
            long[..., step:] |= mask[..., :-step]
            long[..., :-step] |= mask[..., step:]
            half = step
        there = tuple(slice(max(0, n), max(0, size + n)) for n, size in zip(offset, mask.shape))
        here = tuple(slice(max(0, -n), max(0, size - n)) for n, size in zip(offset, mask.shape))
        out[there] |= long[here]
    return out


def _grown_box(mask: np.ndarray, margins: list[int]) -> tuple[slice, ...]:
    box = bounding_box(mask) or ()  # nobody asks about an empty mask
    return tuple(slice(max(0, s.start - m), min(size, s.stop + m)) for s, m, size in zip(box, margins, mask.shape))


def opened(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """The mask without its parts thinner than about two times `mm`."""
    return dilate(erode(mask, mm, spacing), mm, spacing) & mask


def closed(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """The mask with gaps narrower than about two times `mm` filled."""
    return erode(dilate(mask, mm, spacing), mm, spacing) | mask


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Face-connected components: int32 labels in the mask's shape, and the voxel counts (index 0 is the outside)."""
    from scipy import ndimage

    labels, _count = ndimage.label(mask)
    return labels, np.bincount(labels.ravel())


def largest(mask: np.ndarray, also_above: float = 1.0) -> np.ndarray:
    """The largest component, with those of at least `also_above` times its size."""
    labels, counts = components(mask)
    if counts.size < 2:
        return np.zeros_like(mask, dtype=bool)
    counts[0] = 0
    return (counts >= max(1, also_above * counts.max()))[labels] & mask


def fill_slices(mask: np.ndarray, largest_hole: float | None = None) -> np.ndarray:
    """Holes filled in each axial slice; with `largest_hole` only those of at most so many voxels."""
    from scipy import ndimage

    out = mask.copy()
    for k in range(mask.shape[0]):
        if not mask[k].any():
            continue
        filled = ndimage.binary_fill_holes(mask[k])
        if largest_hole is not None:
            labels, counts = components(filled & ~mask[k])
            counts[0] = 0
            filled = mask[k] | ((counts > 0) & (counts <= largest_hole))[labels]
        out[k] = filled
    return out
