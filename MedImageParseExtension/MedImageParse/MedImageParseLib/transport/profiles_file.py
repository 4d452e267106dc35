"""The profile file itself: read, checked for its version, put aside when damaged, locked, and replaced in one step."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from .folders import write_atomically

SCHEMA = 1
_LOCK_PATIENCE_S = 10.0


class DamagedFile(InputError):
    """Not JSON, or JSON of another shape."""


def load_document(path: Path) -> dict[str, Any]:
    """The file's content, or an empty document where there is no file.

    Returns:
        `{"schema": int, "profiles": [object, …]}` and whatever else the file holds at its top.

    Raises:
        InputError: the file cannot be read, is from a newer version (it is left alone), or was damaged (it has been put aside).
    """
    if not path.exists():
        return {"schema": SCHEMA, "profiles": []}
    try:
        return parse_document(path)
    except DamagedFile as error:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            os.replace(path, aside)
        except FileNotFoundError:
            pass  # Another window has put it aside in this very moment.
        raise InputError(
            f"The profile file was damaged and has been put aside as {aside}: start again, and copy back from there what you need."
        ) from error


def parse_document(path: Path) -> dict[str, Any]:
    """The content of a profile file or of an exported one, as in `load_document`, but a damaged file is left where it is.

    Raises:
        DamagedFile: not a profile file.
        InputError: it cannot be read, or is from a newer version.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path.name} is not a profile file: it is not text.") from error
    except OSError as error:
        raise InputError(f"The profile file {path} cannot be read: {error.strerror}.") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path.name} is not a profile file: it is not JSON.") from error
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int) or document["schema"] < 1:
        raise DamagedFile(f"{path.name} is not a profile file: it names no schema.")
    if document["schema"] > SCHEMA:
        raise InputError(
            f"{path} was written by a newer version (schema {document['schema']}, this one knows {SCHEMA}): update this extension; "
            "the file has not been touched."
        )
    entries = document.get("profiles")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DamagedFile(f"{path.name} is not a profile file: it lists no profiles.")
    return document


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Replace a profile file in one step; a link to it stays a link. Raises InputError where it cannot be written."""
    try:
        write_atomically(Path(os.path.realpath(path)), json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(f"The profile file {path} cannot be written: {error.strerror}.") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's lock, across threads and processes; the operating system lets go of it if the holder dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path.with_name(f"{path.name}.lock"), "a+b")
    except OSError as error:
        raise InputError(f"The profile file {path} cannot be written: {error.strerror}.") from error
    with stream:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_lock(stream.fileno()):
            if time.monotonic() > deadline:
                raise InputError("Another program is changing the profiles: close its dialog, then try again.")
            time.sleep(0.02)
        try:
            yield
        finally:
            _unlock(stream.fileno())


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_UN)
