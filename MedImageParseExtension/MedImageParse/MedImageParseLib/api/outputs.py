"""Reading the input of a run and writing what was asked for: checked before anything is sent, written after all is known."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import check_name, check_writable, safe_file_stem
from ..imaging.volume import Volume
from ..packages import require
from ..progress import Progress
from ..redaction import redactor
from ..tasks.run import PromptResult, SegmentationResult

_LABEL_ENDINGS = (".nii.gz", ".nii", ".nrrd")


@dataclass(slots=True, frozen=True)
class Wanted:
    """Files to write; None where not asked for."""

    output: Path | None = None
    labels: Path | None = None
    probability: Path | None = None
    picture: Path | None = None

    @classmethod
    def checked(cls, output, labels, probability, picture, inputs: Iterable[object] = (), names: Iterable[str] = ()) -> Wanted:
        """What to write, checked before anything is sent.

        Args:
            output, labels, probability, picture: as `segment` takes them.
            inputs: what is read; volumes and None are passed over.
            names: of the segments to come, which name the probability volumes.

        Raises:
            UsageError: a name that cannot be written, or that would replace what is read; a package that writing needs is missing.
        """
        if output and not str(output).lower().endswith(".seg.nrrd"):
            raise UsageError(
                f"The segmentation's name must end with .seg.nrrd, which '{Path(output).name}' does not; for a labelmap use --labels."
            )
        if labels and str(labels).lower().endswith(".seg.nrrd"):
            raise UsageError("The labelmap's name ends with .seg.nrrd, which is a segmentation's; end it with .nrrd or .nii.gz.")
        if probability:
            check_name(Path(probability))
        if probability and Path(probability).exists() and not Path(probability).is_dir():
            raise UsageError(f"{probability} is a file; give a folder for the probability volumes.")
        wanted = cls(
            output and check_writable(output),
            labels and check_writable(labels, _LABEL_ENDINGS),
            Path(probability) if probability else None,
            picture and check_writable(picture, (".png",)),
        )
        given = {"output": wanted.output, "labels": wanted.labels, "picture": wanted.picture}
        if wanted.probability:
            given |= {f"probability of {name}": wanted.probability / f"{safe_file_stem(name)}.nii.gz" for name in names}
        check_outputs(given, inputs, [wanted.probability])
        if wanted.output:
            require("slicer", "slicer-core", "writing a .seg.nrrd", "or ask for --labels, which needs no further package")
        return wanted


@dataclass(slots=True, frozen=True)
class Reading:
    """The input as it was read: the volume, its path ("" where a Volume was given), warnings, when reading began and how long it took."""

    volume: Volume
    path: str
    warnings: list[str]
    started: float
    seconds: float

    @classmethod
    def of(cls, source: str | os.PathLike | Volume, modality: str, progress: Progress) -> Reading:
        """Read a file or folder, or take a Volume as it is."""
        start = time.perf_counter()
        warnings: list[str] = []
        path = ""
        if isinstance(source, Volume):
            volume = source
        else:
            from ..files.read import read_image

            progress("reading", 0, 0)
            path = os.fspath(source)
            volume, warnings = read_image(Path(path))
        if modality:
            volume = dataclasses.replace(volume, modality=modality.upper())
        return cls(volume, path, list(warnings), start, time.perf_counter() - start)


def finish(result: SegmentationResult, reading: Reading, wanted: Wanted, progress: Progress) -> None:
    """Write the files, and complete the report with the input, the warnings and the times."""
    report = result.report
    timings = report["timings_s"]
    report["input"]["path"] = reading.path
    report["warnings"] = [*reading.warnings, *report["warnings"]]
    timings["read"] = round(reading.seconds, 4)
    progress("writing", 0, 0)
    if wanted.labels or wanted.picture or wanted.probability:
        start = time.perf_counter()
        _write_files(result, wanted, report)
        timings["write"] = round(time.perf_counter() - start, 4)
    if wanted.output:
        _write_segmentation(result, wanted.output, timings)
    report["outputs"] = [str(path) for path in (wanted.output, wanted.labels, wanted.probability, wanted.picture) if path]
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
        "Endpoint": urlsplit(report["endpoint"] or "").netloc.rpartition("@")[2],
        "Window": report["window"] or "",
        "RequestId": " ".join(report["request_ids"]),
        "Date": report["date"],
        "Version": report["version"],
    }
    return {f"{TAG}{name}": redactor.quote(str(value)) for name, value in values.items() if value}


def maker(report: dict) -> str:
    """Who made the masks of a run, as one line for a person: "MedImageParse 3D at host, 2026-01-31"."""
    where = urlsplit(report["endpoint"] or "").netloc.rpartition("@")[2]
    return f"{redactor.quote(report['engine'] or report['model'])} at {where}, {report['date'][:10]}"


def segment_specs(result: SegmentationResult) -> list:
    """What the scene needs of each found prompt: name, mask, color, terminology, and who made it."""
    from ..prompts import catalogue
    from ..scene.segments import SegmentSpec

    specs = []
    for prompt in result.found:
        target = catalogue.lookup(prompt.text)
        specs.append(
            SegmentSpec(prompt.name, prompt.mask, prompt.color, target.terminology_entry() if target else "", provenance(result, prompt))
        )
    return specs


def _write_segmentation(result: SegmentationResult, path: Path, timings: dict) -> None:
    start = time.perf_counter()
    from ..scene.storage import writeSegmentation

    specs = segment_specs(result)
    timings["import"] = round(time.perf_counter() - start, 4)
    start = time.perf_counter()
    writeSegmentation(path, result.volume.shown, specs, name=path.name.removesuffix(".seg.nrrd"))
    timings["write"] = round(timings["write"] + time.perf_counter() - start, 4)


def _write_files(result: SegmentationResult, wanted: Wanted, report: dict) -> None:
    from ..files import picture, write

    if wanted.labels:
        labels, overlapped = result.labels()
        write.write_labels(wanted.labels, labels, result.volume, description=report["engine"] or "")
        if overlapped:
            report["warnings"].append("Some masks overlap; where they do, the labelmap keeps the later prompt (the .seg.nrrd keeps both).")
    if wanted.probability:
        kept = [prompt for prompt in result.prompts if prompt.probability is not None]
        for prompt in kept:
            write.write_probabilities(wanted.probability, prompt.name, prompt.probability, result.volume)
        if not kept:
            report["warnings"].append("The reply carries no probabilities, so no probability volume was written.")
    if wanted.picture:
        masks = [(prompt.name, prompt.color, prompt.mask) for prompt in result.prompts]
        picture.write_picture(wanted.picture, result.volume, masks, title=report["engine"] or "")
