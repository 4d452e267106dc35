"""Segments as masks on a volume's own grid, whatever grid and transform they lie on themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..imaging.volume import CroppedMask
from .geometry import binaryLabelmap, gridShift, imageToWorld, labelmapOf, segmentMask, shifted, volumeGrid
from .tags import TAG, tagsOf


@dataclass(slots=True, frozen=True)
class PlacedSegment:
    """A segment on a volume's grid.

    Attributes:
        segmentId, name: of the segment.
        prompt: what it was asked for with; its name where nobody has noted that.
        color: red, green, blue, 0 to 1.
        mask: on the volume's grid, kji; empty where the segment holds nothing there.
        tags: who made it, by name; empty for what was drawn by hand or by other programs.
    """

    segmentId: str
    name: str
    prompt: str
    color: tuple[float, float, float]
    mask: CroppedMask
    tags: dict[str, str]


def segmentsOnVolume(segmentationNode: Any, volumeNode: Any) -> list[PlacedSegment]:
    """The segments of a segmentation, in their order, on a volume's grid.

    Voxels on the volume's own grid are taken as they are; others are sampled at the middle of each of its voxels.

    Args:
        segmentationNode: a vtkMRMLSegmentationNode of any representation.
        volumeNode: a volume with voxels.

    Raises:
        UsageError: there is no segmentation or volume, or a transform between them that is not linear.
    """
    image = volumeNode.GetImageData() if volumeNode is not None else None
    if segmentationNode is None or image is None or 0 in image.GetDimensions():
        raise UsageError("Choose a segmentation and the volume that it belongs to.")
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() and not segmentation.ContainsRepresentation(binaryLabelmap()):
        segmentation.CreateRepresentation(binaryLabelmap())
    grid = shifted(*volumeGrid(volumeNode, segmentationNode))
    shape = tuple(image.GetDimensions()[::-1])
    placed = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        tags = tagsOf(segment)
        mask = maskOnGrid(labelmapOf(segment), segment.GetLabelValue(), grid, shape)
        prompt = tags.get(f"{TAG}Prompt") or segment.GetName()
        placed.append(PlacedSegment(segmentId, segment.GetName(), prompt, tuple(segment.GetColor()), mask, tags))
    return placed


def maskOnGrid(image: Any, labelValue: int, grid: np.ndarray, shape: tuple[int, int, int]) -> CroppedMask:
    """One label of an image as a mask on another grid: as it is where the voxels coincide, else the nearest voxel's.

    Args:
        image: a vtkOrientedImageData, None for nothing.
        labelValue: which label.
        grid: 4x4 from the other grid's ijk to mm, in the image's coordinates.
        shape: of the other grid, kji.
    """
    found = segmentMask(image, labelValue) if image is not None else None
    if found is None:
        return CroppedMask.empty(shape)
    voxels, start = found
    shift = gridShift(imageToWorld(image), grid)
    if shift is None:
        return _sampled(voxels, np.linalg.solve(imageToWorld(image), grid), start, shape)
    first = [start[axis] + shift[2 - axis] for axis in range(3)]
    last = [one + size for one, size in zip(first, voxels.shape)]
    kept = tuple(slice(max(0, -one), max(0, min(size, edge - one))) for one, size, edge in zip(first, voxels.shape, shape))
    inside = voxels[kept]
    if not inside.size or min(last) <= 0:
        return CroppedMask.empty(shape)
    k, j, i = (max(0, one) for one in first)
    return CroppedMask(shape, (k, j, i), np.ascontiguousarray(inside)).trimmed()


def _sampled(voxels: np.ndarray, relation: np.ndarray, start: tuple[int, int, int], shape: tuple[int, int, int]) -> CroppedMask:
    """The nearest voxel at each voxel of another grid, slice by slice of the box that the segment can reach.

    Args:
        voxels: of the segment's box, kji.
        relation: 4x4 from the other grid's ijk to the segment's.
        start: kji of the box's first voxel.
        shape: of the other grid, kji.
    """
    first, size = np.array(start[::-1], float), np.array(voxels.shape[::-1], float)
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] = first - 0.5 + corners[:, :3] * size
    reached = (corners @ np.linalg.inv(relation).T)[:, :3]
    low = np.maximum(np.floor(reached.min(axis=0)), 0).astype(int)[::-1]
    high = np.minimum(np.ceil(reached.max(axis=0)) + 1, shape[::-1]).astype(int)[::-1]
    if np.any(high <= low):
        return CroppedMask.empty(shape)
    part = np.zeros(high - low, np.uint8)
    j, i = np.mgrid[low[1] : high[1], low[2] : high[2]]
    for k in range(low[0], high[0]):
        places = np.stack([i, j, np.full_like(i, k)], axis=-1) @ relation[:3, :3].T + relation[:3, 3] - first
        nearest = np.rint(places).astype(int)
        inside = np.all((nearest >= 0) & (nearest < size), axis=-1)
        chosen = nearest[inside]
        part[k - low[0]][inside] = voxels[chosen[:, 2], chosen[:, 1], chosen[:, 0]]
    return CroppedMask(shape, (int(low[0]), int(low[1]), int(low[2])), part).trimmed()
