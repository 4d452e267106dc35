"""MedImageParse for 3D Slicer, from Python: the names a person types.

    >>> from MedImageParseLib import segment
    >>> result = segment("ct.nii.gz", "liver & spleen", model="medimageparse3d", endpoint="http://127.0.0.1:5001/score")

`segment`, `check`, `serve`, `embed`, `index_add`, `index_search` (and info, remove, check, compact, export, import), `classify` and
`outliers` do what `medimageparse` does under these names, with the same option names; `Volume` is an image in memory, and every error is a
`MedImageParseError`. Importing this package loads numpy and nothing else;
each function brings in what it needs.
"""

from __future__ import annotations

import importlib

from .renamed import keep_old_names

__version__ = "0.1.0"
_MODULES = {
    "api.segment": ("check", "segment", "serve"),
    "api.batch": ("batch",),
    "api.engines": ("engine_add", "engine_check", "engine_list", "engine_remove"),
    "api.evaluate": ("evaluate",),
    "api.embed": (
        "embed", "index_add", "index_check", "index_compact", "index_export", "index_import", "index_info", "index_merge", "index_prepare", "index_remove", "index_search",
    ),
    "api.compare": ("classify", "outliers"),
    "api.adapters": ("adapter_apply", "adapter_evaluate", "adapter_train"),
    "api.exam": ("exam_apply", "exam_train"),
    "api.labels": ("index_evaluate", "index_label", "index_labels", "index_unlabel"),
    "api.batch_azure": ("batch_export_azure", "batch_import_azure", "batch_submit_azure"),
    "api.targets": ("presets", "targets"),
    "imaging.volume": ("Volume",),
    "errors": (
        "Cancelled", "ConsentError", "EndpointError", "InputError", "MedImageParseError", "PartlyDone", "ReplyError", "UsageError",
    ),
}  # fmt: skip
__all__ = sorted(name for names in _MODULES.values() for name in names)
keep_old_names()


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
