"""How far a whole run is, at what rate, and how long it will still take: one line, from what its steps and its workers tell."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# What a run counts, by the stage that tells the count: several of it, and one of it.
_COUNTED = {
    "slices": ("slices", "a slice"),
    "frames": ("frames", "a frame"),
    "replies": ("replies", "a reply"),
    "embedding": ("images", "an image"),
    "measuring": ("cases", "a case"),
    "cases": ("cases", "a case"),
}
# What the workers of a run tell, each of its own request: several at once would contradict each other and hide the count.
_OF_A_WORKER = ("uploading", "model working", "downloading", "waiting to try again")
_RECENT = 16  # counts from which the rate is taken: an endpoint's slow start is forgotten, one slow reply is not all there is
_MEGABYTE = 1e6


class RunProgress:
    """The line of a run. It only keeps what it is told; the caller guards it where several threads tell.

    Args:
        clock: seconds, from any beginning.

    Examples:
        >>> seconds = iter([0.0, 21.0, 21.0])
        >>> run = RunProgress(lambda: next(seconds))
        >>> run.told("slices", 0, 76)
        >>> run.told("slices", 10, 76)
        >>> run.line()
        'slices 10 of 76, 2.1 s a slice, 2:19 left'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._stage, self._step_done, self._step_total = "", 0.0, 0.0  # what was told last and is no count
        self._counted = ""  # the stage that is counted, "" where nothing is
        self._total = 0.0
        self._began = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT + 1)  # (seconds, done) at each new count

    @property
    def is_counting(self) -> bool:
        """Whether the line is a count of the run."""
        return bool(self._counted)

    @property
    def is_worker(self) -> bool:
        """Whether the line is about one request, because the run consists of one."""
        return not self._counted and self._stage in _OF_A_WORKER

    @property
    def subject(self) -> str:
        """What the line is about: the stage that is counted or the step."""
        return self._counted or self._stage

    @property
    def done(self) -> float:
        """How many are done; 0 where nothing is counted."""
        return self._recent[-1][1] if self._counted else 0.0

    @property
    def total(self) -> float:
        """How many there are; 0 where that is not known."""
        return self._total if self._counted else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether all that is counted is done."""
        return self._counted != "" and 0 < self._total <= self.done

    def told(self, stage: str, done: float, total: float) -> None:
        """A Progress callback: takes down a count or a step. A worker's step is passed over as long as the run's count goes on."""
        if stage in _COUNTED and total != 1:
            self._count(stage, done, total)
        elif not (self._counted and not self.is_complete and stage in _OF_A_WORKER):
            self._counted = ""
            self._stage, self._step_done, self._step_total = stage, done, total

    def line(self) -> str:
        """The line as it stands now, "" before anything was told."""
        if not self._counted:
            return _step(self._stage, self._step_done, self._step_total)
        several, one = _COUNTED[self._counted]
        line = f"{several} {self.done:g}" + (f" of {self._total:g}" if self._total else "")
        seconds = self.seconds_each()
        if seconds is None:
            return f"{line}, {_minutes(self._clock() - self._began)} so far"
        line += f", {_seconds(seconds)} s {one}"
        return line if not self._total or self.is_complete else f"{line}, {_minutes((self._total - self.done) * seconds)} left"

    def seconds_each(self) -> float | None:
        """Seconds from one to the next, lately, with all workers together; None before the first.

        An endpoint that has stopped to answer makes it longer: the next one cannot have taken less than what has passed already.
        """
        (first, before), (last, done) = self._recent[0], self._recent[-1]
        if done <= before:
            return None
        rate = (last - first) / (done - before)
        return rate if self.is_complete else max(rate, (self._clock() - first) / (done - before + 1))

    def _count(self, stage: str, done: float, total: float) -> None:
        now = self._clock()
        if stage != self._counted or done < self.done:
            self._counted, self._began = stage, now
            self._recent.clear()
        self._total = total
        if not self._recent or done > self.done:
            self._recent.append((now, done))


def _step(stage: str, done: float, total: float) -> str:
    if stage in ("uploading", "downloading"):
        return f"{stage} {done / _MEGABYTE:.1f}" + (f" of {total / _MEGABYTE:.1f} MB" if total else " MB")
    if stage in ("model working", "waiting to try again"):
        return f"{stage} {_minutes(done)}"
    return f"{stage} {done:g} of {total:g}" if total else stage


def _minutes(seconds: float) -> str:
    """Minutes and seconds, with the hours in front where there are any."""
    whole = int(seconds + 0.5)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:0{2 if hours else 1}d}:{whole % 60:02d}"


def _seconds(seconds: float) -> str:
    """Two digits that tell something, never more than a clock can promise."""
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"
