"""Qt's event loop with the GIL held, as in Slicer, where the loop is C++ and Python threads get no time while it idles.

PySide6 releases the GIL in its loop. Here the loop is entered through ctypes.PyDLL, which keeps it. Where that cannot be done (the
symbol names are those of Linux), `why_not()` says so and the loop is PySide6's own.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

from PySide6 import QtCore

_ENOUGH = 10_000_000  # references to None that no session uses up
_EXEC = "_ZN16QCoreApplication4execEv"
_PROCESS_EVENTS = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"


@functools.cache
def _library() -> ctypes.PyDLL | str:
    if not sys.platform.startswith("linux"):
        return f"holding the GIL in Qt's loop is done on Linux only, and this is {sys.platform}"
    path = Path(QtCore.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"
    try:
        library = ctypes.PyDLL(str(path))
        getattr(library, _EXEC), getattr(library, _PROCESS_EVENTS)
    except (OSError, AttributeError) as error:
        return f"PySide6's Qt library cannot be entered directly: {error}"
    return library


def keep_none_alive() -> None:
    """Make up for a fault of PySide: each of its calls that returns nothing gives back a reference to None that it has not taken.

    A long session frees None so, and Python ends at once. From Python 3.12 on None is never freed, and there is nothing to do.
    """
    if sys.version_info < (3, 12) and sys.getrefcount(None) < _ENOUGH:
        ctypes.c_ssize_t.from_address(id(None)).value += 2 * _ENOUGH


def why_not() -> str | None:
    """Why the GIL cannot be held here, or None where it can."""
    library = _library()
    return library if isinstance(library, str) else None


def run(seconds: float) -> None:
    """Let the window idle: nothing happens but what events, timers and the clock bring."""
    # Named as a slot, so that no Python runs at the end either.
    QtCore.QTimer.singleShot(max(0, int(seconds * 1000)), QtCore.QCoreApplication.instance(), QtCore.SLOT("quit()"))
    enter()


def enter() -> None:
    """Run Qt's loop until somebody calls QCoreApplication.quit()."""
    library = _library()
    if isinstance(library, str):
        QtCore.QCoreApplication.exec()
    else:
        getattr(library, _EXEC)()


def process_events() -> None:
    """What waits is handled, the GIL held."""
    library = _library()
    if isinstance(library, str):
        QtCore.QCoreApplication.processEvents()
    else:
        getattr(library, _PROCESS_EVENTS)(ctypes.c_int(0))
