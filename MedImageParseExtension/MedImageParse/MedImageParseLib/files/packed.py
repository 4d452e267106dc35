"""Files that hold images packed: a gzipped DICOM file, a zip of a series, FreeSurfer's .mgh and .mgz.

What is unpacked is bounded before and while it is done, because a small file can hold gigabytes of zeros; names inside an archive are never
used as paths.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from ..remedies import Sentence
from .frames import EVERY_FRAME, ONE_VOLUME

MGH_EXTENSIONS = (".mgh", ".mgz", ".mgh.gz")
PACKED_EXTENSIONS = (".dcm.gz", ".zip")
LARGEST = 16 * 2**30  # bytes of everything that a file unpacks to
MOST_FILES = 200_000
_PIECE = 2**20
_MGH_HEADER = 284  # bytes
_MGH_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The contents of a .dcm.gz or .zip in a folder of their own, which is removed afterwards.

    Args:
        path: the packed file.

    Yields:
        the folder; its files are called as in the archive, but for what no file should be called, in folders called by numbers.

    Raises:
        InputError: damaged, encrypted, empty, or larger than is unpacked here.
    """
    with tempfile.TemporaryDirectory(prefix="medimageparse-") as folder:
        try:
            if path.name.lower().endswith(".zip"):
                _unzip(path, Path(folder))
            else:
                with gzip.open(path) as packed:
                    _copy(packed, Path(folder, "1.dcm"), LARGEST, path)
        except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError, RuntimeError) as error:
            raise InputError(
                "The file {name} is damaged, incomplete or encrypted; unpack it yourself and give what it holds.", name=path.name
            ) from error
        yield Path(folder)


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [each for each in archive.infolist() if not each.is_dir() and _is_content(each.filename)]
        if not members:
            raise InputError("The archive {name} holds no file; give one with images.", name=path.name)
        if len(members) > MOST_FILES or sum(each.file_size for each in members) > LARGEST:
            raise InputError("The archive {name} holds more than is unpacked here; unpack it yourself and give the folder.", name=path.name)
        room = LARGEST
        places: dict[str, Path] = {}
        for number, member in enumerate(members):
            # A folder inside an archive is a number, and of a name only plain letters are used: neither leads elsewhere.
            parent, _slash, name = member.filename.replace("\\", "/").rpartition("/")
            place = places.setdefault(parent, folder / f"{len(places):06d}")
            place.mkdir(exist_ok=True)
            name = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".") or "_"
            with archive.open(member) as packed:
                file = place / name
                room -= _copy(packed, file if not file.exists() else place / f"{number:06d}-{name}", room, path)


def _is_content(name: str) -> bool:
    """Not what a Mac adds to an archive, and no hidden file."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] != "__MACOSX" and not parts[-1].startswith(".")


def _copy(packed: IO[bytes] | gzip.GzipFile, path: Path, room: int, archive: Path) -> int:
    """Returns the bytes written; no more than `room` of them."""
    written = 0
    with open(path, "xb") as file:
        while piece := packed.read(_PIECE):
            written += len(piece)
            if written > room:
                raise InputError("The file {name} unpacks to more than is unpacked here; unpack it yourself.", name=archive.name)
            file.write(piece)
    return written


def read_mgh(path: Path, frame: int | None = None) -> Volume:
    """Read FreeSurfer's .mgh, or .mgz (gzipped).

    Format: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat. Big-endian; the matrix is the scanner's RAS, from the direction
    cosines, the voxel size and the place of the middle voxel; without them the axes are coronal at 1 mm, as FreeSurfer takes them.

    Args:
        path: the file.
        frame: which volume, counted from 0, where there are several; EVERY_FRAME for all of them.

    Raises:
        InputError: damaged, of an unknown kind, or of several volumes where none was chosen.
    """
    damaged = Sentence("The file {name} is damaged or no volume of FreeSurfer's; copy or export it again.", name=path.name)
    try:
        with open(path, "rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else open(path, "rb") as file:
            header = file.read(_MGH_HEADER)
            version, *shape, count, kind, _freedom, is_placed = struct.unpack(">7ih", header[:30])
            if version != 1 or kind not in _MGH_TYPES or min(*shape, count) < 1:
                raise InputError(damaged)
            dtype = np.dtype(_MGH_TYPES[kind])
            size = shape[0] * shape[1] * shape[2]
            if size * count * dtype.itemsize > LARGEST:
                raise InputError("The file {name} is larger than is unpacked here.", name=path.name)
            if count > 1 and frame is None:
                raise InputError(
                    "The file {name} holds {count} volumes; choose one with --frame 0 to {value}.",
                    name=path.name,
                    count=count,
                    value=count - 1,
                )
            if frame is not None and count == 1:
                raise InputError(ONE_VOLUME, code="no-frame")
            every = frame == EVERY_FRAME
            chosen = 0 if every else frame or 0
            if not 0 <= chosen < count:
                raise InputError("There is no frame {frame}: the file has frames 0 to {value}.", frame=frame, value=count - 1)
            wanted = size * (count if every else 1)
            file.seek(_MGH_HEADER + chosen * size * dtype.itemsize, io.SEEK_SET)
            data = file.read(wanted * dtype.itemsize)
    except (struct.error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(damaged) from error
    if len(data) != wanted * dtype.itemsize:
        raise InputError(damaged)
    voxels = np.frombuffer(data, dtype).reshape(([count] if every else []) + shape[::-1]).astype(dtype.newbyteorder("="))
    return Volume(voxels, _mgh_matrix(header, shape, bool(is_placed)))


def _mgh_matrix(header: bytes, shape: list[int], is_placed: bool) -> np.ndarray:
    spacing = np.ones(3)
    directions = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # columns: where i, j and k go
    center = np.zeros(3)
    if is_placed:
        values = np.array(struct.unpack(">15f", header[30:90]), float)
        spacing, directions, center = values[:3], values[3:12].reshape(3, 3).T, values[12:]
    matrix = np.eye(4)
    matrix[:3, :3] = directions * spacing
    matrix[:3, 3] = center - matrix[:3, :3] @ (np.array(shape, float) / 2)
    return matrix
