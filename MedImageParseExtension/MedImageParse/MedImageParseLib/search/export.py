"""An index as one file for others: NumPy's .npz, or Parquet where the package pyarrow is installed.

.npz: `format` is "medimageparse index 1"; `spaces` the provenances as JSON bytes: a list of [model, deployment, engine, preprocessing];
for the n-th of them `vectors_n`, float32 (rows, length); `records_n`, JSON bytes: a list with one list a row of [content hash, kind,
source, series, plane, slice index, position, added]; `thumbnails_n`, all PNGs one after the other, and `thumbnail_ends_n`, the byte
behind each; `factors`, where it is there, the scaling factor of each space as JSON bytes (null for none); `labels`, where it is there, the
labels of places as JSON bytes: a list of [set, label, series, plane, slice index], the last -2 for the series as a whole. Nothing in it is
pickled. A content that is shown at several places stands there once for each.

Parquet: one row a record with the same names, the position as JSON, and the four parts of the provenance; factors and labels as JSON in the
schema's metadata.

A file to import may come from anybody. It is read and checked as a whole before anything is stored: sizes before contents, the headers of
arrays before their data, and each field by records.Record.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ..errors import InputError, UsageError
from ..files.write import check_writable, write_whole
from ..packages import require
from ..remedies import Sentence
from .archive import FREE_BYTES, NO_ARCHIVE, UNFOLDS, UNREADABLE, check_size, json_bytes, read_array, read_json
from .faults import IndexFault
from .info import IndexInfo
from .labels import MOST_LABELS, PlaceLabel
from .records import LARGEST_THUMBNAIL, LONGEST_NAME, LONGEST_TEXT, LONGEST_VECTOR, Provenance, Record, are_names, unit_rows
from .vector_files import is_embed_file, read_embed_file, read_lines

FORMAT = "medimageparse index 1"
_ENDINGS = (".npz", ".parquet")
_MOST_SPACES = 1000
_LEAST_ROW = 64  # bytes of any row: its hash alone has as many letters
_SPACE = ("model", "deployment", "engine", "preprocessing")
_TEXTS = ("content_hash", "kind", "source", "series", "plane", "position", "added")
_COLUMNS = ("content_hash", "kind", "source", "series", "plane", "slice_index", "position", "added")


class Index(Protocol):
    """What is needed of an index; index.EmbeddingIndex is one, and its methods say more."""

    def spaces(self, *, readable_only: bool = False) -> list[Provenance]: ...
    def rows_of(self, provenance: Provenance, *, readable_only: bool = False) -> Iterator[tuple[Record, np.ndarray]]: ...
    def info(self) -> IndexInfo: ...
    def labels(self) -> list[PlaceLabel]: ...
    def add(self, records: Iterable[Record], provenance: Provenance, *, factor: float | None = None) -> int: ...
    def add_labels(self, labels: Iterable[PlaceLabel], *, replace: bool = True) -> int: ...


def export(index: Index, path: str | os.PathLike, *, readable_only: bool = False) -> int:
    """Write all records of an index, whole file or none.

    Args:
        index: open; it is only read.
        path: ending in .npz or .parquet; an existing file is replaced.
        readable_only: write what can be read of a damaged index.

    Returns:
        how many records were written.

    Raises:
        UsageError: another ending, a folder that cannot be written, pyarrow missing.
        IndexFault: the index is damaged (and `readable_only` is not set).
    """
    path = check_writable(path, _ENDINGS)
    write = _write_npz if path.name.lower().endswith(".npz") else _write_parquet
    spaces = index.spaces(readable_only=readable_only)
    parts = [(space, list(index.rows_of(space, readable_only=readable_only))) for space in spaces]
    parts = [(space, rows) for space, rows in parts if rows]
    factors = {} if readable_only else {space.provenance: space.factor for space in index.info().spaces}
    labels: list[PlaceLabel] = []
    with suppress(IndexFault) if readable_only else nullcontext():
        labels = index.labels()
    write_whole(path, lambda file: write(file, parts, [factors.get(space) for space, _ in parts], labels))
    return sum(len(rows) for _, rows in parts)


def read_records(path: str | os.PathLike) -> Read:
    """All of an exported file, of a .npz of `embed` or of a list of JSON lines, checked as a whole.

    Raises:
        UsageError: another ending, or pyarrow missing.
        InputError: the file is missing, damaged, or was not exported from an index.
    """
    path = Path(path).expanduser()
    name = path.name.lower()
    if not name.endswith((*_ENDINGS, ".jsonl")):
        raise UsageError(
            "The file {name} cannot be imported: its name must end with {listed} or .jsonl.", name=path.name, listed=", ".join(_ENDINGS)
        )
    if not path.is_file():
        raise InputError("There is no file {path}; choose one that was exported from an index.", path=path)
    read = _read_vectors if name.endswith(".jsonl") else _read_npz if name.endswith(".npz") else _read_parquet
    try:
        if name.endswith(".npz") and is_embed_file(path):
            read = _read_vectors
        return read(path)
    except UNREADABLE as error:
        raise _not_ours(path, str(error)) from error
    except NO_ARCHIVE as error:
        raise _not_ours(path) from error


def add_records(index: Index, found: Read) -> int:
    """Add what `read_records` gives to an index; what is there is skipped. Returns how many were added."""
    parts, labels = found
    added = sum(index.add(records, provenance, factor=factor) for provenance, records, factor in parts)
    if labels:
        index.add_labels(labels, replace=False)
    return added


def _not_ours(path: Path, why: str = "") -> InputError:
    clause = f" ({why})" if why and len(why) < 100 and why.isprintable() else ""
    return InputError("The file {path} was not exported from an index, or it is damaged{clause}; choose another.", path=path, clause=clause)


_Parts = list[tuple[Provenance, list[tuple[Record, np.ndarray]]]]


def _write_npz(file: BinaryIO, parts: _Parts, factors: list[float | None], labels: list[PlaceLabel]) -> None:
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "spaces": json_bytes([list(space.as_tuple) for space, _ in parts])}
    arrays["factors"] = json_bytes(factors)
    arrays["labels"] = json_bytes([_row_of(label) for label in labels])
    for place, (_, rows) in enumerate(parts):
        arrays[f"vectors_{place}"] = np.stack([vector for _, vector in rows])
        arrays[f"records_{place}"] = json_bytes([[getattr(record, column) for column in _COLUMNS] for record, _ in rows])
        arrays[f"thumbnails_{place}"] = np.frombuffer(b"".join(record.thumbnail for record, _ in rows), np.uint8)
        arrays[f"thumbnail_ends_{place}"] = np.cumsum([len(record.thumbnail) for record, _ in rows], dtype=np.int64)
    np.savez(file, **arrays)


def _row_of(label: PlaceLabel) -> list:
    return [label.set, label.label, label.series, label.plane, label.slice_index]


def _labels_from(rows: object) -> list[PlaceLabel]:
    """The labels of a file that may come from anybody. Raises ValueError."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 5 for row in rows):
        raise ValueError("its labels cannot be")
    labels = [PlaceLabel(*row) for row in rows]
    if len(labels) > MOST_LABELS or any(label.fault() for label in labels):
        raise ValueError("a label cannot be")
    return labels


