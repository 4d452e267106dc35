"""A PNG chart of a classification: bars for the image as a whole, and below them a strip for each label across the slices."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .atomic import check_writable, write_atomically
from .picture import PICTURE_OUTPUT
from .result_grid import fitted, open_thumbnail

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_WIDTH, _EDGE, _ROW, _STRIP, _PICTURE = 1180, 28, 36, 22, 240  # pixels
_BACKGROUND, _TEXT, _QUIET, _FRAME, _BAR = (20, 21, 24), (238, 238, 238), (166, 168, 174), (72, 74, 80), (96, 165, 220)
_MOST = 15  # labels shown, the likeliest


def write_label_chart(
    path: str | os.PathLike, names: Sequence[str], volume: np.ndarray, slices: np.ndarray, indices: Sequence[int], *,
    title: str = "", note: str = "", thumbnail: bytes = b"",
) -> Path:  # fmt: skip
    """Write the chart.

    Args:
        path: .png in a folder that exists.
        names: of the labels.
        volume: (labels,) probabilities of the image as a whole.
        slices: (slices, labels); strips are drawn where there are several.
        indices: of the slices.
        note: a sentence below. thumbnail: PNG shown beside the bars.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    path = check_writable(path, PICTURE_OUTPUT)
    buffer = io.BytesIO()
    render_label_chart(names, volume, slices, indices, title=title, note=note, thumbnail=thumbnail).save(buffer, format="PNG", compress_level=6)
    return write_atomically(path, buffer.getvalue())


def render_label_chart(
    names: Sequence[str], volume: np.ndarray, slices: np.ndarray, indices: Sequence[int], *, title: str = "", note: str = "", thumbnail: bytes = b""
) -> Image.Image:
    """What `write_label_chart` writes, as a Pillow RGB image."""
    from PIL import Image, ImageDraw, ImageFont

    order = np.argsort(-np.asarray(volume), kind="stable")[:_MOST]
    picture = open_thumbnail(thumbnail, _PICTURE)
    left = _EDGE + (_PICTURE + _EDGE if picture else 0)
    top = _EDGE + (44 if title else 0)
    bars = max(len(order) * _ROW, _PICTURE if picture else 0)
    strips = len(order) * _STRIP + 70 if len(slices) > 1 else 0
    lines = _wrapped(note, ImageFont.load_default(17), _WIDTH - 2 * _EDGE)
    sheet = Image.new("RGB", (_WIDTH, top + bars + strips + 24 * len(lines) + 2 * _EDGE), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_EDGE, _EDGE - 6), fitted(title, ImageFont.load_default(26), _WIDTH - 2 * _EDGE), _TEXT, ImageFont.load_default(26))
    if picture:
        sheet.paste(picture, (_EDGE, top))
    _draw_bars(draw, [(names[place], float(volume[place])) for place in order], left, top)
    if strips:
        _draw_strips(sheet, draw, [names[place] for place in order], np.asarray(slices)[:, order], indices, top + bars + 40)
    for number, line in enumerate(lines):
        draw.text((_EDGE, top + bars + strips + _EDGE // 2 + 24 * number), line, _QUIET, ImageFont.load_default(17))
    return sheet


def _draw_bars(draw: ImageDraw.ImageDraw, entries: list[tuple[str, float]], left: int, top: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(20)
    start, end = left + 300, _WIDTH - _EDGE - 90
    for number, (name, value) in enumerate(entries):
        y = top + number * _ROW + _ROW // 2
        draw.text((start - 14, y), fitted(name, font, 286), _TEXT, font, anchor="rm")
        draw.rectangle((start, y - 11, end, y + 11), outline=_FRAME)
        draw.rectangle((start, y - 11, start + round((end - start) * value), y + 11), fill=_BAR)
        draw.text((end + 12, y), f"{100 * value:.1f} %", _TEXT, font, anchor="lm")


def _draw_strips(sheet: Image.Image, draw: ImageDraw.ImageDraw, names: list[str], shares: np.ndarray, indices: Sequence[int], top: int) -> None:
    """One strip a label, slices from left to right, black 0 % to blue 100 %."""
    from PIL import Image, ImageFont

    font = ImageFont.load_default(17)
    start, end = _EDGE + 300, _WIDTH - _EDGE - 90
    draw.text((start, top - 26), f"Each slice, {indices[0]} to {indices[-1]} (black 0 %, blue 100 %)", _QUIET, font)
    ink = np.rint(shares.T[..., None] * np.array(_BAR)).astype(np.uint8)
    for number, name in enumerate(names):
        y = top + number * _STRIP
        draw.text((start - 14, y + _STRIP // 2), fitted(name, font, 286), _TEXT, font, anchor="rm")
        strip = Image.fromarray(ink[number : number + 1]).resize((end - start, _STRIP - 4), Image.Resampling.NEAREST)
        sheet.paste(strip, (start, y + 2))
        draw.rectangle((start - 1, y + 1, end, y + _STRIP - 2), outline=_FRAME)


def _wrapped(text: str, font, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
