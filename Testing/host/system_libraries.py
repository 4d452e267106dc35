"""The system libraries that Qt needs on a bare Linux, and the fonts that screenshots are written with."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Library that PySide6's QtWidgets or its offscreen platform loads → Debian or Ubuntu package that brings it.
_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libzstd.so.1": "libzstd1",
}
_FONT_PACKAGE = "fonts-dejavu-core"


class SystemLibrariesError(Exception):
    """What is missing and the one command that brings it."""


def missing() -> list[str]:
    """Packages to install before PySide6's widgets can be imported; empty on other systems than Linux."""
    if not sys.platform.startswith("linux"):
        return []
    absent = []
    for library, package in _PACKAGES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            absent.append(package)
    if not font_files() and not any(Path("/usr/share/fonts").rglob("*.ttf")):
        absent.append(_FONT_PACKAGE)
    return absent


def install_or_explain() -> None:
    """Install what is missing where that is allowed (root on a system with apt).

    Raises:
        SystemLibrariesError: it is not, or installing failed; the sentence has the command.
    """
    absent = missing()
    if not absent:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *absent]
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "check": False}
        subprocess.run(["apt-get", "update"], **quiet)
        subprocess.run(command, **quiet)
        absent = missing()
        if not absent:
            return
    raise SystemLibrariesError(f"Qt's windows need system libraries that are missing; run: sudo apt-get update && sudo {' '.join(command)}")


def font_files() -> list[Path]:
    """DejaVu as matplotlib ships it (vtk brings matplotlib), for machines that have no font."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf").glob("DejaVuSans*.ttf"))
