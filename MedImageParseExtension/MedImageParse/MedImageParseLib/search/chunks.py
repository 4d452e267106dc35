"""Vectors packed into BLOBs, and the one matrix in memory that they make up.

All functions here expect to run inside a transaction of the caller's.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass, field

import numpy as np

from .faults import BrokenContent

CHUNK_BYTES = 512 * 1024
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, made odd: spreads small differences over all bits
# What a chunk knows of each of its rows. "series" is a number of the table texts, "kind" a place in records.KINDS.
DESCRIBED = np.dtype([("id", "<i8"), ("series", "<i4"), ("kind", "<u4"), ("checksum", "<u8")])


def capacity(length: int) -> int:
    """How many vectors of `length` numbers make a full chunk."""
    return max(1, CHUNK_BYTES // (4 * length))


def checksums(vectors: np.ndarray) -> np.ndarray:
    """A checksum of each row of a float32 array, uint64 (rows,): its 64-bit words times odd weights of their places, modulo 2^64.

    Any change of one word shows, so does a swap of words or a row of zeros. Ten times as fast as CRC-32, which would take longer than
    reading the file.
    """
    words = np.ascontiguousarray(vectors, "<f4")
    if words.shape[1] % 2:
        words = np.pad(words, ((0, 0), (0, 1)))
    weights = (2 * np.arange(words.shape[1] // 2, dtype=np.uint64) + np.uint64(1)) * _ODD
    return words.view("<u8") @ weights + _ODD


def append(connection: sqlite3.Connection, space: int, described: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Store rows at the end of a space, filling its last chunk first.

    Args:
        described: DESCRIBED (rows,), their ids rising and higher than all before; "checksum" is filled in here.
        vectors: float32 (rows, length).

    Returns:
        the number of the chunk of each row.
    """
    described["checksum"] = checksums(vectors)
    homes = np.empty(len(described), np.int64)
    full = capacity(vectors.shape[1])
    last = connection.execute("SELECT id, count FROM chunks WHERE space = ? ORDER BY id DESC LIMIT 1", (space,)).fetchone()
    done = 0
    if last is not None and last[1] < full:
        done = min(full - last[1], len(described))
        held, matrix, _ = _read(connection, last[0], vectors.shape[1])
        _write(connection, last[0], held.tobytes() + described[:done].tobytes(), _bytes(matrix) + _bytes(vectors[:done]), len(held) + done)
        homes[:done] = last[0]
    for start in range(done, len(described), full):
        part = slice(start, start + full)
        homes[part] = _insert(connection, space, described[part], vectors[part])
    return homes


def take_out(connection: sqlite3.Connection, chunk: int, length: int, ids: set[int]) -> None:
    """Drop the rows of these records from a chunk; the chunk goes when nothing is left in it."""
    rows, matrix, _ = _read(connection, chunk, length)
    drop = np.isin(rows["id"], list(ids))
    if np.count_nonzero(drop) != len(ids):
        raise BrokenContent("a record's vector is not where it belongs")
    if drop.all():
        connection.execute("DELETE FROM chunks WHERE id = ?", (chunk,))
    else:
        _write(connection, chunk, rows[~drop].tobytes(), _bytes(matrix[~drop]), int(np.count_nonzero(~drop)))


def repack(connection: sqlite3.Connection, space: int, length: int) -> None:
    """Fill up the chunks of a space that removals have left half empty; rows keep their order and their checksums."""
    found = connection.execute("SELECT id, count FROM chunks WHERE space = ? ORDER BY id", (space,)).fetchall()
    full = capacity(length)
    if all(count == full for _, count in found[:-1]):
        return
    waiting, matrix = np.empty(0, DESCRIBED), np.empty((0, length), np.float32)
    for place, (chunk, _) in enumerate(found):
        rows, vectors, good = _read(connection, chunk, length)
        if not good.all():
            raise BrokenContent("vectors do not match their checksums")
        waiting, matrix = np.concatenate([waiting, rows]), np.concatenate([matrix, vectors])
        connection.execute("DELETE FROM chunks WHERE id = ?", (chunk,))
        while len(waiting) >= full or (len(waiting) and place == len(found) - 1):
            home = _insert(connection, space, waiting[:full], matrix[:full])
            ids = (int(waiting["id"][0]), int(waiting["id"][:full][-1]))
            connection.execute("UPDATE records SET chunk = ? WHERE space = ? AND id BETWEEN ? AND ?", (home, space, *ids))
            waiting, matrix = waiting[full:], matrix[full:]


