"""One piece of work for the queue: which part of it runs where, and how far it is.

Several jobs one after the other: bytes in a worker thread, the scene on the main thread, and the window alive meanwhile.

Why `poll` sleeps: Slicer's event loop is C++ and keeps Python's interpreter lock (GIL) while it waits for the mouse, so that a
Python thread in an idle Slicer stands still. Measured on the real PythonQt, a worker with 1.2 s to do got nothing done in 6 s; with
a timer whose slot sleeps for a moment it got on. A sleep is the time in which the lock is free. So the timer's owner calls `poll` every
POLL_MS while the queue is not idle, and `poll` sleeps for YIELD_S as long as the worker thread lives.

Why the timer is quicker than the sleep is long: each piece of C code that works without the lock (compressing, numpy, sockets) has to get it
back afterwards, and waits for the next sleep to do so. With 2 ms of sleep every 10 ms a run took 1.4 to 2.8 times as long as in a
plain script; with 5 ms of sleep every 7 ms 1.0 to 1.2 times (scripts/bench/worker_speed.py). A click waits 5 ms at most for its turn,
and while the window is busy drawing, the timer fires once a picture and no more.

Why one step a poll: a main-thread step (prepare, a partial result, the import) may take tens of milliseconds; between two of them the
window redraws and hears the Cancel button.
"""

from __future__ import annotations

import copy
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import Cancelled, MedImageParseError, UsageError
from ..progress import Cancellation, Progress
from ..remedies import Sentence

