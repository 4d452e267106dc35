"""Is an index sound, and what of a damaged one can still be read. Nothing here changes the file.

What can be wrong with an index, as sentences.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import chunks, rows
from .faults import BrokenContent
from .records import KINDS, Provenance, Record

_SHOWN = 8  # notes and numbers that a sentence shows


@dataclass(slots=True, frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        records: how many records there are, as far as that can still be seen.
        readable: how many of them can be read with their vectors.
        incomplete: numbers of readable records of which some detail (a path, a thumbnail) is lost.
        unreadable: numbers of records that are lost.
        notes: what SQLite's own check and the comparison found, for a developer.
        sentence: the whole in one sentence, with what to do.
    """

    records: int
    readable: int
    incomplete: tuple[int, ...]
    unreadable: tuple[int, ...]
    notes: tuple[str, ...]
    sentence: str

    @property
    def is_sound(self) -> bool:
        return not self.notes and not self.unreadable and not self.incomplete


def check(path: Path, connection: sqlite3.Connection) -> CheckReport:
    """Read everything: SQLite's structure, each vector's checksum, and that records and vectors belong together."""
    notes = _structure(connection)
    reader = _Records(connection)
    seen: set[int] = set()
    incomplete: list[int] = []
    expected = {row[0] for row in _scan(connection, "records", "id", notes)}
    for space, length, _ in _spaces(connection, notes):
        for described, _, good in _blocks(connection, space, length, notes):
            expected.update(described["id"].tolist())
            if not good.all():
                notes.append("vectors do not match their checksums")
            found = reader.read(described[good])
            seen.update(found)
            incomplete += [number for number, (_, is_whole) in found.items() if not is_whole]
    unreadable = tuple(sorted(expected - seen))
    if unreadable and not notes:
        notes.append("records and vectors do not belong together")
    sentence = _sentence(path, len(expected), len(seen), incomplete, unreadable, notes)
    return CheckReport(len(expected), len(seen), tuple(incomplete), unreadable, tuple(dict.fromkeys(notes)), sentence)


def _sentence(path: Path, total: int, readable: int, incomplete: list[int], unreadable: tuple[int, ...], notes: list[str]) -> str:
    if not notes and not incomplete and not unreadable:
        return f"The index {path} is sound: {total} records, all readable."
    lost = ", ".join(str(number) for number in unreadable[:_SHOWN]) + (", …" if len(unreadable) > _SHOWN else "")
    what = f"all {total} records can still be read"
    if unreadable:
        what = f"{len(unreadable)} of {total} records cannot be read (numbers {lost})"
    details = f", {len(incomplete)} have lost a path or thumbnail" if incomplete else ""
    return (
        f"The index {path} is damaged: {what}{details}; export the readable {readable} to a file, import that into a new index, "
        "and index the missing images again."
    )


def readable_rows(connection: sqlite3.Connection, provenance: Provenance) -> Iterator[tuple[Record, np.ndarray]]:
    """The records of a provenance that can be read, with their vectors; details that are lost are empty."""
    notes: list[str] = []
    reader = _Records(connection)
    for space, length, found in _spaces(connection, notes):
        if found != provenance:
            continue
        for described, matrix, good in _blocks(connection, space, length, notes):
            records = reader.read(described[good])
            for place in np.flatnonzero(good):
                if described["id"][place] in records:
                    yield records[int(described["id"][place])][0], matrix[place]


def readable_spaces(connection: sqlite3.Connection) -> list[Provenance]:
    """The provenances that can be read."""
    return [provenance for _, _, provenance in _spaces(connection, [])]


