"""Check the rules of the Extensions Index, style and types: `python3 scripts/check_code.py [--fix]`. check_index.py, ruff (rules and format), mypy,
as `.ci/run` does.

Sets up `.venv/` on the first run. The exit status is 0 when none finds anything.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import environment


def main() -> int:
    """Run the checks in the repository's root; each prints what it finds."""
    environment.ensure(("test", "dev"))
    fix = "--fix" in sys.argv[1:]
    checks = (
        ["ruff", "check", *(["--fix"] if fix else []), "."],
        ["ruff", "format", *([] if fix else ["--check"]), "."],
        ["mypy"],
    )
    failed = 0
    index = [sys.executable, str(environment.ROOT / "scripts" / "check_index.py")]
    print("$ check_index.py", flush=True)
    failed += subprocess.run(index, check=False).returncode != 0
    for check in checks:
        print("$ " + " ".join(check), flush=True)
        failed += subprocess.run([sys.executable, "-m", *check], cwd=environment.ROOT, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