STATES = ("queued", "preparing", "running", "importing", "done", "failed", "cancelled", "dropped")
ENDED = ("done", "failed", "cancelled", "dropped")
# Stages that count finished requests; they are shown beside the stage of the requests still out, not in place of it.
_COUNTED = ("slices", "replies")
CANCELLED = "Cancelled."  # by the person

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

    Examples:
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

    Examples:
        >>> stage_in_words("uploading", 42e6, 118e6), stage_in_words("model working", 72.4, 0)
        ('uploading 42 of 118 MB', 'model working 1:12')
    """
    if stage in ("uploading", "downloading"):
        return f"{stage} {megabytes(done)} of {megabytes(total)} MB" if total else f"{stage} {megabytes(done)} MB"
    if stage == "model working":
        return f"{stage} {int(done) // 60}:{int(done) % 60:02d}"
    if stage == "waiting to try again":
        return f"{stage} in {int(done) + 1} s"
    return stage or "preparing"


def megabytes(size: float) -> str:
    """Bytes as a number of MB (10**6 bytes)."""
    return f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}"


UNEXPECTED = "Something unexpected went wrong ({kind}) and nothing was imported; look in the log for the details."
OUT_OF_MEMORY = "There is not enough memory for this; close other volumes, or choose a smaller region."
POLL_MS = 2  # milliseconds: the interval of the timer that calls `poll`
YIELD_S = 0.005  # seconds that a poll sleeps while the worker lives
_JOIN_S = 10.0  # the longest that closing waits: building a request is the longest thing that cannot be interrupted, 1 to 2 s

_log = logging.getLogger(__name__)


class JobQueue:
    """Runs jobs in the order in which they were added. Every method belongs to the thread that made the queue.

    Args:
        on_change: called with a job whenever something about it has changed, at most once a poll. It may add and cancel jobs.
        yield_s: seconds that `poll` sleeps while the worker thread lives, see the module's text.

    Examples:
        >>> jobs = JobQueue()
        >>> job = jobs.add(Job("count", work=lambda prepared, progress, cancellation: len("abc")))
        >>> jobs.wait(job)
        3
        >>> jobs.close()
    """

    def __init__(self, on_change: Callable[[Job], object] | None = None, yield_s: float = YIELD_S):
        self._on_change = on_change
        self._yield_s = yield_s
        self._waiting: list[Job] = []
        self._active: Job | None = None
        self._events: queue.SimpleQueue[tuple[str, Job, Any]] = queue.SimpleQueue()
        self._parts: list[Any] = []
        self._has_more_to_show = False
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._thread: threading.Thread | None = None
        self._prepared: Any = None  # held here until the worker has ended, so that VTK objects in it die on the main thread
        self._changed: dict[Job, bool] = {}  # job: whether its callback is due; in the order of the changes
        self._home = threading.get_ident()
        self._is_polling = False
        self._is_closed = False

    @property
    def jobs(self) -> list[Job]:
        """The one at work, then those that wait."""
        return ([self._active] if self._active else []) + self._waiting

    @property
    def is_idle(self) -> bool:
        """Nothing to do and no thread: polling may stop until the next `add`."""
        return self._active is None and not self._waiting and self._thread is None and not self._changed

    def add(self, job: Job) -> Job:
        """Put a job at the end of the queue; it starts with one of the next polls.

        Raises:
            UsageError: the queue is closed, or the job has been added before.
        """
        self._check_thread()
        if self._is_closed:
            raise UsageError("This module has been closed or reloaded; start the job from the module as it is now.")
        if job.has_ended or job in self.jobs:
            raise UsageError("A job runs once; make a new one.")
        self._waiting.append(job)
        self._changed.setdefault(job, False)
        return job

    def cancel(self, job: Job, sentence: str = CANCELLED) -> bool:
        """Stop a job. It has ended when this returns; whatever its worker still brings is thrown away.

        Returns:
            False where it had ended already.
        """
        self._check_thread()
        if job.has_ended or job not in self.jobs:
            return False
        self._end(job, "cancelled", sentence, Cancelled(sentence))
        self._tell_changes()
        return True

    def cancel_all(self, reason: str = CANCELLED) -> None:
        """Stop every job, those that wait first, so that none of them starts."""
        for job in reversed(self.jobs):
            self.cancel(job, reason)

    def poll(self) -> None:
        """Take what the worker has brought and do at most one main-thread step. Call it every POLL_MS until `is_idle`."""
        self._check_thread()
        if self._is_polling:  # a step let the window handle events, and the timer fired
            return
        self._is_polling = True
        try:
            self._retire_worker()
            self._take_events()
            for job in self.jobs:
                self._drop_if_useless(job)
            self._one_step()
        finally:
            self._is_polling = False
        self._tell_changes()
        if self._thread is not None:
            time.sleep(self._yield_s)

    def wait(self, job: Job, interval_s: float = 0.002) -> Any:
        """Poll until the job has ended.

        Returns:
            its result.

        Raises:
            MedImageParseError: why it failed; Cancelled; Dropped. UsageError: called from within a step of a job.
        """
        if self._is_polling:
            raise UsageError("A job's own step cannot wait for another job; give a callback instead.")
        try:
            while not job.has_ended:
                self.poll()
                time.sleep(interval_s)
        finally:
            self.cancel(job)  # a keyboard interrupt; does nothing to a job that has ended
        if job.error is None:
            return job.result
        # A copy: raised itself, the job's error would hold the caller's frames, which hold the job, and nodes would outlive their scene.
        if isinstance(job.error, MedImageParseError):
            raise copy.copy(job.error) from job.error
        raise MedImageParseError(job.sentence) from job.error

    def close(self) -> None:
        """Cancel everything and wait for the thread to end. The queue takes no more jobs. Safe to call twice."""
        self._check_thread()
        self._is_closed = True
        self.cancel_all("Cancelled because the module was closed.")
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _log.warning("a worker is still busy; it ends by itself and its result is thrown away")
        self._retire_worker()
        self._take_events()

    # --- one poll ----------------------------------------------------------------------------------------------------

    def _retire_worker(self) -> None:
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
            self._prepared = None

    def _take_events(self) -> None:
        while True:
            try:
                kind, job, payload = self._events.get_nowait()
            except queue.Empty:
                break
            if job is not self._active:
                continue  # late: the job was cancelled or dropped
            if kind == "part":
                self._parts.append(payload)
            else:
                self._outcome = payload
        if self._active is not None and self._active.state == "running" and self._active.take_progress():
            self._changed.setdefault(self._active, False)

    def _drop_if_useless(self, job: Job) -> None:
        if job.cancellation.is_cancelled:
            self._end(job, "cancelled", CANCELLED, Cancelled())
            return
        try:
            why = job.stale()
        except Exception as error:  # a look at the scene may fail in any way; the job then ends with a sentence
            self._fail(job, error)
            return
        if why:
            self._end(job, "dropped", why, Dropped(why))

    def _one_step(self) -> None:
        job = self._active
        if job is None:
            # One worker at a time: a cancelled one may need a moment to notice.
            if self._waiting and self._thread is None:
                self._active = job = self._waiting.pop(0)
                job.begin(lambda part: self._events.put(("part", job, part)))
                self._changed.setdefault(job, False)
        elif job.state == "preparing":
            self._guarded(job, self._start)
        elif job.state == "importing" and self._outcome is not None:
            result, self._outcome = self._outcome[0], None
            self._guarded(job, lambda each: self._finish(each, result))
        elif self._parts or (self._has_more_to_show and self._outcome is None):
            parts, self._parts = self._parts, []
            self._guarded(job, lambda each: self._hand_over(each, parts))
        elif self._outcome is not None:
            self._close_in(job, self._outcome[1])

    def _hand_over(self, job: Job, parts: list[Any]) -> None:
        self._has_more_to_show = bool(job.arrived(parts))

    def _start(self, job: Job) -> None:
        prepared = job.prepare()
        if job.has_ended:  # cancelled while preparing let the window handle events
            return
        job.state = "running"
        self._changed.setdefault(job, False)
        self._prepared = prepared
        self._thread = threading.Thread(target=self._work, args=(job, job.work, prepared), name="MedImageParse worker", daemon=True)
        self._thread.start()

    def _close_in(self, job: Job, error: BaseException | None) -> None:
        """The work is over: the import comes with the next poll, so that the window can show that it comes."""
        if error is not None:
            self._fail(job, error)
            return
        job.state = "importing"
        self._changed.setdefault(job, False)

    def _finish(self, job: Job, result: Any) -> None:
        final = job.finish(result)
        if not job.has_ended:
            self._end(job, "done", result=final)

    def _guarded(self, job: Job, step: Callable[[Job], object]) -> None:
        try:
            step(job)
        except Exception as error:  # whatever a step raises, the queue goes on and the job says so
            self._fail(job, error)

    # --- how jobs end ------------------------------------------------------------------------------------------------

    def _fail(self, job: Job, error: BaseException) -> None:
        if job.has_ended:
            return
        if isinstance(error, Cancelled):
            self._end(job, "cancelled", str(error), error)
        elif isinstance(error, MedImageParseError):
            _log.debug("job %d failed", job.id, exc_info=error)
            self._end(job, "failed", str(error), error)
        else:
            _log.error("job %d failed", job.id, exc_info=error)
            sentence = OUT_OF_MEMORY if isinstance(error, MemoryError) else Sentence(UNEXPECTED, kind=type(error).__name__)
            self._end(job, "failed", sentence, error)

    def _end(self, job: Job, state: str, sentence: str = "", error: BaseException | None = None, result: Any = None) -> None:
        tidy_up = job.ended
        if job is self._active:
            self._active, self._parts, self._outcome, self._has_more_to_show = None, [], None, False
        else:
            self._waiting.remove(job)
        _forget_traceback(error)
        job.end(state, sentence, error, result)
        if state != "done":
            job.cancellation.cancel()
        try:
            tidy_up(job)
        except Exception:  # tidying up must not keep the next job from its turn
            _log.exception("tidying up after job %d failed", job.id)
        self._changed[job] = True

    def _tell_changes(self) -> None:
        """Outside of the steps, so that what is called may add, cancel and even wait for jobs."""
        while self._changed and not self._is_polling:
            job = next(iter(self._changed))
            callback_is_due = self._changed.pop(job)
            try:
                if self._on_change is not None:
                    self._on_change(job)
                if callback_is_due:
                    callback, job.callback = job.callback, nothing
                    callback(job)
            except Exception:  # a listener's fault is not the job's
                _log.exception("a listener failed on job %d", job.id)

    # --- the worker --------------------------------------------------------------------------------------------------

    def _work(self, job: Job, work: Callable[..., Any], prepared: Any) -> None:
        """In the worker thread. Touches nothing of the queue but its events."""
        result, failure = None, None
        try:
            job.cancellation.check()
            result = work(prepared, job.tell, job.cancellation)
        except BaseException as error:  # a thread has nobody to raise to; the main thread decides what it means
            failure = error
        del work, prepared
        self._events.put(("outcome", job, (result, failure)))

    def _check_thread(self) -> None:
        if threading.get_ident() != self._home:
            raise RuntimeError("a job queue belongs to the thread that made it; from others, use the job's cancellation")


def _forget_traceback(error: BaseException | None) -> None:
    """A traceback holds frames, these hold volumes and nodes, and a panel may keep an ended job for long. The log has it by now."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
