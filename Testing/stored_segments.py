"""Slicer segmentation files (.seg.nrrd), read by Slicer's own storage node; files/segmentation.py writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from MedImageParseLib.errors import InputError
from MedImageParseLib.imaging.volume import CroppedMask, three
from MedImageParseLib.scene.geometry import arrayFromMatrix, gridShift, imageToWorld, matrixFromArray, segmentMask, shifted
from MedImageParseLib.scene.session import ensureScene, importSlicer, libraryMessagesOff
from MedImageParseLib.scene.tags import tagsOf


@dataclass(slots=True)
class StoredSegment:
    """One segment of a file.

    Attributes:
        name: its name.
        color: red, green, blue, 0..1.
        mask: on the file's grid, kji.
        ijk_to_ras: 4x4 from the mask's full grid to mm.
        terminology: serialized entry, "" where there is none.
        tags: those of ours, by name ("MedImageParse.Model").
    """

    name: str
    color: tuple[float, float, float]
    mask: CroppedMask
    ijk_to_ras: np.ndarray
    terminology: str = ""
    tags: dict[str, str] = field(default_factory=dict)


def readSegmentation(path: str | Path) -> list[StoredSegment]:
    """The segments of a Slicer segmentation file, in their order; an empty list for a file without segments.

    Raises:
        InputError: the file is missing or no segmentation.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("There is no file {path}; check the path.", path=path)
    slicer = importSlicer()
    ensureScene()  # registers the conversion rules
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storageNode = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storageNode)
    storageNode.SetFileName(str(path))
    with libraryMessagesOff():
        succeeded = storageNode.ReadData(node)
    if not succeeded:
        raise InputError("{path} cannot be read as a segmentation; give a .seg.nrrd file.", path=path)
    return _segmentsOf(node)


def _segmentsOf(segmentationNode: Any) -> list[StoredSegment]:
    slicer = importSlicer()
    segmentation = segmentationNode.GetSegmentation()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetSourceRepresentationName() != binary:
        raise InputError("The segmentation is made of surfaces, not of voxels; convert it to binary labelmaps first.")
    if segmentation.GetNumberOfSegments() == 0:
        return []
    geometry = segmentation.DetermineCommonLabelmapGeometry(segmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS_AND_REFERENCE_GEOMETRY, None)
    matrix, extent = matrixFromArray(np.eye(4)), [0, -1, 0, -1, 0, -1]
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, matrix, extent)
    grid = shifted(arrayFromMatrix(matrix), three(extent[::2]))
    shape = three(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    stored = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        mask = _maskOnGrid(segment.GetRepresentation(binary), segment.GetLabelValue(), grid, shape)
        stored.append(StoredSegment(segment.GetName(), tuple(segment.GetColor()), mask, grid, terminologyOf(segment), tagsOf(segment)))
    return stored


def _maskOnGrid(image: Any, labelValue: int, grid: np.ndarray, shape: tuple[int, int, int]) -> CroppedMask:
    found = segmentMask(image, labelValue)
    if found is None:
        return CroppedMask.empty(shape)
    voxels, start = found
    shift = gridShift(imageToWorld(image), grid)
    if shift is None:
        raise InputError("The segments of this file lie on different grids, which a segmentation file should not hold.")
    return CroppedMask(shape, three(start[axis] + shift[2 - axis] for axis in range(3)), voxels)


def terminologyOf(segment: Any) -> str:
    """The serialized entry stored with a vtkSegment, "" where there is none."""
    import vtk

    if hasattr(segment, "GetTerminology"):
        return segment.GetTerminology() or ""
    value = vtk.reference("")
    return str(value) if segment.GetTag(segment.GetTerminologyEntryTagName(), value) else ""
