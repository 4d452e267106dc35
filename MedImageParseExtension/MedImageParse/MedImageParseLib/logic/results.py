"""What a run gave, light enough to keep: rows for a table, the report, and where the segments are. No voxels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..imaging.masks import CroppedMask

FOUND, ABSENT, COVERED, NOT_DONE = "found", "absent", "covered", "not done"


@dataclass(slots=True)
class ResultRow:
    """One prompt.

    Attributes:
        text: the prompt as typed.
        name: the segment's name, before a number was appended to keep it apart from others.
        state: "found"; "absent": not in the image, says the model; "covered": found, but the overlap rule left nothing of it;
            "not done": the run stopped before its answer.
        segmentId: in the result's segmentation, "" where there is no segment.
        color: red, green, blue, 0..1.
        voxels: of the segment (of the mask where there is no segment).
        volumeMl: millilitres of these voxels, None for a 2D picture.
        position: a point of the structure near its middle, in world coordinates (mm, RAS), to jump to; None where nothing was found.
        agreement: share of the votes that agree (four rotations only).
    """

    text: str
    name: str
    state: str
    segmentId: str = ""
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    voxels: int = 0
    volumeMl: float | None = None
    position: tuple[float, float, float] | None = None
    agreement: float | None = None


@dataclass(slots=True)
class RunResult:
    """One run.

    Attributes:
        segmentationNode: where the segments are; None where nothing was found and no segmentation had been chosen.
        rows: one a prompt, in the order typed.
        warnings: sentences worth showing.
        engine: what a local endpoint calls itself, "" for the published models.
        failure: why the run stopped half-way; what it had got by then is kept. "" where it went through.
        report: what `mip.py segment --report` writes.
    """

    segmentationNode: Any
    rows: list[ResultRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    engine: str = ""
    failure: str = ""
    report: dict = field(default_factory=dict)

    @property
    def found(self) -> list[ResultRow]:
        """The rows with a segment."""
        return [row for row in self.rows if row.segmentId]


def point_inside(mask: CroppedMask) -> np.ndarray | None:
    """A voxel index (i, j, k; fractions allowed) in the middle of a mask and within it, None where the mask is empty.

    The center of mass where that lies in the mask; else, in the slice nearest to it that holds any voxel, the voxel nearest to it.
    """
    areas = np.array([np.count_nonzero(plane) for plane in mask.voxels], dtype=float)
    if not areas.sum():
        return None
    shadow = mask.voxels.sum(axis=0, dtype=np.uint32)
    weights = (areas, shadow.sum(axis=1), shadow.sum(axis=0))
    center = np.array([each @ np.arange(each.size) / areas.sum() for each in weights])
    if not mask.voxels[tuple(np.rint(center).astype(int))]:
        used = np.flatnonzero(areas)
        k = used[np.argmin(np.abs(used - center[0]))]
        inside = np.argwhere(mask.voxels[k])
        center = np.array([k, *inside[np.argmin(((inside - center[1:]) ** 2).sum(axis=1))]])
    return (center + mask.start_kji)[::-1]
