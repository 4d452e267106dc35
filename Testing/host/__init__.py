"""A headless Slicer for tests: see README.md beside this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import Host

__all__ = ["Host"]


def __getattr__(name: str):
    """Qt is loaded when a Host is asked for, and its system libraries are looked for first."""
    if name != "Host":
        raise AttributeError(name)
    from . import system_libraries

    system_libraries.install_or_explain()
    from .host import Host

    return Host
