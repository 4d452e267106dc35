"""One undo step an import: what it added goes, what it changed comes back, and nothing else is touched.

The steps belong to the segmentation node and are freed with it. An import that changes no existing segment needs nothing but
the IDs of what it added; only one that replaces or overwrites pays for a copy of the segments (vtkSegmentationHistory).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UsageError
from .geometry import imageToWorld, segmentMask
from .session import importSlicer, renderingPaused

_MAXIMUM_STEPS = 10

# Steps of each living segmentation node, by the node's address; an entry is dropped when VTK deletes the node.
_steps: dict[str, list[ImportStep]] = {}


@dataclass(slots=True)
class ImportStep:
    """What has to be known to take one import back.

    Attributes:
        addedIds: segments that the import added.
        history: a vtkSegmentationHistory with the state before, None where no existing segment was to be changed.
        parametersBefore: the segmentation's conversion parameters (its reference geometry among them), serialized.
        fingerprints: voxels of every segment after the import, by ID; only kept with a history.
    """

    addedIds: list[str] = field(default_factory=list)
    history: Any = None
    parametersBefore: str = ""
    fingerprints: dict[str, int] = field(default_factory=dict)


def beginStep(segmentationNode: Any, *, changesExisting: bool) -> ImportStep:
    """Note the state before an import."""
    segmentation = segmentationNode.GetSegmentation()
    step = ImportStep(parametersBefore=segmentation.SerializeAllConversionParameters())
    if changesExisting:
        step.history = importSlicer().vtkSegmentationHistory()
        step.history.SetSegmentation(segmentation)
        step.history.SaveState()
    return step


def keepStep(segmentationNode: Any, step: ImportStep) -> None:
    """The import went well: undoLastImport may take it back from now on."""
    if step.history is not None:
        step.fingerprints = segmentFingerprints(segmentationNode)
    key = segmentationNode.GetAddressAsString("")
    if key not in _steps:
        segmentationNode.AddObserver("DeleteEvent", _forgetter(_steps, key))
    steps = _steps.setdefault(key, [])
    steps.append(step)
    del steps[:-_MAXIMUM_STEPS]


def _forgetter(steps: dict[str, list[ImportStep]], key: str) -> Callable[..., None]:
    """What a node's deletion calls: its address may be used again.

    Everything is bound here: VTK passes no node (it is half gone), and at interpreter exit it deletes nodes after this module's names.
    """

    def forget(*_callerAndEvent: object) -> None:
        steps.pop(key, None)

    return forget


def takeBack(segmentationNode: Any, step: ImportStep) -> None:
    """Bring back the state before `step`, whether the import got to its end or not."""
    segmentation = segmentationNode.GetSegmentation()
    wasModifying = segmentationNode.StartModify()
    try:
        if step.history is None:
            for segmentId in step.addedIds:
                if segmentation.GetSegment(segmentId) is not None:
                    segmentation.RemoveSegment(segmentId)
        # Nothing to go back to means that nothing has been changed since the state was saved.
        elif step.history.IsRestorePreviousStateAvailable():
            step.history.RestorePreviousState()
        segmentation.DeserializeConversionParameters(step.parametersBefore)
    finally:
        segmentationNode.EndModify(wasModifying)


def undoLastImport(segmentationNode: Any) -> bool:
    """Take the last import into this segmentation back; call again for the one before (ten are kept).

    Segments that the import added are removed. Segments that it replaced or overwrote get back their voxels, names and
    colors of before. Later edits of other segments stay.

    Returns:
        False where there is no import to take back.

    Raises:
        UsageError: the import changed existing segments and segments have been edited since; taking it back would lose that work.
    """
    steps = _steps.get(segmentationNode.GetAddressAsString(""), []) if segmentationNode is not None else []
    segmentation = segmentationNode.GetSegmentation() if segmentationNode is not None else None
    while steps and steps[-1].history is None and not any(segmentation.GetSegment(each) for each in steps[-1].addedIds):
        steps.pop()  # someone has removed those segments already
    if not steps:
        return False
    step = steps[-1]
    if step.history is not None and step.fingerprints != segmentFingerprints(segmentationNode):
        raise UsageError(
            f'Segments of "{segmentationNode.GetName()}" have been edited since the import, so it cannot be taken back without losing '
            "those edits; undo them in the Segment Editor first."
        )
    with renderingPaused():
        takeBack(segmentationNode, step)
    steps.pop()
    return True


def segmentFingerprints(segmentationNode: Any) -> dict[str, int]:
    """A checksum of each segment's voxels and their place, by segment ID, whatever layer they are stored in."""
    name = importSlicer().vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation = segmentationNode.GetSegmentation()
    fingerprints = {}
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(name)
        mask = segmentMask(image, segment.GetLabelValue())
        if mask is None:
            fingerprints[segmentId] = 0
            continue
        voxels, start = mask
        place = np.round(imageToWorld(image), 6).tobytes() + np.array([start, voxels.shape]).tobytes()
        fingerprints[segmentId] = zlib.crc32(voxels, zlib.crc32(place))
    return fingerprints
