"""Whole volumes that are like a volume, in an index of slices: by votes of its slices, or by one vector made of them."""

from __future__ import annotations

import time

import numpy as np

from ..errors import UsageError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..search.index import EmbeddingIndex
from ..search.records import Hit, Record, series_name
from .embed import MODEL, Embedder, Selection, pool_vectors
from .find_similar import (
    Narrow,
    SearchResult,
    choose_space,
    describe_hit,
    finished,
    known_or_embedded,
    recipe_of,
    require_same_model,
    warn_of_nothing,
)
from .preprocessing import PictureMaker, Preprocessing, make_thumbnail
from .run import Client, RunLog

WAYS = ("vote", "mean", "statistics")
_ROWS_AT_ONCE = 64  # slices of the query compared together


def search_volumes(
    index: EmbeddingIndex, volume: Volume, client: Client, *, way: str, slices: str | list[int] | None = None, plane: str = "auto",
    top: int = 10, other_volumes: bool = False, narrow: Narrow | None = None, preprocessing: Preprocessing | None = None,
    progress: Progress = no_progress, cancellation: Cancellation | None = None,
) -> SearchResult:  # fmt: skip
    """The volumes of an index of slices that are most like a volume. Slices that the index holds are not sent again.

    Args:
        index: open.
        volume: to ask with.
        client: the endpoint.
        way: "vote": each slice of the query votes for the volume of the slice most like it, and the share of the votes counts, then the mean
            similarity of the nearest slices; "mean": cosine of the mean vectors; "statistics": Euclidean distance d of the seven statistics
            of the slices' vectors, told as 1 / (1 + d). A metric belongs to each kind of vector, as in the published recipes.
        slices: of the query, all by default.
        plane: of its slices.
        top: how many volumes.
        other_volumes: leave out the query itself.
        narrow: what may be found.
        preprocessing: as for find_similar.search_image.
        progress: told what is going on.
        cancellation: stops the search.

    Returns:
        SearchResult: a hit a volume, best first; `.record` is its slice that is most like one of the query's.

    Raises:
        UsageError: an index of whole volumes, or a way that is none. IndexFault, EndpointError, ReplyError, Cancelled.
    """
    if way not in WAYS:
        raise UsageError("Volumes are compared by vote, mean or statistics, not by '{way}'.", way=way)
    log = RunLog(MODEL, progress, cancellation or Cancellation())
    began = time.perf_counter()
    asked = choose_space(index, client, preprocessing, log)
    recipe = recipe_of(asked)
    if recipe.pool != "none":
        raise UsageError("The index holds one vector a volume; search in it without naming a way to compare volumes.")
    embedder = Embedder(client, log, progress=progress)
    chosen = Selection("all" if slices is None else slices, plane=plane)
    pictures, vectors, found = known_or_embedded(index, asked, PictureMaker(volume, recipe, plane), embedder, chosen)
    require_same_model(index, found, embedder)
    narrow = narrow or Narrow()
    options = narrow.options(index)
    ids, held = index.vectors(found)
    records = index.records(int(number) for number in ids)
    own = series_name(volume.voxels, volume.ijk_to_ras) if other_volumes else None
    groups = _by_series(ids, records, options.get("only"), own)
    if not groups:
        raise UsageError("The index holds no other volume that fits the conditions.")
    scores, votes, nearest = _compared(vectors, held, groups, way)
    order = sorted(range(len(groups)), key=lambda place: (-votes[place], -scores[place]) if way == "vote" else -scores[place])
    names = list(groups)
    hits = []
    for place in order[:top]:
        number = int(ids[nearest[place]])
        if scores[place] >= narrow.least:
            hits.append(Hit(float(scores[place]), records[number], number))
    warn_of_nothing(hits, log)
    log.timings["total"] = time.perf_counter() - began
    query = {"plane": pictures[0].plane or None, "slices": len(pictures), "text": None}
    report = log.report(volume, client, recipe.window, query=query)
    middle = pictures[len(pictures) // 2]
    result = finished(hits, found, report, make_thumbnail(middle.pixels), f"{len(pictures)} slices")
    shares = {name: votes[place] / len(vectors) for place, name in enumerate(names)}
    result.report["volumes"] = {"by": way, "compared": len(groups)}
    if way == "vote":
        result.report["hits"] = [
            describe_hit(rank, hit) | {"votes": round(shares[hit.record.series], 6)} for rank, hit in enumerate(hits, start=1)
        ]
    return result


def _by_series(ids: np.ndarray, records: dict[int, Record], only: set[int] | None, own: str | None) -> dict[str, list[int]]:
    """Rows of each series."""
    groups: dict[str, list[int]] = {}
    for row, number in enumerate(ids.tolist()):
        record = records.get(number)
        if record is not None and record.series and record.series != own and (only is None or number in only):
            groups.setdefault(record.series, []).append(row)
    return groups


def _compared(query: np.ndarray, held: np.ndarray, groups: dict[str, list[int]], way: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """For each series its score, its votes, and its row that is most like one of the query's."""
    rows = np.array([row for own in groups.values() for row in own])
    starts = np.cumsum([0, *(len(own) for own in groups.values())])[:-1]
    votes, best = np.zeros(len(groups), int), np.zeros(len(groups))
    peak = np.full(len(rows), -np.inf, np.float32)
    inside = held[rows]
    for start in range(0, len(query), _ROWS_AT_ONCE):
        scores = query[start : start + _ROWS_AT_ONCE] @ inside.T
        np.maximum(peak, scores.max(axis=0), out=peak)
        by_series = np.maximum.reduceat(scores, starts, axis=1)
        votes += np.bincount(by_series.argmax(axis=1), minlength=len(groups))
        best += by_series.sum(axis=0)
    ends = [*starts[1:], len(rows)]
    nearest = [int(rows[start + int(np.argmax(peak[start:end]))]) for start, end in zip(starts, ends, strict=True)]
    if way == "vote":
        return best / len(query), votes, nearest
    asked = pool_vectors(query, way).astype(np.float64)
    pooled = np.stack([pool_vectors(held[own], way) for own in groups.values()]).astype(np.float64)
    scores = pooled @ asked if way == "mean" else 1.0 / (1.0 + np.linalg.norm(pooled - asked, axis=1))
    return scores, votes, nearest
