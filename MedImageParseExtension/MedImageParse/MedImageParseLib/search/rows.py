"""The index's tables, read and written: spaces, texts, records and thumbnails. Vectors are chunks.py's.

Every function expects to run inside a transaction of the caller's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

import numpy as np

from . import chunks
from .faults import BrokenContent
from .records import KINDS, Provenance, Record

_MANY = 500  # values in one statement; SQLite before 3.32 takes 999
_SPACE = "SELECT id, length FROM spaces WHERE model = ? AND deployment = ? AND engine = ? AND preprocessing = ?"
_RECORD = """SELECT records.id, hash, kind, slice, source.text, series.text, plane.text, position.text, added.text, png FROM records
  JOIN texts AS source ON source.id = source JOIN texts AS series ON series.id = series JOIN texts AS plane ON plane.id = plane
  JOIN texts AS position ON position.id = position JOIN texts AS added ON added.id = added
  LEFT JOIN thumbnails ON thumbnails.id = records.id WHERE records.id"""


def find_space(connection: sqlite3.Connection, provenance: Provenance) -> tuple[int, int] | None:
    """Number and vector length of a space, None where it is not there."""
    return connection.execute(_SPACE, provenance.as_tuple).fetchone()


def find_or_make_space(connection: sqlite3.Connection, provenance: Provenance, length: int) -> tuple[int, int]:
    """Number and vector length of a space, made with `length` where it is not there."""
    found = find_space(connection, provenance)
    if found is None:
        query = "INSERT INTO spaces (model, deployment, engine, preprocessing, length) VALUES (?, ?, ?, ?, ?)"
        found = connection.execute(query, (*provenance.as_tuple, length)).lastrowid, length
    return found


def known_hashes(connection: sqlite3.Connection, space: int, hashes: list[str]) -> set[str]:
    """Those of the hashes that the space has."""
    known: set[str] = set()
    blobs = [bytes.fromhex(value) for value in hashes]
    for part, marks in _parts(blobs):
        query = f"SELECT hash FROM records WHERE space = ? AND hash IN ({marks})"
        known.update(bytes(blob).hex() for (blob,) in connection.execute(query, (space, *part)))
    return known


def insert(connection: sqlite3.Connection, space: int, records: list[Record]) -> None:
    """Store records that are known to be new."""
    if not records:
        return
    sequence = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    first = (sequence[0] if sequence else 0) + 1
    numbers: dict[str, int] = {}
    values = [
        [_number(connection, numbers, text) for text in (item.source, item.series, item.plane, _as_json(item.position), item.added)]
        for item in records
    ]
    described = np.zeros(len(records), chunks.DESCRIBED)
    described["id"] = np.arange(first, first + len(records))
    described["series"] = [texts[1] for texts in values]
    described["kind"] = [KINDS.index(record.kind) for record in records]
    homes = chunks.append(connection, space, described, np.stack([record.vector for record in records]))
    query = (
        "INSERT INTO records (id, space, hash, chunk, kind, slice, source, series, plane, position, added) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    for row, (record, texts) in enumerate(zip(records, values)):
        fixed = (first + row, space, bytes.fromhex(record.content_hash), int(homes[row]))
        connection.execute(query, (*fixed, KINDS.index(record.kind), int(record.slice_index), *texts))
        if record.thumbnail:
            connection.execute("INSERT INTO thumbnails (id, png) VALUES (?, ?)", (first + row, record.thumbnail))


def _as_json(position: dict) -> str:
    return json.dumps(position, sort_keys=True, separators=(",", ":"), default=lambda value: value.tolist())  # NumPy's numbers and arrays


def _number(connection: sqlite3.Connection, numbers: dict[str, int], text: str) -> int:
    """The number of a text, stored if it is new. `numbers` remembers those of this transaction."""
    text = _storable(text)
    if text not in numbers:
        found = text_number(connection, text)
        numbers[text] = found if found is not None else connection.execute("INSERT INTO texts (text) VALUES (?)", (text,)).lastrowid
    return numbers[text]


def text_number(connection: sqlite3.Connection, text: str) -> int | None:
    """The number of a text, None where no record has it."""
    found = connection.execute("SELECT id FROM texts WHERE text = ?", (_storable(text),)).fetchone()
    return found[0] if found else None


def _storable(text: str) -> str:
    """A file name that is not valid Unicode, as Python reads it, cannot be stored as it is; its odd bytes are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_records(connection: sqlite3.Connection, ids: set[int]) -> dict[int, Record]:
    """Records by number, without their vectors, in rising order; unknown numbers are left out."""
    records = {}
    for part, marks in _parts(sorted(ids)):
        for row in connection.execute(f"{_RECORD} IN ({marks}) ORDER BY records.id", part):
            records[row[0]] = as_record(row)
    return records


