"""Segment a volume with MedImageParse 3D: the whole volume (or slabs of it) with all prompts, masks back on its own grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..imaging.geometry import AxisMap
from ..imaging.nifti import encode_nifti
from ..imaging.png import to_gray
from ..imaging.regions import Region
from ..imaging.slabs import Slab, merge_slabs, slabs_for
from ..imaging.volume import CroppedMask, Volume
from ..imaging.windows import apply_window, choose_window, is_constant
from ..models import VOLUMES
from ..progress import Cancellation, Progress, no_progress
from ..prompts import grammar, grouping, sites
from ..prompts.advice import advice
from ..remedies import Sentence
from ..wire import medimageparse3d
from .results import PromptResult, SegmentationResult, empty_results
from .run import Client, RunLog, about_of, run_all

MODEL = VOLUMES.name


def segment_volume(
    volume: Volume,
    prompts: list[str],
    client: Client,
    *,
    window: str = "auto",
    group: str = "auto",
    slabs: str = "auto",
    region: str = "",
    keep_probabilities: bool = False,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> SegmentationResult:
    """Find each prompt's structure in a volume.

    The voxels are windowed to 8 bits (unless `window` says raw), turned to the nearest RAS axes by flips and permutations,
    and sent as .nii.gz with spacing and directions but no origin and no text. Masks come back by the exact inverse.

    MedImageParse 3D is not deterministic: it draws random numbers while it looks (its attention masks are sampled at inference too), so two
    identical requests may differ in some voxels. Compare two settings only beside two runs of one setting. The report says so.

    Args:
        volume: any orientation, sheared ones too; colour volumes are sent as luminance.
        prompts: as `prompts.grammar.parse_prompts` returns them.
        client: the connection over which it is asked.
        window: "auto" (raw where the engine says that it wants Hounsfield units), "raw", "percentile", a site or "LOW,HIGH".
        group: "auto" for as few requests as keep nested targets apart, "together" for one request, "each" for one request a prompt.
        slabs: "none", "auto" or a number of slabs along the axial axis.
        region: "I0:I1,J0:J1,K0:K1" in voxels to send only a part of the volume, "" for all of it.
        keep_probabilities: also keep probability volumes, where the reply carries them.
        progress: told the stages, and pieces done of all.
        cancellation: stops the run: Cancelled is raised, and requests on their way are given up.

    Returns:
        SegmentationResult; its `failure` is set where some requests went through and then one failed.

    Raises:
        InputError: the volume cannot be sent. EndpointError: nothing came back that can be used. Cancelled.
    """
    log = RunLog(MODEL, progress, cancellation or Cancellation())
    results = empty_results(prompts, volume)
    with log.timed("prepare"):
        progress("preparing", 0, 0)
        _check(volume, prompts, group, log)
        axes = AxisMap.towards(volume.ijk_to_ras, ("S", "A", "R"))
        part = Region.parse(region or ":,:,:", volume.shape_kji)
        engine = about_of(client)
        takes_raw = engine is not None and engine.wants_hounsfield
        named = [site for site in map(sites.site_of, prompts) if site]
        chosen = choose_window(volume, window, named, MODEL, takes_raw=takes_raw)
        voxels = part.crop(to_gray(volume.voxels) if volume.is_color else volume.voxels)
        sent = np.ascontiguousarray(apply_window(axes.apply(voxels), chosen))
        matrix = axes.turned_matrix(part.cropped_matrix(volume.ijk_to_ras), voxels.shape)
    log.cancellation.check()
    groups = grouping.request_groups(prompts, group)
    if group == "auto":
        log.warn(grouping.grouping_sentence(prompts, groups))
    jobs = _Jobs(sent, matrix, prompts, client, log, keep_probabilities)
    cut = jobs.choose_slabs(slabs, groups[0], guesses_axis=engine is None)
    failure = run_all([jobs.job(number, slab, members) for members in groups for number, slab in enumerate(cut)], log, client.max_in_flight)
    with log.timed("decode"):
        for members in groups:
            _gather(members, cut, jobs, axes, part, results)
    if failure is not None and not any(result.is_done for result in results):
        raise failure
    if failure is not None:
        missing = ", ".join(result.text for result in results if not result.is_done)
        log.warn(Sentence("The run stopped before these prompts had their answer: {missing}.", missing=missing))
    report = log.report(
        volume, client, chosen.describe(), slabs=len(cut), group=group, region=region or None,
        groups=[[prompts[number] for number in members] for members in groups],
        deterministic=None if log.engines else False,  # of another engine nothing is known
    )  # fmt: skip
    report.kind = failure.kind if failure else None
    report.window_reason = chosen.why or None
    report.prompts = [log.entry(result, volume) for result in results]
    return SegmentationResult(volume, results, report.as_dict(), str(failure) if failure else "")


class _Jobs:
    """Requests of one run, and the replies that have come."""

    def __init__(self, sent: np.ndarray, matrix: np.ndarray, prompts: list[str], client: Client, log: RunLog, keep: bool):
        self._sent, self._matrix, self._prompts, self._client, self._log, self._keep = sent, matrix, prompts, client, log, keep
        self._first_body: bytes | None = None
        self.replies: dict[tuple[int, int], medimageparse3d.VolumeReply] = {}

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """Size of the volume that is sent."""
        return self._sent.shape

    @property
    def depth(self) -> int:
        """Slices of the volume that is sent."""
        return self._sent.shape[0]

    def choose_slabs(self, setting: str, members: list[int], *, guesses_axis: bool) -> list[Slab]:
        """Slabs by shape first; where the whole volume's request turns out larger than the endpoint takes, more of them."""
        cut, why = slabs_for(setting, self._sent.shape, guesses_axis=guesses_axis)
        if setting == "auto" and (len(cut) == 1 or self._sent.nbytes * 4 / 3 > self._client.body_limit):
            whole = Slab(0, self.depth, 0, self.depth)
            # Built here to be measured, and kept where it is the first request, so that it is not built twice.
            body = self._build(whole, members)
            cut, why = slabs_for(setting, self._sent.shape, len(body), self._client.body_limit, guesses_axis=guesses_axis)
            self._first_body = body if len(cut) == 1 else None
        self._log.warn(why)
        return cut

    def job(self, number: int, slab: Slab, members: list[int]) -> Callable[[], None]:
        def run() -> None:
            body = None
            if number == 0 and members[0] == 0:
                body, self._first_body = self._first_body, None
            body = body or self._build(slab, members)
            shape = (slab.stop - slab.start, *self._sent.shape[1:])
            largest = medimageparse3d.largest_reply(len(members), shape)
            answer = self._log.send(self._client, body, largest, work=shape[0] * len(members))
            del body
            with self._log.timed("decode"):
                reply = medimageparse3d.parse_reply(answer, len(members), shape, self._keep)
            self._log.note_reply(reply.form, reply.engine, reply.warnings)
            self._log.note_said([self._prompts[number] for number in members], reply.said)
            self.replies[members[0], number] = reply

        return run

    def _build(self, slab: Slab, members: list[int]) -> bytes:
        self._log.cancellation.check()
        with self._log.timed("encode"):
            matrix = self._matrix.copy()
            matrix[:3, 3] = 0  # where the patient lay in the scanner is nobody else's business
            nifti = encode_nifti(self._sent[slab.start : slab.stop], matrix)
            text = grammar.join_prompts([self._prompts[number] for number in members])
            return medimageparse3d.build_request(nifti, text, self._client.dialect)


