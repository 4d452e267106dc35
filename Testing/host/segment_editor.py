"""Doubles of the Segment Editor's widget, module and effects, on Slicer's real logic, node and history of the editor.

As in Slicer: what is registered is cloned for each editor; options are set up before there is a node; parameters are texts, prefixed with
the effect's name, and each change of one calls updateGUIFromMRML of the active effect; an exception in an effect is printed, not raised;
asking for a parameter that is not there is an error.
"""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path
from typing import Any

import slicer
import vtk

from . import signals
from .ctk_module import qt
from .qmrml import qMRMLWidget
from .qt_module import registerDouble
from .signals import call, state

_NODE = "SegmentEditor"


class qSlicerSegmentEditorAbstractEffect:
    """The kinds of change."""

    ModificationModeSet, ModificationModeAdd, ModificationModeRemove, ModificationModeRemoveAll = range(4)


class qSlicerSegmentEditorScriptedEffect:
    """The C++ side of an effect; it has these attributes and no others."""

    _KNOWN = ("name", "title", "perSegment", "requireSegments", "active")

    def __init__(self, parent: Any = None):
        own = {"name": "", "title": "", "perSegment": True, "requireSegments": True, "active": False}
        self.__dict__.update(own, _python=None, _frame=None, _node=None, _editor=None)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._KNOWN and not name.startswith("_"):
            raise AttributeError(f"qSlicerSegmentEditorScriptedEffect has no attribute {name!r}")
        self.__dict__[name] = value

    def setPythonSource(self, path: str) -> bool:
        """Load the file; its class has the file's name."""
        spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._python = getattr(module, Path(path).stem)(self)
        return True

    def self(self) -> Any:
        return self._python

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the Python side where it has it."""
        found = getattr(self._python, method, None)
        return call(found, arguments) if found is not None else None

    def setUp(self, editor: Any) -> None:
        """Make the options' frame, which stays hidden until the effect is active."""
        self._editor = editor
        self._frame = qt.QFrame()
        self._frame.setLayout(qt.QFormLayout())
        self._frame.setVisible(False)
        self.ask("setupOptionsFrame")

    def optionsFrame(self) -> Any:
        return self._frame

    def addOptionsWidget(self, widget: Any) -> None:
        self._frame.layout().addRow(widget)

    def parameterSetNode(self) -> Any:
        return self._node

    def setParameterSetNode(self, node: Any) -> None:
        self._node = node

    def scene(self) -> Any:
        return self._node.GetScene() if self._node is not None else None

    def parameterDefined(self, name: str) -> bool:
        return self._node is not None and self._node.GetAttribute(f"{self.name}.{name}") is not None

    def parameter(self, name: str) -> str:
        value = self._node.GetAttribute(f"{self.name}.{name}") if self._node is not None else None
        if value is None:
            signals.recordFault(f"Parameter named {name} cannot be found for effect {self.name}")
        return value or ""

    def setParameterDefault(self, name: str, value: Any) -> None:
        if self._node is not None and self._node.GetAttribute(f"{self.name}.{name}") is None:
            self._node.SetAttribute(f"{self.name}.{name}", str(value))

    def setParameter(self, name: str, value: Any) -> None:
        self._node.SetAttribute(f"{self.name}.{name}", str(value))

    def saveStateForUndo(self) -> None:
        self._editor.saveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, image: Any, mode: int) -> None:
        logic = state(self._editor)["logic"]
        kinds = (logic.ModificationModeSet, logic.ModificationModeAdd, logic.ModificationModeRemove, logic.ModificationModeRemoveAll)
        node = self._node
        logic.ModifySegmentByLabelmap(node.GetSegmentationNode(), node.GetSelectedSegmentID(), image, kinds[mode], self.perSegment, False)


class AbstractScriptedSegmentEditorEffect:
    """The base of effects in Python."""

    def __init__(self, scriptedEffect: Any):
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self) -> None:
        pass


class EffectFactory:
    """What is registered. One an application."""

    def __init__(self) -> None:
        self.effects: list[Any] = []

    def instance(self) -> EffectFactory:
        return self

    def registerEffect(self, effect: Any) -> bool:
        if any(each.name == effect.name for each in self.effects):
            return False
        self.effects.append(effect)
        return True


