"""One undo step an import: what it added goes, what it changed comes back, and nothing else is touched. And back again: redo.

The steps belong to the segmentation node and are freed with it. An import that changes no existing segment needs nothing but
the IDs of what it added; only one that replaces or overwrites pays for a copy of the segments (vtkSegmentationHistory).

Whether an import is in effect is read from the segments themselves: each carries its import's mark as a tag (and, where runs of the
Segment Editor's effect have changed it since, the marks of those). So there is one history,
whoever moves in it: this file, the Segment Editor's Ctrl+Z and Ctrl+Y, or a person who deletes segments. Where the Segment Editor is open
on the segmentation and nothing has been edited since, taking back goes through the editor's own history, so that its Redo knows of it.
"""

from __future__ import annotations

import logging
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..errors import MedImageParseError, UsageError
from .geometry import imageToWorld, labelmapOf, segmentMask
from .session import importSlicer, observe, renderingPaused

_log = logging.getLogger(__name__)
MARK_TAG = "MedImageParse.Import"  # of a segment: which imports it came from
_MAXIMUM_STEPS, _MAXIMUM_MARKS = 10, 50

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
        mark: what every segment of the import carries as MARK_TAG.
        state: the segments as the import left them, see `_stateOf`.
        undone: (a vtkSegmentationHistory with the import in it, fingerprints without it) once it has been taken back here.
        isOut: it was not in effect when somebody looked last.
        followsDirectly: nobody has edited voxels between the import before and this one.
    """

    addedIds: list[str] = field(default_factory=list)
    history: Any = None
    parametersBefore: str = ""
    fingerprints: dict[str, int] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    state: tuple = ()
    undone: tuple[Any, dict[str, int]] | None = None
    isOut: bool = False
    followsDirectly: bool = False


def beginStep(segmentationNode: Any, *, changesExisting: bool) -> ImportStep:
    """Note the state before an import."""
    segmentation = segmentationNode.GetSegmentation()
    step = ImportStep(parametersBefore=segmentation.SerializeAllConversionParameters())
    before = lastInEffect(segmentationNode)
    step.followsDirectly = any(each.mark == before and each.state == _stateOf(segmentationNode) for each in _stepsOf(segmentationNode))
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
        observe(segmentationNode, "DeleteEvent", partial(_forget, _steps, key))
    step.state = _stateOf(segmentationNode)
    steps = _steps.setdefault(key, [])
    for each in steps:
        each.undone = None  # what was taken back before a new import does not come again
    steps.append(step)
    del steps[:-_MAXIMUM_STEPS]


@contextmanager
def allOrNothing(sentence: str, restore: Callable[[], object]) -> Iterator[None]:
    """A change of segments that happens whole or not at all, whatever ends it, also a keyboard interrupt.

    Args:
        sentence: for the person, where it fails; what failed goes to the log.
        restore: brings back the state before.

    Raises:
        MedImageParseError: the sentence. What a person did wrong goes through as it is.
    """
    done = False
    try:
        yield
        done = True
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        _log.exception("a change of segments failed")
        raise MedImageParseError(sentence) from error
    finally:
        if not done:
            restore()


def isInEffect(segmentationNode: Any, mark: str) -> bool:
    """Whether anything of an import is in a segmentation.

    Args:
        segmentationNode: None where it is gone.
        mark: of the import (ImportResult.mark).
    """
    if segmentationNode is None or segmentationNode.GetScene() is None:
        return False
    segmentation = segmentationNode.GetSegmentation()
    return any(mark in marksOf(segmentation.GetSegment(each)) for each in segmentation.GetSegmentIDs())


def marksOf(segment: Any) -> list[str]:
    """Which imports a segment came from, the first one first; none for one that a person made."""
    import vtk

    found = vtk.reference("")
    return str(found).split() if segment.GetTag(MARK_TAG, found) else []


def addMark(segment: Any, mark: str) -> None:
    """Note that an import has changed a segment, which stays what those before it made."""
    segment.SetTag(MARK_TAG, " ".join([*marksOf(segment), mark][-_MAXIMUM_MARKS:]))


def lastInEffect(segmentationNode: Any) -> str:
    """The mark of the import that undoLastImport would take back, "" where there is none."""
    _notice(segmentationNode)
    return next((step.mark for step in reversed(_stepsOf(segmentationNode)) if not step.isOut), "")


def _notice(segmentationNode: Any) -> None:
    """See which imports are in effect.

    Where somebody else has moved (the editor's Undo or Redo), segments are as an import left them, in labelmaps that are new.
    """
    steps, last = _stepsOf(segmentationNode), -1
    changed = set()
    for number, step in enumerate(steps):
        wasOut, step.isOut = step.isOut, not isInEffect(segmentationNode, step.mark)
        if not step.isOut:
            last = number
        if wasOut != step.isOut:
            changed.add(number)
    cameBack = last in changed
    wentDirectly = last + 1 in changed and steps[last + 1].followsDirectly
    if last >= 0 and (cameBack or wentDirectly):
        steps[last].state = _stateOf(segmentationNode)


def canRedo(segmentationNode: Any, editor: Any = None) -> bool:
    """Whether redoLastImport may bring something back."""
    step = _firstTakenBack(segmentationNode)
    return step is not None and (step.undone is not None or editor is not None)


def _stepsOf(segmentationNode: Any) -> list[ImportStep]:
    return _steps.get(segmentationNode.GetAddressAsString(""), []) if segmentationNode is not None else []


def _firstTakenBack(segmentationNode: Any) -> ImportStep | None:
    """The import that came after the last one in effect."""
    steps = _stepsOf(segmentationNode)
    last = max((number for number, step in enumerate(steps) if isInEffect(segmentationNode, step.mark)), default=-1)
    return steps[last + 1] if last + 1 < len(steps) else None


def _stateOf(segmentationNode: Any) -> tuple:
    """Which labelmap each segment is in, and when that was last changed: the same as before where nobody has edited voxels."""
    segmentation = segmentationNode.GetSegmentation()
    images = [(each, labelmapOf(segmentation.GetSegment(each))) for each in segmentation.GetSegmentIDs()]
    return tuple((each, image.GetMTime() if image is not None else 0) for each, image in images)


def _forget(steps: dict[str, list[ImportStep]], key: str, *_callerAndEvent: object) -> None:
    """A node is deleted: its address may be used again. All is bound: at interpreter exit VTK deletes nodes after this module's names."""
    steps.pop(key, None)


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


def undoLastImport(segmentationNode: Any, editor: Any = None) -> bool:
    """Take the last import into this segmentation that is in effect back; call again for the one before (ten are kept).

    Segments that the import added are removed. Segments that it replaced or overwrote get back their voxels, names and
    colors of before. Later edits of other segments stay.

    Args:
        segmentationNode: the segmentation; None does nothing.
        editor: a qMRMLSegmentEditorWidget that edits it, whose history is then used (undo, redo, saveStateForUndo); None for none.

    Returns:
        False where there is no import to take back.

    Raises:
        UsageError: the import changed existing segments and segments have been edited since; taking it back would lose that work.
    """
    mark = lastInEffect(segmentationNode)
    if not mark:
        return False
    step = next(each for each in _stepsOf(segmentationNode) if each.mark == mark)
    if editor is not None and step.state == _stateOf(segmentationNode):
        editor.undo()
        if not isInEffect(segmentationNode, mark):
            _notice(segmentationNode)
            return True
        if step.state != _stateOf(segmentationNode):
            editor.redo()  # that was something else
    if step.history is not None and step.fingerprints != segmentFingerprints(segmentationNode):
        raise UsageError(
            'Segments of "{name}" have been edited since the import, so it cannot be taken back without losing '
            "those edits; undo them in the Segment Editor first.",
            code="edited-since",
            name=segmentationNode.GetName(),
        )
    if editor is not None:
        editor.saveStateForUndo()
    withImport = importSlicer().vtkSegmentationHistory()
    withImport.SetSegmentation(segmentationNode.GetSegmentation())
    withImport.SaveState()
    with renderingPaused():
        takeBack(segmentationNode, step)
    step.undone = (withImport, segmentFingerprints(segmentationNode))
    return True


def redoLastImport(segmentationNode: Any, editor: Any = None) -> bool:
    """Bring back the import that was taken back last.

    Args: as of undoLastImport.

    Returns:
        False where there is none, or segments have been edited since it was taken back (its edits would be lost).
    """
    step = _firstTakenBack(segmentationNode)
    if step is None:
        return False
    if step.undone is None or step.undone[1] != segmentFingerprints(segmentationNode):
        if editor is not None:
            editor.redo()
        return isInEffect(segmentationNode, step.mark)
    if editor is not None:
        editor.saveStateForUndo()
    history, step.undone = step.undone[0], None
    with renderingPaused():
        history.RestorePreviousState()
    step.state = _stateOf(segmentationNode)
    if step.history is not None:
        step.fingerprints = segmentFingerprints(segmentationNode)
    return isInEffect(segmentationNode, step.mark)


def segmentFingerprints(segmentationNode: Any) -> dict[str, int]:
    """A checksum of each segment's voxels and their place, by segment ID, whatever layer they are stored in."""
    segmentation = segmentationNode.GetSegmentation()
    return {each: fingerprintOf(segmentation.GetSegment(each)) for each in segmentation.GetSegmentIDs()}


def fingerprintOf(segment: Any) -> int:
    """A checksum of one segment's voxels and their place, 0 for an empty one."""
    image = labelmapOf(segment)
    mask = segmentMask(image, segment.GetLabelValue())
    if mask is None:
        return 0
    voxels, start = mask
    place = np.round(imageToWorld(image), 6).tobytes() + np.array([start, voxels.shape]).tobytes()
    return zlib.crc32(voxels.data, zlib.crc32(place))
