"""Reading one DICOM series. Headers with pydicom, pixels with SimpleITK's GDCM (it knows the compressed transfer syntaxes).

Only the tags listed below are read, so no name, birth date or number of a patient ever enters this program. The geometry is
computed here from the positions of the slices (DICOM PS3.3 C.7.6.2), because a tilted gantry makes a sheared matrix, which
series readers straighten silently.

Where DICOM frames are in the patient, and how they stack into one volume. Arithmetic only, no files.
"""

from __future__ import annotations

import warnings as python_warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..imaging.volume import Volume
from .quiet import quiet_codecs

if TYPE_CHECKING:
    from pydicom import Dataset


_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "GridFrameOffsetVector",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DetectorInformationSequence",
    "SequenceOfUltrasoundRegions",
    "PhotometricInterpretation",
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
    if voxels.dtype == np.int32 and voxels.size and voxels.min() >= -32768 and voxels.max() <= 32767:
        return voxels.astype(np.int16)
    return voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels


_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE_MM = 1e-3
_IRREGULAR = 0.05  # of the slice distance: beyond this a warning is worth reading


@dataclass(slots=True, frozen=True)
class FrameGeometry:
    """One frame. Everything in mm and in DICOM's LPS axes.

    Attributes:
        position: centre of the first pixel, or None where the file does not say.
        right, down: unit vectors along increasing column and increasing row.
        step_right, step_down: distance between columns, between rows.
        thickness: distance to the next slice as the file states it; signed as stated, 1 where it says nothing.
        number: instance number (frame number in a multi-frame file), for frames without a position.
        has_place: whether the file says how the frame lies in the patient.
    """

    position: np.ndarray | None
    right: np.ndarray
    down: np.ndarray
    step_right: float
    step_down: float
    thickness: float
    number: float
    has_place: bool

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.right, self.down)


def frame_geometries(header: Dataset) -> list[FrameGeometry]:
    """One geometry a frame of the file, in stored order.

    Looks, in this order, at the per-frame and shared functional groups (enhanced CT, MR, PET), at the image plane module, and
    at the detector module (nuclear medicine). DICOM PS3.3 C.7.6.2, C.7.6.16, C.8.4.11, C.8.8.3.
    """
    count = int(_floats(header, "NumberOfFrames", 1, (1.0,))[0])
    shared = _first(header, "SharedFunctionalGroupsSequence")
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    detector = _first(header, "DetectorInformationSequence")
    frames = []
    for number in range(max(count, 1)):
        own = per_frame[number] if number < len(per_frame) else None
        sources = [
            source
            for source in (
                *(
                    _first(group, name)
                    for group in (own, shared)
                    for name in (
                        "PlanePositionSequence",
                        "PlaneOrientationSequence",
                        "PixelMeasuresSequence",
                        "PlanePositionVolumeSequence",
                    )
                ),
                header,
                detector,
            )
            if source is not None
        ]
        frames.append(_frame(sources, number if count > 1 else _floats(header, "InstanceNumber", 1, (0.0,))[0]))
    if count > 1 and not per_frame:
        frames = _spread(header, frames)
    return frames


def stack_geometry(frames: Sequence[FrameGeometry], warnings: list[str]) -> tuple[list[int], np.ndarray]:
    """Sort frames along their normal and give the affine of the stack.

    Returns:
        (order, ijk_to_ras): the frames' numbers from the lowest position along the normal to the highest, and the 4x4 matrix
        in mm, RAS. The third column is the mean step between neighbours, in-plane part included: sheared under gantry tilt.

    Raises:
        InputError: frames of different orientation or spacing, or several at one position.
    """
    first = frames[0]
    _require_parallel(frames)
    if len(frames) == 1:
        order, start, step = [0], first.position, first.normal * abs(first.thickness)
    elif any(frame.position is None for frame in frames):
        warnings.append(
            "The images do not say where they are in the patient; "
            f"they are stacked in their numbered order, {abs(first.thickness):g} mm apart."
        )
        order = sorted(range(len(frames)), key=lambda number: frames[number].number)
        start, step = None, first.normal * abs(first.thickness)
    else:
        order, start, step = _along_normal(frames, warnings)
    matrix = np.eye(4)
    matrix[:3, 0] = first.right * first.step_right
    matrix[:3, 1] = first.down * first.step_down
    matrix[:3, 2] = step
    matrix[:3, 3] = 0.0 if start is None else start
    return order, _LPS_TO_RAS @ matrix


