"""Fixtures that the suites of this folder share."""

from __future__ import annotations

from logic_support import logic, scene

__all__ = ["logic", "scene"]
