"""The run of a batch: cases are prepared while others wait for the endpoint, and each one's end is written down before the next counts.

What a case's work consists of is the caller's matter (`api.batch`). Here is what is the same for all: the order, how many at once, what is
due, when to stop, and what the manifest says.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..errors import MOST_FAILURES, Cancelled, EndpointError, MedImageParseError
from ..progress import Cancellation, Progress, no_progress
from .cases import Case
from .manifest import Manifest

PREPARING = 2  # cases in work beyond those at the endpoint: read and ready, or being written


@dataclass(slots=True)
class Tally:
    """What became of the cases.

    Attributes:
        total: cases of this run.
        done, failed: ended by this run.
        done_before, failed_before: ended by an earlier one, and not due.
        requests, bytes_sent: of this run.
        in_a_row: failures of the endpoint since the last case that went through.
        stopped: why the run stopped before its end, "" where it did not.
        first_error: of a case that failed.
    """

    total: int
    done: int = 0
    failed: int = 0
    done_before: int = 0
    failed_before: int = 0
    requests: int = 0
    bytes_sent: int = 0
    in_a_row: int = 0
    stopped: str = ""
    first_error: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def ended(self) -> int:
        """Cases that are settled, by this run or before."""
        return self.done + self.failed + self.done_before + self.failed_before

    def counts(self) -> dict[str, int]:
        """What a report says of it."""
        return {name: getattr(self, name) for name in ("total", "done", "failed", "done_before", "failed_before", "requests")}

    def add_before(self, state: str) -> None:
        """A case that an earlier run has ended."""
        with self._lock:
            if state == "done":
                self.done_before += 1
            else:
                self.failed_before += 1

    def add(self, entry: dict) -> None:
        """A case that this run has ended."""
        with self._lock:
            self.requests += len(entry.get("request_ids") or [])
            self.bytes_sent += entry.get("bytes_sent") or 0
            if entry["state"] == "done":
                self.done, self.in_a_row = self.done + 1, 0
            elif entry["state"] == "failed":
                self.failed += 1
                self.first_error = self.first_error or str(entry.get("error") or "")
                self.in_a_row = self.in_a_row + 1 if entry.get("kind") == "endpoint" else self.in_a_row
                if self.in_a_row >= MOST_FAILURES and not self.stopped:
                    self.stopped = (
                        f"The endpoint failed {self.in_a_row} cases in a row, so the run stopped; when it works again, run the same "
                        f"command with --redo failed. The last error: {entry.get('error')}"
                    )


def outcome_of(error: MedImageParseError) -> dict:
    """State, kind, error and request ids of a case that failed."""
    state = "skipped" if isinstance(error, Cancelled) else "failed"
    ids = [error.request_id] if isinstance(error, EndpointError) and error.request_id else []
    return {"state": state, "kind": error.kind, "error": str(error), "request_ids": ids}


Find = Callable[[Case], str]  # the fingerprint of a case as it is now
Work = Callable[[Case, str, Callable[[], None]], dict]  # case, fingerprint, "I am about to send" -> its line


def run_cases(
    cases: list[Case],
    find: Find,
    work: Work,
    manifest: Manifest,
    *,
    at_once: int,
    redo: str = "",
    stop: Callable[[], None] = lambda: None,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> Tally:
    """Do the cases that are due, a few at once, in order.

    Args:
        cases: all of this run.
        find: gives a case's fingerprint.
        work: does a case and gives its line for the manifest; it raises nothing but Cancelled and what ends the run.
        manifest: held by the caller.
        at_once: most cases at the endpoint at the same time; PREPARING more are read or written meanwhile.
        redo: see Manifest.is_due.
        stop: called when the endpoint has failed too often: what has not been sent yet is given up.
        progress: told "cases" that are settled.
        cancellation: stops it; what is done stays.

    Returns:
        the tally; `stopped` says why where the run ended early.

    Raises:
        Cancelled. UsageError: the manifest cannot be written.
    """
    tally = Tally(len(cases))
    cancellation = cancellation or Cancellation()
    queue = _Queue(cases, tally, cancellation)
    # Reading and packing at the same time on more threads than processors only delays the first request.
    processors = threading.Semaphore(max(PREPARING, os.cpu_count() or 1))

    telling = threading.Lock()

    def settle() -> None:
        with telling:  # so that the count never goes back
            progress("cases", tally.ended, tally.total)

    def one(case: Case) -> None:
        fingerprint = find(case)
        if not manifest.is_due(case.id, fingerprint, redo):
            pass_over(case.id, manifest, tally)
            settle()
            return
        if redo == "all":
            manifest.forget_replies(case.id)
        permit = _Permit(processors)
        try:
            entry = work(case, fingerprint, permit.give_back)
        finally:
            permit.give_back()
        finish_case(entry, manifest, tally)
        if tally.stopped:
            stop()
        settle()

    def worker() -> None:
        try:
            for case in queue:
                one(case)
        except BaseException:
            queue.close()  # the others end what they have begun
            raise

    settle()
    with ThreadPoolExecutor(at_once + PREPARING, thread_name_prefix="medimageparse-case") as pool:
        ended = [pool.submit(worker) for _number in range(min(at_once + PREPARING, max(1, len(cases))))]
        for future in ended:
            future.result()
    cancellation.check()
    return tally


def finish_case(entry: dict, manifest: Manifest, tally: Tally, forget: Callable[[str], None] | None = None) -> None:
    """Write a case's line; after that its replies are not needed, except where the fault was on this side of the wire.

    Args:
        entry: the line.
        manifest: it goes to.
        tally: counts it.
        forget: takes a case's replies away; None for the manifest's own way.
    """
    manifest.append(entry)
    if _needs_no_replies(entry):
        (forget or manifest.forget_replies)(entry["id"])
    tally.add(entry)


def pass_over(case_id: str, manifest: Manifest, tally: Tally) -> None:
    """Count a case that an earlier run has ended; replies that it was killed before it could take away go now.

    Args:
        case_id: of a case that is not due.
        manifest: has its line.
        tally: counts it.
    """
    entry = manifest.entries[case_id]
    if _needs_no_replies(entry):
        manifest.forget_replies(case_id)
    tally.add_before(entry["state"])


def _needs_no_replies(entry: dict) -> bool:
    return entry["state"] == "done" or entry.get("kind") == "endpoint"


class _Queue:
    """The cases, given out one by one to several threads until the run is stopped."""

    def __init__(self, cases: Iterable[Case], tally: Tally, cancellation: Cancellation):
        self._cases = iter(cases)
        self._tally, self._cancellation = tally, cancellation
        self._is_closed = False
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Case]:
        while True:
            with self._lock:
                if self._is_closed or self._tally.stopped or self._cancellation.is_cancelled:
                    return
                case = next(self._cases, None)
            if case is None:
                return
            yield case

    def close(self) -> None:
        """No more."""
        self._is_closed = True


class _Permit:
    """Leave to use a processor, given back once."""

    def __init__(self, processors: Any):
        self._processors = processors
        self._is_mine = True
        self._lock = threading.Lock()
        processors.acquire()

    def give_back(self) -> None:
        """Called before the first request leaves, and at the end."""
        with self._lock:
            if self._is_mine:
                self._is_mine = False
                self._processors.release()
