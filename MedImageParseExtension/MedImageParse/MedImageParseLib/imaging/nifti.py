"""NIfTI-1 and NIfTI-2 in memory: bytes to arrays and back, plain or gzip, with no temporary file and bounded memory.

Why not a library: Slicer bundles none that reads NIfTI from memory, and SimpleITK refuses the sheared matrices that tilted
CT gantries make. Header layouts: nifti1.h and nifti2.h (https://nifti.nimh.nih.gov).

Array order: a NIfTI file stores i fastest, so its bytes are a C-ordered kji array (tkji in 4D); nothing is transposed here.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError
from ..remedies import Sentence
from .gzipping import GZIP_MAGIC, Inflater, PlainBytes, gzip_pieces
from .volume import NiftiForms, usable_matrix

_DEFLATE_MAX_RATIO = 1032  # zlib's documented limit: one byte of deflate cannot hold more than about 1032 bytes
_CHUNK = 1 << 20
_SAMPLE = 1 << 19  # bytes on which to try how to compress

_HEADER_1 = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("data_type", "S10"),
        ("db_name", "S18"),
        ("extents", "i4"),
        ("session_error", "i2"),
        ("regular", "S1"),
        ("dim_info", "u1"),
        ("dim", "i2", 8),
        ("intent_p", "f4", 3),
        ("intent_code", "i2"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("slice_start", "i2"),
        ("pixdim", "f4", 8),
        ("vox_offset", "f4"),
        ("scl_slope", "f4"),
        ("scl_inter", "f4"),
        ("slice_end", "i2"),
        ("slice_code", "u1"),
        ("xyzt_units", "u1"),
        ("cal_max", "f4"),
        ("cal_min", "f4"),
        ("slice_duration", "f4"),
        ("toffset", "f4"),
        ("glmax", "i4"),
        ("glmin", "i4"),
        ("descrip", "S80"),
        ("aux_file", "S24"),
        ("qform_code", "i2"),
        ("sform_code", "i2"),
        ("quatern", "f4", 3),
        ("qoffset", "f4", 3),
        ("srow", "f4", (3, 4)),
        ("intent_name", "S16"),
        ("magic", "S4"),
    ]
)
_HEADER_2 = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("magic", "S8"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("dim", "i8", 8),
        ("intent_p", "f8", 3),
        ("pixdim", "f8", 8),
        ("vox_offset", "i8"),
        ("scl_slope", "f8"),
        ("scl_inter", "f8"),
        ("cal_max", "f8"),
        ("cal_min", "f8"),
        ("slice_duration", "f8"),
        ("toffset", "f8"),
        ("slice_start", "i8"),
        ("slice_end", "i8"),
        ("descrip", "S80"),
        ("aux_file", "S24"),
        ("qform_code", "i4"),
        ("sform_code", "i4"),
        ("quatern", "f8", 3),
        ("qoffset", "f8", 3),
        ("srow", "f8", (3, 4)),
        ("slice_code", "i4"),
        ("xyzt_units", "i4"),
        ("intent_code", "i4"),
        ("intent_name", "S16"),
        ("dim_info", "u1"),
        ("unused", "S15"),
    ]
)
_RGB, _RGBA = 128, 2304
_CODES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_CODE_OF = {np.dtype(name): code for code, name in _CODES.items()}


@dataclass(slots=True, frozen=True)
class NiftiHeader:
    """What the header says.

    Attributes:
        shape_ijk: sizes along i, j, k and any further axes (time, prompts), trailing ones dropped beyond three.
        dtype: as stored, with its byte order.
        channels: 1, or 3 or 4 for colour voxels stored together.
        data_offset: first byte of the voxels in the (unpacked) file.
        slope, intercept: stored value * slope + intercept is the true value; (1, 0) where the header gives none.
        ijk_to_ras: 4x4, mm: the sform, else the qform, else the voxel sizes with the centre of the volume at the origin.
        is_gzip: whether the bytes were gzip.
        rank: dimensions as the header counts them, those of size 1 included.
        forms: the fields that place the file, as stored.
        remarks: what is odd about the geometry, sentences.
    """

    shape_ijk: tuple[int, ...]
    dtype: np.dtype
    channels: int
    data_offset: int
    slope: float
    intercept: float
    ijk_to_ras: np.ndarray
    is_gzip: bool
    rank: int = 3
    forms: NiftiForms | None = None
    remarks: tuple[str, ...] = ()

    @property
    def data_bytes(self) -> int:
        return int(np.prod(self.shape_ijk, dtype=object)) * self.channels * self.dtype.itemsize

    @property
    def volumes(self) -> int:
        """How many 3D volumes follow one another in the file."""
        return int(np.prod(self.shape_ijk[3:], dtype=object))


@dataclass(slots=True, frozen=True)
class NiftiImage:
    """A whole file, decoded: `voxels` in kji order, (t, k, j, i) for a series, (k, j, i, channel) for colour."""

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    is_color: bool
    header: NiftiHeader


class NiftiReader:
    """Reads one 3D volume of a NIfTI file after the other, so that a 4D file of ten masks never stands in memory whole.

    Args:
        data: the file's bytes, plain or gzip.
        strict: also refuse bytes after the last voxel (for replies: what grows past its declared shape is not trusted).

    Raises InputError with one sentence for anything that is not a complete NIfTI file.

    Examples:
        >>> reader = NiftiReader(encode_nifti(np.zeros((2, 3, 4), np.uint8), np.eye(4)))
        >>> reader.header.shape_ijk, next(reader.volumes()).shape
        ((4, 3, 2), (2, 3, 4))
    """

    def __init__(self, data: bytes, *, strict: bool = False):
        self._strict = strict
        self._source = Inflater(data) if bytes(data[:2]) == GZIP_MAGIC else PlainBytes(data)
        self.header = self._read_header(is_gzip=isinstance(self._source, Inflater))
        most = len(data) * (_DEFLATE_MAX_RATIO if self.header.is_gzip else 1)
        if self.header.data_bytes > most:
            raise InputError(
                "The NIfTI file is truncated: its header promises {data_bytes} bytes of voxels and the file cannot hold them.",
                data_bytes=self.header.data_bytes,
            )

    def volumes(self) -> Iterator[np.ndarray]:
        """The stored values (slope not applied), one (k, j, i) or (k, j, i, channel) array a 3D volume; each is its own copy."""
        header = self.header
        shape = header.shape_ijk[2::-1] + ((header.channels,) if header.channels > 1 else ())
        size = header.data_bytes // max(header.volumes, 1)
        for _number in range(header.volumes):
            yield self._take(size).view(header.dtype).reshape(shape)
        if self._strict and self._source.read_into(memoryview(bytearray(16))) > 0:
            raise InputError("The NIfTI file goes on after its last voxel: its header and its data do not fit together.")
        if not self._source.ended_well():
            raise InputError("The NIfTI file is truncated: its gzip ends too early.")

    def _read_header(self, is_gzip: bool) -> NiftiHeader:
        raw = self._take(348).tobytes()
        size, order = _recognise(raw)
        if size == 540:
            raw += self._take(540 - 348).tobytes()
        fields = np.frombuffer(raw, dtype=(_HEADER_2 if size == 540 else _HEADER_1).newbyteorder(order))[0]
        header = _interpret(fields, order, is_gzip, size)
        unwanted = header.data_offset - size  # header extensions
        if self._strict and unwanted > _CHUNK:  # replies need none, and a gzip bomb could hide in front of the voxels
            raise InputError(
                "The NIfTI header puts the voxels {data_offset} bytes into the file, far behind any header.", data_offset=header.data_offset
            )
        while unwanted > 0:
            unwanted -= self._take(min(unwanted, _CHUNK)).size
        return header

    def _take(self, size: int) -> np.ndarray:
        """The next bytes. Memory that stays zero is never touched, so empty background costs no memory (see Inflater)."""
        buffer = np.zeros(size, np.uint8)
        if self._source.read_into(buffer.data) < size:
            raise InputError("The NIfTI file is truncated: it ends before its last voxel.")
        return buffer


def joined_pair(header: bytes, voxels: bytes) -> bytes | None:
    """The two halves of a NIfTI-1 or NIfTI-2 pair (.hdr and .img) as one plain file; None where the header is not of such a pair.

    Args:
        header: the file .hdr, plain or gzip.
        voxels: the file .img, plain or gzip.

    Raises:
        InputError: one of them is a gzip that ends too early.
    """
    header, voxels = (_plain(each) for each in (header, voxels))
    for layout, size, place, magic, whole in (
        (_HEADER_1, 348, 344, b"ni1", b"n+1\0"),
        (_HEADER_2, 540, 4, b"ni2", b"n+2\0"),
    ):
        if len(header) >= size and header[place : place + 3] == magic:
            raw = bytearray(header[:size])
            raw[place : place + 4] = whole
            order = "<" if int.from_bytes(header[:4], "little") == size else ">"
            fields = np.frombuffer(raw, layout.newbyteorder(order))  # type: ignore[arg-type]
            start = max(int(fields["vox_offset"][0]), 0)
            fields["vox_offset"] = size + 4
            return bytes(raw) + bytes(4) + voxels[start:]
    return None


def _plain(data: bytes) -> bytes:
    if data[:2] != GZIP_MAGIC:
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError("The NIfTI file is truncated: its gzip ends too early.") from error


def decode_nifti(data: bytes, *, max_bytes: int | None = None, strict: bool = False) -> NiftiImage:
    """Decode a whole NIfTI-1 or NIfTI-2 file, plain or gzip, from memory.

    Args:
        data: the file's bytes.
        max_bytes: refuse a file whose voxels need more than this many bytes, before any of them is unpacked.
        strict: also refuse bytes after the last voxel.

    Returns:
        NiftiImage; values have slope and intercept applied. Integers stay integers where slope and intercept are whole numbers.

    Raises:
        InputError: not NIfTI, truncated, too large, or of a voxel type that is no image.
    """
    reader = NiftiReader(data, strict=strict)
    header = reader.header
    if max_bytes is not None and header.data_bytes > max_bytes:
        raise InputError(
            "The NIfTI file holds {data_bytes} bytes of voxels where at most {max_bytes} were expected.",
            data_bytes=header.data_bytes,
            max_bytes=max_bytes,
        )
    if header.data_bytes == 0:
        voxels = np.zeros(header.shape_ijk[::-1], header.dtype)
    else:
        volumes = list(reader.volumes())
        voxels = (
            volumes[0]
            if len(header.shape_ijk) == 3
            else np.stack(volumes).reshape(header.shape_ijk[::-1] + ((header.channels,) if header.channels > 1 else ()))
        )
    is_color = header.channels > 1
    if not is_color and len(header.shape_ijk) == 5 and header.shape_ijk[3] == 1 and header.shape_ijk[4] == 3:
        voxels, is_color = np.ascontiguousarray(np.moveaxis(voxels[:, 0], 0, -1)), True  # a vector image as ITK writes it
    if header.channels == 4:
        voxels = np.ascontiguousarray(voxels[..., :3])  # alpha says nothing about the tissue
    return NiftiImage(apply_scale(voxels, header), header.ijk_to_ras, is_color, header)


def apply_scale(voxels: np.ndarray, header: NiftiHeader) -> np.ndarray:
    """True values from stored ones; native byte order. Whole-number slopes keep integers (int32 or wider), else float."""
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    slope, intercept = header.slope, header.intercept
    if (slope, intercept) == (1.0, 0.0):
        return voxels
    if voxels.dtype.kind in "iu" and slope == round(slope) and intercept == round(intercept):
        largest = abs(slope) * 2.0 ** (8 * voxels.dtype.itemsize) + abs(intercept)
        if largest < 2**62:
            return _scaled(voxels, np.dtype(np.int32 if largest < 2**31 else np.int64), slope, intercept)
    is_short = voxels.dtype.itemsize <= 2 or voxels.dtype == np.float32
    return _scaled(voxels, np.dtype(np.float32 if is_short else np.float64), slope, intercept)


def _scaled(voxels: np.ndarray, kind: np.dtype, slope: float, intercept: float) -> np.ndarray:
    return voxels.astype(kind) * kind.type(slope) + kind.type(intercept)


def encode_nifti(
    voxels: np.ndarray,
    ijk_to_ras: np.ndarray,
    *,
    level: int = 1,
    compress: bool = True,
    forms: NiftiForms | None = None,
    description: str = "",
) -> bytes:
    """Encode a kji array (kjic with 3 colour channels, or tkji where 4D) as NIfTI-1, or NIfTI-2 where a side is too long.

    Only voxels, spacing, directions and the matrix's origin are written; every text field is blank and the gzip carries no
    name and no time.

    Args:
        voxels: any real numeric type; bool becomes uint8, float16 float32.
        ijk_to_ras: 4x4, mm; written as the sform, so that sheared matrices survive.
        level: gzip level; 1 by default, as higher ones cost six to fourteen times more for 2 % on noisy CT.
        compress: False for a plain .nii.
        forms: position fields of the file whose grid this is; they are written in place of `ijk_to_ras`, bit for bit.
        description: what made the voxels, at most 79 bytes of ASCII; "" leaves the field blank.

    Returns:
        bytes of a .nii.gz (or .nii).
    """
    voxels = np.asarray(voxels)
    voxels = voxels.astype({"b": np.uint8, "f": np.float32}[voxels.dtype.kind]) if voxels.dtype in (np.bool_, np.float16) else voxels
    is_color = voxels.ndim == 4 and voxels.shape[-1] == 3 and voxels.dtype == np.uint8
    shape_ijk = (voxels.shape[:3] if is_color else voxels.shape)[::-1]
    header = _build_header(shape_ijk, voxels.dtype, is_color, np.asarray(ijk_to_ras, dtype=float), forms, description)
    body = np.ascontiguousarray(voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)).data.cast("B") if voxels.size else b""
    if not compress:
        return header + bytes(body)
    pieces = (header, *(body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK)))
    return b"".join(gzip_pieces(pieces, level, _strategy(body, level)))


def _strategy(body: bytes | memoryview, level: int) -> int:
    """zlib's way of looking for repeats that suits these voxels, tried on a piece from their middle.

    In noisy 8-bit images all repeats but runs of one value are chance: looking for runs only takes half the time and gives
    fewer bytes. Masks and 16-bit voxels repeat over longer distances and keep the default.
    """
    start = max(0, (len(body) - _SAMPLE) // 2)
    sizes = {}
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, strategy=strategy)
        sizes[strategy] = len(packer.compress(body[start : start + _SAMPLE])) + len(packer.flush())
    return min(sizes, key=lambda strategy: sizes[strategy])


def _build_header(
    shape_ijk: tuple[int, ...], dtype: np.dtype, is_color: bool, matrix: np.ndarray, forms: NiftiForms | None, description: str
) -> bytes:
    layout, size, magic, offset = (_HEADER_1, 348, b"n+1\0", 352)
    if max(shape_ijk) > 32767 or (forms is not None and forms.is_nifti2):
        layout, size, magic, offset = (_HEADER_2, 540, b"n+2\0\r\n\x1a\n", 544)
    header = np.zeros((), layout.newbyteorder("<"))
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = size, magic, offset
    header["dim"] = [len(shape_ijk), *shape_ijk] + [1] * (7 - len(shape_ijk))
    header["datatype"] = _RGB if is_color else _CODE_OF[dtype.newbyteorder("=")]
    header["bitpix"] = 24 if is_color else dtype.itemsize * 8
    header["pixdim"] = [1.0, *np.linalg.norm(matrix[:3, :3], axis=0), 1, 1, 1, 1]
    header["scl_slope"], header["xyzt_units"] = 1.0, 2
    header["sform_code"], header["srow"] = 1, matrix[:3]
    header["descrip"] = description.encode("ascii", "replace")[:79]
    if forms is not None:
        header["qform_code"], header["sform_code"], header["xyzt_units"] = forms.qform_code, forms.sform_code, forms.units
        header["quatern"], header["qoffset"], header["srow"] = forms.quatern, forms.qoffset, forms.srow
        header["pixdim"][:4] = forms.pixdim
        header["dim"][0] = 2 if forms.is_flat and len(shape_ijk) == 3 and shape_ijk[2] == 1 else len(shape_ijk)
    return header.tobytes() + bytes(offset - size)


def _recognise(raw: bytes) -> tuple[int, Literal["<", ">"]]:
    orders: tuple[Literal["<"], Literal[">"]] = ("<", ">")
    for order in orders:
        size = int(np.frombuffer(bytes(raw[:4]), dtype=order + "i4")[0])
        if size == 348 and bytes(raw[344:347]) == b"n+1":
            return 348, order
        if size == 540 and bytes(raw[4:7]) == b"n+2":
            return 540, order
        if size == 348 and bytes(raw[344:347]) == b"ni1":
            raise InputError("The file is one half of a NIfTI pair (.hdr and .img); convert it to a single .nii.gz first.")
    raise InputError("The file is not NIfTI: it does not begin with a NIfTI header.")


def _interpret(fields: np.ndarray, order: str, is_gzip: bool, size: int) -> NiftiHeader:
    rank = int(fields["dim"][0])
    if not 1 <= rank <= 7 or any(int(n) < 0 for n in fields["dim"][1 : rank + 1]):
        raise InputError("The NIfTI header is damaged: its dimensions make no sense.")
    shape = [int(n) for n in fields["dim"][1 : rank + 1]] + [1] * (3 - rank)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    code = int(fields["datatype"])
    channels = {_RGB: 3, _RGBA: 4}.get(code, 1)
    name = "u1" if channels > 1 else _CODES.get(code)
    if name is None:
        raise InputError("The NIfTI file holds voxels of type {code2}, which is no plain number or color; convert it first.", code2=code)
    offset = float(fields["vox_offset"])
    if not size <= offset < 2**31:
        offset = {348: 352, 540: 544}[size]
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        slope, intercept = 1.0, 0.0
    if not np.isfinite(intercept):
        intercept = 0.0
    forms = NiftiForms(
        int(fields["qform_code"]), int(fields["sform_code"]), _numbers(fields["quatern"]), _numbers(fields["qoffset"]),
        tuple(_numbers(row) for row in fields["srow"]), _numbers(fields["pixdim"][:4]), int(fields["xyzt_units"]), size == 540, rank == 2,
    )  # fmt: skip
    remarks: list[str] = []
    with np.errstate(all="ignore"):  # a damaged matrix is found out by whoever uses it, in a sentence
        matrix = _matrix(forms, shape, remarks)
    return NiftiHeader(
        tuple(shape), np.dtype(order + name), channels, int(offset), slope, intercept, matrix, is_gzip, rank, forms, tuple(remarks)
    )


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


# Millimeters in a unit of length: meters, millimeters, micrometers (NIfTI-1, field xyzt_units).
_UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_FORMS_APART = 0.1  # of the smallest voxel size: beyond this two positions are worth a warning


def _matrix(forms: NiftiForms, shape: list[int], remarks: list[str]) -> np.ndarray:
    """mm: the sform, else the qform; with neither, voxel sizes with i towards the patient's left and the centre at zero.

    A stated form whose matrix is empty is passed over.
    """
    to_mm = np.diag([*[_UNIT_MM.get(forms.units & 7, 1.0)] * 3, 1.0])
    sform = sform_matrix(forms) if forms.sform_code > 0 else None
    qform = qform_matrix(forms) if forms.qform_code > 0 else None
    # A form of nothing but zeros is a writer's fault; what is odd in other ways is told by whoever uses the matrix, unless another form is good.
    if sform is not None and not usable_matrix(sform):
        if qform is not None and usable_matrix(qform):
            remarks.append(Sentence("The file's sform is empty or cannot be used, so its qform places the image."))
            sform = None
        elif not np.any(sform[:3, :3]) and np.any(forms.pixdim[1:]):
            remarks.append(Sentence("The file's sform is empty, so its voxel sizes alone place the image."))
            sform = qform = None
    if sform is None and qform is not None and not np.all(np.abs(forms.pixdim[1:4])):
        qform = qform if not np.any(forms.pixdim[1:4]) else None
    if sform is not None and qform is not None:
        _compare(to_mm @ sform, to_mm @ qform, shape, remarks)
    if sform is not None or qform is not None:
        return to_mm @ (sform if sform is not None else qform)
    matrix = np.eye(4)
    sizes = np.abs(np.array(forms.pixdim[1:4]))
    sizes = np.where(sizes > 0, sizes, 1.0)
    matrix[:3, :3] = np.diag(sizes * [-1, 1, 1])
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape[:3]) - 1) / 2.0)
    return to_mm @ matrix


def sform_matrix(forms: NiftiForms) -> np.ndarray:
    """4x4 as the file states it, in its own units."""
    matrix = np.eye(4)
    matrix[:3] = np.array(forms.srow)
    return matrix


def qform_matrix(forms: NiftiForms) -> np.ndarray:
    """4x4 as the file states it, in its own units."""
    matrix = np.eye(4)
    handedness = -1.0 if forms.pixdim[0] < 0 else 1.0
    matrix[:3, :3] = _rotation(np.array(forms.quatern)) * (np.abs(np.array(forms.pixdim[1:4])) * [1, 1, handedness])
    matrix[:3, 3] = forms.qoffset
    return matrix


def _compare(sform: np.ndarray, qform: np.ndarray, shape: list[int], remarks: list[str]) -> None:
    """Tell how far the two positions are apart, in mm, at the corner where it is most."""
    corners = np.array(np.meshgrid(*[[0, max(size - 1, 0)] for size in shape[:3]])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.linalg.norm((sform @ corners - qform @ corners)[:3], axis=0).max()
    smallest = np.linalg.norm(sform[:3, :3], axis=0).min()
    if np.isfinite(apart) and apart > max(_FORMS_APART * smallest, 1e-4 * smallest):
        remarks.append(
            Sentence(
                "The file states two positions (sform and qform) that lie up to {apart:.3g} mm apart; programs differ in "
                "which they show. The results state both, as the file does.",
                apart=apart,
            )
        )


def _rotation(bcd: np.ndarray) -> np.ndarray:
    """Rotation matrix of a unit quaternion of which the header stores the last three parts."""
    b, c, d = bcd
    rest = 1.0 - float(bcd @ bcd)
    a = np.sqrt(max(0.0, rest))
    if rest < 3 * np.finfo(np.float32).eps:  # half a turn: what is left is the rounding of the stored numbers
        length = np.linalg.norm(bcd) or 1.0
        b, c, d, a = b / length, c / length, d / length, 0.0
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
