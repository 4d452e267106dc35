"""Small heads on vectors ("adapters"): learned, asked, kept in one file, and refused for vectors of another kind.

A head is one .npz file: `about`, JSON bytes with everything that is known of it (model, preprocessing, labels, the split, figures), and
the numbers of its layers. Nothing in it is pickled; it may come from anybody, and is checked as a whole before it is used.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UsageError
from ..files.write import check_writable, write_whole
from ..remedies import Sentence
from . import linear, network
from .archive import NO_ARCHIVE, UNREADABLE, check_size, json_bytes, read_array, read_json
from .labels import LONGEST_LABEL, is_label
from .measures import auroc, macro
from .records import LONGEST_VECTOR, Provenance, are_names, is_text

FORMAT = "medimageparse adapter 1"
ENDING = (".npz",)
KINDS = ("linear", "network")
MOST_LABELS = 1000
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
_AT_ONCE = 4096  # vectors
_PARTS = ("train", "validate", "test")


@dataclass(slots=True)
class Head:
    """A learned head.

    Attributes:
        kind: "linear" or "network".
        labels: what it tells apart, in the order of its outputs.
        exclusive: exactly one label is right; else each may be.
        provenance: how the vectors were made that it learned from; others are refused.
        length: numbers in such a vector.
        name: of the set of labels.
        by: "slice" for a vector of the index, "mean" or "statistics" for one of a whole series.
        arrays: the layers' numbers.
        split: for each part the series in it (stable names, which tell nothing about a patient).
        figures: of the test part, see measures.Figures.plain.
        settings: how it learned.
    """

    kind: str
    labels: tuple[str, ...]
    exclusive: bool
    provenance: Provenance
    length: int
    name: str = ""
    by: str = "slice"
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    split: dict[str, list[str]] = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """What the head says of vectors: float64 (rows, labels); rows add up to 1 where the labels exclude one another.

        Raises:
            UsageError: vectors of another length. InputError: numbers that are not finite.
        """
        rows = finite_rows(vectors)
        if rows.shape[1] != self.length:
            raise UsageError(
                "The adapter was made for vectors of {own} numbers, and these have {given}; use the model that it was trained with.",
                own=self.length,
                given=rows.shape[1],
            )
        raw = np.concatenate([self._raw(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)])
        if not self.exclusive:
            return np.exp(-np.logaddexp(0.0, -raw))
        if raw.shape[1] == 1:
            second = np.exp(-np.logaddexp(0.0, -raw))
            return np.concatenate([1.0 - second, second], axis=1)
        shares = np.exp(raw - raw.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def features(self, vectors: np.ndarray) -> np.ndarray:
        """The feature vectors of a network, float32 (rows, width): not of unit length, to be compared by Euclidean distance.

        Raises:
            UsageError: a linear head has none.
        """
        if self.kind != "network":
            raise UsageError("A linear adapter has no feature vectors; train one of the kind network.")
        layers, found = self._network(), []
        rows = finite_rows(vectors).astype(np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            kept: dict[str, np.ndarray] = {}
            network.forward(layers, rows[start : start + _AT_ONCE], kept)
            found.append(kept["features"])
        return np.concatenate(found)

    def require(self, provenance: Provenance) -> None:
        """Raises UsageError for vectors that were made in another way than those that the head learned from."""
        if provenance != self.provenance:
            raise UsageError(
                "The adapter was trained on vectors of {own}, and these are of {given}; use the same model and preprocessing, or train anew.",
                own=self.provenance.describe(),
                given=provenance.describe(),
            )

    def _network(self) -> network.Parameters:
        return network.Parameters.of(
            network.shapes_of(self.length, len(self.labels), int(self.settings["width"])), self.arrays["parameters"]
        )

    def _raw(self, rows: np.ndarray) -> np.ndarray:
        if self.kind == "network":
            return network.forward(self._network(), rows.astype(np.float32)).astype(np.float64)
        return rows @ self.arrays["weights"].T + self.arrays["intercepts"]


def finite_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors as float64 (rows, length). Raises InputError where they are no finite numbers."""
    rows = np.asarray(vectors)
    if rows.dtype.kind not in "fiu" or rows.ndim not in (1, 2) or not rows.size:
        raise InputError("The vectors are no table of numbers; embed the images again.")
    rows = np.atleast_2d(rows).astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(rows).all(axis=1)))
    if bad:
        raise InputError("{bad} of {all} vectors hold numbers that are not finite (NaN); embed their images again.", bad=bad, all=len(rows))
    return rows


@dataclass(slots=True, frozen=True)
class Learning:
    """How a head is to learn.

    Attributes:
        kind: "linear" (logistic regression) or "network" (the published one).
        weights: "none", or "balanced" for examples of rare labels to count more.
        strength: of the linear head, how much the examples count against small weights (scikit-learn's C); 0 to choose among 0.1 … 1000.
        engine: of the linear head: "auto", "scikit-learn" or "scipy".
        recipe: of the network.
    """

    kind: str = "linear"
    weights: str = "none"
    strength: float = 0.0
    engine: str = "auto"
    recipe: network.Recipe = field(default_factory=network.Recipe)


