"""Reading one DICOM series: which files belong to it, what kind of object they are, and one evenly spaced volume of them.

Only the tags listed below are read for this, so no name, birth date or number of a patient ever enters this program.
"""

from __future__ import annotations

import logging
import re
import warnings as python_warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from ..imaging.windows import padding_ranges, sample_of
from ..remedies import Sentence, few
from .dicom_geometry import FrameGeometry, Stack, frame_geometries, groups_by_place, stack_geometry
from .dicom_pixels import how_stored, padding_values, pixel_values
from .dicom_slices import (
    PROJECTIONS,
    Image,
    are_pictures,
    number_of,
    require_no_mixture,
    require_no_projections,
    require_one_shape,
    require_slices,
    without_copies,
    without_homeless,
    without_scouts,
    without_twins,
)
from .frames import EVERY_FRAME, ONE_VOLUME

if TYPE_CHECKING:
    from pydicom import Dataset

_log = logging.getLogger(__name__)

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "InstanceNumber", "Rows", "Columns",
    "NumberOfFrames", "ImageType", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "GridFrameOffsetVector", "NumberOfSlices", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DetectorInformationSequence", "SequenceOfUltrasoundRegions", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelRepresentation", "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel",
]  # fmt: skip
# A file without the preamble starts with its first element: group 2, or group 8 from the group length to the instance UID.
_BARE_STARTS = (b"\x02\0\0\0", *(bytes((8, 0, element, 0)) for element in (0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18)))
# Objects that hold no image of the patient: (beginning of the SOP class, Modality, what to call it). Source: DICOM PS3.4 B.5.
_STORAGE = "1.2.840.10008.5.1.4.1.1"
_NO_IMAGES = (
    (f"{_STORAGE}.66.4", "SEG", "DICOM segmentation (SEG)"),
    (f"{_STORAGE}.66.7", "SEG", "DICOM label map segmentation (SEG)"),
    (f"{_STORAGE}.66.5", "SEG", "DICOM surface segmentation (SEG)"),
    (f"{_STORAGE}.66", "REG", "DICOM registration, fiducials or raw data"),
    (f"{_STORAGE}.481.2", "RTDOSE", "radiotherapy dose (RTDOSE)"),
    (f"{_STORAGE}.481.3", "RTSTRUCT", "radiotherapy structure set (RTSTRUCT)"),
    (f"{_STORAGE}.481.5", "RTPLAN", "radiotherapy plan (RTPLAN)"),
    (f"{_STORAGE}.481.8", "RTPLAN", "radiotherapy plan (RTPLAN)"),
    (f"{_STORAGE}.481.4", "RTRECORD", "radiotherapy record"),
    (f"{_STORAGE}.88.59", "KO", "key object selection (KO)"),
    (f"{_STORAGE}.88", "SR", "DICOM report (SR)"),
    (f"{_STORAGE}.104", "DOC", "document in a DICOM file"),
    (f"{_STORAGE}.11", "PR", "presentation state (PR)"),
    (f"{_STORAGE}.9", "ECG", "waveform"),
    (f"{_STORAGE}.67", "RWV", "real world value mapping"),
    (f"{_STORAGE}.68", "SEG", "surface scan"),
    (f"{_STORAGE}.4.2", "MRS", "MR spectroscopy"),
)
NO_IMAGE_MODALITIES = frozenset(modality for _class, modality, _title in _NO_IMAGES)


@dataclass(slots=True)
class _Found:
    """What lies among the files.

    Attributes:
        images: files with an image.
        damaged: files that are, or seem to be, DICOM and cannot be read.
        others: what the other DICOM objects are, by file.
    """

    images: list[Image]
    damaged: list[Path]
    others: dict[Path, str]


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does: "DICM" after 128 bytes, or (old exports) a bare group 2 or group 8 element."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:132] == b"DICM" or (len(start) == 132 and start[:4] in _BARE_STARTS)


