"""Reading the input of a run and writing what was asked for: checked before anything is sent, written after all is known."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.segmentation import SegmentSpec, check_segmentation_path, write_segmentation
from ..files.write import check_name, check_writable, safe_file_stem
from ..imaging.volume import Volume
from ..models import MODEL_NAMES
from ..packages import require
from ..progress import Progress
from ..redaction import redactor
from ..tasks.results import PromptResult, SegmentationResult, voxel_volume_ml
from .inputs import Image, as_frames, as_volume, check_kind, is_path, tell_input

if TYPE_CHECKING:
    from ..files.dicom_export import SourceSeries
    from .segment_options import SegmentOptions

FILES = ("output", "labels", "picture", "statistics", "dicom_seg", "rtstruct")
_ENDINGS: dict[str, tuple[str, ...]] = {
    "labels": (".nii.gz", ".nii", ".nrrd"),
    "picture": (".png",),
    "statistics": (".csv", ".json"),
    "dicom_seg": (".dcm",),
    "rtstruct": (".dcm",),
}


@dataclass(slots=True, frozen=True)
class OutputPaths:
    """Files to write; None where not asked for."""

    output: Path | None = None
    labels: Path | None = None
    probability: Path | None = None
    picture: Path | None = None
    masks: Path | None = None
    statistics: Path | None = None
    dicom_seg: Path | None = None
    rtstruct: Path | None = None
    instances: float | None = None

    @classmethod
    def checked(cls, options: SegmentOptions, inputs: Iterable[object] = (), names: Iterable[str] = ()) -> OutputPaths:
        """What to write, checked before anything is sent.

        Args:
            options: those of `segment`; what it writes counts here.
            inputs: what is read; volumes and None are passed over.
            names: of the segments to come, which name the probability volumes.

        Raises:
            UsageError: a name that cannot be written, or that would replace what is read; a package that writing needs is missing.
        """
        if options.labels and str(options.labels).lower().endswith(".seg.nrrd"):
            raise UsageError("The labelmap's name ends with .seg.nrrd, which is a segmentation's; end it with .nrrd or .nii.gz.")
        for folder, purpose in ((options.probability, "probability volumes"), (options.masks, "masks")):
            if folder:
                check_name(Path(folder))
            if folder and Path(folder).exists() and not Path(folder).is_dir():
                raise UsageError("{folder} is a file; give a folder for the {purpose}.", folder=folder, purpose=purpose)
        output = check_segmentation_path(options.output) if options.output else None
        files = {name: path for name in _ENDINGS if (path := getattr(options, name))}
        paths = cls(
            output,
            **{name: check_writable(path, _ENDINGS[name]) for name, path in files.items()},
            probability=Path(options.probability) if options.probability else None,
            masks=Path(options.masks) if options.masks else None,
            instances=options.instances,
        )
        given: dict[str, Path | None] = {name: getattr(paths, name) for name in FILES}
        for folder, what in ((paths.probability, "probability"), (paths.masks, "mask")):
            given |= {f"{what} of {name}": folder / f"{safe_file_stem(name)}.nii.gz" for name in names if folder}
        check_outputs(given, inputs, [paths.probability, paths.masks])
        if paths.dicom_seg:
            require("highdicom", "writing a DICOM segmentation")
        return paths

    def written(self) -> list[str]:
        """What is written, files and folders."""
        return [str(path) for name in (*FILES, "probability", "masks") if (path := getattr(self, name))]


@dataclass(slots=True, frozen=True)
class Reading:
    """The input as it was read: the volume, its path ("" where a Volume was given), warnings, when reading began and how long it took."""

    volume: Volume
    path: str
    warnings: list[str]
    started: float
    seconds: float

    @classmethod
    def of(cls, source: Image, modality: str, progress: Progress, series: str | int = "", frame: int | None = None) -> Reading:
        """Read a file or folder, or take an image in memory as it is.

        Args:
            source: a path, or what `inputs.as_volume` takes.
            modality: DICOM modality code, where the source does not say.
            progress: told that reading begins.
            series: UID or number of a folder's DICOM series.
            frame: which volume, from 0, of an image with several.
        """
        start = time.perf_counter()
        warnings: list[str] = []
        path = ""
        check_kind(source)
        if not is_path(source):
            _no_series(series)
            volume = as_volume(source, frame=frame)
        else:
            from ..files.read import read_image

            progress("reading", 0, 0)
            path = os.fspath(cast("str | os.PathLike", source))
            volume, warnings = read_image(Path(path), series=str(series), frame=frame)
        if modality:
            volume = dataclasses.replace(volume, modality=modality.upper())
        return cls(volume, path, list(warnings), start, time.perf_counter() - start)

    @classmethod
    def every(cls, source: Image, modality: str, progress: Progress, series: str | int = "") -> list[Reading]:
        """Each volume of an image with several; arguments as for `of`. What reading took is told by the first."""
        from ..files.read import read_frames

        start = time.perf_counter()
        check_kind(source)
        progress("reading", 0, 0)
        warnings: list[str] = []
        if is_path(source):
            path = os.fspath(cast("str | os.PathLike", source))
            volumes, warnings = read_frames(path, series=str(series))
        else:
            _no_series(series)
            path, volumes = "", as_frames(source)
        if modality:
            volumes = [dataclasses.replace(volume, modality=modality.upper()) for volume in volumes]
        seconds = time.perf_counter() - start
        return [
            cls(volume, path, [] if number else list(warnings), time.perf_counter() if number else start, 0.0 if number else seconds)
            for number, volume in enumerate(volumes)
        ]


def _no_series(series: str | int) -> None:
    if series != "":
        raise UsageError("A series is chosen in a DICOM folder; the image given is in memory already, so leave it out.")


def finish(
    result: SegmentationResult, reading: Reading, paths: OutputPaths, progress: Progress, source: SourceSeries | None = None
) -> None:
    """Write the files, and complete the report with the input, the warnings and the times.

    Args:
        result: of the run.
        reading: the input.
        paths: what to write.
        progress: told that files are being written.
        source: the DICOM images that the input was read from, where DICOM results are asked for.
    """
    report = result.report
    timings = report["timings_s"]
    tell_input(report, reading.path, reading.warnings)
    timings["read"] = round(reading.seconds, 4)
    progress("writing", 0, 0)
    report["outputs"] = paths.written()
    found = pieces(result, paths.instances)
    if any(getattr(paths, name) for name in (*FILES[1:], "probability", "masks")):
        start = time.perf_counter()
        _write_files(result, paths, report)
        _write_pieces(result, found, paths, source)
        timings["write"] = round(time.perf_counter() - start, 4)
    if paths.output:
        _write_segmentation(result, found, paths.output, timings)
    timings["total"] = round(time.perf_counter() - reading.started, 4)


def provenance(result: SegmentationResult, prompt: PromptResult) -> dict[str, str]:
    """Who made a segment, as tags that Slicer keeps with it: never a key, a path, or anything about the patient.

    Args:
        result: of the run, with its report.
        prompt: the one that the segment is of.

    Returns:
        tags by name: MedImageParse.Prompt, .Model, .Engine (only where a local engine answered), .Endpoint (host), .Window, .RequestId,
        .Date (ISO 8601, UTC), .Version.
    """
    from ..scene.tags import TAG

    report = result.report
    values = {
        "Prompt": prompt.text,
        "Model": report["model"],
        "Engine": report["engine"] or "",
        "Endpoint": _host(report),
        "Window": report["window"] or "",
        "RequestId": " ".join(report["request_ids"]),
        "Date": report["date"],
        "Version": report["version"],
    }
    return {f"{TAG}{name}": redactor.quote(str(value)) for name, value in values.items() if value}


def maker(report: dict) -> str:
    """Who made the masks of a run, as one line for a person: "MedImageParse 3D at host, 2026-01-31"."""
    return f"{redactor.quote(report['engine'] or _title(report))} at {_host(report)}, {report['date'][:10]}"


def _host(report: dict) -> str:
    """Host and port of the endpoint that answered."""
    return urlsplit(report["endpoint"] or "").netloc.rpartition("@")[2]


def _title(report: dict) -> str:
    """What people call the model."""
    return MODEL_NAMES.get(report["model"], report["model"])


def pieces(result: SegmentationResult, instances: float | None) -> list[PromptResult]:
    """What becomes a segment: each found prompt, or, where asked for, each of its separate structures ("liver tumor 1" the largest).

    Args:
        result: its report's prompts get `instances`, a list of name, voxels and volume_ml.
        instances: millilitres; smaller structures are left out. None for whole prompts.
    """
    if instances is None:
        return result.found
    from ..cohort.instances import split_instances

    voxel_ml = voxel_volume_ml(result.volume)
    parted: list[PromptResult] = []
    for prompt, entry in zip(result.prompts, result.report["prompts"]):
        masks = split_instances(prompt.mask, voxel_ml, instances)
        parts = [dataclasses.replace(prompt, name=f"{prompt.name} {number}", mask=mask) for number, mask in enumerate(masks, start=1)]
        entry["instances"] = [
            {"name": part.name, "voxels": part.mask.count, "volume_ml": round(part.mask.count * voxel_ml, 6)} for part in parts
        ]
        parted += parts
    return parted


def segment_specs(result: SegmentationResult, found: list[PromptResult] | None = None) -> list[SegmentSpec]:
    """What the scene needs of each found prompt: name, mask, color, terminology, and who made it."""
    from ..prompts import catalogue

    specs = []
    for prompt in result.found if found is None else found:
        target = catalogue.lookup(prompt.text)
        specs.append(
            SegmentSpec(prompt.name, prompt.mask, prompt.color, target.terminology_entry() if target else "", provenance(result, prompt))
        )
    return specs


def _write_segmentation(result: SegmentationResult, found: list[PromptResult], path: Path, timings: dict) -> None:
    start = time.perf_counter()
    specs = segment_specs(result, found)
    timings["import"] = round(time.perf_counter() - start, 4)
    start = time.perf_counter()
    write_segmentation(path, result.volume.shown, specs)
    timings["write"] = round(timings["write"] + time.perf_counter() - start, 4)


def _write_files(result: SegmentationResult, paths: OutputPaths, report: dict) -> None:
    from ..files import picture, write

    if paths.labels:
        labels, overlapped = result.labels()
        write.write_labels(paths.labels, labels, result.volume, description=report["engine"] or "")
        if overlapped:
            report["warnings"].append("Some masks overlap; where they do, the labelmap keeps the later prompt (the .seg.nrrd keeps both).")
    if paths.probability:
        kept = [(prompt.name, prompt.probability) for prompt in result.prompts if prompt.probability is not None]
        for name, probability in kept:
            write.write_probabilities(paths.probability, name, probability, result.volume)
        if not kept:
            report["warnings"].append("The reply carries no probabilities, so no probability volume was written.")
    if paths.picture:
        masks = [(prompt.name, prompt.color, prompt.mask) for prompt in result.prompts]
        picture.write_picture(paths.picture, result.volume, masks, title=report["engine"] or "")


def find_source(paths: OutputPaths, reading: Reading, series: str | int = "") -> SourceSeries | None:
    """The DICOM images that results in DICOM refer to, found before anything is sent; None where none are asked for.

    Args:
        paths: what to write.
        reading: the input as it was read.
        series: the one that the person chose, "" for none.

    Raises:
        UsageError: the input is no DICOM. InputError: its images are not the volume's slices one by one.
    """
    if not (paths.dicom_seg or paths.rtstruct):
        return None
    from ..files import dicom_export

    if not reading.path:
        raise UsageError("DICOM results need a DICOM file or folder as input; write --output or --labels instead.")
    return dicom_export.find_source(Path(reading.path).expanduser(), reading.volume, str(series))


def _write_pieces(result: SegmentationResult, found: list[PromptResult], paths: OutputPaths, source: SourceSeries | None) -> None:
    """Everything that has one entry a structure."""
    from ..files import dicom_export, write

    report = result.report
    engine = report["engine"] or ""
    if paths.masks:
        for piece in found:
            write.write_mask(paths.masks, piece.name, piece.mask.full(), result.volume, description=engine)
    if paths.statistics:
        from ..cohort.statistics import describe, write_statistics

        absent = [prompt for prompt in result.prompts if not prompt.found]
        write_statistics(paths.statistics, [(piece.name, describe(result.volume, piece.mask)) for piece in (*found, *absent)])
    if source is None:
        return
    made_by = dicom_export.Maker(engine or _title(report), report["version"], is_ai=not engine)
    structures = [dicom_export.Structure(piece.text, piece.name, piece.color, piece.mask) for piece in found]
    if paths.dicom_seg and not structures:
        report["warnings"].append("Nothing was found, and a DICOM segmentation cannot be empty, so none was written.")
        report["outputs"] = [path for path in report["outputs"] if path != str(paths.dicom_seg)]
    elif paths.dicom_seg:
        dicom_export.write_dicom_seg(paths.dicom_seg, result.volume, structures, source, made_by)
    if paths.rtstruct:
        dicom_export.write_rtstruct(paths.rtstruct, result.volume, structures, source, made_by)
