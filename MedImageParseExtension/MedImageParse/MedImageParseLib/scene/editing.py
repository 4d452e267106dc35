"""Masks into the segments that a Segment Editor edits: under its masking, into one segment or into new ones, as one step or not at all.

What may be changed (editable area, intensity range, which other segments are overwritten) is Slicer's own decision: every change goes
through vtkSlicerSegmentEditorLogic or, in a Slicer that has no such class yet, through the effect, which asks the editor's widget.
Both know two changes, adding and removing; the four ways of combining are made of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import MedImageParseError, UsageError
from ..files.segmentation import SegmentSpec
from ..imaging.layers import within, without
from ..imaging.regions import Region
from ..imaging.volume import CroppedMask
from .geometry import extentStart, imageToWorld, labelmapOf, orientedImage, shifted, volumeGrid
from .masks import maskOnGrid
from .segments import ImportResult, checkMadeOfVoxels, describe, freeName, usedNames
from .session import importSlicer, renderingPaused
from .tags import setTags
from .undo import ImportStep, addMark, allOrNothing, beginStep, fingerprintOf, isInEffect, keepStep, segmentFingerprints, takeBack

COMBINE = ("replace", "add", "remove", "intersect")
SEGMENT_DELETED = "The segment was deleted while the job was running, so its result was dropped and nothing was changed."
EDITOR_MOVED = "The Segment Editor went to another segmentation while the job was running, so its result was dropped."

_OTHER_RANGE = (
    "The Segment Editor went to another source volume while the job was running, and its intensity range belongs to that one, so the"
    " result was dropped and nothing was changed; switch the range off, or choose the volume, and run again."
)

_NO_NAME = re.compile(r"Segment(_\d+)?$")  # what Slicer calls a segment that nobody has named

Modify = Callable[[str, Any, bool], None]  # (segment ID, labelmap, whether to remove)


@dataclass(slots=True)
class EditorTarget:
    """Where a run from the Segment Editor puts its masks. Main thread only.

    Attributes:
        editorNode: the vtkMRMLSegmentEditorNode, with its segmentation and its masking.
        segmentId: the segment to change; "" for a new segment a structure.
        combine: "replace": in the part that was asked about, the segment becomes the mask; "add"; "remove": the mask is taken from the
            segment; "intersect": in that part only what is in both stays. New segments are always added.
        region: the part of the volume that was asked about, "I0:I1,J0:J1,K0:K1" in its voxels; "" for all of it. Nothing outside changes.
        effect: the qSlicerSegmentEditorScriptedEffect, for a Slicer without vtkSlicerSegmentEditorLogic.
        saveState: called once before the first change: the editor's saveStateForUndo.
    """

    editorNode: Any
    segmentId: str = ""
    combine: str = "replace"
    region: str = ""
    effect: Any = None
    saveState: Callable[[], object] | None = None
    segmentationNode: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.combine not in COMBINE:
            raise UsageError('"{combine}" is no way to combine; use one of {listed}.', combine=self.combine, listed=", ".join(COMBINE))
        self.segmentationNode = self.editorNode.GetSegmentationNode() if self.editorNode is not None else None
        if self.segmentationNode is None:
            raise UsageError("Choose a segmentation in the Segment Editor.")
        if self.segmentId and self.segmentationNode.GetSegmentation().GetSegment(self.segmentId) is None:
            raise UsageError("Choose a segment in the Segment Editor.")

    def whyStale(self) -> str:
        """One sentence on what is gone since the run began, "" where all is well."""
        if self.editorNode.GetScene() is None or self.editorNode.GetSegmentationNode() is not self.segmentationNode:
            return EDITOR_MOVED
        if self.segmentId and self.segmentationNode.GetSegmentation().GetSegment(self.segmentId) is None:
            return SEGMENT_DELETED
        return ""

    def apply(self, volumeNode: Any, specs: list[SegmentSpec]) -> ImportResult:
        """Put masks into the segmentation, as one step.

        Args:
            volumeNode: the volume that the masks lie on.
            specs: what was found; an empty mask changes nothing and is reported as absent.

        Returns:
            ImportResult; what the editor's masking left nothing of is `covered`. scene.undo takes it back by its mark.

        Raises:
            UsageError: several masks for one segment, a transform that is not linear, a segmentation that is not made of voxels, or an
                intensity range that belongs to another volume.
            MedImageParseError: it failed on the way; the segmentation is as it was before.
        """
        result = ImportResult(self.segmentationNode)
        present = []
        for spec in specs:
            key = freeName(spec.name, result.segmentIds)
            result.segmentIds[key] = None
            mask = spec.mask.trimmed()
            if mask.voxels.size:
                present.append((key, spec, mask))
            else:
                result.absent.append(key)
        checkMadeOfVoxels(self.segmentationNode)
        if self.editorNode.GetSourceVolumeIntensityMask() and self.editorNode.GetSourceVolumeNode() is not volumeNode:
            raise UsageError(_OTHER_RANGE)
        if self.segmentId and len(present) > 1:
            raise UsageError("Several structures do not fit into one segment; type one, or choose new segments.")
        if present:
            self._applyAll(volumeNode, present, result)
        return result

    def _applyAll(self, volumeNode: Any, present: list[tuple[str, SegmentSpec, CroppedMask]], result: ImportResult) -> None:
        grid = _Grid(self.segmentationNode, volumeNode)
        asked = grid.ofBox(self.region)
        masks = [(key, spec, grid.ofVolume(mask)) for key, spec, mask in present]
        step: ImportStep = beginStep(self.segmentationNode, changesExisting=True)
        if self.saveState is not None:
            if self._isMasked():  # which may leave nothing to change, and then there is nothing to undo either
                before = segmentFingerprints(self.segmentationNode)
                found = self._put(grid, asked, masks, step)
                if segmentFingerprints(self.segmentationNode) == before:
                    return self._take(found, step, result)
                takeBack(self.segmentationNode, step)
                step = replace(beginStep(self.segmentationNode, changesExisting=True), followsDirectly=step.followsDirectly)
            self.saveState()
        self._take(self._put(grid, asked, masks, step), step, result)

    def _isMasked(self) -> bool:
        """Whether parts of the image may not be edited."""
        everywhere = importSlicer().vtkMRMLSegmentationNode.EditAllowedEverywhere
        return self.editorNode.GetMaskMode() != everywhere or bool(self.editorNode.GetSourceVolumeIntensityMask())

    def _put(
        self, grid: _Grid, asked: CroppedMask, masks: list[tuple[str, SegmentSpec, CroppedMask]], step: ImportStep
    ) -> dict[str, str | None]:
        """Change the segments. Returns the ID of the segment that each mask went into, None where nothing is left of it."""
        selected = self.editorNode.GetSelectedSegmentID() or ""
        sentence = "The masks could not be put into the segments, which are as they were before; look in the log for why."
        found: dict[str, str | None] = {}
        try:
            with allOrNothing(sentence, partial(takeBack, self.segmentationNode, step)), renderingPaused():
                modify = modifierOf(self.editorNode, self.effect)
                for key, spec, mask in masks:
                    found[key] = self._applyOne(grid, asked, mask, spec, modify, step.mark)
        finally:
            self._select(selected or next((each for each in found.values() if each), ""))
        return found

    def _take(self, found: dict[str, str | None], step: ImportStep, result: ImportResult) -> None:
        """What was changed is the result."""
        result.segmentIds |= found
        result.covered += [key for key, segmentId in found.items() if segmentId is None]
        if isInEffect(self.segmentationNode, step.mark):
            keepStep(self.segmentationNode, step)
            result.mark = step.mark

    def _select(self, segmentId: str) -> None:
        if (
            self.segmentationNode.GetSegmentation().GetSegment(segmentId) is not None
            and self.editorNode.GetSelectedSegmentID() != segmentId
        ):
            self.editorNode.SetSelectedSegmentID(segmentId)

    def _applyOne(self, grid: _Grid, asked: CroppedMask, mask: CroppedMask, spec: SegmentSpec, modify: Modify, mark: str) -> str | None:
        """The ID of the segment that was changed, None where the editor's masking left nothing to change."""
        segmentation = self.segmentationNode.GetSegmentation()
        segmentId = self.segmentId or addEmptySegment(self.segmentationNode, spec)
        # The editor's masking leaves the selected segment out of what is around it.
        self._select(segmentId)
        old = grid.ofSegment(segmentId)
        add, remove = combined(old, within(mask, asked), asked, self.combine if self.segmentId else "add")
        segment = segmentation.GetSegment(segmentId)
        before = fingerprintOf(segment)
        for part, isRemoved in ((remove, True), (add, False)):
            if part.voxels.size:
                modify(segmentId, grid.image(part), isRemoved)
        isChanged = before != fingerprintOf(segment)
        if not self.segmentId and not isChanged:
            segmentation.RemoveSegment(segmentId)
            return None
        if isChanged:
            addMark(segment, mark)
        if self.segmentId and isChanged:
            if isUnnamed(segment.GetName()):  # what is in it now gives it a name; one that somebody gave stays
                segment.SetName(spec.name)
                segment.SetColor(*spec.color)
                describe(segment, spec)
            setTags(segment, spec.tags)
        # A segment that already was just what was found is a result as well.
        return segmentId if isChanged or not (without(add, old).voxels.size or remove.voxels.size) else None


