"""The best places of an index for queries: by every vector, or by sketches with the exact answer for those that may be among the nearest."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from . import rows
from .matrix import Matrix, best, best_of_each
from .records import KINDS
from .sketch import exact_vectors

_QUERIES_AT_ONCE = 32  # bounds the memory for scores
_SPARE = 256  # compared exactly at most, beyond those that are asked for
_OF_EACH = 50  # candidates a result, where only the best of each series counts
_WIDER = 8  # times as many, where they were of too few series

if TYPE_CHECKING:
    from .records import Provenance


class Prepared(Protocol):
    """What a prepared index is searched with: sketches, or FAISS's lists.

    Attributes:
        chunks: int64 (rows,), the number of each vector in the index, rising.
        length: numbers in a vector.
        known: where they are shown, as `places` and `rows` of Matrix, where that is kept beside them.
    """

    chunks: np.ndarray
    length: int
    known: tuple[np.ndarray, np.ndarray] | None

    def search(self, query: np.ndarray, hidden: np.ndarray | None, want: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Rows that may be among the `want` nearest; see Sketch.search."""


Found = list[tuple[np.ndarray, np.ndarray]]


def vectors_of_contents(index: rows.Readable, provenance: Provenance, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    """The vectors of those of the contents that the index holds, by content hash: no need to send these again.

    Raises:
        IndexFault: one is damaged.
    """
    with index.reading() as connection:
        space = rows.find_space(connection, provenance)
        held = rows.held_contents(connection, space.id, hashes) if space is not None else {}
        if space is None or not held:
            return {}
        vectors = exact_vectors(connection, np.array(list(held.values()), np.int64), space.length)
    return dict(zip(held, vectors, strict=True))


def hidden_places(places: np.ndarray, series: int | None, kinds: Sequence[str] | None, only: Iterable[int] | None) -> np.ndarray:
    """Which places a search leaves out, bool (places,).

    Args:
        places: as of Matrix: number of the record, of its series, of its kind.
        series: number of the series that is left out; None for none.
        kinds: those that count; None for all.
        only: numbers of the records that count; None for all.
    """
    hidden = np.zeros(len(places), bool)
    if series is not None:
        hidden |= places[:, 1] == series
    if kinds is not None:
        hidden |= ~np.isin(places[:, 2], [KINDS.index(kind) for kind in kinds])
    if only is not None:
        hidden |= ~np.isin(places[:, 0], np.fromiter(only, np.int64))
    return hidden


def search_all(
    matrix: np.ndarray, rows_of: np.ndarray | None, queries: np.ndarray, hidden: np.ndarray, top: int, series: np.ndarray | None = None,
    least: float = -1.0,
) -> Found:  # fmt: skip
    """For each query the best places and their similarities.

    Args:
        matrix: (rows, length), of unit length.
        rows_of: the row of each place, None where they are the rows.
        queries: (queries, length).
        hidden: bool (places,), those that do not count.
        top: how many.
        series: of each place, where only the best of each counts.
        least: similarity from which on a place counts.
    """
    found = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        block = queries[start : start + _QUERIES_AT_ONCE]
        # One query is a matrix-vector product, which reads the matrix once and nothing else.
        scores = (matrix @ block[0])[None] if len(block) == 1 else block @ matrix.T
        if rows_of is not None:
            scores = scores[:, rows_of]
        if hidden.any():
            scores[:, hidden] = -np.inf
        for own in scores:
            places = best(own, top) if series is None else best_of_each(own, series, top)
            places = places[own[places] >= least]
            found.append((places, own[places]))
    return found


def search_sketched(
    connection: sqlite3.Connection, sketch: Prepared, matrix: Matrix, queries: np.ndarray, hidden: np.ndarray, top: int,
    series: np.ndarray | None = None, least: float = -1.0,
) -> Found:  # fmt: skip
    """As `search_all`, with sketches; similarities are exact.

    Args:
        connection: the index, in a transaction.
        sketch: of the space.
        matrix: its places, and the vectors that came after the sketch.
        queries: (queries, length).
        hidden: bool (places,), those that do not count.
        top: how many.
        series: of each place, where only the best of each counts.
        least: similarity from which on a place counts.
    """
    held = len(sketch.chunks)
    covered = None
    if hidden.any():
        seen = np.zeros(held + len(matrix.vectors), bool)
        seen[matrix.rows[~hidden]] = True
        covered = ~seen[:held]
    found = []
    for query in queries:
        want = top if series is None else _OF_EACH * top
        while True:
            places, scores = _one(connection, sketch, matrix, query, hidden, covered, want, top, series)
            if len(places) >= top or want >= held or series is None:
                break
            want *= _WIDER
        keep = scores >= least
        found.append((places[keep], scores[keep]))
    return found


def _one(
    connection: sqlite3.Connection, sketch: Prepared, matrix: Matrix, query: np.ndarray, hidden: np.ndarray, covered: np.ndarray | None,
    want: int, top: int, series: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    held = len(sketch.chunks)
    near, scores, doubt = sketch.search(query, covered, min(want, held))
    spots = np.concatenate([near, np.arange(held, held + len(matrix.vectors))])
    scores = np.concatenate([scores, (matrix.vectors @ query).astype(np.float32)])
    places = spots
    if not matrix.is_plain:
        by_row = np.full(held + len(matrix.vectors), -np.inf, np.float32)
        by_row[spots] = scores
        by_place = by_row[matrix.rows]
        places = np.flatnonzero(by_place > -np.inf)
        spots, scores = matrix.rows[places], by_place[places]
    if hidden.any():
        counted = ~hidden[places]
        places, spots, scores = places[counted], spots[counted], scores[counted]
    groups = None if series is None else series[places]
    shortlist = _not_told_apart(scores, groups, top, doubt)
    places, spots, exact = places[shortlist], spots[shortlist], scores[shortlist]
    inside = spots < held
    exact[inside] = exact_vectors(connection, sketch.chunks[spots[inside]], sketch.length) @ query
    chosen = best(exact, top) if groups is None else best_of_each(exact, groups[shortlist], top)
    return places[chosen], exact[chosen]


def _not_told_apart(scores: np.ndarray, groups: np.ndarray | None, top: int, doubt: float) -> np.ndarray:
    """What may be among the `top` best, where scores that differ by less than `doubt` may be in the wrong order; in the order it stands."""
    leading = best(scores, top) if groups is None else best_of_each(scores, groups, top)
    if not len(leading):
        return leading
    close = np.flatnonzero(scores >= scores[leading[-1]] - doubt)
    if len(close) > top + _SPARE:
        close = best(scores, top + _SPARE)
        close = np.sort(close) if groups is None else np.union1d(close, best_of_each(scores, groups, top + _SPARE))
    return close
