"""One segmentation of one volume node as a Job: which step touches the scene, and which only bytes.

What a run gave, light enough to keep: rows for a table, the report, and where the segments are. No voxels.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..imaging.geometry import SliceView, parse_slices
from ..imaging.volume import CroppedMask, Volume
from ..models import MODELS
from ..progress import Cancellation, Progress
from ..prompts.grouping import GROUPS
from ..scene.editing import EditorTarget
from ..scene.geometry import regionFromRoi, volumeScale, worldPoint
from ..scene.preview import PreviewSegments
from ..scene.segments import ImportResult, checkRules, importSegments
from ..scene.session import renderingPaused
from ..scene.tags import noteMaker
from ..scene.volumes import volumeFromNode
from .guard import RunGuard, borrowVolume, segmentVoxels
from .jobs import Job

if TYPE_CHECKING:
    from ..tasks.results import PromptResult, SegmentationResult


_TITLE_LENGTH = 60  # characters


@dataclass(slots=True)
class Connecting:
    """How the worker comes by a connection: a client to use, or what `connect` takes."""

    client: Any = None
    endpoint: str | None = None
    profile: Any = None
    options: dict = field(default_factory=dict, repr=False)  # may hold a key

    def __post_init__(self) -> None:
        if sum((self.client is not None, bool(self.endpoint), bool(self.profile))) != 1:
            raise UsageError("Say where to send: the URL of an endpoint or the name of a profile, one of the two.")

    @classmethod
    def of(cls, options: dict[str, Any]) -> Connecting:
        """From keyword arguments: client, endpoint or profile, and the rest for `connect`."""
        options = dict(options)
        return cls(options.pop("client", None), options.pop("endpoint", None), options.pop("profile", None), options)

    @contextmanager
    def open(self, model: str, cancellation: Cancellation, *, sends_image_data: bool = True) -> Iterator[Any]:
        """The client; closed at the end unless it was given. In the worker: a keyring or a sign-in may take its time."""
        if self.client is not None:
            yield self.client
            return
        from ..profiles.connection import connect

        with connect(
            self.endpoint, self.profile, model=model, cancellation=cancellation, sends_image_data=sends_image_data, **self.options
        ) as client:
            yield client


@dataclass(slots=True)
class Target:
    """Where the segments go: see scene.segments.importSegments."""

    segmentationNode: Any = None
    overlap: str = "allow"
    onExisting: str = "add"
    beforeChange: Callable[[], object] | None = None
    editing: EditorTarget | None = None  # a Segment Editor, whose masking decides then; the others do not count

    def __post_init__(self) -> None:
        if self.editing is not None:
            self.segmentationNode = self.editing.segmentationNode
        checkRules(self.overlap, self.onExisting)


@dataclass(slots=True)
class Package:
    """Everything that the worker gets: plain data and a connection, no MRML node.

    Attributes:
        image: the shallow copy that keeps the voxels' memory; the worker does not touch it.
        deliver: carries (name, mask) of a finished slice to the main thread.
    """

    volume: Volume
    image: Any
    model: str
    prompts: list[str]
    options: dict
    connecting: Connecting
    deliver: Callable[[Any], None]
    instances: float | None = None


@dataclass(slots=True)
class Reply:
    """What the worker brings.

    Attributes:
        result: of the task.
        parts: what gets a row: (prompt or separate structure, its entry in the report, a voxel index to jump to or None).
    """

    result: SegmentationResult
    parts: list[tuple[PromptResult, dict, np.ndarray | None]]


class SegmentationRun:
    """The main thread's half of a run. `job` is what to put into a queue.

    Args:
        volumeNode: the input.
        prompts: from prompts.grammar.parse_prompts.
        model: "medimageparse3d" or "medimageparse".
        options: of the task. `region` may be a region of interest node, `slices` text as on the command line.

    Raises:
        InputError: there is no volume. UsageError: an option that can be judged at once.
    """

    def __init__(self, volumeNode: Any, prompts: list[str], model: str, options: dict, connecting: Connecting, target: Target):
        instances = options.get("instances")
        if instances is not None and not instances >= 0:
            raise UsageError("The smallest size of separate structures is a number of millilitres, 0 or more.")
        if options["group"] not in GROUPS:
            raise UsageError("The group '{options}' is not known; give {listed}.", options=options["group"], listed=" or ".join(GROUPS))
        self._volumeNode, self._prompts, self._model = volumeNode, prompts, model
        self._options, self._connecting, self._target = options, connecting, target
        self._guard = RunGuard(volumeNode, target.segmentationNode)
        self._preview: PreviewSegments | None = None
        self.job = Job(
            title=_title(prompts),
            prepare=self._prepare,
            work=segment,
            arrived=self._arrived,
            finish=self._finish,
            stale=self._whyStale,
            ended=self._ended,
        )

    def hasPreviewIn(self, segmentationNode: Any) -> bool:
        """Whether unfinished segments of this run are in a segmentation."""
        return self._preview is not None and self._preview.segmentationNode is segmentationNode

    def _whyStale(self) -> str:
        editing = self._target.editing
        return self._guard.whyStale() or (editing.whyStale() if editing is not None else "")

    def _prepare(self) -> Package:
        if self._target.segmentationNode is not None:
            # An import of nothing: whatever is wrong with the segmentation is said now and not after minutes of waiting.
            importSegments(self._target.segmentationNode, self._volumeNode, [])
        self._guard.noteVolume()
        borrowed = borrowVolume(self._volumeNode)
        options = _resolved(self._options, self._volumeNode, borrowed.volume)
        instances = options.pop("instances", None)
        return Package(borrowed.volume, borrowed.image, self._model, self._prompts, options, self._connecting, self.job.deliver, instances)

    def _arrived(self, parts: list[tuple[str, CroppedMask]]) -> bool:
        if self._target.editing is not None:
            return False  # a segment that somebody edits changes once, at the end
        if self._preview is None:
            from ..prompts import catalogue

            colors = {name: catalogue.color_for(text) for name, text in zip(catalogue.segment_names(self._prompts), self._prompts)}
            self._preview = PreviewSegments(
                self._volumeNode,
                self._target.segmentationNode,
                colors,
                beforeChange=self._target.beforeChange,
                onCreate=self._guard.watchSegmentation,
            )
        return self._preview.add(parts)

    def _finish(self, reply: Reply) -> RunResult:
        from ..api.outputs import maker, segment_specs

        began = time.perf_counter()
        specs = segment_specs(reply.result, [part for part, _entry, _point in reply.parts if part.found])
        imported = None
        with renderingPaused():
            node, beforeChange = self._makeRoom(isNeeded=bool(specs))
            if specs:
                imported = self._import(node, specs, beforeChange)
                node = imported.segmentationNode
        # From here on the segments are the run's result: tidying up must not take their segmentation away.
        self._preview = None
        report = reply.result.report
        for entry in report["prompts"]:
            for each in (entry, *entry.get("instances", ())):
                each["volume_ml"] = self._inTheWorld(each["volume_ml"])
        rows = [self._row(*each, imported) for each in reply.parts]
        report["timings_s"].update({"import": round(time.perf_counter() - began, 4), "total": round(self.job.elapsed, 4)})
        mark = imported.mark if imported is not None else ""
        if imported is not None:
            noteMaker(node, maker(report))
        return RunResult(node, rows, list(report["warnings"]), report["engine"] or "", reply.result.failure, report, mark)

    def _import(self, node: Any, specs: list, beforeChange: Callable[[], object] | None) -> ImportResult:
        target = self._target
        if target.editing is not None:
            return target.editing.apply(self._volumeNode, specs)
        return importSegments(
            node, self._volumeNode, specs, overlap=target.overlap, onExisting=target.onExisting, beforeChange=beforeChange
        )

    def _makeRoom(self, *, isNeeded: bool) -> tuple[Any, Callable[[], object] | None]:
        """Take the preview back. Returns the segmentation for the result, and beforeChange where it has not been called yet."""
        if self._preview is None:
            return self._target.segmentationNode, self._target.beforeChange
        self._preview.takeBack(keepNode=isNeeded)
        return self._preview.segmentationNode, None if self._preview.hasChanged else self._target.beforeChange

    def _row(self, prompt: PromptResult, entry: dict, point: np.ndarray | None, imported: Any) -> ResultRow:
        segmentId = (imported.segmentIds.get(prompt.name) if imported else None) or ""
        state = FOUND if segmentId else COVERED if prompt.found else ABSENT if prompt.is_done else NOT_DONE
        if entry.get("instances") == [] and entry["found"]:
            state = SMALL
        row = ResultRow(
            prompt.text, prompt.name, state, segmentId, prompt.color, entry["voxels"], entry["volume_ml"], agreement=prompt.agreement
        )
        if segmentId and (self._target.overlap != "allow" or self._target.editing is not None):
            row.voxels = segmentVoxels(imported.segmentationNode, segmentId)
            if row.volumeMl is not None:
                row.volumeMl *= row.voxels / entry["voxels"]
        if point is not None:
            matrix = volumeFromNode(self._volumeNode, copy=False).ijk_to_ras
            row.position = worldPoint(self._volumeNode, (matrix @ [*point, 1.0])[:3])
        return row

    def _inTheWorld(self, volumeMl: float | None) -> float | None:
        """The volume's own millilitres as those of the world, where scaling transforms count."""
        scale = volumeScale(self._volumeNode)
        if volumeMl is None or (scale is not None and abs(scale - 1) <= 1e-9):
            return volumeMl
        return round(volumeMl * scale, 6) if scale is not None else None

    def _ended(self, _job: Job) -> None:
        self._guard.release()
        preview, self._preview = self._preview, None
        if preview is not None:
            preview.takeBack()


