"""The console API for labels in an index. Option names are those of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..tasks.run import Report
from .calls import in_sentences
from .embed import open_index
from .insight_options import LabelOptions, Path_

if TYPE_CHECKING:
    from ..search.labels import LabelCounts
    from ..search.records import Record
    from ..tasks.labelling import Labelling

_SOURCES = ("csv", "folders", "dicom", "segments", "label")


@dataclass(slots=True)
class LabelResult:
    """What became of labels.

    Attributes:
        added: how many were not there before.
        sets: the sets that were written to, with how many places have each label.
        report: plain JSON types; its `warnings` name what found no place.
    """

    added: int
    sets: list[LabelCounts]
    report: dict = field(default_factory=dict)


@in_sentences
def index_label(
    index: Path_,
    *,
    set: str,
    options: LabelOptions,
) -> LabelResult:
    """Label what an index holds, from one of several sources.

    Args:
        index: the file.
        set: the name of the set of labels, such as "modality" or "patient".
        options: where labels come from, and which images they are for; each of its fields is a keyword too.

    Raises:
        UsageError, InputError, IndexFault: one sentence; the index is as it was.

    Examples:
        >>> index_label("studies.index", set="class", folders=1).added  # doctest: +SKIP
        120
    """
    given = [name for name in _SOURCES if getattr(options, name)]
    if len(given) != 1:
        raise UsageError("Say where the labels come from: csv, folders, dicom, segments or label, one of these.")
    source = options.source
    names = [source] if isinstance(source, str) and source else list(source)
    with open_index(index) as opened:
        records = opened.records()
        made = _labelling(records, set, given[0], names, options)
        added = opened.add_labels(made.labels, replace=not options.beside)
        written = {one.set for one in made.labels}
        sets = [one for one in opened.label_sets() if one.set in written]
    report = Report(warnings=made.warnings(), details={"added": added, "sets": {one.set: one.counts for one in sets}})
    return LabelResult(added, sets, report.as_dict())


@in_sentences
def index_labels(index: Path_) -> list[LabelCounts]:
    """The sets of labels of an index, each with how many places have each label."""
    with open_index(index) as opened:
        return opened.label_sets()


@in_sentences
def index_unlabel(index: Path_, *, set: str) -> int:
    """Remove a set of labels; the images stay. Returns how many labels there were."""
    with open_index(index) as opened:
        return opened.remove_labels(set)


def _labelling(records: dict[int, Record], name: str, kind: str, names: Sequence[str], options: LabelOptions) -> Labelling:
    from ..tasks import labelling

    if kind == "csv":
        from ..search.label_sets import read_rows

        path = Path(options.csv or "").expanduser()
        return labelling.from_table(records, read_rows(path), name, path.parent)
    if kind == "folders":
        return labelling.from_folders(records, name, options.folders)
    if kind == "dicom":
        from ..files.headers import IDENTIFYING, check_field, read_fields

        dicom = options.dicom
        check_field(dicom)

        def read(path: str, uid: str) -> str | None:
            found = read_fields(path, [dicom], uid)
            return None if found is None else found.get(dicom, "")

        return labelling.from_headers(records, name, read, is_identifying=dicom in IDENTIFYING, numbered=_numbered(dicom))
    if kind == "segments":
        from ..cohort.labels import read_labels
        from ..imaging.volume import Volume

        held = read_labels(Path(options.segments or ""))
        grid = Volume(np.broadcast_to(np.uint8(0), held.shape_kji), held.ijk_to_ras)
        return labelling.from_segments(records, name, grid, held.masks, names, least=options.least, absent=options.absent)
    return labelling.by_choice(records, name, options.label, list(options.ids), names)


def _numbered(field: str) -> str:
    """What a number in place of a value is called."""
    return "patient" if field.startswith("Patient") else "study" if field.startswith("Study") else "value"
