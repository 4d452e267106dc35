"""The person's own settings: where this package keeps what must outlive a session: profiles, consents, the audit file. Nothing secret is ever written there."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_chosen: list[Path] = []
_LOCK_PATIENCE_S = 10.0
# What the system says of a drive that has no file locks, as some network shares.
NO_LOCKS = {getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL") if hasattr(errno, name)}


def configuration_folder() -> Path:
    """The folder of the person's own settings for this extension; it need not exist yet.

    Order: the environment variable MEDIMAGEPARSE_CONFIG_DIR, the folder given to `use_configuration_folder` (Slicer's own,
    inside Slicer), the platform's usual place.
    """
    named = os.environ.get("MEDIMAGEPARSE_CONFIG_DIR", "").strip()
    if named:
        return Path(named).expanduser()
    if _chosen:
        return _chosen[-1]
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / "MedImageParse"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "MedImageParse"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "medimageparse"


def use_configuration_folder(folder: str | Path) -> None:
    """Keep settings in `folder` from now on, unless MEDIMAGEPARSE_CONFIG_DIR says otherwise."""
    _chosen[:] = [Path(folder)]


def read_at_most(path: str | os.PathLike[str], most: int) -> bytes:
    """A small file as bytes; of a longer one, or of a device that never ends, `most` bytes and one more. Raises OSError."""
    with open(path, "rb") as stream:
        return stream.read(most + 1)


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file in one step, so that a crash leaves the old content or the new, never half of either.

    The file is readable by its owner only (where the file system knows such things).

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name + ".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            os.unlink(temporary)
        raise


def append_line(path: Path, line: bytes, *, mode: int = 0o666, is_synced: bool = True) -> None:
    """Add a line to a file, all of it or nothing. A line before it that was torn (a crash, a full disk) is closed first.

    Args:
        path: the file, made where there is none; whoever else may write to it is kept out with `locked`.
        line: with its line break.
        mode: rights of a new file.
        is_synced: whether it must be on the disk when this returns.

    Raises:
        OSError: it could not be written; what a full disk left of it is taken back.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), mode)
    try:
        size = os.fstat(handle).st_size
        if size:
            os.lseek(handle, size - 1, os.SEEK_SET)
            line = line if os.read(handle, 1) == b"\n" else b"\n" + line
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(handle, rest) :]
            if is_synced:
                os.fsync(handle)
        except OSError:
            with suppress(OSError):  # the next line begins on a line of its own in any case
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file of ours, across threads and processes; the operating system lets go of it if the holder dies.

    Args:
        path: the file that is protected; the lock is a file of that name with ".lock" behind it.

    Raises:
        TimeoutError: another program has held it for ten seconds.
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "a+b") as stream:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not try_lock(stream.fileno()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path.name} is locked by another program")
            time.sleep(0.02)
        try:
            yield
        finally:
            with suppress(OSError):  # closing the file gives it back as well
                _unlock(stream.fileno())


def try_lock(handle: int, *, is_shared: bool = False) -> bool:
    """Take the lock of an open file if nobody has it; closing the file gives it back.

    A drive without file locks is no reason to wait: nobody can hold one there, and what is written is written whole all the same.

    Args:
        handle: the file's descriptor.
        is_shared: others may hold it too who share it. Windows has no such lock here: nothing is taken then.

    Returns:
        whether it was taken.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            if not is_shared:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True


def _unlock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_UN)
