"""Keep the chatter of C and C++ codecs off the terminal: what matters of it comes back as an exception with a sentence."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_lock = threading.Lock()
_inside = 0
_kept = -1


@contextmanager
def quiet_codecs() -> Iterator[None]:
    """Send file descriptor 2 to nowhere while a native codec (GDCM, libjpeg, libtiff) reads or writes a file.

    These libraries print warnings straight to the descriptor, past sys.stderr. The descriptor belongs to the whole process, so
    this counts who is inside and gives it back when the last one leaves. Where there is no such descriptor, nothing happens.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _kept
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        with suppress(OSError):  # a windowed program may have no descriptor 2
            _kept = os.dup(2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)


def _leave() -> None:
    global _inside, _kept
    with _lock:
        _inside -= 1
        if _inside == 0 and _kept >= 0:
            os.dup2(_kept, 2)
            os.close(_kept)
            _kept = -1
