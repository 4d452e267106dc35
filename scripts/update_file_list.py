"""Writes the module's file list into its CMakeLists.txt: `python3 scripts/update_file_list.py`. Run it after adding, moving or removing files.

Slicer installs only what is listed there. Standard library only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "MedImageParseExtension" / "MedImageParse"


def files_of(folder: Path = MODULE) -> tuple[list[str], list[str]]:
    """(scripts, resources) below the module's folder, sorted; the module's own file is not among the scripts."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    scripts = [name for name in found if name.endswith(".py") and "/" in name]
    return scripts, [name for name in found if "/" in name and not name.endswith(".py")]


def main() -> int:
    """Rewrite the two lists. Returns 0."""
    path = MODULE / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    scripts, resources = files_of()
    for variable, names in (("MODULE_PYTHON_SCRIPTS", ["${MODULE_NAME}.py", *scripts]), ("MODULE_PYTHON_RESOURCES", resources)):
        block = f"set({variable}\n" + "".join(f"  {name}\n" for name in names) + "  )"
        text = re.sub(rf"set\({variable}\n[^)]*\)", lambda _match, block=block: block, text)
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(scripts) + 1} scripts and {len(resources)} resources are listed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
