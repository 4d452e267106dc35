"""Between numpy's and VTK's pictures of where voxels are: matrices, cropped images, and how two voxel grids lie to each other.

Boxes and points between the scene's world and a volume's voxels: a region of interest in, a place to jump to out.

The box of voxels of a volume that a segment fills.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..imaging.layers import merged, share_layers
from ..imaging.volume import CroppedMask, Volume, bounding_box, three
from .session import importSlicer

# Two grids count as the same when no voxel of a 1000-voxel image is further off than this, in voxels.
_GRID_TOLERANCE = 0.01


def matrixFromArray(array: np.ndarray) -> Any:
    """A vtkMatrix4x4 of a 4x4 array."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=float).ravel().tolist())
    return matrix


def arrayFromMatrix(matrix: Any) -> np.ndarray:
    """A 4x4 array of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def volumeMatrix(volumeNode: Any) -> np.ndarray:
    """4x4 from a volume node's ijk (extent indices) to mm in its own coordinates."""
    matrix = matrixFromArray(np.eye(4))
    volumeNode.GetIJKToRASMatrix(matrix)
    return arrayFromMatrix(matrix)


def imageToWorld(image: Any) -> np.ndarray:
    """4x4 from a vtkOrientedImageData's own ijk (extent indices) to mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return arrayFromMatrix(matrix)


def shifted(ijkToRas: np.ndarray, startIjk: tuple[int, int, int]) -> np.ndarray:
    """The same grid with its indices counted from `startIjk`."""
    result = np.array(ijkToRas, dtype=float)
    result[:3, 3] += result[:3, :3] @ np.asarray(startIjk, dtype=float)
    return result


def extentStart(image: Any) -> tuple[int, int, int]:
    """First index of a vtkImageData along i, j, k: zero but for images cut out of others."""
    return three(int(first) for first in image.GetExtent()[::2])


def labelArray(image: Any) -> np.ndarray | None:
    """The voxels of a vtkImageData as a view in kji order, None where it holds none. Change a copy, not the view."""
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or 0 in image.GetDimensions() or scalars.GetNumberOfTuples() == 0:
        return None
    return vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])


def orientedImage(mask: CroppedMask, imageToWorldArray: np.ndarray, startIjk: tuple[int, int, int] = (0, 0, 0)) -> Any:
    """A vtkOrientedImageData that is as large as the mask's box, in its place on the grid.

    Args:
        mask: a mask that is not empty.
        imageToWorldArray: 4x4 from the grid's ijk to mm in the coordinates of the segmentation.
        startIjk: index of the grid's first voxel.
    """
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = importSlicer().vtkOrientedImageData()
    image.SetExtent(boxExtent(mask, startIjk))
    # VTK stores the i axis fastest: that is the C order of a kji array.
    flat = np.ascontiguousarray(mask.voxels, dtype=np.uint8).ravel()
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    image.SetGeometryFromImageToWorldMatrix(matrixFromArray(imageToWorldArray))
    return image


def layers(
    masks: Sequence[CroppedMask], imageToWorldArray: np.ndarray, startIjk: tuple[int, int, int] = (0, 0, 0)
) -> list[tuple[Any, int]]:
    """Images for masks, those that do not overlap in one image together: that is what Slicer saves, and one layer is smaller than many.

    Args:
        masks: masks that are not empty, on one grid.
        imageToWorldArray: 4x4 from the grid's ijk to mm in the coordinates of the segmentation.
        startIjk: index of the grid's first voxel.

    Returns:
        for each mask the vtkOrientedImageData that holds it, and its value there. Masks of one layer share the object.
    """
    found: dict[int, tuple[Any, int]] = {}
    for members in share_layers(masks):
        image = orientedImage(merged([masks[number] for number in members]), imageToWorldArray, startIjk)
        found |= {number: (image, label) for label, number in enumerate(members, start=1)}
    return [found[number] for number in range(len(masks))]


def boxExtent(mask: CroppedMask, startIjk: tuple[int, int, int] = (0, 0, 0)) -> list[int]:
    """The mask's box as a VTK extent (first and last index along i, j, k)."""
    extent = []
    for axis in (2, 1, 0):
        first = mask.start_kji[axis] + startIjk[2 - axis]
        extent += [first, first + mask.voxels.shape[axis] - 1]
    return extent


