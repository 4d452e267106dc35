"""Boxes and points between the scene's world and a volume's voxels: a region of interest in, a place to jump to out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..errors import UsageError
from ..imaging.volume import Volume
from .geometry import arrayFromMatrix, matrixFromArray

_SLIVER = 1e-6  # voxels; a border that runs through a voxel's center counts as including it, whatever the rounding


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
    ijk = inWorld @ np.linalg.inv(_parentToWorld(volumeNode) @ np.asarray(volume.ijk_to_ras, dtype=float)).T
    first = np.maximum(np.ceil(ijk[:, :3].min(axis=0) - _SLIVER).astype(int), 0)
    last = np.minimum(np.floor(ijk[:, :3].max(axis=0) + _SLIVER).astype(int) + 1, volume.shape_kji[::-1])
    if np.any(first >= last):
        raise UsageError("The region of interest holds no voxel of the volume; move it onto the volume or make it larger.")
    return ",".join(f"{start}:{stop}" for start, stop in zip(first, last))


def worldPoint(volumeNode: Any, ras: np.ndarray) -> tuple[float, float, float]:
    """A point in a volume node's own coordinates (mm, RAS) as one in the world, through whatever transforms the node is under."""
    result = [0.0, 0.0, 0.0]
    volumeNode.TransformPointToWorld([float(value) for value in ras], result)
    return tuple(result)


def _parentToWorld(node: Any) -> np.ndarray:
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