def _read(connection: sqlite3.Connection, chunk: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = connection.execute("SELECT described, vectors FROM chunks WHERE id = ?", (chunk,)).fetchone()
    if found is None:
        raise BrokenContent("a block of vectors is missing")
    return unpack(*found, length)


def _insert(connection: sqlite3.Connection, space: int, described: np.ndarray, vectors: np.ndarray) -> int:
    made_by = connection.execute("SELECT model, deployment, engine, preprocessing FROM spaces WHERE id = ?", (space,)).fetchone()
    return connection.execute(
        "INSERT INTO chunks (space, revision, count, made_by, described, vectors) VALUES (?, ?, ?, ?, ?, ?)",
        (space, secrets.randbits(62), len(described), json.dumps(made_by), described.tobytes(), _bytes(vectors)),
    ).lastrowid


def _write(connection: sqlite3.Connection, chunk: int, described: bytes, vectors: bytes, count: int) -> None:
    connection.execute(
        "UPDATE chunks SET revision = ?, count = ?, described = ?, vectors = ? WHERE id = ?",
        (secrets.randbits(62), count, described, vectors, chunk),
    )


def _bytes(vectors: np.ndarray) -> bytes:
    return np.ascontiguousarray(vectors, "<f4").tobytes()


def unpack(described: bytes, vectors: bytes, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chunk's two BLOBs as arrays, and for each row whether it matches its checksum.

    Raises:
        BrokenContent: the BLOBs' sizes do not belong together.
    """
    if len(described) % DESCRIBED.itemsize or len(vectors) * DESCRIBED.itemsize != len(described) * length * 4:
        raise BrokenContent("a block of vectors has the wrong size")
    rows = np.frombuffer(described, DESCRIBED)
    matrix = np.frombuffer(vectors, "<f4").reshape(-1, length)
    return rows, matrix, checksums(matrix) == rows["checksum"]


@dataclass(slots=True)
class Matrix:
    """All vectors of one space in memory, row by row in the order of their record numbers.

    The arrays that `vectors` and `described` give out are never changed afterwards: growing writes beyond them, anything else
    moves to a new buffer.
    """

    space: int
    length: int
    _keys: list[tuple[int, int]] = field(default_factory=list)  # chunk and revision, in order
    _ends: list[int] = field(default_factory=list)  # row behind each chunk
    _described: np.ndarray = field(default_factory=lambda: np.empty(0, DESCRIBED))
    _buffer: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def described(self) -> np.ndarray:
        return self._described

    @property
    def vectors(self) -> np.ndarray:
        """float32 (rows, length), not writable."""
        view = self._buffer[: len(self._described)]
        view.flags.writeable = False
        return view

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Bring the matrix up to date, reading only from the first chunk that changed on."""
        found = connection.execute("SELECT id, revision, count FROM chunks WHERE space = ? ORDER BY id", (self.space,)).fetchall()
        keys = [(chunk, revision) for chunk, revision, _ in found]
        same = 0
        while same < min(len(keys), len(self._keys)) and keys[same] == self._keys[same]:
            same += 1
        if same == len(keys) == len(self._keys):
            return
        start = self._ends[same - 1] if same else 0
        total = start + sum(count for _, _, count in found[same:])
        described = np.empty(total, DESCRIBED)
        described[:start] = self._described[:start]
        buffer = self._room_for(connection, [chunk for chunk, _ in keys[same:]], start, total)
        ends = self._ends[:same]
        first = keys[same][0] if same < len(keys) else 0
        query = "SELECT described, vectors FROM chunks WHERE space = ? AND id >= ? ORDER BY id"
        for rows, vectors in connection.execute(query, (self.space, first)) if same < len(keys) else ():
            start = self._fill(described, buffer, start, rows, vectors)
            ends.append(start)
        self._keys, self._ends, self._described, self._buffer = keys, ends, described, buffer

    def _fill(self, described: np.ndarray, buffer: np.ndarray, start: int, rows: bytes, vectors: bytes) -> int:
        """One chunk into its place; gives the row behind it."""
        held, matrix, good = unpack(rows, vectors, self.length)
        end = start + len(held)
        if end > len(described) or not good.all():
            raise BrokenContent("vectors do not match their checksums")
        described[start:end] = held
        buffer[start:end] = matrix
        return end

    def _room_for(self, connection: sqlite3.Connection, chunks: list[int], start: int, total: int) -> np.ndarray:
        """The present buffer where its rows from `start` on only grow, else a new one with the rows before `start` copied."""
        old = self._described["id"][start:]
        grows = len(old) == 0
        if not grows and chunks and total <= len(self._buffer):
            rows = connection.execute("SELECT described FROM chunks WHERE id = ?", (chunks[0],)).fetchone()[0]
            ids = np.frombuffer(rows, DESCRIBED)["id"]
            grows = len(old) <= len(ids) and np.array_equal(ids[: len(old)], old)
        if grows and total <= len(self._buffer):
            return self._buffer
        # Room to grow costs addresses, not memory, until it is used.
        buffer = np.empty((total + max(total // 8, 64), self.length), np.float32)
        if start:
            buffer[:start] = self._buffer[:start]
        return buffer


def best(scores: np.ndarray, top: int) -> np.ndarray:
    """Places of the `top` highest scores, best first, equal ones in the order they stand; -inf never counts."""
    top = min(top, scores.size)
    if top == 0:
        return np.empty(0, np.intp)
    least = np.partition(scores, scores.size - top)[scores.size - top]
    places = np.flatnonzero((scores >= least) & (scores > -np.inf))
    return places[np.argsort(-scores[places], kind="stable")][:top]