def _check(volume: Volume, prompts: list[str], group: str, log: RunLog) -> None:
    volume.check()
    if volume.is_picture:
        raise InputError("A 2D picture cannot go to MedImageParse 3D; use the model medimageparse for it.")
    if volume.is_film:
        raise InputError(
            "The {count} pictures of this image have no place in the patient, so they are no volume for MedImageParse 3D; use the model medimageparse for them.",
            count=volume.shape_kji[0],
        )
    if is_constant(volume.voxels):
        log.warn("Every voxel of the volume has the same value; nothing can be seen in it.")
    if volume.is_color:
        log.warn("The color volume was sent as luminance; MedImageParse 3D takes one channel.")
    log.warn(*(grammar.token_warning(prompt) for prompt in prompts), *advice(prompts, volume.modality))
    if group == "together":
        log.warn(grouping.nested_warning(prompts))


def _gather(members: list[int], cut: list[Slab], jobs: _Jobs, axes: AxisMap, part: Region, results: list[PromptResult]) -> None:
    """Masks of one group of prompts from the replies to its slabs; nothing where a slab is missing (half a liver is no liver).

    A slab whose maps go no further than 1 is taken for masks 0/1, unless another slab's go to 255: then they are next to nothing.
    """
    keys = [(members[0], number) for number in range(len(cut))]
    if any(key not in jobs.replies for key in keys):
        return
    replies = [jobs.replies[key] for key in keys]
    to_255 = any(reply.full_scale == 255 for reply in replies)
    is_probable = any(reply.probabilities for reply in replies)
    for position, number in enumerate(members):
        result = results[number]
        masks = [
            reply.masks[position] if not to_255 or reply.full_scale == 255 else CroppedMask.empty(reply.masks[position].shape_kji)
            for reply in replies
        ]
        merged = masks[0] if len(cut) == 1 else merge_slabs(cut, masks, jobs.depth)
        result.mask = part.paste(axes.undo_mask(merged), result.mask.shape_kji)
        result.is_done = True
        if is_probable:
            sent = np.zeros(jobs.shape_kji, np.float32)
            for slab, reply in zip(cut, replies):
                if reply.probabilities:  # a slab of zeros cannot be told from labels, and is zero either way
                    kept = slice(slab.keep_start - slab.start, slab.keep_stop - slab.start)
                    sent[slab.keep_start : slab.keep_stop] = reply.probabilities[position][kept]
            result.probability = np.zeros(result.mask.shape_kji, np.float32)
            result.probability[part.box] = axes.undo(sent)
