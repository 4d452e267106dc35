"""The console API: one function a command, the same option names as `medimageparse` has (docs/python-api.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from .. import models
from ..errors import UsageError
from ..files.write import after_requests
from ..imaging.geometry import SliceView, check_plane, parse_slices
from ..imaging.volume import Volume
from ..models import MODEL_NAMES, SLICES, VOLUMES, does_not_segment
from ..progress import Cancellation, Progress, no_progress
from ..prompts import catalogue
from ..prompts.advice import line_end_warning
from ..prompts.grouping import GROUPS
from ..prompts.presets import with_preset
from .calls import in_sentences
from .connections import connect as connect
from .connections import connected
from .frames import EVERY, frame_number, segment_frames
from .inputs import Image, check_kind, files_of
from .segment_options import ImageOptions, SegmentOptions

if TYPE_CHECKING:
    from ..tasks.check_endpoint import CheckResult
    from ..tasks.results import SegmentationResult
    from ..tasks.run import Client
    from ..transport.client import EndpointClient


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
    **connection: Any,
) -> SegmentationResult:
    """Segment an image by text prompts, and write what is asked for.

    Args:
        input: path of an image file or DICOM folder, or an image in memory: a Volume, a nibabel or SimpleITK image, or a tuple of an array
            in kji order (slice, row, column) and its 4x4 affine from i, j, k to RAS in mm.
        prompt: "A & B", or a list of such.
        model: "medimageparse3d" for volumes, "medimageparse" for slices and 2D pictures.
        preset: name of a list of prompts, such as "abdomen-15"; they come before those of `prompt`. `targets --presets` lists them.
        endpoint: scoring URL.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        options: what to write and how to send; each of its fields is a keyword too.
        progress: told what is going on.
        cancellation: stops the run; what is on its way is given up.
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
    from . import outputs

    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not all(isinstance(text, str) for text in texts):
        raise UsageError('A prompt is a text such as "liver & spleen", or a list of texts.')
    check_kind(input)
    prompts = with_preset(preset, texts, model)
    check_options(model, options)
    which = frame_number(options.frame)
    if which == EVERY:
        given = {"prompt": prompt, "model": model, "preset": preset, "progress": progress, "cancellation": cancellation}
        where = (client, endpoint, profile, connection)
        # Typed as one result, which it is for every caller that did not ask for all frames.
        return cast("SegmentationResult", segment_frames(segment, input, options, where, given, prompts))
    read = (input, *files_of(connection))
    paths = outputs.OutputPaths.checked(options, read, catalogue.segment_names(prompts))
    cancellation = cancellation or Cancellation()
    reading = outputs.Reading.of(input, options.modality, progress, options.series, which)
    cancellation.check()
    source = outputs.find_source(paths, reading, options.series)
    ask = _question(
        model, reading.volume, prompts, options,
        keep_probabilities=paths.probability is not None, progress=progress, cancellation=cancellation,
    )  # fmt: skip
    with connected(client, endpoint, profile, model, cancellation, connection) as used:
        result = ask(used)
    cancellation.check()
    result.report["warnings"] += [sentence for sentence in (line_end_warning(texts),) if sentence]
    with after_requests(result.report):
        outputs.finish(result, reading, paths, progress, source)
    return result


@in_sentences
def check(
    endpoint: str | None = None,
    profile: str | None = None,
    *,
    model: str = "auto",
    client: EndpointClient | None = None,
    cancellation: Cancellation | None = None,
    **connection: Any,
) -> CheckResult:
    """Ask an endpoint whether it answers, and which model is behind it, with a tiny probe.

    Returns:
        CheckResult; its `sentence` is what `medimageparse check` prints. Its `warnings` say so where the profile leads to an endpoint that was
        deployed from this computer and costs money.

    Raises:
        MedImageParseError with a sentence that says what to do.
    """
    from ..tasks.check_endpoint import check_endpoint

    with connected(client, endpoint, profile, model, cancellation, connection, sends_image_data=False) as used:
        result = check_endpoint(used, model, cancellation=cancellation)
    if profile:
        from .deploy import reminders

        result.warnings.extend(reminders(profile))
        result.report["warnings"] = list(result.warnings)
    return result


@in_sentences
def serve(port: int = 5001, *, quiet: bool = False, engine: str = "") -> None:
    """Run the local endpoint in the foreground, on loopback, until interrupted.

    Its URL is printed first, then the address of each model that the engine answers as. Requests that failed leave a line on stderr.

    Args:
        port: 0 takes a free one.
        quiet: print the URL only.
        engine: who answers: "" for the classical demo engine (not MedImageParse), the name of one that was added, or FILE.py:Class.

    Raises:
        UsageError: the port is taken or not allowed, or there is no such engine.
    """
    from ..engines.store import find_engine
    from ..local_endpoint.server import model_urls
    from ..local_endpoint.server import serve as run

    def tell(url: str) -> None:
        print(url, flush=True)
        for model, address in [] if quiet else model_urls(url).items():
            if model in (host.facts.models or MODEL_NAMES):  # somebody's own class tells only once it is loaded
                print(f"{MODEL_NAMES[model]}: {address}", flush=True)

    def say(sentence: str) -> None:
        if not quiet:
            print(f"engine: {sentence}", file=sys.stderr, flush=True)

    host = find_engine(engine, on_change=say)
    run(port, tell, quiet=quiet, engine=host)


def _question(
    model: str, volume: Volume, prompts: list[str], options: SegmentOptions, **more: Any
) -> Callable[[Client], SegmentationResult]:
    """What is asked of a connection; what is wrong with the options is told before there is one."""
    from ..tasks.run import segmenter

    ask = segmenter(model)
    more |= {"window": options.window, "group": options.group}
    if models.MODELS[model].whole_volumes:
        from ..tasks.repeat import repeated

        slabs = str(options.slabs or "auto")
        return lambda client: repeated(lambda: ask(volume, prompts, client, slabs=slabs, region=options.region, **more), options.repeat)
    from ..tasks.segment_slices import plane_to_send

    volume.check()
    plane = plane_to_send(volume, options.plane, options.slices)
    indices = _slice_indices(volume, plane, options.slices)
    return lambda client: ask(volume, prompts, client, slices=indices, plane=plane, orient=options.orient or "trained", **more)


def check_options(model: str, options: ImageOptions) -> None:
    """Raises UsageError for options that this model does not have, or values that there are not."""
    from ..tasks.repeat import check_times

    if why := does_not_segment(model):
        raise UsageError(why)
    check_times(options.repeat, model)
    if options.instances is not None and not options.instances >= 0:
        raise UsageError("The smallest size of separate structures is a number of millilitres, 0 or more.")
    if options.group not in GROUPS:
        raise UsageError("The group '{group}' is not known; give {listed}.", group=options.group, listed=" or ".join(GROUPS))
    if options.plane:
        check_plane(options.plane)
    whole = models.MODELS[model].whole_volumes
    if whole and (options.slices is not None or options.orient is not None):
        raise UsageError(
            "Slices and orientation belong to the model {name}; {model} takes the whole volume.", name=SLICES.name, model=model
        )
    if not whole and (options.slabs not in (None, "none", "auto") or options.region):
        raise UsageError("Slabs and a region belong to the model {name}; for {model} choose slices.", name=VOLUMES.name, model=model)


def _slice_indices(volume: Volume, plane: str, slices: str | list[int] | None) -> list[int] | None:
    if slices is None or isinstance(slices, list):
        return slices
    return parse_slices(slices, SliceView.of(volume, plane).count(volume))