def segment(package: Package, progress: Progress, cancellation: Cancellation) -> Reply:
    """The worker's half of a run."""
    from ..prompts import catalogue
    from ..tasks.run import segmenter

    progress("preparing", 0, 0)
    ask = segmenter(package.model)
    common = dict(package.options, progress=progress, cancellation=cancellation)
    with package.connecting.open(package.model, cancellation) as client:
        if MODELS[package.model].whole_volumes:
            result = ask(package.volume, package.prompts, client, **common)
        else:
            names = catalogue.segment_names(package.prompts)

            def slice_done(number: int, _index: int, mask: CroppedMask) -> None:
                package.deliver((names[number], mask))

            result = ask(package.volume, package.prompts, client, slice_done=slice_done, **common)
    cancellation.check()
    return Reply(result, [(part, entry, point_inside(part.mask)) for part, entry in _parts(result, package.instances)])


def _parts(result: SegmentationResult, instances: float | None) -> list[tuple[PromptResult, dict]]:
    """What gets a row, with its entry in the report: each prompt, or each separate structure of it, and the prompt where there is none."""
    from ..api.outputs import pieces

    separate = pieces(result, instances) if instances is not None else []
    parts: list[tuple[PromptResult, dict]] = []
    for prompt, entry in zip(result.prompts, result.report["prompts"]):
        mine = [part for part in separate if part.label == prompt.label]
        if mine:
            parts += zip(mine, entry["instances"])
        elif instances is None or not prompt.found:
            parts.append((prompt, entry))
        else:  # found, but each of its structures is smaller than what was asked for
            parts.append((dataclasses.replace(prompt, mask=CroppedMask.empty(prompt.mask.shape_kji)), entry))
    return parts


