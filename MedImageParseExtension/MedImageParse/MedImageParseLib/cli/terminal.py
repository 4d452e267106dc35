"""What a person sees on the terminal: progress on stderr, results on stdout, and nothing else with --quiet."""

from __future__ import annotations

import sys
import threading
import time


class Terminal:
    """Progress as a line that changes where stderr is a terminal, as a line a stage elsewhere; silent when quiet."""

    def __init__(self, quiet: bool):
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._stage = ""
        self._width = 0
        self._last = 0.0

    def progress(self, stage: str, done: float, total: float) -> None:
        """A Progress callback; safe from several threads."""
        if self._quiet:
            return
        with self._lock:
            now = time.monotonic()
            if self._live:
                if stage == self._stage and now - self._last < 0.1 and done != total:
                    return
                line = _words(stage, done, total)
                sys.stderr.write("\r" + line.ljust(self._width))
                sys.stderr.flush()
                self._width = len(line)
            elif stage != self._stage:
                print(f"{stage} …", file=sys.stderr)
            self._stage, self._last = stage, now

    def say(self, sentence: str) -> None:
        """A line on stderr, unless quiet."""
        if not self._quiet:
            self.end()
            print(sentence, file=sys.stderr)

    def end(self) -> None:
        """Finish the changing line."""
        if self._live and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0


def _words(stage: str, done: float, total: float) -> str:
    if stage in ("uploading", "downloading"):
        return f"{stage} {done / 1e6:.1f}" + (f" of {total / 1e6:.1f} MB" if total else " MB")
    if stage in ("model working", "waiting to try again"):
        return f"{stage} {int(done) // 60}:{int(done) % 60:02d}"
    return f"{stage} {done:g} of {total:g}" if total else stage
