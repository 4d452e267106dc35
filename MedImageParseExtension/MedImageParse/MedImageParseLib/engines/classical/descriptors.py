"""A classical stand-in for an image embedding: 1024 numbers that are near for pictures that look alike. It knows nothing of medicine.

Made of three parts: brightness and edge histograms on rings around the center (the same after a turn of the picture), and a small
thumbnail (which tells apart what the rings do not).
"""

from __future__ import annotations

import numpy as np

LENGTH = 1024
_SIZE = 96
_RINGS, _LEVELS, _EDGES = 16, 32, 16
_WEIGHTS = (1.0, 0.6, 0.35)  # brightness rings, edge rings, thumbnail


def describe_image(pixels: np.ndarray) -> np.ndarray:
    """The descriptor of a picture.

    Args:
        pixels: (rows, columns) or (rows, columns, 3), uint8.

    Returns:
        1024 float64 values of unit length.
    """
    from PIL import Image
    from scipy import ndimage

    gray = pixels if pixels.ndim == 2 else pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    small = Image.fromarray(np.asarray(gray, np.float32)).resize((_SIZE, _SIZE), Image.Resampling.BOX)
    image = ndimage.gaussian_filter(np.asarray(small, float) / 255.0, 1.0)
    row, column = np.indices(image.shape) - (_SIZE - 1) / 2
    ring = np.minimum((np.hypot(row, column) / (_SIZE / 2) * _RINGS).astype(int), _RINGS)
    inside = ring < _RINGS  # the corners change when a picture is turned
    brightness = _rings(image[inside] * (_LEVELS - 1), ring[inside], _LEVELS)
    edges = np.hypot(*np.gradient(image))[inside]
    edge = _rings(np.minimum(edges * 8.0, 1.0) * (_EDGES - 1), ring[inside], _EDGES)
    thumbnail = image.reshape(16, _SIZE // 16, 16, _SIZE // 16).mean(axis=(1, 3)).ravel()
    parts = [_unit(np.sqrt(brightness)), _unit(np.sqrt(edge)), _unit(thumbnail - thumbnail.mean())]
    return _unit(np.concatenate([weight * part for weight, part in zip(_WEIGHTS, parts)]))


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
