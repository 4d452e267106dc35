"""The folders that an agent may use. Every path that it names is resolved, through links as well, before anything is read or written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError
from ..files.collisions import companions, named_in_header
from ..files.read import DICOMDIR
from ..files.write import check_name

_MOST_FILES = 100_000  # of a folder that is read


class Folders:
    """Paths inside a few folders, and nothing else.

    Args:
        folders: existing folders; the first is where relative paths begin.

    Raises:
        UsageError: none was named, or one does not exist.
    """

    def __init__(self, folders: Iterable[str | os.PathLike]):
        self.folders: list[Path] = []
        for folder in folders:
            path = Path(folder).expanduser()
            if not path.is_dir():
                raise UsageError("There is no folder {path}: check its name.", path=path)
            self.folders.append(Path(os.path.realpath(path)))
        if not self.folders:
            raise UsageError("Say which folders may be used: --folder DIR, which may be given several times.")

    def readable(self, path: str) -> str:
        """The real path of a file or folder that is read.

        Args:
            path: as the agent names it; relative to the first folder.

        Raises:
            UsageError: it, or a file that belongs to it, is not inside, or it does not exist.
        """
        found = self._inside(path)
        if not found.exists():
            raise UsageError("There is no file or folder {path}: check its name.", path=path)
        self._check_contents(found, path)
        return str(found)

    def writable(self, path: str, replace: bool) -> str:
        """The real path of a file to write.

        Args:
            path: as the agent names it; relative to the first folder.
            replace: whether a file that exists may be replaced.

        Raises:
            UsageError: it is not inside, its folder does not exist, or it exists and may not be replaced.
        """
        found = self._inside(path)
        if not found.parent.is_dir():
            raise UsageError("The folder of {path} does not exist: create it first.", path=path)
        if found.exists() and not replace:
            raise UsageError("{path} exists: give another name, or set replace to true.", path=path)
        return str(found)

    def _inside(self, path: str) -> Path:
        if not path.strip():
            raise UsageError("A path is empty: name a file.")
        check_name(Path(path))
        found = Path(os.path.realpath(self.folders[0] / path))
        self._check_inside(found, path)
        return found

    def _check_inside(self, found: Path, named: str) -> None:
        if not any(found.is_relative_to(folder) for folder in self.folders):
            raise UsageError("{path} is outside the folders that this server may use: choose a file inside them.", path=named)

    def _check_contents(self, found: Path, named: str) -> None:
        """Links in a folder, the second file of an image, and a file that a header names must lie inside as well."""
        for number, each in enumerate(_files(found.parent if found.name.upper() == DICOMDIR else found)):
            if number >= _MOST_FILES:
                raise UsageError("{path} holds more than {most} files: name a smaller folder.", path=named, most=_MOST_FILES)
            for one in (each, *companions(each), *named_in_header(each)):
                self._check_inside(Path(os.path.realpath(one)), named)


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, below, names in os.walk(path):
        yield from (Path(folder, name) for name in (*below, *names))
