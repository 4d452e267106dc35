"""Run the test suites: `python3 scripts/run_tests.py [--quick] [pytest's arguments]`. Sets up `.venv/` on the first run.

Without a path among the arguments all suites run, in one process more than there are cores, as many tests wait for a server. `--quick`
leaves out the slow ones and those that start real servers: about a minute, for the working day. Paths are counted from the repository's
root. The exit status is pytest's: 0 passed, 1 failed, 2 stopped.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import environment

QUICK = ["-m", "not slow and not servers"]


def arguments_for(given: list[str], cores: int) -> list[str]:
    """Pytest's arguments for what a person typed.

    Args:
        given: the command line after the script's name.
        cores: how many processes may work at once.
    """
    rest = [each for each in given if each != "--quick"]
    wanted = [*QUICK, *rest] if "--quick" in given else rest
    names_paths = any(Path(environment.ROOT, each.split("::")[0]).exists() for each in rest if not each.startswith("-"))
    if names_paths or cores < 2 or any(each == "-n" or each.startswith(("-n", "--numprocesses")) for each in rest):
        return wanted
    return ["-n", str(cores + 1), "--dist", "worksteal", *wanted]


def main() -> int:
    """Run pytest in the repository's root."""
    environment.ensure(("test",))
    os.chdir(environment.ROOT)
    # Hundreds of programs are started, and each process reads all suites: compiled once is a minute less.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    import pytest

    return int(pytest.main(arguments_for(sys.argv[1:], os.cpu_count() or 1)))


if __name__ == "__main__":
    sys.exit(main())
