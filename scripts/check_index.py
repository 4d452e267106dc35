"""Checks the repository by the rules of the Slicer Extensions Index, as far as they can be checked here: `python3 scripts/check_index.py`.

Source of the rules: github.com/Slicer/ExtensionsIndex (its scripts and its pull request's checklist) and the schema of extension
descriptions in github.com/Slicer/Slicer, both as of August 2026. What needs the network (does GitHub have the repository, its topics, its
pictures?) is checked there when the extension is submitted. Standard library only.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import set_owner

NAME = "MedImageParse"
# Fields of an extension's description, schema 1.0.2: name and type; the first three are required.
_FIELDS = {
    "$schema": str, "category": str, "scm_url": str, "scm_revision": str, "scm_type": str, "build_dependencies": list,
    "dicom_support_rule": str, "build_subdirectory": str, "enabled": bool, "tier": int,
}  # fmt: skip
_REQUIRED = ("$schema", "category", "scm_url")
_SCHEMA = re.compile(
    r"https://raw\.githubusercontent\.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v\d+\.\d+\.\d+\.json#?"
)
_LARGEST_MB = 100
_SMALLEST_ICON = 128  # pixels


def faults(root: Path = ROOT) -> list[str]:
    """What the index would refuse or ask about, a sentence each.

    Args:
        root: of the repository.
    """
    description = (root / f"{NAME}.json").read_bytes()
    cmake = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    return [
        *_description_faults(description), *_cmake_faults(root, cmake, json.loads(description)), *_page_faults(root, cmake),
        *_repository_faults(root),
    ]  # fmt: skip


def _description_faults(content: bytes) -> list[str]:
    fields = json.loads(content)
    found = [f"{NAME}.json lacks {name}." for name in _REQUIRED if not fields.get(name)]
    found += [f"{NAME}.json has the unknown field {name}." for name in fields if name not in _FIELDS]
    found += [
        f"{NAME}.json: {name} is not a {_FIELDS[name].__name__}."
        for name in fields
        if name in _FIELDS and not isinstance(fields[name], _FIELDS[name])
    ]
    if b"\r" in content:
        found.append(f"{NAME}.json has line ends other than LF.")
    if not _SCHEMA.fullmatch(fields.get("$schema", "")):
        found.append("$schema is not the address of a version of Slicer's schema.")
    address = re.fullmatch(r"https://github\.com/[^/]+/(Slicer[^/]*?)(?:\.git)?", fields.get("scm_url", ""))
    if not address or address[1] != f"Slicer{NAME}":
        found.append(f"scm_url does not end in Slicer{NAME}.")
    if fields.get("tier") not in (1, 3, 5):
        found.append("tier is none of 1, 3 and 5.")
    if fields.get("category") != "Segmentation":
        found.append("The category is not Segmentation.")
    return found


def _set(cmake: str, name: str) -> str:
    found = re.search(rf'set\({name} "([^"]+)"\)', cmake)
    return found[1] if found else ""


def _cmake_faults(root: Path, cmake: str, fields: dict) -> list[str]:
    found = []
    if not re.search(rf"project\({NAME}\)", cmake):
        found.append(f"CMakeLists.txt does not say project({NAME}).")
    found += [f"CMakeLists.txt does not set EXTENSION_{word}." for word in (
        "HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS") if not _set(cmake, f"EXTENSION_{word}")]  # fmt: skip
    if _set(cmake, "EXTENSION_CATEGORY") != fields.get("category"):
        found.append("The category in CMakeLists.txt is not that of the description.")
    depends = _set(cmake, "EXTENSION_DEPENDS").replace("NA", "").split()
    if depends != fields.get("build_dependencies", []):
        found.append("EXTENSION_DEPENDS is not build_dependencies.")
    description = _set(cmake, "EXTENSION_DESCRIPTION")
    if not 1 <= len(re.findall(r"\.(?:\s|$)", description)) <= 4:
        found.append("EXTENSION_DESCRIPTION has not one to four sentences.")
    homepage = fields.get("scm_url", "").removesuffix(".git")
    if _set(cmake, "EXTENSION_HOMEPAGE") != homepage:
        found.append("EXTENSION_HOMEPAGE is not the repository.")
    raw = homepage.replace("https://github.com/", "https://raw.githubusercontent.com/") + f"/{fields.get('scm_revision')}/"
    for word in ("ICONURL", "SCREENSHOTURLS"):
        for url in _set(cmake, f"EXTENSION_{word}").split():
            path = root / url.removeprefix(raw)
            if not url.startswith(raw) or not path.is_file():
                found.append(f"EXTENSION_{word} names {url}, which is no picture of this repository.")
            elif word == "ICONURL" and min(_png_size(path)) < _SMALLEST_ICON:
                found.append("The icon is smaller than 128 x 128 pixels.")
    return found


def _png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" else (0, 0)


def _page_faults(root: Path, cmake: str) -> list[str]:
    """The homepage is the README."""
    page = (root / "README.md").read_text(encoding="utf-8")
    modules = [Path(folder).name for folder in re.findall(r"add_subdirectory\((MedImageParseExtension/\w+)\)", cmake)]
    table = page.partition("## Modules")[2].partition("\n## ")[0]
    found = [
        f"README.md has no sentence on the module {name}."
        for name in modules
        if not re.search(rf"^\| {name} \| .+\. \|", table, re.MULTILINE)
    ]
    for what, pattern in {
        "the extension's name": rf"^# {NAME}", "a picture": r"!\[[^\]]+\]\([^)]+\.png\)", "a publication": r"doi\.org|arxiv\.org",
        "the name of the license": r"\bMIT\b", "a sentence on patents": r"\bpatents\b", "a tutorial": r"docs/tutorial\.md",
        "the sample data": r"Sample Data",
    }.items():  # fmt: skip
        if not re.search(pattern, page, re.MULTILINE):
            found.append(f"README.md lacks {what}.")
    return found


def _repository_faults(root: Path) -> list[str]:
    found = [] if (root / "LICENSE.txt").is_file() else ["LICENSE.txt is missing."]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False).stdout.split("\0")
    size = sum((root / name).stat().st_size for name in listed if name and (root / name).is_file()) / 1e6
    if size > _LARGEST_MB:
        found.append(f"The repository has {size:.0f} MB; the index takes {_LARGEST_MB}.")
    binaries = [name for name in listed if name.endswith((".exe", ".dll", ".so", ".dylib", ".whl", ".pkl", ".zip", ".jar"))]
    if binaries:
        found.append(f"The repository holds binaries: {', '.join(binaries)}.")
    account, contributors = set_owner.owner(root)
    for path in set_owner.files(root):
        if set_owner.rewritten(path, account, contributors) != path.read_text(encoding="utf-8"):
            found.append(f"{path.name} names another owner than pyproject.toml: run python3 scripts/set_owner.py.")
    return found


def main() -> int:
    """Returns 0 if nothing is found."""
    found = faults()
    print("\n".join(found) or "The index's rules that can be checked here are kept.")
    if set_owner.owner()[0] == "OWNER":
        print("The owner is not set yet: python3 scripts/set_owner.py ACCOUNT NAME …, before the extension is submitted.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
