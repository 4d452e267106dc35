"""Labels for what an index holds: from a table, folder names, DICOM headers, segmentations, or by choice.

Every function gives labels and says what it found no place for; `EmbeddingIndex.add_labels` stores them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..imaging.geometry import SliceView
from ..imaging.volume import CroppedMask, Volume
from ..remedies import Sentence, few
from ..search.labels import LONGEST_LABEL, PlaceLabel, label_of_record
from ..search.records import Record
from .choosing import belongs

_HEADS = {
    "label": "label", "class": "label", "labels": "label", "set": "set", "id": "id", "hash": "hash", "content_hash": "hash", "series": "series",
    "image": "name", "file": "name", "filename": "name", "name": "name", "path": "name", "source": "name", "plane": "plane", "slice": "slice",
}  # fmt: skip
_PLACES = ("id", "hash", "series", "name")


@dataclass(slots=True)
class Labelling:
    """Labels for places, and what could not be used.

    Attributes:
        labels: in the order found.
        unmatched: what names no record of the index, as the person knows it.
        notes: sentences to show.
    """

    labels: list[PlaceLabel] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """The notes, and a sentence on what found no place."""
        if not self.unmatched:
            return self.notes
        return [*self.notes, f"{len(self.unmatched)} found no place in the index: {few(self.unmatched, 3)}."]


def by_choice(records: Mapping[int, Record], name: str, label: str, ids: Iterable[int] = (), names: Sequence[str] = ()) -> Labelling:
    """One label for records by number (their own slices), and for the series that names mean.

    Args:
        records: those of the index, by number.
        name: of the set.
        label: to give.
        ids: record numbers.
        names: as `choosing.belongs` takes them.

    Raises:
        UsageError: nothing named, or nothing of it is there.
    """
    ids = list(ids)
    made = Labelling(unmatched=[f"record {number}" for number in ids if number not in records])
    made.labels = [label_of_record(name, label, records[number]) for number in ids if number in records]
    series = {record.series for record in records.values() if names and belongs(record, names)} - {""}
    made.labels += [PlaceLabel(name, label, one) for one in sorted(series)]
    return _found(made, Sentence("nothing in the index has these names or numbers"))


def from_table(records: Mapping[int, Record], rows: Sequence[Sequence[str]], name: str, folder: Path) -> Labelling:
    """Labels from the rows of a CSV file with a header.

    Columns: `label` (several of one place divided by |), one of `id`, `content_hash`, `series` or `name` (a file's name that no
    other has, or its path, from the table's folder where it is relative), and where wanted `plane` and `slice`, and `set`.

    Args:
        records: those of the index, by number.
        rows: cells, the header first.
        name: of the set, where the row does not say.
        folder: of the table.

    Raises:
        UsageError: columns are missing, a slice is no number, or nothing fits.
    """
    heads = [_HEADS.get(cell.strip().lower(), "") for cell in rows[0]]
    key = next((head for head in _PLACES if head in heads), "")
    if "label" not in heads or not key:
        raise UsageError("The table needs a header with a column `label`, and one of `name`, `series`, `id` or `content_hash`.")
    find = _finder(records, key, folder)
    made, doubtful = Labelling(), list[str]()
    for number, row in enumerate(rows[1:], start=2):
        cells = {head: cell.strip() for head, cell in zip(heads, row, strict=False) if head}
        meant, labels = cells.get(key, ""), [part.strip() for part in cells.get("label", "").split("|") if part.strip()]
        if not labels:
            continue
        found = find(meant)
        if key == "name" and len({one.series for one in found}) > 1 < len({one.source or one.series for one in found}):
            doubtful.append(meant[:80])
            continue
        places = _places(found, cells, key, number)
        if not places:
            made.unmatched.append(meant[:80] or f"line {number}")
        for place in places:
            made.labels += [replace(place, set=cells.get("set") or name, label=label[:LONGEST_LABEL]) for label in labels]
    made.labels = list(dict.fromkeys(made.labels))
    if not doubtful:
        return _found(made, Sentence("no line of the table has a label and fits an image of the index"))
    made.notes.append(f"{few(doubtful, 3)}: several files of the index have this name, so none got its label; give their paths.")
    return _found(made, Sentence("several files of the index have the name {name}; give their paths", name=doubtful[0]))


def _finder(records: Mapping[int, Record], key: str, folder: Path) -> Callable[[str], list[Record]]:
    """A function that gives the records that a cell means."""
    by: dict[str, list[Record]] = {}
    for number, record in records.items():
        keys = {"id": [str(number)], "hash": [record.content_hash], "series": [record.series]}.get(key)
        if keys is None:
            keys = [record.source, str(record.position.get("name", "")), os.path.basename(record.source)]
        for one in dict.fromkeys(keys):
            if one:
                by.setdefault(one, []).append(record)
    if key != "name":
        return lambda cell: by.get(cell, [])
    return lambda cell: by.get(os.path.abspath(folder / os.path.expanduser(cell)), []) or by.get(cell, []) if cell else []


def _places(records: list[Record], cells: Mapping[str, str], key: str, line: int) -> list[PlaceLabel]:
    """The places that a line means, without set and label: a slice where it says so, else the series, or the records themselves."""
    index = cells.get("slice", "")
    if index and not index.isdecimal():
        raise UsageError("Line {line} of the table has the slice '{slice}', which is no whole number.", line=line, slice=index[:40])
    if index:
        plane = cells.get("plane", "")
        chosen = [record for record in records if record.slice_index == int(index) and plane in ("", record.plane)]
        return [label_of_record("", "", record) for record in chosen]
    if key in ("id", "hash"):
        return [label_of_record("", "", record) for record in records]
    return [PlaceLabel("", "", series) for series in dict.fromkeys(record.series for record in records) if series]


def from_folders(records: Mapping[int, Record], name: str, level: int = 1) -> Labelling:
    """The name of the folder that a file lies in as its label.

    Args:
        records: those of the index, by number.
        name: of the set.
        level: 1 for the folder itself, 2 for the one above it.

    Raises:
        UsageError: the index keeps no paths, or a level below 1.
    """
    if level < 1:
        raise UsageError("The level of the folder is 1 for the one that holds the file, 2 for the one above, and so on.")
    made = Labelling()
    for series, path, _uid in _files_of(records):
        parents = Path(path).parents
        folder = parents[level - 1].name if len(parents) >= level else ""
        if folder:
            made.labels.append(PlaceLabel(name, folder[:LONGEST_LABEL], series))
        else:
            made.unmatched.append(os.path.basename(path))
    why = Sentence("no file of the index lies in so many folders") if made.unmatched else Sentence("the index knows no paths of its images")
    return _found(made, why)


def from_headers(
    records: Mapping[int, Record], name: str, read: Callable[[str, str], str | None], *, is_identifying: bool, numbered: str = "patient",
    held: Iterable[PlaceLabel] = (),
) -> Labelling:  # fmt: skip
    """A value of each series' DICOM header as its label.

    Args:
        records: those of the index, by number.
        name: of the set.
        read: gives the value for a path and a series' UID; "" where the field is empty, None where there is no DICOM file any more.
        is_identifying: the values must not be stored; numbers take their place, equal for equal values.
        numbered: what such a number is called.
        held: the set's labels so far. Those of series that are not read stay, and their numbers are not given to others.

    Raises:
        UsageError: nothing was found.
    """
    made, values = Labelling(), dict[str, str]()
    for series, path, uid in _files_of(records):
        value = read(path, uid)
        if not value:
            made.unmatched.append(os.path.basename(path))
            continue
        values[series] = value
    if is_identifying:
        staying = {one.label for one in held if one.series not in values}
        free = (label for label in (f"{numbered} {number}" for number in itertools.count(1)) if label not in staying)
        numbers = {value: next(free) for value in dict.fromkeys(values.values())}
        values = {series: numbers[value] for series, value in values.items()}
        if staying:
            made.notes.append("Images whose files were not read keep their numbers, which may be those of the same people.")
    made.labels = [PlaceLabel(name, value[:LONGEST_LABEL], series) for series, value in values.items()]
    if is_identifying:
        made.notes.append(f"The values identify people, so the index keeps numbers in their place ({numbered} 1, {numbered} 2, …).")
    return _found(made, Sentence("no image of the index has a DICOM file with that field"))


def _files_of(records: Mapping[int, Record]) -> list[tuple[str, str, str]]:
    """Series, path and the series' DICOM UID, each once."""
    found = ((record.series, record.source, str(record.position.get("dicom_series", ""))) for record in records.values())
    return [one for one in dict.fromkeys(found) if one[0] and one[1]]


def from_segments(
    records: Mapping[int, Record],
    name: str,
    grid: Volume,
    masks: Mapping[str, CroppedMask],
    names: Sequence[str] = (),
    *,
    least: int = 1,
    absent: str = "",
) -> Labelling:
    """The segments that are seen on a slice as its labels.

    Args:
        records: those of the index, by number.
        name: of the set.
        grid: a volume on the segmentation's grid, for its axes; its voxels do not matter.
        masks: by segment name, in that grid.
        names: which volumes the segmentation belongs to, as `choosing.belongs` takes them; where there are none, the one of its size.
        least: pixels of a segment that make it count.
        absent: a label for slices without any segment, "" for none.

    Raises:
        UsageError: no volume, or several, of the segmentation's size.
    """
    size = list(grid.shape_kji)
    fitting = {number: one for number, one in records.items() if one.kind == "slice" and one.position.get("size_kji") == size}
    if names:
        fitting = {number: one for number, one in fitting.items() if belongs(one, names)}
    series = {one.series for one in fitting.values()}
    if not fitting or (len(series) > 1 and not names):
        what = "no volume" if not fitting else f"{len(series)} volumes"
        raise UsageError(
            "The index holds {what} of the segmentation's size ({size} voxels); name the volume that it belongs to.",
            what=what,
            size=" x ".join(map(str, size[::-1])),
        )
    made = Labelling()
    pixels = {plane: _pixels_by_slice(grid, masks, plane) for plane in {one.plane for one in fitting.values()}}
    for record in fitting.values():
        counts = pixels[record.plane]
        seen = [segment for segment, by_slice in counts.items() if by_slice[record.slice_index] >= least]
        made.labels += [label_of_record(name, segment[:LONGEST_LABEL], record) for segment in seen or [absent] if segment]
    return _found(made, Sentence("no segment is seen on any slice"))


def _pixels_by_slice(grid: Volume, masks: Mapping[str, CroppedMask], plane: str) -> dict[str, np.ndarray]:
    """For each segment, how many of its voxels lie on each slice of a plane."""
    axis = SliceView.of(grid, plane).axes.order[0]
    others = tuple(number for number in range(3) if number != axis)
    found = {}
    for segment, mask in masks.items():
        counts = np.zeros(grid.shape_kji[axis], np.int64)
        if mask.voxels.size:
            start = mask.box[axis].start
            inside = np.count_nonzero(mask.voxels, axis=others)
            counts[start : start + len(inside)] = inside
        found[segment] = counts
    return found


def _found(made: Labelling, why: Sentence) -> Labelling:
    if not made.labels:
        raise UsageError("No label was given, as {why}; see `index info` for what it holds.", why=why)
    return made
