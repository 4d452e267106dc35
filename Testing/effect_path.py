"""The path of an annotator through the Segment Editor, step by step: the test judges each step, scripts/screenshots_effect.py draws it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from effect_support import Annotator, labelmap

STROKE_MM = 16.0  # radius of the brush


def annotate(person: Annotator, volumeNode: Any, stroke: np.ndarray) -> Iterator[str]:
    """Find the liver, correct it, find the spleen beside it, take both back, and bring them again.

    Args:
        person: who chooses an endpoint that finds both after the step "ready".
        volumeNode: a CT.
        stroke: what is painted, bool kji on the volume's grid.

    Yields:
        what has just been done: "ready", "found", "corrected", "masked", "undone", "redone".
    """
    import slicer

    person.edit(volumeNode)
    person.addSegment("liver")
    yield "ready"
    person.run()  # Enter in the empty field: the segment's name is the prompt
    yield "found"
    person.editor.paint(labelmap(person, stroke))
    yield "corrected"
    person.parameters.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    person.parameters.SetOverwriteMode(person.parameters.OverwriteNone)
    person.host.choose("intoComboBox", "New segments")
    person.host.type("promptEdit", "spl")
    person.host.key("promptEdit", "Return")  # takes the first of the list, "spleen"
    person.wait(person.start())
    yield "masked"
    person.editor.undo()
    person.editor.undo()
    person.host.process()
    yield "undone"
    person.editor.redo()
    person.editor.redo()
    person.host.process()
    yield "redone"


def strokeAt(volumeNode: Any, ras: np.ndarray) -> np.ndarray:
    """What a round brush paints, bool kji on a volume's grid.

    Args:
        volumeNode: the volume.
        ras: the middle, mm.
    """
    from MedImageParseLib.scene.volumes import volumeFromNode

    volume = volumeFromNode(volumeNode, copy=False)
    k, j, i = np.meshgrid(*(np.arange(size) for size in volume.shape_kji), indexing="ij")
    places = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ np.asarray(volume.ijk_to_ras).T
    return np.asarray(((places[..., :3] - ras) ** 2).sum(axis=-1) <= STROKE_MM**2)
