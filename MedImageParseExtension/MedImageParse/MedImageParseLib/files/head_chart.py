"""A PNG of what an adapter achieves: figures with intervals, ROC curves, the confusion matrix, and claims against what came true."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .drawing import FRAME, QUIET, TEXT, fitted, font_of, new_sheet, write_png

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from ..search.measures import Figures

_SIDE, _EDGE, _GAP, _TABLE = 340, 36, 70, 210  # pixels
COLORS = (
    (96, 165, 220), (240, 160, 60), (110, 200, 130), (225, 95, 95), (180, 140, 220), (200, 180, 90), (90, 200, 200), (230, 140, 190),
)  # fmt: skip
_MOST = 8  # labels with a curve of their own
_WORDS = {
    "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "auroc": "AUROC (mean)",
    "average_precision": "Average precision (mean)", "ece": "Calibration error",
}  # fmt: skip


def write_head_chart(path: str | os.PathLike, figures: Figures, *, title: str = "", note: str = "") -> Path:
    """Write the chart.

    Args:
        path: .png in a folder that exists.
        figures: of an adapter.
        title: a line above.
        note: a line below.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_png(path, render_head_chart(figures, title=title, note=note))


def render_head_chart(figures: Figures, *, title: str = "", note: str = "") -> Image.Image:
    """What `write_head_chart` writes, as a Pillow RGB image."""
    width = 3 * _SIDE + 2 * _GAP + 3 * _EDGE
    sheet, draw = new_sheet(width, _TABLE + _SIDE + 150)
    draw.text((_EDGE, 22), fitted(title, font_of(26), width - 2 * _EDGE), TEXT, font_of(26))
    for number, (name, words) in enumerate(_WORDS.items()):
        y = 66 + 24 * number
        low, high = figures.intervals[name]
        draw.text((_EDGE, y), words, QUIET, font_of(18))
        interval = f"   95 %: {low:.3f} to {high:.3f}" if math.isfinite(low) else ""
        draw.text((_EDGE + 240, y), f"{figures.overall[name]:.3f}{interval}", TEXT, font_of(18))
    named = list(figures.curves)[:_MOST]
    for number, label in enumerate(named):
        x, y = _EDGE + _SIDE + _GAP + 160 + (number // 4) * 300, 66 + 30 * (number % 4)
        draw.rectangle((x, y + 6, x + 18, y + 16), fill=COLORS[number])
        text = f"{label}  ({figures.by_label[label]['auroc']:.3f})"
        draw.text((x + 28, y), fitted(text, font_of(17), 260), TEXT, font_of(17))
    top = _TABLE + 30
    _draw_curves(draw, figures, named, _EDGE + 20, top)
    _draw_confusion(draw, figures, _EDGE + 20 + _SIDE + _GAP + 20, top)
    _draw_reliability(draw, figures, _EDGE + 20 + 2 * (_SIDE + _GAP) + 20, top)
    draw.text((_EDGE, top + _SIDE + 66), fitted(note, font_of(16), width - 2 * _EDGE), QUIET, font_of(16))
    return sheet


def render_confusion(figures: Figures) -> Image.Image:
    """Only the confusion matrix, for the panel, as a Pillow RGB image."""
    sheet, draw = new_sheet(_SIDE + 20, _SIDE + 90)
    _draw_confusion(draw, figures, 10, 40)
    return sheet


def _frame(draw: ImageDraw.ImageDraw, left: int, top: int, title: str, across: str) -> None:
    """The square of a chart, with its title above and what runs across below."""
    draw.rectangle((left, top, left + _SIDE, top + _SIDE), outline=FRAME)
    draw.text((left, top - 28), title, TEXT, font_of(19))
    draw.text((left + _SIDE // 2, top + _SIDE + 24), across, QUIET, font_of(16), anchor="mt")


def _ticks(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    font = font_of(14)
    for share in (0.0, 0.5, 1.0):
        draw.text((left + share * _SIDE, top + _SIDE + 4), f"{share:g}", QUIET, font, anchor="mt")
        draw.text((left - 6, top + (1 - share) * _SIDE), f"{share:g}", QUIET, font, anchor="rm")


def _line(
    draw: ImageDraw.ImageDraw, left: int, top: int, x: Sequence[float], y: Sequence[float], color: tuple[int, int, int], width: int = 3
) -> None:
    points = [(left + float(a) * _SIDE, top + (1.0 - float(b)) * _SIDE) for a, b in zip(x, y, strict=True)]
    if len(points) > 1:
        draw.line(points, fill=color, width=width, joint="curve")


def _draw_curves(draw: ImageDraw.ImageDraw, figures: Figures, named: Sequence[str], left: int, top: int) -> None:
    _frame(draw, left, top, "ROC: sensitivity", "false alarms (1 - specificity)")
    _ticks(draw, left, top)
    _line(draw, left, top, (0, 1), (0, 1), FRAME, 1)
    for number, label in enumerate(named):
        _line(draw, left, top, figures.curves[label][0].tolist(), figures.curves[label][1].tolist(), COLORS[number])


def _draw_confusion(draw: ImageDraw.ImageDraw, figures: Figures, left: int, top: int) -> None:
    """Rows are what is true. Of findings that may stand beside one another: hits, misses, false alarms and the rest, a row each."""
    table = figures.confusion
    names = figures.labels
    if table.ndim == 3:
        table = np.stack([table[:, 1, 1], table[:, 1, 0], table[:, 0, 1], table[:, 0, 0]], axis=1)
    rows, columns = table.shape
    title, columns_are = "Confusion: rows are true", "predicted"
    if figures.confusion.ndim == 3:
        title, columns_are = "Each label by itself", "hit, missed, false alarm, neither"
    _frame(draw, left, top, title, columns_are)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    high, wide = _SIDE / rows, _SIDE / columns
    font = font_of(int(min(18, max(9, 0.4 * min(high, wide)))))
    for row in range(rows):
        for column in range(columns):
            x, y, share = left + column * wide, top + row * high, shares[row, column]
            color = tuple(round(32 + share * (value - 32)) for value in COLORS[0])
            draw.rectangle((x + 1, y + 1, x + wide - 1, y + high - 1), fill=color)
            if min(high, wide) > 14:
                draw.text((x + wide / 2, y + high / 2), f"{table[row, column]}", TEXT, font, anchor="mm")
        if high > 24 and wide > 60:
            draw.text((left + 5, top + row * high + 3), fitted(names[row], font_of(12), wide - 8), TEXT, font_of(12))


def _draw_reliability(draw: ImageDraw.ImageDraw, figures: Figures, left: int, top: int) -> None:
    _frame(draw, left, top, "Reliability: share that came true", "probability claimed")
    _ticks(draw, left, top)
    _line(draw, left, top, (0, 1), (0, 1), FRAME, 1)
    claims = figures.claims
    _line(draw, left, top, claims.claimed.tolist(), claims.true.tolist(), COLORS[1])
    most = max(int(claims.items.max()), 1) if len(claims.items) else 1
    for claimed, true, items in zip(claims.claimed, claims.true, claims.items, strict=True):
        x, y, radius = left + claimed * _SIDE, top + (1 - true) * _SIDE, 3 + 7 * math.sqrt(items / most)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=COLORS[1])
