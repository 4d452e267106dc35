"""Where things lie, for the suites and the scripts."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "MedImageParseExtension" / "MedImageParse"
SHARED_DATA = ROOT.parent / "shared" / "data"
