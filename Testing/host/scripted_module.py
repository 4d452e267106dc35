"""Doubles of Slicer's classes for scripted modules, and of the C++ module and widget that carry them."""

from __future__ import annotations

import functools
import importlib
import re
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer

from . import module_files
from .ctk_module import qt
from .qmrml import qMRMLWidget
from .qt_module import registerDouble
from .signals import HostSignal


class ScriptedLoadableModule:
    """Registration of a module: what it is called, where it is listed, what its help says."""

    def __init__(self, parent: Any):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        parent.helpText = parent.acknowledgementText = ""
        folder = Path(parent.path).parent / "Resources" / "Icons"
        icon = next((folder / (self.moduleName + each) for each in (".svg", ".png") if (folder / (self.moduleName + each)).is_file()), None)
        if icon is not None:
            parent.icon = qt.QIcon(str(icon))

    def resourcePath(self, filename: str) -> str:
        return _resource(self.parent, filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        url = slicer.app.documentationBaseUrl + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information, see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **named: Any) -> None:
        test = getattr(importlib.import_module(type(self).__module__), self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**named)


class ScriptedLoadableModuleWidget:
    """The panel of a module: `parent` is the C++ widget, `layout` its layout."""

    def __init__(self, parent: Any = None):
        super().__init__()  # mixins beside this class are initialized as well
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent
        if parent is None:
            self.parent = qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return _resource(slicer.app.moduleManager().module(self.moduleName), filename)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def setupDeveloperSection(self) -> None:
        pass

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """What a module does without its panel, and the node that keeps its choices in the scene."""

    def __init__(self, parent: Any = None):
        super().__init__()  # mixins beside this class are initialized as well
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's node in the scene, made if it is not there."""
        found = self.getAllParameterNodes()
        if found:
            return found[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        """Every node of this module."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is None:
                return []
            node.SetAttribute("ModuleName", self.moduleName)  # closing a scene takes it off
            return [node]
        everything = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [each for each in everything if each.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """A new node that is not in the scene yet."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's own test, run from Slicer."""

    messageDelay = 0

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments or ("runTest",), **named)

    def delayDisplay(self, message: str, *arguments: Any, **named: Any) -> None:
        slicer.util.delayDisplay(message)

    def runTest(self) -> None:
        pass


class qSlicerScriptedLoadableModule:
    """The C++ side of a module: its path, what the registration sets, and its only widget."""

    def __init__(self, name: str, path: Path, listed: set[Path] | None):
        self.name, self.path, self.listed = name, str(path), listed
        self.defaultDocumentationLink = f'<p>For more information, see <a href="{slicer.app.moduleDocumentationUrl(name)}">here</a>.</p>'
        self.icon, self.hidden, self.widgetRepresentationCreationEnabled = None, False, True
        self._representation: Any = None
        self.python: Any = None

    def widgetRepresentation(self) -> Any:
        """The widget, set up on the first call."""
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget()
            self._representation._module = self
            self._representation.objectName = self.name + "ModuleWidget"
            self._representation.reload()
            self._representation.setMRMLScene(slicer.mrmlScene)
        return self._representation

    def logic(self) -> Any:
        return None


@registerDouble
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget, cxx=True):
    """The C++ widget that carries a module's panel."""

    contentChanged = HostSignal("contentChanged()")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self.setLayout(qt.QVBoxLayout())
        self._python, self._module, self._entered = None, None, False

    isEntered = property(lambda self: self._entered)

    def self(self) -> Any:
        """The module's Python widget."""
        return self._python

    def reload(self) -> None:
        """Make the module's Python widget from the module as it is loaded now, and set it up."""
        name = self._module.name
        self._python = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._python)
        self._python.setup()
        if self._entered:
            self.enter()

    def enter(self) -> None:
        """The person opens the module."""
        self._entered = True
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        """The person goes to another module."""
        self._entered = False
        getattr(self._python, "exit", lambda: None)()


def _resource(module: qSlicerScriptedLoadableModule, filename: str) -> str:
    path = Path(module.path).parent / "Resources" / filename
    if module.listed is not None and path.suffix and path.resolve() not in module.listed:
        raise module_files.ModuleFilesError(f"Resources/{filename} is not listed in the module's CMakeLists.txt: Slicer would not find it.")
    return str(path)


@functools.cache
def _context(file: str) -> str:
    path = Path(file)
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def _tr(text: str) -> str:
    """Slicer's `tr`: the context is the calling file's name, after its folder's where that is a package."""
    translated = slicer.app.translate(_context(sys._getframe(1).f_code.co_filename), text)
    names = [set(re.findall(r"(?<!\{)\{([^\{\}]+)\}(?!\})", each)) for each in (text, translated)]
    return translated if names[0] == names[1] else text


def pythonModules() -> dict[str, types.ModuleType]:
    """The modules that scripted modules import from the package slicer."""
    classes = types.ModuleType("slicer.ScriptedLoadableModule")
    names = ("ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleTest")
    for name in names:
        setattr(classes, name, globals()[name])
    classes.__all__ = list(names)
    translation = types.ModuleType("slicer.i18n")
    translation.translate = lambda context, text: slicer.app.translate(context, text)
    translation.tr = _tr
    return {classes.__name__: classes, translation.__name__: translation}
