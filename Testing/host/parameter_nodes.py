"""Double of slicer.parameterNodeWrapper, for texts and nodes: a class whose typed members are kept in a parameter node.

It does what Slicer's own does, the awkward parts too: a member that the node does not hold yet is written with its default when the
wrapper is made (a node counts as held only where a parameter of its name is there), values of another kind are refused when written and
not when read, and values are kept in memory until the node says that it was modified. The tests also pass with Slicer's own files in
its place: SLICER_PARAMETER_NODE_WRAPPER names the folder Base/Python/slicer/parameterNodeWrapper of Slicer's source.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
import typing
import weakref
from pathlib import Path
from typing import Any

import slicer
import vtk

_SOURCE_VARIABLE = "SLICER_PARAMETER_NODE_WRAPPER"
_NAME = "slicer.parameterNodeWrapper"


class Default:
    """What a member is where nobody has set it."""

    def __init__(self, value: Any = None):
        self.value = value


class _Member:
    """One member of one wrapper."""

    def __init__(self, node: Any, name: str, kind: type, default: Any):
        self._node, self._name, self._kind, self.default = node, name, kind, Default(default)
        if not node.HasParameter(name):
            self.write(default)
        self._value = self._fromNode()
        me = weakref.ref(self)
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_event: me() and me()._refresh())

    def __del__(self) -> None:
        self._node.RemoveObserver(self._tag)

    @property
    def isNode(self) -> bool:
        return issubclass(self._kind, slicer.vtkMRMLNode)

    def read(self) -> Any:
        return self._value

    def write(self, value: Any) -> None:
        if not isinstance(value, self._kind) and not (self.isNode and value is None):
            raise TypeError(f"Value must be of type '{self._kind}', is type '{type(value)}' value '{value}'")
        with slicer.util.NodeModify(self._node):
            self._node.SetParameter(self._name, "" if self.isNode else value)
            if self.isNode:
                self._node.SetNodeReferenceID(self._name, value.GetID() if value is not None else None)
            self._value = self._fromNode()

    def _fromNode(self) -> Any:
        return self._node.GetNodeReference(self._name) if self.isNode else self._node.GetParameter(self._name)

    def _refresh(self) -> None:
        self._value = self._fromNode()


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: instances wrap a parameter node."""
    kinds = typing.get_type_hints(cls)
    defaults = {name: getattr(cls, name, None) for name in kinds}

    def construct(self: Any, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._members = {name: _Member(parameterNode, name, kind, defaults[name]) for name, kind in kinds.items()}

    for name in kinds:
        setattr(
            cls,
            name,
            property(lambda self, name=name: self._members[name].read(), lambda self, value, name=name: self._members[name].write(value)),
        )
    cls.__init__ = construct
    cls.default = lambda self, name: self._members[name].default
    cls.StartModify = lambda self: self.parameterNode.StartModify()
    cls.EndModify = lambda self, wasModified: self.parameterNode.EndModify(wasModified)
    return cls


def pythonModule() -> types.ModuleType:
    """The module that is imported as slicer.parameterNodeWrapper."""
    source = os.environ.get(_SOURCE_VARIABLE)
    if source:
        return _slicersOwn(Path(source))
    module = types.ModuleType(_NAME)
    module.parameterNodeWrapper, module.Default = parameterNodeWrapper, Default
    return module


def _slicersOwn(folder: Path) -> types.ModuleType:
    for name in [name for name in sys.modules if name.startswith(_NAME)]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(_NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module  # its files import one another
    spec.loader.exec_module(module)
    return module
