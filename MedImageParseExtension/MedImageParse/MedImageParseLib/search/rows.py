"""The index's tables, read and written: spaces, texts, records, vectors and thumbnails.

Every function expects to run inside a transaction of the caller's. What comes from the file is checked before it is believed: an index
may have been made by somebody else.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from ..remedies import Sentence
from . import labels
from .faults import BrokenContent
from .matrix import HASH_BYTES, describe, whole_numbers
from .records import KINDS, LARGEST_THUMBNAIL, LONGEST_VECTOR, Provenance, Record, are_names, parse_position, position_text
from .texts import USED, number_text, storable, text_number

_MANY = 500  # values in one statement; SQLite before 3.32 takes 999
_RECORD = f"""SELECT records.id, hash, kind, slice, source.text, series.text, plane.text, position.text, added.text,
  CASE WHEN length(png) <= {LARGEST_THUMBNAIL} THEN png END FROM records
  JOIN texts AS source ON source.id = source JOIN texts AS series ON series.id = series JOIN texts AS plane ON plane.id = plane
  JOIN texts AS position ON position.id = position JOIN texts AS added ON added.id = added
  LEFT JOIN thumbnails ON thumbnails.id = chunk WHERE records.id"""
_STUDIES = """SELECT series.text, position.text, count(*) FROM records
  JOIN texts AS series ON series.id = series JOIN texts AS position ON position.id = position
  GROUP BY series.id, position.id ORDER BY min(records.id)"""


class Readable(Protocol):
    """An index that is open for reading; index.EmbeddingIndex is one."""

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction in which all reads see the same state."""


@dataclass(slots=True, frozen=True)
class Space:
    """One provenance in the file.

    Attributes:
        id: its number.
        length: numbers in each of its vectors.
        factor: the scaling factor that the model gave with them, None where it gave none.
        revision: another number after each removal.
    """

    id: int
    provenance: Provenance
    length: int
    factor: float | None
    revision: int


def read_spaces(connection: sqlite3.Connection) -> list[Space]:
    """All spaces, in the order in which they came.

    Raises:
        BrokenContent: something in them cannot be.
    """
    query = "SELECT id, model, deployment, engine, preprocessing, length, factor, revision FROM spaces ORDER BY id LIMIT 10000"
    return [as_space(row) for row in connection.execute(query)]


def as_space(row: tuple) -> Space:
    """A row of the table of spaces. Raises BrokenContent."""
    number, *names, length, factor, revision = row
    good = are_names(names) and type(length) is int and 1 <= length <= LONGEST_VECTOR
    if not good or type(revision) is not int or not (factor is None or isinstance(factor, float)):
        raise BrokenContent("what it says of its vectors cannot be")
    return Space(number, Provenance(*names), length, factor, revision)


def find_space(connection: sqlite3.Connection, provenance: Provenance) -> Space | None:
    """The space of a provenance, None where it is not there."""
    return next((space for space in read_spaces(connection) if space.provenance == provenance), None)


def make_space(connection: sqlite3.Connection, provenance: Provenance, length: int, factor: float | None = None) -> Space:
    """A new space. Its provenance stands in the texts once more, under its negative number, for the case of damage."""
    query = "INSERT INTO spaces (model, deployment, engine, preprocessing, length, factor, revision) VALUES (?, ?, ?, ?, ?, ?, ?)"
    revision = secrets.randbits(62)
    number = connection.execute(query, (*provenance.as_tuple, length, factor, revision)).lastrowid
    again = json.dumps([length, *provenance.as_tuple])
    connection.execute("INSERT OR REPLACE INTO texts (id, text) VALUES (?, ?)", (-int(number or 0), again))
    return Space(int(number or 0), provenance, length, factor, revision)


def set_factor(connection: sqlite3.Connection, space: Space, factor: float) -> None:
    """Record the scaling factor of a space that has none yet."""
    connection.execute("UPDATE spaces SET factor = ? WHERE id = ?", (factor, space.id))


def held_contents(connection: sqlite3.Connection, space: int, hashes: Iterable[str]) -> dict[str, int]:
    """Those of the content hashes that the space holds, each with the number of its vector."""
    held: dict[str, int] = {}
    wanted = {bytes.fromhex(value) for value in hashes}
    for part, marks in _parts(value[:8] for value in wanted):
        query = f"SELECT hash, chunk FROM records WHERE substr(hash, 1, 8) IN ({marks}) AND space = ?"
        for digest, chunk in connection.execute(query, (*part, space)):
            if digest in wanted and type(chunk) is int:
                held[digest.hex()] = chunk
    return held


