"""What happens where a new mask meets other segments: allow, keep what is there, or overwrite it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..imaging.layers import without
from ..imaging.volume import CroppedMask, three
from .geometry import boxExtent, extentStart, gridShift, imageToWorld, labelArray, labelmapOf, matrixFromArray, orientedImage
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
    return [without(mask, *masks[position + 1 :]) for position, mask in enumerate(masks)]


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


def _layers(segmentation: Any, ignoredIds: set[str]) -> list[tuple[Any, list[str]]]:
    """Each labelmap of the segmentation that holds voxels, with the IDs of its segments."""
    layers: dict[str, tuple[Any, list[str]]] = {}
    for segmentId in segmentation.GetSegmentIDs():
        image = labelmapOf(segmentation.GetSegment(segmentId))
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
