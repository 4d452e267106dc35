"""A PNG that shows a person what a search found: the query, and thumbnails with their similarity, volume and slice.

Drawn with Pillow, so that it works where there is no display. A thumbnail that was left out for privacy is a frame that says so.

A PNG chart of a classification: bars for the image as a whole, and below them a strip for each label across the slices.

A PNG map of an index: each slice or study a point, near where the images are alike, the reference set apart from the rest.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.volume import three
from .drawing import BACKGROUND, BAR, FRAME, QUIET, TEXT, fitted, font_of, new_sheet, wrapped, write_png

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from .drawing import Font

_EDGE, _LINE = 32, 30  # pixels, of all figures here
_TILE, _COLUMNS, _GAP = 240, 5, 22


@dataclass(slots=True, frozen=True)
class Tile:
    """One picture of the grid.

    Attributes:
        image: bytes of a PNG or JPEG, b"" where there is none.
        title: the first line below, such as the volume's name.
        detail: the second line, such as "axial, slice 15".
        similarity: cosine, None for the query itself.
    """

    image: bytes
    title: str
    detail: str = ""
    similarity: float | None = None


def write_result_grid(path: str | os.PathLike, query: Tile | None, found: Sequence[Tile], *, title: str = "", note: str = "") -> Path:
    """Write the query and what was found, best first, as a PNG.

    Args:
        path: .png in a folder that exists.
        query: the picture that was asked with; None for a text, which the title then names.
        found: best first.
        title: a line above.
        note: a line below.

    Returns:
        the path written.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_png(path, render_result_grid(query, found, title=title, note=note))


