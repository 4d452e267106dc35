"""Try everything on a synthetic CT: `python3 scripts/try_it.py [--volume FILE] [--prompt "A & B"] [--output FOLDER]`.

Sets up `.venv/` on the first run and goes on as the command `try-it` does: it makes a phantom CT, starts the local endpoint, segments the
CT through it, compares with the truth, and prints where the segmentation and the picture are: the last two lines are their paths.
"""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
sys.path[:0] = [str(SCRIPTS), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

if __name__ == "__main__":
    environment.ensure()
    from MedImageParseLib.cli.main import main

    sys.exit(main(["try-it", "--output", str(ROOT / "try_it_output"), *sys.argv[1:]]))
