"""The command line of MedImageParse for 3D Slicer; `python3 scripts/mip.py --help` lists the commands."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]


def start() -> int:
    """Move into the environment that is there, and run the command line in it. Returns its exit status."""
    try:
        import environment

        environment.reexec_if_present()
        from MedImageParseLib.cli.main import main
    except ModuleNotFoundError as error:
        print(
            f"error: The package {error.name} is not installed here: run `python3 scripts/try_it.py` once, which sets up all that is needed.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # before there is anything to cancel
        print("error: Cancelled.", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(start())
