"""Which images or studies are unlike the rest: distance to the nearest members of a reference set, ranked.

The study vector and the distance follow the outlier demonstration of healthcareai-examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UsageError
from ..remedies import Sentence

STATISTICS = ("mean", "standard deviation", "minimum", "25 %", "median", "75 %", "maximum")
_DISTANCES_AT_ONCE = 16_000_000  # bounds the memory
_SPARE = 8  # nearest members measured again beyond those asked for
_MANY = 3000  # members from which on it pays to look along the main directions first
_DIRECTIONS, _BLOCK, _BLOCKS_TAKEN = 128, 64, 24
_ROWS_AT_ONCE, _EXACT_AT_ONCE = 512, 64
_MOSTLY = 0.3  # share of rows that must be told apart by the main directions, for these to pay


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
        raise UsageError(
            "The vectors have {shape} numbers and the reference set {shape2}; use the same model for both.",
            shape=rows.shape[1],
            shape2=members.shape[1],
        )
    own = np.full(len(rows), -1) if own_places is None else np.asarray(own_places)
    available = len(members) - int((own >= 0).any())
    if not 1 <= neighbors <= available:
        few = Sentence(
            "The reference set has {available} other members, too few for {neighbors} neighbors", available=available, neighbors=neighbors
        )
        raise UsageError("{few}; enlarge it or ask for fewer.", few=few)
    rows, members = rows.astype(np.float32, copy=False), members.astype(np.float32, copy=False)
    if len(members) >= _MANY and members.shape[1] > 2 * _DIRECTIONS:
        return _pruned(rows, members, neighbors, own)
    squares = np.einsum("ij,ij->i", members, members)
    return _measured(rows, members, squares, neighbors, own, np.arange(len(rows)))


def _measured(rows: np.ndarray, members: np.ndarray, squares: np.ndarray, neighbors: int, own: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Exact mean distances of some of the rows, each compared with every member."""
    distances = np.empty(len(which))
    width = -(-members.shape[0] // _BLOCK) * _BLOCK
    step = max(1, min(_ROWS_AT_ONCE, _DISTANCES_AT_ONCE // width))
    relative = np.full((step, width), np.inf, np.float32)
    for start in range(0, len(which), step):
        part = which[start : start + step]
        table = relative[: len(part)]
        np.matmul(rows[part] * np.float32(-2.0), members.T, out=table[:, : len(members)])
        table[:, : len(members)] += squares  # squared distance but for the row's own square, which moves no rank
        known = np.flatnonzero(own[part] >= 0)
        table[known, own[part][known]] = np.inf
        lowest = table.reshape(len(part), -1, _BLOCK).min(axis=2)
        taken = min(neighbors + _SPARE, lowest.shape[1])
        blocks = np.argpartition(lowest, taken - 1, axis=1)[:, :taken]  # the nearest lie in the blocks that have the lowest
        columns, near = _columns_of(table, blocks)
        count = min(neighbors + _SPARE, near.shape[1])
        order = np.argpartition(near, count - 1, axis=1)[:, :count]
        candidates, known = np.take_along_axis(columns, order, 1), np.isfinite(np.take_along_axis(near, order, 1))
        distances[start : start + len(part)] = _exact(rows[part], candidates, known, members, neighbors).mean(axis=1)
    return distances


def _columns_of(table: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row, the columns of its blocks and what stands there."""
    columns = (blocks[:, :, None] * _BLOCK + np.arange(_BLOCK)).reshape(len(blocks), -1)
    return columns, np.take_along_axis(table, columns, 1)


def _exact(rows: np.ndarray, candidates: np.ndarray, known: np.ndarray, members: np.ndarray, neighbors: int) -> np.ndarray:
    """Exact distances to the nearest of the candidates. Expanded squares lose digits, so a few more than needed are measured again.

    Args:
        rows: (rows, length).
        candidates: (rows, candidates), places of members.
        known: which of these are members, and not oneself or beyond the last.
        members: (members, length).
        neighbors: how many.
    """
    found = np.empty((len(rows), neighbors))
    for start in range(0, len(rows), _EXACT_AT_ONCE):
        here = slice(start, start + _EXACT_AT_ONCE)
        apart = members[np.minimum(candidates[here], len(members) - 1)].astype(np.float64)
        apart -= rows[here, None]
        distances = np.sqrt(np.einsum("ijk,ijk->ij", apart, apart))
        distances[~known[here]] = np.inf
        found[here] = np.sort(distances, axis=1)[:, :neighbors]
    return found


def _pruned(rows: np.ndarray, members: np.ndarray, neighbors: int, own: np.ndarray) -> np.ndarray:
    """As `_measured`, sooner: a distance along the main directions only is never larger than the whole one.

    Candidates are taken along the main directions and measured in full; where the next one along these directions is farther than the
    last that was measured, nothing can have been missed. Rows for which that does not hold are compared with every member.
    """
    middle = members.mean(axis=0)
    sample = members[:: max(1, len(members) // 4096)] - middle
    basis = np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, -_DIRECTIONS:].astype(np.float32))
    along = middle @ basis
    few, many = rows @ basis - along, members @ basis - along
    squares, own_squares = np.einsum("ij,ij->i", many, many), np.einsum("ij,ij->i", few, few)
    distances, unsure = np.empty(len(rows)), list[int]()
    width = -(-members.shape[0] // _BLOCK) * _BLOCK
    step = max(1, min(_ROWS_AT_ONCE, _DISTANCES_AT_ONCE // width))
    relative = np.full((step, width), np.inf, np.float32)
    taken = neighbors + _BLOCKS_TAKEN
    for start in range(0, len(rows), step):
        part = np.arange(start, min(start + step, len(rows)))
        table = relative[: len(part)]
        np.matmul(few[part], many.T * np.float32(-2.0), out=table[:, : len(members)])
        table[:, : len(members)] += squares
        known = np.flatnonzero(own[part] >= 0)
        table[known, own[part][known]] = np.inf
        lowest = table.reshape(len(part), -1, _BLOCK).min(axis=2)
        if lowest.shape[1] <= taken:
            unsure += part.tolist()
            continue
        blocks = np.argpartition(lowest, taken, axis=1)
        columns, near = _columns_of(table, blocks[:, :taken])
        count = neighbors + _SPARE
        order = np.argpartition(near, count, axis=1)
        candidates, known = np.take_along_axis(columns, order[:, :count], 1), np.isfinite(np.take_along_axis(near, order[:, :count], 1))
        found = _exact(rows[part], candidates, known, members, neighbors)
        next_best = np.minimum(
            np.take_along_axis(near, order[:, count : count + 1], 1), np.take_along_axis(lowest, blocks[:, taken : taken + 1], 1)
        )
        beyond = next_best[:, 0].astype(np.float64) + own_squares[part]
        in_doubt = beyond * (1 - 1e-4) - 1e-4 < found[:, -1] ** 2
        unsure += part[in_doubt].tolist()
        distances[part] = found.mean(axis=1)  # of those in doubt measured again below
        if start == 0 and len(unsure) > _MOSTLY * len(part):  # vectors without main directions
            squares = np.einsum("ij,ij->i", members, members)
            return _measured(rows, members, squares, neighbors, own, np.arange(len(rows)))
    if unsure:
        which = np.array(unsure)
        distances[which] = _measured(rows, members, np.einsum("ij,ij->i", members, members), neighbors, own, which)
    return distances


def rank_outliers(
    vectors: np.ndarray, reference: np.ndarray, *, neighbors: int = 1, own_places: Sequence[int] | np.ndarray | None = None
) -> list[Outlier]:
    """Rank vectors by their distance to a reference set, the most unusual first. Arguments and errors as for `knn_distances`."""
    distances = knn_distances(vectors, reference, neighbors=neighbors, own_places=own_places)
    return ranked_by(distances, usual_distances(reference, neighbors))


def usual_distances(reference: np.ndarray, neighbors: int) -> np.ndarray:
    """How far the members of a reference set are from the rest of it, each left out in turn; empty where they are too few."""
    members = len(np.atleast_2d(reference))
    if members <= neighbors:
        return np.empty(0)
    return knn_distances(reference, reference, neighbors=neighbors, own_places=np.arange(members))


def ranked_by(distances: np.ndarray, usual: np.ndarray) -> list[Outlier]:
    """Items by their distance, the most unusual first.

    Args:
        distances: one an item.
        usual: of the reference set's own members, for the percentiles; may be empty.
    """
    members, usual = len(usual), np.sort(usual)
    percentiles = np.searchsorted(usual, distances, side="left") / members * 100.0 if members else np.full(len(distances), np.nan)
    order = np.argsort(-distances, kind="stable")
    return [Outlier(int(place), float(distances[place]), float(percentiles[place])) for place in order]
