"""The index file: one SQLite database with a rollback journal.

A rollback journal, not a write-ahead log: the index stays one file that can be copied and put on a network drive, and a killed writer
leaves a journal that the next one to open the index plays back by itself. Writes are short, so readers hardly wait.

    spaces      one row a provenance: the length of its vectors, the model's scaling factor, and a revision that each removal changes
    chunks      one row a content: its vector as one BLOB, its hash and checksum beside it, and how many records show it
    records     one row a place where a content is shown: study, slice, path, and what else is known of it
    texts       each path, series, plane, date and JSON position once; records refer to them by number. Under the negative number of each
                space its length and provenance stand once more, for the case of damage
    thumbnails  PNG bytes, under the number of the content
    labels      one row a label that a place has in a named set of labels: texts' numbers for the set, the label, the series and the plane,
                and the slice (-2 for the series as a whole). Places are told by what they show, not by records' numbers: a label holds in
                every space, and for slices that are added later

Fifteen vectors of 4096 bytes and what stands beside them fill a page of 65536 bytes to within 6 %. The version is SQLite's user_version:
a file with a higher one was made by a newer program and is left alone, one with a lower one is brought up to date (migrate.py).

A file may have been made by somebody else: its tables must be ours to the letter (a view or a trigger is a program), nothing in it is
trusted (`trusted_schema`), and a page tree that leads in circles meets a deadline.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..configuration import NO_LOCKS
from .faults import IndexFault, as_sentences
from .migrate import OLD_TABLES, OLD_VERSION, bring_up_to_date

APPLICATION_ID = 0x4D495049  # "MIPI"
VERSION = 3
PAGE_BYTES = 65536
_BEFORE_LABELS = 2  # the format that lacks the table of labels, and nothing else
_MAGIC = b"SQLite format 3\0"
_LARGEST_VALUE = 16 * 2**20  # bytes of one text or BLOB
_STEPS = 100_000  # of SQLite's machine between two looks at the clock
LEAST_SECONDS = 15.0  # of the processor, that any statement may take
_SLOWEST = 2e6  # bytes a second that any processor reads

_TABLES_2 = """
CREATE TABLE spaces (id INTEGER PRIMARY KEY, model TEXT NOT NULL, deployment TEXT NOT NULL, engine TEXT NOT NULL,
  preprocessing TEXT NOT NULL, length INTEGER NOT NULL, factor REAL, revision INTEGER NOT NULL,
  UNIQUE (model, deployment, engine, preprocessing));
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE chunks (id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, count INTEGER NOT NULL, described BLOB NOT NULL,
  vectors BLOB NOT NULL);
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, hash BLOB NOT NULL, chunk INTEGER NOT NULL,
  kind INTEGER NOT NULL, slice INTEGER NOT NULL, source INTEGER NOT NULL, series INTEGER NOT NULL, plane INTEGER NOT NULL,
  position INTEGER NOT NULL, added INTEGER NOT NULL);
CREATE INDEX records_by_hash ON records (substr(hash, 1, 8));
CREATE TABLE thumbnails (id INTEGER PRIMARY KEY, png BLOB NOT NULL);
"""
_LABELS = """
CREATE TABLE labels (id INTEGER PRIMARY KEY, name INTEGER NOT NULL, label INTEGER NOT NULL, series INTEGER NOT NULL, plane INTEGER NOT NULL,
  slice INTEGER NOT NULL, UNIQUE (name, series, plane, slice, label));
"""
TABLES = _TABLES_2 + _LABELS.lstrip()


class Connection(sqlite3.Connection):
    """A connection whose statements end in the time that a file of this size can need at the most.

    It is the processor's time in the thread that asks: a busy computer or a slow drive makes no index a damaged one.
    """

    _allowed = _ends = float("inf")
    _thread = 0

    def start_clock(self, size: int) -> None:
        """From now on. Waiting for other programs is not counted: call this when the transaction has begun.

        Args:
            size: bytes of the file.
        """
        self._allowed = LEAST_SECONDS + size / _SLOWEST
        self._thread = 0

    def is_late(self) -> bool:
        """Whether the statement under way is to end, with sqlite3.OperationalError "interrupted"."""
        if threading.get_ident() != self._thread:
            self._thread, self._ends = threading.get_ident(), time.thread_time() + self._allowed
        return time.thread_time() > self._ends


def connect(path: Path, *, create: bool, wait_s: float) -> Connection:
    """Open the index file, made anew if it is absent or empty and `create` says so; one of an older format is brought up to date.

    Args:
        path: of the file.
        create: whether to make one.
        wait_s: how long to wait for another program that is writing, seconds.

    Raises:
        IndexFault: absent, not an index, of a newer version, damaged at its beginning, on a drive without file locks, or not to be opened.
    """
    is_new = not path.exists() or path.stat().st_size == 0
    if is_new and not create:
        raise IndexFault("There is no index at {path}; add images to make one.", "missing", path=path)
    _look_at_header(path)
    check_place(path)
    if is_new:
        _make_private(path)
    with as_sentences(path):
        connection = sqlite3.connect(str(path), timeout=wait_s, isolation_level=None, check_same_thread=False, factory=Connection)
        try:
            _set_up(connection, path, is_new)
        except BaseException:
            connection.close()
            raise
    return connection


def check_place(path: Path) -> None:
    """Whether an index may be kept there, as far as that can be known without making one.

    Raises:
        IndexFault: there is no such folder, or its drive has no file locks.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise IndexFault("The index {path} cannot be made: that is a folder, or the folder for it does not exist.", "missing", path=path)
    _require_locks(path)


