"""Segmentations as DICOM: a Segmentation object (highdicom) and an RT Structure Set, both referring to the source series.

Codes come from the catalogue; a prompt that it does not know is coded as "Tissue" and keeps its words as the label. The objects say
what made them: algorithm, version, and that it was an automatic one (DICOM PS3.3 C.8.20.2, C.8.8.5). They belong to the patient and
study of the source, as every derived object does; nothing else about the patient is added.
"""

from __future__ import annotations

import copy
import datetime
import io
import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, UsageError
from ..imaging.volume import LPS_TO_RAS, CroppedMask, Volume
from ..packages import require
from ..prompts import catalogue
from .contours import outlines
from .dicom import frame_geometries, has_pixels, is_dicom_file, read_header
from .write import check_writable, write_atomically

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_EXTENSIONS = (".dcm",)
MANUFACTURER = "MedImageParse for 3D Slicer"
_TISSUE = ("SCT", "85756007", "Tissue")
_SAME_PLACE = 0.05  # of a voxel
_STRUCTURE_SET, _SEGMENTATION = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(slots=True, frozen=True)
class Maker:
    """What made the masks.

    Attributes:
        name: the model's or engine's name, e.g. "MedImageParse 3D".
        version: of the model or of this program.
        is_ai: False for an engine of classical image processing.
    """

    name: str
    version: str
    is_ai: bool = True

    @property
    def family(self) -> tuple[str, str, str]:
        """Segmentation algorithm family, DICOM context group 7162."""
        return ("DCM", "123110", "Artificial Intelligence") if self.is_ai else ("DCM", "123108", "Morphological Operations")

    @property
    def description(self) -> str:
        """For people who look at the series list."""
        return f"AI-generated segmentation ({self.name})" if self.is_ai else f"Computed segmentation ({self.name})"


@dataclass(slots=True, frozen=True)
class Structure:
    """One segment to write: its prompt (for the codes), its name, its color (0..1) and its mask on the volume's grid."""

    prompt: str
    name: str
    color: tuple[float, float, float]
    mask: CroppedMask


@dataclass(slots=True)
class SourceSeries:
    """The images that a volume was read from.

    Attributes:
        headers: one a file, without pixels; in the order of the volume's slices for a series of single images.
        frames: for slice k of the series, (which of headers, which frame of it).
        nearest: for slice k of the series, the slice of the volume that lies there, where an uneven series was resampled; [] where they are the same.
    """

    headers: list[Dataset]
    frames: list[tuple[int, int]]
    nearest: list[int] = field(default_factory=list)

    def own(self, structures: Sequence[Structure]) -> list[Structure]:
        """The structures on the slices of the series."""
        if not self.nearest:
            return list(structures)
        return [replace(one, mask=CroppedMask.from_full(one.mask.full()[self.nearest])) for one in structures]

    @property
    def is_multi_frame(self) -> bool:
        return len(self.headers) == 1 and len(self.frames) > 1


def find_source(path: Path | Sequence[Path], volume: Volume, chosen: str = "") -> SourceSeries:
    """The images in a DICOM file or folder that make up the volume's slices, found by their places in the patient.

    Where an uneven series was resampled, they are those between which the volume's slices lie.

    Args:
        path: the file or folder, or a list of files.
        volume: as it was read from there.
        chosen: UID or series number that the person chose among several, which may lie in the same places; "" for none.

    Raises:
        UsageError: the input is no DICOM. InputError: its images are not the volume's slices one by one.
    """
    given = [path] if isinstance(path, Path) else list(path)
    candidates = [file for one in given for file in (sorted(each for each in one.rglob("*") if each.is_file()) if one.is_dir() else [one])]
    headers = [header for file in candidates if (header := _header(file)) is not None]
    if not headers:
        raise UsageError("DICOM results need DICOM input, which {name} is not; write --output or --labels instead.", name=given[0].name)
    series: dict[str, list[Dataset]] = {}
    for header in headers:
        uid = str(header.get("SeriesInstanceUID", ""))
        if chosen in ("", uid, str(header.get("SeriesNumber", ""))):
            series.setdefault(uid, []).append(header)
    nearest: list[int] = []
    for images in series.values():
        frames = _placed(images, volume)
        if frames is not None:
            break
    else:
        for images in series.values():
            if (uneven := _placed_unevenly(images, volume)) is not None:
                frames, nearest = uneven
                break
        else:
            raise InputError("The slices of the result are not the images of the series one by one, so it cannot be written as DICOM.")
    if len(images) == 1:
        return SourceSeries([_completed(images[0], volume)], frames, nearest)
    ordered = [_completed(images[number], volume) for number, _frame in frames]
    for image in ordered[1:]:  # careless anonymizers make every image a study of its own
        image.StudyInstanceUID = ordered[0].StudyInstanceUID
    return SourceSeries(ordered, [(place, 0) for place in range(len(ordered))], nearest)


