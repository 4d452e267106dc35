"""Vectors of an index in memory: one matrix a space, with the places where each of its rows is shown.

All functions here expect to run inside a transaction of the caller's.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from .faults import BrokenContent
from .records import KINDS

_Item = TypeVar("_Item")

HASH_BYTES = 32
DESCRIBED_BYTES = HASH_BYTES + 8  # what stands beside each vector: its content hash and its checksum
_AT_ONCE = 1024  # rows read together
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, made odd: spreads small differences over all bits


def checksums(vectors: np.ndarray) -> np.ndarray:
    """A checksum of each row of a float32 array, uint64 (rows,): its 64-bit words times odd weights of their places, modulo 2^64.

    Any change of one word shows, so does a swap of words or a row of zeros. Ten times as fast as CRC-32, which would take longer than
    reading the file.

    Args:
        vectors: float32 (rows, length).
    """
    words = np.ascontiguousarray(vectors, "<f4")
    if words.shape[1] % 2:
        words = np.pad(words, ((0, 0), (0, 1)))
    weights = (2 * np.arange(words.shape[1] // 2, dtype=np.uint64) + np.uint64(1)) * _ODD
    return words.view("<u8") @ weights + _ODD


def describe(content_hash: bytes, vector: np.ndarray) -> bytes:
    """What is kept beside a vector: the hash of its content, and its checksum."""
    return content_hash + checksums(vector[None]).astype("<u8").tobytes()


def unpack(described: Sequence[bytes], vectors: Sequence[bytes], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table of vectors as one array, and for each whether it matches its checksum.

    Args:
        described: of each row, the hash of its content and the checksum of its vector.
        vectors: of each row, its float32 numbers, little-endian.
        length: numbers in a vector.

    Raises:
        BrokenContent: something is not bytes of the size that belongs there.
    """
    for column, size in ((described, DESCRIBED_BYTES), (vectors, 4 * length)):
        if not all(isinstance(value, bytes) and len(value) == size for value in column):
            raise BrokenContent("a vector has the wrong size")
    matrix = np.frombuffer(b"".join(vectors), "<f4").reshape(-1, length)
    beside = np.frombuffer(b"".join(described), np.uint8).reshape(-1, DESCRIBED_BYTES)
    expected = np.ascontiguousarray(beside[:, HASH_BYTES:]).view("<u8")[:, 0]
    return matrix, checksums(matrix) == expected