def add(connection: sqlite3.Connection, space: Space, records: list[Record]) -> int:
    """Store the vectors of contents that are new, and the places that are new; gives how many places.

    A record without a vector is a further place of a content; where that is not held (any more), it is passed over. A file that is no
    longer where it was, and has turned up elsewhere, has moved: its places are changed, not added to.
    """
    numbers: dict[str, int] = {}
    held = held_contents(connection, space.id, (record.content_hash for record in records))
    places = _places_of(connection, set(held.values()))
    before = {chunk: len(known) for chunk, known in places.items()}
    is_gone = lru_cache(None)(_is_gone)
    added = 0
    for record in records:
        chunk = held.get(record.content_hash)
        if chunk is None:
            if not record.vector.size:
                continue
            chunk = held[record.content_hash] = _insert_vector(connection, space.id, record)
            before[chunk] = 1
        known = places.setdefault(chunk, [])
        here = _Place(0, KINDS.index(record.kind), int(record.slice_index), record.series, record.plane, storable(record.source))
        old = _settle(known, here, is_gone)
        if old is None:
            known.append(here._replace(id=_write_place(connection, numbers, space.id, chunk, record)))
            added += 1
        elif old[1:] != here[1:] and (here.source or not old.series):
            _write_place(connection, numbers, space.id, chunk, record, old.id)
            known[known.index(old)] = here._replace(id=old.id)
            if old.series != here.series:
                _change_revision(connection, space.id)
    counts = [(len(known), chunk) for chunk, known in places.items() if len(known) != before.get(chunk)]
    connection.executemany("UPDATE chunks SET count = ? WHERE id = ?", counts)
    return added


class _Place(NamedTuple):
    """Where a content is shown: record number, then what tells places apart."""

    id: int
    kind: int
    slice: int
    series: str
    plane: str
    source: str


def _settle(known: list[_Place], here: _Place, is_gone: Callable[[str], bool]) -> _Place | None:
    """The place among those known that this one is, or that has moved here; None where it is a further one."""
    alike = [place for place in known if place[1:5] == here[1:5]]
    same = next((place for place in alike if place.source == here.source), None)
    if same is not None or (alike and not here.source):
        return same or alike[0]
    moved = next((place for place in alike if is_gone(place.source)), None)
    # A record that was saved from a damaged index has lost its place; this is it.
    return moved or next((place for place in known if not place.series and not place.source), None)


def _is_gone(source: str) -> bool:
    return not source or (os.path.isabs(source) and not os.path.exists(source))


def _places_of(connection: sqlite3.Connection, chunks: set[int]) -> dict[int, list[_Place]]:
    """The places of each of these vectors."""
    found: dict[int, list[_Place]] = {chunk: [] for chunk in chunks}
    prefixes: set[bytes] = set()
    for part, marks in _parts(chunks):
        query = f"SELECT described FROM chunks WHERE id IN ({marks}) AND length(described) <= 64"
        prefixes.update(row[0][:8] for row in connection.execute(query, part) if isinstance(row[0], bytes))
    for part, marks in _parts(prefixes):
        query = (
            "SELECT chunk, records.id, kind, slice, series.text, plane.text, source.text FROM records "
            "JOIN texts AS source ON source.id = source JOIN texts AS series ON series.id = series JOIN texts AS plane ON plane.id = plane "
            f"WHERE substr(hash, 1, 8) IN ({marks})"
        )
        for chunk, *place in connection.execute(query, part):
            if chunk in found:
                found[chunk].append(_Place(*place))
    return found


def _insert_vector(connection: sqlite3.Connection, space: int, record: Record) -> int:
    query = "INSERT INTO chunks (space, count, described, vectors) VALUES (?, 1, ?, ?)"
    vector = record.vector.astype("<f4")
    chunk = connection.execute(query, (space, describe(bytes.fromhex(record.content_hash), vector), vector.tobytes())).lastrowid
    if record.thumbnail:
        connection.execute("INSERT OR REPLACE INTO thumbnails (id, png) VALUES (?, ?)", (chunk, record.thumbnail))
    return int(chunk or 0)


