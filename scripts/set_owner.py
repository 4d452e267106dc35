"""Writes who owns this project wherever it has to stand: `python3 scripts/set_owner.py [OWNER "First Last (Institution)" ...]`.

The one place is pyproject.toml, [tool.owner]: `account`, the GitHub account or organization, and `contributors`. With arguments these are
set first. From there they go into CMakeLists.txt, MedImageParse.json, CITATION.cff and each module's file. `--check` writes nothing and
says whether everything agrees. Standard library only.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "SlicerMedImageParse"
_ACCOUNT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")


def owner(root: Path = ROOT) -> tuple[str, list[str]]:
    """(account, contributors) as pyproject.toml has them."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    account = re.search(r'^account = "([^"]*)"', text, flags=re.MULTILINE)
    names = re.search(r"^contributors = \[(.*)\]", text, flags=re.MULTILINE)
    if account is None or names is None:
        raise SystemExit("pyproject.toml lacks account or contributors below [tool.owner].")
    return account[1], re.findall(r'"([^"]*)"', names[1])


def files(root: Path = ROOT) -> list[Path]:
    """Where the owner stands, beside pyproject.toml."""
    modules = [path / f"{path.name}.py" for path in sorted((root / "MedImageParseExtension").iterdir()) if path.is_dir()]
    return [root / "CMakeLists.txt", root / "MedImageParse.json", root / "CITATION.cff", *(path for path in modules if path.is_file())]


def rewritten(path: Path, account: str, contributors: list[str]) -> str:
    """A file's text with this owner.

    Args:
        path: one of `files`.
        account: GitHub account or organization.
        contributors: people, "First Last (Institution)".
    """
    text = path.read_text(encoding="utf-8")
    for host in ("https://github.com/", "https://raw.githubusercontent.com/"):
        text = re.sub(rf"{re.escape(host)}[^/\s\"]+/{REPOSITORY}\b", f"{host}{account}/{REPOSITORY}", text)
    if path.name == "CMakeLists.txt":
        text = re.sub(r'(set\(EXTENSION_CONTRIBUTORS )"[^"]*"', lambda found: f'{found[1]}"{", ".join(contributors)}"', text)
    elif path.suffix == ".py":
        listed = ", ".join(f'"{name}"' for name in contributors)
        text = re.sub(r"(self\.parent\.contributors = )\[[^\]]*\]", lambda found: f"{found[1]}[{listed}]", text)
    elif path.suffix == ".cff":
        people = "".join(f"  - name: {name}\n" for name in contributors)
        text = re.sub(r"^authors:\n(?:  .*\n)+", lambda _found: f"authors:\n{people}", text, flags=re.MULTILINE)
    return text


def set_in_project(root: Path, account: str, contributors: list[str]) -> None:
    """Write the owner into pyproject.toml. Raises SystemExit for what is no account or name."""
    if not _ACCOUNT.fullmatch(account):
        raise SystemExit(f"'{account}' is not the name of a GitHub account.")
    if any(set(name) & set('"\\[]\n') or not name.strip() for name in contributors):
        raise SystemExit("A contributor is written as: First Last (Institution).")
    path = root / "pyproject.toml"
    text = re.sub(r'^account = "[^"]*"', f'account = "{account}"', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if contributors:
        listed = ", ".join(f'"{name}"' for name in contributors)
        text = re.sub(r"^contributors = \[.*\]", lambda _found: f"contributors = [{listed}]", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8", newline="\n")


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Returns 0, or 1 if --check finds a file that does not agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("account", nargs="?", default="", metavar="OWNER", help="GitHub account or organization")
    parser.add_argument("contributors", nargs="*", metavar="NAME", help='"First Last (Institution)"')
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args(argv)
    if arguments.account and not arguments.check:
        set_in_project(root, arguments.account, arguments.contributors)
    account, contributors = owner(root)
    differing = []
    for path in files(root):
        new = rewritten(path, account, contributors)
        if new != path.read_text(encoding="utf-8"):
            differing.append(path.name)
            if not arguments.check:
                path.write_text(new, encoding="utf-8", newline="\n")
    print(f"{'Not as in pyproject.toml' if arguments.check else 'Written'}: {', '.join(differing)}" if differing else "Every file agrees.")
    return 1 if differing and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
