"""NumPy's .npz files that may come from anybody: sizes before contents, the headers of arrays before their data, nothing pickled."""

from __future__ import annotations

import ast
import json
import math
import zipfile
import zlib
from typing import Any

import numpy as np

from ..remedies import Sentence

UNFOLDS = 20  # times its own size a file may hold; vectors are hardly compressible
FREE_BYTES = 16 * 2**20
UNREADABLE = (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, MemoryError, RecursionError)  # what odd contents raise
NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)  # RuntimeError: encrypted
_LONGEST_HEADER = 4096  # bytes of an array's header; NumPy writes 128


def check_size(archive: zipfile.ZipFile, size: int) -> None:
    """Raises ValueError where an archive claims to hold far more than its own size allows."""
    if sum(info.file_size for info in archive.infolist()) > FREE_BYTES + UNFOLDS * size:
        raise ValueError("it claims to hold far more than its size allows")


def json_bytes(value: object) -> np.ndarray:
    """A value as the bytes of its JSON text."""
    return np.frombuffer(json.dumps(value, separators=(",", ":")).encode(), np.uint8)


def read_array(archive: zipfile.ZipFile, name: str, kinds: str, dimensions: int) -> np.ndarray:
    """One array of the archive, its header read and compared with its size before its data.

    Args:
        archive: the file.
        name: of the array.
        kinds: the kinds of numbers that may be in it, as NumPy abbreviates them.
        dimensions: how many it has.
    """
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        start = file.read(8)
        sizes = {b"\x93NUMPY\1\0": 2, b"\x93NUMPY\2\0": 4, b"\x93NUMPY\3\0": 4}
        if start not in sizes:
            raise ValueError(Sentence("{name} is no array", name=name))
        length = int.from_bytes(file.read(sizes[start]), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(Sentence("{name} has too long a header", name=name))
        try:
            header = ast.literal_eval(file.read(length).decode("latin-1").strip())
            kind, shape = np.dtype(header["descr"]), tuple(header["shape"])
        except (SyntaxError, MemoryError, RecursionError, TypeError):
            raise ValueError(Sentence("{name} has a header that cannot be read", name=name)) from None
        good = kind.kind in kinds and len(shape) == dimensions and all(type(size) is int and size >= 0 for size in shape)
        if not good or header["fortran_order"] or len(start) + sizes[start] + length + math.prod(shape) * kind.itemsize != info.file_size:
            raise ValueError(Sentence("{name} is not what an export has there", name=name))
        return np.frombuffer(file.read(), kind).reshape(shape)


def read_json(archive: zipfile.ZipFile, name: str, kind: type) -> Any:
    """A value of a kind from the JSON bytes in an array of the archive. Raises ValueError."""
    value = json.loads(read_array(archive, name, "u", 1).tobytes())
    if not isinstance(value, kind):
        raise ValueError(Sentence("{name} is not what an export has there", name=name))
    return value
