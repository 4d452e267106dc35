"""The brain in a volume: the head is brought to the network's size, its answer back to the volume's voxels, and it is looked at first and last.

The network finds something in everything. So it is not asked about what is no head on MR, and what it finds is not believed where it has
not the size, the place or the contrast (white matter brighter than the rim) of a brain on a T1-weighted image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .network import SIZE, Network

_LOWEST_HU = -200.0  # a CT has air; MR has nothing so far below zero
_FEWEST_MM, _MOST_MM = 60.0, 420.0  # of the volume along each axis
_MOST_CUT_OFF = 0.04  # of the head at the very highest value: more is bone beyond a CT's window
_FEWEST_VOXELS = 8  # along each axis; a picture is no volume, whatever its slice is said to be thick
_SMOOTHED_MM = 1.0  # standard deviation: without it the network finds nothing in a noisy image
_THRESHOLD = 0.7  # its masks are generous; at 0.5 they take the fluid around the brain too
_BRIGHTEST = 99.9  # percentile that becomes 1: one bright vessel must not darken the head
_SMALLEST_ML, _LARGEST_ML = 400.0, 2300.0  # from an infant's brain to beyond the largest adult's
_LEAST_IN_ONE_PIECE = 0.8  # of all that was found
_RIM_MM = 4.0
_LEAST_CONTRAST = 1.03  # of what is deeper than the rim to the rim
_AROUND_MM = (2.0, 7.0)  # where the skull is
_BRIGHTEST_AROUND = 0.8  # of that to the inside: bone is dark on MR, and the brightest of all on CT


@dataclass(slots=True)
class Found:
    """What came of a search for the brain.

    Attributes:
        mask: booleans of the volume's shape; None where there is no brain, or none that can be believed.
        reason: why there is none, a sentence.
        was_looked_at: the network was asked; False where the volume is nothing for it.
    """

    mask: np.ndarray | None = None
    reason: str = ""
    was_looked_at: bool = False


def find_brain(voxels: np.ndarray, spacing: tuple[float, float, float], network: Network) -> Found:
    """The brain on T1-weighted MR of a head.

    Args:
        voxels: axes towards superior, anterior, right; numbers.
        spacing: mm along these axes.
        network: deepbrain's.
    """
    reason = no_head(voxels, spacing)
    if reason:
        return Found(reason=reason)
    down = [_weights(size, step) for size, step in zip(voxels.shape, spacing)]
    image = voxels.astype(np.float32)
    for weights in down:  # each contraction puts its axis last, so after three of them they are in order again
        image = np.tensordot(image, weights, axes=(0, 1))
    low, high = float(image.min()), float(np.percentile(image, _BRIGHTEST))
    if not high > low:
        return Found(reason="The volume holds one value nearly everywhere.")
    image = np.clip((image - low) / (high - low), 0, 1)
    # What it was trained on runs towards right, superior, posterior: turned as the files of its training sets are.
    sure = network.probabilities(np.ascontiguousarray(image[:, ::-1].transpose(2, 0, 1))).transpose(1, 2, 0)[:, ::-1]
    step = tuple(size * mm / SIZE for size, mm in zip(voxels.shape, spacing))
    sure, reason = _believed(sure, image, step)
    if reason:
        return Found(reason=reason, was_looked_at=True)
    return Found(_at_full_size(sure, voxels.shape), was_looked_at=True)


def no_head(voxels: np.ndarray, spacing: tuple[float, float, float]) -> str:
    """Why a volume is nothing for the network; "" where it may show a head.

    Args:
        voxels: as for find_brain.
        spacing: as for find_brain.
    """
    from ..classical.grid import coarsen, make_grid
    from ..classical.other_volumes import find_foreground, looks_like_head

    extent = [size * mm for size, mm in zip(voxels.shape, spacing)]
    if not voxels.size or not np.isfinite(voxels).all() or voxels.min() == voxels.max():
        return "The volume holds one value everywhere, or values that are no numbers."
    if voxels.min() < _LOWEST_HU:
        return "The volume looks like a CT, and deepbrain knows MR only."
    if min(extent) < _FEWEST_MM or min(voxels.shape) < _FEWEST_VOXELS:
        return "The volume is too thin to hold a head."
    if max(extent) > _MOST_MM:
        return "The volume is larger than one of a head."
    grid = make_grid(voxels.shape, spacing)
    foreground = find_foreground(coarsen(voxels, grid, -4096.0, 32767.0), grid.spacing_kji)
    if not looks_like_head(foreground, grid.spacing_kji):
        return "Nothing of the size of a head was found."
    if (voxels == voxels.max()).mean() > _MOST_CUT_OFF * foreground.mean():
        return "The brightest tissue is cut off, as bone is behind a CT's window, and deepbrain knows MR only."
    return ""


def _believed(sure: np.ndarray, image: np.ndarray, step: tuple[float, ...]) -> tuple[np.ndarray, str]:
    """The probabilities of the largest piece without holes, and why it is no brain ("" where it is one)."""
    from scipy import ndimage

    labels, count = ndimage.label(sure > _THRESHOLD)
    if not count:
        return sure, "Nothing that looks like a brain was found."
    counts = np.bincount(labels.ravel())[1:]
    piece = labels == 1 + int(np.argmax(counts))
    inside = ndimage.binary_fill_holes(piece)
    millilitres = float(inside.sum()) * float(np.prod(step)) / 1000
    if not _SMALLEST_ML < millilitres < _LARGEST_ML:
        return sure, f"What was found has {millilitres:.0f} ml, which is not the size of a brain."
    if counts.max() < _LEAST_IN_ONE_PIECE * counts.sum():
        return sure, "What was found lies in several pieces, which no brain does."
    reason = _unlike_t1(inside[::2, ::2, ::2], image[::2, ::2, ::2], tuple(2 * mm for mm in step))  # every other voxel says as much
    if reason:
        return sure, reason
    near = ndimage.binary_dilation(inside, iterations=2)  # so that the edge is interpolated as the network sees it
    return np.where(inside & ~piece, np.float32(1), np.where(near, sure, np.float32(0))), ""


def _unlike_t1(inside: np.ndarray, image: np.ndarray, step: tuple[float, ...]) -> str:
    """Why what was found has not the contrast of a brain on a T1-weighted image; "" where it has."""
    from scipy import ndimage

    deep = ndimage.distance_transform_edt(inside, sampling=step)
    contrast = float(image[deep > 2 * _RIM_MM].mean()) / max(float(image[inside & (deep <= _RIM_MM)].mean()), 1e-6)
    if not contrast > _LEAST_CONTRAST:
        return "The contrast is not that of a T1-weighted image, in which fluid is dark; deepbrain knows no other."
    away = ndimage.distance_transform_edt(~inside, sampling=step)
    around = image[(away >= _AROUND_MM[0]) & (away <= _AROUND_MM[1])]
    if around.size and float(around.mean()) > _BRIGHTEST_AROUND * float(image[inside].mean()):
        return "What surrounds it is as bright as bone on a CT, and deepbrain knows MR only."
    return ""


def _weights(size: int, step_mm: float) -> np.ndarray:
    """A matrix (SIZE, size) that smooths one axis and brings it to the network's size, float32."""
    factor = size / SIZE
    sigma = float(np.hypot(max(0.0, (factor - 1) / 2), _SMOOTHED_MM / step_mm))
    place = np.arange(size)
    smooth = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    smooth /= smooth.sum(axis=1, keepdims=True)
    return (_linear(SIZE, size) @ smooth).astype(np.float32)


def _linear(size: int, source: int) -> np.ndarray:
    """A matrix (size, source) that interpolates one axis linearly; both grids fill the same length."""
    at = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(source)))


def _at_full_size(sure: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask on the volume's voxels, slice by slice: probabilities at full size would need four times its memory."""
    along, rows, columns = (_linear(size, SIZE).astype(np.float32) for size in shape)
    mask = np.empty(shape, bool)
    for k, weights in enumerate(along):
        near = np.flatnonzero(weights)
        plane = np.tensordot(weights[near], sure[near], axes=(0, 0))
        mask[k] = rows @ plane @ columns.T > _THRESHOLD
    return mask
