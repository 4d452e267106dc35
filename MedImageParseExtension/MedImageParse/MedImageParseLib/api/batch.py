"""Segmenting many images from Python; `medimageparse batch` on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..cohort.batch import Tally
from ..cohort.cases import BIDS_RESULTS, Case, Cases, find_cases, lines_of_stdin, shard_of
from ..cohort.manifest import MANIFEST, REDO, TABLE, WORK, Manifest, results_in
from ..errors import UsageError
from ..files.collisions import check_many_outputs
from ..files.write import after_requests, mask_paths, write_atomically
from ..imaging.volume import Volume
from ..imaging.windows import choose_window
from ..packages import require
from ..progress import Cancellation, Progress, no_progress
from ..prompts import catalogue
from ..tasks.run import Report, facts_of
from .batch_cases import WRITES, Settings, checked_writes, shared_options
from .batch_runs import Plan, run_plan
from .calls import in_sentences
from .connections import connected
from .inputs import files_of
from .segment import check_options, segment
from .segment_options import ImageOptions

if TYPE_CHECKING:
    from ..cohort.rehearsal import Rehearsal
    from ..transport.client import EndpointClient

AT_ONCE, MOST_AT_ONCE = 4, 64


@dataclass(slots=True)
class BatchResult:
    """What `batch` gives back.

    Attributes:
        folder: of the results. tally: what became of the cases; None after a dry run.
        rehearsal: what would be sent; None where something was.
        report: plain JSON types, as `--report` writes it.
        exit_status: 0 all done, 4 some failed, 3 none could be done.
        failure: the sentence about it, "" where all were done.
    """

    folder: Path
    tally: Tally | None
    rehearsal: Rehearsal | None
    report: dict
    exit_status: int = 0
    failure: str = ""

    @property
    def summary(self) -> str:
        """One sentence: how many cases, what became of them, what was sent or would be."""
        if self.rehearsal is not None:
            one = self.rehearsal
            rest = f", {one.failed} of them unreadable" if one.failed else ""
            sent = _count(one.requests, "request")
            return f"{_count(one.total, 'case')}, {one.due} to do{rest}: {sent}, {one.bytes / 1e6:.1f} MB; nothing was sent"
        tally = self.tally or Tally(0)
        before = f" ({tally.done_before} before)" if tally.done_before else ""
        failed = tally.failed + tally.failed_before
        parts = [f"{tally.done + tally.done_before} done{before}"] + ([f"{failed} failed"] if failed else [])
        sent = _count(tally.requests, "request")
        return f"{_count(tally.total, 'case')}: {', '.join(parts)}; {sent}, {tally.bytes_sent / 1e6:.1f} MB sent"

    def entries(self) -> list[dict]:
        """The last line of each case in batch.jsonl."""
        return list(Manifest(self.folder).entries.values())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@in_sentences
def batch(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    prompt: str | Iterable[str] = (),
    *,
    model: str,
    output_dir: str | os.PathLike | None = None,
    preset: str = "",
    write: str | Iterable[str] = "seg",
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    at_once: int = AT_ONCE,
    shard: str = "",
    redo: str = "",
    dry_run: bool = False,
    scheduler: str = "",
    options: ImageOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: Any,
) -> BatchResult:
    """Segment many images, so that a second call goes on where the first one ended, however it ended.

    Each case's end is a line of `batch.jsonl` in the output folder, on the disk before the next counts; a case that has one is not sent
    again unless its input, prompts, options, endpoint or this program's version changed. `batch.csv` has one row a case and prompt.

    Args:
        inputs: files, patterns, folders (each image file, each DICOM series and each of several radiographs is a case), a cases.csv or cases.json (columns
            image, and where wanted id, prompt, modality, window, reference, series, frame, plane, slices), the root of a BIDS data set,
            or "-" for paths on standard input; one or several.
        prompt: "A & B", or a list of such, for cases without prompts of their own.
        model: "medimageparse3d" for volumes, "medimageparse" for slices and 2D pictures.
        output_dir: where results go; may be left out for a BIDS data set, whose results go to derivatives/medimageparse.
        preset: name of a list of prompts, such as "abdomen-15".
        write: "seg", "labels", "masks", "dicomseg", "picture", "statistics"; several with commas or in a list.
        endpoint: scoring URL.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        at_once: most requests at the endpoint at the same time; two more cases are read or written meanwhile.
        shard: "K/N": do the K-th of N parts of the cases; the other parts may run at the same time, elsewhere too.
        redo: "failed" does those again as well, "changed" those whose results are missing, "all" everything.
        dry_run: count cases, requests and bytes; nothing is sent or written.
        scheduler: address of a Dask scheduler whose workers do the cases.
        options: how images are sent, for all cases; each of its fields is a keyword too.
        progress: told "cases" that are settled.
        cancellation: stops it; what is done is kept.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).

    Returns:
        BatchResult; `exit_status` is the command line's, `failure` says what failed.

    Raises:
        UsageError, InputError: nothing was sent. Cancelled: what is done is kept.

    Examples:
        >>> result = batch("scans", "liver & spleen", model="medimageparse3d", profile="Local demo", output_dir="out")  # doctest: +SKIP
        >>> result.summary                                                                                            # doctest: +SKIP
        '200 cases: 195 done, 5 failed; 197 requests, 812.4 MB sent'
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    found = find_cases(given, output_dir=output_dir, results=results_in(output_dir) | _in_work(output_dir), lines=lines_of_stdin())
    settings = Settings(
        **shared_options(options), folder=str(_folder(output_dir, found)), model=model, texts=(prompt,) if isinstance(prompt, str) else tuple(prompt),
        preset=preset, write=checked_writes(write),
    )  # fmt: skip
    cases = shard_of(found.cases, shard)
    _check(settings, found.cases, at_once, redo, [*given, *files_of(connection)])
    cancellation = cancellation or Cancellation()
    where = (endpoint, profile, connection)
    with connected(client, endpoint, profile, model, cancellation, connection) as used:
        plan = Plan(settings, used, redo, progress, cancellation)
        if dry_run:
            return _rehearsed(plan, cases, found)
        with Manifest(Path(settings.folder)).held(shard) if not found.bids_root else _bids_folder(settings.folder, shard):
            manifest = Manifest(Path(settings.folder))
            tally = run_plan(plan, cases, manifest, scheduler, at_once=at_once, where=where, client=client)
            return _result(plan, tally, manifest, found)