def _write_place(
    connection: sqlite3.Connection, numbers: dict[str, int], space: int, chunk: int, record: Record, number: int | None = None
) -> int:
    """Store a record, or overwrite the one with this number; gives its number."""
    texts = (record.source, record.series, record.plane, position_text(record.position), record.added)
    values = (space, bytes.fromhex(record.content_hash), chunk, KINDS.index(record.kind), int(record.slice_index))
    query = (
        "INSERT OR REPLACE INTO records (id, space, hash, chunk, kind, slice, source, series, plane, position, added) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    return int(connection.execute(query, (number, *values, *(number_text(connection, numbers, text) for text in texts))).lastrowid or 0)


def _change_revision(connection: sqlite3.Connection, space: int) -> None:
    connection.execute("UPDATE spaces SET revision = ? WHERE id = ?", (secrets.randbits(62), space))


def read_records(connection: sqlite3.Connection, ids: set[int]) -> dict[int, Record]:
    """Records by number, without their vectors, in rising order; unknown numbers are left out."""
    records = {}
    for part, marks in _parts(sorted(ids)):
        for row in connection.execute(f"{_RECORD} IN ({marks}) ORDER BY records.id", part):
            records[row[0]] = as_record(row)
    return records


def as_record(row: tuple) -> Record:
    """A row of the query for records as a Record. Raises BrokenContent where it cannot be one."""
    number, digest, kind, slice_index, source, series, plane, position, added, png = row
    try:
        if not isinstance(digest, bytes) or len(digest) != HASH_BYTES or type(kind) is not int or kind < 0:
            raise ValueError("its hash or kind cannot be")
        where = parse_position(position)
        record = Record(digest.hex(), KINDS[kind], source, series, plane, slice_index, where, png or b"", added=added)
        if wrong := record.fault():
            raise ValueError(wrong)
    except (ValueError, IndexError):
        raise BrokenContent(Sentence("record {number} is unreadable", number=number)) from None
    return record


def select(
    connection: sqlite3.Connection, size: int, *, source: str = "", series: str = "", provenance: Provenance | None = None
) -> set[int]:
    """Numbers of the records that meet all the conditions given; without any, of all.

    Args:
        connection: to the file of the index.
        size: bytes of the file, which nothing in it can exceed.
        source: where the image came from, as its record says; "" for any.
        series: the image's series; "" for any.
        provenance: of the vectors; None for any.
    """
    query, values = "SELECT id FROM records WHERE 1", []
    for column, text in (("source", source), ("series", series)):
        if text:
            number = text_number(connection, text)
            query += f" AND {column} = ?"
            values.append(-1 if number is None else number)
    if provenance is not None:
        space = find_space(connection, provenance)
        query += " AND space = ?"
        values.append(space.id if space else -1)
    return set(whole_numbers(connection.execute(query, values), 1, size // 8)[:, 0].tolist())


def delete(connection: sqlite3.Connection, ids: set[int]) -> int:
    """Remove places; a vector and its thumbnail go with the last of its places, then the texts and spaces that nobody needs any more."""
    losses: Counter[int] = Counter()
    spaces: set[int] = set()
    for part, marks in _parts(sorted(ids)):
        for chunk, space in connection.execute(f"SELECT chunk, space FROM records WHERE id IN ({marks})", part):
            losses[chunk] += 1
            spaces.add(space)
        connection.execute(f"DELETE FROM records WHERE id IN ({marks})", part)
    if not losses:
        return 0
    connection.executemany("UPDATE chunks SET count = count - ? WHERE id = ?", [(lost, chunk) for chunk, lost in losses.items()])
    for part, marks in _parts(losses):
        connection.execute(f"DELETE FROM chunks WHERE id IN ({marks}) AND count <= 0", part)
        connection.execute(f"DELETE FROM thumbnails WHERE id IN ({marks}) AND id NOT IN (SELECT id FROM chunks)", part)
    labels.drop_orphans(connection)
    connection.execute("DELETE FROM spaces WHERE id NOT IN (SELECT space FROM records)")
    connection.execute(f"DELETE FROM texts WHERE CASE WHEN id < 0 THEN -id NOT IN (SELECT id FROM spaces) ELSE id NOT IN ({USED}) END")
    for space in spaces:
        _change_revision(connection, space)
    return losses.total()


def count_spaces(connection: sqlite3.Connection) -> list[tuple[Space, int]]:
    """Each space that has records, with how many."""
    counts = dict(connection.execute("SELECT space, count(*) FROM records GROUP BY space"))
    return [(space, counts[space.id]) for space in read_spaces(connection) if space.id in counts]


def count_records(connection: sqlite3.Connection) -> tuple[dict[str, int], int, int, int]:
    """Records of each kind, and how many different series, sources and thumbnails there are."""
    found = connection.execute("SELECT kind, count(*) FROM records GROUP BY kind ORDER BY kind LIMIT 100").fetchall()
    if not all(type(kind) is int and 0 <= kind < len(KINDS) for kind, _ in found):
        raise BrokenContent("a record is of no known kind")
    kinds = {KINDS[kind]: count for kind, count in found}
    query = "SELECT count(DISTINCT {0}) FROM records JOIN texts ON texts.id = {0} WHERE text <> ''"
    series, sources = (connection.execute(query.format(column)).fetchone()[0] for column in ("series", "source"))
    return kinds, series, sources, connection.execute("SELECT count(*) FROM thumbnails").fetchone()[0]


def read_studies(connection: sqlite3.Connection) -> Iterator[tuple[str, str, int]]:
    """Series, name and number of records of each group of records with one position; without vectors and thumbnails."""
    for series, position, count in connection.execute(_STUDIES):
        try:
            name = parse_position(position).get("name")
        except ValueError:
            name = ""  # one unreadable record does not cost the list; the integrity check names it
        yield series if isinstance(series, str) else "", str(name or ""), count


def _parts(values: Iterable) -> Iterator[tuple[list, str]]:
    """The values in parts that fit one statement, each with its question marks."""
    values = list(values)
    for start in range(0, len(values), _MANY):
        part = values[start : start + _MANY]
        yield part, ",".join("?" * len(part))
