"""A PNG map of an index: each slice or study a point, near where the images are alike, the reference set apart from the rest."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .atomic import check_writable, write_atomically
from .picture import PICTURE_OUTPUT
from .result_grid import fitted

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_SIZE, _EDGE, _LIST, _LINE = 820, 32, 420, 30  # pixels
_BACKGROUND, _TEXT, _QUIET, _FRAME = (20, 21, 24), (238, 238, 238), (166, 168, 174), (72, 74, 80)
_USUAL, _NEAR, _FAR = (110, 116, 128), (96, 165, 220), (240, 120, 60)
_NAMED = 10


@dataclass(slots=True, frozen=True)
class MapPoint:
    """A point: place on the map (any unit), distance to the reference set (None for its members), and a name."""

    x: float
    y: float
    name: str
    distance: float | None = None


def write_index_map(path: str | os.PathLike, points: Sequence[MapPoint], *, title: str = "", note: str = "") -> Path:
    """Write the map; the points farthest from the reference set get a number and their name at the side.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    path = check_writable(path, PICTURE_OUTPUT)
    buffer = io.BytesIO()
    render_index_map(points, title=title, note=note).save(buffer, format="PNG", compress_level=6)
    return write_atomically(path, buffer.getvalue())


def render_index_map(points: Sequence[MapPoint], *, title: str = "", note: str = "") -> Image.Image:
    """What `write_index_map` writes, as a Pillow RGB image."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (_SIZE + _LIST + 3 * _EDGE, _SIZE + 3 * _EDGE + 44), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(26), ImageFont.load_default(18)
    top = _EDGE + 44
    draw.text((_EDGE, _EDGE - 4), fitted(title, large, sheet.width - 2 * _EDGE), _TEXT, large)
    draw.rectangle((_EDGE, top, _EDGE + _SIZE, top + _SIZE), outline=_FRAME)
    places = _places(points, top)
    others = _draw_points(draw, points, places, 4)
    left = _SIZE + 2 * _EDGE
    _legend(draw, left, top, small)
    taken: list[tuple[float, float]] = []
    for rank, number in enumerate(others[::-1][:_NAMED], start=1):
        point = points[number]
        y = top + (rank + 3) * _LINE
        draw.text((left, y), fitted(f"{rank}.  {point.distance:.3f}  {point.name}", small, _LIST), _TEXT, small)
        x_tag, y_tag = _tag_place(places[number], taken)
        taken.append((x_tag, y_tag))
        draw.text((x_tag, y_tag), str(rank), _TEXT, small, anchor="mm", stroke_width=2, stroke_fill=_BACKGROUND)
    draw.text((_EDGE, top + _SIZE + 10), fitted(note, small, sheet.width - 2 * _EDGE), _QUIET, small)
    return sheet


def render_small_map(points: Sequence[MapPoint], side: int, numbered: int = _NAMED) -> tuple[Image.Image, list[tuple[float, float]]]:
    """The map alone, for a panel: no texts but the numbers of the farthest points.

    Args:
        side: of the square picture, pixels.
        numbered: how many of the points with a distance get their rank.

    Returns:
        (Pillow RGB image, for each point its place in it (x, y) in pixels), so that a click can be told to a point.
    """
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (side, side), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, side - 1, side - 1), outline=_FRAME)
    places = _scaled(points, (side / 2, side / 2), max(side - 48, 8))
    others = _draw_points(draw, points, places, 3)
    taken: list[tuple[float, float]] = []
    font = ImageFont.load_default(13)
    for rank, number in enumerate(others[::-1][:numbered], start=1):
        taken.append(_tag_place(places[number], taken))
        draw.text(taken[-1], str(rank), _TEXT, font, anchor="mm", stroke_width=1, stroke_fill=_BACKGROUND)
    return sheet, places


def _draw_points(draw: ImageDraw.ImageDraw, points: Sequence[MapPoint], places: Sequence[tuple[float, float]], radius: int) -> list[int]:
    """The reference set below, the others above it and a pixel larger. Returns the numbers of the others, the nearest first."""
    for place, point in zip(places, points):
        if point.distance is None:
            _dot(draw, place, radius, _USUAL)
    others = sorted((number for number, point in enumerate(points) if point.distance is not None), key=lambda number: points[number].distance)
    low, high = (points[others[0]].distance, points[others[-1]].distance) if others else (0.0, 1.0)
    for number in others:
        _dot(draw, places[number], radius + 1, _mixed((points[number].distance - low) / max(high - low, 1e-12)))
    return others


def _places(points: Sequence[MapPoint], top: int) -> list[tuple[float, float]]:
    """Where the points lie on the sheet."""
    return _scaled(points, (_EDGE + _SIZE / 2, top + _SIZE / 2), _SIZE - 80)


def _scaled(points: Sequence[MapPoint], center: tuple[float, float], side: float) -> list[tuple[float, float]]:
    """One scale for both axes, so that distances can be compared."""
    coordinates = np.array([(point.x, point.y) for point in points], float).reshape(-1, 2)
    middle = (coordinates.min(axis=0) + coordinates.max(axis=0)) / 2
    reach = max(float(np.ptp(coordinates, axis=0).max()), 1e-12)
    scaled = (coordinates - middle) * side / reach
    return [(center[0] + x, center[1] - y) for x, y in scaled.tolist()]


def _tag_place(place: tuple[float, float], taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Beside the point, where no other number stands."""
    around = [(14, -10), (-14, -10), (14, 12), (-14, 12), (0, -20), (0, 22), (28, 0), (-28, 0)]
    candidates = [(place[0] + right, place[1] + down) for right, down in around]
    free = [one for one in candidates if all(abs(one[0] - other[0]) > 18 or abs(one[1] - other[1]) > 16 for other in taken)]
    return (free or candidates)[0]


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int, font) -> None:
    for number, (color, words) in enumerate(((_USUAL, "reference set"), (_NEAR, "near to it"), (_FAR, "far from it"))):
        y = top + number * _LINE
        _dot(draw, (left + 8, y + 10), 6, color)
        draw.text((left + 24, y + 10), words, _QUIET, font, anchor="lm")


def _dot(draw: ImageDraw.ImageDraw, place: tuple[float, float], radius: int, color: tuple[int, int, int]) -> None:
    x, y = place
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _mixed(share: float) -> tuple[int, int, int]:
    return tuple(round(near + (far - near) * share) for near, far in zip(_NEAR, _FAR))
