"""What the command line is called where it was started, for sentences that name a command, and the Python that runs our processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

INSTALLED = "medimageparse"
_SCRIPT = "mip.py"  # of a checkout, in its folder scripts


NAME_FOR_PROCESSES = "MEDIMAGEPARSE_COMMAND"  # an environment variable, for processes of ours, which were started as something else


def command_name() -> str:
    """The word that a person types before a command: "mip.py" in a checkout, "medimageparse" everywhere else."""
    if named := os.environ.get(NAME_FOR_PROCESSES):
        return named
    return _SCRIPT if sys.argv and Path(sys.argv[0]).name == _SCRIPT else INSTALLED


def python_executable() -> str:
    """The Python for a process of ours: in Slicer its PythonSlicer, as the program there is no Python; else the one that runs this."""
    return shutil.which("PythonSlicer") or sys.executable
