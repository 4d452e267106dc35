"""Many volumes into an index, as `batch` does cases: an account of what is done, shards, and the workers of a Dask scheduler.

Each volume's vectors go into a small index of their own in the working folder. When all volumes have ended, these are merged into the index in
one transaction. So a kill, a full disk or a bad volume costs only what it must, and the index is never half there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..cohort.batch import Tally
from ..cohort.cases import Case, Cases, find_cases, lines_of_stdin, shard_of
from ..cohort.manifest import REDO, TABLE, Manifest, fingerprint, results_in
from ..errors import EndpointError, InputError, UsageError
from ..files.collisions import check_many_outputs
from ..options import names_of
from ..progress import Cancellation, Progress
from ..tasks.embed import MODEL
from ..tasks.indexing import IndexingOptions, IndexingResult, embed_sources
from ..tasks.run import Report
from ..tasks.sinks import PartSink
from ..tasks.tally import InputTally
from .batch_runs import Plan, blank_line, run_plan, settled
from .connections import connected
from .inputs import files_of, is_path
from .insight_options import IndexOptions, KeepOptions
from .sources import find_sources

if TYPE_CHECKING:
    from ..transport.client import EndpointClient

_VOLUMES_AT_ONCE = 2  # each has many requests of its own; two more are read or hashed meanwhile


@dataclass(frozen=True, kw_only=True)
class Settings(KeepOptions):
    """What all volumes have in common; plain values, so that another computer's worker can be told.

    Attributes:
        folder: the working folder.
        index: the file that all goes into.
    """

    folder: str
    index: str

    @property
    def model(self) -> str:
        """Which model the connection is for."""
        return MODEL

    def part(self, case: Case) -> Path:
        """Where the vectors of a volume go."""
        return Path(self.folder, case.place, f"{case.id}.index")

    def fingerprint(self, case: Case, content: str, endpoint: str) -> str:
        """See batch_runs.Settings, as for the next two."""
        options = {name: getattr(self, name) for name in names_of(KeepOptions) if name not in ("at_once", "batch")}
        options |= {name: value for name in ("series", "frame", "modality") if (value := getattr(case, name)) not in ("", None)}
        return fingerprint(content, [], options | {"model": MODEL}, endpoint, __version__)

    def blank(self, case: Case, fingerprint: str) -> dict:
        """A volume's line before anything is known."""
        return blank_line(case, fingerprint, MODEL, pictures={})

    def do(self, case: Case, client: Any, fingerprint: str, cancellation: Cancellation | None = None) -> dict:
        """Embed a volume into its part; gives its line."""
        return settled(self.blank(case, fingerprint), lambda: self._embedded(case, client, cancellation))

    def _embedded(self, case: Case, client: Any, cancellation: Cancellation | None) -> dict:
        part = self.part(case)
        part.parent.mkdir(parents=True, exist_ok=True)
        frame = self.frame if case.frame is None else case.frame
        sources = find_sources([case.input], case.modality or self.modality, series=case.series or self.series, frame=frame)
        how = IndexingOptions(self.preprocessing, self.selection, self.at_once, self.batch, self.thumbnails, self.paths)
        sink = PartSink(part, Path(self.index))
        try:
            result = embed_sources(sources, client, sink, how, cancellation=cancellation)
        finally:
            sink.close()
        report = result.report
        pictures = {name: report[name] for name in ("embedded", "already_there", "without_content", "refused")}
        entry = {"outputs": [os.path.relpath(part, self.folder)] if part.exists() else [], "pictures": pictures, "engine": report["engine"],
                 "warnings": report["warnings"], "request_ids": report["request_ids"], "bytes_sent": report["bytes_sent"]}  # fmt: skip
        if result.failure:  # pictures that the endpoint refuses are no reason to stop asking it
            return entry | {"state": "failed", "kind": "input" if pictures["refused"] else "endpoint", "error": str(result.failure)}
        return entry | {"state": "done"}


