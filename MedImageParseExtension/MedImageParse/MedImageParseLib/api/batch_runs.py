"""How the cases of a run are done, whatever is done with each: here, or on the workers of a Dask scheduler.

What a case is done with is said by its settings (Settings below): `batch_cases` segments, `index_cases` embeds.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from .. import __version__
from ..cohort.batch import Tally, finish_case, outcome_of, pass_over, run_cases
from ..cohort.cases import Case, content_digest, content_state
from ..cohort.courier import CaseClient, Courier, DirectSender
from ..cohort.manifest import Manifest
from ..cohort.replies import keep_line_only, read_ended, write_ended
from ..errors import Cancelled, EndpointError, InputError, MedImageParseError, UsageError
from ..progress import Cancellation, Progress
from ..remedies import Sentence
from .connections import connect

_MOST_WARNINGS = 20


class Settings(Protocol):
    """What all cases of a run have in common: a dataclass of plain values, so that another computer's worker can be told."""

    @property
    def model(self) -> str:
        """Which model the connection is for."""

    def fingerprint(self, case: Case, content: str, endpoint: str) -> str:
        """What the result of a case depends on."""

    def blank(self, case: Case, fingerprint: str) -> dict:
        """A case's line before anything is known."""

    def do(self, case: Case, client: Any, fingerprint: str, cancellation: Cancellation | None = None) -> dict:
        """Do a case; gives its line. A case that failed is no exception."""


_Settings = TypeVar("_Settings", bound=Settings)


def blank_line(case: Case, fingerprint: str, model: str, **own: Any) -> dict:
    """A case's line before anything is known.

    Args:
        case: whose line it is.
        fingerprint: what its result depends on.
        model: which is asked.
        own: what only this kind of run says, by key.
    """
    return {
        "id": case.id, "input": case.input, "state": "failed", "kind": None, "error": None, "outputs": [], "request_ids": [],
        "seconds": 0.0, "bytes_sent": 0, "fingerprint": fingerprint, "model": model, "engine": None, **own, "warnings": [],
        "version": __version__, "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }  # fmt: skip


def settled(entry: dict, work: Callable[[], dict]) -> dict:
    """A case's line when its work has ended, however it ended.

    Args:
        entry: the line before.
        work: gives what the line says when all went well.
    """
    start = time.perf_counter()
    try:
        entry |= work()
    except MedImageParseError as error:
        entry |= outcome_of(error)
    except MemoryError:
        entry |= outcome_of(InputError("There is not enough memory for this case; crop it, or lower --at-once."))
    except OSError as error:
        entry |= outcome_of(UsageError("The results cannot be written ({why}).", why=error.strerror or Sentence("unknown reason")))
    except Exception as error:  # a fault of ours in one case is no reason to lose the others
        entry |= outcome_of(InputError("The program itself failed in this case ({kind}); report it.", kind=type(error).__name__))
    entry["seconds"] = round(time.perf_counter() - start, 3)
    return entry


@dataclass(slots=True)
class Plan(Generic[_Settings]):
    """What a run needs beside its cases.

    Attributes:
        settings: what all cases have in common.
        client: the connection.
        redo: which cases are done again.
        progress, cancellation: of the run.
        warnings, engines: what the report says of all cases.
        contents: what the inputs of cases in work hold.
    """

    settings: _Settings
    client: Any
    redo: str
    progress: Progress
    cancellation: Cancellation
    warnings: list[str] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    contents: dict[str, dict] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """Where requests go, as far as a result depends on it."""
        return f"{self.client.name} {getattr(self.client, 'deployment', '')}".strip()

    def find(self, manifest: Manifest) -> Callable[[Case], str]:
        """How a case's fingerprint is found; an input whose files have the same sizes and dates as at its line is not read again."""

        def fingerprint_now(case: Case) -> str:
            known = manifest.entries.get(case.id) or {}
            state = content_state(case.input)
            is_known = state and known.get("input_state") == state and known.get("input") == case.input and self.redo != "changed"
            content = (str(known.get("input_digest") or "") if is_known else "") or content_digest(case.input)
            self.contents[case.id] = {"input_state": state, "input_digest": content}
            return self.settings.fingerprint(case, content, self.endpoint)

        return fingerprint_now

    def note(self, entry: dict) -> None:
        """Complete a case's line with what its input held, and take down what the report says of all cases."""
        entry |= self.contents.pop(entry["id"], {})
        for sentence in entry.get("warnings") or []:
            if sentence not in self.warnings and len(self.warnings) < _MOST_WARNINGS:
                self.warnings.append(sentence)
        if entry.get("engine") and entry["engine"] not in self.engines:
            self.engines.append(entry["engine"])


def run_plan(
    plan: Plan,
    cases: list[Case],
    manifest: Manifest,
    scheduler: str = "",
    *,
    at_once: int,
    where: tuple,
    client: Any,
    cases_at_once: int = 0,
) -> Tally:
    """Do the cases, here or on the workers of a Dask scheduler; the account is kept here either way.

    Args:
        plan: of the run.
        cases: to do, in order.
        manifest: held by the caller.
        scheduler: its address; "" for this process, whose requests leave through a process of their own, unless the connection was given.
        at_once: most requests at the endpoint at the same time; with a scheduler those of one worker, and most cases given out.
        where: endpoint, profile and further options of `connect`.
        client: the connection that was given, None for one of its own; a scheduler's workers can have none of this computer's.
        cases_at_once: cases at the endpoint at the same time, where that is not the same as requests.
    """
    try:
        if scheduler:
            return _run_on_workers(plan, cases, manifest, scheduler, at_once, _for_workers(plan, where, client, at_once))
        return _run_here(plan, cases, manifest, at_once, where, client, cases_at_once or at_once)
    except Cancelled:
        manifest.write_table()
        raise


def _run_here(plan: Plan, cases: list[Case], manifest: Manifest, at_once: int, where: tuple, client: Any, cases_at_once: int) -> Tally:
    endpoint, profile, connection = where
    options = {"model": plan.settings.model, **{name: value for name, value in connection.items() if name != "show_device_code"}}
    plan.client.max_in_flight = at_once
    sender = DirectSender(client) if client else Courier(endpoint, profile, options, at_once, connection.get("show_device_code"))
    forget = plan.cancellation.on_cancel(sender.cancel)

    def work(case: Case, fingerprint: str, about_to_send: Callable[[], None]) -> dict:
        sender.begin()
        to_send = CaseClient(plan.client, sender, manifest.replies_of(case.id), about_to_send)
        entry = plan.settings.do(case, to_send, fingerprint, plan.cancellation)
        plan.note(entry)
        return entry

    try:
        return run_cases(
            cases, plan.find(manifest), work, manifest, at_once=cases_at_once, redo=plan.redo, stop=sender.drop, progress=plan.progress,
            cancellation=plan.cancellation,
        )  # fmt: skip
    finally:
        forget()
        sender.close()


def _run_on_workers(plan: Plan, cases: list[Case], manifest: Manifest, scheduler: str, at_once: int, common: dict[str, Any]) -> Tally:
    from ..cohort.scheduler import Job, run_on_cluster

    tally, find = Tally(len(cases)), plan.find(manifest)
    by_id = {case.id: case for case in cases}
    ended: list[str] = []  # their lines stay until the end: the scheduler may give out a case again that it has lost

    def settle() -> None:
        plan.progress("cases", tally.ended, tally.total)

    def jobs() -> Iterator[Job]:
        for case in cases:
            fingerprint = find(case)
            if manifest.is_due(case.id, fingerprint, plan.redo):
                if plan.redo:
                    manifest.forget_replies(case.id)
                yield Job(
                    case.id, common | {"case": asdict(case), "replies": str(manifest.replies_of(case.id)), "fingerprint": fingerprint}
                )
            else:
                pass_over(case.id, manifest, tally)
                settle()

    def took(_job: Job, entry: dict) -> None:
        plan.note(entry)
        finish_case(entry, manifest, tally, lambda case_id: keep_line_only(manifest.replies_of(case_id)))
        ended.append(entry["id"])
        settle()

    def failed(job: Job, error: EndpointError) -> dict:
        return plan.settings.blank(by_id[job.id], job.told["fingerprint"]) | outcome_of(error)

    settle()
    work = partial(do_on_worker, kind=type(plan.settings))
    run_on_cluster(
        scheduler, jobs(), work, took, failed, at_once=at_once, is_stopped=lambda: bool(tally.stopped), cancellation=plan.cancellation
    )
    for case_id in ended:
        manifest.forget_replies(case_id)
    return tally


def _for_workers(plan: Plan, where: tuple, client: Any, at_once: int) -> dict[str, Any]:
    """What a worker is told with every case. Raises UsageError where it would need something that does not leave this computer."""
    endpoint, profile, connection = where
    if client is not None or connection.get("key"):
        raise UsageError(
            "A connection or key cannot be sent to other computers; give an endpoint or profile, and the key as key_file or MEDIMAGEPARSE_KEY there."
        )
    options = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in connection.items()}
    options |= {"model": plan.settings.model, "consent": True}  # asked here, where the person is
    options.pop("show_device_code", None)
    settings = asdict(cast(Any, plan.settings))
    return {"settings": settings, "endpoint": endpoint, "profile": profile, "options": options, "at_once": at_once}


