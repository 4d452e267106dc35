"""What the command line is called where it was started, for help and for sentences that name a command."""

from __future__ import annotations

import sys
from pathlib import Path

INSTALLED = "medimageparse"
_SCRIPT = "mip.py"  # of a checkout, in its folder scripts


def command_name() -> str:
    """The word that a person types before a command: "mip.py" in a checkout, "medimageparse" everywhere else."""
    return _SCRIPT if sys.argv and Path(sys.argv[0]).name == _SCRIPT else INSTALLED
