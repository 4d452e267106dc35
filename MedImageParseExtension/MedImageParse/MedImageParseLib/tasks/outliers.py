"""Which slices or studies of an index are unlike a reference set, from the vectors that the index holds: no endpoint takes part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..packages import require
from ..remedies import Sentence, few
from ..search.compare import map_2d
from ..search.index import EmbeddingIndex
from ..search.measures import auroc, roc_curve
from ..search.records import Provenance, Record
from ..search.unusual import knn_distances, ranked_by, study_vector
from .choosing import belongs, largest_space, require_set
from .find_similar import name_of, place_of
from .run import Report


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
    index: EmbeddingIndex,
    reference: Sequence[str],
    *,
    by: str = "slice",
    neighbors: int = 1,
    recipe: str = "",
    map_method: str = "auto",
    method: str = "knn",
    false_alarms: float = 0.05,
    labels: str = "",
    unusual: Sequence[str] = (),
) -> OutlierResult:
    """Rank what is in an index by its distance to a reference set.

    Args:
        index: open; it is only read.
        reference: names of what is usual: a file's name (wildcards * and ? are understood), its path, a folder, or a series.
        by: "slice" for each vector, "study" for each volume by the seven statistics of its slices' vectors.
        neighbors: over how many of the nearest members to average.
        recipe: which of the index's recipes, where it has several; else the one with the most vectors.
        map_method: "auto", "pca" or "umap".
        method: "knn" (distance to the nearest members), or with scikit-learn "lof" (local outlier factor) or "forest" (isolation forest).
        false_alarms: share of what is usual that may be called unusual: the threshold is where that share of the reference set lies beyond.
        labels: a set of labels that says what is unusual, for the ROC curve.
        unusual: which of the set's labels say so.

    Raises:
        UsageError: nothing fits the reference, or the set is too small. IndexFault: the index is empty or damaged.
    """
    if by not in ("slice", "study"):
        raise UsageError("Outliers are ranked by slice or by study, not by '{by}'.", by=by)
    if neighbors < 1:
        raise UsageError("The number of neighbors must be at least 1.")
    if not reference:
        raise UsageError("Name the reference set: a file's name, a folder or a series that is in the index.")
    provenance = largest_space(index, recipe)
    ids, vectors = index.vectors(provenance)
    records = index.records(int(number) for number in ids)
    rows = [row for row, number in enumerate(ids) if int(number) in records]
    groups = _grouped(rows, [records[int(ids[row])] for row in rows], by)
    heads = [int(ids[group[0]]) for group in groups]
    usual = _usual([records[head] for head in heads], reference, records)
    if by == "study":
        features = np.stack([study_vector(vectors[group]) for group in groups])
    else:
        features = vectors if len(rows) == len(vectors) else vectors[rows]  # not copied where all are there
    scored = _scores(features, usual, neighbors, method)
    own = scored[usual]
    laid_out = map_2d(features, method=map_method)
    items = []
    for inside in (False, True):
        places = np.flatnonzero(usual == inside)
        if not len(places) or (inside and len(places) <= neighbors):
            continue
        for found in ranked_by(scored[places], own[np.isfinite(own)]):
            place = int(places[found.place])
            head, point = heads[place], tuple(laid_out.points[place, :2].tolist())
            items.append(RankedItem(head, records[head], found.distance, found.percentile, inside, point, len(groups[place])))
    members = [item for item in items if item.in_reference]
    ranked = [item for item in items if not item.in_reference] or members
    if not ranked:
        raise UsageError("The reference set has too few members to compare anything with; enlarge it.")
    result = OutlierResult(ranked, members, provenance, laid_out.method)
    result.report = _report(result, by, neighbors, list(reference), int(usual.sum())) | {"method": method}
    result.report |= _threshold(result, false_alarms)
    if labels:
        result.report["known"] = _known(index, ranked, labels, unusual, result.report["threshold"])
    return result


def _usual(firsts: Sequence[Record], reference: Sequence[str], records: Mapping[int, Record]) -> np.ndarray:
    """Which groups belong to the reference set, by the first record of each: bool (groups,). Raises UsageError where none does."""
    usual = np.array([belongs(record, reference) for record in firsts])
    if not usual.any():
        names = sorted({name_of(record) for record in records.values()})
        raise UsageError("Nothing in the index is called {listed}; it holds {shown}.", listed=" or ".join(reference), shown=few(names))
    return usual


def _scores(features: np.ndarray, usual: np.ndarray, neighbors: int, method: str) -> np.ndarray:
    """How unusual each item is; members of the reference set are compared with the others of it."""
    reference = features[usual]
    scores = np.full(len(features), np.nan)
    if method == "knn":
        if len(reference) > neighbors:  # all at once: what helps to find the nearest is made once, and nothing is copied
            own = np.where(usual, np.cumsum(usual) - 1, -1)
            return knn_distances(features, reference, neighbors=neighbors, own_places=own)
        if not usual.all():
            scores[~usual] = knn_distances(features[~usual], reference, neighbors=neighbors)
        return scores
    if method not in ("lof", "forest"):
        raise UsageError("Outliers are found by knn, lof or forest, not by '{method}'.", method=method)
    require("sklearn", Sentence("the method {method}", method=method), "or choose the method knn")
    if len(reference) < 3:
        raise UsageError("The reference set has too few members to learn from; enlarge it.")
    if method == "lof":
        from sklearn.neighbors import LocalOutlierFactor

        made = LocalOutlierFactor(n_neighbors=min(20, len(reference) - 1), novelty=True).fit(reference)
        scores[usual] = -made.negative_outlier_factor_
    else:
        from sklearn.ensemble import IsolationForest

        made = IsolationForest(random_state=0).fit(reference)
        scores[usual] = -made.score_samples(reference)
    if not usual.all():
        scores[~usual] = -made.score_samples(features[~usual])
    return scores


def _threshold(result: OutlierResult, false_alarms: float) -> dict:
    """The distance beyond which something is called unusual, by the reference set's own members."""
    if not 0 < false_alarms < 1:
        raise UsageError("The rate of false alarms is between 0 and 1, such as 0.05.")
    usual = [item.distance for item in result.members]
    if not usual:
        return {"threshold": None, "false_alarms_expected": None, "beyond": None}
    threshold = float(np.quantile(usual, 1.0 - false_alarms, method="higher"))
    if len(usual) * false_alarms < 1:
        rare = Sentence(
            "The reference set of {count} is too small to expect {false_alarms:g} false alarms; its largest own distance is the threshold.",
            count=len(usual),
            false_alarms=false_alarms,
        )
        result.report["warnings"].append(rare)
    beyond = sum(item.distance > threshold for item in result.items)
    return {"threshold": round(threshold, 6), "false_alarms_expected": false_alarms, "beyond": beyond}


