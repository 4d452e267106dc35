"""Which files of a scripted module Slicer installs: those that its CMakeLists.txt lists, and no others."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

_SET = re.compile(r"set\s*\(\s*(\w+)\s+([^)]*)\)", re.IGNORECASE)
_MACRO = re.compile(r"slicerMacroBuildScriptedModule\s*\(([^)]*)\)", re.IGNORECASE)
_KEYWORDS = ("NAME", "SCRIPTS", "RESOURCES", "WITH_GENERIC_TESTS", "WITH_SUBDIR", "VERBOSE")


class ModuleFilesError(AssertionError):
    """A file that Slicer would not find, or that the build would miss."""


def listed(folder: Path) -> set[Path]:
    """Absolute paths that `folder`/CMakeLists.txt gives to slicerMacroBuildScriptedModule as scripts and resources.

    Raises:
        ModuleFilesError: no CMakeLists.txt, no such macro, or a listed file that does not exist.
    """
    source = folder / "CMakeLists.txt"
    if not source.is_file():
        raise ModuleFilesError(f"{source.name} is missing in {folder.name}: Slicer would install nothing.")
    root = os.path.realpath(folder)
    files = set(_listed_in(source.read_text(encoding="utf-8"), root, folder.name))
    absent = sorted(os.path.relpath(each, root) for each in files if not os.path.isfile(each))
    if absent:
        raise ModuleFilesError(f"{folder.name}/CMakeLists.txt lists files that do not exist: {', '.join(absent)}")
    return files


@functools.lru_cache(maxsize=16)
def _listed_in(text: str, root: str, called: str) -> frozenset[Path]:
    """The paths that a CMakeLists.txt gives to the macro; hundreds of hosts read the same one."""
    text = re.sub(r"#[^\n]*", "", text)
    variables: dict[str, list[str]] = {}
    for name, body in _SET.findall(text):
        variables[name] = _expand(body, variables)
    macro = _MACRO.search(text)
    if macro is None:
        raise ModuleFilesError(f"{called}/CMakeLists.txt does not call slicerMacroBuildScriptedModule.")
    files: set[Path] = set()
    keyword = ""
    for word in _expand(macro.group(1), variables):
        if word in _KEYWORDS:
            keyword = word
        elif keyword in ("SCRIPTS", "RESOURCES"):
            name = word if keyword == "RESOURCES" or word.endswith(".py") else word + ".py"
            files.add(Path(os.path.normpath(os.path.join(root, name))))
    return frozenset(files)


def unlisted(folder: Path, files: set[Path], suffixes: tuple[str, ...] = (".py", ".ui", ".json", ".png", ".svg", ".csv")) -> list[str]:
    """Files below `folder` that look like parts of the module and are not listed, as paths relative to it."""
    root = folder.resolve()
    found = (each for each in root.rglob("*") if each.suffix in suffixes and each.is_file() and each not in files)
    names = (each.relative_to(root) for each in found)
    return sorted(str(each) for each in names if not {"__pycache__", "Testing"} & set(each.parts))


def _expand(body: str, variables: dict[str, list[str]]) -> list[str]:
    words: list[str] = []
    for word in body.replace('"', " ").split():
        whole = re.fullmatch(r"\$\{(\w+)\}", word)
        if whole:
            words += variables.get(whole.group(1), [])
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda match: " ".join(variables.get(match.group(1), [])), word))
    return words
