"""Reading the input of a run and writing what was asked for: checked before anything is sent, written after all is known."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files.write import check_writable
from ..imaging.volume import Volume
from ..progress import Progress
from ..tasks.run import SegmentationResult

_LABEL_ENDINGS = (".nii.gz", ".nii", ".nrrd")


@dataclass(slots=True, frozen=True)
class Wanted:
    """Files to write; None where not asked for."""

    output: Path | None = None
    labels: Path | None = None
    probability: Path | None = None
    picture: Path | None = None

    @classmethod
    def checked(cls, output, labels, probability, picture) -> Wanted:
        """Raises UsageError for a name that cannot be written, before anything is sent."""
        if output and not str(output).lower().endswith(".seg.nrrd"):
            raise UsageError(
                f"The segmentation's name must end with .seg.nrrd, which '{Path(output).name}' does not; for a labelmap use --labels."
            )
        if labels and str(labels).lower().endswith(".seg.nrrd"):
            raise UsageError("The labelmap's name ends with .seg.nrrd, which is a segmentation's; end it with .nrrd or .nii.gz.")
        if probability and Path(probability).exists() and not Path(probability).is_dir():
            raise UsageError(f"{probability} is a file; give a folder for the probability volumes.")
        wanted = cls(
            output and check_writable(output),
            labels and check_writable(labels, _LABEL_ENDINGS),
            Path(probability) if probability else None,
            picture and check_writable(picture, (".png",)),
        )
        files = [path.resolve() for path in (wanted.output, wanted.labels, wanted.picture) if path]
        if len(set(files)) < len(files):
            raise UsageError("Two outputs have the same name; give each its own.")
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
    timings["total"] = round(time.perf_counter() - reading.started, 4)


def segment_specs(result: SegmentationResult) -> list:
    """What the scene needs of each found prompt: name, mask, color and terminology."""
    from ..prompts import catalogue
    from ..scene.segments import SegmentSpec

    specs = []
    for prompt in result.found:
        target = catalogue.lookup(prompt.text)
        specs.append(SegmentSpec(prompt.name, prompt.mask, prompt.color, target.terminology_entry() if target else ""))
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
        write.write_labels(wanted.labels, labels, result.volume)
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
