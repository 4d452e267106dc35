"""Which slices a picture of masks shows, and each of them as an RGB raster with the masks over it. numpy and Pillow only.

Radiological view (imaging.planes): axial and coronal have the patient's right at the left, sagittal has anterior at the left,
superior and anterior are up. Slices are scaled to square millimetres and never resampled across axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..imaging.masks import CroppedMask
from ..imaging.orientation import AxisMap, nearest_directions
from ..imaging.planes import PLANES, SliceView
from ..imaging.volume import Volume
from ..imaging.windows import Window, apply_window, looks_like_ct, percentile_window

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
    directions = [have if not flip else _OPPOSITE[have]
                  for have, flip in zip((nearest_directions(volume.ijk_to_ras)[source] for source in axes.order), axes.flips)]
    down, right = directions[1], directions[2]
    matrix = np.asarray(volume.ijk_to_ras, dtype=float)[:3, :3]
    normal = np.cross(matrix[:, 2 - rows], matrix[:, 2 - columns])
    cosine = abs(normal["RAS".find(_named(directions[0]))]) / np.linalg.norm(normal)
    tilt = float(np.degrees(np.arccos(min(cosine, 1.0))))
    return Panel(plane, axes, index, size_mm, _OPPOSITE[right] + right + _OPPOSITE[down] + down, "kji"[slices], tilt)


def _named(letter: str) -> str:
    return letter if letter in "RAS" else _OPPOSITE[letter]


def _areas(axes: AxisMap, masks: Sequence[CroppedMask], volume: Volume) -> np.ndarray:
    """Voxels of each mask in each slice: (masks, slices)."""
    areas = np.zeros((len(masks), volume.shape_kji[axes.order[0]]))
    for number, mask in enumerate(masks):
        box = axes.apply(mask.voxels)
        start = _turned_start(mask, axes)[0]
        areas[number, start:start + box.shape[0]] = np.count_nonzero(box, axis=(1, 2))
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
    plane[row:row + box.shape[1], column:column + box.shape[2]] = box[index - first]
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
