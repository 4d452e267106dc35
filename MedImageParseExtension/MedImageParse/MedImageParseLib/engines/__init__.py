"""Engines that answer the models' contract on this computer (see interface), and which one does (see named, store)."""

from __future__ import annotations

from .hosting import Host, InProcess
from .named import DEFAULT, engine_class


def default_engine() -> Host:
    """The classical demo engine, in this process: it needs nothing."""
    return InProcess(engine_class(DEFAULT)())
