"""Where DICOM frames are in the patient, and how they stack into one volume. Arithmetic only, no files.

The geometry is computed from the positions of the slices (DICOM PS3.3 C.7.6.2), because a tilted gantry makes a sheared matrix, which
series readers straighten silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..imaging.volume import LPS_TO_RAS
from ..remedies import Sentence, few

if TYPE_CHECKING:
    from pydicom import Dataset

_SAME_PLACE_MM, _SAME_PLACE = 1e-3, 0.01  # the less of the two: mm, and of the pixel size
_IRREGULAR = 0.05  # of the slice distance: beyond this slices are resampled
_MOST_TIMES = 6  # how many slices resampling may make of one, before the usual distance is taken


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
        has_size: whether the file says how large a pixel is.
    """

    position: np.ndarray | None
    right: np.ndarray
    down: np.ndarray
    step_right: float
    step_down: float
    thickness: float
    number: float
    has_place: bool
    has_size: bool = True

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.right, self.down)


def frame_geometries(header: Dataset) -> list[FrameGeometry]:
    """One geometry a frame of the file, in stored order.

    Looks, in this order, at the per-frame and shared functional groups (enhanced CT, MR, PET), at the image plane module, and
    at the detector module (nuclear medicine). DICOM PS3.3 C.7.6.2, C.7.6.16, C.8.4.11, C.8.8.3.
    """
    count = int((_floats(header, "NumberOfFrames", 1, (1.0,)) or (1.0,))[0])
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
                        "PlaneOrientationVolumeSequence",
                    )
                ),
                header,
                detector,
            )
            if source is not None
        ]
        frames.append(_frame(sources, number if count > 1 else (_floats(header, "InstanceNumber", 1, (0.0,)) or (0.0,))[0]))
    if count > 1 and not per_frame:
        frames = _spread(header, frames)
    return frames


@dataclass(slots=True)
class Stack:
    """How frames make one volume.

    Attributes:
        order: the frames' numbers from the lowest position along the normal to the highest.
        ijk_to_ras: 4x4 matrix in mm, RAS, of an evenly spaced volume; sheared under gantry tilt.
        heights: place of each frame in slices of that volume, in the order of `order`; None where frame k is slice k.
        count: slices of the volume.
    """

    order: list[int]
    ijk_to_ras: np.ndarray
    heights: np.ndarray | None
    count: int


def stack_geometry(frames: Sequence[FrameGeometry], names: Sequence[str], warnings: list[str]) -> Stack:
    """Sort frames along their normal and give the affine of the stack.

    Where the distances differ the volume is evenly spaced at the smallest distance between neighbours, as dcm2niix does it, and its slices
    lie between frames.

    Args:
        frames: one geometry a frame.
        names: a name for each frame, for sentences.
        warnings: sentences are added here.

    Raises:
        InputError: frames of different orientation or spacing, or several at one position; the odd ones are named.
    """
    first = frames[0]
    _require_parallel(frames, names)
    heights, count = None, len(frames)
    if first.has_place and not first.has_size:
        warnings.append("The images do not state the size of their pixels; 1 mm is assumed, and volumes in ml may be wrong.")
    if len(frames) == 1:
        order, start, step = [0], first.position, first.normal * abs(first.thickness)
    elif any(frame.position is None for frame in frames):
        warnings.append(
            Sentence(
                "The images do not say where they are in the patient; they are stacked in their numbered order, {thickness:g} mm apart.",
                thickness=abs(first.thickness),
            )
        )
        order = sorted(range(len(frames)), key=lambda number: frames[number].number)
        start, step = None, first.normal * abs(first.thickness)
    else:
        if not first.has_place:
            warnings.append("The images do not state their directions in the patient; right, left, front and back are assumed.")
        order, start, step, heights, count = _along_normal(frames, names, warnings)
    matrix = np.eye(4)
    matrix[:3, 0] = first.right * first.step_right
    matrix[:3, 1] = first.down * first.step_down
    matrix[:3, 2] = step
    matrix[:3, 3] = 0.0 if start is None else start
    return Stack(order, LPS_TO_RAS @ matrix, heights, count)