# --- checks ------------------------------------------------------------------------------------------------------------


def _folder(output_dir: str | os.PathLike | None, found: Cases) -> Path:
    if output_dir:
        return Path(os.path.abspath(Path(output_dir).expanduser()))
    if found.bids_root is None:
        raise UsageError("Say where results go: --output-dir OUT (only a BIDS data set has a place for them).")
    return Path(os.path.abspath(found.bids_root / BIDS_RESULTS))


def _check(settings: Settings, cases: list[Case], at_once: int, redo: str, read: list[Any]) -> None:
    """Everything that can be wrong is said before the first request."""
    if redo not in REDO:
        raise UsageError("--redo takes failed, changed or all.")
    if type(at_once) is not int or not 1 <= at_once <= MOST_AT_ONCE:
        raise UsageError("The number of requests at once is 1 to {most}.", most=MOST_AT_ONCE)
    if os.path.exists(settings.folder) and not os.path.isdir(settings.folder):
        raise UsageError("{path} is a file; give a folder for the results.", path=settings.folder)
    if "dicomseg" in settings.write:
        require("highdicom", "writing a DICOM segmentation")
    blank = Volume(np.zeros((1, 1, 1), np.uint8), np.eye(4))
    for window in {case.window or settings.window for case in cases}:
        choose_window(blank, window)
    outputs = {str(Path(settings.folder, name)): "the batch itself" for name in (MANIFEST, TABLE)}
    for case in cases:
        check_options(settings.model, settings.options(case))
        prompts = settings.prompts(case)
        for kind, path in settings.outputs(case).items():
            outputs[str(path)] = case.id
            if kind == "masks":
                masks = mask_paths(path, catalogue.segment_names(prompts), numbered=settings.instances is not None)
                outputs |= {str(mask): case.id for mask in masks.values()}
    inputs = {path for case in cases for path in (case.input, case.reference) if path}
    check_many_outputs(outputs, [*inputs, *(path for path in read if path and os.path.isfile(path))])


