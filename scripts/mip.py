"""The command line of MedImageParse for 3D Slicer; `python3 scripts/mip.py --help` lists the commands."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

if __name__ == "__main__":
    environment.reexec_if_present()
    try:
        from MedImageParseLib.cli.main import main
    except ModuleNotFoundError as error:
        print(
            f"error: The package {error.name} is not installed here: run `python3 scripts/try_it.py` once, which sets up all that is needed.",
            file=sys.stderr,
        )
        sys.exit(2)

    sys.exit(main())
