"""One index's records and labels copied into another, inside the transaction of the one that gets them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from . import labels as label_rows
from . import rows
from .faults import other_length
from .records import checked
from .sketch import exact_vectors

_AT_ONCE = 1024  # records


def copy_all(connection: sqlite3.Connection, other: rows.Readable, require_factor: Callable[[rows.Space, float | None], None]) -> int:
    """Copy what another index holds; what is there already stays as it is. Memory holds 1024 vectors at a time.

    Args:
        connection: of the index that gets them, in a transaction that changes it.
        other: the other one.
        require_factor: raises where vectors came with another scaling factor than those of the space.

    Returns:
        how many records were new.
    """
    added = 0
    with other.reading() as theirs:
        for space in rows.read_spaces(theirs):
            added += _copy_space(connection, theirs, space, require_factor)
        label_rows.write(connection, label_rows.read(theirs), replace=False)
    return added


def _copy_space(
    connection: sqlite3.Connection,
    theirs: sqlite3.Connection,
    space: rows.Space,
    require_factor: Callable[[rows.Space, float | None], None],
) -> int:
    here = rows.find_space(connection, space.provenance)
    if here is None:
        here = rows.make_space(connection, space.provenance, space.length, space.factor)
    if here.length != space.length:
        raise other_length(space.length, here.length, space.provenance)
    require_factor(here, space.factor)
    if space.factor is not None and here.factor is None:
        rows.set_factor(connection, here, space.factor)
    added = last = 0
    query = f"SELECT id, chunk FROM records WHERE space = ? AND id > ? ORDER BY id LIMIT {_AT_ONCE}"
    while part := theirs.execute(query, (space.id, last)).fetchall():
        records = rows.read_records(theirs, {number for number, _chunk in part})
        chunks = np.unique(np.array([chunk for _number, chunk in part], np.int64))
        vectors = dict(zip(chunks.tolist(), exact_vectors(theirs, chunks, space.length), strict=True))
        whole = [replace(records[number], vector=vectors[chunk]) for number, chunk in part]
        added += rows.add(connection, here, checked(whole))
        last = part[-1][0]
    return added