Read = tuple[list[tuple[Provenance, list[Record], float | None]], list[PlaceLabel]]


def _read_vectors(path: Path) -> Read:
    """Vectors of `embed` or of a notebook, checked as those of an export are."""
    found = read_lines(path) if path.name.lower().endswith(".jsonl") else read_embed_file(path)
    return [(space, _sound(records, np.stack([record.vector for record in records])), factor) for space, records, factor in found], []


def _read_npz(path: Path) -> Read:
    with zipfile.ZipFile(path) as archive:
        check_size(archive, path.stat().st_size)
        if str(read_array(archive, "format", "U", 0)) != FORMAT:
            raise InputError(
                "The file {path} was exported by another version or program; this one reads {format}.", path=path, format=FORMAT
            )
        spaces = [_provenance(names) for names in read_json(archive, "spaces", list)]
        factors = read_json(archive, "factors", list) if "factors.npy" in archive.namelist() else [None] * len(spaces)
        if len(spaces) > _MOST_SPACES or len(factors) != len(spaces):
            raise ValueError("its list of spaces cannot be")
        parts = [(space, _records_of(archive, place), _factor(factors[place])) for place, space in enumerate(spaces)]
        return parts, _labels_from(read_json(archive, "labels", list) if "labels.npy" in archive.namelist() else [])