def render_result_grid(query: Tile | None, found: Sequence[Tile], *, title: str = "", note: str = "") -> Image.Image:
    """What `write_result_grid` writes, as a Pillow RGB image."""
    columns = max(1, min(_COLUMNS, len(found)))
    rows = -(-len(found) // columns)
    left = _EDGE + (_TILE + 2 * _GAP if query else 0)
    top = _EDGE + (48 if title else 0)
    tile_height = _TILE + 3 * _LINE + _GAP
    width = max(left + columns * (_TILE + _GAP) - _GAP + _EDGE, 640)
    height = top + max(1, rows) * tile_height + (_LINE + 6 if note else 0) + _EDGE // 2
    sheet, draw = new_sheet(width, height)
    if title:
        font = font_of(27)
        draw.text((_EDGE, _EDGE - 6), fitted(title, font, width - 2 * _EDGE), TEXT, font)
    if query:
        _draw_tile(sheet, draw, query, _EDGE, top, 0)
        middle = _EDGE + _TILE + _GAP
        draw.line((middle, top, middle, height - _EDGE - (_LINE if note else 0)), fill=FRAME)
    if not found:
        draw.text((left, top + _TILE // 2), "Nothing was found.", QUIET, font_of(22))
    for number, tile in enumerate(found):
        _draw_tile(sheet, draw, tile, left + number % columns * (_TILE + _GAP), top + number // columns * tile_height, number + 1)
    if note:
        font = font_of(18)
        draw.text((_EDGE, height - _EDGE // 2 - _LINE), fitted(note, font, width - 2 * _EDGE), QUIET, font)
    return sheet


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, number: int) -> None:
    """The picture in its frame, a bar as long as the similarity, and the lines of text."""
    picture = open_thumbnail(tile.image, _TILE)
    if picture is None:
        draw.text((x + _TILE // 2, y + _TILE // 2), "no picture kept", QUIET, font_of(18), anchor="mm")
    else:
        sheet.paste(picture, (x + (_TILE - picture.width) // 2, y + (_TILE - picture.height) // 2))
    draw.rectangle((x - 1, y - 1, x + _TILE, y + _TILE), outline=FRAME)
    small, large = font_of(18), font_of(21)
    below = y + _TILE + 6
    if tile.similarity is None:
        draw.text((x, below), "Query", TEXT, large)
    else:
        length = round((_TILE - 1) * min(1.0, max(0.0, tile.similarity)))
        draw.rectangle((x, y + _TILE - 5, x + length, y + _TILE - 1), fill=BAR)
        draw.text((x, below), f"{number}.  {tile.similarity:.3f}", TEXT, large)
    draw.text((x, below + _LINE), fitted(tile.title, small, _TILE), TEXT, small)
    draw.text((x, below + 2 * _LINE - 4), fitted(tile.detail, small, _TILE), QUIET, small)


def open_thumbnail(data: bytes, side: int) -> Image.Image | None:
    """The picture as RGB, its longer side `side` pixels long; None where it is left out or cannot be read."""
    from PIL import Image

    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as stored:
            picture = stored.convert("RGB")
            scale = side / max(picture.size)
            width, height = (max(1, round(length * scale)) for length in picture.size)
            return picture.resize((width, height), Image.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # one damaged thumbnail does not cost the person the rest


_WIDTH, _ROW, _STRIP, _PICTURE = 1180, 36, 22, 240  # pixels
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
        title: a line above.
        note: a sentence below.
        thumbnail: PNG shown beside the bars; b"" for none.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_png(path, render_label_chart(names, volume, slices, indices, title=title, note=note, thumbnail=thumbnail))


def render_label_chart(
    names: Sequence[str],
    volume: np.ndarray,
    slices: np.ndarray,
    indices: Sequence[int],
    *,
    title: str = "",
    note: str = "",
    thumbnail: bytes = b"",
) -> Image.Image:
    """What `write_label_chart` writes, as a Pillow RGB image."""
    order = np.argsort(-np.asarray(volume), kind="stable")[:_MOST]
    picture = open_thumbnail(thumbnail, _PICTURE)
    left = _EDGE + (_PICTURE + _EDGE if picture else 0)
    top = _EDGE + (44 if title else 0)
    bars = max(len(order) * _ROW, _PICTURE if picture else 0)
    strips = len(order) * _STRIP + 70 if len(slices) > 1 else 0
    lines = wrapped(note, font_of(17), _WIDTH - 2 * _EDGE)
    sheet, draw = new_sheet(_WIDTH, top + bars + strips + 24 * len(lines) + 2 * _EDGE)
    if title:
        draw.text((_EDGE, _EDGE - 6), fitted(title, font_of(26), _WIDTH - 2 * _EDGE), TEXT, font_of(26))
    if picture:
        sheet.paste(picture, (_EDGE, top))
    _draw_bars(draw, [(names[place], float(volume[place])) for place in order], left, top)
    if strips:
        _draw_strips(sheet, draw, [names[place] for place in order], np.asarray(slices)[:, order], indices, top + bars + 40)
    for number, line in enumerate(lines):
        draw.text((_EDGE, top + bars + strips + _EDGE // 2 + 24 * number), line, QUIET, font_of(17))
    return sheet


def _draw_bars(draw: ImageDraw.ImageDraw, entries: list[tuple[str, float]], left: int, top: int) -> None:
    font = font_of(20)
    start, end = left + 300, _WIDTH - _EDGE - 90
    for number, (name, value) in enumerate(entries):
        y = top + number * _ROW + _ROW // 2
        draw.text((start - 14, y), fitted(name, font, 286), TEXT, font, anchor="rm")
        draw.rectangle((start, y - 11, end, y + 11), outline=FRAME)
        draw.rectangle((start, y - 11, start + round((end - start) * value), y + 11), fill=BAR)
        draw.text((end + 12, y), f"{100 * value:.1f} %", TEXT, font, anchor="lm")


def _draw_strips(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, names: list[str], shares: np.ndarray, indices: Sequence[int], top: int
) -> None:
    """One strip a label, slices from left to right, black 0 % to blue 100 %."""
    from PIL import Image

    font = font_of(17)
    start, end = _EDGE + 300, _WIDTH - _EDGE - 90
    draw.text((start, top - 26), f"Each slice, {indices[0]} to {indices[-1]} (black 0 %, blue 100 %)", QUIET, font)
    ink = np.rint(shares.T[..., None] * np.array(BAR)).astype(np.uint8)
    for number, name in enumerate(names):
        y = top + number * _STRIP
        draw.text((start - 14, y + _STRIP // 2), fitted(name, font, 286), TEXT, font, anchor="rm")
        strip = Image.fromarray(ink[number : number + 1]).resize((end - start, _STRIP - 4), Image.Resampling.NEAREST)
        sheet.paste(strip, (start, y + 2))
        draw.rectangle((start - 1, y + 1, end, y + _STRIP - 2), outline=FRAME)


_SIZE, _LIST = 820, 420  # pixels
_USUAL, _NEAR, _FAR = (110, 116, 128), (96, 165, 220), (240, 120, 60)
_NAMED = 10
_FAR_TIMES = 2.0  # the set's own largest distance: from here on a point is as far as the colors tell


@dataclass(slots=True, frozen=True)
class MapPoint:
    """A point on the map.

    Attributes:
        x, y: its place, any unit.
        name: for the list.
        distance: to the reference set; None for its members, which are drawn without.
        usual: of a member of the set, its distance to the rest of it: what is near and what is far follows from these.
    """

    x: float
    y: float
    name: str
    distance: float | None = None
    usual: float | None = None


def write_index_map(path: str | os.PathLike, points: Sequence[MapPoint], *, title: str = "", note: str = "") -> Path:
    """Write the map; the points farthest from the reference set get a number and their name at the side.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_png(path, render_index_map(points, title=title, note=note))


def render_index_map(points: Sequence[MapPoint], *, title: str = "", note: str = "") -> Image.Image:
    """What `write_index_map` writes, as a Pillow RGB image."""
    sheet, draw = new_sheet(_SIZE + _LIST + 3 * _EDGE, _SIZE + 3 * _EDGE + 44)
    large, small = font_of(26), font_of(18)
    top = _EDGE + 44
    draw.text((_EDGE, _EDGE - 4), fitted(title, large, sheet.width - 2 * _EDGE), TEXT, large)
    draw.rectangle((_EDGE, top, _EDGE + _SIZE, top + _SIZE), outline=FRAME)
    places = _scaled(points, (_EDGE + _SIZE / 2, top + _SIZE / 2), _SIZE - 80)
    others = _draw_points(draw, points, places, 4)
    left = _SIZE + 2 * _EDGE
    _legend(draw, left, top, small)
    taken: list[tuple[float, float]] = []
    for rank, number in enumerate(others[::-1][:_NAMED], start=1):
        point = points[number]
        y = top + (rank + 3) * _LINE
        draw.text((left, y), fitted(f"{rank}.  {point.distance:.3f}  {point.name}", small, _LIST), TEXT, small)
        x_tag, y_tag = _tag_place(places[number], taken)
        taken.append((x_tag, y_tag))
        draw.text((x_tag, y_tag), str(rank), TEXT, small, anchor="mm", stroke_width=2, stroke_fill=BACKGROUND)
    draw.text((_EDGE, top + _SIZE + 10), fitted(note, small, sheet.width - 2 * _EDGE), QUIET, small)
    return sheet


def render_small_map(points: Sequence[MapPoint], side: int, numbered: int = _NAMED) -> tuple[Image.Image, list[tuple[float, float]]]:
    """The map alone, for a panel: no texts but the numbers of the farthest points.

    Args:
        points: where each lies, in any unit; both axes get one scale.
        side: of the square picture, pixels.
        numbered: how many of the points with a distance get their rank.

    Returns:
        (Pillow RGB image, for each point its place in it (x, y) in pixels), so that a click can be told to a point.
    """
    sheet, draw = new_sheet(side, side)
    draw.rectangle((0, 0, side - 1, side - 1), outline=FRAME)
    places = _scaled(points, (side / 2, side / 2), max(side - 48, 8))
    others = _draw_points(draw, points, places, 3)
    taken: list[tuple[float, float]] = []
    font = font_of(13)
    for rank, number in enumerate(others[::-1][:numbered], start=1):
        taken.append(_tag_place(places[number], taken))
        draw.text(taken[-1], str(rank), TEXT, font, anchor="mm", stroke_width=1, stroke_fill=BACKGROUND)
    return sheet, places


def _draw_points(draw: ImageDraw.ImageDraw, points: Sequence[MapPoint], places: Sequence[tuple[float, float]], radius: int) -> list[int]:
    """The reference set below, the others above it and a pixel larger. Returns the numbers of the others, the nearest first."""
    for place, point in zip(places, points):
        if point.distance is None:
            _dot(draw, place, radius, _USUAL)
    others = [
        number
        for _distance, number in sorted((point.distance, number) for number, point in enumerate(points) if point.distance is not None)
    ]
    usual = max((point.usual for point in points if point.usual is not None), default=0.0)
    # Whoever is no farther than the set's own members are from one another is near, even where nobody else is there to compare with.
    far = _FAR_TIMES * usual or max((points[number].distance or 0.0 for number in others), default=0.0)
    for number in others:
        share = ((points[number].distance or 0.0) - usual) / max(far - usual, 1e-12)
        _dot(draw, places[number], radius + 1, _mixed(min(max(share, 0.0), 1.0)))
    return others


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


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int, font: Font) -> None:
    for number, (color, words) in enumerate(((_USUAL, "reference set"), (_NEAR, "near to it"), (_FAR, "far from it"))):
        y = top + number * _LINE
        _dot(draw, (left + 8, y + 10), 6, color)
        draw.text((left + 24, y + 10), words, QUIET, font, anchor="lm")


def _dot(draw: ImageDraw.ImageDraw, place: tuple[float, float], radius: int, color: tuple[int, int, int]) -> None:
    x, y = place
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _mixed(share: float) -> tuple[int, int, int]:
    return three(round(near + (far - near) * share) for near, far in zip(_NEAR, _FAR))
