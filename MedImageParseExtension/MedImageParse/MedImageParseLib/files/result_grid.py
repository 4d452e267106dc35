"""A PNG that shows a person what a search found: the query, and thumbnails with their similarity, volume and slice.

Drawn with Pillow, so that it works where there is no display. A thumbnail that was left out for privacy is a frame that says so.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .atomic import check_writable, write_atomically
from .picture import PICTURE_OUTPUT

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_TILE, _COLUMNS, _EDGE, _GAP, _LINE = 240, 5, 28, 22, 27  # pixels
_BACKGROUND, _TEXT, _QUIET, _FRAME, _BAR = (20, 21, 24), (238, 238, 238), (166, 168, 174), (72, 74, 80), (96, 165, 220)


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
        title: a line above. note: a line below.

    Returns:
        the path written.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    path = check_writable(path, PICTURE_OUTPUT)
    buffer = io.BytesIO()
    render_result_grid(query, found, title=title, note=note).save(buffer, format="PNG", compress_level=6)
    return write_atomically(path, buffer.getvalue())


def render_result_grid(query: Tile | None, found: Sequence[Tile], *, title: str = "", note: str = "") -> Image.Image:
    """What `write_result_grid` writes, as a Pillow RGB image."""
    from PIL import Image, ImageDraw, ImageFont

    columns = max(1, min(_COLUMNS, len(found)))
    rows = -(-len(found) // columns)
    left = _EDGE + (_TILE + 2 * _GAP if query else 0)
    top = _EDGE + (48 if title else 0)
    tile_height = _TILE + 3 * _LINE + _GAP
    width = max(left + columns * (_TILE + _GAP) - _GAP + _EDGE, 640)
    height = top + max(1, rows) * tile_height + (_LINE + 6 if note else 0) + _EDGE // 2
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        font = ImageFont.load_default(27)
        draw.text((_EDGE, _EDGE - 6), fitted(title, font, width - 2 * _EDGE), _TEXT, font)
    if query:
        _draw_tile(sheet, draw, query, _EDGE, top, 0)
        middle = _EDGE + _TILE + _GAP
        draw.line((middle, top, middle, height - _EDGE - (_LINE if note else 0)), fill=_FRAME)
    if not found:
        draw.text((left, top + _TILE // 2), "Nothing was found.", _QUIET, ImageFont.load_default(22))
    for number, tile in enumerate(found):
        _draw_tile(sheet, draw, tile, left + number % columns * (_TILE + _GAP), top + number // columns * tile_height, number + 1)
    if note:
        font = ImageFont.load_default(18)
        draw.text((_EDGE, height - _EDGE // 2 - _LINE), fitted(note, font, width - 2 * _EDGE), _QUIET, font)
    return sheet


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, number: int) -> None:
    """The picture in its frame, a bar as long as the similarity, and the lines of text."""
    from PIL import ImageFont

    picture = open_thumbnail(tile.image, _TILE)
    if picture is None:
        draw.text((x + _TILE // 2, y + _TILE // 2), "no picture kept", _QUIET, ImageFont.load_default(18), anchor="mm")
    else:
        sheet.paste(picture, (x + (_TILE - picture.width) // 2, y + (_TILE - picture.height) // 2))
    draw.rectangle((x - 1, y - 1, x + _TILE, y + _TILE), outline=_FRAME)
    small, large = ImageFont.load_default(18), ImageFont.load_default(21)
    below = y + _TILE + 6
    if tile.similarity is None:
        draw.text((x, below), "Query", _TEXT, large)
    else:
        length = round((_TILE - 1) * min(1.0, max(0.0, tile.similarity)))
        draw.rectangle((x, y + _TILE - 5, x + length, y + _TILE - 1), fill=_BAR)
        draw.text((x, below), f"{number}.  {tile.similarity:.3f}", _TEXT, large)
    draw.text((x, below + _LINE), fitted(tile.title, small, _TILE), _TEXT, small)
    draw.text((x, below + 2 * _LINE - 4), fitted(tile.detail, small, _TILE), _QUIET, small)


def open_thumbnail(data: bytes, side: int) -> Image.Image | None:
    """The picture as RGB, its longer side `side` pixels long; None where it is left out or cannot be read."""
    from PIL import Image

    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            picture = picture.convert("RGB")
            scale = side / max(picture.size)
            size = tuple(max(1, round(length * scale)) for length in picture.size)
            return picture.resize(size, Image.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # one damaged thumbnail does not cost the person the rest


def fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, its middle left out where it is wider than `width` pixels: both ends of a file's name tell it apart."""
    text = " ".join(text.split())[:300]
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 2 and font.getlength(f"{text[: -(-kept // 2)]}...{text[len(text) - kept // 2 :]}") > width:
        kept -= 1
    return f"{text[: -(-kept // 2)]}...{text[len(text) - kept // 2 :]}"
