"""An index as one file for others: NumPy's .npz, or Parquet where the package pyarrow is installed.

.npz: `format` is "medimageparse index 1"; `spaces` the provenances as JSON bytes: a list of [model, deployment, engine, preprocessing];
for the n-th of them `vectors_n`, float32 (rows, length); `records_n`, JSON bytes: a list with one list a row of [content hash, kind,
source, series, plane, slice index, position, added]; `thumbnails_n`, all PNGs one after the other, and `thumbnail_ends_n`, the byte
behind each. Nothing in it is pickled.

Parquet: one row a record with the same names, the position as JSON, and the four parts of the provenance.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ..errors import InputError, UsageError
from ..files.write import check_writable, write_whole
from .records import Provenance, Record

if TYPE_CHECKING:
    from .index import EmbeddingIndex

FORMAT = "medimageparse index 1"
_ENDINGS = (".npz", ".parquet")
_COLUMNS = ("content_hash", "kind", "source", "series", "plane", "slice_index", "position", "added")


def export(index: EmbeddingIndex, path: str | os.PathLike, *, readable_only: bool = False) -> int:
    """Write all records of an index, whole file or none.

    Args:
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
    write_whole(path, lambda file: write(file, parts))
    return sum(len(rows) for _, rows in parts)


def import_(index: EmbeddingIndex, path: str | os.PathLike) -> int:
    """Add the records of an exported file to an index; those that are there already are skipped.

    Returns:
        how many were added.

    Raises:
        UsageError: another ending, or pyarrow missing.
        InputError: the file is missing, damaged, or was not exported from an index.
    """
    path = Path(path).expanduser()
    if not path.name.lower().endswith(_ENDINGS):
        raise UsageError(f"The file {path.name} cannot be imported: its name must end with {' or '.join(_ENDINGS)}.")
    if not path.is_file():
        raise InputError(f"There is no file {path}; choose one that was exported from an index.")
    read = _read_npz if path.name.lower().endswith(".npz") else _read_parquet
    return sum(index.add(records, provenance) for provenance, records in read(path))


def _write_npz(file: BinaryIO, parts: list[tuple[Provenance, list[tuple[Record, np.ndarray]]]]) -> None:
    arrays = {"format": np.array(FORMAT), "spaces": _json_bytes([list(space.as_tuple) for space, _ in parts])}
    for place, (_, rows) in enumerate(parts):
        arrays[f"vectors_{place}"] = np.stack([vector for _, vector in rows])
        arrays[f"records_{place}"] = _json_bytes([[getattr(record, column) for column in _COLUMNS] for record, _ in rows])
        arrays[f"thumbnails_{place}"] = np.frombuffer(b"".join(record.thumbnail for record, _ in rows), np.uint8)
        arrays[f"thumbnail_ends_{place}"] = np.cumsum([len(record.thumbnail) for record, _ in rows], dtype=np.int64)
    np.savez(file, **arrays)


def _json_bytes(value: object) -> np.ndarray:
    return np.frombuffer(json.dumps(value, separators=(",", ":")).encode(), np.uint8)


def _read_npz(path: Path) -> Iterator[tuple[Provenance, list[Record]]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["format"]) != FORMAT:
                raise InputError(f"The file {path} was exported by another version or program; this one reads {FORMAT}.")
            for place, space in enumerate(json.loads(data["spaces"].tobytes())):
                yield Provenance(*space), _records_of(data, place)
    except (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"The file {path} was not exported from an index, or it is damaged; choose another.") from error


def _records_of(data, place: int) -> list[Record]:
    vectors = data[f"vectors_{place}"]
    thumbnails = data[f"thumbnails_{place}"].tobytes()
    ends = data[f"thumbnail_ends_{place}"].tolist()
    fields = json.loads(data[f"records_{place}"].tobytes())
    if not len(vectors) == len(ends) == len(fields):
        raise ValueError("columns of different lengths")
    records = []
    for row, start, end, vector in zip(fields, [0, *ends], ends, vectors):
        records.append(Record(**dict(zip(_COLUMNS, row, strict=True)), thumbnail=thumbnails[start:end], vector=vector))
    return records


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs the package pyarrow, which is not installed; use a file that ends with .npz instead.") from None
    return pyarrow


def _write_parquet(file: BinaryIO, parts: list[tuple[Provenance, list[tuple[Record, np.ndarray]]]]) -> None:
    arrow = _pyarrow()
    rows = [(space, record, vector) for space, found in parts for record, vector in found]
    text = arrow.dictionary(arrow.int32(), arrow.string())
    columns = {
        name: arrow.array([getattr(space, name) for space, _, _ in rows], arrow.string()).cast(text)
        for name in ("model", "deployment", "engine", "preprocessing")
    }
    for name in _COLUMNS:
        values = [getattr(record, name) for _, record, _ in rows]
        values = [json.dumps(value, separators=(",", ":")) for value in values] if name == "position" else values
        columns[name] = arrow.array(values, arrow.int64() if name == "slice_index" else arrow.string())
    columns["thumbnail"] = arrow.array([record.thumbnail for _, record, _ in rows], arrow.binary())
    columns["vector"] = arrow.array([vector for _, _, vector in rows], arrow.list_(arrow.float32()))
    table = arrow.table(columns).replace_schema_metadata({"format": FORMAT})
    arrow.parquet.write_table(table, file, row_group_size=8192)


def _read_parquet(path: Path) -> Iterator[tuple[Provenance, list[Record]]]:
    arrow = _pyarrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            if (file.schema_arrow.metadata or {}).get(b"format", b"").decode() != FORMAT:
                raise InputError(f"The file {path} was exported by another version or program; this one reads {FORMAT}.")
            for batch in file.iter_batches(batch_size=1024):
                spaces: dict[Provenance, list[Record]] = {}
                for row in batch.to_pylist():
                    space = Provenance(*(row[name] for name in ("model", "deployment", "engine", "preprocessing")))
                    fields = {name: json.loads(row[name]) if name == "position" else row[name] for name in _COLUMNS}
                    record = Record(**fields, thumbnail=row["thumbnail"], vector=np.array(row["vector"], np.float32))
                    spaces.setdefault(space, []).append(record)
                yield from spaces.items()
    except (OSError, ValueError, KeyError, TypeError, arrow.ArrowException) as error:
        raise InputError(f"The file {path} was not exported from an index, or it is damaged; choose another.") from error
