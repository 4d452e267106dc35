"""NRRD files, written piece by piece: what is large never stands in memory as one string of bytes.

Written by these few lines rather than by a library, because sheared matrices must be kept, and Slicer's own storage node takes twenty times as
long for a segmentation of a whole CT. Format: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np

from ..imaging.gzipping import gzip_pieces
from ..imaging.volume import LPS_TO_RAS

_PIECE = 1 << 20  # bytes
_TYPES = {"u1": "uint8", "u2": "uint16", "f4": "float"}


def write_nrrd(
    file: BinaryIO,
    planes: Iterable[np.ndarray],
    dtype: np.dtype,
    shape_kji: tuple[int, ...],
    ijk_to_ras: np.ndarray,
    *,
    layers: int = 1,
    fields: Mapping[str, str] | None = None,
    level: int = 6,
) -> None:
    """Write an image, gzip inside, in LPS space as Slicer and ITK write it.

    Args:
        file: where to.
        planes: the voxels, slice by slice: (j, i), or (j, i, layer) where there are several values a voxel.
        dtype: of the voxels, uint8, uint16 or float32.
        shape_kji: of the image.
        ijk_to_ras: 4x4 from voxel indices to mm, RAS.
        layers: values a voxel.
        fields: further keys and values of the header, any text.
        level: of gzip, 1 (fast) to 9.
    """
    ijk_to_lps = LPS_TO_RAS @ np.asarray(ijk_to_ras, dtype=float)
    listed = layers > 1
    lines = [
        "NRRD0005",  # 0004 knows no spatial axes behind one of values
        f"type: {_TYPES[np.dtype(dtype).str[1:]]}",
        f"dimension: {4 if listed else 3}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(size) for size in (*([layers] if listed else []), *shape_kji[::-1])),
        "space directions: " + " ".join([*(["none"] if listed else []), *(_vector(ijk_to_lps[:3, axis]) for axis in range(3))]),
        "kinds: " + ("list " if listed else "") + "domain domain domain",
        "endian: little",
        "encoding: gzip",
        "space origin: " + _vector(ijk_to_lps[:3, 3]),
        *(f"{key}:={_escaped(value)}" for key, value in (fields or {}).items()),
    ]
    file.write("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n\n")
    file.writelines(gzip_pieces(_pieces(planes, np.dtype(dtype).newbyteorder("<")), level))


def _pieces(planes: Iterable[np.ndarray], dtype: np.dtype) -> Iterator[bytes]:
    """The planes' bytes, so many together that a piece is worth compressing by itself."""
    waiting: list[bytes] = []
    size = 0
    for plane in planes:
        waiting.append(np.ascontiguousarray(plane, dtype=dtype).tobytes())
        size += len(waiting[-1])
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _vector(values: np.ndarray) -> str:
    return "(" + ",".join(repr(float(value) + 0.0) for value in values) + ")"  # + 0.0: no "-0.0"


def _escaped(value: str) -> str:
    """A value on one line of the header; the format gives the backslash this meaning."""
    return value.replace("\\", "\\\\").replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\n")
