"""Masks into a segmentation node as segments: in place, under the chosen overlap rule, as one undo step, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError, UsageError
from ..files.segmentation import SegmentSpec
from ..imaging.layers import union
from ..imaging.volume import CroppedMask
from .geometry import binaryLabelmap, layers, orientedImage, volumeGrid, volumeToSegmentation
from .overlap import eraseFromAll, withoutExisting, withoutLater
from .session import hierarchyItem, importSlicer, removeNode, renderingPaused
from .tags import setTags, setTerminology
from .undo import MARK_TAG, ImportStep, allOrNothing, beginStep, keepStep, takeBack, undoLastImport

__all__ = ["ImportResult", "SegmentSpec", "importSegments", "newSegmentation", "undoLastImport"]

OVERLAP_RULES = ("allow", "overwrite", "keep")
EXISTING_RULES = ("add", "replace")


@dataclass(slots=True)
class ImportResult:
    """What an import did.

    Attributes:
        segmentationNode: where the segments are.
        segmentIds: segment ID by name, in the order of the specs; None where nothing was added. A name that comes a second time
            has _1 appended.
        absent: names of the empty masks.
        covered: names of masks of which the overlap rule left nothing ("keep": all of it lies in existing segments; "overwrite": later
            masks took all of it).
        mark: of the import, see scene.undo; "" where it added nothing.
    """

    segmentationNode: Any
    segmentIds: dict[str, str | None] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    covered: list[str] = field(default_factory=list)
    mark: str = ""


@dataclass(slots=True)
class _Planned:
    """A segment ready to go in: its image is made before anything is changed, so that bad input changes nothing."""

    key: str
    spec: SegmentSpec
    replacedId: str | None
    name: str
    mask: CroppedMask
    image: Any = None
    label: int = 1


def importSegments(
    segmentationNode: Any,
    volumeNode: Any,
    specs: list[SegmentSpec],
    *,
    overlap: str = "allow",
    onExisting: str = "add",
    beforeChange: Callable[[], object] | None = None,
) -> ImportResult:
    """Put masks of a volume into a segmentation as segments, as one undo step. Main thread only.

    Args:
        segmentationNode: an existing segmentation, or None for a new one named "<volume> segmentation".
        volumeNode: the volume that the masks were made from; masks lie on its voxel grid, under its parent transform.
        specs: what to add. An empty mask adds nothing and is reported by its name.
        overlap: "allow": segments may overlap, existing ones are not changed. "keep": new masks only take voxels that are in no
            segment yet, existing ones are not changed. "overwrite": new voxels are taken from all other segments, and a later
            spec takes from an earlier one.
        onExisting: "add" a segment of a free name ("liver", "liver_1"), or "replace" the segment of the same name, keeping its ID.
            A name whose mask is empty replaces nothing.
        beforeChange: called once before the first change and only if there will be one, for instance a Segment Editor widget's
            saveStateForUndo, so that one Ctrl+Z there takes the whole import back.

    Returns:
        IDs by name, and the names that added nothing. A new segmentation is made even when every mask is empty.

    Raises:
        UsageError: unknown rule, mask of another size than the volume, or a segmentation that cannot take its voxels exactly.
        InputError: the volume has no voxels or is in no scene.
        MedImageParseError: the import failed on the way; the segmentation is as it was before.
    """
    _checkArguments(volumeNode, specs, overlap, onExisting)
    created = segmentationNode is None
    if created:
        segmentationNode = newSegmentation(volumeNode)
    else:
        _checkSegmentation(segmentationNode, volumeNode)
    result = ImportResult(segmentationNode)
    step: ImportStep | None = None
    sentence = "The masks could not be put into the segmentation, which is as it was before; look in the log for why."
    with allOrNothing(sentence, lambda: _restore(segmentationNode, step, created)):
        planned = _plan(result, segmentationNode, volumeNode, specs, overlap, onExisting)
        if planned:
            if beforeChange is not None:
                beforeChange()
            erases = overlap == "overwrite" and segmentationNode.GetSegmentation().GetNumberOfSegments() > 0
            step = beginStep(segmentationNode, changesExisting=erases or any(each.replacedId for each in planned))
            _apply(result, step, segmentationNode, volumeNode, planned, erases=erases)
    if step is not None:
        keepStep(segmentationNode, step)
        result.mark = step.mark
    return result


def newSegmentation(volumeNode: Any, name: str = "") -> Any:
    """An empty segmentation that belongs to a volume: its transform, its geometry, its place in the study.

    Args:
        volumeNode: a volume node in a scene.
        name: default: "<volume's name> segmentation".
    """
    scene = volumeNode.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name or f"{volumeNode.GetName()} segmentation")
    # Under the volume's own transform: elsewhere the masks would show next to the organs, by as much as the transform moves.
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    # Also makes the volume the reference image, which export to DICOM needs.
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    _ensureDisplay(node)
    hierarchy, volumeItem = hierarchyItem(volumeNode)
    if hierarchy is not None:
        parent = hierarchy.GetItemParent(volumeItem) if volumeItem else hierarchy.GetSceneItemID()
        item = hierarchy.GetItemByDataNode(node)  # Slicer makes it as the node is added; outside Slicer nobody does
        if item:
            hierarchy.SetItemParent(item, parent)
        else:
            hierarchy.CreateItem(parent, node)
    return node


def checkRules(overlap: str, onExisting: str) -> None:
    """Raises UsageError where one of the two is not among OVERLAP_RULES and EXISTING_RULES."""
    if overlap not in OVERLAP_RULES:
        raise UsageError('"{overlap}" is no overlap rule; use one of {listed}.', overlap=overlap, listed=", ".join(OVERLAP_RULES))
    if onExisting not in EXISTING_RULES:
        raise UsageError(
            '"{onexisting}" is no rule for names that are there already; use one of {listed}.',
            onexisting=onExisting,
            listed=", ".join(EXISTING_RULES),
        )


def _checkArguments(volumeNode: Any, specs: list[SegmentSpec], overlap: str, onExisting: str) -> None:
    checkRules(overlap, onExisting)
    image = volumeNode.GetImageData() if volumeNode is not None and volumeNode.IsA("vtkMRMLVolumeNode") else None
    if image is None or 0 in image.GetDimensions():
        raise InputError("There is no volume for the masks to lie on; select the volume that they were made from.")
    if volumeNode.GetScene() is None:
        raise InputError("The volume is in no scene; add it to the scene first.")
    shape = tuple(image.GetDimensions()[::-1])
    for spec in specs:
        if tuple(spec.mask.shape_kji) != shape:
            sizes = tuple("x".join(str(size) for size in kji[::-1]) for kji in (spec.mask.shape_kji, shape))
            raise UsageError(
                'The mask "{name}" is {size} voxels, the volume {expected}; give masks on the volume\'s own grid.',
                name=spec.name,
                size=sizes[0],
                expected=sizes[1],
            )


def _checkSegmentation(segmentationNode: Any, volumeNode: Any) -> None:
    if segmentationNode.GetScene() is not volumeNode.GetScene():
        raise UsageError("The segmentation and the volume are in different scenes; choose a segmentation of the volume's scene.")
    segmentation = segmentationNode.GetSegmentation()
    checkMadeOfVoxels(segmentationNode)
    if segmentation.GetSourceRepresentationName() != binaryLabelmap():
        segmentation.SetSourceRepresentationName(binaryLabelmap())
    volumeToSegmentation(volumeNode, segmentationNode)


def checkMadeOfVoxels(segmentationNode: Any) -> None:
    """Make sure that masks can go into a segmentation without changing the segments that are there.

    Args:
        segmentationNode: any.

    Raises:
        UsageError: its segments are kept as something else, such as surfaces.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() > 0 and segmentation.GetSourceRepresentationName() != binaryLabelmap():
        raise UsageError(
            'The segmentation "{name}" is not made of voxels (binary labelmaps), and adding masks would change their shape; make binary labelmap its source representation, or choose a new segmentation.',
            name=segmentationNode.GetName(),
        )


