"""Bringing a slice of a volume before the person's eyes, and finding the volume that a slice came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..imaging.planes import SliceView
from ..search.records import series_name
from .regions import worldPoint
from .session import importSlicer
from .volumes import volumeFromNode

_IMAGES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")
_fingerprints: dict[str, tuple[tuple, str]] = {}  # node ID: (state of the voxels, series); hashing a volume takes a while


def slicePosition(volumeNode: Any, plane: str, index: int) -> tuple[float, float, float]:
    """The middle of a slice in world coordinates (mm, RAS).

    Args:
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
            raise InputError(f'The volume "{volumeNode.GetName()}" has no {plane} slice {index}; it is not the one that was indexed.')
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
    count = scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
    nodes = [scene.GetNthNodeByClass(number, "vtkMRMLVolumeNode") for number in range(count)]
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
    scene = volumeNode.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    nodes = [scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode") for number in range(count)]
    return bool(nodes) and all(node.GetBackgroundVolumeID() == volumeNode.GetID() for node in nodes)
