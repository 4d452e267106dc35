"""The profile file itself: read, checked, put aside where it is damaged, and replaced in one step under a lock."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..configuration import locked, read_at_most, write_atomically
from ..errors import InputError

_LARGEST_FILE = 4 * 2**20  # bytes

SCHEMA = 1


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
            "The profile file was damaged and has been put aside as {aside}: start again, and copy back from there what you need.",
            aside=aside,
        ) from error


def parse_document(path: Path) -> dict[str, Any]:
    """The content of a profile file or of an exported one, as in `load_document`, but a damaged file is left where it is.

    Raises:
        DamagedFile: not a profile file.
        InputError: it cannot be read, or is from a newer version.
    """
    try:
        content = read_at_most(path, _LARGEST_FILE)
        if len(content) > _LARGEST_FILE:
            raise InputError("{name} is far too large for a profile file: name one that `profiles export` has written.", name=path.name)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile("{name} is not a profile file: it is not text.", name=path.name) from error
    except OSError as error:
        raise InputError("The profile file {path} cannot be read: {strerror}.", path=path, strerror=error.strerror) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile("{name} is not a profile file: it is not JSON.", name=path.name) from error
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int) or document["schema"] < 1:
        raise DamagedFile("{name} is not a profile file: it names no schema.", name=path.name)
    if document["schema"] > SCHEMA:
        raise InputError(
            "{path} was written by a newer version (schema {document}, this one knows {schema}): update this extension; the file has not been touched.",
            path=path,
            document=document["schema"],
            schema=SCHEMA,
        )
    entries = document.get("profiles")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DamagedFile("{name} is not a profile file: it lists no profiles.", name=path.name)
    return document


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Replace a profile file in one step; a link to it stays a link. Raises InputError where it cannot be written, or not be read again."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if len(text.encode()) > _LARGEST_FILE:
        raise InputError("The profiles would be too large together for {name}: keep fewer, or smaller ones.", name=path.name)
    try:
        write_atomically(Path(os.path.realpath(path)), text)
    except OSError as error:
        raise InputError("The profile file {path} cannot be written: {strerror}.", path=path, strerror=error.strerror) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the store's lock, across threads and processes. Raises InputError where that cannot be."""
    try:
        with locked(path):
            yield
    except TimeoutError as error:
        raise InputError("Another program is changing the profiles: close its dialog, then try again.") from error
    except OSError as error:
        raise InputError("The profile file {path} cannot be written: {strerror}.", path=path, strerror=error.strerror) from error
