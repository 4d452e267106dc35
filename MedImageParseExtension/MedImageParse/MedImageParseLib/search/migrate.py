"""Indexes of format 1, in which a content had one place only, brought up to date; nothing has to be embedded again.

Format 1 kept vectors packed, up to 512 KiB in one BLOB, each with its record's number, series, kind and checksum in another.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable

import numpy as np

from .faults import BrokenContent
from .matrix import checksums, describe
from .records import LONGEST_VECTOR, are_names

OLD_VERSION = 1
OLD_TABLES = """
CREATE TABLE spaces (id INTEGER PRIMARY KEY, model TEXT NOT NULL, deployment TEXT NOT NULL, engine TEXT NOT NULL,
  preprocessing TEXT NOT NULL, length INTEGER NOT NULL, UNIQUE (model, deployment, engine, preprocessing));
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, hash BLOB NOT NULL, chunk INTEGER NOT NULL,
  kind INTEGER NOT NULL, slice INTEGER NOT NULL, source INTEGER NOT NULL, series INTEGER NOT NULL, plane INTEGER NOT NULL,
  position INTEGER NOT NULL, added INTEGER NOT NULL);
CREATE UNIQUE INDEX records_by_hash ON records (hash, space);
CREATE TABLE thumbnails (id INTEGER PRIMARY KEY, png BLOB NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, revision INTEGER NOT NULL, count INTEGER NOT NULL,
  made_by TEXT NOT NULL, described BLOB NOT NULL, vectors BLOB NOT NULL);
"""
_DESCRIBED = np.dtype([("id", "<i8"), ("series", "<i4"), ("kind", "<u4"), ("checksum", "<u8")])
_LARGEST_BLOCK = 2**20  # bytes; 512 KiB of vectors, or one that is longer


def bring_up_to_date(connection: sqlite3.Connection, make_tables: Callable[[], None]) -> None:
    """Change the tables and what is in them, inside the caller's transaction. A vector keeps its record's number.

    Args:
        connection: to an index of format 1 that no other program reads.
        make_tables: makes the present tables, and sets the version.

    Raises:
        BrokenContent: it is damaged; the caller takes everything back.
    """
    for name in ("spaces", "chunks", "records", "texts", "thumbnails"):
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    connection.execute("DROP INDEX records_by_hash")
    make_tables()
    for name in ("texts", "thumbnails"):
        connection.execute(f"INSERT INTO {name} SELECT * FROM old_{name}")
    query = "SELECT id, length, model, deployment, engine, preprocessing FROM old_spaces"
    moved = 0
    for space, length, *names in connection.execute(query).fetchall():
        if type(length) is not int or not 1 <= length <= LONGEST_VECTOR or not are_names(names):
            raise BrokenContent("what it says of its vectors cannot be")
        connection.execute("INSERT INTO spaces VALUES (?, ?, ?, ?, ?, ?, NULL, ?)", (space, *names, length, secrets.randbits(62)))
        connection.execute("INSERT INTO texts (id, text) VALUES (?, ?)", (-space, json.dumps([length, *names])))
        moved += _move_vectors(connection, space, length)
    connection.execute(
        "INSERT INTO records SELECT id, space, hash, id, kind, slice, source, series, plane, position, added FROM old_records"
    )
    counts = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("records", "chunks")]
    if counts != [moved, moved]:
        raise BrokenContent("records and vectors do not belong together")
    # A number is never given twice, not even that of a record which was removed before.
    connection.execute("UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence) WHERE name IN ('records', 'chunks')")
    for name in ("spaces", "chunks", "records", "texts", "thumbnails"):
        connection.execute(f"DROP TABLE old_{name}")


def _move_vectors(connection: sqlite3.Connection, space: int, length: int) -> int:
    """Unpack the vectors of one space; gives how many."""
    moved = 0
    limit = max(_LARGEST_BLOCK, 4 * length)
    blocks = connection.execute(
        "SELECT CASE WHEN length(described) <= ? THEN described END, CASE WHEN length(vectors) <= ? THEN vectors END "
        "FROM old_chunks WHERE space = ? ORDER BY id",
        (limit, limit, space),
    )
    for described, vectors in blocks:
        if not isinstance(described, bytes) or not isinstance(vectors, bytes) or len(described) % _DESCRIBED.itemsize:
            raise BrokenContent("a block of vectors has the wrong size")
        rows = np.frombuffer(described, _DESCRIBED)
        if len(vectors) != 4 * length * len(rows):
            raise BrokenContent("a block of vectors has the wrong size")
        matrix = np.frombuffer(vectors, "<f4").reshape(-1, length)
        if not np.array_equal(checksums(matrix), rows["checksum"]):
            raise BrokenContent("vectors do not match their checksums")
        for number, vector in zip(rows["id"].tolist(), matrix, strict=True):
            digest = connection.execute("SELECT hash FROM old_records WHERE id = ?", (number,)).fetchone()
            if digest is None or not isinstance(digest[0], bytes) or len(digest[0]) != 32:
                raise BrokenContent("a vector's record is missing")
            query = "INSERT INTO chunks (id, space, count, described, vectors) VALUES (?, ?, 1, ?, ?)"
            connection.execute(query, (number, space, describe(digest[0], vector), vector.tobytes()))
        moved += len(rows)
    return moved
