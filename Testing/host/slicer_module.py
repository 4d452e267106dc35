"""Puts the application's doubles into the package slicer of slicer-core, and takes them out again."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import slicer.util

from . import ctk_module, messages, other_widgets, parameter_nodes, qmrml, qt_module, scripted_module, segment_editor, segments_table
from .application import Application
from .scene import ApplicationScene

_ALIASES = ("vtkSegmentationCore", "vtkITK", "vtkTeem", "vtkSlicerSegmentationsModuleMRML", "vtkSlicerSegmentationsModuleLogic")


class CoreModule:
    """A C++ module of Slicer: only its logic is there."""

    def __init__(self, name: str, logic: Any):
        self.name, self.title, self._logic, self.path = name, name, logic, ""

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> None:
        return None


class RefusedInstall(AssertionError):
    """The module tried to install a package."""


class Installs:
    """slicer.packaging and slicer.util.pip_install: what was asked for is recorded and refused."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def refuse(self, *requirements: Any, **named: Any) -> None:
        self.asked.append(" ".join(map(str, requirements)))
        raise RefusedInstall(f"A package was to be installed: {requirements}. The module must work with what Slicer brings.")

    def module(self) -> types.ModuleType:
        packaging = types.ModuleType("slicer.packaging")
        for name in ("pip_install", "pip_uninstall", "pip_ensure", "pip_check"):
            setattr(packaging, name, self.refuse)
        return packaging


class Installation:
    """The running application as modules see it; `remove()` leaves slicer-core as it was."""

    def __init__(self, folder: Path):
        self.scene = ApplicationScene(folder)
        self.app = Application(folder, self.scene)
        self.messages, self.installs = messages.Messages(), Installs()
        self._undo: list[Callable[[], None]] = []
        qt, ctk = qt_module.module(), ctk_module.module()
        self._put_modules({"qt": qt, "ctk": ctk, **scripted_module.pythonModules(), "slicer.packaging": self.installs.module()})
        self._put_modules(segment_editor.pythonModules())
        self._put_attributes(slicer, self._attributes())
        wrapper = parameter_nodes.pythonModule()
        self._put_modules({wrapper.__name__: wrapper})
        self._put_attributes(slicer, {"parameterNodeWrapper": wrapper})
        for name in ("pip_install", "pip_uninstall"):
            self._put_attributes(slicer.util, {name: self.installs.refuse})
        self._undo.append(messages.patch(self.messages, slicer.util, qt, ctk))

    def remove(self) -> None:
        """Undo everything, last first. The scene goes while the application is there: what still observes it may ask for it."""
        self.scene.close()
        for each in reversed(self._undo):
            each()
        self._undo.clear()

    def put_utilities(self, functions: dict[str, Callable[..., Any]]) -> None:
        """Functions of slicer.util that need a main window."""
        self._put_attributes(slicer.util, functions)

    def _attributes(self) -> dict[str, Any]:
        modules = types.SimpleNamespace()
        for name, logic in self.scene.logics.items():
            setattr(modules, name.lower(), CoreModule(name, logic))
            self.app.moduleManager().modules[name] = getattr(modules, name.lower())
        own = {"app": self.app, "mrmlScene": self.scene.scene, "modules": modules, "selfTests": {}}
        for source in (qmrml, segments_table, other_widgets, scripted_module, segment_editor):
            own.update({name: item for name, item in vars(source).items() if name.startswith(("qMRML", "qSlicer"))})
        own["qSlicerSegmentEditorEffectFactory"] = segment_editor.EffectFactory()
        for name in ("ScriptedLoadableModule", "i18n", "packaging"):
            own[name] = sys.modules[f"slicer.{name}"]
        return own

    def _put_modules(self, modules: dict[str, types.ModuleType]) -> None:
        core = sys.modules.get("slicer_core") or slicer
        aliases = {}
        for name in _ALIASES:
            for alias in (name, name + "Python"):
                if alias not in sys.modules and hasattr(core, name):
                    aliases[alias] = getattr(core, name)
        for name, module in {**modules, **aliases}.items():
            before = sys.modules.get(name)
            sys.modules[name] = module
            self._undo.append(lambda name=name, before=before: _restore_module(name, before))

    def _put_attributes(self, owner: Any, attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            had, before = hasattr(owner, name), getattr(owner, name, None)
            setattr(owner, name, value)
            self._undo.append(
                lambda owner=owner, name=name, had=had, before=before: setattr(owner, name, before) if had else delattr(owner, name)
            )


def _restore_module(name: str, before: types.ModuleType | None) -> None:
    if before is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = before
