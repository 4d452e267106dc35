"""What all pictures of this program share: their colors, their font, and how they are written."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .write import check_writable, write_atomically

if TYPE_CHECKING:
    from PIL import Image, ImageFont

PICTURE_OUTPUT = (".png",)
BACKGROUND, TEXT, QUIET, FRAME, BAR = (20, 21, 24), (238, 238, 238), (166, 168, 174), (72, 74, 80), (96, 165, 220)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font.

    Args:
        size: pixels.
    """
    from PIL import ImageFont

    return ImageFont.load_default(size)


def png_of(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def write_png(path: str | os.PathLike, picture: Image.Image) -> Path:
    """Write a picture, whole or not at all.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_atomically(check_writable(path, PICTURE_OUTPUT), png_of(picture))
