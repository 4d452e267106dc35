"""What a batch would send, without sending it: every case is read and prepared, and its requests are counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..errors import MedImageParseError
from ..progress import Cancellation, Progress
from ..tasks.run import NotSent, about_of
from ..transport.about import About
from .cases import Case

_MOST_TOLD = 20  # sentences about cases that cannot be read


@dataclass(slots=True)
class Rehearsal:
    """What was counted.

    Attributes:
        total: cases of the run. due: those that would be done. requests, bytes: that would be sent.
        unreadable: sentences about cases that would fail before anything is sent, twenty at most; failed: how many there are.
    """

    total: int
    due: int = 0
    requests: int = 0
    bytes: int = 0
    failed: int = 0
    unreadable: list[str] = field(default_factory=list)


class CountingClient:
    """Has what tasks ask of a connection, and sends nothing.

    Args:
        client: whose name, dialect and limits count.
    """

    def __init__(self, client: Any):
        self.name, self.dialect, self.body_limit, self.max_in_flight = client.name, client.dialect, client.body_limit, 1
        self.requests = self.bytes = 0
        self._client = client

    def about(self, *, fresh: bool = False) -> About | None:
        """As EndpointClient.about: what would be sent depends on it."""
        return about_of(self._client, fresh=fresh)

    def send(self, body: bytes, **_options: Any) -> Any:
        """Counts the request. Raises NotSent."""
        self.requests += 1
        self.bytes += len(body)
        raise NotSent("Nothing is sent in a dry run.")


def rehearse(
    cases: list[Case],
    is_due: Callable[[Case], bool],
    prepare: Callable[[Case, CountingClient], object],
    client: Any,
    *,
    progress: Progress,
    cancellation: Cancellation,
) -> Rehearsal:
    """Count what the cases would send.

    Args:
        cases: of the run.
        is_due: whether a case would be done.
        prepare: does a case's work with the connection that it is given.
        client: the connection of the real run.
        progress: told "cases" that are counted.
        cancellation: stops it.

    Raises:
        Cancelled.
    """
    found = Rehearsal(len(cases))
    lock = threading.Lock()
    counted = 0

    def one(case: Case) -> None:
        nonlocal counted
        cancellation.check()
        due, counter, error = is_due(case), CountingClient(client), None
        if due:
            try:
                prepare(case, counter)
            except NotSent:
                pass
            except MedImageParseError as failure:
                error = f"{case.id}: {failure}"
        with lock:
            counted += 1
            found.due += due
            found.requests += counter.requests
            found.bytes += counter.bytes
            found.failed += error is not None
            if error and len(found.unreadable) < _MOST_TOLD:
                found.unreadable.append(error)
        progress("cases", counted, len(cases))

    with ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 1)), thread_name_prefix="medimageparse-count") as pool:
        for _done in pool.map(one, cases):
            pass
    return found
