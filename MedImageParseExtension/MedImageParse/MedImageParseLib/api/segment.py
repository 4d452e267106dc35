"""The console API: one function a command, the same option names as `medimageparse` has (docs/python-api.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from .. import models
from ..errors import UsageError
from ..files.write import after_requests
from ..imaging.geometry import PLANE_CHOICES, SliceView, parse_slices
from ..imaging.volume import Volume
from ..models import MODEL_NAMES, SEGMENTING, SLICES, VOLUMES, does_not_segment
from ..options import names_of
from ..progress import Cancellation, Progress, no_progress
from ..prompts import catalogue
from ..prompts.advice import line_end_warning
from ..prompts.grouping import GROUPS
from ..prompts.presets import with_preset
from .calls import in_sentences
from .frames import EVERY, frame_number, segment_frames
from .inputs import Image, check_kind, files_of
from .segment_options import ImageOptions, SegmentOptions

if TYPE_CHECKING:
    from ..tasks.check_endpoint import CheckResult
    from ..tasks.run import Client, SegmentationResult
    from ..transport.client import EndpointClient

MODELS = SEGMENTING


@in_sentences
def segment(
    input: Image,
    prompt: str | Iterable[str] = (),
    *,
    model: str,
    preset: str = "",
    endpoint: str | None = None,
    profile: str | None = None,
    client: Client | None = None,
    options: SegmentOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection,
) -> SegmentationResult:
    """Segment an image by text prompts, and write what is asked for.

    Args:
        input: path of an image file or DICOM folder, or an image in memory: a Volume, a nibabel or SimpleITK image, or a tuple of an array
            in kji order (slice, row, column) and its 4x4 affine from i, j, k to RAS in mm.
        prompt: "A & B", or a list of such.
        model: "medimageparse3d" for volumes, "medimageparse" for slices and 2D pictures.
        preset: name of a list of prompts, such as "abdomen-15"; they come before those of `prompt`. `targets --presets` lists them.
        endpoint: scoring URL; or `profile`: name of a stored profile; or `client`: a connection to use (it is not closed).
        options: what to write and how to send; each of its fields is a keyword too.
        progress: told what is going on. cancellation: stops the run.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).

    Returns:
        With frame="all" a FramesResult: `results[3]` of frame 3, whose files are called "organs_frame3.seg.nrrd" and so on, and one report.
        Else SegmentationResult: `result["liver"].array`, `.to_sitk()`, `.to_nibabel()`, `.table()`, `.prompts` with masks on the input's grid, `.report` as written by `--report`, `.failure`.

    Raises:
        MedImageParseError with one sentence; its `exit_status` is the command line's.

    Examples:
        >>> result = segment("ct.nii.gz", "liver & spleen", model="medimageparse3d", profile="Local demo", output="organs.seg.nrrd")
        >>> result
        <SegmentationResult: liver 1,403.2 ml; spleen 214.7 ml>
    """
    from ..tasks.repeat import check_times, repeated
    from . import outputs

    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not all(isinstance(text, str) for text in texts):
        raise UsageError('A prompt is a text such as "liver & spleen", or a list of texts.')
    check_kind(input)
    prompts = with_preset(preset, texts, model)
    check_times(options.repeat, model)
    check_options(model, options)
    which = frame_number(options.frame)
    if which == EVERY:
        given = {name: getattr(options, name) for name in names_of(SegmentOptions)}
        given |= {"input": input, "prompt": prompt, "model": model, "preset": preset, "endpoint": endpoint, "profile": profile}
        given |= {"client": client, "progress": progress, "cancellation": cancellation, "connection": connection}
        # Typed as one result, which it is for every caller that did not ask for all frames.
        return cast("SegmentationResult", segment_frames(segment, connect, given, prompts))
    read = (input, *files_of(connection))
    wanted = outputs.Wanted.checked(options, read, catalogue.segment_names(prompts))
    cancellation = cancellation or Cancellation()
    reading = outputs.Reading.of(input, options.modality, progress, options.series, which)
    cancellation.check()
    source = outputs.find_source(wanted, reading, options.series)
    common = dict(
        window=options.window,
        group=options.group,
        keep_probabilities=wanted.probability is not None,
        progress=progress,
        cancellation=cancellation,
    )
    indices = None
    if not models.MODELS[model].whole_volumes:
        reading.volume.check()
        from ..tasks.segment_slices import plane_to_send, segment_slices

        plane = plane_to_send(reading.volume, options.plane, options.slices)
        indices = _slice_indices(reading.volume, plane, options.slices)
    own = None if client else connect(endpoint, profile, model=model, cancellation=cancellation, **connection)
    try:
        if models.MODELS[model].whole_volumes:
            from ..tasks.segment_volume import segment_volume

            result = repeated(
                lambda: segment_volume(
                    reading.volume, prompts, client or own, slabs=str(options.slabs or "auto"), region=options.region, **common
                ),
                options.repeat,
            )
        else:
            result = segment_slices(
                reading.volume, prompts, client or own, slices=indices, plane=plane, orient=options.orient or "trained", **common
            )
    finally:
        if own:
            own.close()
    cancellation.check()
    result.report["warnings"] += [sentence for sentence in (line_end_warning(texts),) if sentence]
    with after_requests():
        outputs.finish(result, reading, wanted, progress, source)
    return result


@in_sentences
def check(
    endpoint: str | None = None,
    profile: str | None = None,
    *,
    model: str = "auto",
    client: EndpointClient | None = None,
    cancellation: Cancellation | None = None,
    **connection,
) -> CheckResult:
    """Ask an endpoint whether it answers, and which model is behind it, with a tiny probe.

    Returns:
        CheckResult; its `sentence` is what `medimageparse check` prints. Its `warnings` say so where the profile leads to an endpoint that was
        deployed from this computer and costs money.

    Raises:
        MedImageParseError with a sentence that says what to do.
    """
    from ..tasks.check_endpoint import check_endpoint

    own = None if client else connect(endpoint, profile, model=model, sends_image_data=False, cancellation=cancellation, **connection)
    try:
        result = check_endpoint(client or own, model, cancellation=cancellation)
    finally:
        if own:
            own.close()
    if profile:
        from .deploy import reminders

        result.warnings.extend(reminders(profile))
    return result


@in_sentences
def serve(port: int = 5001, *, quiet: bool = False) -> None:
    """Run the local endpoint (a classical demo engine, not MedImageParse) in the foreground, on loopback, until interrupted.

    Its URL is printed first, then the address of each model. Requests that failed leave a line on stderr.

    Args:
        port: 0 takes a free one.
        quiet: print the URL only.

    Raises:
        UsageError: the port is taken or not allowed.
    """
    from ..local_endpoint.server import model_urls
    from ..local_endpoint.server import serve as run

    def tell(url: str) -> None:
        print(url, flush=True)
        if not quiet:
            for model, address in model_urls(url).items():
                print(f"{MODEL_NAMES[model]}: {address}", flush=True)

    run(port, tell, quiet=quiet)


@in_sentences
def connect(endpoint: str | None = None, profile: str | None = None, **options: Mapping[str, object]) -> EndpointClient:
    """A connection to an endpoint; see `transport.connection.connect`."""
    from ..profiles.connection import connect as make

    return make(endpoint, profile, **options)


def check_options(model: str, options: ImageOptions) -> None:
    """Raises UsageError for options that this model does not have, or values that there are not."""
    if why := does_not_segment(model):
        raise UsageError(why)
    if options.group not in GROUPS:
        raise UsageError(f"The group '{options.group}' is not known; give {' or '.join(GROUPS)}.")
    if options.plane and options.plane not in PLANE_CHOICES:
        raise UsageError(f"The plane '{options.plane}' is not known; give axial, coronal or sagittal.")
    whole = models.MODELS[model].whole_volumes
    if whole and (options.slices is not None or options.orient is not None):
        raise UsageError(f"Slices and orientation belong to the model {SLICES.name}; {model} takes the whole volume.")
    if not whole and (options.slabs not in (None, "none", "auto") or options.region):
        raise UsageError(f"Slabs and a region belong to the model {VOLUMES.name}; for {model} choose slices.")


def _slice_indices(volume: Volume, plane: str, slices: str | list[int] | None) -> list[int] | None:
    if slices is None or isinstance(slices, list):
        return slices
    return parse_slices(slices, SliceView.of(volume, plane).count(volume))