def groups_by_place(frames: Sequence[FrameGeometry]) -> list[list[int]]:
    """Frames that lie at the same place along their normal, lowest first; within a place in the order of their numbers."""
    if any(frame.position is None for frame in frames):
        return [[number] for number in range(len(frames))]
    heights = [float(frame.position @ frames[0].normal) for frame in frames if frame.position is not None]
    groups: list[list[int]] = []
    same = min(_SAME_PLACE_MM, _SAME_PLACE * min(frames[0].step_right, frames[0].step_down))
    last = -np.inf
    for number in sorted(range(len(frames)), key=lambda each: (heights[each], frames[each].number)):
        if groups and heights[number] - last < same:
            groups[-1].append(number)
        else:
            groups.append([number])
            last = heights[number]
    return [sorted(group, key=lambda each: frames[each].number) for group in groups]


def _along_normal(
    frames: Sequence[FrameGeometry], names: Sequence[str], warnings: list[str]
) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray | None, int]:
    groups = groups_by_place(frames)
    if len(groups) < len(frames):
        raise InputError(_several_sentence(len(frames), groups, names))
    order = [group[0] for group in groups]
    positions = np.array([frames[number].position for number in order])
    heights = positions @ frames[0].normal
    gaps = np.diff(heights)
    step = (positions[-1] - positions[0]) / (len(order) - 1)
    expected = positions[0] + np.arange(len(order))[:, np.newaxis] * step
    farthest = float(np.linalg.norm(positions - expected, axis=1).max())
    if gaps.max() - gaps.min() <= _IRREGULAR * gaps.mean() and farthest <= _IRREGULAR * gaps.mean():
        return order, positions[0], step, None, len(order)
    # Even spacing at the smallest usual distance; a pair of slices that lies closer by chance must not multiply the volume.
    distance = float(gaps.min())
    if (heights[-1] - heights[0]) / distance > _MOST_TIMES * len(order):
        distance = float(np.median(gaps))
    if (heights[-1] - heights[0]) / distance > _MOST_TIMES * len(order):
        widest = int(np.argmax(gaps))
        raise InputError(
            "Between {below} and {above} the slices leave a gap of {gap:.3g} mm, too wide to fill; give a folder with one volume.",
            below=names[order[widest]],
            above=names[order[widest + 1]],
            gap=gaps[widest],
        )
    count = int(np.floor((heights[-1] - heights[0]) / distance + 0.5 + 1e-3)) + 1  # the last slice lies within the last voxel
    # The in-plane drift of a tilted gantry goes along with the height.
    step = (positions[-1] - positions[0]) / (heights[-1] - heights[0]) * distance
    places = (heights - heights[0]) / distance
    straight = positions[0] + places[:, np.newaxis] * step
    sideways = float(np.linalg.norm(positions - straight, axis=1).max())
    if sideways > max(_IRREGULAR * distance, 0.1 * min(frames[0].step_right, frames[0].step_down)):
        warnings.append(
            Sentence(
                "The slices are shifted against one another by up to {sideways:.2g} mm; they are stacked in a straight line.",
                sideways=sideways,
            )
        )
    warnings.append(
        Sentence(
            "The distances between slices vary ({min:.3g} to {max:.3g} mm; thin and thick slices, or a slice "
            "missing?): the {count} slices were resampled to {count2} slices, {distance:.3g} mm apart.",
            min=gaps.min(),
            max=gaps.max(),
            count=len(order),
            count2=count,
            distance=distance,
        )
    )
    return order, positions[0], step, places, count


def _several_sentence(count: int, groups: list[list[int]], names: Sequence[str]) -> str:
    sizes = Counter(len(group) for group in groups)
    size, places = sizes.most_common(1)[0]
    odd = {names[number] for group in groups if len(group) != size for number in group}
    if len(sizes) == 1:
        return Sentence(
            "The {count} images of the series lie at {places} positions, {size} at each (phases, echoes or times?): "
            "choose one volume with --frame 0 to {size2}.",
            count=count,
            places=places,
            size=size,
            size2=size - 1,
        )
    several = sum(len(group) > 1 for group in groups)
    most = max(sizes)
    return Sentence(
        "Several of the {count} images of the series lie at the same position (up to {most}, at {several} of "
        "{count2} positions; most positions have {size}, unlike {listed}): give a folder with one volume.",
        count=count,
        most=most,
        several=several,
        count2=len(groups),
        size=size,
        listed=few(sorted(odd)),
    )


