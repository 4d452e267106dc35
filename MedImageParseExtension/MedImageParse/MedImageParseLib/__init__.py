"""MedImageParse for 3D Slicer, from Python: the names a person types.

    >>> from MedImageParseLib import segment
    >>> result = segment("ct.nii.gz", "liver & spleen", model="medimageparse3d", endpoint="http://127.0.0.1:5001/score")

`segment`, `check` and `serve` do what `mip.py segment`, `check` and `serve` do, with the same option names. Importing this
package loads numpy and nothing else; each function brings in what it needs.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["check", "segment", "serve"]


def __getattr__(name: str):
    if name in __all__:
        from .console import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