def gridShift(fromArray: np.ndarray, toArray: np.ndarray) -> tuple[int, int, int] | None:
    """Where index (0, 0, 0) of one grid lies on another with the same voxels, or None where the voxels do not coincide.

    Args:
        fromArray: 4x4 of the grid whose first index is looked for, from ijk to mm.
        toArray: 4x4 of the grid on which it is told, from ijk to mm.
    """
    relation = np.linalg.solve(toArray, fromArray)
    shift = np.rint(relation[:3, 3])
    linear = np.abs(relation[:3, :3] - np.eye(3)).max() * 1000
    if linear > _GRID_TOLERANCE or np.abs(relation[:3, 3] - shift).max() > _GRID_TOLERANCE:
        return None
    return three(int(step) for step in shift)


def volumeToSegmentation(volumeNode: Any, segmentationNode: Any) -> np.ndarray:
    """4x4 from the volume node's coordinates to the segmentation node's, through their parent transforms.

    Raises:
        UsageError: the transform between them is not linear, so that a voxel grid of the one is none of the other.
    """
    import vtk

    slicer = importSlicer()
    volumeParent, segmentationParent = volumeNode.GetParentTransformNode(), segmentationNode.GetParentTransformNode()
    if volumeParent is segmentationParent:
        return np.eye(4)
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volumeParent, segmentationParent, between)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(between):
        raise UsageError(
            'The segmentation "{name}" and the volume are under different transforms that are not linear; put both under the same transform, or choose a new segmentation.',
            name=segmentationNode.GetName(),
        )
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(volumeParent, segmentationParent, matrix)
    return arrayFromMatrix(matrix)


def volumeGrid(volumeNode: Any, segmentationNode: Any) -> tuple[np.ndarray, tuple[int, int, int]]:
    """4x4 from a volume's ijk to a segmentation's coordinates, and the ijk of the volume's first voxel. Raises as volumeToSegmentation."""
    return volumeToSegmentation(volumeNode, segmentationNode) @ volumeMatrix(volumeNode), extentStart(volumeNode.GetImageData())