def _require_parallel(frames: Sequence[FrameGeometry], names: Sequence[str]) -> None:
    odd = odd_ones(frames)
    if odd and len(set(names)) == 1:
        raise InputError(
            "The frames of {name} differ in orientation or pixel size: {count} of {count2} are unlike the rest. "
            "Export each orientation as a file of its own.",
            name=names[0],
            count=len(odd),
            count2=len(frames),
        )
    if odd:
        raise InputError(
            "The images of the series differ in orientation or pixel size; {count} of {count2} are unlike the rest: {listed}. Move them out of the folder.",
            count=len(odd),
            count2=len(frames),
            listed=few(sorted({names[number] for number in odd})),
        )


def odd_ones(frames: Sequence[FrameGeometry]) -> list[int]:
    """Numbers of the frames that do not share orientation and pixel size with most of the others."""
    kinds: list[list[int]] = []
    for number, frame in enumerate(frames):
        for kind in kinds:
            if _alike(frames[kind[0]], frame):
                kind.append(number)
                break
        else:
            kinds.append([number])
    main = max(kinds, key=len)
    return sorted(number for kind in kinds if kind is not main for number in kind)


def _alike(one: FrameGeometry, other: FrameGeometry) -> bool:
    turned = max(np.abs(other.right - one.right).max(), np.abs(other.down - one.down).max())
    scaled = max(abs(other.step_right - one.step_right) / one.step_right, abs(other.step_down - one.step_down) / one.step_down)
    return bool(turned <= 1e-3 and scaled <= 1e-3)


def _spread(header: Dataset, frames: list[FrameGeometry]) -> list[FrameGeometry]:
    """Positions of the frames of a file that states only the first one (dose grids, nuclear medicine, classic multi-frame)."""
    first = frames[0]
    if first.position is None or not first.has_place:
        return [replace(frame, position=None) for frame in frames]
    numbers = np.arange(len(frames))
    if str(header.get("Modality") or "").strip().upper() == "NM":  # PS3.3 C.8.4.9: views of a camera, or slices computed from them
        kinds = str(header.get("ImageType") or "").upper()
        if "RECON" not in kinds and any(view in kinds for view in ("STATIC", "DYNAMIC", "GATED", "WHOLE BODY", "TOMO")):
            return [replace(frame, position=None) for frame in frames]
        slices = int((_floats(header, "NumberOfSlices", 1, (0.0,)) or (0.0,))[0])
        numbers = numbers % slices if slices > 1 and len(frames) % slices == 0 else numbers  # the same slices at several times
    offsets = _floats(header, "GridFrameOffsetVector", len(frames), None)
    steps = np.array(offsets) - offsets[0] if offsets is not None else numbers * first.thickness
    return [replace(frame, position=first.position + first.normal * step) for frame, step in zip(frames, steps)]


def _frame(sources: list[Dataset], number: float) -> FrameGeometry:
    def look(name: str, length: int) -> tuple[float, ...] | None:
        return next((found for source in sources if (found := _floats(source, name, length, None)) is not None), None)

    in_patient = look("ImageOrientationPatient", 6)
    cosines = in_patient or look("ImageOrientationVolume", 6)  # of an ultrasound volume (PS3.3 C.8.24.3)
    position = look("ImagePositionPatient", 3) or look("ImagePositionVolume", 3)
    right, down = (np.array(cosines[:3]), np.array(cosines[3:])) if cosines else (np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if min(lengths) < 0.5 or abs(right @ down) > 0.01:
        raise InputError("A DICOM image states directions that make no sense; export the series again.")
    rows_then_columns = look("PixelSpacing", 2) or look("ImagerPixelSpacing", 2) or _ultrasound_spacing(sources) or (0.0, 0.0)
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
        has_place=in_patient is not None and position is not None,
        has_size=all(rows_then_columns),
    )


def _ultrasound_spacing(sources: list[Dataset]) -> tuple[float, float] | None:
    """Of the first region whose both directions are centimeters (unit 3; PS3.3 C.8.5.5); a 2D one (format 1) before others."""
    regions = [region for source in sources for region in (source.get("SequenceOfUltrasoundRegions") or [])]
    regions.sort(key=lambda region: (_floats(region, "RegionSpatialFormat", 1, (0.0,)) or (0.0,))[0] != 1)
    for region in regions:
        across, along = (_floats(region, name, 1, None) for name in ("PhysicalDeltaX", "PhysicalDeltaY"))
        units = {int((_floats(region, f"PhysicalUnits{axis}Direction", 1, (0.0,)) or (0.0,))[0]) for axis in "XY"}
        if across and along and units == {3} and across[0] and along[0]:
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
