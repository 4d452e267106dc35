"""What an index keeps of an image: its vector, where it came from, and which model and preprocessing made the vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import numpy as np

from ..errors import InputError, UsageError
from ..remedies import Sentence

KINDS = ("slice", "picture", "volume", "study")  # the order is part of the file format: append only
LONGEST_VECTOR = 65536  # numbers; the published model's vectors have 1024, seven statistics of them 7168
LONGEST_TEXT = 65536  # letters of a path
LONGEST_NAME = 200  # letters of a model, deployment, engine or recipe
LARGEST_THUMBNAIL = 2**20  # bytes
HIGHEST_SLICE = 2**31 - 1
_DEEPEST = 8  # lists within lists in a position


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
    """One image, volume or study at one place, with its vector.

    A picture is not its bytes: two studies may show the very same picture, and so may two slices. The vector belongs to the content,
    which is kept once; each place where it is shown is a record of its own.

    Attributes:
        content_hash: SHA-256 in hex of the pixels as sent and the preprocessing; see `content_hash`.
        kind: "slice", "picture", "volume" or "study".
        source: path or address of the file, "" where it is not to be stored.
        series: a stable, hash-based name of the volume, the same for all its slices; see `series_name`.
        plane: "axial", "sagittal", "coronal", "" for a picture.
        slice_index: voxel index along that plane's array axis, -1 where there is none.
        position: anything about the place that JSON can hold: spacing in mm, size, window.
        thumbnail: a small PNG, b"" where it is left out.
        vector: float32 (length,), of unit length; empty in a search result, and for a further place of a content that is held already.
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

    def fault(self) -> str:
        """What is wrong with the types and bounds of its fields, as a clause; "" for nothing. The vector is `unit_rows`' matter."""
        if not is_hash(self.content_hash):
            return "the content hash is not 64 lower-case hex digits (SHA-256)"
        if self.kind not in KINDS:
            return Sentence("the kind is none of {listed}", listed=", ".join(KINDS))
        for name in ("source", "series", "plane", "added"):
            if not is_text(getattr(self, name)):
                return Sentence("its {name} is not a text of at most {longest_text} letters", name=name, longest_text=LONGEST_TEXT)
        if isinstance(self.slice_index, bool) or not isinstance(self.slice_index, (int, np.integer)):
            return "its slice index is not a whole number"
        if not -1 <= self.slice_index <= HIGHEST_SLICE:
            return "its slice index is out of bounds"
        if not isinstance(self.thumbnail, bytes) or len(self.thumbnail) > LARGEST_THUMBNAIL:
            return Sentence("its thumbnail is not a picture of at most {largest_thumbnail} bytes", largest_thumbnail=LARGEST_THUMBNAIL)
        try:
            position_text(self.position)
        except ValueError as error:
            return str(error)
        return ""


@dataclass(slots=True, frozen=True)
class Hit:
    """A search result.

    Attributes:
        similarity: cosine of the angle between the two vectors, 1 for the same image.
        record: what is known of it, without the vector.
        id: its number in the index.
    """

    similarity: float
    record: Record
    id: int


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
        raise InputError("A vector is zero or holds numbers that are not finite, so it cannot be compared; embed its image again.")
    off = np.abs(lengths - 1.0) > 1e-5
    if off.any():
        rows = rows.copy()
        rows[off] = (rows[off] / lengths[off, None]).astype(np.float32)
    return rows


def is_hash(value: object) -> bool:
    """Whether this is a SHA-256 in lower-case hex."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def is_text(value: object, longest: int = LONGEST_TEXT) -> bool:
    """Whether this is a text that may be kept: bounded, and without the character zero, which would cut it short elsewhere."""
    return isinstance(value, str) and len(value) <= longest and "\0" not in value


def are_names(values: Iterable[object]) -> bool:
    """Whether these may be the parts of a Provenance."""
    return all(is_text(value, LONGEST_NAME) for value in values)


def position_text(position: object) -> str:
    """A position as JSON, the same for the same position.

    Raises:
        ValueError: no JSON object, too large, too deep, or a number that is not finite.
    """
    if not isinstance(position, dict) or _depth(position) > _DEEPEST:
        raise ValueError(Sentence("its position is not an object of at most {deepest} levels", deepest=_DEEPEST))
    try:
        text = json.dumps(position, sort_keys=True, separators=(",", ":"), allow_nan=False, default=lambda value: value.tolist())
    except (TypeError, ValueError, AttributeError, RecursionError):
        raise ValueError("its position holds something that JSON cannot hold") from None
    if len(text) > LONGEST_TEXT:
        raise ValueError(Sentence("its position is longer than {longest_text} letters", longest_text=LONGEST_TEXT))
    return text


def parse_position(text: object) -> dict:
    """The position behind a JSON text that may come from anywhere.

    Raises:
        ValueError: none, as for `position_text`.
    """
    if not isinstance(text, str) or len(text) > LONGEST_TEXT or text.count("[") + text.count("{") > 1000:
        raise ValueError("its position is no JSON object of a usual size")
    try:
        position = json.loads(text)
    except RecursionError:
        raise ValueError("its position is nested too deep") from None
    position_text(position)
    return position


def _depth(value: object) -> int:
    """How many levels of lists and objects there are, at most one more than allowed."""
    level, inside = 0, [value]
    while inside and level <= _DEEPEST:
        inside = [
            part for one in inside if isinstance(one, (dict, list, tuple)) for part in (one.values() if isinstance(one, dict) else one)
        ]
        level += 1
    return level


def checked(records: Iterable[Record]) -> list[Record]:
    """The records, ready to be stored: fields within their bounds, dates filled in, unit vectors of one length.

    Raises:
        UsageError: a field that cannot be kept.
        InputError: unusable vectors, or vectors of different lengths.
    """
    records = list(records)
    for record in records:
        if wrong := record.fault():
            raise UsageError("A record cannot be kept in an index: {wrong}.", wrong=wrong)
    sizes = {np.size(record.vector) for record in records} - {0}
    if len(sizes) > 1:
        raise InputError("The vectors have different lengths; they cannot come from one model.")
    if sizes and max(sizes) > LONGEST_VECTOR:
        raise InputError("The vectors have {length} numbers; an index keeps at most {most}.", length=max(sizes), most=LONGEST_VECTOR)
    with_vector = [record for record in records if np.size(record.vector)]
    vectors = iter(unit_rows(np.stack([_row(record.vector) for record in with_vector])) if with_vector else ())
    stamp = now()
    return [
        replace(record, vector=next(vectors) if np.size(record.vector) else record.vector, added=record.added or stamp)
        for record in records
    ]


def _row(vector: np.ndarray) -> np.ndarray:
    """One vector as float32. Raises InputError where it is not numbers."""
    row = np.asarray(vector).reshape(-1)
    if row.dtype.kind not in "fiu":
        raise InputError("A vector does not consist of numbers.")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and that is refused
        return row.astype(np.float32)
