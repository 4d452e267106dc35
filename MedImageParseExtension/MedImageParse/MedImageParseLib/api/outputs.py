"""Reading the input of a run and writing what was asked for: checked before anything is sent, written after all is known."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from ..errors import MedImageParseError, UsageError
from ..files.collisions import check_outputs
from ..files.segmentation import SegmentSpec, check_segmentation_path, write_segmentation
from ..files.write import check_folder, check_writable, mask_paths
from ..imaging.volume import Volume
from ..models import MODEL_NAMES
from ..packages import require
from ..progress import Progress
from ..redaction import redactor
from ..tasks.results import PromptResult, SegmentationResult, voxel_volume_ml
from .inputs import Image, is_path, path_of, read_volumes, tell_input

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
    def checked(cls, options: SegmentOptions, inputs: Iterable[object] = (), names: Iterable[str] = (), *, within: int = 1) -> OutputPaths:
        """What to write, checked before anything is sent.

        Args:
            options: those of `segment`; what it writes counts here.
            inputs: what is read; volumes and None are passed over.
            names: of the segments to come, which name the probability volumes.
            within: how many last parts of a folder's path are made where they are missing.

        Raises:
            UsageError: a name that cannot be written, or that would replace what is read; a package that writing needs is missing.
        """
        if options.labels and str(options.labels).lower().endswith(".seg.nrrd"):
            raise UsageError("The labelmap's name ends with .seg.nrrd, which is a segmentation's; end it with .nrrd or .nii.gz.")
        for folder, purpose in ((options.probability, "probability volumes"), (options.masks, "masks")):
            if folder:
                check_folder(folder, purpose, within)
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
        names = list(names)
        if paths.probability:
            given |= {f"probability of {name}": path for name, path in mask_paths(paths.probability, names).items()}
        if paths.masks:
            numbered = options.instances is not None
            given |= {f"mask of {name}": path for name, path in mask_paths(paths.masks, names, numbered=numbered).items()}
        check_outputs(given, inputs, [paths.probability, paths.masks])
        if paths.dicom_seg:
            require("highdicom", "writing a DICOM segmentation")
        return paths


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
        if is_path(source):
            progress("reading", 0, 0)
        (volume,), warnings = read_volumes(source, modality, series, frame)
        return cls(volume, path_of(source), warnings, start, time.perf_counter() - start)

    @classmethod
    def every(cls, source: Image, modality: str, progress: Progress, series: str | int = "") -> list[Reading]:
        """Each volume of an image with several; arguments as for `of`. What reading took is told by the first."""
        start = time.perf_counter()
        progress("reading", 0, 0)
        volumes, warnings = read_volumes(source, modality, series, every=True)
        seconds = time.perf_counter() - start
        return [
            cls(volume, path_of(source), [] if number else warnings, time.perf_counter() if number else start, 0.0 if number else seconds)
            for number, volume in enumerate(volumes)
        ]


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

    Raises:
        UsageError: something could not be written; the rest was, and is in the report's `outputs`.
    """
    report = result.report
    timings = report["timings_s"]
    tell_input(report, reading.path, reading.warnings)
    timings["read"] = round(reading.seconds, 4)
    progress("writing", 0, 0)
    start = time.perf_counter()
    failed = _write_each(_Writing(result, pieces(result, paths.instances), source), paths)
    timings["write"] = round(time.perf_counter() - start - timings["import"], 4)
    timings["total"] = round(time.perf_counter() - reading.started, 4)
    if failed:
        report["warnings"] += [str(error) for error in failed[1:]]
        raise failed[0]


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


@dataclass(slots=True, frozen=True)
class _Writing:
    """What the files of a run are made of: the result, what becomes a segment, the DICOM images."""

    result: SegmentationResult
    found: list[PromptResult]
    source: SourceSeries | None

    @property
    def report(self) -> dict:
        return self.result.report

    @property
    def engine(self) -> str:
        return self.report["engine"] or ""


def _write_each(run: _Writing, paths: OutputPaths) -> list[MedImageParseError]:
    """Write what was asked for, each whatever became of the others: the masks were paid for, and another disk may have room.

    Returns:
        why what is missing could not be written. What was written is in the report's `outputs`.
    """
    failed: list[MedImageParseError] = []
    run.report["outputs"] = []
    for name, write in _WRITERS.items():
        if path := getattr(paths, name):
            try:
                if write(run, path):
                    run.report["outputs"].append(str(path))
            except MedImageParseError as error:
                failed.append(error)
    return failed


def _write_segmentation(run: _Writing, path: Path) -> bool:
    start = time.perf_counter()
    specs = segment_specs(run.result, run.found)
    run.report["timings_s"]["import"] = round(time.perf_counter() - start, 4)
    write_segmentation(path, run.result.volume.shown, specs)
    return True


def _write_labels(run: _Writing, path: Path) -> bool:
    from ..files import write

    labels, overlapped = run.result.labels()
    write.write_labels(path, labels, run.result.volume, description=run.engine)
    if overlapped:
        run.report["warnings"].append("Some masks overlap; where they do, the labelmap keeps the later prompt (the .seg.nrrd keeps both).")
    return True


def _write_picture(run: _Writing, path: Path) -> bool:
    from ..files import picture

    masks = [(prompt.name, prompt.color, prompt.mask) for prompt in run.result.prompts]
    picture.write_picture(path, run.result.volume, masks, title=run.engine)
    return True


def _write_statistics(run: _Writing, path: Path) -> bool:
    from ..cohort.statistics import describe, write_statistics

    absent = [prompt for prompt in run.result.prompts if not prompt.found]
    write_statistics(path, [(piece.name, describe(run.result.volume, piece.mask)) for piece in (*run.found, *absent)])
    return True


def _write_dicom(run: _Writing, path: Path, *, contours: bool) -> bool:
    from ..files import dicom_export

    structures = [dicom_export.Structure(piece.text, piece.name, piece.color, piece.mask) for piece in run.found]
    if not structures and not contours:
        run.report["warnings"].append("Nothing was found, and a DICOM segmentation cannot be empty, so none was written.")
        return False
    made_by = dicom_export.Maker(run.engine or _title(run.report), run.report["version"], is_ai=not run.engine)
    write = dicom_export.write_rtstruct if contours else dicom_export.write_dicom_seg
    write(path, run.result.volume, structures, cast("SourceSeries", run.source), made_by)
    return True


def _write_probabilities(run: _Writing, folder: Path) -> bool:
    from ..files import write

    kept = [(prompt.name, prompt.probability) for prompt in run.result.prompts if prompt.probability is not None]
    for name, probability in kept:
        write.write_probabilities(folder, name, probability, run.result.volume)
    if not kept:
        run.report["warnings"].append("The reply carries no probabilities, so no probability volume was written.")
    return bool(kept)


def _write_masks(run: _Writing, folder: Path) -> bool:
    from ..files import write

    for piece in run.found:
        write.write_mask(folder, piece.name, piece.mask.full(), run.result.volume, description=run.engine)
    return bool(run.found)


# In the order in which they are written and told; each says whether there was anything to write.
_WRITERS: dict[str, Callable[[_Writing, Path], bool]] = {
    "output": _write_segmentation,
    "labels": _write_labels,
    "picture": _write_picture,
    "statistics": _write_statistics,
    "dicom_seg": functools.partial(_write_dicom, contours=False),
    "rtstruct": functools.partial(_write_dicom, contours=True),
    "probability": _write_probabilities,
    "masks": _write_masks,
}
