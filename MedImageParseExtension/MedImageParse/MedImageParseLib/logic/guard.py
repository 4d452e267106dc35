"""What a job needs of the scene while it runs: the voxels without copying them, and to know when its reply is of no use any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from ..scene.geometry import imageToWorld, labelArray, labelmapOf, segmentMask, volumeMatrix, volumeScale
from ..scene.session import importSlicer
from ..scene.volumes import volumeFromNode

_MOST_LAYERS, _MOST_LABELS = 16, 65535

SCENE_CLOSED = "The scene was closed while the job was running, so its result was dropped."
VOLUME_DELETED = "The volume was deleted while the job was running, so its result was dropped and nothing was imported."
VOLUME_CHANGED = "The volume was changed while the job was running, so its result was dropped and nothing was imported; run again."
SEGMENTATION_DELETED = "The segmentation was deleted while the job was running, so the result was dropped and nothing was imported."


@dataclass(slots=True, frozen=True)
class BorrowedVolume:
    """A volume for a worker.

    Attributes:
        volume: its voxels are a view of the image data's own memory: for reading only.
        image: a shallow copy of the image data, which owns that memory together with the node. To be let go of on the main thread.
    """

    volume: Volume
    image: Any


def borrowVolume(volumeNode: Any) -> BorrowedVolume:
    """The voxels of a volume node for a worker, without the time and memory of a copy. Main thread only.

    The memory stays valid whatever happens to the node. As it has two owners, VTK's filters and slicer.util.updateVolumeFromArray put new
    voxels elsewhere instead of into it. Only Python code that writes through slicer.util.arrayFromVolume changes it under the
    worker's hands; RunGuard sees that by the modification time, and the result is dropped.

    Raises:
        InputError: as volumeFromNode.
    """
    volume = volumeFromNode(volumeNode, copy=False)
    original = volumeNode.GetImageData()
    image = original.NewInstance()
    image.ShallowCopy(original)
    return BorrowedVolume(volume, image)


class RunGuard:
    """Knows whether what a job was started for is still there, and as it was. Main thread only.

    Args:
        volumeNode: the job's input, in a scene.
        segmentationNode: where the result is to go, None for a new one.

    Raises:
        InputError: no volume, or it is in no scene.
    """

    def __init__(self, volumeNode: Any, segmentationNode: Any = None):
        slicer = importSlicer()
        self._scene = volumeNode.GetScene() if volumeNode is not None else None
        if self._scene is None:
            raise InputError("There is no volume to read; load a volume and select it.")
        self._volumeNode, self._segmentationNode = volumeNode, segmentationNode
        self._fingerprint: tuple | None = None
        self._isSceneClosed = False
        self._tags = [self._scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClose)]

    def noteVolume(self) -> None:
        """From now on the volume must stay as it is."""
        self._fingerprint = _fingerprintOf(self._volumeNode)

    def watchSegmentation(self, segmentationNode: Any) -> None:
        """From now on this segmentation must stay in the scene; None for none."""
        self._segmentationNode = segmentationNode

    def whyStale(self) -> str:
        """One sentence on what is gone or has changed, "" where all is well. Takes microseconds."""
        if self._scene is None or self._isSceneClosed:
            return SCENE_CLOSED
        if not self._scene.IsNodePresent(self._volumeNode):
            return VOLUME_DELETED
        if self._segmentationNode is not None and not self._scene.IsNodePresent(self._segmentationNode):
            return SEGMENTATION_DELETED
        if self._fingerprint is not None and self._fingerprint != _fingerprintOf(self._volumeNode):
            return VOLUME_CHANGED
        return ""

    def release(self) -> None:
        """Stop observing and let go of the nodes. Safe to call twice."""
        if self._scene is not None:
            for tag in self._tags:
                self._scene.RemoveObserver(tag)
        self._scene = self._volumeNode = self._segmentationNode = None
        self._tags = []

    def _onSceneClose(self, _caller: Any, _event: str) -> None:
        self._isSceneClosed = True


def segmentVoxels(segmentationNode: Any, segmentId: str) -> int:
    """How many voxels a segment has on its own grid."""
    image = _labelmapOf(segmentationNode, segmentId)
    found = segmentMask(image, segmentationNode.GetSegmentation().GetSegment(segmentId).GetLabelValue())
    return int(np.count_nonzero(found[0])) if found else 0


class SegmentSizes:
    """How many voxels segments have. A labelmap, which many segments may share, is gone through once after each change of it."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, np.ndarray]] = {}  # by the labelmap's address: when it was changed, voxels of each label

    def voxels(self, segmentationNode: Any, segmentId: str) -> int:
        """The voxels of a segment on its own grid; 0 where it has no labelmap (a surface)."""
        image = _labelmapOf(segmentationNode, segmentId)
        labels = labelArray(image) if image is not None else None
        if labels is None:
            return 0
        key, changed = image.GetAddressAsString(""), image.GetMTime()
        if self._layers.get(key, (0,))[0] != changed:
            while len(self._layers) >= _MOST_LAYERS:
                self._layers.pop(next(iter(self._layers)))
            self._layers[key] = (changed, _countLabels(labels))
        counts, label = self._layers[key][1], segmentationNode.GetSegmentation().GetSegment(segmentId).GetLabelValue()
        return int(counts[label]) if 0 <= label < len(counts) else 0


def _countLabels(labels: np.ndarray) -> np.ndarray:
    """Voxels of each label, slice by slice: all at once would need eight bytes a voxel."""
    counts = np.zeros(_MOST_LABELS + 1, np.int64)
    for plane in labels:
        counts += np.bincount(np.clip(plane.ravel().astype(np.intp), 0, _MOST_LABELS), minlength=_MOST_LABELS + 1)
    return counts


def segmentChanged(segmentationNode: Any, segmentId: str) -> int:
    """When the labelmap that a segment is in was last changed: another number after every change, 0 where there is no labelmap."""
    image = _labelmapOf(segmentationNode, segmentId)
    return image.GetMTime() if image is not None else 0


def segmentMilliliters(segmentationNode: Any, segmentId: str, voxels: int) -> float | None:
    """Milliliters of the world that so many voxels of a segment are, None under a transform that is not linear and without a labelmap."""
    image, scale = _labelmapOf(segmentationNode, segmentId), volumeScale(segmentationNode)
    if image is None or scale is None:
        return None
    return float(abs(np.linalg.det(imageToWorld(image)[:3, :3]))) * scale * voxels / 1000


def _labelmapOf(segmentationNode: Any, segmentId: str) -> Any:
    return labelmapOf(segmentationNode.GetSegmentation().GetSegment(segmentId))


def _fingerprintOf(volumeNode: Any) -> tuple:
    """When the voxels were last changed (VTK counts every change in the process, so another image has another time), and how large and
    how turned they are. A volume that was only moved keeps its voxels, and its masks go where it is now."""
    image = volumeNode.GetImageData()
    directions = np.round(volumeMatrix(volumeNode)[:3, :3], 9).tobytes()
    return (image.GetMTime() if image is not None else 0), directions
