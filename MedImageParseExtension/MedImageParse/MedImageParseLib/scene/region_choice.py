"""Which part of a volume is meant: a visible region of interest, what the slice views show, the box round a segment."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import UsageError
from ..imaging.regions import Region
from ..imaging.volume import Volume
from .geometry import arrayFromMatrix, parentToWorld, regionFromRoi, regionFromSegment, regionText, voxelsBetween
from .session import nodesOfClass

_SLIVER = 1e-6  # voxels of rounding


def regionOf(kind: str, volumeNode: Any, volume: Volume, *, segmentationNode: Any = None, segmentId: str = "", margin: float = 0.0) -> str:
    """A region as the tasks' `region` option.

    Args:
        kind: "" for the whole volume; "roi" for the visible region of interest; "view" for what every slice view shows; "segment" for the
            box round a segment.
        volumeNode: the volume's node, for its scene and its parent transform.
        volume: its voxels and geometry, as volumeFromNode gives them.
        segmentationNode: for "segment": on whatever grid, under any linear transform.
        segmentId: for "segment": which one of it.
        margin: mm by which the segment's box is grown on each side.

    Returns:
        "I0:I1,J0:J1,K0:K1", ends not included; "" for the whole volume.

    Raises:
        UsageError: there is no such region, it holds no voxel of the volume, or a transform is not linear.
    """
    if kind == "":
        return ""
    if kind == "roi":
        return regionFromRoi(visibleRoi(volumeNode.GetScene()), volumeNode, volume)
    if kind == "view":
        return regionFromViews(shownSliceNodes(volumeNode.GetScene()), volumeNode, volume)
    if kind == "segment":
        return grown(regionFromSegment(segmentationNode, segmentId, volumeNode, volume), margin, volumeNode, volume)
    raise UsageError('"{kind}" is no region; use one of roi, view and segment.', kind=kind)


def visibleRoi(scene: Any) -> Any:
    """The region of interest that is shown; of several the one that was added last.

    Raises:
        UsageError: none is shown.
    """
    shown = [node for node in nodesOfClass(scene, "vtkMRMLMarkupsROINode") if node.GetDisplayNode() is None or node.GetDisplayVisibility()]
    if not shown:
        raise UsageError("No region of interest is shown; add one with the Markups module, or choose another region.")
    return shown[-1]


def shownSliceNodes(scene: Any) -> list:
    """The slice views of the layout that is chosen, as vtkMRMLSliceNodes."""
    return [node for node in nodesOfClass(scene, "vtkMRMLSliceNode") if node.IsMappedInLayout()]


def regionFromViews(sliceNodes: Iterable[Any], volumeNode: Any, volume: Volume) -> str:
    """The voxels of a volume that every one of some slice views shows; across its own plane a view shows all of the volume.

    Args:
        sliceNodes: vtkMRMLSliceNodes, of whatever orientation.
        volumeNode: the volume's node, for its parent transform.
        volume: its voxels and geometry, as volumeFromNode gives them.

    Raises:
        UsageError: there is no view, or no voxel is in all of them.
    """
    fromWorld = np.linalg.inv(parentToWorld(volumeNode) @ np.asarray(volume.ijk_to_ras, float))
    low, high = np.zeros(3, int), np.array(volume.shape_kji[::-1])
    count = 0
    for node in sliceNodes:
        toRas, (width, height) = arrayFromMatrix(node.GetSliceToRAS()), node.GetFieldOfView()[:2]
        if width <= 0 or height <= 0:
            continue
        count += 1
        across = int(np.argmax(np.abs(fromWorld[:3, :3] @ toRas[:3, 2])))
        corners = np.array([[x * width / 2, y * height / 2, 0.0, 1.0] for x, y in itertools.product((-1, 1), repeat=2)])
        first, last = voxelsBetween(corners @ (fromWorld @ toRas).T)
        for axis in {0, 1, 2} - {across}:
            low[axis], high[axis] = max(low[axis], first[axis]), min(high[axis], last[axis])
    if not count:
        raise UsageError("No slice view is shown; choose a layout with slice views, or another region.")
    if np.any(low >= high):
        raise UsageError("The slice views show no part of the volume together; move them onto it, or choose another region.")
    return regionText(low, high)


def grown(region: str, margin: float, volumeNode: Any, volume: Volume) -> str:
    """A region with a margin on each side, as far as the volume reaches.

    Args:
        region: "I0:I1,J0:J1,K0:K1".
        margin: mm in the world, 0 or more; begun voxels count.
        volumeNode: the volume's node, for its parent transform.
        volume: its voxels and geometry, as volumeFromNode gives them.

    Raises:
        UsageError: the margin is no number of millimetres.
    """
    if not 0 <= margin < 1e6:
        raise UsageError("The margin is a number of millimetres, 0 or more.")
    box = Region.parse(region, volume.shape_kji)
    spacing = np.linalg.norm((parentToWorld(volumeNode) @ np.asarray(volume.ijk_to_ras, float))[:3, :3], axis=0)
    steps = np.ceil(margin / spacing - _SLIVER).astype(int)
    low = np.maximum(np.array(box.start_kji[::-1]) - steps, 0)
    high = np.minimum(np.array(box.stop_kji[::-1]) + steps, volume.shape_kji[::-1])
    return regionText(low, high)
