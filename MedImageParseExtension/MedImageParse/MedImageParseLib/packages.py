"""Packages that only some work needs: looked for before anything is sent, and named with the command that brings them."""

from __future__ import annotations

import importlib.util

from .errors import UsageError

# Packages that go by another name on PyPI than in Python.
_ON_PYPI = {
    "slicer": "slicer-core",
    "PIL": "pillow",
    "azure": "azure-identity",
    "cc3d": "connected-components-3d",
    "skimage": "scikit-image",
}


def is_there(module: str) -> bool:
    """Whether a module can be imported; nothing is imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def require(module: str, package: str, purpose: str, otherwise: str = "") -> None:
    """Make sure that a module is there.

    Args:
        module: what is imported, e.g. "slicer".
        package: what pip calls it, e.g. "slicer-core".
        purpose: what needs it, e.g. "writing a .seg.nrrd".
        otherwise: what a person may do instead, "" for nothing.

    Raises:
        UsageError: it is not; one sentence with the command that brings it.
    """
    if not is_there(module):
        raise UsageError(missing_sentence(package, purpose, otherwise), code="missing-package")


def missing_sentence(package: str, purpose: str, otherwise: str = "") -> str:
    """What to say where a package is missing."""
    rest = f", {otherwise}" if otherwise else ""
    return f"The package {package}, which {purpose} needs, is not installed: run `python -m pip install {package}`{rest}."


def missing_package(error: ModuleNotFoundError) -> UsageError:
    """An import that failed, as a sentence."""
    module = (error.name or "").partition(".")[0]
    return UsageError(missing_sentence(_ON_PYPI.get(module, module or "that it asks for"), "this command"), code="missing-package")
