"""Pin everything that development and the automatic checks install, with hashes: `python3 scripts/lock_requirements.py [--check]`.

Writes requirements-lock.txt for all lists in pyproject.toml, Python 3.10 to 3.13, on Linux, Windows and macOS. `MEDIMAGEPARSE_LOCKED=1`
makes the other scripts install from it, so that a package that was exchanged on its way is refused. `--check` needs no network: it says
whether the lock still covers pyproject.toml. Users get the ranges of pyproject.toml, not these pins.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import environment

LOCK = environment.ROOT / "requirements-lock.txt"
OLDEST = "3.10"
_HEADER = """\
# Made by scripts/lock_requirements.py from pyproject.toml: do not edit, make it anew.
# Install with: pip install --require-hashes -r requirements-lock.txt
"""
_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)", re.MULTILINE)


def read_lock(text: str) -> dict[str, list[tuple[str, list[str]]]]:
    """What a lock pins: for each package (its normalized name) its versions, as a marker may choose one, each with its hashes.

    Args:
        text: the lock's content.
    """
    found: dict[str, list[tuple[str, list[str]]]] = {}
    entries = list(_ENTRY.finditer(text))
    for entry, following in zip(entries, [*entries[1:], None], strict=True):
        part = text[entry.start() : following.start() if following else len(text)]
        hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})", part)
        found.setdefault(normalized(entry["name"]), []).append((entry["version"], hashes))
    return found


def normalized(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras(root: Path = environment.ROOT) -> tuple[str, ...]:
    """The names under [project.optional-dependencies]."""
    part = (root / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    return tuple(re.findall(r"^([A-Za-z0-9_-]+)\s*=\s*\[", re.split(r"^\[", part, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE))


def problems(root: Path = environment.ROOT) -> list[str]:
    """What pyproject.toml asks for and the lock does not give, a line each."""
    from packaging.requirements import Requirement

    lock = read_lock((root / LOCK.name).read_text(encoding="utf-8"))
    found = [f"{name} {version} has no hash" for name, pins in lock.items() for version, hashes in pins if not hashes]
    for text in environment.dependencies(root, extras(root)):
        wanted = Requirement(text)
        pins = lock.get(normalized(wanted.name), [])
        if not pins:
            found.append(f"{text} is not in the lock")
        found += [f"{text} does not allow {version}" for version, _ in pins if not wanted.specifier.contains(version, prereleases=True)]
    return found


def make_lock(root: Path = environment.ROOT) -> None:
    """Resolve anew and write the lock. Raises SystemExit with a sentence where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "lock.txt"
        command = [
            sys.executable, "-m", "uv", "pip", "compile", str(root / "pyproject.toml"), "--all-extras", "--universal", "--python-version", OLDEST,
            "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet", "-o", str(made),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(
                f"error: The packages could not be resolved: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no reason'}"
            )
        (root / LOCK.name).write_text(_HEADER + made.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")


def main() -> int:
    """Returns 1 where --check finds the lock out of date."""
    parser = argparse.ArgumentParser(description="Pin all packages with hashes.")
    parser.add_argument("--check", action="store_true", help="only say whether the lock covers pyproject.toml")
    arguments = parser.parse_args()
    environment.ensure(("test", "dev"))
    if not arguments.check:
        make_lock()
    found = problems()
    for line in found:
        print(f"error: {line}; run python3 scripts/lock_requirements.py.", file=sys.stderr)
    print(f"{sum(map(len, read_lock(LOCK.read_text(encoding='utf-8')).values()))} pins in {LOCK.name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