def _known(index: EmbeddingIndex, items: Sequence[RankedItem], labels: str, unusual: Sequence[str], threshold: float | None) -> dict:
    """ROC and confusion where it is known what is unusual: at the demo's operating point (the one after that nearest to (0, 1)), and at the
    threshold of the reference set."""
    require_set(index, labels)
    given = index.labels_of([item.id for item in items], labels)
    chosen = [item for item in items if item.id in given]
    truth = np.array([bool(set(given[item.id]) & set(unusual)) for item in chosen], bool)
    if not unusual or truth.all() or not truth.any():
        ranked = sorted({label for own in given.values() for label in own})
        raise UsageError(
            "The set '{labels}' must call some of the ranked images unusual and others not; name its unusual labels: those outside the reference set have {listed}.",
            labels=labels[:80],
            listed=", ".join(ranked[:10]) + (", …" if len(ranked) > 10 else "") if ranked else Sentence("none"),
        )
    scores = np.array([item.distance for item in chosen])
    false, true, thresholds = roc_curve(scores, truth)
    nearest = int(np.argmin(np.hypot(false, 1.0 - true)))
    best = float(thresholds[min(nearest + 1, len(thresholds) - 1)])

    def at(value: float) -> dict:
        said = scores >= value
        return {"threshold": round(value, 6), "confusion": [[int((~said & ~truth).sum()), int((said & ~truth).sum())],
                                                          [int((~said & truth).sum()), int((said & truth).sum())]]}  # fmt: skip

    found = {"items": len(chosen), "unusual": int(truth.sum()), "auroc": round(auroc(scores, truth), 6), "best": at(best)}
    return found | ({"expected": at(threshold)} if threshold is not None else {})


def _grouped(rows: list[int], records: list[Record], by: str) -> list[list[int]]:
    if by == "slice":
        return [[row] for row in rows]
    groups: dict[str, list[int]] = {}
    for row, record in zip(rows, records):
        groups.setdefault(record.series or record.content_hash, []).append(row)
    return list(groups.values())


def _report(result: OutlierResult, by: str, neighbors: int, reference: list[str], members: int) -> dict:
    details = {
        "preprocessing": result.provenance.preprocessing,
        "by": by,
        "neighbors": neighbors,
        "reference": reference,
        "reference_members": members,
        "map": result.map_method,
        "outliers": [describe_item(rank, item) for rank, item in enumerate(result.items, start=1)],
    }
    return Report(model=result.provenance.model, engine=result.provenance.engine or None, details=details).as_dict()


def describe_item(rank: int, item: RankedItem) -> dict:
    """A ranked item in plain JSON types."""
    record = item.record
    return {
        "rank": rank, "distance": round(item.distance, 6), "percentile": None if np.isnan(item.percentile) else round(item.percentile, 2),
        "in_reference": item.in_reference, "id": item.id, "name": name_of(record), "source": record.source, "series": record.series,
        "place": place_of(record) if item.slices == 1 else f"{item.slices} slices", "map": [round(value, 6) for value in item.point],
    }  # fmt: skip
