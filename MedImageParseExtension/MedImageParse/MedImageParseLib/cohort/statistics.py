"""What a structure measures: size, gray values, place. As a CSV or JSON file, one row a structure.

Definitions are those of Slicer's Segment Statistics module: the standard deviation divides by n - 1 (0 for one voxel), the volume is
the number of voxels times the volume of one. The median is the middle value itself, where Slicer reads it from a histogram.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.write import check_writable, csv_text, write_atomically
from ..imaging.volume import CroppedMask, Volume, three

STATISTICS_EXTENSIONS = (".csv", ".json")


@dataclass(slots=True, frozen=True)
class Statistics:
    """One structure, measured.

    Attributes:
        voxels: how many.
        volume_ml: None for a picture.
        mean, sd, minimum, maximum, median: of the image's values inside; None for an empty structure or a color image.
        centroid_mm: mean place of its voxels, RAS; None for an empty structure or a picture.
        box_mm: (lowest, highest) corner of the box round its voxels, RAS, outer edges included.
        slices: how many slices (k) it touches. first_slice, last_slice: the voxel indices, None where there are none.
    """

    voxels: int
    volume_ml: float | None
    mean: float | None = None
    sd: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    median: float | None = None
    centroid_mm: tuple[float, float, float] | None = None
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    slices: int = 0
    first_slice: int | None = None
    last_slice: int | None = None


def describe(volume: Volume, mask: CroppedMask) -> Statistics:
    """Measure a structure.

    Args:
        volume: the image; any geometry.
        mask: on its grid.
    """
    mask = mask.trimmed()
    matrix = np.asarray(volume.ijk_to_ras, float)
    voxels = mask.count
    volume_ml = None if not volume.has_volume else voxels * abs(float(np.linalg.det(matrix[:3, :3]))) / 1000.0
    if not voxels:
        return Statistics(0, volume_ml)
    inside = mask.voxels != 0
    used = np.flatnonzero(inside.any(axis=(1, 2))) + mask.start_kji[0]
    place: dict[str, Any] = (
        {} if volume.is_picture else {"centroid_mm": _centroid(mask, inside, matrix), "box_mm": _box(mask, inside, matrix)}
    )
    values: dict[str, Any] = {} if volume.is_color else _values(volume.voxels[mask.box][inside])
    return Statistics(voxels, volume_ml, **values, **place, slices=len(used), first_slice=int(used[0]), last_slice=int(used[-1]))


def write_statistics(path: str | Path, rows: Sequence[tuple[str, Statistics]]) -> Path:
    """Write one row a structure.

    Args:
        path: .csv or .json.
        rows: (name, statistics) in the order of the prompts.

    Raises:
        UsageError: another ending, a folder that is missing or not writable.
    """
    path = check_writable(path, STATISTICS_EXTENSIONS)
    if path.name.lower().endswith(".json"):
        text = json.dumps([as_dict(name, one) for name, one in rows], indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = as_csv(rows)
    return write_atomically(path, text.encode())


COLUMNS = (
    "name", "found", "voxels", "volume_ml", "mean", "sd", "minimum", "maximum", "median", "centroid_r_mm", "centroid_a_mm",
    "centroid_s_mm", "box_r_min_mm", "box_a_min_mm", "box_s_min_mm", "box_r_max_mm", "box_a_max_mm", "box_s_max_mm",
    "slices", "first_slice", "last_slice",
)  # fmt: skip


def as_dict(name: str, one: Statistics) -> dict:
    """The row as plain JSON types."""
    keys = ("voxels", "volume_ml", "mean", "sd", "minimum", "maximum", "median", "slices", "first_slice", "last_slice")
    return {
        "name": name,
        "found": one.voxels > 0,
        **{key: getattr(one, key) for key in keys},
        "centroid_mm": list(one.centroid_mm) if one.centroid_mm else None,
        "box_mm": [list(corner) for corner in one.box_mm] if one.box_mm else None,
    }


def as_row(name: str, one: Statistics) -> list:
    """The row's cells in the order of COLUMNS, None where there is no value."""
    corners = one.box_mm or ((None,) * 3, (None,) * 3)
    values = (one.mean, one.sd, one.minimum, one.maximum, one.median)
    place = (*(one.centroid_mm or (None,) * 3), *corners[0], *corners[1])
    return [name, one.voxels > 0, one.voxels, one.volume_ml, *values, *place, one.slices, one.first_slice, one.last_slice]


def as_csv(rows: Sequence[tuple[str, Statistics]]) -> str:
    """A CSV text with a header; empty cells where there is no value."""
    return csv_text(COLUMNS, (as_row(name, one) for name, one in rows))


def _values(values: np.ndarray) -> dict[str, float]:
    exact = values.astype(np.float64)
    return {
        "mean": float(exact.mean()),
        "sd": float(exact.std(ddof=1)) if exact.size > 1 else 0.0,
        "minimum": float(exact.min()),
        "maximum": float(exact.max()),
        "median": float(np.median(exact)),
    }


def _centroid(mask: CroppedMask, inside: np.ndarray, matrix: np.ndarray) -> tuple[float, float, float]:
    total = np.count_nonzero(inside)
    middle = []
    for axis in range(3):
        counts = np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
        middle.append(float(counts @ np.arange(len(counts))) / total + mask.start_kji[axis])
    right, anterior, superior = (matrix @ [*middle[::-1], 1.0])[:3]
    return float(right), float(anterior), float(superior)


def _box(mask: CroppedMask, inside: np.ndarray, matrix: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A coordinate is linear along a row of voxels, so the first and the last voxel of each row decide."""
    rows = np.argwhere(inside.any(axis=2))
    lines = inside[rows[:, 0], rows[:, 1]]
    first, last = lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
    ends = np.concatenate([np.column_stack([at, rows[:, 1], rows[:, 0]]) for at in (first, last)]) + np.array(mask.start_kji[::-1])
    places = ends @ matrix[:3, :3].T + matrix[:3, 3]
    edge = np.abs(matrix[:3, :3]).sum(axis=1) / 2
    low, high = places.min(axis=0) - edge, places.max(axis=0) + edge
    return three(float(one) for one in low), three(float(one) for one in high)