def write_dicom_seg(path: str | Path, volume: Volume, structures: Sequence[Structure], source: SourceSeries, maker: Maker) -> Path:
    """Write a DICOM Segmentation object (binary; overlaps are kept).

    Args:
        path: .dcm in a folder that exists.
        volume: the input as read; for a structure's place.
        structures: empty ones are left out.
        source: see `find_source`.
        maker: what made the masks.

    Raises:
        UsageError: highdicom is missing, nothing was found (a Segmentation object needs a segment), the file cannot be written.
        InputError: the source lacks what every DICOM image needs.
    """
    path = check_writable(path, DICOM_EXTENSIONS)
    found = [one for one in source.own(structures) if one.mask.count]
    if not found:
        raise UsageError("Nothing was found, and a DICOM segmentation cannot be empty; {name} was not written.", name=path.name)
    require("highdicom", "writing a DICOM segmentation")
    import highdicom as hd

    descriptions = [_description(hd, number, one, maker) for number, one in enumerate(found, start=1)]
    used = np.zeros(len(source.frames), bool)
    for one in found:
        used[one.mask.box[0]] |= one.mask.voxels.any(axis=(1, 2))
    slices = np.arange(len(used)) if source.is_multi_frame else np.flatnonzero(used)
    images = source.headers if source.is_multi_frame else [source.headers[k] for k in slices]
    frame_of = {k: frame for k, (_image, frame) in enumerate(source.frames)}
    order = sorted(range(len(slices)), key=lambda k: frame_of[k]) if source.is_multi_frame else list(range(len(slices)))
    pixels = _pixels(found, [int(slices[k]) for k in order])
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        try:
            made = hd.seg.Segmentation(
                source_images=images,
                pixel_array=pixels,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=descriptions,
                series_instance_uid=hd.UID(),
                series_number=9001,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer=MANUFACTURER,
                manufacturer_model_name=maker.name[:64],
                software_versions=maker.version[:64] or "unknown",
                device_serial_number="1",
                content_description=maker.description[:64],
                content_label="SEGMENTATION",
                series_description=maker.description[:64],
            )
        except (AttributeError, KeyError, ValueError, TypeError) as error:
            raise InputError("The series lacks what a DICOM segmentation must repeat ({reason}).", reason=str(error)[:160]) from error
        return _write(path, made)


def write_rtstruct(path: str | Path, volume: Volume, structures: Sequence[Structure], source: SourceSeries, maker: Maker) -> Path:
    """Write an RT Structure Set: closed contours along the voxels' edges, on the slices of the source.

    A hole is joined to its outline by a channel without width (DICOM PS3.3 C.8.8.6.3), so that a reader that fills contours gets the
    same voxels back.

    Args:
        path: .dcm in a folder that exists.
        volume: the image whose grid the masks are on.
        structures: what was found; those without voxels are listed without contours.
        source: see `find_source`; the contours refer to its slices.
        maker: what made the structures.
    """
    path = check_writable(path, DICOM_EXTENSIONS)
    if source.is_multi_frame:
        raise UsageError("An RT structure set of a multi-frame file is not written here; write --dicom-seg instead.")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    first = source.headers[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(_STRUCTURE_SET), generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = _STRUCTURE_SET, meta.MediaStorageSOPInstanceUID, "RTSTRUCT"
    for name in _PATIENT_AND_STUDY:
        if name in first:
            made[name] = copy.deepcopy(first[name])
        else:
            setattr(made, name, "")
    now = datetime.datetime.now()
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = generate_uid(), 9002, 1
    made.SeriesDescription = maker.description[:64]
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = MANUFACTURER, maker.name[:64], maker.version[:64] or "unknown"
    made.OperatorsName = ""
    made.InstanceCreationDate = made.StructureSetDate = now.strftime("%Y%m%d")
    made.InstanceCreationTime = made.StructureSetTime = now.strftime("%H%M%S")
    made.StructureSetLabel, made.StructureSetName = "AI" if maker.is_ai else "COMPUTED", maker.description[:64]
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = first.FrameOfReferenceUID, ""
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(source)]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    for number, structure in enumerate(source.own(structures), start=1):
        _add_structure(made, number, structure, volume, source, maker)
    return _write(path, made)


_PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip


