"""Vectors of images as a file for other programs: .npz (numpy, no pickled objects) or .csv."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..search.records import Provenance, Record
from .atomic import check_writable, write_atomically

VECTOR_EXTENSIONS = (".npz", ".csv")


def write_vectors(path: str | os.PathLike, records: Sequence[Record], provenance: Provenance, scaling_factor: float | None) -> Path:
    """Write records with their vectors, in their order.

    .npz: "vectors" float32 (rows, length), and for each row "name", "source", "kind", "series", "plane", "slice" (-1 for none) and
    "content_hash"; "model", "deployment", "engine", "preprocessing" and "scaling_factor" (log temperature) once. .csv: the same columns,
    then v0, v1, …; the recipe in columns of its own, so that each line stands for itself.

    Raises:
        UsageError: another ending, or a folder that is missing or not writable.
    """
    path = check_writable(path, VECTOR_EXTENSIONS)
    columns: dict[str, list] = {
        "name": [str(record.position.get("name", "")) for record in records],
        "source": [record.source for record in records],
        "kind": [record.kind for record in records],
        "series": [record.series for record in records],
        "plane": [record.plane for record in records],
        "slice": [record.slice_index for record in records],
        "content_hash": [record.content_hash for record in records],
    }
    vectors = np.stack([np.asarray(record.vector, np.float32) for record in records])
    made = {"model": provenance.model, "deployment": provenance.deployment, "engine": provenance.engine, "preprocessing": provenance.preprocessing}
    if path.name.lower().endswith(".npz"):
        return write_atomically(path, _npz(columns, vectors, made, scaling_factor))
    return write_atomically(path, _csv(columns, vectors, made))


def _npz(columns: dict[str, list], vectors: np.ndarray, made: dict[str, str], scaling_factor: float | None) -> bytes:
    arrays = {name: np.array(values, np.int32 if name == "slice" else np.str_) for name, values in columns.items()}
    arrays |= {name: np.array(value, np.str_) for name, value in made.items()}
    buffer = io.BytesIO()
    np.savez(buffer, vectors=vectors, scaling_factor=np.float64(np.nan if scaling_factor is None else scaling_factor), **arrays)
    return buffer.getvalue()


def _csv(columns: dict[str, list], vectors: np.ndarray, made: dict[str, str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *made, *(f"v{number}" for number in range(vectors.shape[1]))])
    for row, values in enumerate(zip(*columns.values())):
        # Nine digits bring a float32 back exactly.
        writer.writerow([*values, *made.values(), *(f"{value:.9g}" for value in vectors[row])])
    return text.getvalue().encode()