def combined(old: CroppedMask, mask: CroppedMask, asked: CroppedMask, how: str) -> tuple[CroppedMask, CroppedMask]:
    """What to add to a segment and what to remove from it.

    Args:
        old: the segment.
        mask: what was found, inside of `asked`, on the same grid.
        asked: the part that the run looked at, on the same grid.
        how: one of COMBINE, see EditorTarget.

    Returns:
        (voxels to add, voxels to remove).
    """
    nothing = CroppedMask.empty(old.shape_kji)
    if how == "add":
        return mask, nothing
    if how == "remove":
        return nothing, within(old, mask)
    remove = without(within(old, asked), mask)
    return (mask if how == "replace" else nothing), remove


def isUnnamed(name: str) -> bool:
    """Whether a segment's name is one of those that Slicer gives, and so names no structure."""
    return _NO_NAME.match(name.strip()) is not None


def addEmptySegment(segmentationNode: Any, spec: SegmentSpec) -> str:
    """A new, empty segment with name, color, terminology and provenance. Returns its ID."""
    segmentation = segmentationNode.GetSegmentation()
    segmentId = segmentation.AddEmptySegment("", freeName(spec.name, usedNames(segmentation)), spec.color)
    if not segmentId:
        raise RuntimeError("a segment could not be added")
    segment = segmentation.GetSegment(segmentId)
    describe(segment, spec)
    setTags(segment, spec.tags)
    return segmentId


