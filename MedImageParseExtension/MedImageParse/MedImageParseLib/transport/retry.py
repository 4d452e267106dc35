"""Whether and when a failed request is sent again.

| fault                                         | again                                                          |
|-----------------------------------------------|----------------------------------------------------------------|
| connection refused, unreachable or lost       | yes                                                            |
| name not known                                | once, and only if the look-up says "not for now"               |
| 429, 502, 503, 504                            | yes, after Retry-After where the endpoint says it              |
| 500                                           | once                                                           |
| 424                                           | once, and only if the model's own status is 502 or 503         |
| 401                                           | once, after a new token (the client's matter, not decided here)|
| timeouts, 400, 403, 404, 408, 413, the rest   | never: the same request would meet the same end                |

Waiting is exponential with full jitter, so that many clients do not come back in step; all the waiting of one request has a budget.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..progress import Cancellation, Progress
from .faults import Fault, duration

_ONCE = {"500", "424", "name"}
_AGAIN = {"refused", "unreachable", "lost", "429", "502", "503", "504"} | _ONCE
_BUSY_BASE = 2.0  # seconds; a busy model needs longer than a broken connection
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

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
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
                self.stopped_by = f"it asks to wait {duration(fault.retry_after)}, more than the {duration(max(left, 0))} left for waiting"
                return None
            return min(left, fault.retry_after + random.uniform(0, min(1.0, 0.1 * fault.retry_after)))
        base = self.policy.base * (_BUSY_BASE if fault.kind == "429" else 1.0)
        wait = random.uniform(0, min(self.policy.longest, base * 2 ** (self.tries - 1)))
        if left <= 0:
            self.stopped_by = f"the {duration(self.policy.wait_budget)} for waiting are used up"
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
        if fault.kind == "424":
            return fault.model_status in (502, 503)
        return fault.kind != "name" or fault.is_temporary


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait from a Retry-After header: a number of seconds, or an HTTP date (RFC 9110, section 10.2.3).

    Args:
        value: the header, "" if absent.
        now: the time that the date is counted from, in seconds since 1970: the reply's own Date where it has one, so that a wrong
            clock here does not matter.

    Returns:
        seconds, never negative; None if absent or unreadable.
    """
    text = value.strip()
    if not text:
        return None
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return float(text)
    seconds = parse_http_date(text)
    return None if seconds is None else max(0.0, seconds - now)


def parse_http_date(value: str) -> float | None:
    """An HTTP date as seconds since 1970, None if it is none."""
    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
