"""A picture of the cases that fit worst: the slices where reference and prediction differ most, with both outlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..files.drawing import BACKGROUND, TEXT, font_of, png_of
from ..files.picture import Color, Panel, choose_panels, display_window, draw_panel, eroded
from ..files.read import read_image
from ..imaging.volume import CroppedMask, Volume
from ..imaging.windows import Window
from .evaluate import CaseScore, Evaluation
from .labels import LabelSet, same_grid
from .pairs import case_name, plain_name

if TYPE_CHECKING:
    from PIL import Image

REFERENCE_INK, PREDICTION_INK = (60, 220, 90), (255, 70, 200)
_PANEL, _GAP, _HEAD = 420, 16, 64


def render_worst(evaluation: Evaluation, images: Path | None = None) -> bytes:
    """A PNG, one row a case: three planes through the largest difference, reference in green, prediction in magenta.

    Args:
        evaluation: with its `worst` cases.
        images: folder with the cases' images; without it, those that the batch names, else outlines on black.

    Raises:
        InputError: no case was measured.
    """
    from PIL import Image, ImageDraw

    if not evaluation.worst:
        raise InputError("No case was measured, so there is no picture of the worst.")
    rows = [_row(kept, images) for kept in evaluation.worst]
    width = 3 * _PANEL + 4 * _GAP
    height = _HEAD + sum(max(panel.height for panel in panels) + _HEAD for _caption, panels in rows) + _GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), "Cases that fit worst", TEXT, font_of(26))
    draw.text((width - 430, _GAP), "reference", REFERENCE_INK, font_of(24))
    draw.text((width - 270, _GAP), "prediction", PREDICTION_INK, font_of(24))
    top = _HEAD
    for caption, panels in rows:
        draw.text((_GAP, top + 8), caption, TEXT, font_of(20))
        for number, panel in enumerate(panels):
            sheet.paste(panel, (_GAP + number * (_PANEL + _GAP), top + 40))
        top += max(panel.height for panel in panels) + _HEAD
    return png_of(sheet)


def image_of(score: CaseScore, reference: LabelSet, folder: Path | None) -> Volume:
    """The case's image: from `folder`, from the batch, else nothing but black."""
    candidates = []
    if folder is not None:
        names = {score.case, plain_name(score.case)}
        candidates += sorted(path for path in folder.iterdir() if case_name(path) in names)
    made = score.pair.prediction if score.pair else None
    if made is not None and made.image is not None:
        candidates.append(made.image)
    for path in candidates:
        try:
            volume, _warnings = read_image(path)
        except InputError:
            continue
        if same_grid(LabelSet(volume.shape_kji, np.asarray(volume.ijk_to_ras, float), {}), reference):
            return volume
    return Volume(np.zeros(reference.shape_kji, np.uint8), reference.ijk_to_ras)


def _row(kept: tuple[CaseScore, LabelSet, LabelSet], images: Path | None) -> tuple[str, list[Image.Image]]:
    score, reference, prediction = kept
    volume = image_of(score, reference, images)
    true, made = reference.labels() != 0, prediction.labels() != 0
    differs = np.zeros(reference.shape_kji, bool)
    for name in reference.masks:
        differs |= reference.full(name) != prediction.full(name)
    where = CroppedMask.from_full(differs if differs.any() else true | made)
    panels = choose_panels(volume, [where])[:3]
    window = display_window(volume)
    sides = [(REFERENCE_INK, list(reference.masks.values())), (PREDICTION_INK, list(prediction.masks.values()))]
    measure = f"F1 {score.instances.f1:.3f}" if score.instances else f"mean Dice {score.dice:.3f}"
    return f"{score.case}: {measure}", [_panel(volume, panel, sides, window) for panel in panels]


def _panel(volume: Volume, panel: Panel, sides: Sequence[tuple[Color, list[CroppedMask]]], window: Window) -> Image.Image:
    from PIL import Image

    scale = _PANEL / max(panel.size_mm)
    size = max(1, round(panel.size_mm[1] * scale)), max(1, round(panel.size_mm[0] * scale))
    pixels = draw_panel(volume, panel, [], window, size).pixels.copy()
    for ink, masks in sides:
        blank = Volume(np.zeros(volume.shape_kji, np.uint8), volume.ijk_to_ras, is_picture=volume.is_picture)
        for _number, inside in draw_panel(blank, panel, [((1, 1, 1), mask) for mask in masks], window, size).shown:
            pixels[inside & ~eroded(eroded(inside))] = ink
    return Image.fromarray(pixels)