# --- on a worker of a cluster --------------------------------------------------------------------------------------------

_connections: dict[str, tuple[Any, Any]] = {}
_connecting = threading.Lock()


def do_on_worker(told: dict, kind: Callable[..., Settings]) -> dict:
    """Do a case on a Dask worker.

    Args:
        told: "case", "settings", "endpoint", "profile", "options" of `connect`, "at_once", "replies" (folder), "fingerprint".
        kind: class of the settings.

    Returns:
        the case's line for the manifest.
    """
    case, settings, folder = Case(**told["case"]), kind(**told["settings"]), Path(told["replies"])
    ended = read_ended(folder, told["fingerprint"])
    if ended is not None:  # the scheduler had lost the worker that did it
        return ended
    try:
        client, sender = _connection(told)
    except MedImageParseError as error:
        return settings.blank(case, told["fingerprint"]) | outcome_of(error)
    entry = settings.do(case, CaseClient(client, sender, folder), told["fingerprint"])
    write_ended(folder, entry)
    return entry


def _connection(told: dict) -> tuple[Any, Any]:
    """The worker's connection and its sender, made once for all cases of a run."""
    key = json.dumps([told[name] for name in ("endpoint", "profile", "options", "at_once")], sort_keys=True)
    with _connecting:
        if key not in _connections:
            client = connect(told["endpoint"], told["profile"], **told["options"])
            client.max_in_flight = told["at_once"]
            _connections[key] = client, Courier(told["endpoint"], told["profile"], told["options"], told["at_once"])
        return _connections[key]
