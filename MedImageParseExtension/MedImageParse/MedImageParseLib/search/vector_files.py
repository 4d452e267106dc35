"""Vectors that were not exported from an index: the .npz of `embed`, and lists of JSON lines as notebooks write them.

A line of JSON holds a vector under `image_features`, `embedding`, `features` or `vector`, and where its image lies under `image`, `path`,
`file`, `filename`, `name` or `id`. It does not say which model and preprocessing made it, so such vectors are a space of their own, never
mixed with others. They are untrusted as any import is.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from ..remedies import Sentence
from .archive import check_size, read_array
from .records import Provenance, Record, are_names

_VECTORS = ("image_features", "embedding", "features", "vector")
_PLACES = ("image", "path", "file", "filename", "name", "id")
_LONGEST_LINE = 4_000_000  # letters
_MOST_LINES = 2_000_000
NOTEBOOK = "not known (JSON lines)"  # the preprocessing of a list that does not say

Parts = list[tuple[Provenance, list[Record], float | None]]


def is_embed_file(path: Path) -> bool:
    """Whether a .npz is of `embed` rather than of `index export`. Raises zipfile.BadZipFile, OSError."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    return "format.npy" not in names and {"vectors.npy", "content_hash.npy", "preprocessing.npy"} <= names


def read_embed_file(path: Path) -> Parts:
    """The records in a .npz of `embed`. Raises ValueError, KeyError and what a damaged archive raises."""
    with zipfile.ZipFile(path) as archive:
        check_size(archive, path.stat().st_size)
        vectors = read_array(archive, "vectors", "f", 2)
        columns = {
            name: read_array(archive, name, "U", 1).tolist() for name in ("name", "source", "kind", "series", "plane", "content_hash")
        }
        slices = read_array(archive, "slice", "i", 1).tolist()
        made = [str(read_array(archive, name, "U", 0)) for name in ("model", "deployment", "engine", "preprocessing")]
        factor = float(read_array(archive, "scaling_factor", "f", 0))
    if any(len(column) != len(vectors) for column in (*columns.values(), slices)) or not are_names(made):
        raise ValueError("its columns have different lengths")
    records = []
    for row, vector in enumerate(vectors):
        own = {name: columns[name][row] for name in ("content_hash", "kind", "source", "series", "plane")}
        position = {"name": columns["name"][row]} if columns["name"][row] else {}
        records.append(Record(**own, slice_index=slices[row], position=position, vector=vector))
    return [(Provenance(*made), records, factor if np.isfinite(factor) else None)]


def read_lines(path: Path) -> Parts:
    """The records in a list of JSON lines. Raises ValueError with the line that cannot be read."""
    records: list[Record] = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if len(line) > _LONGEST_LINE or number > _MOST_LINES:
                raise ValueError(Sentence("line {number} is too long, or there are too many", number=number))
            records.append(_record(line, number))
            if records[-1].vector.size != records[0].vector.size:
                raise ValueError(Sentence("line {number} holds a vector of another length than the first", number=number))
    if not records:
        raise ValueError("it has no lines")
    return [(Provenance("medimageinsight", "", "", NOTEBOOK), records, None)]


def _record(line: str, number: int) -> Record:
    try:
        held = json.loads(line)
        values = next(held[key] for key in _VECTORS if key in held)
        while isinstance(values, list) and len(values) == 1 and isinstance(values[0], list):
            values = values[0]  # [[1024]] as the endpoint answers
        vector = np.array(values, np.float32)
        place = next((str(held[key]) for key in _PLACES if key in held), Sentence("line {number}", number=number))
    except (ValueError, TypeError, OverflowError, StopIteration, RecursionError):
        raise ValueError(Sentence("line {number} holds no vector", number=number)) from None
    if vector.ndim != 1 or not vector.size:
        raise ValueError(Sentence("line {number} holds no vector", number=number))
    digest = hashlib.sha256(place.encode("utf-8", "backslashreplace") + vector.tobytes()).hexdigest()
    series = hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return Record(digest, "picture", place, series, position={"name": os.path.basename(place) or place}, vector=vector)
