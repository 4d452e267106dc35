"""How good predictions are: figures of classification, with intervals.

Definitions are scikit-learn's: area under the ROC curve by ranks with ties counted half; average precision as the sum of precision times
the step in recall; balanced accuracy as the mean of the recalls. The calibration error is the mean gap between what was claimed and what
came true, over 15 bins of equal width, weighted by their size (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

BINS = 15
DRAWS = 400
_DRAW_WORK = 4e7  # numbers sorted for intervals, at most about
_LEAST_DRAWS = 100


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve; NaN where only one of the two occurs.

    Args:
        scores: (items,), the higher the likelier.
        truth: bool (items,), whether each is one of those looked for.
    """
    from scipy.stats import rankdata

    positives = int(np.count_nonzero(truth))
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Average precision; NaN where nothing is positive. Arguments as for `auroc`."""
    positives = int(np.count_nonzero(truth))
    if not positives:
        return float("nan")
    _, ends, hits = _steps(scores, truth)
    return float(np.sum(np.diff(hits, prepend=0) / positives * (hits / (ends + 1))))


def roc_curve(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-alarm rate, sensitivity and threshold at each step, from the strictest on; the first threshold is infinite."""
    thresholds, ends, hits = _steps(scores, truth)
    alarms = ends + 1 - hits
    true, false = max(int(np.count_nonzero(truth)), 1), max(int(np.count_nonzero(~truth)), 1)
    return np.append(0.0, alarms / false), np.append(0.0, hits / true), np.append(np.inf, thresholds)


