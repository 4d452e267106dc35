"""A classical stand-in for an image embedding: 1024 numbers that are near for pictures that look alike. It knows nothing of medicine.

The largest bright component is brought to the middle of the frame and to one size first, and its brightness is taken by rank: pictures
that differ in where and how large the patient is shown, or in the window, are alike then.

Made of three parts: brightness and edge histograms on rings around the center (the same after a turn of the picture), and a small
thumbnail (which tells apart what the rings do not).
"""

from __future__ import annotations

import numpy as np

LENGTH = 1024
_SIZE = 96
_RINGS, _LEVELS, _EDGES = 16, 32, 16
_LOOK = 192  # pixels of the longer side while the patient is looked for
_TIMES_RADIUS = 2.2  # half the frame, in root mean square radii of the component
_SMOOTH = 1.5  # pixels, before brightness is ranked
_BELOW_OTSU = 0.5  # of the level, so that lungs and fat stay with the body
_WEIGHTS = (1.0, 0.6, 0.35)  # brightness rings, edge rings, thumbnail


def describe_image(pixels: np.ndarray) -> np.ndarray:
    """The descriptor of a picture.

    Args:
        pixels: (rows, columns) or (rows, columns, 3), uint8.

    Returns:
        1024 float64 values of unit length.
    """
    from scipy import ndimage

    gray = pixels if pixels.ndim == 2 else pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    image = ndimage.gaussian_filter(_normalized(np.asarray(gray, np.float32)), 1.0)
    row, column = np.indices(image.shape) - (_SIZE - 1) / 2
    ring = np.minimum((np.hypot(row, column) / (_SIZE / 2) * _RINGS).astype(int), _RINGS)
    inside = ring < _RINGS  # the corners change when a picture is turned
    brightness = _rings(image[inside] * (_LEVELS - 1), ring[inside], _LEVELS)
    edges = np.hypot(*np.gradient(image))[inside]
    edge = _rings(np.minimum(edges * 8.0, 1.0) * (_EDGES - 1), ring[inside], _EDGES)
    thumbnail = image.reshape(16, _SIZE // 16, 16, _SIZE // 16).mean(axis=(1, 3)).ravel()
    parts = [_unit(np.sqrt(brightness)), _unit(np.sqrt(edge)), _unit(thumbnail - thumbnail.mean())]
    return _unit(np.concatenate([weight * part for weight, part in zip(_WEIGHTS, parts)]))


def _normalized(gray: np.ndarray) -> np.ndarray:
    """The picture as 0..1 on the small square, its largest bright component in the middle, of one size, brightness by rank within it."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    rows, columns = gray.shape
    factor = max(rows, columns) / _LOOK
    look = np.asarray(Image.fromarray(gray).resize((max(1, round(columns / factor)), max(1, round(rows / factor))), Image.Resampling.BOX))
    body = _largest_bright(look)
    if not body.any():
        return np.zeros((_SIZE, _SIZE))
    row, column = (places.astype(float) for places in np.nonzero(body))
    middle = np.array([row.mean(), column.mean()])
    half = max(2.0, _TIMES_RADIUS * float(np.sqrt(((row - middle[0]) ** 2 + (column - middle[1]) ** 2).mean())))
    look = gaussian_filter(look, _SMOOTH)  # ranks would else follow noise
    values = np.sort(look[body])
    ranks = np.searchsorted(values, look, side="left") + np.searchsorted(values, look, side="right")
    ranks = np.where(look > 0, ranks / (2.0 * len(values)), 0.0).astype(np.float32)
    box = (middle[1] + 0.5 - half, middle[0] + 0.5 - half, middle[1] + 0.5 + half, middle[0] + 0.5 + half)
    frame = Image.fromarray(ranks).transform((_SIZE, _SIZE), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return np.asarray(frame, float)


def _largest_bright(look: np.ndarray) -> np.ndarray:
    """The largest component above the level between background and patient (Otsu's); all of a picture that has no background."""
    from scipy import ndimage

    counts, edges = np.histogram(look, 64)
    if look.max() <= look.min():
        return np.zeros(look.shape, bool)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * (below[-1] - below))
    level = edges[1 + int(np.nanargmax(np.where(np.isfinite(between), between, -1.0)))]
    parts, count = ndimage.label(look > _BELOW_OTSU * level)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == int(np.argmax(sizes)) if count else np.ones(look.shape, bool)


def _rings(values: np.ndarray, ring: np.ndarray, levels: int) -> np.ndarray:
    """Histogram of values 0..levels-1 on each ring; a value between two levels counts for both, so that noise moves little."""
    lower = np.clip(np.floor(values).astype(int), 0, levels - 1)
    upper = np.minimum(lower + 1, levels - 1)
    share = values - lower
    out = np.zeros(_RINGS * levels)
    np.add.at(out, ring * levels + lower, 1.0 - share)
    np.add.at(out, ring * levels + upper, share)
    return out


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else vector