@registerDouble
class qMRMLSegmentEditorWidget(qt.QWidget, cxx=True):
    """The editor: its node, its effects, its history. Without a table of segments; the selection is the node's."""

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self.setLayout(qt.QVBoxLayout())
        self.layout().setContentsMargins(0, 0, 0, 0)
        logic = slicer.vtkSlicerSegmentEditorLogic()
        logic.SetMRMLScene(slicer.mrmlScene)
        state(self).update(logic=logic, node=None, tag=None, active=None, effects=[])
        for registered in slicer.qSlicerSegmentEditorEffectFactory.instance().effects:
            effect = registered.self().clone()
            effect.setUp(self)
            self.layout().addWidget(effect.optionsFrame())
            state(self)["effects"].append(effect)
        self.connect("destroyed()", self._cleanUp)

    def setMRMLScene(self, scene: Any) -> None:
        state(self)["logic"].SetMRMLScene(scene)

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        """Undo is there from the start here."""

    def mrmlSegmentEditorNode(self) -> Any:
        return state(self)["node"]

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        """Edit with the choices of this node."""
        own = state(self)
        if own["node"] is not None:
            own["node"].RemoveObserver(own["tag"])
        own["node"] = node
        own["logic"].SetSegmentEditorNode(node)
        for effect in own["effects"]:
            effect.setParameterSetNode(node)
            if node is not None:
                effect.ask("setMRMLDefaults")
        if node is not None:
            own["tag"] = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_unused: self._update())
            self._update()

    def segmentationNode(self) -> Any:
        return state(self)["logic"].GetSegmentationNode()

    def setSegmentationNode(self, node: Any) -> None:
        state(self)["logic"].SetSegmentationNode(node)

    def setSourceVolumeNode(self, node: Any) -> None:
        state(self)["logic"].SetSourceVolumeNode(node)
        for effect in state(self)["effects"]:
            effect.ask("sourceVolumeNodeChanged")

    def currentSegmentID(self) -> str:
        return state(self)["node"].GetSelectedSegmentID() or ""

    def setCurrentSegmentID(self, segmentId: str) -> None:
        state(self)["node"].SetSelectedSegmentID(segmentId)

    def effectByName(self, name: str) -> Any:
        return next((each for each in state(self)["effects"] if each.name == name), None)

    def activeEffect(self) -> Any:
        return state(self)["active"]

    def setActiveEffectByName(self, name: str) -> None:
        """Choose an effect, "" for none."""
        before = state(self)["active"]
        if before is not None:
            before.active = False
            before.ask("deactivate")
            before.optionsFrame().setVisible(False)
        state(self)["active"] = effect = self.effectByName(name)
        if effect is not None:
            effect.active = True
            effect.optionsFrame().setVisible(True)
            effect.ask("activate")
            effect.ask("updateGUIFromMRML")

    def saveStateForUndo(self) -> None:
        state(self)["logic"].SaveStateForUndo()

    def undo(self) -> None:
        state(self)["logic"].Undo()

    def redo(self) -> None:
        state(self)["logic"].Redo()

    def paint(self, image: Any, *, erase: bool = False) -> None:
        """What a stroke of Slicer's Paint or Erase ends in (for tests)."""
        logic, node = state(self)["logic"], state(self)["node"]
        mode = logic.ModificationModeRemove if erase else logic.ModificationModeAdd
        logic.SaveStateForUndo()
        logic.ModifySegmentByLabelmap(node.GetSegmentationNode(), node.GetSelectedSegmentID(), image, mode, True, False)

    def cleanUp(self) -> None:
        """The editor is about to be deleted."""
        own = state(self)
        if own["node"] is not None:
            own["node"].RemoveObserver(own["tag"])
            own["node"] = None
        for effect in own["effects"]:
            effect.ask("cleanup")
        own["effects"], own["active"] = [], None
        own["logic"].SetMRMLScene(None)

    def _cleanUp(self) -> None:
        self.cleanUp()

    def _update(self) -> None:
        if state(self)["active"] is not None:
            state(self)["active"].ask("updateGUIFromMRML")


class SegmentEditorModule:
    """Slicer's Segment Editor module: the editor in a panel, and its node in the scene."""

    def __init__(self) -> None:
        self.name, self.path, self.listed = "SegmentEditor", "", None
        self._representation = qMRMLWidget()
        self._representation.setLayout(qt.QVBoxLayout())
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self._representation.layout().addWidget(self.editor)
        self._representation.layout().addStretch(1)
        self._tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndCloseEvent, lambda *_unused: self.selectNode())
        self.selectNode()

    def selectNode(self) -> None:
        """Take the scene's node of the editor, which is made where it is not there."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(_NODE, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_NODE)
            node = scene.AddNode(node)
        self.editor.setMRMLSegmentEditorNode(node)

    def widgetRepresentation(self) -> Any:
        return self._representation

    def close(self) -> None:
        """Slicer ends."""
        slicer.mrmlScene.RemoveObserver(self._tag)
        self.editor.cleanUp()
        self._representation.deleteLater()


def pythonModules() -> dict[str, types.ModuleType]:
    """The modules that effects import."""
    effects = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
    effects.qSlicerSegmentEditorScriptedEffect = qSlicerSegmentEditorScriptedEffect
    bases = types.ModuleType("SegmentEditorEffects")
    bases.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect
    bases.__all__ = ["AbstractScriptedSegmentEditorEffect"]
    return {effects.__name__: effects, bases.__name__: bases}
