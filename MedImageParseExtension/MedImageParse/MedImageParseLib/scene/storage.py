"""Slicer segmentation files (.seg.nrrd), written and read by Slicer's own storage code.

The file covers the whole grid of the volume, as Slicer writes it by default (its storage node could crop to the segments), so
that any NRRD reader, SimpleITK for instance, gets an array of the volume's size in the volume's place. Segments that overlap
lie in different layers: such a file has several values per voxel.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, MedImageParseError, UsageError
from ..imaging.volume import CroppedMask, Volume
from .geometry import arrayFromMatrix, gridShift, imageToWorld, layers, matrixFromArray, segmentMask, shifted
from .segments import SegmentSpec
from .session import ensureScene, importSlicer, libraryMessagesOff
from .tags import setTags, tagsOf
from .terminologies import setTerminology, terminologyOf

SUFFIX = ".seg.nrrd"
_FASTEST = "gzip_fastest"  # of the storage node's presets: a third of the time for a tenth more bytes


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


def writeSegmentation(path: str | Path, volume: Volume, specs: list[SegmentSpec], *, name: str = "") -> None:
    """Write masks of a volume as a Slicer segmentation. The file appears whole or not at all.

    Args:
        path: ends in .seg.nrrd; the folder must exist.
        volume: the volume that the masks lie on; its geometry may be oblique, left-handed or sheared.
        specs: segments in this order; empty masks are left out. No segment at all gives a valid file with the volume's grid.
        name: name of the segmentation inside MRML, default: from the path.

    Raises:
        UsageError: another ending, a folder that is not there or cannot be written to, a mask of another size than the volume.
        MedImageParseError: the disk refused.
    """
    path = Path(path)
    _checkDestination(path)
    for spec in specs:
        if tuple(spec.mask.shape_kji) != volume.shape_kji:
            raise UsageError(f"The mask \"{spec.name}\" is not on the volume's grid; give masks of the volume's size.")
    present = [(spec, spec.mask.trimmed()) for spec in specs]
    present = [(spec, mask) for spec, mask in present if mask.voxels.size]
    if present:
        _writeWhole(path, lambda temporary: _writeSegments(temporary, volume, present, name or path.name.removesuffix(SUFFIX)))
    else:
        _writeWhole(path, lambda temporary: _writeEmpty(temporary, volume))


def readSegmentation(path: str | Path) -> list[StoredSegment]:
    """The segments of a Slicer segmentation file, in their order; an empty list for a file without segments.

    Raises:
        InputError: the file is missing or no segmentation.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the path.")
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
        raise InputError(f"{path} cannot be read as a segmentation; give a .seg.nrrd file.")
    return _segmentsOf(node)


def _checkDestination(path: Path) -> None:
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        raise UsageError(f"A segmentation's file name ends in {SUFFIX}, {path.name} does not; choose another name.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist; make it or choose another one for {path.name}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; choose a file name for the segmentation.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {path.parent} cannot be written to; choose another one for {path.name}.")


def _writeWhole(path: Path, write: Callable[[Path], bool]) -> None:
    """Write beside the destination and rename, so that no reader ever sees half a file and a failure leaves the old one."""
    # Slicer tells the format from the whole .seg.nrrd ending, so the temporary name keeps it.
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}{SUFFIX}")
    try:
        with libraryMessagesOff():
            succeeded = write(temporary) and temporary.is_file()
        if not succeeded:
            raise MedImageParseError(f"{path} could not be written; check that the disk has room and the folder can be written to.")
        os.replace(temporary, path)
    except OSError as error:
        raise MedImageParseError(f"{path} could not be written ({error.strerror}); check the disk and the folder.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _writeSegments(path: Path, volume: Volume, present: list[tuple[SegmentSpec, CroppedMask]], name: str) -> bool:
    slicer = importSlicer()
    ensureScene()  # registers the conversion rules
    converter = slicer.vtkSegmentationConverter
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(converter.GetSegmentationBinaryLabelmapRepresentationName())
    segmentation.SetConversionParameter(converter.GetReferenceImageGeometryParameterName(), _serializedGeometry(volume))
    shared = layers([mask for _spec, mask in present], np.asarray(volume.ijk_to_ras, dtype=float))
    for number, ((spec, _mask), (image, label)) in enumerate(zip(present, shared), start=1):
        segment = slicer.vtkSegment()
        segment.SetName(spec.name)
        segment.SetColor(*spec.color)
        segment.SetNameAutoGenerated(False)
        segment.SetColorAutoGenerated(False)
        if spec.terminology:
            setTerminology(segment, spec.terminology)
        setTags(segment, spec.tags)
        segment.SetLabelValue(label)
        segment.AddRepresentation(converter.GetSegmentationBinaryLabelmapRepresentationName(), image)
        if not segmentation.AddSegment(segment, f"Segment_{number}"):
            return False
    storageNode = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storageNode)
    storageNode.SetFileName(str(path))
    storageNode.SetCropToMinimumExtent(False)
    storageNode.SetCompressionParameter(_FASTEST)
    return bool(storageNode.WriteData(node))


def _writeEmpty(path: Path, volume: Volume) -> bool:
    """A segmentation without segments, on the volume's grid.

    The storage node would write a single voxel at the origin here, and the geometry would be lost on reading. The same writer
    with an image of zeros keeps it: Slicer reads this file as an empty segmentation with the volume's reference geometry.
    """
    import vtk

    slicer = importSlicer()
    image = vtk.vtkImageData()
    image.SetDimensions(volume.shape_kji[::-1])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(0)
    writer = slicer.vtkTeemNRRDWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(1)
    writer.SetInputData(image)
    writer.SetIJKToRASMatrix(matrixFromArray(volume.ijk_to_ras))
    converter = slicer.vtkSegmentationConverter
    segmentation = slicer.vtkSegmentation()
    segmentation.SetConversionParameter(converter.GetReferenceImageGeometryParameterName(), _serializedGeometry(volume))
    writer.SetAttribute("Segmentation_MasterRepresentation", converter.GetSegmentationBinaryLabelmapRepresentationName())
    writer.SetAttribute("Segmentation_ConversionParameters", segmentation.SerializeAllConversionParameters())
    writer.SetAttribute("Segmentation_ContainedRepresentationNames", "")
    writer.SetAttribute("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    writer.Write()
    return not writer.GetWriteError()


def _serializedGeometry(volume: Volume) -> str:
    extent = [0, 0, 0, 0, 0, 0]
    extent[1::2] = [size - 1 for size in volume.shape_kji[::-1]]
    return importSlicer().vtkSegmentationConverter.SerializeImageGeometry(matrixFromArray(volume.ijk_to_ras), extent)


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
    grid = shifted(arrayFromMatrix(matrix), tuple(extent[::2]))
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
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
    return CroppedMask(shape, tuple(start[axis] + shift[2 - axis] for axis in range(3)), voxels)
