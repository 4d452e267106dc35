"""Writing a file whole or not at all, and saying before the work starts when a file could not be written after it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import UsageError


def check_writable(path: str | os.PathLike, extensions: tuple[str, ...] = ()) -> Path:
    """Make sure, before anything is computed or sent, that `path` can be written later.

    Args:
        path: the file to come; it may exist (it will be replaced).
        extensions: the allowed endings, in lower case, such as (".nii.gz", ".nrrd"); none: any.

    Returns:
        the path with ~ expanded.

    Raises:
        UsageError: the ending is not one of these, the folder is missing or not writable, the path is a folder.
    """
    path = Path(path).expanduser()
    if extensions and not path.name.lower().endswith(extensions):
        raise UsageError(f"The file {path.name} cannot be written: its name must end with {' or '.join(extensions)}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file.")
    _check_folder(path.parent, path.name)
    return path


def _check_folder(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} for {name} does not exist; create it or choose another.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} for {name} is not writable; choose another.")


def write_atomically(path: str | os.PathLike, data: bytes) -> Path:
    """Write `data` beside `path` and put it in place in one step, so that a reader never sees half a file.

    Whatever stood at `path` stays untouched until then, and for good if writing fails.

    Raises:
        UsageError: missing or unwritable folder, full disk.
    """
    path = check_writable(path)
    write_whole(path, lambda file: file.write(data))
    return path


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """As write_atomically, for what is too large for the memory: `write` gets an open file.

    Raises:
        UsageError: unwritable folder, full disk. Whatever else `write` raises.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"The file {path} cannot be written ({error.strerror or 'unknown reason'}); choose another place.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
