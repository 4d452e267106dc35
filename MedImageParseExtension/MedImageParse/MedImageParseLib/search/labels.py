"""What people know of the images in an index: labels, each in a named set, of a slice, a picture, or a series as a whole.

A set is one question ("modality", "side", "diagnosis"). A place may have several labels in a set (a chest X-ray with two findings). What is
said of a slice goes before what is said of its series. Labels never leave the index but by export; they may say something about a
patient, so whoever chooses their source answers for that.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..remedies import Sentence
from .faults import BrokenContent
from .records import HIGHEST_SLICE, Record, is_text
from .texts import USED, number_text, text_number

WHOLE = -2  # the slice of a label that holds for a series as a whole
LONGEST_LABEL = 200  # letters
MOST_LABELS = 5_000_000  # of one index


def is_label(value: object) -> bool:
    """Whether this may be a label, or the name of a set: a text of usual length on one line, without characters that a terminal obeys."""
    return is_text(value, LONGEST_LABEL) and isinstance(value, str) and bool(value.strip()) and value.isprintable()


@dataclass(slots=True, frozen=True)
class PlaceLabel:
    """One label of one place.

    Attributes:
        set: the name of the set.
        label: what is said of the place.
        series: the series' stable name, as its records have it.
        plane: "axial", "sagittal", "coronal"; "" for a series as a whole, and so for a picture.
        slice_index: as the record has it; WHOLE for a series or a picture.
    """

    set: str
    label: str
    series: str
    plane: str = ""
    slice_index: int = WHOLE

    def fault(self) -> str:
        """What is wrong with it, as a clause; "" for nothing."""
        for words, value in (("the set's name", self.set), ("the label", self.label)):
            if not is_label(value):
                return Sentence("{words} is not a text of 1 to {longest_label} printable letters", words=words, longest_label=LONGEST_LABEL)
        if not is_text(self.series) or not self.series or not is_text(self.plane):
            return "it belongs to no series"
        if type(self.slice_index) is not int or not WHOLE <= self.slice_index <= HIGHEST_SLICE:
            return "its slice cannot be"
        return ""


@dataclass(slots=True, frozen=True)
class LabelCounts:
    """A set of labels and how often each was given, the most frequent first."""

    set: str
    counts: dict[str, int]


def label_of_record(name: str, label: str, record: Record) -> PlaceLabel:
    """The label for the place of a record: its slice, or its series where that is a picture or has one vector for all of it."""
    if record.kind != "slice":
        return PlaceLabel(name, label, record.series)
    return PlaceLabel(name, label, record.series, record.plane, int(record.slice_index))


def labels_of(records: Mapping[int, Record], labels: Iterable[PlaceLabel]) -> dict[int, tuple[str, ...]]:
    """The labels of each record in one set, in alphabetical order; records without any are left out.

    Args:
        records: by number.
        labels: of one set. Those of the slice itself replace those of its series.
    """
    by_place: dict[tuple[str, str, int], set[str]] = {}
    for one in labels:
        by_place.setdefault((one.series, one.plane if one.slice_index != WHOLE else "", one.slice_index), set()).add(one.label)
    found = {}
    for number, record in records.items():
        own = None if record.kind != "slice" else by_place.get((record.series, record.plane, int(record.slice_index)))
        given = own or by_place.get((record.series, "", WHOLE))
        if given and record.series:
            found[number] = tuple(sorted(given))
    return found


def checked_labels(labels: Iterable[PlaceLabel]) -> list[PlaceLabel]:
    """The labels, ready to be stored, each once.

    Raises:
        UsageError: one that cannot be kept, or far too many.
    """
    kept = list(dict.fromkeys(labels))
    for label in kept:
        if wrong := label.fault():
            raise UsageError("A label cannot be kept in an index: {wrong}.", wrong=wrong)
    if len(kept) > MOST_LABELS:
        raise UsageError("These are {count} labels; an index keeps at most {most_labels}.", count=len(kept), most_labels=MOST_LABELS)
    return kept


def write(connection: sqlite3.Connection, labels: Sequence[PlaceLabel], *, replace: bool) -> int:
    """Store labels, inside the caller's transaction.

    Args:
        connection: the index.
        labels: checked ones.
        replace: what these places had in these sets goes first; else it stays beside what is new.

    Returns:
        how many were not there before.
    """
    numbers: dict[str, int] = {}
    rows = []
    for one in labels:
        texts = (one.set, one.label, one.series, one.plane if one.slice_index != WHOLE else "")
        rows.append((*(number_text(connection, numbers, text) for text in texts), one.slice_index))
    if replace:
        places = {(name, series, plane, index) for name, _, series, plane, index in rows}
        connection.executemany("DELETE FROM labels WHERE name = ? AND series = ? AND plane = ? AND slice = ?", sorted(places))
    before = connection.total_changes
    connection.executemany("INSERT OR IGNORE INTO labels (name, label, series, plane, slice) VALUES (?, ?, ?, ?, ?)", rows)
    return connection.total_changes - before


def read(connection: sqlite3.Connection, name: str = "") -> list[PlaceLabel]:
    """The labels of a set, or of all sets, in the order in which they came.

    Raises:
        BrokenContent: something that cannot be a label.
    """
    query = (
        "SELECT name.text, label.text, series.text, plane.text, slice FROM labels JOIN texts AS name ON name.id = name "
        "JOIN texts AS label ON label.id = label JOIN texts AS series ON series.id = series JOIN texts AS plane ON plane.id = plane"
    )
    values: tuple = ()
    if name:
        number = text_number(connection, name)
        query, values = f"{query} WHERE name = ?", (-1 if number is None else number,)
    found = [PlaceLabel(*row) for row in connection.execute(f"{query} ORDER BY labels.id LIMIT {MOST_LABELS}", values)]
    if any(label.fault() for label in found):
        raise BrokenContent("a label is unreadable")
    return found


def count(connection: sqlite3.Connection) -> list[LabelCounts]:
    """The sets in alphabetical order, with the places that have each label."""
    query = (
        "SELECT name.text, label.text, count(*) FROM labels JOIN texts AS name ON name.id = name "
        f"JOIN texts AS label ON label.id = label GROUP BY name, label LIMIT {MOST_LABELS}"
    )
    sets: dict[str, Counter[str]] = {}
    for name, label, number in connection.execute(query):
        if not isinstance(name, str) or not isinstance(label, str):
            raise BrokenContent("a label is unreadable")
        sets.setdefault(name, Counter())[label] = number
    return [LabelCounts(name, dict(sorted(sets[name].items(), key=lambda one: (-one[1], one[0])))) for name in sorted(sets)]


def drop(connection: sqlite3.Connection, name: str) -> int:
    """Remove a set with its labels; gives how many there were."""
    number = text_number(connection, name)
    removed = connection.execute("DELETE FROM labels WHERE name = ?", (-1 if number is None else number,)).rowcount
    connection.execute(f"DELETE FROM texts WHERE id > 0 AND id NOT IN ({USED})")
    return removed


def drop_orphans(connection: sqlite3.Connection) -> None:
    """Remove the labels of places that have no record any more: what a person removes from an index is not to stay in it as a label."""
    if connection.execute("SELECT 1 FROM labels LIMIT 1").fetchone():
        connection.execute(f"DELETE FROM labels WHERE slice = {WHOLE} AND series NOT IN (SELECT series FROM records)")
        connection.execute(
            f"DELETE FROM labels WHERE slice <> {WHOLE} AND (series, plane, slice) NOT IN (SELECT series, plane, slice FROM records)"
        )
