"""Adapters on the vectors of an index: learn one from a set of labels, measure it, and ask it about images or about the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from ..search.heads import Head, Learning, fit, truth_table
from ..search.index import EmbeddingIndex
from ..search.labels import PlaceLabel, label_of_record
from ..search.measures import Figures, figures
from ..search.records import Provenance, Record
from ..search.splits import PARTS, joined_groups, split
from .choosing import largest_space, require_set
from .embed import pool_vectors
from .run import Report

BY = ("slice", "mean", "statistics")
SERIES_NOTE = "The index does not know which series are of one patient, so each series counts as a patient of its own; name a set of labels that tells the patients where that is wrong."  # fmt: skip
SMALL_NOTE = "The test part has {items} images of {groups} patients: too few to rely on these figures."
UNTESTED_NOTE = "Nothing was kept for testing, so nobody knows how good the adapter is; label images of more patients."
LEFT_OUT_NOTE = "{count} of these images were left out, as the adapter has met other images of their patients."
_FEW_GROUPS = 20


@dataclass(slots=True)
class Examples:
    """Vectors of an index with what is known of each.

    Attributes:
        ids: record numbers (of the first record where a vector stands for a series).
        records: by number. vectors: (items, length).
        labels: of each item, () for none. groups: what must stay on one side, see splits.joined_groups.
        provenance: of all of them.
    """

    ids: list[int]
    records: dict[int, Record]
    vectors: np.ndarray
    labels: list[tuple[str, ...]]
    groups: np.ndarray
    provenance: Provenance

    def series(self) -> list[str]:
        """The series of each item."""
        return [self.records[number].series for number in self.ids]

    def taken(self, keep: np.ndarray) -> Examples:
        """Those of the items for which `keep` is true."""
        places = np.flatnonzero(keep)
        ids, labels = [self.ids[place] for place in places], [self.labels[place] for place in places]
        return Examples(ids, self.records, self.vectors[places], labels, self.groups[places], self.provenance)


@dataclass(slots=True)
class AdapterResult:
    """A head with its figures on the test part.

    Attributes:
        head: learned or read. figures: None where nothing could be tested. report: plain JSON types.
    """

    head: Head
    figures: Figures | None
    report: dict = field(default_factory=dict)


def gather(
    index: EmbeddingIndex, name: str, *, by: str = "slice", patients: str = "", recipe: str = "", provenance: Provenance | None = None
) -> Examples:
    """The vectors of an index with their labels in a set.

    Args:
        index: open.
        name: of the set, "" for no labels.
        by: "slice" for each vector, "mean" or "statistics" for one a series; a series has a label where its slices do not disagree.
        patients: a set of labels that says which images are of one patient; without it a series is one.
        recipe: which of several, see choosing.largest_space.
        provenance: exactly which vectors; goes before `recipe`.

    Raises:
        UsageError: no such set. IndexFault.
    """
    if by not in BY:
        raise UsageError("An adapter looks at each slice, or at a series by mean or statistics, not by '{by}'.", by=by)
    for wanted in filter(None, (name, patients)):
        require_set(index, wanted)
    space = provenance or largest_space(index, recipe)
    numbers, vectors = index.vectors(space)
    records = index.records(int(number) for number in numbers)
    rows = [row for row, number in enumerate(numbers.tolist()) if number in records]
    ids = [int(numbers[row]) for row in rows]
    labels = index.labels_of(ids, name) if name else {}
    owners = index.labels_of(ids, patients) if patients else {}
    groups = joined_groups(
        [
            (
                ("series", records[number].series or number),
                ("content", records[number].content_hash),
                *(("patient", one) for one in owners.get(number, ())),
            )
            for number in ids
        ]
    )
    vectors = vectors if len(rows) == len(vectors) else vectors[rows]
    if by == "slice":
        return Examples(ids, records, vectors, [labels.get(number, ()) for number in ids], groups, space)
    return _by_series(ids, records, vectors, labels, groups, by, space)


def _by_series(
    ids: list[int], records: dict[int, Record], vectors: np.ndarray, labels: Mapping[int, tuple[str, ...]], groups: np.ndarray, by: str,
    space: Provenance,
) -> Examples:  # fmt: skip
    members: dict[str, list[int]] = {}
    for place, number in enumerate(ids):
        members.setdefault(records[number].series or str(number), []).append(place)
    own = []
    for places in members.values():
        given = {labels.get(ids[place], ()) for place in places}
        own.append(given.pop() if len(given) == 1 else ())
    heads = [places[0] for places in members.values()]
    pooled = np.stack([pool_vectors(vectors[places], by) for places in members.values()])
    return Examples([ids[place] for place in heads], records, pooled, own, groups[heads], space)


def train(
    index: EmbeddingIndex, name: str, how: Learning | None = None, *, by: str = "slice", patients: str = "", recipe: str = "",
    only: Sequence[str] = (), several: str = "auto", test: float = 0.2, validate: float = 0.15, seed: int = 0,
    progress: Progress = no_progress, cancellation: Cancellation | None = None,
) -> AdapterResult:  # fmt: skip
    """Learn a head from a set of labels, and test it on patients that it has not seen.

    Args:
        index: open.
        name: of the set of labels.
        how: to learn; a linear head where None.
        by: a vector a slice or one a series, as for `gather`.
        patients: the set of labels that says which images are of one patient, as for `gather`.
        recipe: which of several recipes, as for `gather`.
        only: which of the labels, all where empty.
        several: "auto", "one" (labels exclude one another) or "many" (findings that may stand beside one another; images with other labels
            of the set are examples without any).
        test: share of the patients to test with, see splits.split.
        validate: share of the patients to choose by.
        seed: of the split and of the learning's chance.
        progress: told "epochs".
        cancellation: stops it between two epochs.

    Raises:
        UsageError, InputError: one sentence; see heads.fit and splits.split. Cancelled.
    """
    how = how or Learning()
    if several not in ("auto", "one", "many"):
        raise UsageError("The labels of an image are one, many or auto, not '{several}'.", several=several)
    found = gather(index, name, by=by, patients=patients, recipe=recipe)
    labels, found, exclusive = _to_tell_apart(found, only, name, several)
    learned = [tuple(set(own) & set(labels)) or ("",) for own in found.labels]  # "" for examples of a finding that is not there
    parts = split(found.groups, learned, test=test, validate=validate, seed=seed)
    cancelled = cancellation or Cancellation()
    total = how.recipe.epochs if how.kind == "network" else 0

    def told(epoch: int) -> None:
        cancelled.check()
        progress("epochs", epoch if total else 0, total)

    head = fit(found.vectors, truth_table(found.labels, labels), parts, labels, found.provenance, how, exclusive=exclusive, told=told)
    head.name, head.by = name, by
    head.settings |= {"test": test, "validate": validate, "split_seed": seed, "patients": patients}
    series = np.array(found.series())
    head.split = {part: sorted(set(series[parts == place].tolist())) for place, part in enumerate(PARTS)}
    tested = found.taken(parts == PARTS.index("test"))
    result = measure(head, tested)
    notes = [] if patients else [SERIES_NOTE]
    if result is None:
        notes.append(UNTESTED_NOTE)
    else:
        head.figures = result.plain()
        notes += [Sentence(SMALL_NOTE, items=result.items, groups=result.groups)] if result.groups < _FEW_GROUPS else []
    return AdapterResult(
        head, result, report_of(head, result, notes) | {"parts": {part: int((parts == place).sum()) for place, part in enumerate(PARTS)}}
    )


def _to_tell_apart(found: Examples, only: Sequence[str], name: str, several: str) -> tuple[list[str], Examples, bool]:
    """The labels to learn, the examples, and whether the labels exclude one another: then each example has one of them; of findings, what
    has another label of the set is an example that none of them is there. Raises UsageError."""
    labels = _chosen(found.labels, only, name)
    counts = [len(set(own) & set(labels)) for own in found.labels]
    twice = sum(count > 1 for count in counts)
    exclusive = several == "one" or (several == "auto" and not twice)
    found = found.taken(np.array(counts) > 0 if exclusive else np.array([bool(own) for own in found.labels]))
    if exclusive and twice:
        raise UsageError(
            "{twice} images have several labels of the set, which is not possible where only one is right; use many.", twice=twice
        )
    if exclusive and len(labels) < 2 and only:
        raise UsageError(
            "Only the label {label} was named, and an adapter needs at least two to tell apart; name more, or learn it as a finding (many).",
            label=labels[0],
        )
    if exclusive and len(labels) < 2:
        raise UsageError(
            "All the labelled images have the same label ({label}); an adapter needs at least two labels to tell apart.", label=labels[0]
        )
    if len(labels) > 1000:
        raise UsageError(
            "The set has {count} different labels, and an adapter tells at most 1000 apart; name only those that matter.",
            count=len(labels),
        )
    return labels, found, exclusive


def _chosen(given: Sequence[tuple[str, ...]], only: Sequence[str], name: str) -> list[str]:
    """The labels to learn, in alphabetical order."""
    held = {label for own in given for label in own}
    if not held:
        raise UsageError("No image of the index has a label of the set '{name}'; label some with `index label`.", name=name[:80])
    missing = [label for label in only if label not in held]
    if missing:
        raise UsageError("No image has the label '{label}' of the set '{name}'; see `index labels`.", label=missing[0][:80], name=name[:80])
    return sorted(set(only) or held)


def measure(head: Head, examples: Examples) -> Figures | None:
    """Figures of a head on labelled examples; None where there are none."""
    truth = truth_table(examples.labels, head.labels)
    if not truth.any():
        return None
    keep = truth.sum(axis=1) == 1 if head.exclusive else np.array([bool(own) for own in examples.labels])
    examples, truth = examples.taken(keep), truth[keep]
    if not len(truth):
        return None
    return figures(head.probabilities(examples.vectors), truth, head.labels, examples.groups, exclusive=head.exclusive)


def evaluate(index: EmbeddingIndex, head: Head, *, name: str = "", part: str = "test", patients: str = "") -> AdapterResult:
    """Measure a head on an index.

    Args:
        index: open; its vectors must be of the head's kind.
        head: to measure.
        name: of the set of labels, the head's own where empty.
        part: "test": the series that were kept for testing; "new": those that the head has never met; "all": every one, for which the
            figures are too good.
        patients: as for `gather`; the set that the head was trained with where empty and the index has it. What is of a patient whose
            other images the head has met is left out of "test" and "new".

    Raises:
        UsageError: nothing to measure on, or vectors of another kind.
    """
    if part not in ("test", "new", "all"):
        raise UsageError("An adapter is measured on test, new or all, not on '{part}'.", part=part)
    if head.provenance not in index.spaces():
        head.require(largest_space(index, ""))
    trained_with = head.settings.get("patients", "")
    patients = patients or (trained_with if trained_with in [one.set for one in index.label_sets()] else "")
    found = gather(index, name or head.name, by=head.by, patients=patients, provenance=head.provenance)
    notes = ["The adapter was trained on part of these images, so the figures are better than on new images."] if part == "all" else []
    if part != "all":
        found, left_out = _unmet(head, found, part)
        notes += [Sentence(LEFT_OUT_NOTE, count=left_out)] if left_out else []
    result = measure(head, found)
    if result is None:
        raise UsageError(
            "No image of the {part} part has a label that the adapter knows; label some, or measure on another part.", part=part
        )
    notes += [] if patients else [SERIES_NOTE]
    notes += [Sentence(SMALL_NOTE, items=result.items, groups=result.groups)] if result.groups < _FEW_GROUPS else []
    return AdapterResult(head, result, report_of(head, result, notes) | {"part": part})


def _unmet(head: Head, found: Examples, part: str) -> tuple[Examples, int]:
    """Those of a part ("test" or "new") whose patients the head has not met otherwise, and how many that leaves out."""
    belongs = {series: place for place, own in enumerate(PARTS) for series in head.split.get(own, [])}
    parts = np.array([belongs.get(series, -1) for series in found.series()], int)
    test = PARTS.index("test")
    inside = parts == (test if part == "test" else -1)
    met = (parts >= 0) & (parts != test) if part == "test" else parts >= 0
    keep = inside & ~np.isin(found.groups, found.groups[met])
    return found.taken(keep), int(inside.sum() - keep.sum())


@dataclass(slots=True, frozen=True)
class Told:
    """What a head says of one image or series: probabilities in the order of its labels."""

    id: int
    record: Record
    probabilities: np.ndarray

    def ranked(self, labels: Sequence[str]) -> list[tuple[str, float]]:
        """(label, probability), the likeliest first."""
        return [(labels[place], float(self.probabilities[place])) for place in np.argsort(-self.probabilities, kind="stable")]


def apply_to_index(index: EmbeddingIndex, head: Head, *, write: str = "", least: float = 0.5) -> list[Told]:
    """Ask a head about everything in an index.

    Args:
        index: open.
        head: to ask.
        write: a set of labels in which the answers are kept, "" for none. What people labelled is in sets of its own: an existing set that
            holds other labels than the head's is refused.
        least: probability from which on an answer is kept.
    """
    if head.provenance not in index.spaces():
        head.require(largest_space(index, ""))
    if write and write == head.name:
        raise UsageError("The set '{write}' is what the adapter learned from; give its answers a set of their own.", write=write[:80])
    found = gather(index, "", by=head.by, provenance=head.provenance)
    told = [Told(number, found.records[number], own) for number, own in zip(found.ids, head.probabilities(found.vectors), strict=True)]
    if write:
        index.add_labels(_kept(told, head, write, least))
    return told


def _kept(told: Sequence[Told], head: Head, name: str, least: float) -> list[PlaceLabel]:
    labels = []
    for one in told:
        for label, probability in one.ranked(head.labels)[: 1 if head.exclusive else None]:
            if probability >= least and one.record.series:
                labels.append(
                    PlaceLabel(name, label, one.record.series) if head.by != "slice" else label_of_record(name, label, one.record)
                )
    return labels


def apply_to_records(records: Sequence[Record], head: Head, provenance: Provenance) -> list[Told]:
    """Ask a head about images that were just embedded."""
    head.require(provenance)
    if head.by == "slice":
        answers = head.probabilities(np.stack([record.vector for record in records]))
        return [Told(number, record, own) for number, (record, own) in enumerate(zip(records, answers, strict=True))]
    by_series: dict[str, list[Record]] = {}
    for record in records:
        by_series.setdefault(record.series, []).append(record)
    vectors = np.stack([pool_vectors(np.stack([record.vector for record in own]), head.by) for own in by_series.values()])
    heads = [own[len(own) // 2] for own in by_series.values()]
    return [Told(number, record, own) for number, (record, own) in enumerate(zip(heads, head.probabilities(vectors), strict=True))]


def report_of(head: Head, result: Figures | None, warnings: Sequence[str]) -> dict:
    """What a report says of a head."""
    made = head.provenance
    details = {
        "preprocessing": made.preprocessing, "adapter": head.kind, "set": head.name, "labels": list(head.labels), "exclusive": head.exclusive,
        "by": head.by, "settings": head.settings, "figures": result.plain() if result is not None else None,
    }  # fmt: skip
    return Report(model=made.model, engine=made.engine or None, warnings=warnings, details=details).as_dict()
