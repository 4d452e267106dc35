"""One piece of work for the queue: which part of it runs where, and how far it is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import MedImageParseError
from ..progress import Cancellation, Progress

STATES = ("queued", "preparing", "running", "importing", "done", "failed", "cancelled", "dropped")
ENDED = ("done", "failed", "cancelled", "dropped")
# Stages that count finished requests; they are shown beside the stage of the requests still out, not in place of it.
_COUNTED = ("slices", "replies")
_MEGABYTE = 1e6

_numbers = itertools.count(1)


class Dropped(MedImageParseError):
    """What the job was for is gone or has changed, so its reply was not used."""


def nothing(*_arguments: object) -> None:
    """A step that a job does not have."""


def _never_stale() -> str:
    return ""


def _as_it_is(result: Any) -> Any:
    return result


@dataclass(slots=True, eq=False)
class Job:
    """A piece of work made of callables. Nothing runs before it is added to a JobQueue.

    Attributes:
        title: for the person.
        work: work(prepared, progress, cancellation) in the worker thread: bytes and arrays only, never a MRML node.
        prepare: main thread, quick: gathers what `work` needs.
        arrived: main thread: takes the list of parts that `work` has given to `deliver` since the last call. Before `finish`. Where it
            returns True, it has put something off, and is called again with an empty list while nothing else is to be done.
        finish: main thread, the one long step: takes what `work` returned, and its own return value becomes `result`.
        stale: main thread, looked at in every poll: a sentence on why the reply is of no use any more, "" while it is.
        ended: main thread, once, at the moment the job ends in whatever way: tidies up.
        callback: main thread, once, after that, outside of the queue's own steps: may start further jobs.
        cancellation: what `work` looks at; cancelling it from any thread cancels the job.
        id: counts up from 1.
        state: one of STATES; it ends in one of ENDED.
        stage, done, total: as `progress` told them last (see progress.Progress).
        items: (finished, all) requests of a job that sends several, (0, 0) for others.
        sentence: why it failed, was cancelled or was dropped; "" else.
        error: the exception behind `sentence`.
        result: what `finish` returned.

    Example:
        >>> job = Job("count", work=lambda prepared, progress, cancellation: len(prepared), prepare=lambda: "abc")
        >>> job.state, job.display
        ('queued', 'waiting for its turn')
    """

    title: str
    work: Callable[[Any, Progress, Cancellation], Any]
    prepare: Callable[[], Any] = nothing
    arrived: Callable[[list], object] = nothing
    finish: Callable[[Any], Any] = _as_it_is
    stale: Callable[[], str] = _never_stale
    ended: Callable[[Job], object] = nothing
    callback: Callable[[Job], object] = nothing
    cancellation: Cancellation = field(default_factory=Cancellation)
    id: int = field(default_factory=lambda: next(_numbers), init=False)
    state: str = field(default="queued", init=False)
    stage: str = field(default="", init=False)
    done: float = field(default=0.0, init=False)
    total: float = field(default=0.0, init=False)
    items: tuple[int, int] = field(default=(0, 0), init=False)
    sentence: str = field(default="", init=False)
    error: BaseException | None = field(default=None, init=False)
    result: Any = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _over: float = field(default=0.0, init=False)
    # Written by the worker's threads, read by the main thread: each is one assignment of a fresh tuple, which needs no lock.
    _told: tuple[str, float, float] = field(default=("", 0.0, 0.0), init=False)
    _counted: tuple[int, int] = field(default=(0, 0), init=False)
    _post: Callable[[Any], object] = field(default=nothing, init=False)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def elapsed(self) -> float:
        """Seconds since its turn came, 0 before; stands still once it has ended."""
        return (self._over or time.monotonic()) - self._began if self._began else 0.0

    @property
    def display(self) -> str:
        """How far it is, in a few words: "uploading 42 of 118 MB", "model working 0:12", "slice 7 of 20, model working 0:02"."""
        if self.state in ("failed", "cancelled", "dropped"):
            return self.sentence
        if self.state == "queued":
            return "waiting for its turn"
        if self.state != "running":
            return self.state
        finished, everything = self.items
        words = stage_in_words(self.stage, self.done, self.total)
        return f"{finished} of {everything} done, {words}" if everything else words

    def deliver(self, part: Any) -> None:
        """Hand a partial result to `arrived`. For `work`, from any thread; returns at once."""
        self._post(part)

    def tell(self, stage: str, done: float, total: float) -> None:
        """The progress that `work` is given. From any thread; returns at once."""
        if stage in _COUNTED:
            self._counted = (int(done), int(total))
        else:
            self._told = (stage, done, total)

    def take_progress(self) -> bool:
        """Main thread: take over what the worker told last. Returns whether anything is new."""
        told, counted = self._told, self._counted
        if (self.stage, self.done, self.total) == told and self.items == counted:
            return False
        (self.stage, self.done, self.total), self.items = told, counted
        return True

    def begin(self, post: Callable[[Any], object]) -> None:
        """For the queue: its turn has come. `post` carries parts from the worker to the main thread."""
        self.state, self._began, self._post = "preparing", time.monotonic(), post

    def end(self, state: str, sentence: str = "", error: BaseException | None = None, result: Any = None) -> None:
        """For the queue: note the outcome, and let go of everything that the callables hold (nodes, volumes)."""
        self.state, self.sentence, self.error, self.result = state, sentence, error, result
        self._over = time.monotonic()
        self.work = self.prepare = self.arrived = self.ended = self._post = nothing
        self.finish, self.stale = _as_it_is, _never_stale


def stage_in_words(stage: str, done: float, total: float) -> str:
    """A stage as `progress` tells it, for a person.

    Example:
        >>> stage_in_words("uploading", 42e6, 118e6), stage_in_words("model working", 72.4, 0)
        ('uploading 42 of 118 MB', 'model working 1:12')
    """
    if stage in ("uploading", "downloading"):
        return f"{stage} {_megabytes(done)} of {_megabytes(total)} MB" if total else f"{stage} {_megabytes(done)} MB"
    if stage == "model working":
        return f"{stage} {int(done) // 60}:{int(done) % 60:02d}"
    if stage == "waiting to try again":
        return f"{stage} in {int(done) + 1} s"
    return stage or "preparing"


def _megabytes(size: float) -> str:
    megabytes = size / _MEGABYTE
    return f"{megabytes:.1f}" if megabytes < 10 else f"{megabytes:.0f}"
