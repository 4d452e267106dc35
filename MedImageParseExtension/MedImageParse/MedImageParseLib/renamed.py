"""Modules under the names that they had before, so that scripts written against those go on working.

Each old name stands for the modules that hold its contents now; importing it gives a module that looks every attribute up in them.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_LIBRARY = __name__.rpartition(".")[0]
_NOW: dict[str, tuple[str, ...]] = {
    "console": ("api",),
    "console.api": ("api.segment",),
    "console.embedding": ("api.embed",),
    "console.comparing": ("api.compare",),
    "console.outputs": ("api.outputs",),
    "console.sources": ("api.sources",),
    "files.atomic": ("files.write",),
    "files.index_map": ("files.figures",),
    "files.label_chart": ("files.figures",),
    "files.picture_panels": ("files.picture",),
    "files.read_picture": ("files.read",),
    "files.result_grid": ("files.figures",),
    "files.vectors": ("files.write",),
    "imaging.cropping": ("imaging.regions",),
    "imaging.masks": ("imaging.volume",),
    "imaging.orientation": ("imaging.geometry",),
    "imaging.planes": ("imaging.geometry",),
    "imaging.squares": ("imaging.geometry",),
    "jobs": ("logic.jobs",),
    "jobs.job": ("logic.jobs",),
    "jobs.queue": ("logic.jobs",),
    "local_endpoint.engine": ("engines.classical.engine",),
    "local_endpoint.targets": ("engines.classical.targets",),
    "logic.logic": ("logic.segmentation",),
    "logic.results": ("logic.runs",),
    "logic.search_logic": ("logic.similarity",),
    "prompts.patterns": ("prompts.vocabulary",),
    "prompts.words": ("prompts.vocabulary",),
    "scene.growing": ("scene.preview",),
    "scene.regions": ("scene.geometry",),
    "scene.running": ("logic.guard",),
    "scene.segment_region": ("scene.geometry",),
    "scene.slices": ("scene.volumes",),
    "search.checking": ("search.integrity",),
    "search.exchange": ("search.export",),
    "search.outliers": ("search.unusual",),
    "search.projection": ("search.compare",),
    "search.zero_shot": ("search.compare",),
    "transport.auth": ("signin.auth",),
    "transport.check": ("tasks.check_endpoint",),
    "transport.connection": ("profiles.connection",),
    "transport.consent": ("profiles.consent",),
    "transport.discovery": ("azure.discovery",),
    "transport.discovery_arm": ("azure.resource_manager",),
    "transport.exchange": ("transport.request",),
    "transport.folders": ("configuration",),
    "transport.limits": ("transport.retry",),
    "transport.profiles": ("profiles.profiles",),
    "transport.profiles_file": ("profiles.profiles",),
    "transport.scrub": ("transport.address", "redaction"),
    "transport.session": ("transport.sockets",),
    "transport.signin": ("signin.methods",),
    "transport.signin_entra": ("signin.entra",),
    "transport.signin_keys": ("signin.auth",),
    "transport.signin_tls": ("signin.entra",),
    "transport.signin_tokens": ("signin.auth",),
    "wire.payload": ("wire.envelope",),
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: a module that exists is never hidden by an old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        library, _, name = fullname.partition(".")
        if library != _LIBRARY or name not in _NOW:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package="." not in name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is loaded until something is looked up."""
        homes = _NOW[module.__name__.partition(".")[2]]

        def look_up(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            for home in homes:
                found = importlib.import_module(f".{home}", _LIBRARY)
                if hasattr(found, name):
                    return getattr(found, name)
            raise AttributeError(f"{module.__name__} has no {name}; its contents are now in {', '.join(homes)}.")

        vars(module)["__getattr__"] = look_up


def keep_old_names() -> None:
    """Let the old names be imported; saying it again changes nothing."""
    if not any(type(finder).__name__ == _Finder.__name__ and type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