def _structure(connection: sqlite3.Connection) -> list[str]:
    try:
        found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_SHOWN})")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _spaces(connection: sqlite3.Connection, notes: list[str]) -> list[tuple[int, int, Provenance]]:
    """Number, vector length and provenance of each space; where their list is lost, as the blocks of vectors tell it."""
    try:
        found = connection.execute("SELECT id, length, model, deployment, engine, preprocessing FROM spaces ORDER BY id").fetchall()
        return [(row[0], row[1], Provenance(*row[2:])) for row in found]
    except sqlite3.DatabaseError as error:
        notes.append(f"spaces: {error}")
    told: dict[int, tuple[int, int, Provenance]] = {}
    for _, space, count, made_by, size in _scan(connection, "chunks", "id, space, count, made_by, length(vectors)", notes):
        with suppress(ValueError, TypeError, ZeroDivisionError):
            told.setdefault(space, (space, size // (4 * count), Provenance(*json.loads(made_by))))
    return list(told.values())


def _blocks(
    connection: sqlite3.Connection, space: int, length: int, notes: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The blocks of vectors that can be read: what is known of their rows, vectors, and which rows match their checksums."""
    for _, described, vectors in _scan(connection, "chunks", "id, described, vectors", notes, f"space = {space:d}"):
        try:
            yield chunks.unpack(described, vectors, length)
        except (BrokenContent, TypeError) as error:
            notes.append(str(error))


def _scan(connection: sqlite3.Connection, table: str, columns: str, notes: list[str], where: str = "1") -> Iterator[tuple]:
    """All rows of a table that can be read, in order; past a damaged page row by row."""
    last = 0
    try:
        for row in connection.execute(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY id"):
            yield row
            last = row[0]
        return
    except sqlite3.DatabaseError as error:
        notes.append(f"{table}: {error}")
    for number in range(last + 1, _highest(connection, table) + 1):
        try:
            row = connection.execute(f"SELECT {columns} FROM {table} WHERE id = ? AND {where}", (number,)).fetchone()
        except sqlite3.DatabaseError:
            continue
        if row is not None:
            yield row


def _highest(connection: sqlite3.Connection, table: str) -> int:
    for query in (f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'", f"SELECT max(id) FROM {table}"):
        try:
            found = connection.execute(query).fetchone()
        except sqlite3.DatabaseError:
            continue
        if found and found[0]:
            return int(found[0])
    return 0


class _Records:
    """Records read in spite of damage: together if that works, else one by one, else what other places tell of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._hashes: dict[int, bytes] | None = None

    def read(self, described: np.ndarray) -> dict[int, tuple[Record, bool]]:
        """Those of a block's rows that can be read, by number, each with whether nothing of it is lost."""
        ids = described["id"].tolist()
        with suppress(sqlite3.DatabaseError, BrokenContent):
            found = rows.read_records(self._connection, set(ids))
            if len(found) == len(ids):
                return {number: (record, True) for number, record in found.items()}
        pieces = {int(row["id"]): self._one(row) for row in described}
        return {number: piece for number, piece in pieces.items() if piece is not None}

    def _one(self, described: np.void) -> tuple[Record, bool] | None:
        number = int(described["id"])
        with suppress(sqlite3.DatabaseError, BrokenContent):
            found = rows.read_records(self._connection, {number})
            if number in found:
                return found[number], True
        query = "SELECT hash, kind, slice, source, series, plane, position, added FROM records WHERE id = ?"
        row = _one(self._connection, query, number)
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != 32 or row[1] not in range(len(KINDS)):
            # The record's own row is lost; its hash is in the index of hashes, its kind and series beside its vector.
            digest = self._hash(number)
            if digest is None or described["kind"] >= len(KINDS):
                return None
            row = (digest, int(described["kind"]), -1, 0, int(described["series"]), 0, 0, 0)
        texts = [_text(self._connection, part) for part in row[3:]]
        png = _one(self._connection, "SELECT png FROM thumbnails WHERE id = ?", number)
        try:
            position = json.loads(texts[3])
        except ValueError:
            position = {}
        thumbnail = png[0] if png else b""
        return Record(row[0].hex(), KINDS[row[1]], texts[0], texts[1], texts[2], row[2], position, thumbnail, added=texts[4]), False

    def _hash(self, number: int) -> bytes | None:
        if self._hashes is None:
            self._hashes = {}
            with suppress(sqlite3.DatabaseError):
                self._hashes.update(self._connection.execute("SELECT id, hash FROM records INDEXED BY records_by_hash WHERE hash > ''"))
        return self._hashes.get(number)


def _text(connection: sqlite3.Connection, number: int) -> str:
    found = _one(connection, "SELECT text FROM texts WHERE id = ?", number)
    return found[0] if found else ""


def _one(connection: sqlite3.Connection, query: str, number: int) -> tuple | None:
    try:
        return connection.execute(query, (number,)).fetchone()
    except sqlite3.DatabaseError:
        return None


# Text in SQLite's message -> kind and sentence. SQLite's messages are stable; its error names reach Python only from 3.11 on.
