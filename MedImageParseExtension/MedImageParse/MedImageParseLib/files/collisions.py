"""Nothing that is read is ever written: what a command reads and what it will write, compared before anything is read or sent.

Two paths are the same file where they lead to one place, through symbolic links, hard links, or a file system that takes "A.nii" and
"a.nii" for one name. A folder that is read (a DICOM series) protects every file in it; new names in it are allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ..configuration import configuration_folder
from ..errors import InputError, MedImageParseError, UsageError
from ..remedies import Sentence
from .write import check_name

PathLike = str | os.PathLike
_REPORT = ".json"
_MOST_FILES = 100_000  # of an input folder that are compared one by one
# Headers that name a second file, which holds the voxels.
_COMPANIONS = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz"), ".hdr": (".img", ".img.gz"), ".img": (".hdr",)}

# What a header of two files says about where the voxels are: MetaImage and NRRD.
_DATA_FILE = re.compile(rb"^[ \t]*(?:ElementDataFile|data ?file)[ \t]*[:= \t][ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_META, _NRRD = (".mhd", ".mha"), (".nhdr", ".nrrd")
_NRRD_END = re.compile(rb"\n\r?\n")
_USUAL_SIZE = 64 * 1024  # bytes in which nearly every header ends
_HEADER_SIZE = 4 * 2**20  # bytes in which every header must end; one of a thousand segments takes a tenth
_WITHIN = (b"", b"local", b"list")  # the voxels follow, or a list of names does


def check_outputs(outputs: Mapping[str, PathLike | None], inputs: Iterable[object], folders: Iterable[PathLike | None] = ()) -> None:
    """Make sure that no output replaces what is read, a setting, or another output.

    Args:
        outputs: what will be written, by how the person knows it, e.g. {"--labels": "l.nii.gz"}; None where it is not asked for.
        inputs: files and folders that are read: images, indexes, a key file, certificates. What is no path (None, a volume) is passed over.
        folders: output folders, which must be neither input files nor outputs; the names in them that will be written belong into `outputs`.

    Raises:
        UsageError: one sentence that names both.
    """
    wanted = {name: Path(path).expanduser() for name, path in outputs.items() if path}
    for path in wanted.values():
        check_name(path)
    read = [Path(path).expanduser() for path in inputs if isinstance(path, str | os.PathLike) and os.fspath(path)]
    read = [path for path in read if _can_be(path)]
    read += [found for path in read for found in companions(path)]
    _check_report(wanted)
    settings = configuration_folder()
    for name, path in wanted.items():
        for source in read:
            if _is_same(path, source):
                raise UsageError("{of} would replace {source}, which is read: give it another name.", of=_of(name), source=source)
            if source.is_dir() and _is_file_of(path, source):
                raise UsageError(
                    "{of} would replace a file of the folder {source}, which is read: give it another name.", of=_of(name), source=source
                )
        if path.exists() and _lies_in(path, settings):
            raise UsageError(
                "{of} would replace {name} among the settings of this program: give it another place.", of=_of(name), name=path.name
            )
    names = list(wanted)
    for number, name in enumerate(names):
        for other in names[:number]:
            if _is_same(wanted[name], wanted[other]):
                raise UsageError("Two outputs have the same name ({other} and {name}): give each its own.", other=other, name=name)
    for folder in folders:
        alike = next((name for name, path in wanted.items() if folder and _is_same(Path(folder).expanduser(), path)), None)
        if alike is not None:
            raise UsageError("{of} and a folder for results have the same name: give each its own.", of=_of(alike))
        if folder and any(_is_same(Path(folder).expanduser(), source) and source.is_file() for source in read):
            raise UsageError("{folder} is read, so it cannot be a folder for results: choose another one.", folder=folder)


def _check_report(wanted: Mapping[str, Path]) -> None:
    path = wanted.get("--report")
    if path is not None and not path.name.lower().endswith(_REPORT):
        raise UsageError("The report's name must end with .json, which '{name}' does not: give --report FILE.json.", name=path.name)


def _of(name: str) -> str:
    return Sentence("The {name}", name=name) if not name.startswith("-") else name


def _is_same(one: Path, other: Path) -> bool:
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return _key(one) == _key(other)
    except (OSError, ValueError, RuntimeError):
        return False


def _key(path: Path) -> str:
    """What two names of one file that is not there yet have in common, on file systems that ignore case too."""
    return os.path.join(os.path.realpath(path.parent), path.name).casefold()


def _is_file_of(path: Path, folder: Path) -> bool:
    """Whether a path is a file in a folder or below it, whatever name it goes by."""
    if not path.exists():
        return False
    if _lies_in(path, folder):
        return True
    status = path.stat()
    if status.st_nlink < 2:
        return False
    seen = 0
    for below, _folders, names in os.walk(folder):
        for name in names:
            seen += 1
            try:
                if os.path.samestat(status, os.stat(os.path.join(below, name))):
                    return True
            except OSError:
                continue
        if seen > _MOST_FILES:
            return False
    return False


def _lies_in(path: Path, folder: Path) -> bool:
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):
        return False


def _can_be(path: Path) -> bool:
    """Whether a file system could hold such a path at all; what is wrong with it is said by whoever reads it."""
    try:
        check_name(path)
    except UsageError:
        return False
    return True


def companions(path: Path) -> list[Path]:
    """The further files of an image of several: those that hold the voxels of a header, or the header of voxels."""
    named = [path.with_suffix(ending) for ending in _COMPANIONS.get(path.suffix.lower(), ())]
    with suppress(MedImageParseError):  # told by whoever reads it
        named += named_in_header(path)
    return [found for found in dict.fromkeys(named) if found.is_file()]


def named_in_header(path: Path) -> list[Path]:
    """The files that an image's header names as those that hold its voxels; [] where it holds them itself, and for files without such a header.

    Whatever a reader could take for such a name counts: lines end in any way, and the whole beginning is searched where no end of the
    header is found.

    Raises:
        InputError: a header without an end. UsageError: a name that no file can have.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_META, *_NRRD) or not path.is_file() or not os.access(path, os.R_OK):
        return []
    end = _DATA_FILE if suffix in _META else _NRRD_END
    with open(path, "rb") as file:
        header = file.read(_USUAL_SIZE)
        if not end.search(header):
            header += file.read(_HEADER_SIZE - len(header))
    found = end.search(header)
    if found is None and len(header) == _HEADER_SIZE:
        raise InputError("The header of {name} has no end; copy or export it again.", name=path.name)
    if found is not None and suffix in _NRRD:
        header = header[: found.end()]
    header = header.replace(b"\r", b"\n")
    names: list[bytes] = []
    for match in _DATA_FILE.finditer(header):
        name = match.group(1).strip()
        if name.split(b" ")[0].lower() not in _WITHIN:
            names.append(name)
        elif name.lower().startswith(b"list"):  # it runs to the end of the header, one name a line
            names += filter(None, (line.strip() for line in header[match.end() :].split(b"\n")))
    paths = [path.parent / os.fsdecode(name) for name in names]
    for each in paths:
        check_name(each)
    return paths