def read_dicom(paths: list[Path], where: str, warnings: list[str], *, series: str = "", frame: int | None = None) -> Volume:
    """Read the one series among `paths` as a volume.

    Files that are not DICOM and DICOM objects without an image (reports, plans, segmentations) are passed over beside images. MONOCHROME1
    is inverted for radiographs and pictures, not for quantities such as Hounsfield units; slope, intercept and look-up tables are
    applied, each frame's own; palettes and YBR colors become RGB. Unevenly spaced slices are resampled to even spacing.

    Args:
        paths: the candidate files.
        where: what the person gave, as the subject of a sentence: "The folder X".
        warnings: sentences are added here.
        series: UID or number of the series to take, where there are several.
        frame: which volume to take where several share their positions (phases, echoes), counted from 0.

    Raises:
        InputError: no image, several series (they are listed), slices that do not make one volume, undecodable pixels, another object.
    """
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # pydicom's remarks on odd values quote them
        return _read_series(_look_at(paths), where, warnings, series.strip(), frame)


def series_of(paths: list[Path]) -> list[tuple[str, Path | None]]:
    """What can be read among files, one by one: (UID of a series, "" for none; None), or for pictures that are no slices (UID; file) each.

    Other objects and damaged files are left out.
    """
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        found: dict[str, list[Image]] = defaultdict(list)
        for image in _look_at(paths).images:
            found[_uid(image)].append(image)
        parts: list[tuple[str, Path | None]] = []
        for uid, images in found.items():
            parts += [(uid, image.path) for image in images] if are_pictures(images) else [(uid, None)]
    return parts


def _look_at(paths: list[Path]) -> _Found:
    found = _Found([], [], {})
    for path in paths:
        if not is_dicom_file(path):
            if path.name.upper() != "DICOMDIR" and not path.name.startswith("."):  # what a Mac puts beside files
                found.damaged.append(path)
            continue
        header = read_header(path, _TAGS)
        kind = _other_object(header) if header is not None else ""
        if kind:
            found.others[path] = kind
        elif header is not None and has_pixels(header):
            found.images.append(Image(path, header))
        elif header is None or not _is_directory(header, path):
            found.damaged.append(path)
    shapes = {_shape_of(image.path.name) for image in found.images}
    endings = {ending for image in found.images if (ending := image.path.suffix.lower()) and not ending[1:].isdigit()}
    # What does not begin as DICOM (empty, zeros, a web page) is a lost slice only where it is called as the slices are.
    found.damaged = [
        path for path in found.damaged if is_dicom_file(path) or path.suffix.lower() in endings or _shape_of(path.name) in shapes
    ]
    return found


def _shape_of(name: str) -> str:
    """A file's name with a sign for every number: alike for the slices of most series."""
    return re.sub(r"\d+", "#", name.lower())


def _is_directory(header: Dataset, path: Path) -> bool:
    return path.name.upper() == "DICOMDIR" or str(header.get("SOPClassUID") or "") == "1.2.840.10008.1.3.10"


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset | None:
    """The header of one object, or None where the file holds no readable DICOM.

    Args:
        path: the file.
        tags: keywords of what is read of it; None for all but the pixels.
    """
    import pydicom

    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # pydicom's remarks on odd values quote them
            return pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=None if tags is None else list(tags))
    except MemoryError:
        raise  # no reason to leave the file out
    except Exception as error:  # damaged files bring pydicom to raise nearly anything
        _log.info("a DICOM header cannot be read (%s)", type(error).__name__)
        return None


def has_pixels(header: Dataset) -> bool:
    """Whether it is the header of an image."""
    return number_of(header, "Rows", 0) > 0 and number_of(header, "Columns", 0) > 0


def _other_object(header: Dataset) -> str:
    """What the object is where it is no image, else ""."""
    uid, modality = str(header.get("SOPClassUID") or "").strip(), str(header.get("Modality") or "").strip().upper()
    for beginning, code, name in _NO_IMAGES:
        if uid == beginning or uid.startswith(beginning + ".") or (not uid and modality == code):
            return name
    if uid and number_of(header, "Rows", 0) <= 0:
        import pydicom

        known = pydicom.uid.UID(uid).name
        if known == uid or known.startswith("Private"):
            return Sentence("private object of the scanner's maker")
        return "" if "Image" in known else known
    return ""


