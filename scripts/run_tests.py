"""Run the test suites: `python3 scripts/run_tests.py [pytest's arguments]`. Sets up `.venv/` on the first run.

Paths among the arguments are counted from the repository's root. The exit status is pytest's: 0 passed, 1 failed, 2 stopped.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import environment


def main() -> int:
    """Run pytest in the repository's root."""
    environment.ensure(("test",))
    os.chdir(environment.ROOT)
    import pytest

    return int(pytest.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
