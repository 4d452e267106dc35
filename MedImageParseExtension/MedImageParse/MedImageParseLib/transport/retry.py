"""Whether and when a failed request is sent again.

| fault                                         | again                                                          |
|-----------------------------------------------|----------------------------------------------------------------|
| connection refused, unreachable or lost       | yes                                                            |
| name not known                                | once, and only if the look-up says "not for now"               |
| 429, 502, 503                                 | yes, after Retry-After where the endpoint says it              |
| 500                                           | once                                                           |
| 504, "stream timeout"                         | once, after a longer pause: the model may still be computing;  |
|                                               | never where the caller sends less at once in place of it       |
| 424                                           | once, and only if the model's own status is 502 or 503         |
| 424 with the model's status 408, 413 or 429   | as 408, 413 or 429                                             |
| 401                                           | once, after a new token (the client's matter, not decided here)|
| timeouts, 400, 403, 404, 408, 413, the rest   | never: the same request would meet the same end                |

Waiting is exponential with full jitter, so that many clients do not come back in step; all the waiting of one request has a budget.

How many requests may be at an endpoint at once: a ceiling that finds its height by itself.

Additive increase, multiplicative decrease, as TCP does it: up while the endpoint takes them, a quarter down when it answers 429. What
an endpoint takes at once shows before the first reply: 429 comes promptly, a model's reply does not, so a request that has been waiting
for a while has been let in. The window stays within two of what has been let in at the same time, so that an endpoint which takes C at
once sees C + 2 at the very most, and yet C are on their way within a fraction of a second.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections import Counter
from dataclasses import dataclass

from ..progress import Cancellation, Progress
from ..remedies import Sentence
from .faults import Fault, duration

_ONCE = {"500", "504", "424", "name"}
_AGAIN = {"refused", "unreachable", "lost", "429", "502", "503"} | _ONCE
_BUSY_BASE = 2.0  # times the policy's base; a busy model needs longer than a broken connection
_PAUSE_BASE = 10.0  # times the policy's base, at the least, before a model that was too slow for its gateway is asked again
_TELL_EVERY = 0.2


@dataclass(slots=True, frozen=True)
class RetryPolicy:
    """How stubborn to be.

    Attributes:
        tries: in total, the first included.
        wait_budget: seconds of waiting between tries, in all.
        base: seconds; the n-th wait is drawn from 0 to base * 2**(n - 1).
        longest: seconds that one wait of that kind takes at most.
    """

    tries: int = 5
    wait_budget: float = 300.0
    base: float = 1.0
    longest: float = 60.0


class Persistence:
    """The retries of one request: counts them, and their waiting."""

    def __init__(self, policy: RetryPolicy, *, slow_again: bool = True) -> None:
        self.policy = policy
        self._slow_again = slow_again
        self.tries = 0
        self.waited = 0.0
        self.stopped_by = ""
        self._seen: Counter[str] = Counter()

    def has_another_try(self) -> bool:
        """Whether the policy allows one more try at all."""
        return self.tries < max(1, self.policy.tries)

    def next_wait(self, fault: Fault) -> float | None:
        """Seconds to wait before sending again; None when this was the last try.

        `stopped_by` then holds a clause for the sentence, "" where there is nothing to add.
        """
        self._seen[fault.kind] += 1
        if not self._is_worth_it(fault) or not self.has_another_try():
            return None
        left = self.policy.wait_budget - self.waited
        if fault.retry_after is not None:
            if fault.retry_after > left:
                self.stopped_by = Sentence(
                    "it asks to wait {duration}, more than the {duration2} left for waiting",
                    duration=duration(fault.retry_after),
                    duration2=duration(max(left, 0)),
                )
                return None
            return min(left, fault.retry_after + random.uniform(0, min(1.0, 0.1 * fault.retry_after)))
        base = self.policy.base * (_BUSY_BASE if fault.kind == "429" else 1.0)
        least = min(self.policy.longest, self.policy.base * _PAUSE_BASE) if fault.kind == "504" else 0.0
        wait = least + random.uniform(0, min(self.policy.longest, base * 2.0 ** min(self.tries - 1, 60)))
        if left <= 0:
            self.stopped_by = Sentence("the {duration} for waiting are used up", duration=duration(self.policy.wait_budget))
            return None
        return min(wait, left)

    def wait(self, seconds: float, progress: Progress, cancellation: Cancellation) -> None:
        """Wait with a countdown: progress("waiting to try again", seconds left, seconds in all).

        Raises:
            Cancelled: at once, when the person stops it.
        """
        end = time.monotonic() + seconds
        self.waited += seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return
            progress("waiting to try again", left, seconds)
            cancellation.wait(min(left, _TELL_EVERY))

    def _is_worth_it(self, fault: Fault) -> bool:
        if fault.kind not in _AGAIN:
            return False
        if fault.kind in _ONCE and self._seen[fault.kind] > 1:
            return False
        if fault.kind == "504" and not self._slow_again:
            return False
        if fault.kind == "424":
            return fault.model_status in (502, 503)
        return fault.kind != "name" or fault.is_temporary


FIRST_WINDOW = 3  # an endpoint takes at least one request at once, and 3 = 1 + 2
_SLOW = 8  # at a height that got 429 once, growth is this much slower
_LOOK = 0.05  # seconds between two looks of those who wait for a turn
_LONGEST_PATIENCE = 5.0  # seconds
LONGEST_PAUSE = 300.0  # seconds; who is asked to wait longer gives up, and the others are not held up by that


@dataclass(slots=True, eq=False)
class Slot:
    """Leave to have one request at the endpoint.

    Attributes:
        rank: how many were there when it was given, this one included.
        epoch: how often the window had been lowered by then.
        waiting_since: when its upload was complete, 0 before that.
    """

    rank: int
    epoch: int
    waiting_since: float = 0.0


class Limiter:
    """The ceiling of one endpoint, shared by every client of it in this process. Safe from any thread.

    Args:
        patience: seconds after its upload in which a request that is one too many would have got its 429; it grows when one takes longer.
    """

    def __init__(self, patience: float = 0.5) -> None:
        self._changed = threading.Condition()
        self._inside: set[Slot] = set()
        self._window = FIRST_WINDOW
        self._let_in = 0  # the most that were let in at the same time
        self._succeeded = 0  # the highest rank of a request that succeeded
        self._wall = 0  # the height at which 429 came last; 0: never
        self._streak = 0
        self._epoch = 0
        self._patience = patience
        self._closed_until = 0.0  # the endpoint asked to be left alone till then

    @property
    def in_flight(self) -> int:
        return len(self._inside)

    @property
    def window(self) -> int:
        return self._window

    def enter(self, maximum: int, cancellation: Cancellation) -> Slot:
        """Wait for a turn.

        Args:
            maximum: never more than this at once, whatever the endpoint would take.
            cancellation: ends the waiting: Cancelled is raised.

        Raises:
            Cancelled: while waiting.
        """
        with self._changed:
            while True:
                until = self._notice_who_was_let_in()
                closed = self._closed_until - time.monotonic()
                if closed <= 0 and len(self._inside) < max(1, min(self._window, maximum)):
                    break
                self._changed.wait(until)
                cancellation.check()
            slot = Slot(len(self._inside) + 1, self._epoch)
            self._inside.add(slot)
            return slot

    def uploaded(self, slot: Slot) -> None:
        """The request of this slot has been sent to its last byte."""
        with self._changed:
            slot.waiting_since = time.monotonic()

    def leave(self, slot: Slot, status: int, retry_after: float = 0.0) -> None:
        """Give the turn back, and learn from how it went.

        Args:
            slot: of the request.
            status: HTTP status; 0: nothing to learn.
            retry_after: seconds for which the endpoint asks to be left alone, which then counts for every request.
        """
        with self._changed:
            if 0 < retry_after <= LONGEST_PAUSE:
                self._closed_until = max(self._closed_until, time.monotonic() + retry_after)
            if status == 200:
                self._grow(slot)
            elif status == 429:
                if slot.waiting_since:
                    self._patience = max(self._patience, min(_LONGEST_PATIENCE, 3 * (time.monotonic() - slot.waiting_since)))
                if slot.epoch == self._epoch:
                    self._shrink()
            self._inside.discard(slot)
            self._changed.notify(2)  # one takes the place, one more in case the window grew; waking all of them costs time

    def _notice_who_was_let_in(self) -> float:
        """Raise the window by those that have waited long enough; seconds until it is worth looking again."""
        now = time.monotonic()
        waits = [now - slot.waiting_since for slot in self._inside if slot.waiting_since]
        let_in = sum(wait >= self._patience for wait in waits)
        if let_in > self._let_in:
            self._let_in = let_in
            if let_in >= self._wall:
                self._wall = 0
            self._window = max(self._window, min(let_in + 2, self._wall - 1) if self._wall else let_in + 2)
            self._changed.notify_all()
        return min([_LOOK, *(self._patience - wait for wait in waits if wait < self._patience)])

    def _grow(self, slot: Slot) -> None:
        self._succeeded = max(self._succeeded, min(slot.rank, self._window))
        self._streak += 1
        needed = self._window * (_SLOW if self._wall and self._window + 1 >= self._wall else 1)
        if self._streak >= needed and self._window <= self._succeeded:
            self._window += 1
            self._streak = 0

    def _shrink(self) -> None:
        # Answers to requests of before this point tell nothing new: one burst lowers the window once.
        self._epoch += 1
        self._wall = len(self._inside)
        self._window = max(1, min(self._window, len(self._inside)) * 3 // 4)
        self._let_in = min(self._let_in, self._window - 1)
        self._succeeded = min(self._succeeded, self._window)
        self._streak = 0


_limiters: weakref.WeakValueDictionary[tuple[str, str], Limiter] = weakref.WeakValueDictionary()
_limiters_lock = threading.Lock()


def limiter_for(name: str, deployment: str, *, is_loopback: bool = False) -> Limiter:
    """The one limiter of an endpoint (its URL without query) and deployment."""
    with _limiters_lock:
        limiter = _limiters.get((name, deployment))
        if limiter is None:
            limiter = _limiters[name, deployment] = Limiter(0.08 if is_loopback else 0.5)
        return limiter