@dataclass(slots=True)
class Matrix:
    """All vectors of one space, row by row in the order in which they came, and all places, in the order of their record numbers.

    The arrays that it gives out are never changed afterwards: growing writes beyond them, anything else moves to a new buffer.

    Attributes:
        space, length: the space's number, and how many numbers its vectors have.
        places: int64 (places, 3): record number, number of its series in the table texts, place of its kind in records.KINDS.
        rows: the row of each place.
        elsewhere: numbers of the vectors that a sketch holds; these come first, and only later ones are read.
        known: places and rows that need not be read, as of the revision when this was made; None for none.
    """

    space: int
    length: int
    places: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.int64))
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.intp))
    elsewhere: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    known: tuple[np.ndarray, np.ndarray] | None = None
    _chunks: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    _buffer: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    _revision: int | None = None
    _is_plain: bool | None = None

    @property
    def vectors(self) -> np.ndarray:
        """float32 (rows, length), not writable; of a space with a sketch only those that came after it."""
        view = self._buffer[: len(self._chunks) - len(self.elsewhere)]
        view.flags.writeable = False
        return view

    @property
    def revision(self) -> int | None:
        """The space's, as of the last refresh."""
        return self._revision

    @property
    def is_plain(self) -> bool:
        """Whether each row has exactly one place, in the same order, as in most indexes."""
        if self._is_plain is None:
            self._is_plain = len(self.rows) == len(self._chunks) and bool(np.array_equal(self.rows, np.arange(len(self.rows))))
        return self._is_plain

    def refresh(self, connection: sqlite3.Connection, revision: int, size: int) -> None:
        """Bring it up to date: what is new is read; everything, where something was removed or changed.

        Args:
            connection: to the file of the index.
            revision: the space's, changed by each removal.
            size: bytes of the file, which nothing in it can exceed.
        """
        if revision != self._revision:
            self.places, self.rows = self.known or (np.empty((0, 3), np.int64), np.empty(0, np.intp))
            self.known = None  # they are of one revision only
            self._chunks, self._buffer = self.elsewhere, np.empty((0, self.length), np.float32)
        before = len(self._chunks), len(self.rows)
        self._read_vectors(connection, size // (4 * self.length))
        self._read_places(connection, size // 8)
        if revision != self._revision or before != (len(self._chunks), len(self.rows)):
            self._is_plain = None
        self._revision = revision

    def _read_vectors(self, connection: sqlite3.Connection, most: int) -> None:
        held = len(self._chunks) - len(self.elsewhere)
        last = int(self._chunks[-1]) if len(self._chunks) else 0
        newest = connection.execute("SELECT max(id) FROM chunks").fetchone()[0] or 0
        if not isinstance(newest, int) or newest <= last:
            return
        total = held + min(newest - last, most)
        buffer = self._buffer
        if total > len(buffer):
            # Room to grow costs addresses, not memory, until it is used.
            buffer = np.empty((total + max(total // 8, 64), self.length), np.float32)
            if held:
                buffer[:held] = self._buffer[:held]
        numbers, end = [self._chunks], held
        query = (
            "SELECT id, CASE WHEN length(described) = ? THEN described END, CASE WHEN length(vectors) = ? THEN vectors END "
            "FROM chunks WHERE space = ? AND id > ? ORDER BY id"
        )
        cursor = connection.execute(query, (DESCRIBED_BYTES, 4 * self.length, self.space, last))
        for part in iter(lambda: cursor.fetchmany(_AT_ONCE), []):
            ids, described, vectors = zip(*part, strict=True)
            start, end = end, end + len(part)
            if end > len(buffer):
                raise BrokenContent("there are more vectors than fit the file")
            matrix, good = unpack(described, vectors, self.length)
            if not good.all():
                raise BrokenContent("vectors do not match their checksums")
            buffer[start:end] = matrix
            numbers.append(np.array(ids, np.int64))
        self._chunks, self._buffer = np.concatenate(numbers), buffer

    def _read_places(self, connection: sqlite3.Connection, most: int) -> None:
        last = int(self.places[-1, 0]) if len(self.places) else 0
        fresh = read_places(connection, self.space, last, most)
        if not len(fresh):
            return
        rows = np.searchsorted(self._chunks, fresh[:, 3])
        if len(self._chunks) == 0 or np.any(self._chunks[np.minimum(rows, len(self._chunks) - 1)] != fresh[:, 3]):
            raise BrokenContent("a record's vector is missing")
        self.places = np.concatenate([self.places, fresh[:, :3]])
        self.rows = np.concatenate([self.rows, rows])


def read_places(connection: sqlite3.Connection, space: int, after: int, most: int) -> np.ndarray:
    """The places of a space, int64 (places, 4): record number, number of the series, place of the kind in KINDS, number of the vector.

    Args:
        connection: to the file of the index.
        space: its number.
        after: only records with a higher number.
        most: rows that the file can hold.

    Raises:
        BrokenContent: something that cannot be.
    """
    query = "SELECT id, series, kind, chunk FROM records WHERE space = ? AND id > ? ORDER BY id"
    found = whole_numbers(connection.execute(query, (space, after)), 4, most)
    if np.any((found[:, 2] < 0) | (found[:, 2] >= len(KINDS))):
        raise BrokenContent("a record is of no known kind")
    return found


def in_parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of so many of the items, in their order; the last may be shorter."""
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part


def whole_numbers(found: Iterator[tuple], columns: int, most: int) -> np.ndarray:
    """Rows of whole numbers from the file, int64 (rows, columns).

    Args:
        found: the rows, as SQLite gives them.
        columns: in each.
        most: rows; a file cannot hold more than its size allows, whatever its pages claim.

    Raises:
        BrokenContent: something else than numbers, or too many.
    """
    parts, count = [np.empty((0, columns), np.int64)], 0
    for part in in_parts(found, _AT_ONCE):
        count += len(part)
        if count > most or not all(type(value) is int for row in part for value in row):
            raise BrokenContent("a record is unreadable")
        parts.append(np.array(part, np.int64).reshape(-1, columns))
    return np.concatenate(parts)


def best(scores: np.ndarray, top: int) -> np.ndarray:
    """Places of the `top` highest scores, best first, equal ones in the order they stand; -inf never counts."""
    top = min(top, scores.size)
    if top == 0:
        return np.empty(0, np.intp)
    least = np.partition(scores, scores.size - top)[scores.size - top]
    places = np.flatnonzero((scores >= least) & (scores > -np.inf))
    return places[np.argsort(-scores[places], kind="stable")][:top]


def best_of_each(scores: np.ndarray, groups: np.ndarray, top: int) -> np.ndarray:
    """As `best`, of each group only its highest score."""
    order = np.argsort(-scores, kind="stable")
    order = order[: np.count_nonzero(scores > -np.inf)]
    first = np.unique(groups[order], return_index=True)[1]
    return order[np.sort(first)][:top]
