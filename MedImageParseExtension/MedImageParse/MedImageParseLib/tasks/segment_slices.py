"""Segment slices of a volume, or a 2D picture, with MedImageParse: one padded 1024x1024 PNG a request, masks back on the grid."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import MedImageParseError, UsageError
from ..imaging.geometry import SIDE, AxisMap, SliceView, acquisition_plane, resolve_plane
from ..imaging.png import encode_png
from ..imaging.volume import CroppedMask, Volume
from ..imaging.windows import Window, apply_window, choose_window, is_constant, looks_like_ct, to_eight_bit
from ..models import SLICES
from ..progress import Cancellation, Progress, no_progress
from ..prompts import grammar, sites
from ..prompts.advice import advice
from ..remedies import Sentence
from ..wire import medimageparse
from .results import SegmentationResult, empty_results
from .run import OF_AN_IMAGE, Client, Patience, RunLog, run_all
from .tally import listed_by_reason, why

MODEL = SLICES.name
ORIENTS = ("trained", "radiological", "vote")
_VOTES = 4
_OF_A_REPLY = {"reply-form", "reply-shape", "wrong-model", "not-json", "truncated"}
# slice_done(prompt number from 0, slice index, mask of that slice on the volume's grid), called in a worker thread.
SliceDone = Callable[[int, int, CroppedMask], None]


@dataclass(slots=True, frozen=True)
class _Request:
    """One request: some prompts (by number) on one slice in one view."""

    index: int
    view: SliceView
    members: tuple[int, ...]


def segment_slices(
    volume: Volume,
    prompts: list[str],
    client: Client,
    *,
    slices: list[int] | None = None,
    plane: str = "",
    window: str = "auto",
    orient: str = "trained",
    group: str = "auto",
    keep_probabilities: bool = False,
    slice_done: SliceDone | None = None,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> SegmentationResult:
    """Find each prompt's structure in slices of a volume or in a 2D picture.

    Args:
        volume: any orientation; a picture (is_picture) is sent as it is, never turned.
        prompts: as `prompts.grammar.parse_prompts` returns them.
        client: the connection over which it is asked.
        slices: indices along the plane's own array axis; None for the only slice of a picture or of a single-slice volume.
        plane: "axial", "coronal" or "sagittal".
        window: "auto", "raw", "percentile", a site or "LOW,HIGH".
        orient: "trained" (as the training images of that prompt lay, radiological where nothing is known), "radiological", or
            "vote" (four rotations, majority a pixel).
        group: "auto" or "together" for all prompts in one request (in the 2D model they do not compete), "each" for one request a prompt.
        keep_probabilities: also keep the model's maps as volumes.
        slice_done: told each prompt's mask of a slice as soon as its answers are in, from several threads and in any order. It is
            provisional: where maps of about nothing come, the whole run decides how they are read.
        progress: told the stages, and pieces done of all.
        cancellation: stops the run: Cancelled is raised, and requests on their way are given up.

    Returns:
        SegmentationResult; its `failure` is set where some slices went through and others did not. A slice that the endpoint cannot answer
        is named there, and the others are done.

    Raises:
        InputError, UsageError: nothing was sent. EndpointError: nothing came back that can be used. Cancelled.
    """
    log = RunLog(MODEL, progress, cancellation or Cancellation())
    results = empty_results(prompts, volume)
    if orient not in ORIENTS:
        raise UsageError("The orientation '{orient}' is not known; give trained, radiological or vote.", orient=orient)
    with log.timed("prepare"):
        progress("preparing", 0, 0)
        volume.check()
        plane = plane_to_send(volume, plane, slices)
        views = _views(volume, prompts, plane, orient, group)
        indices = _indices(slices, views[0][0].count(volume), plane)
        chosen = choose_window(volume, window, [site for site in map(sites.site_of, prompts) if site])
        eight_bit = _EightBit(volume, chosen, log)
        if is_constant(volume.voxels):
            log.warn("Every voxel of the volume has the same value; nothing can be seen in it.")
        log.warn(*(grammar.token_warning(prompt) for prompt in prompts), *advice(prompts, volume.modality))
    requests = [_Request(index, view, members) for index in indices for view, members in views]
    tally = _Tally(len(prompts), keep_probabilities)
    observer = _Observer(slice_done, views, tally, volume.shape_kji) if slice_done else None
    given_up = _GivenUp(requests, tally)
    jobs = [given_up.unless(request, _job(request, eight_bit, prompts, client, log, tally, observer)) for request in requests]
    failure = run_all(jobs, log, client.max_in_flight, "slices", per_item=len(views), goes_on=given_up)
    if not tally.counts and (first := failure or given_up.first) is not None:
        raise first
    if given_up.first is not None:
        log.warn(given_up.sentence(len(indices)))
    with log.timed("decode"):
        _gather(results, tally, views, indices, volume, failure, log)
    report = log.report(
        volume, client, chosen.describe(), plane=None if volume.is_picture else plane, slices=indices,
        orient=_describe(orient, views, prompts, volume, plane), group=group,
    )  # fmt: skip
    report.kind = failure.kind if failure else None
    report.window_reason = chosen.why or None
    report.prompts = [log.entry(result, volume) for result in results]
    what_failed = failure or given_up.sentence(len(indices))
    return SegmentationResult(volume, results, report.as_dict(), str(what_failed))


def plane_to_send(volume: Volume, plane: str, slices: object) -> str:
    """The plane of a run: the one that was asked for, or, where no slice is named, that of a volume's only slice.

    Args:
        volume: the input.
        plane: "axial", "coronal" or "sagittal".
        slices: what was said of the slices; None for nothing.

    Raises:
        UsageError: along that plane each slice is a strip.
    """
    own = acquisition_plane(volume)
    if slices is None and SliceView.of(volume, own).count(volume) == 1:
        return own
    return resolve_plane(volume, plane)


def _views(volume: Volume, prompts: list[str], plane: str, orient: str, group: str) -> list[tuple[SliceView, tuple[int, ...]]]:
    """The views to send, each with the prompts that go in it. Prompts trained in different orientations go in different requests."""
    together: dict[tuple[str, str, int], list[int]] = {}
    modality = volume.modality or ("CT" if looks_like_ct(volume) else "")
    for number, prompt in enumerate(prompts):
        trained = (
            sites.trained_orientation(prompt, modality) if orient == "trained" and plane == "axial" and not volume.is_picture else None
        )
        lie = (trained.down, trained.right) if trained and trained != sites.RADIOLOGICAL else ("", "")
        together.setdefault((*lie, number if group == "each" else 0), []).append(number)
    turns = range(_VOTES) if orient == "vote" else (0,)
    return [
        (SliceView.of(volume, plane, down=down, right=right, turns=turn), tuple(members))
        for (down, right, _number), members in together.items()
        for turn in turns
    ]


def _indices(slices: list[int] | None, count: int, plane: str) -> list[int]:
    if slices is None and count > 1:
        raise UsageError(
            "Say which {plane} slices to send: one index, a range such as 10:20, or all (there are {count}).", plane=plane, count=count
        )
    indices = [0] if slices is None else sorted(set(slices))
    if not indices or indices[0] < 0 or indices[-1] >= count:
        raise UsageError("The {plane} slices of this volume are 0 to {value}; choose among these.", plane=plane, value=count - 1)
    return indices


class _EightBit:
    """Slices as 8-bit pictures; only the slices that are sent are windowed, one at a time."""

    def __init__(self, volume: Volume, window: Window, log: RunLog):
        self._volume, self._window, self._log = volume, window, log

    def square(self, view: SliceView, index: int) -> np.ndarray:
        axis = view.axes.order[0]
        one = np.take(self._volume.voxels, [index], axis=axis)
        one, cut = to_eight_bit(apply_window(one, self._window))
        if cut:
            self._log.warn("Raw values outside 0..255 do not fit an 8-bit picture and were cut off; choose a window instead.")
        return view.picture(one, 0)


class _Tally:
    """Votes for each prompt and slice. Maps that could be masks 0/1 or probabilities of about nothing are kept apart until the
    whole run is known: where any map goes beyond 1, the run's maps are probabilities."""

    def __init__(self, prompts: int, keep: bool):
        self.counts: dict[tuple[int, int], int] = {}
        self.votes: dict[tuple[int, int], np.ndarray] = {}
        self.binary_votes: dict[tuple[int, int], np.ndarray] = {}
        self._sums: dict[tuple[int, int], np.ndarray] = {}
        self._binary_sums: dict[tuple[int, int], np.ndarray] = {}
        self.any_probability = False
        self.keep = keep
        self.lock = threading.Lock()  # whoever adds holds it

    def add(self, prompt: int, index: int, values: np.ndarray, reply: medimageparse.MapReply) -> None:
        """Args:
        values: the map at the slice's own pixels, 0..full_scale.
        """
        key = (prompt, index)
        inside = (values >= reply.threshold).astype(np.uint8)
        target = self.binary_votes if reply.is_binary else self.votes
        target[key] = target[key] + inside if key in target else inside
        self.any_probability |= not reply.is_binary
        self.counts[key] = self.counts.get(key, 0) + 1
        sums = self._binary_sums if reply.is_binary else self._sums
        share = values / np.float32(reply.full_scale)
        sums[key] = sums[key] + share if key in sums else share

    def mean(self, prompt: int, index: int) -> np.ndarray:
        """Mean of the maps of a slice, 0..1."""
        key = (prompt, index)
        scale = np.float32(1 / 255 if self.any_probability else 1)
        total = self._sums.get(key, 0) + (self._binary_sums[key] * scale if key in self._binary_sums else 0)
        return np.asarray(total / np.float32(self.counts[key]))

    def result(self, prompt: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(binary mask, votes for it) of a slice. A pixel is in by majority; at a tie by the mean of the maps."""
        key = (prompt, index)
        votes = self.votes.get(key, 0)
        if not self.any_probability:
            votes = votes + self.binary_votes.get(key, 0)
        mean, count = self.mean(prompt, index), self.counts[key]
        votes = np.zeros_like(mean, np.uint8) + votes
        tie = (2 * votes == count) & (mean >= 0.5)
        return ((2 * votes > count) | tie).astype(np.uint8), votes


class _GivenUp:
    """The slices that the endpoint could not answer, which is no reason to give up the others."""

    def __init__(self, requests: list[_Request], tally: _Tally):
        self._requests, self._tally = requests, tally
        self._patience = Patience()
        self._answers = 0
        self._errors: dict[int, MedImageParseError] = {}

    def __call__(self, number: int, error: MedImageParseError) -> bool:
        """Take down the slice of a request that failed. Returns whether that concerns this slice only."""
        with self._tally.lock:
            answers = sum(self._tally.counts.values())
            if answers > self._answers:
                self._answers = answers
                self._patience.came()
            # A first reply that cannot be read comes from another model; once it has been the right one, it is that slice's matter.
            is_own = error.code in OF_AN_IMAGE or (error.code in _OF_A_REPLY and answers > 0)
            if not is_own or not self._patience.failed(error, answers > 0):
                return False
            self._errors.setdefault(self._requests[number].index, error)
            return True

    def unless(self, request: _Request, job: Callable[[], None]) -> Callable[[], None]:
        """The job; nothing where another request for its slice has failed.

        Args:
            request: what the job sends.
            job: sends it.
        """
        return lambda: None if request.index in self._errors else job()

    @property
    def first(self) -> MedImageParseError | None:
        """The first error."""
        return next(iter(self._errors.values()), None)

    def sentence(self, chosen: int) -> str:
        """Which of so many slices are missing, and why; "" where none is."""
        by_reason: dict[str, list[str]] = {}
        for index, error in sorted(self._errors.items(), key=lambda each: each[0]):
            by_reason.setdefault(why(error), []).append(Sentence("slice {index}", index=index))
        if not by_reason:
            return ""
        return Sentence(
            "{count} of {chosen} slices could not be segmented: {reasons}",
            count=len(self._errors),
            chosen=chosen,
            reasons=listed_by_reason(by_reason),
        )


class _Observer:
    """Tells the masks of a slice when the last of a prompt's answers to it has come."""

    def __init__(self, slice_done: SliceDone, views: list, tally: _Tally, shape_kji: tuple[int, int, int]):
        self._slice_done, self._tally, self._shape_kji = slice_done, tally, shape_kji
        self._views: dict[int, list[SliceView]] = {}
        for view, members in views:
            for number in members:
                self._views.setdefault(number, []).append(view)

    def __call__(self, finished: list[tuple[int, int, np.ndarray]]) -> None:
        for number, index, mask in finished:
            self._slice_done(number, index, self._views[number][0].place({index: mask}, self._shape_kji))

    def finished(self, request: _Request) -> list[tuple[int, int, np.ndarray]]:
        """Of the prompts of a request, those whose answers to its slice are complete. Called with the tally's lock held."""
        complete = [number for number in request.members if self._tally.counts[number, request.index] == len(self._views[number])]
        return [(number, request.index, self._tally.result(number, request.index)[0]) for number in complete]


def _job(
    request: _Request,
    eight_bit: _EightBit,
    prompts: list[str],
    client: Client,
    log: RunLog,
    tally: _Tally,
    observer: _Observer | None = None,
) -> Callable[[], None]:
    def run() -> None:
        with log.timed("encode"):
            png = encode_png(eight_bit.square(request.view, request.index))
            text = grammar.join_prompts([prompts[number] for number in request.members])
            body = medimageparse.build_request([png], text, client.dialect)
        largest = medimageparse.largest_reply(1, len(request.members), (SIDE, SIDE))
        answer = log.send(client, body, largest, work=len(request.members))
        with log.timed("decode"):
            (reply,) = medimageparse.parse_reply(answer, 1, len(request.members), (SIDE, SIDE))
            maps = [request.view.slice_map(reply.maps[position]) for position in range(len(request.members))]
        log.note_reply(reply.form, reply.engine, reply.warnings)
        log.note_said([prompts[number] for number in request.members], reply.said)
        with tally.lock:
            for number, values in zip(request.members, maps):
                tally.add(number, request.index, values, reply)
            finished = observer.finished(request) if observer else []
        if observer and finished:
            observer(finished)

    return run


def _gather(
    results: list, tally: _Tally, views: list, indices: list[int], volume: Volume, failure: MedImageParseError | None, log: RunLog
) -> None:
    for number, result in enumerate(results):
        mine = [view for view, members in views if number in members]
        done = [index for index in indices if tally.counts.get((number, index)) == len(mine)]
        result.is_done = len(done) == len(indices)
        outcome = {index: tally.result(number, index) for index in done}
        result.mask = mine[0].place({index: mask for index, (mask, _votes) in outcome.items()}, volume.shape_kji)
        if len(mine) > 1:
            votes = [int(votes[mask != 0].sum()) for mask, votes in outcome.values()]
            pixels = sum(int(np.count_nonzero(mask)) for mask, _votes in outcome.values())
            result.agreement = round(sum(votes) / (pixels * len(mine)), 4) if pixels else None
        if tally.keep and tally.any_probability:
            result.probability = _probability(number, done, mine, tally, volume)
    if failure is not None:
        missing = sorted({index for number in range(len(results)) for index in indices if (number, index) not in tally.counts})
        log.warn(
            Sentence(
                "The run stopped before these slices had their answer: {listed}.",
                listed=", ".join(map(str, missing)) or Sentence("the last one"),
            )
        )


def _probability(number: int, done: list[int], views: list[SliceView], tally: _Tally, volume: Volume) -> np.ndarray:
    """float32 kji volume; zero where no slice was sent."""
    axes = views[0].axes
    result = np.zeros(volume.shape_kji, np.float32)
    turned = axes.apply(result)
    for index in done:
        turned[index] = tally.mean(number, index)
    return result


def _describe(orient: str, views: list, prompts: list[str], volume: Volume, plane: str) -> str:
    if volume.is_picture and orient != "vote":
        return "as it is"
    if orient != "trained":
        return orient
    lies: dict[AxisMap, list[str]] = {}
    for view, members in views:
        lies.setdefault(view.axes, []).extend(prompts[number] for number in members)
    plain = SliceView.of(volume, plane).axes
    return (
        "trained ("
        + "; ".join(f"{'radiological' if axes == plain else 'turned as in training'}: {', '.join(names)}" for axes, names in lies.items())
        + ")"
    )
