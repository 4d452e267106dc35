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
from typing import Any

import numpy as np

from ..remedies import Sentence
from . import rows
from .faults import BrokenContent
from .matrix import DESCRIBED_BYTES, HASH_BYTES, in_parts, unpack
from .records import LONGEST_VECTOR, Provenance, Record

_SHOWN = 8  # notes and numbers that a sentence shows
_AT_ONCE = 512  # vectors whose checksums are compared together


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
    numbers = [row[0] for row in _scan(connection, "records", "id", notes) if isinstance(row[0], int)]
    expected, seen, incomplete = set(numbers), set[int](), list[int]()
    for space in _spaces(connection, notes):
        for number, _, _, is_whole in _readable(connection, space, notes):
            expected.add(number)
            seen.add(number)
            incomplete += [] if is_whole else [number]
    unreadable = tuple(sorted(expected - seen))
    if unreadable and not notes:
        notes.append("records and vectors do not belong together")
    sentence = _sentence(path, len(expected), len(seen), incomplete, unreadable, notes)
    return CheckReport(len(expected), len(seen), tuple(incomplete), unreadable, tuple(dict.fromkeys(notes)), sentence)


def _sentence(path: Path, total: int, readable: int, incomplete: list[int], unreadable: tuple[int, ...], notes: list[str]) -> str:
    if not notes and not incomplete and not unreadable:
        return Sentence("The index {path} is sound: {total} records, all readable.", path=path, total=total)
    lost = ", ".join(str(number) for number in unreadable[:_SHOWN]) + (", …" if len(unreadable) > _SHOWN else "")
    what = Sentence("all {total} records can still be read", total=total)
    if unreadable:
        what = Sentence("{count} of {total} records cannot be read (numbers {lost})", count=len(unreadable), total=total, lost=lost)
    details = Sentence(", {count} have lost a path or thumbnail", count=len(incomplete)) if incomplete else ""
    return Sentence(
        "The index {path} is damaged: {what}{details}; export the readable {readable} to a file, import that into "
        "a new index, and index the missing images again.",
        path=path,
        what=what,
        details=details,
        readable=readable,
    )


def readable_rows(connection: sqlite3.Connection, provenance: Provenance) -> Iterator[tuple[Record, np.ndarray]]:
    """The records of a provenance that can be read, with their vectors; details that are lost are empty."""
    for space in _spaces(connection, []):
        if space.provenance == provenance:
            yield from ((record, vector) for _, record, vector, _ in _readable(connection, space, []))


def readable_spaces(connection: sqlite3.Connection) -> list[Provenance]:
    """The provenances that can be read."""
    return [space.provenance for space in _spaces(connection, [])]


def _structure(connection: sqlite3.Connection) -> list[str]:
    try:
        found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_SHOWN})")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _spaces(connection: sqlite3.Connection, notes: list[str]) -> list[rows.Space]:
    """The spaces; where their list is lost, as the texts tell them once more."""
    try:
        return rows.read_spaces(connection)
    except (sqlite3.DatabaseError, BrokenContent) as error:
        notes.append(f"spaces: {error}")
    told = []
    for number, text in _scan(connection, "texts", "id, text", notes, "id < 0"):
        with suppress(ValueError, TypeError, RecursionError, BrokenContent):
            length, *names = json.loads(text)
            told.append(rows.as_space((-number, *names, length, None, 0)))
    return sorted(told, key=lambda space: space.id)


def _readable(connection: sqlite3.Connection, space: rows.Space, notes: list[str]) -> Iterator[tuple[int, Record, np.ndarray, bool]]:
    """What can be read of a space: number, record and vector of each place, and whether nothing of the record is lost."""
    size = 4 * min(space.length, LONGEST_VECTOR)
    columns = f"id, CASE WHEN length(described) = {DESCRIBED_BYTES} THEN described END, CASE WHEN length(vectors) = {size} THEN vectors END"
    found = _scan(connection, "chunks", columns, notes, f"space = {space.id:d}")
    places = _Places(connection, space.id, notes)
    for part in in_parts(found, _AT_ONCE):
        part = [row for row in part if isinstance(row[1], bytes) and isinstance(row[2], bytes) and len(row[2]) == size]
        if not part:
            continue
        matrix, good = unpack([row[1] for row in part], [row[2] for row in part], space.length)
        if not good.all():
            notes.append("vectors do not match their checksums")
        places.prepare([row[0] for row in part])
        for (chunk, described, _), vector, is_good in zip(part, matrix, good, strict=True):
            if is_good:
                for number, record, is_whole in places.of(chunk, described[:HASH_BYTES]):
                    yield number, record, vector, is_whole


def _scan(connection: sqlite3.Connection, table: str, columns: str, notes: list[str], where: str = "1") -> Iterator[tuple]:
    """All rows of a table that can be read, in order; past a damaged page row by row."""
    last = 0
    try:
        for row in connection.execute(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY id"):
            last = row[0] if isinstance(row[0], int) else last
            yield row
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


class _Places:
    """The records of vectors, read in spite of damage: whole if that works, else as far as they can be."""

    def __init__(self, connection: sqlite3.Connection, space: int, notes: list[str]) -> None:
        self._connection = connection
        self._numbers: dict[int, list[int]] = {}
        for number, chunk in _scan(connection, "records", "id, chunk", notes, f"space = {space:d}"):
            self._numbers.setdefault(chunk, []).append(number)
        self._ready: dict[int, Record] = {}

    def prepare(self, chunks: list[int]) -> None:
        """Read the records of these vectors together, if that works."""
        try:
            self._ready = rows.read_records(self._connection, {number for chunk in chunks for number in self._numbers.get(chunk, ())})
        except (sqlite3.DatabaseError, BrokenContent):
            self._ready = {}

    def of(self, chunk: int, digest: bytes) -> Iterator[tuple[int, Record, bool]]:
        """Number and record of each place of a vector, and whether nothing of it is lost.

        Where they are all lost, the content alone, under the vector's own number: indexing its images again, which sends nothing, gives
        it its places.
        """
        numbers = self._numbers.get(chunk)
        if not numbers:
            yield chunk, Record(digest.hex()), False
        for number in numbers or ():
            record = self._ready.get(number)
            if record is None:
                with suppress(sqlite3.DatabaseError, BrokenContent):
                    record = rows.read_records(self._connection, {number}).get(number)
            if record is None or record.content_hash != digest.hex():
                yield number, self._without_texts(number, digest), False
            else:
                yield number, record, True

    def _without_texts(self, number: int, digest: bytes) -> Record:
        """What can be known of a record of which a text or the thumbnail cannot be read."""
        query = "SELECT text FROM records JOIN texts ON texts.id = {} WHERE records.id = ?"
        known: dict[str, Any] = {}
        for name in ("source", "series", "plane"):
            with suppress(sqlite3.DatabaseError):
                found = self._connection.execute(query.format(name), (number,)).fetchone()
                known[name] = found[0] if found else ""
        with suppress(sqlite3.DatabaseError):
            known["slice_index"] = self._connection.execute("SELECT slice FROM records WHERE id = ?", (number,)).fetchone()[0]
        record = Record(digest.hex(), **known)
        return record if not record.fault() else Record(digest.hex())