def truth_table(given: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
    """Which item has which label: bool (items, labels)."""
    places = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(given), len(labels)), bool)
    for row, own in enumerate(given):
        table[row, [places[label] for label in own if label in places]] = True
    return table


def fit(
    vectors: np.ndarray, truth: np.ndarray, parts: np.ndarray, labels: Sequence[str], provenance: Provenance, how: Learning, *,
    exclusive: bool, told: Callable[[int], None] = lambda _: None,
) -> Head:  # fmt: skip
    """Learn a head from the first part, and choose what there is to choose on the second.

    Args:
        vectors: (items, length).
        truth: bool (items, labels).
        parts: (items,), 0 to learn from, 1 to choose by; others are not looked at.
        labels: names.
        provenance: of the vectors: model, deployment, engine and preprocessing.
        how: to learn.
        exclusive: one label an item.
        told: called with the number of epochs done.

    Raises:
        UsageError: fewer than two labels, far too many, a label without an example to learn from, an unknown kind.
        InputError: vectors that are not finite.
    """
    rows = finite_rows(vectors)
    _check(truth, parts, labels, how, exclusive)
    learned, chosen = parts == 0, parts == 1
    weights = _weights(truth[learned], how.weights, exclusive)

    def judged(head: Head) -> tuple[float, float]:
        """The macro AUROC on the choosing part, where it can be told, and the negative loss; what is learned from has to do for no part."""
        part = chosen if chosen.any() else learned
        told_of = head.probabilities(rows[part])
        found, loss = macro(auroc, told_of, truth[part]), _loss(told_of, truth[part], exclusive)
        return found if np.isfinite(found) else -loss, -loss

    head = Head(how.kind, tuple(labels), exclusive, provenance, rows.shape[1])
    x, y = rows[learned], truth[learned]
    if how.kind == "network":
        return _fit_network(head, x, y, weights, how, judged, told)
    best = float("inf")
    for strength in (how.strength,) if how.strength else STRENGTHS:
        if exclusive:
            made = linear.fit_classes(x, y.argmax(axis=1), len(labels), weights, strength, how.engine)
        else:
            made = linear.fit_findings(x, y, weights, strength, how.engine)
        trial = Head(head.kind, head.labels, exclusive, provenance, head.length, arrays={"weights": made[0], "intercepts": made[1]})
        part = chosen if chosen.any() else learned
        loss = _loss(trial.probabilities(rows[part]), truth[part], exclusive)
        if loss < best:
            best, head = loss, trial
            head.settings = {"strength": strength, "weights": how.weights}
        if not chosen.any():
            break  # nothing to choose by
        told(1)
    return head


def _fit_network(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    how: Learning,
    judged: Callable[[Head], tuple[float, float]],
    told: Callable[[int], None],
) -> Head:
    recipe = how.recipe
    loss = network.classes_loss(y.argmax(axis=1), weights, y.shape[1]) if head.exclusive else network.findings_loss(y, weights)
    head.settings = {"width": recipe.width, "weights": how.weights}

    def judge(parameters: network.Parameters) -> tuple[float, float]:
        head.arrays = {"parameters": parameters.flat}
        return judged(head)

    made = network.learn(x.astype(np.float32), loss, y.shape[1], recipe, judge, told)
    head.arrays = {"parameters": made.parameters.flat}
    head.settings |= {
        "epoch": made.epoch, "epochs": made.epochs, "batch": recipe.batch, "rate": recipe.rate, "decay": recipe.decay, "seed": recipe.seed,
        "course": [round(float(value), 6) for value in made.course],
    }  # fmt: skip
    return head


def _check(truth: np.ndarray, parts: np.ndarray, labels: Sequence[str], how: Learning, exclusive: bool) -> None:
    if how.kind not in KINDS:
        raise UsageError("An adapter is linear or network, not '{kind}'.", kind=how.kind)
    if how.weights not in ("none", "balanced"):
        raise UsageError("The weights are none or balanced, not '{weights}'.", weights=how.weights)
    if not 0 <= how.strength < 1e9:
        raise UsageError("The strength must be a number above 0, or 0 to have it chosen.")
    if how.engine not in linear.ENGINES:
        raise UsageError("The linear adapter is fitted by auto, scikit-learn or scipy, not by '{engine}'.", engine=how.engine)
    if len(labels) > MOST_LABELS:
        raise UsageError(
            "The set has {count} different labels, and an adapter tells at most {most} apart; name only those that matter.",
            count=len(labels),
            most=MOST_LABELS,
        )
    if exclusive and len(labels) < 2:
        only = f" ({labels[0]})" if labels else ""
        raise UsageError(
            "All the labelled images have the same label{only}; an adapter needs at least two labels to tell apart.", only=only
        )
    counts = truth[parts == 0].sum(axis=0)
    missing = [label for label, count in zip(labels, counts, strict=True) if count == 0]
    full = [] if exclusive else [label for label, count in zip(labels, counts, strict=True) if count == np.count_nonzero(parts == 0)]
    if missing or full:
        what = Sentence("no image to learn from has") if missing else Sentence("every image to learn from has")
        raise UsageError("The label {label} cannot be learned, as {what} it; label more images, or leave it out.", label=(missing or full)[0], what=what)  # fmt: skip