def binaryLabelmap() -> str:
    """What Slicer calls the representation of segments as voxels."""
    return str(importSlicer().vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def labelmapOf(segment: Any) -> Any:
    """The vtkOrientedImageData that a vtkSegment is in, maybe with others; None where it is a surface only."""
    return segment.GetRepresentation(binaryLabelmap())


def segmentMask(image: Any, labelValue: int) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """One segment's voxels in a labelmap of one or several segments.

    Returns:
        (uint8 array kji of its tightest box, the box's first index kji in the image's own extent), None where it is empty.
    """
    labels = labelArray(image)
    if labels is None:
        return None
    box = bounding_box(labels)
    if box is None:
        return None
    inside = labels[box] == labelValue
    inner = bounding_box(inside)
    if inner is None:
        return None
    first = extentStart(image)
    start = tuple(box[axis].start + inner[axis].start + first[2 - axis] for axis in range(3))
    return np.ascontiguousarray(inside[inner]).view(np.uint8), start


_SLIVER = 1e-6  # voxels; a border that runs through a voxel's center counts as including it, whatever the rounding


def voxelsBetween(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First voxel, and the one behind the last, of those whose centers lie in the smallest box of some points.

    Args:
        corners: (points, 3 or more): ijk, fractions of voxels.
    """
    low, high = corners[:, :3].min(axis=0), corners[:, :3].max(axis=0)
    return np.ceil(low - _SLIVER).astype(int), np.floor(high + _SLIVER).astype(int) + 1


def regionText(first: np.ndarray, last: np.ndarray) -> str:
    """A box of voxels as the tasks' `region` option: "I0:I1,J0:J1,K0:K1", ends not included."""
    return ",".join(f"{start}:{stop}" for start, stop in zip(first, last))


def regionFromRoi(roiNode: Any, volumeNode: Any, volume: Volume) -> str:
    """The voxels of a volume whose centers lie in a region of interest, as the tasks' `region` option.

    Where the region is turned against the volume, the smallest box of voxels that holds it. What lies outside the volume is cut off.

    Args:
        roiNode: a vtkMRMLMarkupsROINode, under any linear transform.
        volumeNode: the volume's node, for its parent transform.
        volume: its voxels and geometry, as volumeFromNode gives them.

    Returns:
        "I0:I1,J0:J1,K0:K1", ends not included.

    Raises:
        UsageError: not a region of interest, not inside the volume, or a transform that is not linear.
    """
    if roiNode is None or not roiNode.IsA("vtkMRMLMarkupsROINode"):
        raise UsageError("The region must be a region of interest (ROI) from the Markups module, or text such as 40:300,60:280,0:90.")
    half = np.array(roiNode.GetSize()) / 2
    corners = np.array([(*(half * signs), 1.0) for signs in itertools.product((-1, 1), repeat=3)])
    inWorld = corners @ arrayFromMatrix(roiNode.GetObjectToWorldMatrix()).T
    ijk = inWorld @ np.linalg.inv(parentToWorld(volumeNode) @ np.asarray(volume.ijk_to_ras, dtype=float)).T
    first, last = voxelsBetween(ijk)
    first, last = np.maximum(first, 0), np.minimum(last, volume.shape_kji[::-1])
    if np.any(first >= last):
        raise UsageError("The region of interest holds no voxel of the volume; move it onto the volume or make it larger.")
    return regionText(first, last)


def worldPoint(volumeNode: Any, ras: np.ndarray) -> tuple[float, float, float]:
    """A point in a volume node's own coordinates (mm, RAS) as one in the world, through whatever transforms the node is under."""
    result = [0.0, 0.0, 0.0]
    volumeNode.TransformPointToWorld([float(value) for value in ras], result)
    return three(result)


def volumeScale(volumeNode: Any) -> float | None:
    """How many milliliters of the world a milliliter of a volume node is, through the transforms that it is under: 1.0 unless they scale.

    None where a transform is not linear, so that there is no one factor.
    """
    try:
        return float(abs(np.linalg.det(parentToWorld(volumeNode)[:3, :3])))
    except UsageError:
        return None


def parentToWorld(node: Any) -> np.ndarray:
    """4x4 from a node's own coordinates to the world. Raises UsageError where a transform is not linear."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise UsageError(
            "The volume is under a transform that is not linear, so a box is no box in it; harden the transform or leave the region out."
        )
    matrix = matrixFromArray(np.eye(4))
    parent.GetMatrixTransformToWorld(matrix)
    return arrayFromMatrix(matrix)


def regionFromSegment(segmentationNode: Any, segmentId: str, volumeNode: Any, volume: Volume) -> str:
    """The smallest box of a volume's voxels that holds a segment, as the tasks' `region` option; what lies outside is cut off.

    Args:
        segmentationNode: on whatever grid, under any linear transform.
        segmentId: which of its segments.
        volumeNode: the volume's node, for its parent transform.
        volume: its voxels and geometry, as volumeFromNode gives them.

    Returns:
        "I0:I1,J0:J1,K0:K1", ends not included.

    Raises:
        UsageError: there is no such segment, it is empty or outside of the volume, or a transform is not linear.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId) if segmentationNode is not None else None
    if segment is None:
        raise UsageError("Choose a segment: the region is the box around it.")
    image = labelmapOf(segment)
    found = segmentMask(image, segment.GetLabelValue()) if image is not None else None
    if found is None:
        raise UsageError('The segment "{name}" is empty; choose another.', name=segment.GetName())
    mask, first = found
    start, stop = np.array(first[::-1]) - 0.5, np.array(first[::-1]) + mask.shape[::-1] - 0.5
    corners = np.array([[*np.where(ends, stop, start), 1.0] for ends in itertools.product((False, True), repeat=3)])
    inVolume = np.linalg.inv(volumeToSegmentation(volumeNode, segmentationNode) @ np.asarray(volume.ijk_to_ras, float))
    ijk = corners @ (inVolume @ imageToWorld(image)).T
    low, high = voxelsBetween(ijk)
    low, high = np.maximum(low, 0), np.minimum(high, volume.shape_kji[::-1])
    if np.any(low >= high):
        raise UsageError('The segment "{name}" lies outside of the volume; choose another.', name=segment.GetName())
    return regionText(low, high)
