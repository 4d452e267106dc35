"""The box of voxels of a volume that a segment fills."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..errors import UsageError
from ..imaging.volume import Volume
from .geometry import imageToWorld, segmentMask, volumeToSegmentation
from .session import importSlicer

_SLIVER = 1e-6  # voxels of rounding


def regionFromSegment(segmentationNode: Any, segmentId: str, volumeNode: Any, volume: Volume) -> str:
    """The smallest box of a volume's voxels that holds a segment, as the tasks' `region` option; what lies outside is cut off.

    Args:
        segmentationNode: on whatever grid, under any linear transform.
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
    binary = importSlicer().vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(binary)
    found = segmentMask(image, segment.GetLabelValue()) if image is not None else None
    if found is None:
        raise UsageError(f'The segment "{segment.GetName()}" is empty; choose another.')
    mask, first = found
    start, stop = np.array(first[::-1]) - 0.5, np.array(first[::-1]) + mask.shape[::-1] - 0.5
    corners = np.array([[*np.where(ends, stop, start), 1.0] for ends in itertools.product((False, True), repeat=3)])
    inVolume = np.linalg.inv(volumeToSegmentation(volumeNode, segmentationNode) @ np.asarray(volume.ijk_to_ras, float))
    ijk = corners @ (inVolume @ imageToWorld(image)).T
    low = np.maximum(np.ceil(ijk[:, :3].min(axis=0) - _SLIVER).astype(int), 0)
    high = np.minimum(np.floor(ijk[:, :3].max(axis=0) + _SLIVER).astype(int) + 1, volume.shape_kji[::-1])
    if np.any(low >= high):
        raise UsageError(f'The segment "{segment.GetName()}" lies outside of the volume; choose another.')
    return ",".join(f"{first}:{last}" for first, last in zip(low, high))