def _provenance(names: object) -> Provenance:
    if not isinstance(names, list) or len(names) != 4 or not are_names(names):
        raise ValueError("its list of spaces cannot be")
    return Provenance(*names)


def _factor(value: object) -> float | None:
    if value is not None and not (isinstance(value, (int, float)) and abs(value) < 1e6):
        raise ValueError("a scaling factor cannot be")
    return None if value is None else float(value)


def _records_of(archive: zipfile.ZipFile, place: int) -> list[Record]:
    vectors = read_array(archive, f"vectors_{place}", "f", 2)
    thumbnails = read_array(archive, f"thumbnails_{place}", "u", 1).tobytes()
    ends = [0, *read_array(archive, f"thumbnail_ends_{place}", "iu", 1).tolist()]
    fields = read_json(archive, f"records_{place}", list)
    if not len(vectors) == len(ends) - 1 == len(fields):
        raise ValueError("its columns have different lengths")
    if ends != sorted(ends) or ends[-1] != len(thumbnails):
        raise ValueError("its thumbnails do not fit")
    records = []
    for row, start, end, vector in zip(fields, ends[:-1], ends[1:], vectors, strict=True):
        if not isinstance(row, list) or len(row) != len(_COLUMNS):
            raise ValueError("a record is incomplete")
        records.append(Record(**dict(zip(_COLUMNS, row, strict=True)), thumbnail=thumbnails[start:end], vector=vector))
    return _sound(records, vectors)


def _sound(records: list[Record], vectors: np.ndarray) -> list[Record]:
    """The records of one space, each field and each vector looked at. Raises ValueError, InputError."""
    for number, record in enumerate(records):
        if wrong := record.fault():
            raise ValueError(Sentence("record {number}: {wrong}", number=number, wrong=wrong))
    if len(vectors):
        if vectors.shape[1] > LONGEST_VECTOR:
            raise ValueError("its vectors are too long")
        with np.errstate(over="ignore"):
            unit_rows(vectors.astype(np.float32))
    return records


def _pyarrow():
    require("pyarrow", "Parquet", "or use a file that ends with .npz instead")
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    return pyarrow


def _write_parquet(file: BinaryIO, parts: _Parts, factors: list[float | None], labels: list[PlaceLabel]) -> None:
    arrow = _pyarrow()
    rows = [(space, record, vector) for space, found in parts for record, vector in found]
    text = arrow.dictionary(arrow.int32(), arrow.string())
    columns = {name: arrow.array([getattr(space, name) for space, _, _ in rows], arrow.string()).cast(text) for name in _SPACE}
    for name in _COLUMNS:
        values = [getattr(record, name) for _, record, _ in rows]
        values = [json.dumps(value, separators=(",", ":")) for value in values] if name == "position" else values
        columns[name] = arrow.array(values, arrow.int64() if name == "slice_index" else arrow.string())
    columns["thumbnail"] = arrow.array([record.thumbnail for _, record, _ in rows], arrow.binary())
    columns["vector"] = arrow.array([vector for _, _, vector in rows], arrow.list_(arrow.float32()))
    given = json.dumps([[list(space.as_tuple), factor] for (space, _), factor in zip(parts, factors, strict=True)])
    said = json.dumps([_row_of(label) for label in labels])
    table = arrow.table(columns).replace_schema_metadata({"format": FORMAT, "factors": given, "labels": said})
    arrow.parquet.write_table(table, file, row_group_size=8192)