def _read_series(found: _Found, where: str, warnings: list[str], series: str, frame: int | None) -> Volume:
    images = found.images
    if not images:
        raise InputError(_no_image(found, where))
    images = _chosen_series(images, where, series)
    if found.damaged:
        named = few(sorted(path.name for path in found.damaged))
        count = len(images) + len(found.damaged)
        lost = (
            "1 of {total} files of the series cannot be read (empty, cut off or damaged) and is missing from the volume: {named}."
            if len(found.damaged) == 1
            else "{count} of {total} files of the series cannot be read (empty, cut off or damaged) and are missing from the volume: {named}."
        )
        warnings.append(Sentence(lost, count=len(found.damaged), total=count, named=named))
    for image in images:
        require_slices(image, where)
    images = without_scouts(without_copies(images, warnings), warnings)
    counts = [int(number_of(image.header, "NumberOfFrames", 1)) for image in images]
    require_no_mixture(images, counts, where)
    require_no_projections(images, where)
    require_one_shape(images)
    images = without_homeless(images, warnings)
    if frame is None and len(images) > 1:
        images = without_twins(images, warnings)
        counts = [1] * len(images)
    places = [place for image in images for place in frame_geometries(image.header)]
    names = [image.path.name for image, count in zip(images, counts, strict=True) for _ in range(max(count, 1))]
    if frame != EVERY_FRAME:
        return _volume(images, places, names, _one_of_several(places, frame, warnings), where, warnings)
    volumes = [
        _volume(images, places, names, _one_of_several(places, number, []), where, [] if number else warnings)
        for number in range(max(_volumes_in(places), 2))  # of one only the sentence that says so
    ]
    if len({volume.voxels.shape for volume in volumes}) > 1:
        raise InputError(
            "{where} holds volumes of different sizes: choose one with --frame 0 to {value}.", where=where, value=len(volumes) - 1
        )
    return replace(volumes[0], voxels=np.stack([volume.voxels for volume in volumes]))


def _volume(images: list[Image], places: list[FrameGeometry], names: list[str], kept: list[int], where: str, warnings: list[str]) -> Volume:
    """The volume of those frames whose numbers are `kept`."""
    stack = stack_geometry([places[number] for number in kept], [names[number] for number in kept], warnings)
    voxels = _stacked(images, [kept[number] for number in stack.order], len(places), where)
    modality = str(images[0].header.get("Modality") or "").strip().upper()
    modality = modality if modality.isalnum() and len(modality) <= 16 else ""
    is_picture = len(kept) == 1 and not places[kept[0]].has_place
    padding = padding_values(images[0].header)
    is_homeless = all(places[number].position is None for number in kept)
    is_film = len(kept) > 1 and is_homeless and modality in PROJECTIONS | {"NM"}
    return Volume(_evenly(voxels, stack, padding), stack.ijk_to_ras, modality, is_picture, padding, is_film=is_film)


def _no_image(found: _Found, where: str) -> str:
    if found.others:
        kinds = ", ".join(sorted(set(found.others.values())))
        return Sentence(
            "{where} holds no image but another kind of DICOM object: {kinds}. Give the series of images that it belongs to.",
            where=where,
            kinds=kinds,
        )
    if found.damaged:
        return Sentence(
            "{where} holds no DICOM image that can be read: {names} (empty, cut off or damaged).",
            where=where,
            names=few(sorted(path.name for path in found.damaged)),
        )
    return Sentence("{where} holds no DICOM image; give a file or a folder with one series of images.", where=where)


def _uid(image: Image) -> str:
    return str(image.header.get("SeriesInstanceUID") or "").strip()


def _chosen_series(images: list[Image], where: str, wanted: str) -> list[Image]:
    series: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        series[_uid(image)].append(image)
    if wanted:
        fitting = [group for uid, group in series.items() if uid == wanted or _series_number(group[0]) == wanted]
        if len(fitting) == 1:
            return fitting[0]
        how = Sentence("several series have") if fitting else Sentence("no series has")
        raise InputError(
            "{where}: {how} the UID or number {wanted}; it holds {listed}.",
            where=where,
            how=how,
            wanted=wanted[:64],
            listed=_listed(series),
        )
    if len(series) > 1:
        raise InputError(
            "{where} holds {count} DICOM series; choose one with --series NUMBER, or give its folder: {listed}.",
            where=where,
            count=len(series),
            listed=_listed(series),
        )
    return images


def _series_number(image: Image) -> str:
    value = image.header.get("SeriesNumber")
    return str(value).strip() if value is not None else ""