def add_many(
    index: Path, inputs: Iterable[Any], options: IndexOptions, progress: Progress, cancellation: Cancellation | None,
    where: tuple[str | None, str | None, EndpointClient | None], connection: dict[str, Any],
) -> IndexingResult:  # fmt: skip
    """What `index_add` does with a working folder.

    Args:
        index: the file.
        inputs: paths.
        options: of index_add.
        progress: told "cases" that are settled, then "merging".
        cancellation: stops the run; what is done is kept.
        where: endpoint, profile, and a connection to use in place of both.
        connection: further options of `connect`.

    Returns:
        one tally a volume. With a shard nothing is merged yet.
    """
    given = list(inputs)
    if not all(is_path(one) for one in given):
        raise UsageError("A working folder keeps account of files; leave it out for images in memory.")
    folder = Path(os.path.abspath(Path(str(options.work_dir)).expanduser()))
    found = find_cases(given, output_dir=folder, results=results_in(folder), lines=lines_of_stdin())
    shared = {name: getattr(options, name) for name in names_of(KeepOptions)}
    settings = Settings(**shared, folder=str(folder), index=os.path.abspath(index))
    _check(settings, found.cases, options.redo, [*given, *files_of(connection)])
    cases = shard_of(found.cases, options.shard)
    endpoint, profile, client = where
    with connected(client, endpoint, profile, MODEL, cancellation, connection) as used, Manifest(folder).held(options.shard):
        plan = Plan(settings, used, options.redo, progress, cancellation or Cancellation())
        manifest = Manifest(folder)
        before = dict(manifest.entries)
        how = (endpoint, profile, connection)
        ended = run_plan(
            plan, cases, manifest, options.scheduler, at_once=options.at_once, where=how, client=client, cases_at_once=_VOLUMES_AT_ONCE
        )
        manifest.write_table()
        if not options.shard:
            merge_parts(index, parts_of(manifest, {case.id for case in cases}), progress)
        return _result(plan, cases, found, manifest, ended, before)


def parts_of(manifest: Manifest, ids: set[str] | None = None) -> list[Path]:
    """The indexes of the volumes that have ended, in the order of their lines.

    Args:
        manifest: of the working folder.
        ids: only of these volumes; None for all.
    """
    entries = [entry for case_id, entry in manifest.entries.items() if ids is None or case_id in ids]
    paths = [manifest.folder / str(path) for entry in entries for path in entry.get("outputs") or []]
    return [path for path in paths if path.suffix == ".index" and path.is_file()]


def merge_parts(index: Path, parts: Iterable[Path], progress: Progress) -> int:
    """Merge indexes into one, whole or not at all; gives how many records were new.

    Args:
        index: gets them; made anew where there is none.
        parts: the others.
        progress: told "merging".
    """
    from ..search.index import EmbeddingIndex

    parts = list(parts)
    if not parts:
        return 0

    with ExitStack() as opened:
        whole = opened.enter_context(EmbeddingIndex.open(index))

        def each() -> Iterable[EmbeddingIndex]:
            for number, part in enumerate(parts):
                progress("merging", number, len(parts))
                with EmbeddingIndex.open(part, create=False) as other:
                    yield other

        return whole.merge(each())


def _check(settings: Settings, cases: list[Case], redo: str, read: list[Any]) -> None:
    if redo not in REDO:
        raise UsageError("--redo takes failed, changed or all.")
    if os.path.exists(settings.folder) and not os.path.isdir(settings.folder):
        raise UsageError("{path} is a file; give a folder for the work.", path=settings.folder)
    outputs = {str(settings.part(case)): case.id for case in cases} | {settings.index: "the index"}
    check_many_outputs(outputs, [*(case.input for case in cases), *(path for path in read if is_path(path) and os.path.isfile(path))])


def _result(
    plan: Plan[Settings], cases: list[Case], found: Cases, manifest: Manifest, ended: Tally, before: dict[str, dict]
) -> IndexingResult:
    """One tally a volume; those of an earlier run count as there already."""
    tallies, entries = [], manifest.entries
    for case in cases:
        entry = entries.get(case.id, {})
        counts: dict[str, Any] = {
            name: int((entry.get("pictures") or {}).get(name) or 0) for name in ("embedded", "already_there", "without_content")
        }
        tally = InputTally(Path(case.input).name, case.input, error=str(entry.get("error") or ""), chosen=sum(counts.values()), **counts)
        if before.get(case.id) == entry:
            tally = replace(tally, embedded=0, already_there=counts["embedded"] + counts["already_there"])
        tallies.append(tally)
    failed = ended.failed + ended.failed_before
    failure = ended.stopped
    if failed and not failure:
        failure = f"{failed} of {ended.total} inputs failed; {manifest.path} says why, and --redo failed tries them again. The first: "
        failure += next((tally.error for tally in tallies if tally.error), "")
    kinds = {entry.get("kind") for entry in entries.values() if entry.get("state") == "failed"}
    error = EndpointError if "endpoint" in kinds else InputError
    if failure and not any(tally.embedded or tally.already_there for tally in tallies):
        raise error("{failure}", failure=failure)
    report = Report(
        kind=error.kind if failure else None, model=MODEL, endpoint=plan.client.name, dialect=plan.client.dialect, window=plan.settings.window, bytes_sent=ended.bytes_sent,
        engine="; ".join(plan.engines) or None, warnings=[*found.warnings, *plan.warnings],
        outputs=[str(manifest.path), str(manifest.folder / TABLE)],
        details={
            "inputs": [tally.report() for tally in tallies], "preprocessing": plan.settings.preprocessing.text,
            "cases": ended.counts(), "embedded": sum(tally.embedded for tally in tallies),
            "already_there": sum(tally.already_there for tally in tallies),
        },
    )  # fmt: skip
    return IndexingResult(tallies, report.as_dict(), failure)
