"""How good the search of an index is: each labelled image asks, images of other patients answer, and the same label counts as right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..remedies import Sentence
from ..search.heads import Head, truth_table
from ..search.index import EmbeddingIndex
from ..search.records import Record
from .adapters import SERIES_NOTE, Examples, gather
from .choosing import largest_space
from .run import Report

UNLEARNED_NOTE = "Only images ask whose patients the adapter has not learned from; all labelled images may be found."
ALONE_NOTE = "Labels that only one patient has were left out, as a search can find them in no other: {count}."
MOST_QUERIES = 2000  # of a large index, drawn
WORST = 5
_AT_ONCE = 64


@dataclass(slots=True)
class Ranking:
    """Figures of one way to rank.

    Attributes:
        mean: over labels of the means within a label: "P@k", "R@k", "mAP", "nDCG".
        by_label, by_plane: the same within each.
        precision: average precision of each query.
    """

    mean: dict[str, float]
    by_label: dict[str, dict[str, float]]
    by_plane: dict[str, dict[str, float]]
    precision: np.ndarray


@dataclass(slots=True)
class Worst:
    """A query that found little that is right, with its nearest."""

    query: Record
    labels: tuple[str, ...]
    found: list[tuple[Record, tuple[str, ...], float]]


@dataclass(slots=True)
class RetrievalResult:
    """What was measured.

    Attributes:
        rankings: "vectors", "random", "adapter features" where one was given, and "demo descriptors" where the index keeps thumbnails.
        worst: the five worst queries. queries: how many asked.
        report: plain JSON types.
    """

    rankings: dict[str, Ranking]
    worst: list[Worst]
    queries: int
    report: dict = field(default_factory=dict)


def evaluate_search(
    index: EmbeddingIndex, name: str, *, patients: str = "", depths: Sequence[int] = (1, 3, 5, 10), recipe: str = "",
    describe: Callable[[bytes], np.ndarray | None] | None = None, head: Head | None = None, seed: int = 0,
) -> RetrievalResult:  # fmt: skip
    """Measure the search of an index.

    Args:
        index: open.
        name: of the set of labels.
        patients: the set that tells patients apart; an image never finds its own patient.
        depths: the k of P@k and R@k.
        recipe: where the index has several, which.
        describe: a descriptor of a thumbnail's PNG, for comparison.
        head: a network whose feature vectors are compared, too, by Euclidean distance as in the published search. Then only images ask
            whose patients it has not learned from.
        seed: of the random ranking, and of the queries that are drawn from a large index.

    Raises:
        UsageError: nothing that can be measured.
    """
    if not depths or min(depths) < 1:
        raise UsageError("Give the numbers of results to look at as whole numbers of at least 1, such as 1,3,5.")
    space = largest_space(index, recipe)
    if head is not None:
        space = head.provenance if head.provenance in index.spaces() else space
        head.require(space)
    found = gather(index, name, patients=patients, provenance=space)
    found = found.taken(np.array([bool(own) for own in found.labels], bool))
    every = {label for own in found.labels for label in own}
    owners = {(label, group) for own, group in zip(found.labels, found.groups.tolist(), strict=True) for label in own}
    counts = Counter(label for label, _group in owners)
    labels = sorted(label for label, count in counts.items() if count > 1)  # what one patient alone has cannot be found
    if len(every) < 2 or not labels:
        raise UsageError("A search is measured with at least two labels, one of which two patients have; label more images of the index.")
    truth = truth_table(found.labels, labels)
    rng = np.random.default_rng(seed)
    queries = np.flatnonzero(truth.any(axis=1))
    if head is not None:
        queries = _unlearned(queries, found, head)
    if len(queries) > MOST_QUERIES:
        queries = np.sort(rng.choice(queries, MOST_QUERIES, replace=False))
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "vectors": lambda rows: found.vectors[rows] @ found.vectors.T,
        "random": lambda rows: rng.random((len(rows), len(truth))),
    }
    if head is not None:
        features = head.features(found.vectors)
        lengths = np.einsum("ij,ij->i", features, features)
        ways["adapter features"] = lambda rows: 2.0 * features[rows] @ features.T - lengths  # the order of their distances, negative
    described = _described(found, describe)
    if described is not None:
        ways["demo descriptors"] = lambda rows: described[rows] @ described.T
    planes = [found.records[number].plane for number in found.ids]
    rankings = {way: _rank(scores, queries, truth, found.groups, labels, planes, depths) for way, scores in ways.items()}
    worst = [_worst(found, int(queries[place])) for place in np.argsort(rankings["vectors"].precision, kind="stable")[:WORST]]
    details = {
        "preprocessing": found.provenance.preprocessing, "set": name, "queries": len(queries), "images": len(truth), "patients": len(np.unique(found.groups)),
        "rankings": {way: {"mean": _plain(one.mean), "by_label": {label: _plain(own) for label, own in one.by_label.items()},
                           "by_plane": {plane: _plain(own) for plane, own in one.by_plane.items()}} for way, one in rankings.items()},
    }  # fmt: skip
    warnings = [] if patients else [SERIES_NOTE]
    warnings += [UNLEARNED_NOTE] if head is not None else []
    warnings += [Sentence(ALONE_NOTE, count=len(every) - len(labels))] if len(labels) < len(every) else []
    report = Report(model=found.provenance.model, engine=found.provenance.engine or None, warnings=warnings, details=details)
    return RetrievalResult(rankings, worst, len(queries), report.as_dict())


def _unlearned(queries: np.ndarray, found: Examples, head: Head) -> np.ndarray:
    """Those of the queries whose patients a head has not learned from. Raises UsageError where there are none, or it is of whole series."""
    if head.by != "slice":
        raise UsageError("The adapter looks at whole series; a search is measured with one that was trained on each slice.")
    learned = {series for part in ("train", "validate") for series in head.split.get(part, [])}
    met = np.array([series in learned for series in found.series()], bool)
    kept = queries[~np.isin(found.groups[queries], found.groups[met])]
    if not len(kept):
        raise UsageError("The adapter has learned from the patients of all these images; label images of others.")
    return kept


def _described(found: Examples, describe: Callable[[bytes], np.ndarray | None] | None) -> np.ndarray | None:
    """Descriptors of all thumbnails, None where one is missing."""
    if describe is None or not all(found.records[number].thumbnail for number in found.ids):
        return None
    made = [describe(found.records[number].thumbnail) for number in found.ids]
    return None if any(one is None for one in made) else np.stack([one for one in made if one is not None])


def _rank(
    scores_of: Callable[[np.ndarray], np.ndarray], queries: np.ndarray, truth: np.ndarray, groups: np.ndarray, labels: Sequence[str],
    planes: Sequence[str], depths: Sequence[int],
) -> Ranking:  # fmt: skip
    rows = []
    for start in range(0, len(queries), _AT_ONCE):
        part = queries[start : start + _AT_ONCE]
        for query, scores in zip(part, scores_of(part), strict=True):
            others = groups != groups[query]
            right = (truth[others] & truth[query]).any(axis=1)
            rows.append(measures_of(scores[others], right, depths))
    names = list(rows[0])
    table = np.array([[row[name] for name in names] for row in rows])

    def means(chosen: np.ndarray) -> dict[str, float]:
        own = table[chosen]
        own = own[np.isfinite(own).all(axis=1)]
        return dict(zip(names, own.mean(axis=0).tolist(), strict=True)) if len(own) else dict.fromkeys(names, float("nan"))

    by_label = {label: means(truth[queries, place]) for place, label in enumerate(labels)}
    plane_of = np.array(planes)[queries]
    by_plane = {str(plane): means(plane_of == plane) for plane in sorted(set(plane_of.tolist()))}
    mean = {name: float(np.nanmean([own[name] for own in by_label.values()])) for name in names}
    return Ranking(mean, by_label, by_plane, np.nan_to_num(table[:, names.index("mAP")], nan=2.0))


def measures_of(scores: np.ndarray, right: np.ndarray, depths: Sequence[int]) -> dict[str, float]:
    """Figures of one query: precision and recall among the first k, average precision, and nDCG with gains 0 and 1.

    Args:
        scores: of each candidate, the higher the nearer.
        right: bool, which of them are right.
        depths: the k.

    Returns:
        NaN throughout where nothing could have been right.
    """
    order = np.argsort(-scores, kind="stable")
    hits = right[order]
    count = int(hits.sum())
    if not count:
        return dict.fromkeys([*(f"P@{k}" for k in depths), *(f"R@{k}" for k in depths), "mAP", "nDCG"], float("nan"))
    found = np.cumsum(hits)
    places = np.arange(1, len(hits) + 1)
    discount = 1.0 / np.log2(places + 1)
    result = {f"P@{k}": float(found[min(k, len(hits)) - 1] / k) for k in depths}
    result |= {f"R@{k}": float(found[min(k, len(hits)) - 1] / count) for k in depths}
    return result | {"mAP": float((hits * found / places).sum() / count), "nDCG": float((hits * discount).sum() / discount[:count].sum())}


def _worst(found: Examples, query: int) -> Worst:
    scores = found.vectors @ found.vectors[query]
    scores[found.groups == found.groups[query]] = -np.inf
    nearest = np.argsort(-scores, kind="stable")[:WORST]
    own = [(found.records[found.ids[place]], found.labels[place], float(scores[place])) for place in nearest if scores[place] > -np.inf]
    return Worst(found.records[found.ids[query]], found.labels[query], own)


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {name: round(value, 6) if np.isfinite(value) else None for name, value in values.items()}
