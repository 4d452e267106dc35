"""The command line of MedImageParse for 3D Slicer; `python3 scripts/mip.py --help` lists the commands."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

if __name__ == "__main__":
    environment.reexec_if_present()
    from MedImageParseLib.cli.main import main

    sys.exit(main())