def _in_work(output_dir: str | os.PathLike | None) -> set[str]:
    """Real paths that results of cases may have which a killed run was at: no image of their own, though they have no line yet."""
    at = Path(output_dir, WORK, "replies") if output_dir else None
    ids = [one.name for one in at.iterdir()] if at is not None and at.is_dir() else []
    return {os.path.realpath(Path(str(output_dir), name.format(id=one))) for one in ids for name in WRITES.values()}


def _bids_folder(folder: str, shard: str) -> Any:
    """The folder of a BIDS data set's results, made with the description that such a folder must have."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    description = place / "dataset_description.json"
    if not description.exists():
        made_by = [{"Name": "medimageparse", "Version": __version__}]
        said = {"Name": "MedImageParse segmentations", "BIDSVersion": "1.9.0", "DatasetType": "derivative", "GeneratedBy": made_by}
        write_atomically(description, (json.dumps(said, indent=2) + "\n").encode())
    return Manifest(place).held(shard)


# --- runs --------------------------------------------------------------------------------------------------------------


def _rehearsed(plan: Plan[Settings], cases: list[Case], found: Cases) -> BatchResult:
    from ..cohort.rehearsal import CountingClient, rehearse

    settings, manifest = plan.settings, Manifest(Path(plan.settings.folder))
    find = plan.find(manifest)

    def prepare(case: Case, counter: CountingClient) -> object:
        return segment(
            case.input, settings.prompts(case), model=settings.model, client=counter, cancellation=plan.cancellation, options=settings.options(case)
        )  # fmt: skip

    def is_due(case: Case) -> bool:
        return manifest.is_due(case.id, find(case), plan.redo)

    counted = rehearse(cases, is_due, prepare, plan.client, progress=plan.progress, cancellation=plan.cancellation)
    counted = replace(counted, requests=counted.requests * settings.repeat, bytes=counted.bytes * settings.repeat)
    report = _report(plan, found, dry_run=asdict(counted))
    report.warnings = [*report.warnings, *counted.unreadable]
    return BatchResult(Path(settings.folder), None, counted, report.as_dict())


def _result(plan: Plan[Settings], tally: Tally, manifest: Manifest, found: Cases) -> BatchResult:
    with after_requests() if tally.done or tally.failed else nullcontext():
        table = manifest.write_table()
    done, failed = tally.done + tally.done_before, tally.failed + tally.failed_before
    failure = tally.stopped
    if failed and not failure:
        first = f" The first: {tally.first_error}" if tally.first_error else ""
        failure = f"{failed} of {tally.total} cases failed; {manifest.path} says why, and --redo failed tries them again.{first}"
    status = 0 if not failure else 4 if done else 3
    report = _report(plan, found, cases=tally.counts())
    report.outputs, report.bytes_sent, report.engine = [str(manifest.path), str(table)], tally.bytes_sent, "; ".join(plan.engines) or None
    if failure:
        report.kind, report.error, report.exit_status = "endpoint", failure, status
    return BatchResult(manifest.folder, tally, None, report.as_dict(), status, failure)


def _report(plan: Plan[Settings], found: Cases, **details: Any) -> Report:
    client, settings, warnings = plan.client, plan.settings, [*found.warnings, *plan.warnings]
    return Report(
        model=settings.model, endpoint=client.name, dialect=client.dialect, window=settings.window, warnings=warnings, details=details,
        engine_facts=facts_of(client),
    )  # fmt: skip