def _read_parquet(path: Path) -> Read:
    arrow = _pyarrow()
    parts = []
    try:
        with arrow.parquet.ParquetFile(path, read_dictionary=[*_SPACE, *_TEXTS, "thumbnail"]) as file:
            metadata = file.schema_arrow.metadata or {}
            if metadata.get(b"format", b"").decode() != FORMAT:
                raise InputError(
                    "The file {path} was exported by another version or program; this one reads {format}.", path=path, format=FORMAT
                )
            _check_parquet(file.metadata, path.stat().st_size)
            factors = {_provenance(names): _factor(factor) for names, factor in json.loads(metadata.get(b"factors", b"[]"))}
            for batch in file.iter_batches(batch_size=1024):
                spaces: dict[Provenance, list[Record]] = {}
                made = zip(*(_shared(arrow, batch.column(name), LONGEST_NAME) for name in _SPACE))
                texts = {name: _shared(arrow, batch.column(name), LONGEST_TEXT) for name in _TEXTS}
                positions = {text: json.loads(text) for text in set(texts["position"])}
                texts["position"] = [positions[text] for text in texts["position"]]
                rows = zip(*texts.values(), batch.column("slice_index").to_pylist())
                thumbnails = _shared(arrow, batch.column("thumbnail"), LARGEST_THUMBNAIL)
                for names, row, thumbnail, vector in zip(made, rows, thumbnails, _vectors(arrow, batch.column("vector")), strict=True):
                    record = Record(**dict(zip((*_TEXTS, "slice_index"), row)), thumbnail=thumbnail, vector=vector)
                    spaces.setdefault(_provenance(list(names)), []).append(record)
                for space, records in spaces.items():
                    parts.append((space, _sound(records, np.stack([record.vector for record in records])), factors.get(space)))
            return parts, _labels_from(json.loads(metadata.get(b"labels", b"[]")))
    except arrow.ArrowException as error:
        raise _not_ours(path) from error


def _check_parquet(metadata: Any, size: int) -> None:
    """Raises ValueError where a file would unfold to far more than its size allows: a value that is repeated takes next to nothing in it."""
    claimed, numbers = 0, 0
    for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
        claimed += group.total_byte_size
        for column in (group.column(number) for number in range(group.num_columns)):
            numbers += column.num_values * 4 if column.path_in_schema.startswith("vector.") else 0
            if any(encoding.startswith("DELTA_BYTE") for encoding in column.encodings):
                raise ValueError("its texts are packed in another way than an export's")
    if max(claimed, numbers, metadata.num_rows * _LEAST_ROW) > FREE_BYTES + UNFOLDS * size:
        raise ValueError("it claims to hold far more than its size allows")


def _shared(arrow: Any, column: Any, longest: int) -> list:
    """The texts of a column, one object for all that are equal. Raises ValueError where one is longer than a record's may be."""
    if not arrow.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    known = column.dictionary
    has_lengths = arrow.types.is_string(known.type) or arrow.types.is_binary(known.type)
    if has_lengths and any(length.as_py() > 4 * longest for length in arrow.compute.binary_length(known)):  # bytes of UTF-8
        raise ValueError("a text in it is too long")
    values = known.to_pylist()
    return [None if place is None else values[place] for place in column.indices.to_pylist()]


def _vectors(arrow: Any, column: Any) -> list[np.ndarray]:
    if not arrow.types.is_list(column.type) or not arrow.types.is_floating(column.type.value_type):
        raise ValueError("its vectors cannot be")
    ends, numbers = column.offsets.to_numpy(), column.values.to_numpy(zero_copy_only=False)
    if np.diff(ends).max(initial=0) > LONGEST_VECTOR:
        raise ValueError("its vectors are too long")
    return [numbers[start:end].astype(np.float32) for start, end in pairwise(ends)]