def _weights(truth: np.ndarray, how: str, exclusive: bool) -> np.ndarray:
    """One an example (and finding): 1, or the inverse of how frequent its label is, as scikit-learn balances."""
    count = truth.sum(axis=0)
    if exclusive:
        return np.ones(len(truth)) if how == "none" else (len(truth) / (truth.shape[1] * count))[truth.argmax(axis=1)]
    if how == "none":
        return np.ones(truth.shape)
    return np.where(truth, len(truth) / (2.0 * count), len(truth) / (2.0 * (len(truth) - count)))


def _loss(probabilities: np.ndarray, truth: np.ndarray, exclusive: bool) -> float:
    """The mean cross-entropy."""
    safe = np.clip(probabilities, 1e-12, 1.0 - 1e-12)
    if exclusive:
        return float(-np.log(safe[truth]).mean())
    return float(-np.where(truth, np.log(safe), np.log(1.0 - safe)).mean())


def save_head(head: Head, path: str | os.PathLike) -> Path:
    """Write a head to one .npz file, whole or not at all.

    Raises:
        UsageError: another ending, or a folder that cannot be written.
    """
    path = check_writable(path, ENDING)
    about = {
        "format": FORMAT, "kind": head.kind, "labels": list(head.labels), "exclusive": head.exclusive, "provenance": list(head.provenance.as_tuple),
        "length": head.length, "name": head.name, "by": head.by, "split": head.split, "figures": head.figures, "settings": head.settings,
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(array) for name, array in head.arrays.items()}
    write_whole(path, lambda file: np.savez(file, about=json_bytes(about), **arrays))  # type: ignore[arg-type]
    return path


def load_head(path: str | os.PathLike) -> Head:
    """Read a head.

    Raises:
        InputError: missing, cut short, or not what `save_head` writes.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError("There is no adapter {path}; make one with `adapter train`.", path=path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_size(archive, path.stat().st_size)
            return _head_of(archive, read_json(archive, "about", dict))
    except (*UNREADABLE, *NO_ARCHIVE) as error:
        sentence = "The file {path} is no adapter, or it is damaged or cut short; train it again or restore a copy."
        raise InputError(sentence, path=path) from error


def _head_of(archive: zipfile.ZipFile, about: dict[str, Any]) -> Head:
    """Everything looked at before it is believed. Raises ValueError, KeyError, TypeError."""
    labels, names, length, settings = about["labels"], about["provenance"], about["length"], about["settings"]
    good = about["format"] == FORMAT and about["kind"] in KINDS and isinstance(about["exclusive"], bool)
    good = good and isinstance(labels, list) and 1 <= len(labels) <= MOST_LABELS and all(map(is_label, labels))
    good = (
        good
        and len(set(labels)) == len(labels) >= 1 + about["exclusive"]
        and isinstance(names, list)
        and len(names) == 4
        and are_names(names)
    )
    good = good and type(length) is int and 1 <= length <= 7 * LONGEST_VECTOR and about["by"] in ("slice", "mean", "statistics")
    good = good and is_text(about["name"], LONGEST_LABEL) and isinstance(settings, dict) and isinstance(about["figures"], dict)
    good = good and is_text(settings.get("patients", ""))
    split = about["split"]
    good = good and isinstance(split, dict) and set(split) <= set(_PARTS) and all(isinstance(one, list) for one in split.values())
    if not good or not all(is_text(series) for part in split.values() for series in part):
        raise ValueError("its description cannot be")
    head = Head(about["kind"], tuple(labels), about["exclusive"], Provenance(*names), length, about["name"], about["by"],
                {}, split, about["figures"], settings)  # fmt: skip
    if head.kind == "network":
        width = settings["width"]
        if type(width) is not int or not 1 <= width <= 8192:
            raise ValueError("its width cannot be")
        size = sum(int(np.prod(shape)) for shape in network.shapes_of(length, len(labels), width).values())
        head.arrays = {"parameters": _layer(archive, "parameters", (size,), np.float32)}
    else:
        rows = 1 if head.exclusive and len(labels) == 2 else len(labels)
        head.arrays = {"weights": _layer(archive, "weights", (rows, length)), "intercepts": _layer(archive, "intercepts", (rows,))}
    return head


def _layer(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: type = np.float64) -> np.ndarray:
    array: np.ndarray = read_array(archive, name, "f", len(shape)).astype(kind)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(Sentence("{name} is not what a head has there", name=name))
    return array
