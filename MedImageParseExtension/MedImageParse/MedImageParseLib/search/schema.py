"""The index file: one SQLite database with a rollback journal.

A rollback journal, not a write-ahead log: the index stays one file that can be copied and put on a network drive, and a killed writer
leaves a journal that the next one to open the index plays back by itself. Writes are short, so readers hardly wait.

    spaces      one row a provenance, with the length of its vectors
    records     one row an image: content hash, space, the chunk that holds its vector, and what is known of it
    texts       each path, series, plane, date and JSON position once; records refer to them by number
    thumbnails  PNG bytes
    chunks      up to 512 KiB of vectors in one BLOB with, for each row, its record, series, kind and checksum, and once more, for
                the case of damage, the provenance as JSON

Vectors are packed because a row of 4096 bytes fits no page size without waste; a chunk knows enough to search without the records.
The version is SQLite's user_version: a file with a higher one was made by a newer program and is left alone.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from .faults import IndexFault, as_sentences

APPLICATION_ID = 0x4D495049  # "MIPI"
VERSION = 1
PAGE_BYTES = 65536
_MAGIC = b"SQLite format 3\0"

_TABLES = """
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


def connect(path: Path, *, create: bool, wait_s: float) -> sqlite3.Connection:
    """Open the index file, made anew if it is absent or empty and `create` says so.

    Args:
        wait_s: how long to wait for another program that is writing, seconds.

    Raises:
        IndexFault: absent, not an index, of a newer version, damaged at its beginning, or not to be opened.
    """
    is_new = not path.exists() or path.stat().st_size == 0
    if is_new and not create:
        raise IndexFault(f"There is no index at {path}; add images to make one.", "missing")
    if path.is_dir() or not path.parent.is_dir():
        raise IndexFault(f"The index {path} cannot be made: that is a folder, or the folder for it does not exist.", "missing")
    _look_at_header(path)
    if is_new:
        _make_private(path)
    with as_sentences(path):
        connection = sqlite3.connect(str(path), timeout=wait_s, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection, path, is_new)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_private(path: Path) -> None:
    """An empty file that only its owner may read: thumbnails are images of patients. Whoever shares an index widens that himself."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise IndexFault(f"The index {path} cannot be made ({error.strerror}); choose another folder.", "missing") from error


def _look_at_header(path: Path) -> None:
    """Refuse a foreign or newer file before SQLite touches it. A file with a journal beside it is SQLite's to repair first."""
    if not path.exists() or path.stat().st_size == 0 or os.path.exists(f"{path}-journal"):
        return
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except OSError as error:
        raise IndexFault(f"The index {path} cannot be read ({error.strerror}); check its permissions.", "missing") from error
    if header[:16] != _MAGIC or len(header) < 100:
        raise IndexFault(f"The file {path} is not an index, or its beginning is damaged; choose another file or restore a copy.", "foreign")
    # Offsets from the SQLite file format: user_version at 60, application_id at 68, both big-endian.
    _check_versions(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))


def _check_versions(path: Path, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise IndexFault(f"The file {path} is a database of another program, not an index; choose another file.", "foreign")
    if version > VERSION:
        raise IndexFault(
            f"The index {path} was made by a newer version of MedImageParse (format {version}; this one reads up to {VERSION}); "
            "update the extension: the file was not touched.",
            "newer",
        )


def _set_up(connection: sqlite3.Connection, path: Path, is_new: bool) -> None:
    for setting in ("synchronous = FULL", "secure_delete = ON", "cache_size = -16384"):
        connection.execute(f"PRAGMA {setting}")
    if is_new:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("BEGIN EXCLUSIVE")
        try:
            # Another program may have made it since; then there is nothing to do.
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _TABLES.strip().split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    _check_versions(path, application, connection.execute("PRAGMA user_version").fetchone()[0])
