"""What an index keeps of an image: its vector, where it came from, and which model and preprocessing made the vector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import numpy as np

from ..errors import InputError, UsageError

KINDS = ("slice", "picture", "volume", "study")  # the order is part of the file format: append only


@dataclass(slots=True, frozen=True)
class Provenance:
    """How a vector was made. Vectors are compared only where all four agree; together they are called a space.

    Attributes:
        model: the model's name, "medimageinsight" for example.
        deployment: the deployment behind the endpoint, "" for the endpoint's own choice.
        engine: what a local endpoint calls its engine, "" for the real model.
        preprocessing: window, orientation, size and pooling in words, such as "window -150..250; radiological; 512x512".
    """

    model: str
    deployment: str = ""
    engine: str = ""
    preprocessing: str = ""

    @property
    def as_tuple(self) -> tuple[str, str, str, str]:
        return self.model, self.deployment, self.engine, self.preprocessing

    def describe(self) -> str:
        """In words, for a sentence."""
        details = [("deployment ", self.deployment), ("engine ", self.engine), ("", self.preprocessing)]
        text = ", ".join(word + value for word, value in details if value)
        return f"{self.model or 'an unnamed model'} ({text})" if text else self.model or "an unnamed model"


@dataclass(slots=True)
class Record:
    """One image, volume or study with its vector.

    Attributes:
        content_hash: SHA-256 in hex of the pixels as sent and the preprocessing; see `content_hash`. Held once per space.
        kind: "slice", "picture", "volume" or "study".
        source: path or address of the file, "" where it is not to be stored.
        series: a stable, hash-based name of the volume, the same for all its slices; see `series_name`.
        plane: "axial", "sagittal", "coronal", "" for a picture.
        slice_index: voxel index along that plane's array axis, -1 where there is none.
        position: anything about the place that JSON can hold: spacing in mm, size, window.
        thumbnail: a small PNG, b"" where it is left out.
        vector: float32 (length,), of unit length; empty in a search result.
        added: when, ISO 8601 in UTC; filled in by the index where it is empty.
    """

    content_hash: str
    kind: str = "slice"
    source: str = ""
    series: str = ""
    plane: str = ""
    slice_index: int = -1
    position: dict = field(default_factory=dict)
    thumbnail: bytes = b""
    vector: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    added: str = ""


@dataclass(slots=True, frozen=True)
class Hit:
    """A search result.

    Attributes:
        similarity: cosine of the angle between the two vectors, 1 for the same image.
        record: what is known of it, without the vector.
        id: its number in the index (an integer; in a Qdrant store a text).
    """

    similarity: float
    record: Record
    id: int | str


def content_hash(pixels: np.ndarray | bytes, preprocessing: str) -> str:
    """The name of an image as sent: SHA-256 of its pixels (array with its shape and type, or encoded bytes) and the preprocessing."""
    digest = hashlib.sha256()
    if isinstance(pixels, np.ndarray):
        digest.update(f"{pixels.dtype.str}{pixels.shape}".encode())
        digest.update(np.ascontiguousarray(pixels).data)
    else:
        digest.update(pixels)
    digest.update(b"\0" + preprocessing.encode())
    return digest.hexdigest()


def series_name(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> str:
    """A stable name for a volume from its voxels and geometry: 32 hex digits that tell nothing about the patient or the path."""
    digest = hashlib.sha256(f"{voxels.dtype.str}{voxels.shape}".encode())
    for plane in voxels:
        digest.update(np.ascontiguousarray(plane).data)
    digest.update(np.ascontiguousarray(np.round(np.asarray(ijk_to_ras, "<f8"), 6) + 0.0).data)  # + 0.0: no negative zero
    return digest.hexdigest()[:32]


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors as float32 rows of unit length; rows that have it already stay as they are, bit for bit.

    Args:
        vectors: (rows, length).

    Raises:
        InputError: a number that is not finite, or a vector of length zero.
    """
    rows = np.atleast_2d(np.ascontiguousarray(vectors, np.float32))
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError("The vectors must be rows of numbers, one row an image.")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.all(np.isfinite(lengths)) or np.any(lengths < 1e-12):
        raise InputError("A vector is zero or holds numbers that are not finite; the model's reply for that image cannot be used.")
    off = np.abs(lengths - 1.0) > 1e-5
    if off.any():
        rows = rows.copy()
        rows[off] = (rows[off] / lengths[off, None]).astype(np.float32)
    return rows


def checked(records: Iterable[Record]) -> list[Record]:
    """The records, ready to be stored: kinds known, hashes well formed, dates filled in, unit vectors of one length.

    Raises:
        UsageError: an unknown kind, or a hash that is not 64 hex digits.
        InputError: unusable vectors, or vectors of different lengths.
    """
    records = list(records)
    if not records:
        return []
    for record in records:
        if record.kind not in KINDS:
            raise UsageError(f'The kind of a record must be one of {", ".join(KINDS)}, not "{record.kind}".')
        if len(record.content_hash) != 64 or set(record.content_hash) - set("0123456789abcdef"):
            raise UsageError("The content hash of a record must be 64 lower-case hex digits (SHA-256).")
    if len({np.size(record.vector) for record in records}) != 1:
        raise InputError("The vectors have different lengths; they cannot come from one model.")
    vectors = unit_rows(np.stack([np.asarray(record.vector).reshape(-1) for record in records]))
    stamp = now()
    return [replace(record, vector=vector, added=record.added or stamp) for record, vector in zip(records, vectors)]
