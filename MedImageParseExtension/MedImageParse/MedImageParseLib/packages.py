"""Packages that only some work needs: looked for before anything is sent, and named with the command that brings them."""

from __future__ import annotations

import importlib.util

from .errors import UsageError
from .remedies import Remedy, Sentence

# Packages that go by another name on PyPI than in Python.
_ON_PYPI = {
    "slicer": "slicer-core",
    "PIL": "pillow",
    "azure": "azure-identity",
    "azure.identity": "azure-identity",
    "surface_distance": "surface-distance",
    "umap": "umap-learn",
    "cc3d": "connected-components-3d",
    "azure.storage.blob": "azure-storage-blob",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "faiss": "faiss-cpu",
}


# The extra of this package (see pyproject.toml) that brings each.
_EXTRAS = {
    "slicer": "slicer",
    "azure": "entra",
    "azure.identity": "entra",
    "azure.storage.blob": "azure-batch",
    "keyring": "keyring",
    "highdicom": "dicom",
    "surface_distance": "evaluate",
    "distributed": "dask",
    "dask": "dask",
    "umap": "search",
    "sklearn": "search",
    "pyarrow": "search",
    "faiss": "faiss",
    "shtab": "completion",
    "mcp": "mcp",
}


def is_there(module: str) -> bool:
    """Whether a module can be imported; nothing is imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def require(module: str, purpose: str, otherwise: str = "") -> None:
    """Make sure that a module is there.

    Args:
        module: what is imported, e.g. "slicer".
        purpose: what needs it, e.g. "writing a DICOM segmentation".
        otherwise: what a person may do instead, "" for nothing.

    Raises:
        UsageError: it is not; one sentence with the command that brings it.
    """
    if not is_there(module):
        raise _missing(module, purpose, otherwise)


def missing_package(error: ModuleNotFoundError) -> UsageError:
    """An import that failed, as a sentence."""
    return _missing((error.name or "").partition(".")[0] or "that it asks for", "this command")


def _missing(module: str, purpose: str, otherwise: str = "") -> UsageError:
    package = _ON_PYPI.get(module, module)
    extra = f" (the extra [{_EXTRAS[module]}] of medimageparse)" if module in _EXTRAS else ""
    rest = f", {otherwise}" if otherwise else ""
    sentence = Sentence(
        "The package {package}, which {purpose} needs, is not installed: {install}{rest}.",
        package=package,
        purpose=purpose,
        install=Remedy("install-package", f"run `python -m pip install {package}`{extra}"),
        rest=rest,
    )
    return UsageError(sentence, code="missing-package")
