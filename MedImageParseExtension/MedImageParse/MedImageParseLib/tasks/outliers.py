"""Which slices or studies of an index are unlike a reference set, from the vectors that the index holds: no endpoint takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..search.compare import map_2d, rank_outliers, study_vector
from ..search.index import EmbeddingIndex
from ..search.records import Provenance, Record
from .choosing import belongs, largest_space
from .find_similar import name_of, place_of


@dataclass(slots=True, frozen=True)
class RankedItem:
    """One slice, picture or study.

    Attributes:
        id: the record's number (of its first record where studies are ranked).
        record: what is known of it.
        distance: to the reference set, Euclidean.
        percentile: share of the reference set, 0 to 100, that is less unusual; NaN where the set is too small to say.
        in_reference: it belongs to the set itself, and is compared with the others of it.
        point: (x, y) on the map.
        slices: how many vectors it stands for.
    """

    id: int
    record: Record
    distance: float
    percentile: float
    in_reference: bool
    point: tuple[float, float]
    slices: int = 1


@dataclass(slots=True)
class OutlierResult:
    """A ranking, the most unusual first, and how the map was made ("pca" or "umap").

    Attributes:
        items: those outside the reference set; where there are none, the set's own members.
        members: the reference set.
    """

    items: list[RankedItem]
    members: list[RankedItem]
    provenance: Provenance
    map_method: str
    report: dict = field(default_factory=dict)


def find_outliers(
    index: EmbeddingIndex, reference: Sequence[str], *, by: str = "slice", neighbors: int = 1, recipe: str = "", map_method: str = "auto"
) -> OutlierResult:
    """Rank what is in an index by its distance to a reference set.

    Args:
        reference: names of what is usual: a file's name (wildcards * and ? are understood), its path, a folder, or a series.
        by: "slice" for each vector, "study" for each volume by the seven statistics of its slices' vectors.
        neighbors: over how many of the nearest members to average.
        recipe: which of the index's recipes, where it has several; else the one with the most vectors.
        map_method: "auto", "pca" or "umap".

    Raises:
        UsageError: nothing fits the reference, or the set is too small. IndexFault: the index is empty or damaged.
    """
    if by not in ("slice", "study"):
        raise UsageError(f"Outliers are ranked by slice or by study, not by '{by}'.")
    if not reference:
        raise UsageError("Name the reference set: a file's name, a folder or a series that is in the index.")
    provenance = largest_space(index, recipe)
    ids, vectors = index.vectors(provenance)
    records = index.records(int(number) for number in ids)
    rows = [row for row, number in enumerate(ids) if int(number) in records]
    groups = _grouped(rows, [records[int(ids[row])] for row in rows], by)
    heads = [int(ids[group[0]]) for group in groups]
    usual = np.array([belongs(records[head], reference) for head in heads])
    if not usual.any():
        names = sorted({name_of(record) for record in records.values()})
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise UsageError(f"Nothing in the index is called {' or '.join(reference)}; it holds {shown}.")
    features = np.stack([vectors[group[0]] if by == "slice" else study_vector(vectors[group]) for group in groups])
    own = np.full(len(groups), -1)
    own[usual] = np.arange(int(usual.sum()))
    laid_out = map_2d(features, method=map_method)
    items = []
    for inside in (False, True):
        places = np.flatnonzero(usual == inside)
        if not len(places) or (inside and len(places) <= neighbors):
            continue
        for found in rank_outliers(features[places], features[usual], neighbors=neighbors, own_places=own[places] if inside else None):
            place = int(places[found.place])
            point = (float(laid_out.points[place, 0]), float(laid_out.points[place, 1]))
            items.append(
                RankedItem(heads[place], records[heads[place]], found.distance, found.percentile, inside, point, len(groups[place]))
            )
    members = [item for item in items if item.in_reference]
    ranked = [item for item in items if not item.in_reference] or members
    if not ranked:
        raise UsageError("The reference set has too few members to compare anything with; enlarge it.")
    result = OutlierResult(ranked, members, provenance, laid_out.method)
    result.report = _report(result, by, neighbors, list(reference), int(usual.sum()))
    return result


def _grouped(rows: list[int], records: list[Record], by: str) -> list[list[int]]:
    if by == "slice":
        return [[row] for row in rows]
    groups: dict[str, list[int]] = {}
    for row, record in zip(rows, records):
        groups.setdefault(record.series or record.content_hash, []).append(row)
    return list(groups.values())


def _report(result: OutlierResult, by: str, neighbors: int, reference: list[str], members: int) -> dict:
    return {
        "model": result.provenance.model,
        "engine": result.provenance.engine or None,
        "preprocessing": result.provenance.preprocessing,
        "by": by,
        "neighbors": neighbors,
        "reference": reference,
        "reference_members": members,
        "map": result.map_method,
        "outliers": [describe_item(rank, item) for rank, item in enumerate(result.items, start=1)],
        "warnings": [],
    }


def describe_item(rank: int, item: RankedItem) -> dict:
    """A ranked item in plain JSON types."""
    record = item.record
    return {
        "rank": rank, "distance": round(item.distance, 6), "percentile": None if np.isnan(item.percentile) else round(item.percentile, 2),
        "in_reference": item.in_reference, "id": item.id, "name": name_of(record), "source": record.source, "series": record.series,
        "place": place_of(record) if item.slices == 1 else f"{item.slices} slices", "map": [round(value, 6) for value in item.point],
    }  # fmt: skip
