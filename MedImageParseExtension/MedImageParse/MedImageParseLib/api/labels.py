"""The console API for labels in an index, and for how well its search finds what has the same label. Option names are those of the command line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import check_writable, write_atomically
from ..tasks.run import Report
from .calls import in_sentences
from .embed import open_index
from .insight_options import LabelOptions, Path_, RetrievalOptions

if TYPE_CHECKING:
    from ..search.labels import LabelCounts, PlaceLabel
    from ..search.records import Record
    from ..tasks.labelling import Labelling
    from ..tasks.retrieval import RetrievalResult, Worst

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
        made = _labelling(records, set, given[0], names, options, opened.labels(set) if options.dicom else [])
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


def _labelling(
    records: dict[int, Record], name: str, kind: str, names: Sequence[str], options: LabelOptions, held: Sequence[PlaceLabel]
) -> Labelling:
    """Labels as the options say; `held` are those that the set has, for a DICOM field."""
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

        return labelling.from_headers(records, name, read, is_identifying=dicom in IDENTIFYING, numbered=_numbered(dicom), held=held)
    if kind == "segments":
        from ..cohort.labels import read_labels
        from ..imaging.volume import Volume

        found = read_labels(Path(options.segments or ""))
        grid = Volume(np.broadcast_to(np.uint8(0), found.shape_kji), found.ijk_to_ras)
        return labelling.from_segments(records, name, grid, found.masks, names, least=options.least, absent=options.absent)
    return labelling.by_choice(records, name, options.label, list(options.ids), names)


def _numbered(field: str) -> str:
    """What a number in place of a value is called."""
    return "patient" if field.startswith("Patient") else "study" if field.startswith("Study") else "value"


@in_sentences
def index_evaluate(index: Path_, *, labels: str, options: RetrievalOptions) -> RetrievalResult:
    """How good the search of an index is: each labelled image asks, images of other patients answer; no endpoint takes part.

    Args:
        index: the file.
        labels: the set of labels: the same label counts as right.
        options: how it is measured, and what is drawn; each of its fields is a keyword too.

    Returns:
        RetrievalResult: `.rankings["vectors"].mean` beside "random", "demo descriptors" and "adapter features".
    """
    from ..search.heads import load_head
    from ..tasks.retrieval import evaluate_search

    path = check_writable(options.picture, (".png",)) if options.picture else None
    check_outputs({"picture": path}, [index, *([options.adapter] if options.adapter else [])])
    head = load_head(options.adapter) if options.adapter else None
    try:
        depths = [int(part) for part in options.k.split(",")]
    except ValueError:
        raise UsageError("Give the numbers of results to look at as whole numbers, such as 1,3,5.") from None
    with open_index(index) as opened:
        result = evaluate_search(
            opened, labels, patients=options.patients, depths=depths, recipe=options.recipe, describe=_describe, head=head
        )
    if path:
        _write_worst(path, result.worst)
    return result


def _describe(png: bytes) -> np.ndarray | None:
    from PIL import Image

    from ..engines.classical.descriptors import describe_image

    try:
        with Image.open(io.BytesIO(png)) as picture:
            return describe_image(np.asarray(picture.convert("RGB")))
    except OSError:
        return None


def _write_worst(path: Path, worst: list[Worst]) -> None:
    """One row a query: the query, then what it found."""
    from PIL import Image

    from ..files.figures import Tile, render_result_grid
    from ..tasks.find_similar import name_of

    sheets = []
    for one in worst:
        query = Tile(one.query.thumbnail, name_of(one.query), ", ".join(one.labels))
        found = [Tile(record.thumbnail, name_of(record), ", ".join(labels), similarity) for record, labels, similarity in one.found]
        sheets.append(render_result_grid(query, found))
    sheet = Image.new("RGB", (max(one.width for one in sheets), sum(one.height for one in sheets)))
    top = 0
    for row in sheets:
        sheet.paste(row, (0, top))
        top += row.height
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", compress_level=6)
    write_atomically(path, buffer.getvalue())