def _plan(
    result: ImportResult, segmentationNode: Any, volumeNode: Any, specs: list[SegmentSpec], overlap: str, onExisting: str
) -> list[_Planned]:
    """Decide on every spec and make the images. Changes nothing in the scene; fills in what is absent or covered."""
    segmentation = segmentationNode.GetSegmentation()
    idByName: dict[str, str] = {}
    for segmentId in segmentation.GetSegmentIDs():
        idByName.setdefault(segmentation.GetSegment(segmentId).GetName(), segmentId)
    usedNames = set(idByName)
    planned = []
    for spec in specs:
        key = freeName(spec.name, result.segmentIds)
        result.segmentIds[key] = None
        mask = spec.mask.trimmed()
        if mask.voxels.size == 0:
            result.absent.append(key)
            continue
        replacedId = idByName.get(key) if onExisting == "replace" else None
        name = key if replacedId else freeName(key, usedNames)
        usedNames.add(name)
        planned.append(_Planned(key, spec, replacedId, name, mask))
    matrix, start = volumeGrid(volumeNode, segmentationNode)
    masks = [each.mask for each in planned]
    if overlap == "keep":
        replacedIds = {each.replacedId for each in planned if each.replacedId}
        masks = [withoutExisting(mask, segmentation, matrix, start, replacedIds) for mask in masks]
    elif overlap == "overwrite":
        masks = withoutLater(masks)
    for each, mask in zip(planned, masks):
        each.mask = mask
        if mask.voxels.size == 0:
            result.covered.append(each.key)
    present = [each for each in planned if each.mask.voxels.size]
    added = [each for each in present if not each.replacedId]
    for each, shared in zip(added, layers([each.mask for each in added], matrix, start)):
        each.image, each.label = shared
    for each in present:
        if each.replacedId:  # in a layer of its own, as what was there may share one with others
            each.image = orientedImage(each.mask, matrix, start)
    return present


