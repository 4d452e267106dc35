"""Volume nodes to plain arrays with geometry, and back.

Bringing a slice of a volume before the person's eyes, and finding the volume that a slice came from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError
from ..imaging.geometry import SliceView
from ..imaging.volume import Volume
from ..remedies import Sentence
from ..search.records import series_name
from .geometry import extentStart, labelArray, matrixFromArray, shifted, volumeMatrix, worldPoint
from .session import ensureScene, hierarchyItem, importSlicer, nodesOfClass

_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
_MODALITY_ATTRIBUTE = "DICOM.Modality"
# Slicer's DICOM reader marks a CT by its unit of measurement, in UCUM code or in words.
_HOUNSFIELD_UNITS = {"[hnsf'U]", "HU", "Hounsfield unit", "Hounsfield Unit"}
_NO_IMAGES = ("vtkMRMLDiffusionWeightedVolumeNode", "vtkMRMLDiffusionTensorVolumeNode")
# numpy types that VTK has no array for, and what holds all of their values.
_STORED_AS = {"bool": np.uint8, "float16": np.float32}


def volumeFromNode(volumeNode: Any, *, copy: bool = True) -> Volume:
    """The voxels of a volume node and where they are.

    Parent transforms are not applied: the geometry is the node's own, because the masks go back under the same transform.

    Args:
        volumeNode: scalar, labelmap or color (RGB, RGBA) volume node, of any size and any geometry.
        copy: True gives voxels of their own. False gives a view of the node's memory: only for use at once on the main
            thread, never for a worker.

    Returns:
        voxels kji (kjic for color, alpha dropped), ijk_to_ras in mm, the DICOM modality where the scene knows it.

    Raises:
        InputError: no volume chosen, no voxels in it, voxels of another kind than numbers and colors, or a geometry that cannot be used.
    """
    image = volumeNode.GetImageData() if volumeNode is not None and volumeNode.IsA("vtkMRMLVolumeNode") else None
    if image is None or image.GetPointData().GetScalars() is None or 0 in image.GetDimensions():
        raise InputError("There is no volume to read; load a volume and select it.")
    if any(volumeNode.IsA(kind) for kind in _NO_IMAGES):
        raise InputError(
            'The volume "{name}" holds diffusion data, which is no picture; choose a scalar volume made from it.',
            name=volumeNode.GetName(),
        )
    voxels = _voxelsOf(image, volumeNode.GetName())
    # A copy in the machine's own layout, never a view that changes or disappears with the node.
    voxels = np.array(voxels, order="C", copy=True) if copy else voxels
    ijkToRas = shifted(volumeMatrix(volumeNode), extentStart(image))
    volume = Volume(voxels, ijkToRas, modality=modalityOf(volumeNode), is_picture=_isPicture(volumeNode))
    volume.check_geometry()
    return volume


def nodeFromVolume(volume: Volume, name: str, scene: Any = None) -> Any:
    """A new volume node with these voxels (copied) and this geometry.

    Args:
        volume: voxels kji, or kjic for color; bool is stored as uint8 and float16 as float32, every other type as it is.
        name: the node's name.
        scene: default: the one of ensureScene().

    Returns:
        a vtkMRMLScalarVolumeNode, or a vtkMRMLVectorVolumeNode for color.

    Raises:
        InputError: no voxels, NaN, or a geometry that cannot be used (see Volume.check), or a type that VTK has no array for.
    """
    import vtk
    from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk

    volume.check()
    slicer = importSlicer()
    scene = scene if scene is not None else ensureScene()
    voxels = volume.voxels.astype(_STORED_AS.get(volume.voxels.dtype.name, volume.voxels.dtype.newbyteorder("=")), copy=False)
    try:
        get_vtk_array_type(voxels.dtype)
    except TypeError as error:
        sentence = Sentence(
            "Voxels of type {dtype} cannot be put into the scene; convert them to float64 or an integer type.", dtype=voxels.dtype
        )
        raise InputError(sentence) from error
    image = vtk.vtkImageData()
    image.SetDimensions(volume.shape_kji[::-1])
    flat = np.ascontiguousarray(voxels).reshape((-1, 3) if volume.is_color else -1)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode" if volume.is_color else "vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(matrixFromArray(volume.ijk_to_ras))
    if volume.is_color and hasattr(node, "SetVoxelVectorType"):
        node.SetVoxelVectorType(slicer.vtkMRMLVolumeNode.VoxelVectorTypeColorRGB)
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    if volume.modality:
        node.SetAttribute(_MODALITY_ATTRIBUTE, volume.modality)
    return node


def modalityOf(volumeNode: Any) -> str:
    """DICOM modality code of a volume node ("CT", "MR", …), "" where the scene does not say.

    Looked for on the node itself, then on its item in the subject hierarchy (where Slicer's DICOM browser puts it), then in the
    unit of its voxels (Hounsfield units mean CT).
    """
    modality = volumeNode.GetAttribute(_MODALITY_ATTRIBUTE) or _modalityInHierarchy(volumeNode)
    if modality:
        return modality.strip().upper()
    units = volumeNode.GetVoxelValueUnits()
    if units is not None and {units.GetCodeValue(), units.GetCodeMeaning()} & _HOUNSFIELD_UNITS:
        return "CT"
    return ""


def _modalityInHierarchy(volumeNode: Any) -> str:
    hierarchy, item = hierarchyItem(volumeNode)
    return hierarchy.GetItemAttribute(item, _MODALITY_ATTRIBUTE) if item else ""


def _voxelsOf(image: Any, name: str) -> np.ndarray:
    """A view of the voxels of an image that has some."""
    components = image.GetNumberOfScalarComponents()
    if components == 1:
        return cast("np.ndarray", labelArray(image))
    if components not in (3, 4):
        raise InputError(
            'The volume "{name}" has {components} values per voxel; choose a scalar volume or an RGB image.',
            name=name,
            components=components,
        )
    from vtk.util.numpy_support import vtk_to_numpy

    # Directions of diffusion and vectors of displacement come in threes and fours too: colors are whole numbers without a sign.
    if image.GetScalarTypeAsString() not in ("unsigned char", "unsigned short"):
        raise InputError(
            'The volume "{name}" has {components} numbers in every voxel and they are no colors; choose a scalar volume.',
            name=name,
            components=components,
        )
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*image.GetDimensions()[::-1], components)
    return voxels[..., :3]


def _isPicture(volumeNode: Any) -> bool:
    """Whether the node was loaded from a 2D image file: those are sent as they are, never turned."""
    storageNode = volumeNode.GetStorageNode()
    fileName = storageNode.GetFileName() if storageNode is not None else None
    if not fileName or volumeNode.GetImageData().GetDimensions()[2] != 1:
        return False
    return Path(fileName).suffix.lower() in _PICTURE_SUFFIXES


_IMAGES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")
_fingerprints: dict[str, tuple[tuple, str]] = {}  # node ID: (state of the voxels, series); hashing a volume takes a while


def slicePosition(volumeNode: Any, plane: str, index: int) -> tuple[float, float, float]:
    """The middle of a slice in world coordinates (mm, RAS).

    Args:
        volumeNode: the volume, under any transform.
        plane: "axial", "coronal", "sagittal"; "" for a 2D picture.
        index: along the volume's own array axis of that plane.

    Raises:
        InputError: the volume has no such slice.
    """
    volume = volumeFromNode(volumeNode, copy=False)
    middle = (np.array(volume.shape_kji, float) - 1) / 2
    axis = SliceView.of(volume, plane or "axial").axes.order[0]
    if plane and not volume.is_picture:
        if not 0 <= index < volume.shape_kji[axis]:
            raise InputError(
                'The volume "{name}" has no {plane} slice {index}; it is not the one that was indexed.',
                name=volumeNode.GetName(),
                plane=plane,
                index=index,
            )
        middle[axis] = index
    local = np.asarray(volume.ijk_to_ras, float) @ [*middle[::-1], 1.0]
    return worldPoint(volumeNode, local[:3])


def showSlice(volumeNode: Any, plane: str, index: int) -> tuple[float, float, float]:
    """Put a volume into the slice views, where an application runs, and go to one of its slices.

    Returns:
        the position that the views went to, world coordinates (mm, RAS).

    Raises:
        InputError: the volume has no such slice.
    """
    slicer = importSlicer()
    position = slicePosition(volumeNode, plane, index)
    if getattr(slicer, "app", None) is not None and not _isShown(volumeNode):
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    slicer.vtkMRMLSliceNode.JumpAllSlices(volumeNode.GetScene(), *position)
    return position


def volumeNodes(scene: Any) -> list:
    """The images of a scene that hold voxels: no labelmaps, no tensors, and nothing that other modules hide from the person."""
    nodes = nodesOfClass(scene, "vtkMRMLVolumeNode")
    images = [node for node in nodes if node.GetClassName() in _IMAGES and not node.GetHideFromEditors()]
    return [node for node in images if node.GetImageData() is not None and 0 not in node.GetImageData().GetDimensions()]


def seriesOf(volumeNode: Any) -> str:
    """The stable name of a volume by its voxels and geometry, worked out anew only where these have changed."""
    image = volumeNode.GetImageData()
    volume = volumeFromNode(volumeNode, copy=False)
    state = (image.GetMTime(), np.asarray(volume.ijk_to_ras).tobytes())
    known = _fingerprints.get(volumeNode.GetID())
    if known is None or known[0] != state:
        known = _fingerprints[volumeNode.GetID()] = (state, series_name(volume.voxels, volume.ijk_to_ras))
    return known[1]


def _isShown(volumeNode: Any) -> bool:
    """Whether every slice view has this volume in its background already: then the person's zoom is left alone."""
    nodes = nodesOfClass(volumeNode.GetScene(), "vtkMRMLSliceCompositeNode")
    return bool(nodes) and all(node.GetBackgroundVolumeID() == volumeNode.GetID() for node in nodes)
