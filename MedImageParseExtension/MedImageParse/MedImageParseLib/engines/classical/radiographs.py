"""Lungs on a frontal chest radiograph: the two large dark fields on both sides of the bright middle."""

from __future__ import annotations

import numpy as np

from .grid import closed, components, dilate, largest, opened

_SPACING = (1.0, 1.0)


def find_radiograph_lungs(small: np.ndarray, side: str = "") -> np.ndarray:
    """Boolean mask of both lungs, or of the one on the patient's `side` (the patient's right is at the picture's left).

    Each half of the content is thresholded apart, against its own large-scale mean, as exposure differs between sides.

    Args:
        small: gray picture of about 256 x 256, lungs dark.
        side: "left" or "right" of the patient; "" for both lungs.
    """
    from scipy import ndimage

    content = largest(ndimage.binary_closing(small > small.min() + 4.0, iterations=2))
    rows, columns = np.flatnonzero(content.mean(axis=1) > 0.2), np.flatnonzero(content.mean(axis=0) > 0.2)
    out = np.zeros_like(content)
    if rows.size < 32 or columns.size < 32:
        return out
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    part = ndimage.gaussian_filter(small[box], 1.5)
    size = min(part.shape)
    middle = _middle_column(part)
    local = ndimage.gaussian_filter(part, 0.22 * size)
    dark = part < 0.5 * local + 0.5 * _halfway(part)
    dark = opened(dark & ~_outside(part), 0.02 * size, _SPACING)
    fields = {"right": np.zeros_like(dark), "left": np.zeros_like(dark)}
    for name, half in (("right", np.arange(part.shape[1]) < middle), ("left", np.arange(part.shape[1]) >= middle)):
        fields[name] = _field(dark & half, size)
    areas = {name: int(field.sum()) for name, field in fields.items()}
    if max(areas.values()) < 0.03 * part.size or min(areas.values()) < 0.15 * max(areas.values()):
        # Two fields or none: one alone is not a frontal chest.
        return out
    out[box] = np.logical_or.reduce([fields[name] for name in ("right", "left") if side in ("", name)])
    return out


def _middle_column(part: np.ndarray) -> int:
    """The column of the mediastinum and spine: the brightest near the middle."""
    profile = part[part.shape[0] // 6 : 5 * part.shape[0] // 6].mean(axis=0)
    profile = np.convolve(np.pad(profile, 8, mode="edge"), np.ones(17) / 17, mode="valid")
    low, high = int(0.35 * profile.size), int(0.65 * profile.size)
    return low + int(profile[low:high].argmax())


def _halfway(part: np.ndarray) -> float:
    low, high = np.percentile(part, [5.0, 90.0])
    return float(low + 0.5 * (high - low))


def _outside(part: np.ndarray) -> np.ndarray:
    """Dark air beside the patient: dark regions that reach the picture's left, right or upper border."""
    labels, _counts = components(part < np.percentile(part, 10.0) * 0.8)
    touching = np.unique(np.concatenate([labels[:, 0], labels[:, -1], labels[0]]))
    return np.isin(labels, touching[touching > 0])


def _field(dark: np.ndarray, size: int) -> np.ndarray:
    """The best lung field of one half: large, and away from the border; ribs across it closed, edges smoothed."""
    from scipy import ndimage

    labels, _counts = components(dark)
    best, best_score = None, 0.0
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        region = labels[where] == index
        height = where[0].stop - where[0].start
        inner = where[1].start > 1 and where[1].stop < dark.shape[1] - 1
        score = region.sum() * (1.0 if inner else 0.3) * min(1.0, height / (0.35 * dark.shape[0]))
        if score > best_score:
            best, best_score = index, score
    if best is None:
        return np.zeros_like(dark)
    near = dilate(labels == best, 0.03 * size, _SPACING) & dark
    field = ndimage.binary_fill_holes(closed(near, 0.05 * size, _SPACING))
    return largest(opened(field, 0.03 * size, _SPACING))