def _listed(series: dict[str, list[Image]]) -> str:
    """The series with number, description and size, by number; by UID only where the numbers do not tell them apart."""
    numbers = [_series_number(group[0]) for group in series.values()]
    rows = []
    for uid, group in series.items():
        number = _series_number(group[0])
        name = number if number and numbers.count(number) == 1 else uid or "no UID"
        description = "".join(letter for letter in str(group[0].header.get("SeriesDescription") or "") if letter.isprintable()).strip()[:40]
        about = f"{group[0].header.get('Modality') or 'modality unknown'}, {len(group)} images"
        rows.append(
            (
                not number.isdecimal(),
                int(number) if number.isdecimal() else 0,
                f"{name} ({description + ', ' if description else ''}{about})",
            )
        )
    rows.sort()
    shown = "; ".join(text for _, _, text in rows[:12])
    return shown + (f"; and {len(rows) - 12} more" if len(rows) > 12 else "")


def _volumes_in(places: list[FrameGeometry]) -> int:
    """How many volumes there are: images at each position, or, where nobody knows the positions, pictures."""
    if any(place.position is None for place in places):
        return len(places)
    return min(len(group) for group in groups_by_place(places))


def _one_of_several(places: list[FrameGeometry], frame: int | None, warnings: list[str]) -> list[int]:
    """Numbers of the frames of the one volume that is wanted."""
    everything = list(range(len(places)))
    if frame is None:
        return everything
    if _volumes_in(places) < 2:
        raise InputError(ONE_VOLUME, code="no-frame")
    if any(place.position is None for place in places):
        if not 0 <= frame < len(places):
            raise InputError("There is no frame {frame}: the file has frames 0 to {value}.", frame=frame, value=len(places) - 1)
        return [frame]
    groups = groups_by_place(places)
    size = min(len(group) for group in groups)
    if not 0 <= frame < size:
        raise InputError("There is no frame {frame}: the series has frames 0 to {value} at each position.", frame=frame, value=size - 1)
    warnings.append(Sentence("Volume {frame} of {size} at the same positions was taken.", frame=frame, size=size))
    return sorted(group[frame] for group in groups)


def _stacked(images: list[Image], order: list[int], count: int, where: str) -> np.ndarray:
    """The frames in the order of their heights, (frame, row, column[, 3])."""
    if len(images) == 1:
        voxels = pixel_values(images[0].path, images[0].header)
        if voxels.shape[0] != count:
            raise InputError(
                "{where} promises {count} frames and holds {shape}; export it again.", where=where, count=count, shape=voxels.shape[0]
            )
        return voxels if order == list(range(count)) else voxels[order]
    parts = [pixel_values(images[number].path, images[number].header) for number in order]
    colored = [images[number].path.name for number, part in zip(order, parts, strict=True) if part.ndim == 4]
    if colored and len(colored) < len(parts):
        gray = [images[number].path.name for number, part in zip(order, parts, strict=True) if part.ndim == 3]
        raise InputError(
            "The images of {lower}{where} are partly gray and partly colored; unlike the rest are {odd}. Move them out of the folder.",
            lower=where[0].lower(),
            where=where[1:],
            odd=few(sorted(colored if len(colored) <= len(gray) else gray)),
        )
    return np.concatenate(parts)


def _evenly(voxels: np.ndarray, stack: Stack, padding: tuple[float, ...]) -> np.ndarray:
    """Slices at even distances, linear between the two that lie around each; the nearest where one of them has no data."""
    if stack.heights is None:
        return voxels
    result = np.empty((stack.count, *voxels.shape[1:]), voxels.dtype)
    ranges = padding_ranges(sample_of(voxels), padding) if voxels.ndim == 3 else []
    for number in range(stack.count):
        above = int(np.searchsorted(stack.heights, number - 1e-6))
        above = min(max(above, 1), len(voxels) - 1)
        below = above - 1
        share = float(np.clip((number - stack.heights[below]) / (stack.heights[above] - stack.heights[below]), 0.0, 1.0))
        low, high = voxels[below], voxels[above]
        mixed = low + (high.astype(np.float64) - low) * share
        for lowest, highest in ranges:
            gone = ((low >= lowest) & (low <= highest)) | ((high >= lowest) & (high <= highest))
            mixed[gone] = (high if share > 0.5 else low)[gone]
        result[number] = np.round(mixed) if voxels.dtype.kind in "iu" else mixed
    return result


__all__ = ["how_stored", "is_dicom_file", "read_dicom", "series_of"]