def modifierOf(editorNode: Any, effect: Any = None) -> Modify:
    """What changes a segment under the masking of a Segment Editor.

    Args:
        editorNode: the vtkMRMLSegmentEditorNode.
        effect: the effect, for a Slicer without vtkSlicerSegmentEditorLogic (5.8 has none).

    Raises:
        MedImageParseError: there is neither.
    """
    slicer = importSlicer()
    segmentationNode = editorNode.GetSegmentationNode()
    kind = getattr(slicer, "vtkSlicerSegmentEditorLogic", None)
    if kind is not None:
        logic = kind()
        logic.SetMRMLScene(editorNode.GetScene())
        logic.SetSegmentEditorNode(editorNode)

        def modify(segmentId: str, image: Any, isRemoved: bool) -> None:
            mode = logic.ModificationModeRemove if isRemoved else logic.ModificationModeAdd
            logic.ModifySegmentByLabelmap(segmentationNode, segmentId, image, mode, True, False)

        return modify
    if effect is None:
        raise MedImageParseError("This Slicer has no logic for its Segment Editor; run this from the effect Text prompt.")

    def modifyByEffect(segmentId: str, image: Any, isRemoved: bool) -> None:
        kinds = slicer.qSlicerSegmentEditorAbstractEffect
        effect.modifySelectedSegmentByLabelmap(image, kinds.ModificationModeRemove if isRemoved else kinds.ModificationModeAdd)

    return modifyByEffect


class _Grid:
    """The grid that the Segment Editor works on: the segmentation's reference geometry, else the volume's.

    Args:
        segmentationNode, volumeNode: under whatever linear transforms.

    Raises:
        UsageError: a transform between them is not linear.
    """

    def __init__(self, segmentationNode: Any, volumeNode: Any):
        slicer = importSlicer()
        segmentation = segmentationNode.GetSegmentation()
        self._node = segmentationNode
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        if not segmentation.GetConversionParameter(name):
            segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        reference = slicer.vtkOrientedImageData()
        if not slicer.vtkSegmentationConverter.DeserializeImageGeometry(segmentation.GetConversionParameter(name), reference, False):
            raise UsageError("The segmentation has no geometry; choose a source volume in the Segment Editor.")
        self._matrix, self._start = imageToWorld(reference), extentStart(reference)
        self._shape = _kji(reference)
        self._volume, self._volumeStart = volumeGrid(volumeNode, segmentationNode)
        self._volumeShape = _kji(volumeNode.GetImageData())

    def ofVolume(self, mask: CroppedMask) -> CroppedMask:
        """A mask on the volume's grid as one on this."""
        return self._placed(orientedImage(mask, self._volume, self._volumeStart), 1)

    def ofBox(self, region: str) -> CroppedMask:
        """A region of the volume as a mask on this grid."""
        box = Region.parse(region or ":,:,:", self._volumeShape)
        size = [last - first for first, last in zip(box.start_kji, box.stop_kji)]
        return self.ofVolume(CroppedMask(self._volumeShape, box.start_kji, np.ones(size, np.uint8)))

    def ofSegment(self, segmentId: str) -> CroppedMask:
        """A segment as a mask on this grid."""
        segment = self._node.GetSegmentation().GetSegment(segmentId)
        return self._placed(labelmapOf(segment), segment.GetLabelValue())

    def image(self, mask: CroppedMask) -> Any:
        """A mask on this grid as a labelmap for the editor."""
        return orientedImage(mask, self._matrix, self._start)

    def _placed(self, image: Any, label: int) -> CroppedMask:
        return maskOnGrid(image, label, shifted(self._matrix, self._start), self._shape)


def _kji(image: Any) -> tuple[int, int, int]:
    i, j, k = (int(size) for size in image.GetDimensions())
    return k, j, i
