"""How long work tells of its progress, and how a person stops it. Plain Python: no Qt, no threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import Cancelled

# progress(stage, done, total): stage is a plain word ("preparing", "uploading", "model working", "importing");
# done and total are bytes for "uploading" and "downloading", seconds for "model working" and "waiting to try again",
# else counts; total 0 means not known.
Progress = Callable[[str, float, float], None]


def no_progress(stage: str, done: float, total: float) -> None:
    """Says nothing."""


class Cancellation:
    """A switch that any thread may turn once; work looks at it between steps.

    Examples:
        >>> cancellation = Cancellation()
        >>> cancellation.cancel()
        >>> cancellation.is_cancelled
        True
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        """Stop the work. Safe from any thread, any number of times."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when cancelled (at once if that has happened already), in the cancelling thread.

        Returns:
            a function that takes the callback back.
        """
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def check(self) -> None:
        """Raises Cancelled if the person has stopped the work."""
        if self._event.is_set():
            raise Cancelled()

    def wait(self, seconds: float) -> None:
        """Sleep that ends early, with Cancelled, when the person stops the work."""
        self._event.wait(seconds)
        self.check()

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
