"""Values of the pixels of one DICOM file: decoded, rescaled frame by frame, and the right way round.

SimpleITK's GDCM reads most files (it knows the compressed transfer syntaxes and is in every Slicer). It takes one slope for a whole
file, ignores modality look-up tables and inverts MONOCHROME1 whatever the modality, so files for which that matters, and those that
it refuses, are decoded by pydicom instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    inverted = str(header.get("PhotometricInterpretation") or "").upper() == "MONOCHROME1"
    quantity = str(header.get("Modality") or "").upper() in _QUANTITIES
    rescales = frame_rescales(header)
    if header.get("ModalityLUTSequence") or len(set(rescales)) > 1 or (inverted and quantity):
        return _compact(_by_pydicom(path, header, rescales, invert=inverted and not quantity))
    voxels = _by_gdcm(path, header)
    if voxels is None:
        return _compact(_by_pydicom(path, header, rescales, invert=inverted and not quantity))
    return _compact(voxels)


def padding_values(header: Dataset) -> tuple[float, ...]:
    """The value that means "no data" (PixelPaddingValue, PS3.3 C.7.5.1.1.2), rescaled as the pixels are; () where none is stated."""
    found = []
    slope, intercept = frame_rescales(header)[0]
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = _float(header.get(name))
        if value is not None:
            if int(_float(header.get("PixelRepresentation")) or 0) == 1 and value > 32767:
                value -= 65536  # written as unsigned by some scanners
            found.append(value * slope + intercept)
    return tuple(dict.fromkeys(found))


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
    if channels > 1 and (channels != 3 or voxels.dtype not in (np.uint8, np.uint16)):
        raise InputError("The DICOM file {name} stores its colors in a way that is not read here; export it as 8-bit RGB.", name=path.name)
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
            stored = np.asarray(whole.pixel_array)
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
        return (frames >> 8).astype(np.uint8) if frames.dtype == np.uint16 and frames.max(initial=0) > 255 else frames
    return _rescaled(frames, whole, rescales, invert)


def _rescaled(frames: np.ndarray, whole: Dataset, rescales: list[tuple[float, float]], invert: bool) -> np.ndarray:
    if invert:
        bits = int(whole.get("BitsStored", 8 * frames.dtype.itemsize))
        frames = (2**bits - 1 - frames.astype(np.int64)) if frames.dtype.kind == "u" else (-1 - frames.astype(np.int64))
    table = whole.get("ModalityLUTSequence")
    if table:
        return _looked_up(frames, table[0])
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
