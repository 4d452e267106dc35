"""A PNG that shows a person what was found: the input with the masks over it, a legend, and which side is which.

Drawn with Pillow and numpy, so that it works where there is no display and no OpenGL. Nothing about the patient is written.

Which slices a picture of masks shows, and each of them as an RGB raster with the masks over it. numpy and Pillow only.

Radiological view (imaging.planes): axial and coronal have the patient's right at the left, sagittal has anterior at the left,
superior and anterior are up. Slices are scaled to square millimetres and never resampled across axes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.geometry import PLANES, AxisMap, SliceView, nearest_directions
from ..imaging.volume import CroppedMask, Volume
from ..imaging.windows import Window, apply_window, looks_like_ct, percentile_window
from .drawing import FRAME, QUIET, TEXT, font_of, new_sheet, wrapped, write_png

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from .drawing import Font


_WIDTH, _TALLEST = 1600, 900  # pixels: the panels together, without legend and margins
_EDGE, _LETTER, _CAPTION, _GAP = 24, 30, 34, 20
_LARGEST_ZOOM = 10.0  # screen pixels a voxel
_CLEAR_TILT = 3.0  # degrees: less is not worth telling


def write_picture(path: str | os.PathLike, volume: Volume, masks: Sequence[tuple[str, Color, CroppedMask]], *, title: str = "") -> Path:
    """Write the input with the masks over it as a PNG.

    A volume shows an axial, a coronal and a sagittal slice in radiological view, each where most of the structures are, and more
    axial ones where a structure would stay unseen; a picture or a single slice shows itself. Millimetres are square. Numbers on
    the masks are those of the legend, which names absent structures as "not found".

    Args:
        path: .png in a folder that exists.
        volume: the input.
        masks: (name, color as red, green, blue from 0 to 1, mask on the volume's grid), in the order of the prompts.
        title: a line above.

    Returns:
        the path written.

    Raises:
        UsageError: not .png, or the folder is missing or not writable.
    """
    return write_png(path, render_picture(volume, masks, title=title))


def render_picture(volume: Volume, masks: Sequence[tuple[str, Color, CroppedMask]], *, title: str = "") -> Image.Image:
    """What `write_picture` writes, as a Pillow RGB image."""
    from PIL import Image

    panels = choose_panels(volume, [mask for _name, _color, mask in masks])
    window = display_window(volume)
    placed, width, bottom = _arrange(panels, volume, top=_EDGE + (46 if title else 0))
    legend = _Legend(masks, font_of(23), width)
    notes = wrapped(_notes(volume, window), font_of(19), width - 2 * _EDGE)
    height = bottom + legend.height + 26 * len(notes) + 2 * _EDGE
    sheet, draw = new_sheet(width, height)
    if title:
        draw.text((_EDGE, _EDGE), _shortened(title, font_of(28), width - 2 * _EDGE), TEXT, font_of(28))
    shown: set[int] = set()
    for panel, (x, y, size) in placed:
        raster = draw_panel(volume, panel, [(color, mask) for _name, color, mask in masks], window, size)
        sheet.paste(Image.fromarray(raster.pixels), (x, y))
        _frame(draw, panel, x, y, size)
        _number(draw, raster, x, y)
        shown |= {number for number, _inside in raster.shown}
    legend.draw(draw, bottom + _EDGE // 2, shown)
    for number, line in enumerate(notes):
        draw.text((_EDGE, bottom + legend.height + _EDGE + 26 * number), line, QUIET, font_of(19))
    return sheet


def _arrange(panels: list[Panel], volume: Volume, top: int) -> tuple[_Placed, int, int]:
    """Places for the panels: ([(panel, (x, y, (width, height)))], sheet width, y below the last). The three planes share a scale."""
    main, extra = panels[:3], panels[3:]
    row, pile = _row_scale(main), _pile_scale(main)
    # A voxel needs no more than ten pixels, whatever the space.
    scale = min(max(row, pile), _LARGEST_ZOOM / float(volume.spacing_ijk.min()))
    around = _LETTER * 2 + _GAP
    placed: _Placed = []
    sizes = _sizes(main, scale)
    x, y = _EDGE + _LETTER, top + (_CAPTION + _LETTER if main[0].plane else 0)
    if pile > row:
        first, *others = main
        placed.append((first, (x, y, sizes[id(first)])))
        left, down = x + sizes[id(first)][0] + around, y
        for panel in others:
            placed.append((panel, (left, down, sizes[id(panel)])))
            down += sizes[id(panel)][1] + _CAPTION + 2 * _LETTER
        bottom = max(down - _CAPTION - _LETTER, y + sizes[id(first)][1] + _LETTER)
    else:
        bottom = _place_row(placed, main, sizes, x, y)
    if extra:
        sizes |= _sizes(extra, min(scale, _row_scale(extra)))
        bottom = _place_row(placed, extra, sizes, x, bottom + _CAPTION + _LETTER)
    right = max(left + size[0] for _panel, (left, _y, size) in placed) + _LETTER + _EDGE
    return placed, max(right, 760), bottom


def _sizes(panels: list[Panel], scale: float) -> dict[int, tuple[int, int]]:
    return {id(panel): (max(1, round(panel.size_mm[1] * scale)), max(1, round(panel.size_mm[0] * scale))) for panel in panels}


def _place_row(placed: _Placed, panels: list[Panel], sizes: dict[int, tuple[int, int]], x: int, y: int) -> int:
    for panel in panels:
        placed.append((panel, (x, y, sizes[id(panel)])))
        x += sizes[id(panel)][0] + _LETTER * 2 + _GAP
    return y + max(sizes[id(panel)][1] for panel in panels) + _LETTER


def _row_scale(panels: list[Panel]) -> float:
    """Pixels a mm when the panels stand side by side."""
    spare = _WIDTH - (len(panels) - 1) * (_LETTER * 2 + _GAP)
    return min(spare / sum(panel.size_mm[1] for panel in panels), _TALLEST / max(panel.size_mm[0] for panel in panels))


def _pile_scale(panels: list[Panel]) -> float:
    """Pixels a mm when the first panel stands at the left and the others are piled beside it."""
    if len(panels) < 3:
        return 0.0
    first, *others = (panel.size_mm for panel in panels)
    spare_width = _WIDTH - _LETTER * 2 - _GAP
    spare_height = _TALLEST - (len(others) - 1) * (_CAPTION + 2 * _LETTER)
    return min(
        spare_width / (first[1] + max(size[1] for size in others)), _TALLEST / first[0], spare_height / sum(size[0] for size in others)
    )


def _frame(draw: ImageDraw.ImageDraw, panel: Panel, x: int, y: int, size: tuple[int, int]) -> None:
    """Border, caption above, and the four orientation letters outside the pixels."""
    width, height = size
    draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
    if not panel.plane:
        return
    caption = f"{panel.plane.capitalize()}, slice {panel.axis_name} = {panel.index}"
    if panel.tilt >= _CLEAR_TILT:
        caption += f", tilted {panel.tilt:.0f}\N{DEGREE SIGN}"
    draw.text((x, y - _LETTER - _CAPTION + 4), caption, TEXT, font_of(23))
    left, right, top, bottom = tuple(panel.letters)
    font = font_of(25)
    draw.text((x - _LETTER // 2 - 1, y + height // 2), left, TEXT, font, anchor="mm")
    draw.text((x + width + _LETTER // 2 + 1, y + height // 2), right, TEXT, font, anchor="mm")
    draw.text((x + width // 2, y - _LETTER // 2 + 1), top, TEXT, font, anchor="mm")
    draw.text((x + width // 2, y + height + _LETTER // 2 + 1), bottom, TEXT, font, anchor="mm")


def _number(draw: ImageDraw.ImageDraw, raster: Raster, x: int, y: int) -> None:
    """The legend's number on each structure: inside it at its thickest place, or beside it with a line to it where it is too small.

    Where structures lie inside one another, the larger one's number stands where no smaller one is.
    """
    taken: list[tuple[float, float, float, float]] = []
    font = font_of(21)
    height, width = raster.pixels.shape[:2]
    covered = np.zeros((height, width), bool)
    for _mask, inside in raster.shown:
        covered |= inside

    def is_free(place: tuple[float, float], half: tuple[float, float]) -> bool:
        left, upper, right, lower = place[0] - half[0], place[1] - half[1], place[0] + half[0], place[1] + half[1]
        fits = left >= 0 and upper >= 0 and right <= width and lower <= height
        return fits and not any(left < other[2] and other[0] < right and upper < other[3] and other[1] < lower for other in taken)

    smaller = np.zeros((height, width), bool)
    for number, inside in sorted(raster.shown, key=lambda one: int(one[1].sum())):
        text = str(number + 1)
        half = (draw.textlength(text, font) / 2 + 3, 12.0)
        own = inside & ~smaller
        smaller |= inside
        within, beside = _tag_places(own if own.any() else inside, half)
        # Beside a small structure, a place on another structure would read as that one's number: only if there is no other.
        on_nothing = [place for place in beside if is_free(place, half) and not covered[int(place[1]), int(place[0])]]
        place = next((place for place in [*within, *on_nothing, *beside] if is_free(place, half)), None)
        if place is not None:
            taken.append((place[0] - half[0], place[1] - half[1], place[0] + half[0], place[1] + half[1]))
            if place not in within:
                rows, columns = np.nonzero(inside)
                nearest = int(np.argmin((columns - place[0]) ** 2 + (rows - place[1]) ** 2))
                draw.line((x + place[0], y + place[1], x + int(columns[nearest]), y + int(rows[nearest])), (255, 255, 255), 1)
            draw.text((x + place[0], y + place[1]), text, (255, 255, 255), font, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))


_Places = list[tuple[float, float]]


def _tag_places(inside: np.ndarray, half: tuple[float, float]) -> tuple[_Places, _Places]:
    """Where a tag of half-size `half` may stand: (places within, places beside), each (column, row) in pixels, best first."""
    coarse = 4
    grid = np.ascontiguousarray(inside[coarse // 2 :: coarse, coarse // 2 :: coarse])
    depth = grid.astype(np.int16)
    while grid.any():
        grid = eroded(grid)
        depth += grid
    within: _Places = []
    if depth.size and depth.max() * coarse > half[1]:
        best = np.argsort(depth, axis=None)[::-1][:400:20]
        rows, columns = np.unravel_index(best, depth.shape)
        within = [(float(column * coarse + 2), float(row * coarse + 2)) for row, column in zip(rows, columns) if depth[row, column]]
    rows, columns = np.nonzero(inside)
    left, right = columns.min() - half[0] - 4, columns.max() + half[0] + 4
    above, below = rows.min() - half[1] - 3, rows.max() + half[1] + 3
    across, down = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
    beside = [(right, down), (left, down), (across, above), (across, below), (right, above), (left, above), (right, below), (left, below)]
    return within, beside


@dataclass(slots=True)
class _Legend:
    """Names in columns below the panels: number, color swatch, name; absent structures say so."""

    masks: Sequence[tuple[str, Color, CroppedMask]]
    font: Font
    width: int

    _LINE = 36
    _BEFORE = 84  # number and swatch

    @property
    def _columns(self) -> int:
        widest = max((self.font.getlength(self._words(name, mask, True)) for name, _color, mask in self.masks), default=0)
        return max(1, min(int((self.width - 2 * _EDGE) // (widest + self._BEFORE + 30)), len(self.masks) or 1))

    @property
    def height(self) -> int:
        return -(-len(self.masks) // self._columns) * self._LINE + _EDGE // 2

    def draw(self, draw: ImageDraw.ImageDraw, top: int, shown: set[int]) -> None:
        """Draw it from `top` down; `shown` are the numbers of the masks that some panel shows."""
        columns = self._columns
        lines = -(-len(self.masks) // columns)
        step = (self.width - 2 * _EDGE) // columns
        for number, (name, color, mask) in enumerate(self.masks):
            x, y = _EDGE + number // lines * step, top + number % lines * self._LINE
            ink = tuple(round(255 * part) for part in color)
            middle = y + self._LINE // 2
            draw.text((x + 34, middle), str(number + 1), TEXT if mask.count else QUIET, self.font, anchor="rm")
            swatch = (x + 46, middle - 11, x + 72, middle + 11)
            draw.rectangle(swatch, fill=ink if mask.count else None, outline=ink if mask.count else QUIET)
            words = _shortened(self._words(name, mask, number in shown), self.font, step - self._BEFORE - 10)
            draw.text((x + self._BEFORE, middle), words, TEXT if mask.count else QUIET, self.font, anchor="lm")

    @staticmethod
    def _words(name: str, mask: CroppedMask, is_shown: bool) -> str:
        if not mask.count:
            return f"{name} (not found)"
        return name if is_shown else f"{name} (not on these slices)"


def _notes(volume: Volume, window: Window) -> str:
    rows, columns = volume.shape_kji[1:]
    if volume.is_picture:
        return f"{columns} x {rows} pixels, shown as stored."
    spacing = " x ".join(f"{size:.3g}" for size in volume.spacing_ijk)
    unit = " HU" if window.site else ""
    shown = f"Shown from {window.low:.4g} to {window.high:.4g}{unit}. " if window.changes_values and not volume.is_color else ""
    return f"Radiological view: R is the patient's right. {shown}Voxels {spacing} mm."


def _shortened(text: str, font: Font, width: float) -> str:
    """The text, cut with "..." where it is wider than `width` pixels."""
    text = " ".join(text.split())[:400]  # no sheet holds more, and measuring costs time
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


Color = tuple[float, float, float]
_DISPLAY_CT = Window("site", -160, 240, site="soft")
_THINNEST_PANEL = 4  # voxels: a plane with fewer on a side shows nothing that a person could read
_MOST_EXTRA = 3
_VISIBLE = 0.25  # of a structure's largest area in a plane: less does not count as seen
_FILL = 0.38
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(slots=True, frozen=True)
class Panel:
    """One slice to be shown.

    Attributes:
        plane: "axial", "coronal", "sagittal", or "" for a 2D picture.
        axes: turns the volume's array to (slice, row from the top, column from the left).
        index: which slice, counted along the volume's own array axis.
        size_mm: height and width.
        letters: the patient directions at the left, right, top and bottom edge; "" for a picture.
        axis_name: the array axis that the slices run along, "i", "j" or "k".
        tilt: degrees between the slice's normal and the patient axis that it is named after.
    """

    plane: str
    axes: AxisMap
    index: int
    size_mm: tuple[float, float]
    letters: str
    axis_name: str
    tilt: float


@dataclass(slots=True, frozen=True)
class Raster:
    """A drawn panel: RGB pixels, and for every mask that shows, its number (from 0) and its pixels."""

    pixels: np.ndarray
    shown: list[tuple[int, np.ndarray]]


def display_window(volume: Volume) -> Window:
    """The window of the picture: 8-bit and color as they are, soft tissue (-160 to 240 HU) on CT, else percentiles."""
    if volume.voxels.dtype == np.uint8:
        return Window("untouched")
    return _DISPLAY_CT if looks_like_ct(volume) else percentile_window(volume)


_Placed = list[tuple[Panel, tuple[int, int, tuple[int, int]]]]


def choose_panels(volume: Volume, masks: Sequence[CroppedMask]) -> list[Panel]:
    """One slice a plane, taken where most structures show well; further slices while some structure is not seen yet.

    Structures that no panel shows yet count more, so three planes usually cover all; at most three axial slices are added.
    """
    planes = _planes_worth_showing(volume)
    found = [mask for mask in masks if mask.count]
    areas = {plane: _areas(_axes(volume, plane), found, volume) for plane in planes}
    seen = np.zeros(len(found), bool)
    chosen: list[tuple[str, int]] = []
    for plane in planes + [planes[0]] * _MOST_EXTRA:
        if len(chosen) >= len(planes) and seen.all():
            break
        index = _best_slice(areas[plane], seen)
        if (plane, index) in chosen:
            break
        chosen.append((plane, index))
        if found:
            seen |= areas[plane][:, index] >= _VISIBLE * areas[plane].max(axis=1)
    return [_panel(volume, plane, index) for plane, index in chosen]


def draw_panel(volume: Volume, panel: Panel, masks: Sequence[tuple[Color, CroppedMask]], window: Window, size: tuple[int, int]) -> Raster:
    """The slice scaled to `size` (width, height in pixels) with every mask as a translucent fill and an outline.

    Larger structures are drawn first, so that small ones lie on top.
    """
    pixels = _gray_or_color(panel.axes.apply(volume.voxels)[panel.index], window)
    canvas = _scaled(pixels, size).astype(np.float32)
    shown = []
    for number in sorted(range(len(masks)), key=lambda one: -masks[one][1].count):
        color, mask = masks[number]
        inside = _mask_slice(mask, panel.axes, panel.index)
        if inside is None:
            continue
        # Between voxel centres the edge runs where the interpolated mask is one half: smooth, and nowhere half a voxel off.
        inside = _scaled_plane(inside, size) >= 0.5
        if not inside.any():
            continue
        ink = np.array(color, np.float32) * 255
        canvas[inside] = canvas[inside] * (1 - _FILL) + ink * _FILL
        canvas[inside & ~eroded(eroded(inside))] = ink
        shown.append((number, inside))
    return Raster(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), shown)


def eroded(inside: np.ndarray) -> np.ndarray:
    """The pixels whose four neighbours are inside too; the array's border counts as outside."""
    padded = np.pad(inside, 1)
    return padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _axes(volume: Volume, plane: str) -> AxisMap:
    return SliceView.of(volume, plane or "axial").axes


def _planes_worth_showing(volume: Volume) -> list[str]:
    if volume.is_picture:
        return [""]
    sides = {plane: [volume.shape_kji[axis] for axis in _axes(volume, plane).order[1:]] for plane in PLANES}
    thick = [plane for plane in ("axial", "coronal", "sagittal") if min(sides[plane]) >= _THINNEST_PANEL]
    return thick or [max(sides, key=lambda plane: min(sides[plane]))]


def _panel(volume: Volume, plane: str, index: int) -> Panel:
    axes = _axes(volume, plane)
    slices, rows, columns = axes.order
    spacing = volume.spacing_ijk[::-1]
    size_mm = (volume.shape_kji[rows] * spacing[rows], volume.shape_kji[columns] * spacing[columns])
    if volume.is_picture:
        return Panel("", axes, index, size_mm, "", "k", 0.0)
    have = nearest_directions(volume.ijk_to_ras)
    normal_to, down, right = (_OPPOSITE[have[source]] if flip else have[source] for source, flip in zip(axes.order, axes.flips))
    matrix = np.asarray(volume.ijk_to_ras, dtype=float)[:3, :3]
    normal = np.cross(matrix[:, 2 - rows], matrix[:, 2 - columns])
    along = normal_to if normal_to in "RAS" else _OPPOSITE[normal_to]
    cosine = abs(normal["RAS".find(along)]) / np.linalg.norm(normal)
    tilt = float(np.degrees(np.arccos(min(cosine, 1.0))))
    return Panel(plane, axes, index, size_mm, _OPPOSITE[right] + right + _OPPOSITE[down] + down, "kji"[slices], tilt)


def _areas(axes: AxisMap, masks: Sequence[CroppedMask], volume: Volume) -> np.ndarray:
    """Voxels of each mask in each slice: (masks, slices)."""
    areas = np.zeros((len(masks), volume.shape_kji[axes.order[0]]))
    for number, mask in enumerate(masks):
        box = axes.apply(mask.voxels)
        start = _turned_start(mask, axes)[0]
        areas[number, start : start + box.shape[0]] = np.count_nonzero(box, axis=(1, 2))
    return areas


def _best_slice(areas: np.ndarray, seen: np.ndarray) -> int:
    count = areas.shape[1]
    if not len(areas):
        return count // 2
    share = np.sqrt(areas / areas.max(axis=1, keepdims=True))
    score = (share * np.where(seen, 1.0, 4.0)[:, np.newaxis]).sum(axis=0)
    best = np.flatnonzero(score >= score.max() - 1e-9)
    return int(best[np.argmin(np.abs(best - count / 2))])


def _turned_start(mask: CroppedMask, axes: AxisMap) -> list[int]:
    return [
        mask.shape_kji[source] - mask.start_kji[source] - mask.voxels.shape[source] if flip else mask.start_kji[source]
        for source, flip in zip(axes.order, axes.flips)
    ]


def _mask_slice(mask: CroppedMask, axes: AxisMap, index: int) -> np.ndarray | None:
    """The mask in one slice as float32 (rows, columns) of the whole slice, or None where it has nothing there."""
    box = axes.apply(mask.voxels)
    first, row, column = _turned_start(mask, axes)
    if not first <= index < first + box.shape[0] or not box[index - first].any():
        return None
    plane = np.zeros([mask.shape_kji[source] for source in axes.order[1:]], np.float32)
    plane[row : row + box.shape[1], column : column + box.shape[2]] = box[index - first]
    return plane


def _gray_or_color(plane: np.ndarray, window: Window) -> np.ndarray:
    """uint8 (rows, columns) or (rows, columns, 3)."""
    if plane.ndim == 3 and plane.dtype == np.uint16:
        return (plane >> 8).astype(np.uint8)
    return apply_window(plane[np.newaxis], window)[0]


def _scaled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """RGB uint8 at `size`, edges aligned."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def _scaled_plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