def _apply(
    result: ImportResult, step: ImportStep, segmentationNode: Any, volumeNode: Any, planned: list[_Planned], *, erases: bool
) -> None:
    surface = importSlicer().vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    segmentation = segmentationNode.GetSegmentation()
    wasModifying = segmentationNode.StartModify()
    try:
        with renderingPaused():
            _ensureDisplay(segmentationNode)
            if segmentation.GetNumberOfSegments() == 0 and not segmentationNode.GetNodeReferenceID(
                segmentationNode.GetReferenceImageGeometryReferenceRole()
            ):
                segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
            # Surfaces of changed segments would be made anew after each single change; once at the end is enough. Where no
            # existing segment changes, theirs stay and Slicer makes those of the new ones as it adds them.
            remakeSurfaces = step.history is not None and segmentation.ContainsRepresentation(surface)
            if remakeSurfaces:
                segmentation.RemoveRepresentation(surface)
            if erases:
                eraseFromAll(segmentationNode, union([each.mask for each in planned]), *volumeGrid(volumeNode, segmentationNode))
            for each in planned:
                if each.replacedId:
                    result.segmentIds[each.key] = _replaceSegment(segmentation, each, each.replacedId, step)
                else:
                    result.segmentIds[each.key] = _addSegment(segmentation, each, step)
            if remakeSurfaces and not segmentation.CreateRepresentation(surface, True):
                raise RuntimeError("the closed surfaces could not be made again")
    finally:
        segmentationNode.EndModify(wasModifying)


def _addSegment(segmentation: Any, planned: _Planned, step: ImportStep) -> str:
    segment = importSlicer().vtkSegment()
    _fillSegment(segment, planned, planned.label, step)
    segmentId = segmentation.GenerateUniqueSegmentID("")
    step.addedIds.append(segmentId)
    if not segmentation.AddSegment(segment, segmentId):
        raise RuntimeError("a segment could not be added")
    # The display node gives a color of its own choice to a segment of exactly Slicer's "no color" grey.
    segment.SetColor(*planned.spec.color)
    return segmentId


def _replaceSegment(segmentation: Any, planned: _Planned, segmentId: str, step: ImportStep) -> str:
    # Out of the layer that it may share with others: writing into that would erase them.
    segmentation.SeparateSegmentLabelmap(segmentId)
    _fillSegment(segmentation.GetSegment(segmentId), planned, 1, step)
    return segmentId


def _fillSegment(segment: Any, planned: _Planned, label: int, step: ImportStep) -> None:
    segment.AddRepresentation(binaryLabelmap(), planned.image)
    segment.SetLabelValue(label)
    segment.SetName(planned.name)
    segment.SetColor(*planned.spec.color)
    describe(segment, planned.spec)
    setTags(segment, planned.spec.tags)
    segment.SetTag(MARK_TAG, step.mark)


def describe(segment: Any, spec: SegmentSpec) -> None:
    """Give a segment its terminology; its name and color are meant, so that Slicer does not change them when a terminology is chosen."""
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    if spec.terminology:
        setTerminology(segment, spec.terminology)


def _restore(segmentationNode: Any, step: ImportStep | None, created: bool) -> None:
    if created:
        removeNode(segmentationNode)
    elif step is not None:
        takeBack(segmentationNode, step)


removeSegmentation = removeNode


def _ensureDisplay(segmentationNode: Any) -> None:
    if segmentationNode.GetDisplayNode() is not None:
        return
    segmentationNode.CreateDefaultDisplayNodes()
    displayNode = segmentationNode.GetDisplayNode()
    displayNode.SetVisibility(True)
    displayNode.SetVisibility2DFill(True)
    displayNode.SetVisibility2DOutline(True)


def usedNames(segmentation: Any) -> set[str]:
    """The names of a vtkSegmentation's segments."""
    return {segmentation.GetSegment(each).GetName() for each in segmentation.GetSegmentIDs()}


def freeName(name: str, used: Any) -> str:
    """The name, or name_1, name_2, … as Slicer numbers."""
    free, number = name, 0
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free
