"""Segmenting every volume of an image that holds several (times, phases): one result a frame, one report of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import EndpointError, PartlyDone, UsageError
from ..files.write import make_folder
from ..progress import Cancellation, Progress, no_progress
from ..prompts import catalogue
from ..remedies import Sentence
from .connections import connected
from .inputs import Image, files_of, tell_input
from .segment_options import SegmentOptions

if TYPE_CHECKING:
    from ..tasks.results import SegmentationResult

EVERY: Final = "all"
_FILES = ("output", "labels", "picture", "statistics")
_FOLDERS = ("masks", "probability")
_ENDINGS = (".seg.nrrd", ".nii.gz")  # those of two parts
# What a request tells; the run's own stages would each look like the whole run's.
_STEPS = ("uploading", "model working", "downloading", "waiting to try again")


@dataclass(slots=True)
class FramesResult:
    """The results of every frame.

    Attributes:
        results: one a frame that was done, in their order.
        report: of the run: each prompt of each frame with its "frame", the outputs of all, sums of bytes, tries and times.
        failure: the sentence of the error that stopped the run half-way, "" where it went through.
    """

    results: list[SegmentationResult]
    report: dict
    failure: str = ""

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[SegmentationResult]:
        return iter(self.results)

    def __getitem__(self, frame: int) -> SegmentationResult:
        return self.results[frame]


def frame_number(frame: int | str | None) -> int | Literal["all"] | None:
    """A frame as the command line or a program gives it.

    Raises:
        UsageError: it is no whole number from 0 and not "all".
    """
    if frame is None:
        return None
    if frame == EVERY:
        return EVERY
    if str(frame).isdecimal():
        return int(frame)
    raise UsageError("A frame is its number, counted from 0, or all.", code="frame")


def one_frame(frame: int | str | None) -> int | None:
    """A frame's number, None where none is chosen.

    Raises:
        UsageError: as `frame_number`, and for all of them.
    """
    which = frame_number(frame)
    if which == EVERY:
        raise UsageError("Give the number of one frame: all frames at once are for segment.", code="frame")
    return which


def segment_frames(
    segment_one: Callable[..., SegmentationResult],
    image: Image,
    options: SegmentOptions,
    where: tuple[Any, str | None, str | None, dict],
    given: dict[str, Any],
    prompts: list[str],
) -> FramesResult:
    """Segment each frame and write its files: "organs.seg.nrrd" becomes "organs_frame0.seg.nrrd" and so on, a folder gets one of each frame.

    All names are checked before the first request. A frame that fails ends the run; what was done before it is kept.

    Args:
        segment_one: `api.segment.segment`.
        image: is read once.
        options: of that call.
        where: client, endpoint, profile and further options of `connect`.
        given: the other arguments of that call.
        prompts: as they are sent.

    Raises:
        InputError: the image holds one volume only. UsageError: results in DICOM were asked for, or a name cannot be written.
    """
    from . import outputs

    if options.dicom_seg or options.rtstruct:
        raise UsageError("Results in DICOM are written for one frame at a time: give --frame with its number.", code="frames-dicom")
    progress: Progress = given["progress"]
    cancellation: Cancellation = given["cancellation"] or Cancellation()
    client, endpoint, profile, connection = where
    readings = outputs.Reading.every(image, options.modality, progress, options.series)
    digits = len(str(len(readings) - 1))
    frames = [_of_frame(options, f"frame{number:0{digits}d}") for number in range(len(readings))]
    for each in frames:
        outputs.OutputPaths.checked(each, (image, *files_of(connection)), catalogue.segment_names(prompts), within=2)
    cancellation.check()
    results: list[SegmentationResult] = []
    failure, kind = "", None
    with _folders(options), connected(client, endpoint, profile, given["model"], cancellation, connection) as used:
        given = given | {"client": used, "cancellation": cancellation, "progress": _steps_of(progress)}
        for number, (reading, own) in enumerate(zip(readings, frames)):
            progress("frames", number, len(readings))
            try:
                result = segment_one(reading.volume, options=own, **given)
            except (EndpointError, PartlyDone) as error:
                if not results:
                    raise
                failure = Sentence("Frame {number} of {count} failed: {error}", number=number, count=len(readings), error=error)
                kind = error.kind
                break
            tell_input(result.report, reading.path, reading.warnings)
            results.append(result)
            if result.failure:
                failure = Sentence("Frame {number} of {count}: {failure}", number=number, count=len(readings), failure=result.failure)
                break
        else:
            progress("frames", len(readings), len(readings))
    report = _report(results, len(readings))
    return FramesResult(results, report | {"kind": kind or report["kind"]}, failure)


@contextmanager
def _folders(options: SegmentOptions) -> Iterator[None]:
    """Make the folders that those of the frames lie in; one that nothing came into goes again."""
    folders = [Path(path).expanduser() for name in _FOLDERS if (path := getattr(options, name))]
    made = [make_folder(folder) for folder in folders if not folder.exists()]
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _of_frame(options: SegmentOptions, frame: str) -> SegmentOptions:
    """The options of one frame: its files, and an image that has been read already."""
    own: dict[str, Path] = {}
    for name in (*_FILES, *_FOLDERS):
        if path := getattr(options, name):
            path = Path(path).expanduser()
            own[name] = _with_frame(path, frame) if name in _FILES else path / frame
    return replace(options, series="", modality="", frame=None, **own)  # type: ignore[arg-type]


def _with_frame(path: Path, frame: str) -> Path:
    ending = next((each for each in _ENDINGS if path.name.lower().endswith(each)), path.suffix)
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}_{frame}{path.name[len(path.name) - len(ending) :]}")


def _steps_of(progress: Progress) -> Progress:
    if progress is no_progress:
        return progress

    def tell(stage: str, done: float, total: float) -> None:
        if stage in _STEPS:
            progress(stage, done, total)

    return tell


def _report(results: list[SegmentationResult], frames: int) -> dict:
    """One report of all frames: what they share as in the first one's, what each has as lists and sums."""
    from ..tasks.run import summed

    reports = [result.report for result in results]
    prompts = [{"frame": number, **entry} for number, each in enumerate(reports) for entry in each["prompts"]]
    return summed(reports) | {"frames": frames, "prompts": prompts}
