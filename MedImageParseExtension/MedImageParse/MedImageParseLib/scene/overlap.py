"""What happens where a new mask meets other segments: allow, keep what is there, or overwrite it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..imaging.volume import CroppedMask, three
from .geometry import boxExtent, extentStart, gridShift, imageToWorld, labelArray, matrixFromArray, orientedImage
from .session import importSlicer


def withoutExisting(
    mask: CroppedMask, segmentation: Any, imageToWorldArray: np.ndarray, startIjk: tuple[int, int, int], ignoredIds: set[str]
) -> CroppedMask:
    """The part of a mask that lies in no segment of the segmentation.

    Args:
        mask: on the volume's grid.
        segmentation: the vtkSegmentation whose segments come first.
        imageToWorldArray: 4x4 from the volume's ijk to the segmentation's coordinates in mm.
        startIjk: index of the volume's first voxel.
        ignoredIds: segments that do not count (they are about to be replaced).

    A voxel on a grid of its own counts as taken where its center lies in a voxel of an existing segment.
    """
    voxels = mask.voxels.copy()
    for image, segmentIds in _layers(segmentation, ignoredIds):
        labelValues = [segmentation.GetSegment(each).GetLabelValue() for each in segmentIds]
        _clearWhereTaken(voxels, boxExtent(mask, startIjk), image, labelValues, imageToWorldArray)
    return CroppedMask(mask.shape_kji, mask.start_kji, voxels).trimmed()


def withoutLater(masks: list[CroppedMask]) -> list[CroppedMask]:
    """Masks of one grid made disjoint: a voxel stays with the last mask that holds it, as if they had been painted in this order."""
    result = []
    for position, mask in enumerate(masks):
        voxels = mask.voxels.copy()
        for later in masks[position + 1 :]:
            common = [slice(max(a.start, b.start), max(min(a.stop, b.stop), max(a.start, b.start))) for a, b in zip(mask.box, later.box)]
            here = tuple(slice(part.start - first, part.stop - first) for part, first in zip(common, mask.start_kji))
            there = tuple(slice(part.start - first, part.stop - first) for part, first in zip(common, later.start_kji))
            voxels[here] &= (later.voxels[there] == 0).view(np.uint8)
        result.append(CroppedMask(mask.shape_kji, mask.start_kji, voxels).trimmed())
    return result


def eraseFromAll(segmentationNode: Any, mask: CroppedMask, imageToWorldArray: np.ndarray, startIjk: tuple[int, int, int]) -> None:
    """Take the voxels of a mask from every segment of the segmentation.

    Args: as for withoutExisting.

    The mask is brought onto each layer's own grid first. Slicer's functions (and with them the Segment Editor's overwrite mode)
    would do it the other way round and resample the whole existing segment to the grid of the mask.
    """
    slicer = importSlicer()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for image, segmentIds in _layers(segmentationNode.GetSegmentation(), set()):
        layerToWorld = imageToWorld(image)
        shift = gridShift(imageToWorldArray, layerToWorld)
        if shift is None:
            original = orientedImage(mask, imageToWorldArray, startIjk)
            moved, start = labelArray(_resampled(original, list(image.GetExtent()), layerToWorld)), extentStart(image)
        else:
            moved, start = mask.voxels, three(boxExtent(mask, three(np.add(startIjk, shift)))[::2])
        if moved is None:
            continue  # a layer without voxels has none to lose
        # The minimum of a layer with 0 (inside the mask) and 255 (elsewhere) erases every segment of that layer there.
        eraser = CroppedMask(three(moved.shape), (0, 0, 0), np.where(moved != 0, 0, 255).astype(np.uint8))
        eraserImage = orientedImage(eraser, layerToWorld, start)
        if not logic.SetBinaryLabelmapToSegment(eraserImage, segmentationNode, segmentIds[0], logic.MODE_MERGE_MIN, None, True, segmentIds):
            raise RuntimeError("an existing segment could not be changed")


def union(masks: list[CroppedMask]) -> CroppedMask:
    """One mask of everything in any of these masks of one grid, none of which is empty."""
    start = three(min(mask.start_kji[axis] for mask in masks) for axis in range(3))
    stop = tuple(max(mask.box[axis].stop for mask in masks) for axis in range(3))
    voxels = np.zeros([last - first for first, last in zip(start, stop)], np.uint8)
    for mask in masks:
        voxels[tuple(slice(part.start - first, part.stop - first) for part, first in zip(mask.box, start))] |= mask.voxels
    return CroppedMask(masks[0].shape_kji, start, voxels)


def _layers(segmentation: Any, ignoredIds: set[str]) -> list[tuple[Any, list[str]]]:
    """Each labelmap of the segmentation that holds voxels, with the IDs of its segments."""
    binary = importSlicer().vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    layers: dict[str, tuple[Any, list[str]]] = {}
    for segmentId in segmentation.GetSegmentIDs():
        image = segmentation.GetSegment(segmentId).GetRepresentation(binary)
        if segmentId not in ignoredIds and labelArray(image) is not None:
            layers.setdefault(image.GetAddressAsString(""), (image, []))[1].append(segmentId)
    return list(layers.values())


def _clearWhereTaken(voxels: np.ndarray, extent: list[int], image: Any, labelValues: list[int], imageToWorldArray: np.ndarray) -> None:
    shift = gridShift(imageToWorldArray, imageToWorld(image))
    if shift is None:
        image, shift = _resampled(image, extent, imageToWorldArray), (0, 0, 0)
    labels = labelArray(image)
    if labels is None:
        return
    first = extentStart(image)
    here, there = [], []
    for axis in range(3):  # k, j, i
        ijk = 2 - axis
        start = extent[2 * ijk] + shift[ijk] - first[ijk]  # where the box begins in the layer's array
        low, high = max(start, 0), min(start + voxels.shape[axis], labels.shape[axis])
        if low >= high:
            return
        there.append(slice(low, high))
        here.append(slice(low - start, high - start))
    part = labels[tuple(there)]
    free = part != labelValues[0] if len(labelValues) == 1 else ~np.isin(part, labelValues)
    voxels[tuple(here)] &= free.view(np.uint8)


def _resampled(image: Any, extent: list[int], imageToWorldArray: np.ndarray) -> Any:
    """The labelmap on another grid, by nearest neighbor."""
    slicer = importSlicer()
    reference, result = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    reference.SetExtent(extent)
    reference.SetGeometryFromImageToWorldMatrix(matrixFromArray(imageToWorldArray))
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, reference, result):
        raise RuntimeError("an existing segment could not be resampled to the volume's grid")
    return result