def _resolved(options: dict, volumeNode: Any, volume: Volume) -> dict:
    """Options in the task's own terms: a region of interest as voxels, slices as indices."""
    options = dict(options)
    region = options.get("region", "")
    if not isinstance(region, str):
        options["region"] = regionFromRoi(region, volumeNode, volume)
    if isinstance(options.get("slices"), str):
        options["slices"] = parse_slices(options["slices"], SliceView.of(volume, options["plane"]).count(volume))
    return options


def _title(prompts: list[str]) -> str:
    title = " & ".join(prompts)
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1] + "…"


FOUND, ABSENT, COVERED, NOT_DONE, SMALL = "found", "absent", "covered", "not done", "small"


@dataclass(slots=True)
class ResultRow:
    """One prompt.

    Attributes:
        text: the prompt as typed.
        name: the segment's name, before a number was appended to keep it apart from others.
        state: "found"; "absent": not in the image, says the model; "covered": found, but the overlap rule left nothing of it;
            "not done": the run stopped before its answer; "small": found, but no separate structure is as large as was asked for.
        segmentId: in the result's segmentation, "" where there is no segment.
        color: red, green, blue, 0..1.
        voxels: of the segment (of the mask where there is no segment).
        volumeMl: millilitres of these voxels in the world, scaling transforms included; None for a 2D picture and under a transform that
            is not linear.
        position: a point of the structure near its middle, in world coordinates (mm, RAS), to jump to; None where nothing was found.
        agreement: share of the votes that agree (four rotations only).
    """

    text: str
    name: str
    state: str
    segmentId: str = ""
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    voxels: int = 0
    volumeMl: float | None = None
    position: tuple[float, float, float] | None = None
    agreement: float | None = None


@dataclass(slots=True)
class RunResult:
    """One run.

    Attributes:
        segmentationNode: where the segments are; None where nothing was found and no segmentation had been chosen.
        rows: one a prompt, in the order typed.
        warnings: sentences worth showing.
        engine: what a local endpoint calls itself, "" for the published models.
        failure: why the run stopped half-way; what it had got by then is kept. "" where it went through.
        report: what `medimageparse segment --report` writes.
        mark: what scene.undo knows the run's import by, "" where nothing was added.
    """

    segmentationNode: Any
    rows: list[ResultRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    engine: str = ""
    failure: str = ""
    report: dict = field(default_factory=dict)
    mark: str = ""

    @property
    def found(self) -> list[ResultRow]:
        """The rows with a segment."""
        return [row for row in self.rows if row.segmentId]


def point_inside(mask: CroppedMask) -> np.ndarray | None:
    """A voxel index (i, j, k; fractions allowed) in the middle of a mask and within it, None where the mask is empty.

    The center of mass where that lies in the mask; else, in the slice nearest to it that holds any voxel, the voxel nearest to it.
    """
    areas = np.array([np.count_nonzero(plane) for plane in mask.voxels], dtype=float)
    if not areas.sum():
        return None
    shadow = mask.voxels.sum(axis=0, dtype=np.uint32)
    weights = (areas, shadow.sum(axis=1), shadow.sum(axis=0))
    center = np.array([each @ np.arange(each.size) / areas.sum() for each in weights])
    if not mask.voxels[tuple(np.rint(center).astype(int))]:
        used = np.flatnonzero(areas)
        k = used[np.argmin(np.abs(used - center[0]))]
        inside = np.argwhere(mask.voxels[k])
        center = np.array([k, *inside[np.argmin(((inside - center[1:]) ** 2).sum(axis=1))]])
    return (center + mask.start_kji)[::-1]
