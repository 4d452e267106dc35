"""Values of the pixels of one DICOM file: decoded, rescaled frame by frame, and the right way round.

SimpleITK's GDCM reads most files (it knows the compressed transfer syntaxes and is in every Slicer). It takes one slope for a whole
file, ignores modality look-up tables, inverts MONOCHROME1 whatever the modality and swaps the bytes of deep colors, so files for which that
matters, and those that it refuses, are decoded by pydicom instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..remedies import Sentence
from .quiet import quiet_codecs

if TYPE_CHECKING:
    from pydicom import Dataset

# Modalities whose values are quantities (Hounsfield units, activity): MONOCHROME1 says how to show them, not what they are.
_QUANTITIES = {"CT", "PT", "NM", "MR", "RTDOSE"}


def pixel_values(path: Path, header: Dataset) -> np.ndarray:
    """Values of one file as (frame, row, column) or (frame, row, column, 3), in the smallest type that holds them exactly.

    Args:
        path: the file.
        header: its header, as `dicom.read_dicom` reads it.

    Raises:
        InputError: the pixels cannot be decoded; the sentence names the file, how it is stored, and what would read it.
    """
    _require_every_frame(path, header)
    inverted, is_negative = _is_inverted(header), _is_monochrome1(header)
    rescales = frame_rescales(header)
    is_deep_color = int(_float(header.get("SamplesPerPixel")) or 1) > 1 and int(_float(header.get("BitsAllocated")) or 8) > 8
    if header.get("ModalityLUTSequence") or len(set(rescales)) > 1 or (is_negative and not inverted) or is_deep_color or _shift(header):
        return _compact(_by_pydicom(path, header, rescales, invert=inverted))
    voxels = _by_gdcm(path, header)
    if voxels is None:
        return _compact(_by_pydicom(path, header, rescales, invert=inverted))
    return _compact(voxels)


def _require_every_frame(path: Path, header: Dataset) -> None:
    """Raises InputError where a file of several frames, plainly stored, holds fewer than it says: GDCM makes up what is missing."""
    count = int(_float(header.get("NumberOfFrames")) or 1)
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    if count < 2 or syntax is None:
        return
    import pydicom

    try:
        if syntax.is_encapsulated or syntax.is_deflated:
            return
        with open(path, "rb") as file:
            pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=[])
            start = file.read(12)
            left = path.stat().st_size - file.tell()
    except Exception:  # what is wrong is told by whoever decodes the pixels
        return
    order: Literal["little", "big"] = "little" if syntax.is_little_endian else "big"
    stated = start[4:8] if syntax.is_implicit_VR else start[8:12]
    if start[:4] not in (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10"):
        return
    held = min(int.from_bytes(stated, order), left + (4 if syntax.is_implicit_VR else 0))
    bits = int(header.Rows) * int(header.Columns) * int(_float(header.get("SamplesPerPixel")) or 1) * int(header.BitsAllocated)
    if str(header.get("PhotometricInterpretation")) == "YBR_FULL_422":
        bits = bits * 2 // 3
    if held * 8 < bits * count:
        raise InputError(
            "The file {name} holds {held} of the {count} frames that it promises; copy or export it again.",
            name=path.name,
            held=held * 8 // bits,
            count=count,
        )


def _is_monochrome1(header: Dataset) -> bool:
    return str(header.get("PhotometricInterpretation") or "").strip().upper() == "MONOCHROME1"


def _is_inverted(header: Dataset) -> bool:
    """Whether white is the lowest value, and to be made the highest."""
    return _is_monochrome1(header) and str(header.get("Modality") or "").strip().upper() not in _QUANTITIES


def padding_values(header: Dataset) -> tuple[float, ...]:
    """What means "no data" (PixelPaddingValue and the end of its range, PS3.3 C.7.5.1.1.2), changed as the pixels are; () where none is stated."""
    stated = [value for name in ("PixelPaddingValue", "PixelPaddingRangeLimit") if (value := _float(header.get(name))) is not None]
    if not stated or header.get("PixelPaddingValue") is None:
        return ()
    is_signed = int(_float(header.get("PixelRepresentation")) or 0) == 1
    # Some scanners write signed numbers as unsigned ones.
    stored = np.array([value - 65536 if is_signed and value > 32767 else value for value in stated])
    if not np.array_equal(stored, np.round(stored)):
        return ()
    frames = stored.astype(np.int64 if is_signed else np.uint64).reshape(-1, 1, 1)
    changed = _rescaled(frames, header, frame_rescales(header)[:1], _is_inverted(header))
    return tuple(dict.fromkeys(float(value) for value in changed.ravel()))


def frame_rescales(header: Dataset) -> list[tuple[float, float]]:
    """(slope, intercept) of each frame: its own functional group, else the shared one, else the file's (PS3.3 C.7.6.16.2.9)."""
    count = max(int(_float(header.get("NumberOfFrames")) or 1), 1)
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or [None]
    common = _rescale(shared[0]) or _plain_rescale(header) or (1.0, 0.0)
    return [(_rescale(per_frame[number]) if number < len(per_frame) else None) or common for number in range(count)]


