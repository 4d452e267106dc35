"""An engine's class by its name: one of ours, or a person's own as FILE.py:Class. Nothing but numpy is needed to look at one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from ..errors import UsageError
from ..remedies import Sentence
from .interface import Engine

DEFAULT = "classical"
OURS = {
    DEFAULT: "classical.served:Classical",
    "biomedparse": "biomedparse:BiomedParse",
    "medimageinsight": "medimageinsight:MedImageInsight",
    "efficientnet": "efficientnet:EfficientNet",
    "totalsegmentator": "totalsegmentator:TotalSegmentator",
    "deepbet": "deepbet:Deepbet",
    "deepbrain": "deepbrain.served:Deepbrain",
    "voxtell": "voxtell:VoxTell",
}
"""Engines that come with this package: module beside this one, and class."""


def is_file(which: str) -> bool:
    """Whether an engine is named as FILE.py:Class (or FILE.py, for its only class)."""
    return which.partition(".py:")[1] != "" or which.endswith(".py")


def absolute(which: str) -> str:
    """The same engine from any folder."""
    if not is_file(which):
        return which
    path, _, name = which.partition(".py:")
    path = path.removesuffix(".py") + ".py"
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise UsageError("There is no file {name} with an engine: check the path before the colon.", name=file.name)
    return f"{file}:{name}" if name else str(file)


def engine_class(which: str) -> type[Engine]:
    """The class; for a person's own file the file is run.

    Args:
        which: one of OURS, or FILE.py:Class.

    Raises:
        UsageError: there is none of that name.
    """
    if is_file(which):
        return _from_file(*which.partition(".py:")[::2])
    if which not in OURS:
        raise UsageError(
            "There is no engine '{which}': give {listed}, the name of one that was added, or FILE.py:Class.",
            which=which,
            listed=", ".join(OURS),
        )
    module, _, name = OURS[which].partition(":")
    return getattr(importlib.import_module(f".{module}", __package__), name)


def _from_file(path: str, name: str) -> type[Engine]:
    file = Path(path.removesuffix(".py") + ".py")
    spec = importlib.util.spec_from_file_location(f"engine_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UsageError("There is no file {name} with an engine: check the path before the colon.", name=file.name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = {
        each.__name__: each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Engine) and each is not Engine and each.__module__ == spec.name
    }
    if name in found:
        return found[name]
    if not name and len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(f"{file.name}:{each}" for each in found) or Sentence("it has no class made from Engine")
    raise UsageError("Name the engine's class in {name} behind a colon: {listed}.", name=file.name, listed=listed)