def as_record(row: tuple) -> Record:
    """A row of the query for records as a Record."""
    number, digest, kind, slice_index, source, series, plane, position, added, png = row
    try:
        where = json.loads(position)
        return Record(bytes(digest).hex(), KINDS[kind], source, series, plane, slice_index, where, bytes(png or b""), added=added)
    except (ValueError, IndexError, TypeError):
        raise BrokenContent(f"record {number} is unreadable") from None


def read_provenance(connection: sqlite3.Connection, ids: set[int]) -> dict[int, Provenance]:
    """The provenance of records, by number."""
    found = {}
    for part, marks in _parts(sorted(ids)):
        query = (
            "SELECT records.id, model, deployment, engine, preprocessing FROM records JOIN spaces ON spaces.id = space "
            f"WHERE records.id IN ({marks})"
        )
        found.update({row[0]: Provenance(*row[1:]) for row in connection.execute(query, part)})
    return found


def select(connection: sqlite3.Connection, *, source: str = "", series: str = "", provenance: Provenance | None = None) -> set[int]:
    """Numbers of the records that meet all the conditions given; without any, of all."""
    query, values = "SELECT id FROM records WHERE 1", []
    for column, text in (("source", source), ("series", series)):
        if text:
            number = text_number(connection, text)
            query += f" AND {column} = ?"
            values.append(-1 if number is None else number)
    if provenance is not None:
        space = find_space(connection, provenance)
        query += " AND space = ?"
        values.append(space[0] if space else -1)
    return {number for (number,) in connection.execute(query, values)}


def delete(connection: sqlite3.Connection, ids: set[int]) -> int:
    """Remove records with their vectors, thumbnails, and the texts and spaces that nobody needs any more."""
    homes: dict[tuple[int, int], set[int]] = {}  # chunk and vector length -> records
    for part, marks in _parts(sorted(ids)):
        query = f"SELECT records.id, chunk, length FROM records JOIN spaces ON spaces.id = space WHERE records.id IN ({marks})"
        for number, *home in connection.execute(query, part).fetchall():
            homes.setdefault(tuple(home), set()).add(number)
        connection.execute(f"DELETE FROM records WHERE id IN ({marks})", part)
        connection.execute(f"DELETE FROM thumbnails WHERE id IN ({marks})", part)
    for (chunk, length), numbers in homes.items():
        chunks.take_out(connection, chunk, length, numbers)
    if homes:
        used = " UNION ".join(f"SELECT {column} FROM records" for column in ("source", "series", "plane", "position", "added"))
        connection.execute(f"DELETE FROM texts WHERE id NOT IN ({used})")
        connection.execute("DELETE FROM spaces WHERE id NOT IN (SELECT space FROM records)")
    return sum(len(numbers) for numbers in homes.values())


def repack(connection: sqlite3.Connection) -> None:
    """Fill up the blocks of vectors that removals have left half empty."""
    for space, length in connection.execute("SELECT id, length FROM spaces").fetchall():
        chunks.repack(connection, space, length)


def count_spaces(connection: sqlite3.Connection) -> list[tuple[Provenance, int, int]]:
    """Provenance, number of records and vector length of each space that has records."""
    query = (
        "SELECT model, deployment, engine, preprocessing, count(*), length FROM spaces JOIN records ON space = spaces.id "
        "GROUP BY spaces.id ORDER BY spaces.id"
    )
    return [(Provenance(*row[:4]), row[4], row[5]) for row in connection.execute(query)]


def count_records(connection: sqlite3.Connection) -> tuple[dict[str, int], int, int, int]:
    """Records of each kind, and how many different series, sources and thumbnails there are."""
    kinds = {KINDS[kind]: count for kind, count in connection.execute("SELECT kind, count(*) FROM records GROUP BY kind ORDER BY kind")}
    query = "SELECT count(DISTINCT {0}) FROM records JOIN texts ON texts.id = {0} WHERE text <> ''"
    series, sources = (connection.execute(query.format(column)).fetchone()[0] for column in ("series", "source"))
    return kinds, series, sources, connection.execute("SELECT count(*) FROM thumbnails").fetchone()[0]


def _parts(values: Iterable) -> Iterator[tuple[list, str]]:
    """The values in parts that fit one statement, each with its question marks."""
    values = list(values)
    for start in range(0, len(values), _MANY):
        part = values[start : start + _MANY]
        yield part, ",".join("?" * len(part))
