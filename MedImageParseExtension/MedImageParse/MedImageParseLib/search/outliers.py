"""Which images or studies are unlike the rest: distance to the nearest members of a reference set, ranked.

The study vector and the distance follow the outlier demonstration of healthcareai-examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UsageError

STATISTICS = ("mean", "standard deviation", "minimum", "25 %", "median", "75 %", "maximum")
_DISTANCES_AT_ONCE = 16_000_000  # bounds the memory
_SPARE = 8  # nearest members measured again beyond those asked for


@dataclass(slots=True, frozen=True)
class Outlier:
    """One item of a ranking.

    Attributes:
        place: its row in the vectors that were ranked.
        distance: Euclidean distance to the reference set.
        percentile: share of the reference set, 0 to 100, that is nearer to the rest of the reference set than this item is.
    """

    place: int
    distance: float
    percentile: float


def study_vector(vectors: np.ndarray) -> np.ndarray:
    """Seven statistics over a study's slices, one after the other: mean, standard deviation (n - 1), minimum, the three quartiles
    (linear interpolation) and maximum.

    The standard deviation of a single slice is taken as 0. The result is not of unit length; compare by Euclidean distance.

    Args:
        vectors: (slices, length).

    Returns:
        float32 (7 * length,): 7168 numbers for the published model.

    Raises:
        InputError: no slices, or numbers that are not finite.
    """
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise InputError("A study vector needs at least one slice vector, with finite numbers only.")
    deviation = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
    quartiles = np.percentile(rows, (25, 50, 75), axis=0)
    return np.concatenate([rows.mean(axis=0), deviation, rows.min(axis=0), *quartiles, rows.max(axis=0)]).astype(np.float32)


def knn_distances(
    vectors: np.ndarray, reference: np.ndarray, *, neighbors: int = 1, own_places: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Mean Euclidean distance of each vector to its nearest members of a reference set.

    Args:
        vectors: (rows, length).
        reference: (members, length).
        neighbors: over how many of the nearest to average.
        own_places: for each row its own place in the reference set, -1 where it has none: nobody is his own neighbor.

    Returns:
        float64 (rows,).

    Raises:
        UsageError: fewer members than neighbors (not counting oneself), or lengths that differ.
    """
    rows, members = np.atleast_2d(np.asarray(vectors)), np.atleast_2d(np.asarray(reference))
    if rows.shape[1] != members.shape[1]:
        raise UsageError(f"The vectors have {rows.shape[1]} numbers and the reference set {members.shape[1]}; use the same model for both.")
    own = np.full(len(rows), -1) if own_places is None else np.asarray(own_places)
    available = len(members) - int((own >= 0).any())
    if not 1 <= neighbors <= available:
        few = f"The reference set has {available} other members, too few for {neighbors} neighbors"
        raise UsageError(f"{few}; enlarge it or ask for fewer.")
    rows, members = rows.astype(np.float32, copy=False), members.astype(np.float32, copy=False)
    squares = np.einsum("ij,ij->i", members, members)
    distances = np.empty(len(rows))
    step = max(1, _DISTANCES_AT_ONCE // len(members))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        relative = squares - 2.0 * (block @ members.T)  # squared distance but for the row's own square, which moves no rank
        places = own[start : start + step]
        known = np.flatnonzero(places >= 0)
        relative[known, places[known]] = np.inf
        for row, vector in enumerate(block.astype(np.float64)):
            distances[start + row] = _nearest(vector, relative[row], members, neighbors).mean()
    return distances


def _nearest(vector: np.ndarray, relative: np.ndarray, members: np.ndarray, neighbors: int) -> np.ndarray:
    """Exact distances to the nearest members. The expanded squares lose digits, so a few more than needed are measured again."""
    count = min(neighbors + _SPARE, np.count_nonzero(relative < np.inf))
    candidates = np.argpartition(relative, count - 1)[:count]
    return np.sort(np.linalg.norm(members[candidates].astype(np.float64) - vector, axis=1))[:neighbors]


def rank_outliers(
    vectors: np.ndarray, reference: np.ndarray, *, neighbors: int = 1, own_places: Sequence[int] | np.ndarray | None = None
) -> list[Outlier]:
    """Rank vectors by their distance to a reference set, the most unusual first. Arguments and errors as for `knn_distances`."""
    distances = knn_distances(vectors, reference, neighbors=neighbors, own_places=own_places)
    members = len(np.atleast_2d(reference))
    if members > neighbors:
        usual = np.sort(knn_distances(reference, reference, neighbors=neighbors, own_places=np.arange(members)))
        percentiles = np.searchsorted(usual, distances, side="left") / members * 100.0
    else:
        percentiles = np.full(len(distances), np.nan)
    order = np.argsort(-distances, kind="stable")
    return [Outlier(int(place), float(distances[place]), float(percentiles[place])) for place in order]