def _along_normal(frames: Sequence[FrameGeometry], warnings: list[str]) -> tuple[list[int], np.ndarray, np.ndarray]:
    positions = np.array([frame.position for frame in frames])
    heights = positions @ frames[0].normal
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    same = int(np.count_nonzero(gaps < _SAME_PLACE_MM))
    if same:
        raise InputError(
            f"{same + 1} or more images of the series lie at the same position (several phases, echoes or times?); "
            "give one volume at a time."
        )
    sorted_positions = positions[order]
    step = (sorted_positions[-1] - sorted_positions[0]) / (len(order) - 1)
    expected = sorted_positions[0] + np.arange(len(order))[:, np.newaxis] * step
    farthest = float(np.linalg.norm(sorted_positions - expected, axis=1).max())
    if gaps.max() - gaps.min() > _IRREGULAR * gaps.mean() or farthest > _IRREGULAR * gaps.mean():
        warnings.append(
            f"The distances between slices vary ({gaps.min():.3g} to {gaps.max():.3g} mm; a slice missing?); "
            f"with the mean of {gaps.mean():.3g} mm slices are up to {farthest:.2g} mm off."
        )
    return [int(number) for number in order], sorted_positions[0], step


def _require_parallel(frames: Sequence[FrameGeometry]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        turned = max(np.abs(frame.right - first.right).max(), np.abs(frame.down - first.down).max())
        scaled = max(abs(frame.step_right - first.step_right), abs(frame.step_down - first.step_down))
        if turned > 1e-3 or scaled > 1e-3:
            raise InputError("The images of the series differ in orientation or pixel size; move the odd ones out of the folder.")


def _spread(header: Dataset, frames: list[FrameGeometry]) -> list[FrameGeometry]:
    """Positions of the frames of a file that states only the first one (dose grids, nuclear medicine, classic multi-frame)."""
    first = frames[0]
    if first.position is None or not first.has_place:
        return [replace(frame, position=None) for frame in frames]
    offsets = _floats(header, "GridFrameOffsetVector", len(frames), None)
    steps = np.array(offsets) - offsets[0] if offsets is not None else np.arange(len(frames)) * first.thickness
    return [replace(frame, position=first.position + first.normal * step) for frame, step in zip(frames, steps)]


def _frame(sources: list[Dataset], number: float) -> FrameGeometry:
    def look(name: str, length: int) -> tuple[float, ...] | None:
        return next((found for source in sources if (found := _floats(source, name, length, None)) is not None), None)

    cosines = look("ImageOrientationPatient", 6)
    position = look("ImagePositionPatient", 3)
    right, down = (np.array(cosines[:3]), np.array(cosines[3:])) if cosines else (np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if min(lengths) < 0.5 or abs(right @ down) > 0.01:
        raise InputError("A DICOM image states directions that make no sense; export the series again.")
    rows_then_columns = look("PixelSpacing", 2) or look("ImagerPixelSpacing", 2) or _ultrasound_spacing(sources) or (1.0, 1.0)
    step_down, step_right = (abs(step) or 1.0 for step in rows_then_columns)
    thickness = (look("SpacingBetweenSlices", 1) or look("SliceThickness", 1) or (1.0,))[0] or 1.0
    return FrameGeometry(
        np.array(position) if position else None,
        right / lengths[0],
        down / lengths[1],
        step_right,
        step_down,
        thickness,
        float(number),
        has_place=cosines is not None and position is not None,
    )


def _ultrasound_spacing(sources: list[Dataset]) -> tuple[float, float] | None:
    for source in sources:
        region = _first(source, "SequenceOfUltrasoundRegions")
        across, along = (_floats(region, name, 1, None) if region is not None else None for name in ("PhysicalDeltaX", "PhysicalDeltaY"))
        units = {int((_floats(region, f"PhysicalUnits{axis}Direction", 1, (0.0,)))[0]) for axis in "XY"} if region is not None else set()
        if across and along and units == {3}:  # 3: centimetres a pixel
            return abs(along[0]) * 10, abs(across[0]) * 10
    return None


def _first(source: Dataset | None, name: str) -> Dataset | None:
    sequence = source.get(name) if source is not None else None
    return sequence[0] if sequence else None


def _floats(source: Dataset, name: str, length: int, default: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """The element's numbers where there are `length` finite ones, else `default`."""
    value = source.get(name)
    if value is None or value == "":
        return default
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    try:
        values = tuple(float(one) for one in (value if several else [value]))
    except (TypeError, ValueError):
        return default
    return values if len(values) == length and np.all(np.isfinite(values)) else default