def _require_locks(path: Path) -> None:
    """Refuse a drive without file locks at once: SQLite would wait there for a program that does not exist, or damage the index.

    Not tried on the index itself: letting go of a lock there would let go of those of every connection in this process.
    """
    try:
        import fcntl
    except ImportError:
        return  # Windows: its network drives have locks
    try:
        handle, name = tempfile.mkstemp(prefix=".locks-", dir=path.parent)
    except OSError:
        return  # nothing can be written there; an index may still be read
    try:
        os.unlink(name)
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise IndexFault(
                "The drive of the index {path} has no file locks, as some network shares, so two programs could damage it; "
                "keep the index on a local disk.",
                "no-locks",
                path=path,
            ) from error
    finally:
        os.close(handle)


def _make_private(path: Path) -> None:
    """An empty file that only its owner may read: thumbnails are images of patients. Whoever shares an index widens that himself."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise IndexFault(
            "The index {path} cannot be made ({why}); choose another folder.", "missing", path=path, why=error.strerror
        ) from error


def _look_at_header(path: Path) -> None:
    """Refuse a foreign or newer file before SQLite touches it. A file with a journal beside it is SQLite's to repair first."""
    if not path.exists() or path.stat().st_size == 0 or os.path.exists(f"{path}-journal"):
        return
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except OSError as error:
        raise IndexFault(
            "The index {path} cannot be read ({why}); check its permissions.", "missing", path=path, why=error.strerror
        ) from error
    if header[:16] != _MAGIC or len(header) < 100:
        raise IndexFault(
            "The file {path} is not an index, or its beginning is damaged; choose another file or restore a copy.", "foreign", path=path
        )
    # Offsets from the SQLite file format: user_version at 60, application_id at 68, both big-endian.
    _check_versions(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))


def _check_versions(path: Path, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise IndexFault("The file {path} is a database of another program, not an index; choose another file.", "foreign", path=path)
    if version > VERSION:
        raise IndexFault(
            "The index {path} was made by a newer version of MedImageParse (format {version}; this one reads up to "
            "{own_version}); update the extension: the file was not touched.",
            "newer",
            path=path,
            version=version,
            own_version=VERSION,
        )


def _set_up(connection: Connection, path: Path, is_new: bool) -> None:
    if hasattr(connection, "setlimit"):  # Python 3.11
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
    connection.set_progress_handler(connection.is_late, _STEPS)
    for setting in ("trusted_schema = OFF", "synchronous = FULL", "secure_delete = ON", "cache_size = -16384"):
        connection.execute(f"PRAGMA {setting}")
    if is_new:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        with _exclusively(connection):
            # Another program may have made it since; then there is nothing to do.
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                _make_tables(connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    version = _version(connection, path)
    if version == OLD_VERSION:
        _require_tables(connection, path, OLD_TABLES)
        _migrate(connection, path)
    elif version == _BEFORE_LABELS:
        _require_tables(connection, path, _TABLES_2)
        _add_labels(connection, path)
    _require_tables(connection, path, TABLES)


def _make_tables(connection: Connection) -> None:
    for statement in TABLES.strip().split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: Connection, path: Path) -> int:
    application, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    _check_versions(path, application, version)
    return version


def _require_tables(connection: Connection, path: Path, tables: str) -> None:
    """Refuse a file whose tables are not ours to the letter."""
    found = connection.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' LIMIT 100").fetchall()
    texts = {" ".join(row[0].split()) for row in found if isinstance(row[0], str) and len(row[0]) < 10_000}
    expected = {" ".join(statement.split()) for statement in tables.strip().rstrip(";").split(";\n")}
    if texts != expected or len(found) != len(expected):
        raise IndexFault(
            "The file {path} does not have the tables of an index, or others as well; choose another file or restore a copy.",
            "foreign",
            path=path,
        )


def _add_labels(connection: Connection, path: Path) -> None:
    """Bring an index of format 2 up to date: one empty table more."""
    with _exclusively(connection):
        if _version(connection, path) == _BEFORE_LABELS:
            connection.execute(_LABELS.strip().rstrip(";"))
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _migrate(connection: Connection, path: Path) -> None:
    """Bring an index of the older format up to date, whole or not at all; nothing has to be embedded again."""
    with _exclusively(connection):
        if _version(connection, path) == OLD_VERSION:  # no other program has done it meanwhile
            bring_up_to_date(connection, lambda: _make_tables(connection))
    with suppress(sqlite3.Error):  # a full disk: the room of the old tables is used for new vectors instead
        connection.execute("VACUUM")


@contextmanager
def _exclusively(connection: Connection) -> Iterator[None]:
    """A transaction that no other program reads or writes beside, stored whole or not at all."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
