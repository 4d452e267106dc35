"""Fixtures that the suites of this folder share."""

from __future__ import annotations

from cli_support import bench, served

__all__ = ["bench", "served"]
