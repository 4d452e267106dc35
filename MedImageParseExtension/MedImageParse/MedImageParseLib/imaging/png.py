"""8-bit pictures as PNG bytes, with nothing in the file but the pixels."""

from __future__ import annotations

import io

import numpy as np


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of a uint8 array (rows, columns) or (rows, columns, 3). Grey goes as three equal channels, as the published toolkit
    sends it (healthcareai-examples, medimageparse.py). No text, time or colour profile is written."""
    from PIL import Image

    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """Luminance (ITU-R BT.601) of an array whose last axis is red, green, blue; same type."""
    gray = pixels[..., 0] * 0.299 + pixels[..., 1] * 0.587 + pixels[..., 2] * 0.114
    return np.rint(gray).astype(pixels.dtype) if pixels.dtype.kind in "iu" else gray.astype(pixels.dtype)
