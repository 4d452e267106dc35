"""The file beside an index that makes its searches fast: sketches, or FAISS's lists where a person asked for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import UsageError
from ..packages import require
from . import rows
from .faults import IndexFault
from .inverted_lists import InvertedLists, count_vectors, lists_path, make_lists
from .searching import Prepared
from .sketch import Sketch, make_sketch, sketch_path, vectors_of

METHODS = ("sketches", "faiss")


def check_method(method: str) -> None:
    """Raises UsageError for a way that there is not, or whose package is not installed."""
    if method not in METHODS:
        raise UsageError("An index is prepared with {listed}, not with '{method}'.", listed=" or ".join(METHODS), method=method[:40])
    if method == "faiss":
        require("faiss", "this way of searching", "or prepare the index with sketches")


def prepare_all(path: Path, connection: sqlite3.Connection, told: Callable[[int, int], object], method: str) -> int:
    """Write the file of each space, inside the caller's transaction; gives how many vectors there are.

    Args:
        path: the index's.
        connection: to it.
        told: told(done, all) now and then; what it raises stops it.
        method: one of METHODS.

    Raises:
        IndexFault: no room.
    """
    try:
        return sum(_prepare(path, connection, space, told, method) for space in rows.read_spaces(connection))
    except OSError as error:
        why = error.strerror or "no reason given"
        raise IndexFault(
            "The sketches beside {path} cannot be written ({why}); make room, or go on without them.", "room", path=path, why=why
        ) from error


def _prepare(path: Path, connection: sqlite3.Connection, space: rows.Space, told: Callable[[int, int], object], method: str) -> int:
    if method == "sketches":
        return make_sketch(sketch_path(path, space.id), connection, space.id, space.length, space.revision, told)
    count = count_vectors(connection, space.id)
    give = partial(vectors_of, connection, space.id, space.length)
    return make_lists(lists_path(path, space.id, space.revision), give, count, space.length, told) if count else 0


def open_prepared(path: Path, space: rows.Space) -> Prepared | None:
    """What a space was prepared with, None where there is nothing that fits.

    Args:
        path: the index's.
        space: as it is now.
    """
    sketch = Sketch.open(sketch_path(path, space.id), space.id, space.length, space.revision)
    return sketch or InvertedLists.open(lists_path(path, space.id, space.revision), space.length)
