"""What all pictures of this program share: their colors, their font, texts that fit a width, and how they are written."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .write import check_writable, write_atomically

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PICTURE_OUTPUT = (".png",)
BACKGROUND, TEXT, QUIET, FRAME, BAR = (20, 21, 24), (238, 238, 238), (166, 168, 174), (72, 74, 80), (96, 165, 220)


def font_of(size: int) -> Font:
    """Pillow's own font.

    Args:
        size: pixels.
    """
    from PIL import ImageFont

    return ImageFont.load_default(size)


def new_sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture, and what draws on it."""
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (width, height), BACKGROUND)
    return sheet, ImageDraw.Draw(sheet)


def fitted(text: str, font: Font, width: float) -> str:
    """The text, its middle left out where it is wider than `width` pixels: both ends of a file's name tell it apart."""
    text = " ".join(text.split())[:300]
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 2 and font.getlength(f"{text[: -(-kept // 2)]}...{text[len(text) - kept // 2 :]}") > width:
        kept -= 1
    return f"{text[: -(-kept // 2)]}...{text[len(text) - kept // 2 :]}"


def wrapped(text: str, font: Font, width: float) -> list[str]:
    """The text in lines of at most `width` pixels; a word that is wider has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def png_of(picture: Image.Image, level: int = 6) -> bytes:
    """A picture as a PNG file, compressed by a level from 1 (fast) to 9."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=level)
    return buffer.getvalue()


def write_png(path: str | os.PathLike, picture: Image.Image) -> Path:
    """Write a picture, whole or not at all.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_atomically(check_writable(path, PICTURE_OUTPUT), png_of(picture))