def _header(path: Path) -> Dataset | None:
    """All of an image's header but its pixels; None for what is no image."""
    header = read_header(path) if is_dicom_file(path) else None
    return header if header is not None and has_pixels(header) else None


def _placed(images: list[Dataset], volume: Volume) -> list[tuple[int, int]] | None:
    """For each slice of the volume the image and frame that lies there; None unless they are the same slices, rows and columns."""
    places = _heights(images, volume)
    if places is None:
        return [(0, 0)] if volume.shape_kji[0] == len(images) == 1 and len(frame_geometries(images[0])) == 1 else None
    found: dict[int, tuple[int, int]] = {}
    for height, frame in places:
        # Slices may stand at uneven distances: the nearest is meant, as long as each has one.
        found.setdefault(round(height), frame)
    return [found[k] for k in range(volume.shape_kji[0])] if len(found) == volume.shape_kji[0] else None


def _placed_unevenly(images: list[Dataset], volume: Volume) -> tuple[list[tuple[int, int]], list[int]] | None:
    """The images and frames of an uneven series, lowest first, and the slice of the volume nearest to each.

    None unless the volume reaches from the first to the last of them and has no fewer slices.
    """
    places = sorted(_heights(images, volume) or [])
    count, last = sum(len(frame_geometries(image)) for image in images), volume.shape_kji[0] - 1
    if not 2 <= len(places) == count <= last + 1 or places[0][0] > 0.5 + _SAME_PLACE or places[-1][0] < last - 0.5 - _SAME_PLACE:
        return None
    return [frame for _height, frame in places], [round(height) for height, _frame in places]


def _heights(images: list[Dataset], volume: Volume) -> list[tuple[float, tuple[int, int]]] | None:
    """For each image and frame with the volume's rows and columns its place in slices of the volume; None where one says nothing about its place."""
    inverse = np.linalg.inv(np.asarray(volume.ijk_to_ras, float))
    found = []
    for number, image in enumerate(images):
        if (int(image.Rows), int(image.Columns)) != volume.shape_kji[1:]:
            continue
        try:
            frames = frame_geometries(image)
        except InputError:
            continue
        for place, frame in enumerate(frames):
            if frame.position is None:
                return None
            i, j, k = inverse[:3, :3] @ (LPS_TO_RAS[:3, :3] @ frame.position) + inverse[:3, 3]
            right = inverse[:3, :3] @ (LPS_TO_RAS[:3, :3] @ (frame.right * frame.step_right))
            down = inverse[:3, :3] @ (LPS_TO_RAS[:3, :3] @ (frame.down * frame.step_down))
            straight = np.allclose(right, [1, 0, 0], atol=_SAME_PLACE) and np.allclose(down, [0, 1, 0], atol=_SAME_PLACE)
            if straight and -0.5 - _SAME_PLACE <= k <= volume.shape_kji[0] - 0.5 + _SAME_PLACE and max(abs(i), abs(j)) < 0.5 + _SAME_PLACE:
                found.append((float(np.clip(k, -0.49, volume.shape_kji[0] - 0.51)), (number, place)))
    return found


def _completed(header: Dataset, volume: Volume) -> Dataset:
    """The header with what careless writers leave out and derived objects must repeat."""
    from pydicom.uid import UID, generate_uid

    full = copy.copy(header)
    series = str(full.get("SeriesInstanceUID", "")) or "unknown"
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if not full.get(name):
            setattr(full, name, UID(generate_uid(entropy_srcs=[name, series])))  # the same for every image of the series
    if not full.get("SOPInstanceUID"):
        full.SOPInstanceUID = generate_uid()
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime", "AccessionNumber"):
        if name not in full:
            setattr(full, name, "")
    if "ReferringPhysicianName" not in full:
        full.ReferringPhysicianName = ""
    if not full.get("SliceThickness") and "SharedFunctionalGroupsSequence" not in full:
        full.SliceThickness = float(f"{volume.spacing_ijk[2]:.6g}")
    if not full.get("PixelSpacing") and "SharedFunctionalGroupsSequence" not in full:
        full.PixelSpacing = [float(f"{volume.spacing_ijk[1]:.9g}"), float(f"{volume.spacing_ijk[0]:.9g}")]
    if not hasattr(full, "file_meta") or "TransferSyntaxUID" not in full.file_meta:
        from pydicom.dataset import FileMetaDataset

        full.file_meta = FileMetaDataset()
        full.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    return full


