"""A slice of exactly what will be sent: the same window, region, turn and padding, only smaller. Plain numpy and Pillow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..imaging.geometry import SliceView
from ..imaging.png import to_gray
from ..imaging.regions import Region
from ..imaging.volume import Volume
from ..imaging.windows import Window, apply_window, choose_window, looks_like_ct, to_eight_bit
from ..models import SLICES
from ..prompts import sites
from ..prompts.grammar import parse_prompts

SIDE = 150  # pixels


@dataclass(slots=True, frozen=True)
class Preview:
    """What to show.

    Attributes:
        pixels: uint8 (rows, columns[, 3]), square pixels.
        window: what was applied.
        bytes_raw: size of the voxels that would be sent, before compression.
        isTurned: the slice lies as the training images of the first target do, which is not how radiologists look at it.
    """

    pixels: np.ndarray
    window: Window
    bytes_raw: int
    isTurned: bool = False


def sitesOf(prompts: str) -> list[str]:
    """The body sites that a text of prompts names, for the automatic window; none where it cannot be read."""
    try:
        return [site for site in map(sites.site_of, parse_prompts([prompts])) if site]
    except UsageError:
        return []


def windowFor(volume: Volume, setting: str, prompts: str, model: str = SLICES.name, takesRaw: bool = False) -> Window:
    """The window that a run of a model with these choices would use. Raises UsageError for a setting that is none.

    Args:
        volume: the input.
        setting: "auto", "raw", "percentile", a site or "LOW,HIGH".
        prompts: as they stand in the panel.
        model: that will be asked.
        takesRaw: its engine wants Hounsfield units.
    """
    return choose_window(volume, setting, sitesOf(prompts), model, takes_raw=takesRaw)


def volumePreview(volume: Volume, window: Window, region: str, index: int | None = None) -> Preview:
    """The axial slice `index` (default: the middle one) of what goes to the 3D model, laid out as radiologists look at it.

    Raises:
        UsageError: the region is empty or outside of the volume.
    """
    part = Region.parse(region or ":,:,:", volume.shape_kji)
    view = SliceView.of(Volume(volume.voxels, volume.ijk_to_ras), "axial")
    axis = view.axes.order[0]
    first, last = part.start_kji[axis], part.stop_kji[axis]
    index = (first + last) // 2 if index is None else int(np.clip(index, first, last - 1))
    box = list(part.box)
    box[axis] = slice(index, index + 1)
    cut = volume.voxels[tuple(box)]
    gray = to_gray(cut) if volume.is_color else cut
    shown, _cut = to_eight_bit(apply_window(np.ascontiguousarray(gray), window))
    size = int(np.prod([stop - start for start, stop in zip(part.start_kji, part.stop_kji)]))
    bytes_raw = size * (1 if window.changes_values else volume.voxels.dtype.itemsize)
    return Preview(_fitted(view.axes.apply(shown)[0], _spacing(volume, view)), window, bytes_raw)


def slicePreview(volume: Volume, window: Window, plane: str, index: int, orient: str, prompts: str) -> Preview:
    """Slice `index` of a plane as it goes to the 2D model: turned as the first prompt asks, black round it."""
    usual = view = SliceView.of(volume, plane)
    if orient == "trained" and plane == "axial" and not volume.is_picture:
        view = _trained(volume, plane, prompts) or usual
    one = np.take(volume.voxels, [index], axis=view.axes.order[0])
    shown, _cut = to_eight_bit(apply_window(one, window))
    return Preview(_padded(_fitted(view.axes.apply(shown)[0], _spacing(volume, view))), window, 1024 * 1024, view.axes != usual.axes)


def _trained(volume: Volume, plane: str, prompts: str) -> SliceView | None:
    try:
        first = parse_prompts([prompts])[0]
    except UsageError:
        return None
    modality = volume.modality or ("CT" if looks_like_ct(volume) else "")
    lie = sites.trained_orientation(first, modality)
    return SliceView.of(volume, plane, down=lie.down, right=lie.right) if lie else None


def _spacing(volume: Volume, view: SliceView) -> tuple[float, float]:
    spacing = volume.spacing_ijk[::-1]
    return (1.0, 1.0) if volume.is_picture else (float(spacing[view.axes.order[1]]), float(spacing[view.axes.order[2]]))


def _fitted(image: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """The slice with square pixels, its longer side SIDE pixels long."""
    from PIL import Image

    tall, wide = image.shape[0] * spacing_mm[0], image.shape[1] * spacing_mm[1]
    scale = SIDE / max(tall, wide)
    size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
    how = Image.Resampling.BOX if max(image.shape[:2]) > SIDE else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, how))


def _padded(image: np.ndarray) -> np.ndarray:
    square = np.zeros((SIDE, SIDE, *image.shape[2:]), np.uint8)
    top, left = (SIDE - image.shape[0]) // 2, (SIDE - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square
