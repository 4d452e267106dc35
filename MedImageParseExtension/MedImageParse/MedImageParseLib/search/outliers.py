"""Which images or studies are unlike the rest: distance to the nearest members of a reference set, ranked.

The study vector and the distance follow the outlier demonstration of healthcareai-examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UsageError

STATISTICS = ("mean", "standard deviation", "minimum", "25 %", "median", "75 %", "maximum")
_ROWS_AT_ONCE = 256  # bounds the memory for distances


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
        raise UsageError(f"The reference set has {available} other members, too few for {neighbors} neighbors; enlarge it or ask for fewer.")
    members = members.astype(np.float64)
    squares = np.einsum("ij,ij->i", members, members)
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE].astype(np.float64)
        squared = np.einsum("ij,ij->i", block, block)[:, None] + squares - 2.0 * (block @ members.T)
        places = own[start : start + _ROWS_AT_ONCE]
        known = np.flatnonzero(places >= 0)
        squared[known, places[known]] = np.inf
        nearest = np.argpartition(squared, neighbors - 1, axis=1)[:, :neighbors]
        # The expanded square loses digits for near neighbors; the few that count are measured again.
        exact = np.linalg.norm(members[nearest] - block[:, None, :], axis=2)
        distances[start : start + len(block)] = exact.mean(axis=1)
    return distances


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