def _rescale(group: Dataset | None) -> tuple[float, float] | None:
    sequence = group.get("PixelValueTransformationSequence") if group is not None else None
    return _plain_rescale(sequence[0]) if sequence else None


def _plain_rescale(source: Dataset) -> tuple[float, float] | None:
    slope, intercept = _float(source.get("RescaleSlope")), _float(source.get("RescaleIntercept"))
    if slope is None and intercept is None:
        return None
    return (slope if slope else 1.0, intercept or 0.0)


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _by_gdcm(path: Path, header: Dataset) -> np.ndarray | None:
    """What GDCM makes of it; None where it refuses."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        with quiet_codecs():
            read = reader.Execute()
    except RuntimeError:
        return None
    voxels = sitk.GetArrayFromImage(read)
    channels = read.GetNumberOfComponentsPerPixel()
    if channels > 1 and (channels != 3 or voxels.dtype != np.uint8):
        return None
    shape = (-1, int(header.Rows), int(header.Columns)) + ((channels,) if channels > 1 else ())
    try:
        return voxels.reshape(shape)
    except ValueError:
        return None


def _by_pydicom(path: Path, header: Dataset, rescales: list[tuple[float, float]], *, invert: bool) -> np.ndarray:
    import pydicom

    try:
        with quiet_codecs():
            whole = pydicom.dcmread(path, force=True)
            shift = _shift(whole)
            if shift:
                whole.BitsStored, whole.HighBit, bits = int(whole.BitsAllocated), int(whole.BitsAllocated) - 1, int(whole.BitsStored)
            stored = np.asarray(whole.pixel_array)
            if shift and not np.any(stored & (2**shift - 1)):  # else the header is wrong, and the values lie where they always do
                stored = (stored >> shift) & (2**bits - 1) if stored.dtype.kind == "u" else stored >> shift
            if shift:
                whole.BitsStored = bits
            color = int(whole.get("SamplesPerPixel", 1)) == 3
            if str(whole.get("PhotometricInterpretation")) == "PALETTE COLOR":
                from pydicom.pixel_data_handlers.util import apply_color_lut

                stored, color = apply_color_lut(stored, whole), True
            elif color and str(whole.PhotometricInterpretation).startswith("YBR_FULL") and not hasattr(pydicom, "pixels"):
                from pydicom.pixel_data_handlers.util import convert_color_space

                stored = convert_color_space(stored, whole.PhotometricInterpretation, "RGB")
    except MemoryError:
        raise
    except Exception as error:  # decoders of many makers, each with exceptions of its own
        raise InputError(_undecodable(path, header, error)) from error
    shape = (-1, int(header.Rows), int(header.Columns)) + ((3,) if color else ())
    try:
        frames = stored.reshape(shape)
    except ValueError as error:
        raise InputError(_undecodable(path, header, error)) from error
    if color:
        bits = int(_float(whole.get("BitsStored")) or 8 * frames.dtype.itemsize)
        return (frames >> max(bits - 8, 0)).astype(np.uint8)
    return _rescaled(frames, whole, rescales, invert)


def _shift(header: Dataset) -> int:
    """How far to the left of the lowest bit the values are stored (DICOM before 2008 allows it), which the decoders do not look at."""
    high, stored = _float(header.get("HighBit")), _float(header.get("BitsStored"))
    return max(int(high + 1 - stored), 0) if high is not None and stored else 0


def _rescaled(frames: np.ndarray, whole: Dataset, rescales: list[tuple[float, float]], invert: bool) -> np.ndarray:
    table = whole.get("ModalityLUTSequence")
    bits = int(whole.get("BitsStored") or 8 * frames.dtype.itemsize)
    if table:
        frames, bits = _looked_up(frames, table[0]), int(table[0].LUTDescriptor[2])
    if invert:
        frames = (2**bits - 1 - frames.astype(np.int64)) if frames.dtype.kind == "u" else (-1 - frames.astype(np.int64))
    if table:
        return frames
    if all(slope == 1.0 and intercept == 0.0 for slope, intercept in rescales):
        return frames
    slopes = np.array([slope for slope, _ in rescales]).reshape(-1, 1, 1)
    intercepts = np.array([intercept for _, intercept in rescales]).reshape(-1, 1, 1)
    if len(slopes) not in (1, len(frames)):
        slopes, intercepts = slopes[:1], intercepts[:1]
    return frames.astype(np.float64) * slopes + intercepts


def _looked_up(frames: np.ndarray, table: Dataset) -> np.ndarray:
    """Through a modality look-up table (PS3.3 C.11.1): values before its first entry take that one, values behind its last that."""
    entries, first, bits = (int(number) for number in table.LUTDescriptor)
    entries = entries or 65536
    first = first - 65536 if frames.dtype.kind == "i" and first > 32767 else first
    data = table.LUTData
    if isinstance(data, bytes):
        kind = np.uint8 if bits <= 8 and len(data) < 2 * entries else np.dtype("<u2")
        values = np.frombuffer(data, kind)[:entries]
    else:
        values = np.asarray(data, dtype=np.uint16)[:entries]
    return values[np.clip(frames.astype(np.int64) - first, 0, len(values) - 1)]


def _undecodable(path: Path, header: Dataset, error: Exception) -> str:
    kind = how_stored(header)
    missing = "No module" in str(error) or "missing dependencies" in str(error) or "plugins are missing" in str(error)
    way = Sentence("convert it to an uncompressed transfer syntax (dcmdjpeg, gdcmconv --raw) or export it again")
    if missing:
        way = Sentence("install pylibjpeg with its plugins, or {way}", way=way)
    return Sentence("The pixels of a DICOM file ({name}{kind}) cannot be decoded; {way}.", name=path.name, kind=kind, way=way)


def how_stored(header: Dataset) -> str:
    """ ", stored as JPEG 2000" or the like, "" for plain pixels. A private transfer syntax is given by its number."""
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        return ""
    try:
        return Sentence(", stored as {name}", name=syntax.name) if syntax.is_compressed else ""
    except ValueError:  # pydicom does not know it
        return Sentence(", stored in the private transfer syntax {syntax}", syntax=syntax)


def _compact(voxels: np.ndarray) -> np.ndarray:
    """The smallest type that holds the values exactly: readers widen to int32, int64 or float64 whenever there is a rescale."""
    if voxels.dtype == np.float64 and voxels.size and np.all(np.mod(voxels, 1) == 0) and np.abs(voxels).max() < 2**31:
        voxels = voxels.astype(np.int32)
    if voxels.dtype in (np.int32, np.int64, np.uint32) and voxels.size:
        low, high = int(voxels.min()), int(voxels.max())
        for kind in (np.int16, np.uint16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return voxels.astype(kind)
    return voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels
