"""Reading one DICOM series. Headers with pydicom, pixels with SimpleITK's GDCM (it knows the compressed transfer syntaxes).

Only the tags listed below are read, so no name, birth date or number of a patient ever enters this program. The geometry is
computed here from the positions of the slices (DICOM PS3.3 C.7.6.2), because a tilted gantry makes a sheared matrix, which
series readers straighten silently.
"""

from __future__ import annotations

import warnings as python_warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..imaging.volume import Volume
from .dicom_geometry import FrameGeometry, frame_geometries, stack_geometry
from .quiet import quiet_codecs

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "InstanceNumber", "Rows", "Columns", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "GridFrameOffsetVector", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DetectorInformationSequence", "SequenceOfUltrasoundRegions", "PhotometricInterpretation",
]
# A file without the preamble starts with its first element: group 2, or group 8 from the group length to the instance UID.
_BARE_STARTS = (b"\x02\0\0\0", *(bytes((8, 0, element, 0)) for element in (0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18)))


@dataclass(slots=True, frozen=True)
class _Image:
    path: Path
    header: Dataset


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does: "DICM" after 128 bytes, or (old exports) a bare group 2 or group 8 element."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:132] == b"DICM" or (len(start) == 132 and start[:4] in _BARE_STARTS)


def read_dicom(paths: list[Path], where: str, warnings: list[str]) -> Volume:
    """Read the one series among `paths` as a volume.

    Files that are not DICOM and DICOM objects without an image (reports, plans, DICOMDIR) are passed over. MONOCHROME1 is
    inverted within the stored bits, rescale slope and intercept are applied, palettes and YBR colors become RGB.

    Args:
        paths: the candidate files.
        where: what the person gave, as the subject of a sentence: "The folder X".
        warnings: sentences are added here.

    Raises:
        InputError: no image, two series (both are listed by UID), slices that do not make one volume, undecodable pixels.
    """
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # pydicom's remarks on odd values quote them
        return _read_series(paths, where, warnings)


def _read_series(paths: list[Path], where: str, warnings: list[str]) -> Volume:
    images = [_Image(path, header) for path in paths if is_dicom_file(path) and (header := _header(path)) is not None]
    if not images:
        raise InputError(f"{where} holds no DICOM image; give a file or a folder with one series of images.")
    _require_one_series(images, where)
    images = _without_copies(images, warnings)
    frames = [int(_number(image.header, "NumberOfFrames", 1)) for image in images]
    if len(images) > 1 and max(frames) > 1:
        raise InputError(f"{where} holds {len(images)} files of several frames each; give one of these files.")
    _require_one_shape(images)
    modality = str(images[0].header.get("Modality") or "").strip().upper()
    modality = modality if modality.isalnum() and len(modality) <= 16 else ""

    places: list[FrameGeometry] = [place for image in images for place in frame_geometries(image.header)]
    order, ijk_to_ras = stack_geometry(places, warnings)
    if len(images) == 1:
        voxels = _pixels(images[0])
        if voxels.shape[0] != len(places):
            raise InputError(f"{where} promises {len(places)} frames and holds {voxels.shape[0]}; export it again.")
        voxels = voxels[order] if len(order) > 1 else voxels
    else:
        voxels = np.concatenate([_pixels(images[number]) for number in order])
    is_picture = len(places) == 1 and not places[0].has_place
    return Volume(voxels, ijk_to_ras, modality, is_picture)


def _header(path: Path) -> Dataset | None:
    """The tags of one image, or None where the file holds no image or no readable DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=_TAGS)
        return header if _number(header, "Rows", 0) > 0 and _number(header, "Columns", 0) > 0 else None
    except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, NotImplementedError, AttributeError, TypeError):
        return None


def _number(header: Dataset, name: str, default: float) -> float:
    try:
        return float(header.get(name, default) or default)
    except (TypeError, ValueError):
        return default


def _require_one_series(images: list[_Image], where: str) -> None:
    series: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        series[str(image.header.get("SeriesInstanceUID") or "").strip()].append(image)
    if len(series) > 1:
        listed = "; ".join(
            f"{uid or 'no UID'} ({group[0].header.get('Modality') or 'modality unknown'}, {len(group)} images)"
            for uid, group in sorted(series.items())
        )
        raise InputError(f"{where} holds {len(series)} DICOM series; give a folder with one of them: {listed}.")


def _without_copies(images: list[_Image], warnings: list[str]) -> list[_Image]:
    seen: set[tuple[str, ...]] = set()
    kept = []
    for image in images:
        # The UID alone is not enough: careless anonymizers give every slice the same one.
        identity = tuple(str(image.header.get(name)) for name in ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"))
        if not image.header.get("SOPInstanceUID") or identity not in seen:
            kept.append(image)
        seen.add(identity)
    if len(kept) < len(images):
        warnings.append(f"{len(images) - len(kept)} DICOM files are copies of others and were passed over.")
    return kept


def _require_one_shape(images: list[_Image]) -> None:
    shapes = {(int(image.header.Rows), int(image.header.Columns)) for image in images}
    if len(shapes) > 1:
        raise InputError("The images of the series differ in size (a scout among the slices?); move the odd ones out of the folder.")


def _pixels(image: _Image) -> np.ndarray:
    """Values of one file as (frame, row, column) or (frame, row, column, 3), in the smallest type that holds them exactly."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(image.path))
    try:
        with quiet_codecs():
            read = reader.Execute()
    except RuntimeError as error:
        syntax = getattr(getattr(image.header, "file_meta", None), "TransferSyntaxUID", None)
        kind = f", stored as {syntax.name}" if syntax is not None and syntax.is_compressed else ""
        raise InputError(f"The pixels of a DICOM file ({image.path.name}{kind}) cannot be decoded; export the series again.") from error
    voxels = sitk.GetArrayFromImage(read)
    channels = read.GetNumberOfComponentsPerPixel()
    if channels > 1 and (channels != 3 or voxels.dtype not in (np.uint8, np.uint16)):
        raise InputError(f"The DICOM file {image.path.name} stores its colors in a way that is not read here; export it as 8-bit RGB.")
    voxels = voxels.reshape((-1, int(image.header.Rows), int(image.header.Columns)) + ((channels,) if channels > 1 else ()))
    return _compact(voxels)


def _compact(voxels: np.ndarray) -> np.ndarray:
    # GDCM widens to int32 or float64 whenever there is a rescale; a CT is int16 all the same.
    if voxels.dtype == np.int32 and voxels.size and -32768 <= voxels.min() and voxels.max() <= 32767:
        return voxels.astype(np.int16)
    return voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels
