"""What can be wrong with an index, as sentences."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..remedies import RESCUE_INDEX
from .records import Provenance


class IndexFault(InputError):
    """The index cannot do what was asked; nothing that was stored is lost.

    Attributes:
        code: a stable word for programs: "full", "busy", "damaged", "newer", "foreign", "missing", "read-only", "closed", "empty",
            "no-locks", "provenance", "length", "factor", "other".
    """

    def __init__(self, template: str = "", code: str = "other", /, **params: Any) -> None:
        super().__init__(template, code=code, **params)


# Text in SQLite's message -> kind and sentence. SQLite's messages are stable; its error names reach Python only from 3.11 on.
_SENTENCES = (
    ("disk is full", "full", "There is no room on the disk for the index {path}; free some space and run again: what was stored is kept."),
    (
        "disk i/o error",
        "full",
        "The disk refused to read or write the index {path} (full, over quota, or gone); see to it and run again: what was stored is kept.",
    ),
    (
        "locking protocol",
        "no-locks",
        "The drive of the index {path} has no file locks that work, as some network shares; keep the index on a local disk.",
    ),
    ("interrupted", "damaged", "The index {path} is damaged: it takes far longer to read than its size explains; restore a copy."),
    ("too big", "damaged", "The index {path} is damaged: something in it is far larger than it can be; check it, and restore a copy."),
    ("locked", "busy", "The index {path} is in use by another program for too long; try again when that has finished."),
    ("malformed", "damaged", "The index {path} is damaged; {rescue_index}: nothing was changed."),
    ("not a database", "damaged", "The file {path} is not an index, or its beginning is damaged; choose another file or restore a copy."),
    (
        "could not decode",
        "damaged",
        "The index {path} is damaged (a text is unreadable); {rescue_index}.",
    ),
    ("readonly", "read-only", "The index {path} is read-only; change its permissions or copy it to another folder."),
    ("unable to open", "missing", "The index {path} cannot be opened; check the folder and its permissions."),
    ("closed database", "closed", "The index {path} is closed; open it again."),
)


class BrokenContent(Exception):
    """Something read from the index does not fit together. Inside the room only: `as_sentences` makes an IndexFault of it."""


@contextmanager
def as_sentences(path: Path | str) -> Iterator[None]:
    """Turn SQLite's errors, and BrokenContent, inside the block into an IndexFault that names the index."""
    try:
        yield
    except BrokenContent as error:
        raise IndexFault(
            "The index {path} is damaged ({error}); {rescue_index}: nothing was changed.",
            "damaged",
            path=path,
            error=error,
            rescue_index=RESCUE_INDEX,
        ) from error
    except sqlite3.Error as error:
        message = str(error).lower()
        if "IOERR" in (name := getattr(error, "sqlite_errorname", "")) and "LOCK" in name:  # Python 3.11
            message = "locking protocol"
        if "readonly" in message and not os.path.exists(path):  # SQLite notices that its file is no longer there
            raise IndexFault(
                "The index {path} was moved or deleted while it was in use; put it back, or run again to make a new one.",
                "missing",
                path=path,
            ) from error
        for part, kind, sentence in _SENTENCES:
            if part in message:
                raise IndexFault(sentence, kind, path=path, rescue_index=RESCUE_INDEX) from error
        raise IndexFault("The index {path} cannot be used ({error}); check it.", "other", path=path, error=error) from error


def other_space(asked: Provenance, present: Iterable[Provenance]) -> IndexFault:
    """The fault for a query with vectors that nothing in the index can be compared with."""
    names = sorted({space.describe() for space in present})
    names = [*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else names
    if not names:
        return IndexFault("The index is empty; add images to it first.", "empty")
    return IndexFault(
        "The index holds vectors of {listed}, none of {describe}; use the same model and preprocessing, or index "
        "the images again with this one.",
        "provenance",
        listed=" and ".join(names),
        describe=asked.describe(),
    )


def other_length(given: int, held: int, provenance: Provenance) -> IndexFault:
    """The fault for vectors whose length is not that of their space."""
    return IndexFault(
        "The vectors have {given} numbers, but those of {describe} in the index have {held}; another model must "
        "be behind the endpoint: give its deployment a name of its own.",
        "length",
        given=given,
        describe=provenance.describe(),
        held=held,
    )


def other_factor(given: float, held: float, provenance: Provenance) -> IndexFault:
    """The fault for vectors of a model whose scaling factor is another: another version of it, which the length does not show."""
    return IndexFault(
        "The endpoint's model states the scaling factor {given:.6g}, but the vectors of {space} in the index came with {held:.6g}; another "
        "version of the model must be behind the endpoint: give its deployment a name of its own.",
        "factor",
        given=given,
        held=held,
        space=provenance.describe(),
    )