def _pixels(found: Sequence[Structure], slices: list[int]) -> np.ndarray:
    """(frames, rows, columns) with segment numbers where nothing overlaps, else (frames, rows, columns, segments) of 0 and 1."""
    shape = len(slices), *found[0].mask.shape_kji[1:]
    rows = {k: place for place, k in enumerate(slices)}
    labels = np.zeros(shape, np.uint8 if len(found) < 256 else np.uint16)
    overlaps = False
    for number, one in enumerate(found, start=1):
        start = one.mask.start_kji[0]
        for layer in range(one.mask.voxels.shape[0]):
            inside = one.mask.voxels[layer] != 0
            if inside.any():
                part = labels[rows[start + layer]][one.mask.box[1:]]
                overlaps = overlaps or bool(np.any(part[inside]))
                part[inside] = number
    if not overlaps:
        return labels
    stacked = np.zeros((*shape, len(found)), np.uint8)
    for number, one in enumerate(found):
        stacked[..., number] = one.mask.full()[slices]
    return stacked


def _description(hd: Any, number: int, structure: Structure, maker: Maker) -> Any:
    target = catalogue.lookup(structure.prompt) or catalogue.lookup(structure.name)

    def coded(code: tuple[str, str, str]) -> Any:
        return hd.sr.CodedConcept(code[1], code[0], code[2])

    algorithm = hd.AlgorithmIdentificationSequence(
        name=maker.name[:64], family=coded(maker.family), version=maker.version[:64] or "unknown"
    )
    made = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.name[:64],
        segmented_property_category=coded(target.category if target else _TISSUE),
        segmented_property_type=coded(target.type if target else _TISSUE),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=hd.UID(),
        tracking_id=structure.name[:64],
        anatomic_regions=[coded(target.region)] if target and target.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*(round(255 * part) for part in structure.color)),
    )
    if target and target.modifier:
        made.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [coded(target.modifier)]
    if target and target.region and target.region_modifier:
        made.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [coded(target.region_modifier)]
    return made


def _referenced_frame(source: SourceSeries) -> Dataset:
    from pydicom.dataset import Dataset

    first = source.headers[0]
    images = []
    for header in source.headers:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        images.append(image)
    series = Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = first.SeriesInstanceUID, images
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = first.FrameOfReferenceUID, [study]
    return frame


def _add_structure(made: Dataset, number: int, structure: Structure, volume: Volume, source: SourceSeries, maker: Maker) -> None:
    from pydicom.dataset import Dataset

    region = Dataset()
    region.ROINumber, region.ReferencedFrameOfReferenceUID = number, source.headers[0].FrameOfReferenceUID
    region.ROIName, region.ROIGenerationAlgorithm = structure.name[:64], "AUTOMATIC"
    region.ROIGenerationDescription = f"{maker.name} {maker.version}"[:64]
    made.StructureSetROISequence.append(region)
    contours = Dataset()
    contours.ROIDisplayColor = [round(255 * part) for part in structure.color]
    contours.ReferencedROINumber = number
    contours.ContourSequence = _contours(structure.mask, volume, source)
    made.ROIContourSequence.append(contours)
    target = catalogue.lookup(structure.prompt) or catalogue.lookup(structure.name)
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = number
    observation.RTROIInterpretedType, observation.ROIInterpreter = "", ""
    if target:
        observation.RTROIIdentificationCodeSequence = [_code(target.type)]
        if target.modifier:
            observation.RTROIIdentificationCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_code(target.modifier)]
    made.RTROIObservationsSequence.append(observation)


def _code(code: tuple[str, str, str]) -> Dataset:
    from pydicom.dataset import Dataset

    made = Dataset()
    made.CodingSchemeDesignator, made.CodeValue, made.CodeMeaning = code[0], code[1], code[2][:64]
    return made


def _contours(mask: CroppedMask, volume: Volume, source: SourceSeries) -> list[Dataset]:
    from pydicom.dataset import Dataset

    made = []
    for layer in range(mask.voxels.shape[0]):
        header = source.headers[mask.start_kji[0] + layer]
        (frame,) = frame_geometries(header)
        for polygon in outlines(mask.voxels[layer] != 0):
            corners = polygon + np.array([mask.start_kji[2], mask.start_kji[1]])
            position = np.zeros(3) if frame.position is None else frame.position
            places = position + corners[:, :1] * frame.right * frame.step_right + corners[:, 1:] * frame.down * frame.step_down
            contour = Dataset()
            image = Dataset()
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
            contour.ContourImageSequence, contour.ContourGeometricType = [image], "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(places)
            contour.ContourData = [f"{value:.5f}"[:16] for value in places.ravel()]
            made.append(contour)
    return made


def _write(path: Path, made: Dataset) -> Path:
    buffer = io.BytesIO()
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        made.save_as(buffer, enforce_file_format=True)
    return write_atomically(path, buffer.getvalue())