def _steps(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each score from the highest on, the last place that has it, and how many are true up to there."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return scores[order][ends], ends, np.cumsum(truth[order])[ends]


@dataclass(slots=True, frozen=True)
class Reliability:
    """Claims against what came true, in bins of equal width.

    Attributes:
        claimed: mean probability in each bin that has items. true: how often it was right. items: how many.
        error: the calibration error.
    """

    claimed: np.ndarray
    true: np.ndarray
    items: np.ndarray
    error: float


def reliability(claimed: np.ndarray, right: np.ndarray) -> Reliability:
    """Calibration of probabilities.

    Args:
        claimed: (items,) probabilities.
        right: bool (items,), whether it came true.
    """
    bins = np.minimum((claimed * BINS).astype(int), BINS - 1)
    items = np.bincount(bins, minlength=BINS)
    there = items > 0
    mean = np.bincount(bins, claimed, BINS)[there] / items[there]
    share = np.bincount(bins, right.astype(float), BINS)[there] / items[there]
    return Reliability(mean, share, items[there], float(np.sum(items[there] / max(len(claimed), 1) * np.abs(mean - share))))


@dataclass(slots=True)
class Figures:
    """What a head achieves on examples that it did not learn from.

    Attributes:
        labels: in order.
        items, groups: how many examples, of how many patients.
        support: how many examples have each label.
        overall: "accuracy", "balanced_accuracy", "auroc" (macro), "average_precision" (macro), "ece"; NaN where it cannot be told.
        intervals: 95 % for each of these, by drawing patients with replacement.
        by_label: for each label "auroc", "average_precision", "precision", "recall".
        confusion: int (true, predicted) for labels that exclude one another; for findings (labels, 2, 2).
        claims: for the reliability plot.
    """

    labels: list[str]
    items: int
    groups: int
    support: list[int]
    overall: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    by_label: dict[str, dict[str, float]]
    confusion: np.ndarray
    claims: Reliability
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def plain(self) -> dict:
        """Plain JSON types; what cannot be told is None."""
        return {
            "labels": self.labels,
            "items": self.items,
            "patients": self.groups,
            "support": self.support,
            "overall": {name: _plain(value) for name, value in self.overall.items()},
            "intervals_95": {name: [_plain(value) for value in pair] for name, pair in self.intervals.items()},
            "by_label": {label: {name: _plain(value) for name, value in own.items()} for label, own in self.by_label.items()},
            "confusion": self.confusion.tolist(),
            "reliability": [
                {"claimed": _plain(claimed), "true": _plain(true), "items": int(items)}
                for claimed, true, items in zip(self.claims.claimed, self.claims.true, self.claims.items, strict=True)
            ],
        }


def figures(
    probabilities: np.ndarray, truth: np.ndarray, labels: Sequence[str], groups: np.ndarray, *, exclusive: bool, seed: int = 0
) -> Figures:
    """All figures of predictions.

    Args:
        probabilities: float64 (items, labels).
        truth: bool (items, labels); one a row where the labels exclude one another.
        labels: their names.
        groups: int (items,), patients, which are drawn as a whole for the intervals.
        exclusive: the labels exclude one another.
        seed: of the draws.
    """
    labels = list(labels)
    best = probabilities.argmax(axis=1)
    predicted = np.eye(len(labels), dtype=bool)[best] if exclusive else probabilities >= 0.5
    hits, given, real = (predicted & truth).sum(axis=0), predicted.sum(axis=0), truth.sum(axis=0)
    by_label = {}
    for place, label in enumerate(labels):
        by_label[label] = {
            "auroc": auroc(probabilities[:, place], truth[:, place]),
            "average_precision": average_precision(probabilities[:, place], truth[:, place]),
            "precision": hits[place] / given[place] if given[place] else float("nan"),
            "recall": hits[place] / real[place] if real[place] else float("nan"),
        }
    confusion: np.ndarray
    if exclusive:
        confusion = np.zeros((len(labels), len(labels)), int)
        np.add.at(confusion, (truth.argmax(axis=1), best), 1)
        claims = reliability(probabilities.max(axis=1), truth[np.arange(len(best)), best])
    else:
        confusion = np.stack([len(truth) - given - real + hits, given - hits, real - hits, hits], axis=1).reshape(-1, 2, 2)
        claims = reliability(probabilities.ravel(), truth.ravel())
    overall = summary(probabilities, truth, exclusive=exclusive)
    intervals = _intervals(probabilities, truth, groups, exclusive, seed)
    curves = {
        label: roc_curve(probabilities[:, place], truth[:, place])[:2] for place, label in enumerate(labels) if 0 < real[place] < len(truth)
    }
    return Figures(labels, len(truth), len(np.unique(groups)), real.tolist(), overall, intervals, by_label, confusion, claims, curves)


def summary(probabilities: np.ndarray, truth: np.ndarray, *, exclusive: bool) -> dict[str, float]:
    """The overall figures; arguments as for `figures`."""
    if exclusive:
        best = probabilities.argmax(axis=1)
        right = truth[np.arange(len(best)), best]
        claims = reliability(probabilities.max(axis=1), right)
        real, hits = truth.sum(axis=0), (truth & np.eye(truth.shape[1], dtype=bool)[best]).sum(axis=0)
        accuracy, balanced = float(right.mean()), _mean(hits[real > 0] / real[real > 0])
    else:
        predicted = probabilities >= 0.5
        claims = reliability(probabilities.ravel(), truth.ravel())
        accuracy = float((predicted == truth).mean())
        parts = []
        for place in range(truth.shape[1]):
            own = truth[:, place]
            if 0 < own.sum() < len(own):
                parts.append((predicted[own, place].mean() + (~predicted[~own, place]).mean()) / 2)
        balanced = _mean(np.array(parts))
    return {
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
        "auroc": macro(auroc, probabilities, truth),
        "average_precision": macro(average_precision, probabilities, truth),
        "ece": claims.error,
    }


def macro(measure: Callable[[np.ndarray, np.ndarray], float], probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The mean over the labels for which the measure can be told."""
    return _mean(np.array([measure(probabilities[:, place], truth[:, place]) for place in range(truth.shape[1])]))


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _intervals(
    probabilities: np.ndarray, truth: np.ndarray, groups: np.ndarray, exclusive: bool, seed: int
) -> dict[str, tuple[float, float]]:
    numbers, places = np.unique(groups, return_inverse=True)
    names = ("accuracy", "balanced_accuracy", "auroc", "average_precision", "ece")
    if len(numbers) < 2:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    members = np.split(np.argsort(places, kind="stable"), np.cumsum(np.bincount(places))[:-1])
    draws = int(np.clip(_DRAW_WORK / probabilities.size, _LEAST_DRAWS, DRAWS))
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        rows = np.concatenate([members[group] for group in rng.integers(0, len(numbers), len(numbers))])
        found.append(list(summary(probabilities[rows], truth[rows], exclusive=exclusive).values()))
    table = np.array(found)
    result = {}
    for name, column in zip(names, table.T, strict=True):
        column = column[np.isfinite(column)]
        result[name] = tuple(np.percentile(column, (2.5, 97.5)).tolist()) if len(column) else (float("nan"), float("nan"))
    return result


def _plain(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