def check_many_outputs(outputs: Mapping[str, str], inputs: Iterable[PathLike]) -> None:
    """As check_outputs, for the thousands of files of a batch: each name is looked up, none is compared with all others.

    Args:
        outputs: path of what will be written, with the case that it belongs to.
        inputs: files that are read, and folders, whose files are read.

    Raises:
        UsageError: one sentence that names both.
    """
    read: dict[tuple[int, int], Path] = {}
    for source in {os.fspath(one) for one in inputs if os.fspath(one)}:
        for path in _read_with(Path(source)):
            with suppress(OSError):
                status = path.stat()
                read[status.st_dev, status.st_ino] = path
    seen: dict[str, str] = {}
    settings = configuration_folder()
    for name, case in outputs.items():
        path = Path(name)
        check_name(path)
        other = seen.setdefault(_key(path), case)
        if other is not case and other != case:
            raise UsageError(
                "The cases {other} and {case} would both write {name}: give them other ids in a cases.csv.",
                other=other,
                case=case,
                name=path.name,
            )
        try:
            status = path.stat()
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in read:
            raise UsageError(
                "The result {path} would replace {read}, which is read: choose another output folder.",
                path=path,
                read=read[status.st_dev, status.st_ino],
            )
        if _lies_in(path, settings):
            raise UsageError(
                "The result {path} would replace a file among the settings of this program: choose another output folder.", path=path
            )


def _read_with(path: Path) -> Iterator[Path]:
    """A file with what its header names, or the files of a folder."""
    if not path.is_dir():
        yield from (path, *companions(path))
        return
    for folder, _below, names in os.walk(path):
        yield from (Path(folder, name) for name in names)
