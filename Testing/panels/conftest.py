"""Fixtures that the suites of this folder share."""

from __future__ import annotations

from panel_support import endpoint, opened
from search_panel_support import double, search

__all__ = ["double", "endpoint", "opened", "search"]
