"""Which slice the person is looking at: the slice view in which the mouse was last, as plane and index of a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.util import VTKObservationMixin

from ..errors import InputError
from ..imaging.geometry import SliceView
from ..imaging.volume import Volume
from ..scene.geometry import arrayFromMatrix, matrixFromArray
from ..scene.session import nodesOfClass
from ..scene.volumes import volumeFromNode

_PLANES = ("sagittal", "coronal", "axial")  # normal along R, A, S


@dataclass(slots=True, frozen=True)
class SeenSlice:
    """A slice of a volume that is looked at.

    Attributes:
        plane: "axial", "coronal" or "sagittal".
        index: along the volume's own array axis of that plane, within the volume.
        view: the name of the slice view, "Red" for instance; "" where there is none.
    """

    plane: str
    index: int
    view: str


class SliceFollower(VTKObservationMixin):
    """Follows the mouse from slice view to slice view.

    Args:
        scene: the vtkMRMLScene.
        onChange: called when another slice, or another view, is looked at.
    """

    def __init__(self, scene: Any, onChange: Callable[[], object]):
        VTKObservationMixin.__init__(self)
        self._scene = scene
        self._onChange = onChange
        self._viewId = ""
        self._seen: tuple = ()
        self._views = 0

    def start(self) -> None:
        """Follow from now on. Safe to call again, for instance when the scene has new view nodes."""
        self.stop()
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            self.addObserver(crosshair, slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._mouseMoved)
        for event in (self._scene.NodeAddedEvent, self._scene.NodeRemovedEvent):
            self.addObserver(self._scene, event, self._nodesChanged)
        views = nodesOfClass(self._scene, "vtkMRMLSliceNode")
        self._views = len(views)
        for view in views:
            self.addObserver(view, vtk.vtkCommand.ModifiedEvent, self._sliceMoved)

    def stop(self) -> None:
        """Follow no more."""
        self.removeObservers()

    @property
    def sliceNode(self) -> Any:
        """The vtkMRMLSliceNode of the view in which the mouse was last, else of the first one; None where there is none."""
        node = self._scene.GetNodeByID(self._viewId) if self._viewId else None
        return node if node is not None else self._scene.GetFirstNodeByClass("vtkMRMLSliceNode")

    def seenOf(self, volumeNode: Any) -> SeenSlice | None:
        """The same, None where there is no volume to speak of."""
        if volumeNode is None:
            return None
        try:
            return self.sliceOf(volumeNode)
        except InputError:
            return None

    def sliceOf(self, volumeNode: Any) -> SeenSlice:
        """The slice of a volume that is nearest to what that view shows.

        Raises:
            InputError: the volume has no voxels.
        """
        volume = volumeFromNode(volumeNode, copy=False)
        sliceNode = self.sliceNode
        if sliceNode is None:
            plane = "axial"
            return SeenSlice(plane, SliceView.of(volume, plane).count(volume) // 2, "")
        toRas = arrayFromMatrix(sliceNode.GetSliceToRAS())
        fromWorld = _worldToLocal(volumeNode)
        normal = fromWorld[:3, :3] @ toRas[:3, 2]
        plane = "axial" if volume.is_picture else _PLANES[int(np.argmax(np.abs(normal)))]
        return SeenSlice(plane, _index(volume, plane, fromWorld @ toRas[:, 3]), sliceNode.GetLayoutName() or "")

    def _nodesChanged(self, _caller: object, _event: object) -> None:
        """Another layout brings views that were not there when following began."""
        if self._scene.GetNumberOfNodesByClass("vtkMRMLSliceNode") != self._views:
            self.start()

    def _mouseMoved(self, crosshair: Any, _event: object) -> None:
        sliceNode = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        if sliceNode is not None and sliceNode.GetID() != self._viewId:
            self._viewId = sliceNode.GetID()
            self._tell(sliceNode)

    def _sliceMoved(self, sliceNode: Any, _event: object) -> None:
        if sliceNode is self.sliceNode:
            self._tell(sliceNode)

    def _tell(self, sliceNode: Any) -> None:
        seen = (sliceNode.GetID(), *(round(value, 4) for value in arrayFromMatrix(sliceNode.GetSliceToRAS()).ravel()))
        if seen != self._seen:  # slice nodes are also modified by zooming and by the size of the window
            self._seen = seen
            self._onChange()


def sliceCount(volumeNode: Any, plane: str) -> int:
    """How many slices a volume has along a plane. Raises InputError where it has no voxels."""
    volume = volumeFromNode(volumeNode, copy=False)
    return SliceView.of(volume, plane).count(volume)


def _index(volume: Volume, plane: str, ras: np.ndarray) -> int:
    ijk = np.linalg.solve(np.asarray(volume.ijk_to_ras, dtype=float), ras)
    view = SliceView.of(volume, plane)
    axis = view.axes.order[0]
    return int(np.clip(round(float(ijk[2 - axis])), 0, volume.shape_kji[axis] - 1))


def _worldToLocal(volumeNode: Any) -> np.ndarray:
    """4x4 from world to the volume's own RAS, the identity where its transform is not linear."""
    matrix = matrixFromArray(np.eye(4))
    transform = volumeNode.GetParentTransformNode()
    if transform is not None and transform.IsTransformToWorldLinear():
        transform.GetMatrixTransformFromWorld(matrix)
    return arrayFromMatrix(matrix)
