"""The module `qt` as Slicer's Python sees it, on PySide6."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import limits, signals
from .qt_classes import adopt, makeEnumerationsIntegers, wrap

_module: types.ModuleType | None = None
_doubles: dict[str, type] = {}


def module() -> types.ModuleType:
    """The one `qt` module of this process, made on the first call."""
    global _module
    if _module is None:
        makeEnumerationsIntegers()
        _module = types.ModuleType("qt", "Qt with PythonQt's semantics")
        _fill(_module)
    return _module


def registerDouble(double: type) -> type:
    """Let .ui files find a double of a CTK or MRML widget by its class name."""
    _doubles[double.__name__] = double
    return double


def _fill(qt: types.ModuleType) -> None:
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            item = getattr(source, name)
            if not name.startswith("Q") or name in ("QT_TR_NOOP", "QtMsgType") or name in limits.ABSENT:
                continue
            if isinstance(item, type) and issubclass(item, QtCore.QObject):
                item = wrap(item)
            setattr(qt, name, item)
    qt.Signal = qt.Property = _refuse
    qt.Slot = lambda *types_, **named: lambda function: function
    qt.SIGNAL = qt.SLOT = lambda signature: signature
    qt.QAction, qt.QShortcut = wrap(QtGui.QAction), wrap(QtGui.QShortcut)
    qt.QTimer.singleShot = SingleShot()
    qt.QUiLoader = UiLoader
    _stringConstructors(qt)
    limits.restrictItems()


def _refuse(*arguments: Any, **named: Any) -> None:
    raise TypeError("Signals and properties declared in Python crash Slicer (PythonQt); use plain callbacks.")


def _stringConstructors(qt: types.ModuleType) -> None:
    """What Qt 5 accepts and PySide6 does not."""
    qt.QApplication.desktop = staticmethod(lambda: QtGui.QGuiApplication.primaryScreen())
    qt.QFontMetrics.width = lambda self, text: self.horizontalAdvance(text)


class SingleShot:
    """The function `QTimer.singleShot(ms, callable)`. It hides a timer's property of that name, which setSingleShot() sets."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._start

    def __set__(self, instance: Any, value: bool) -> None:
        raise AttributeError(f"Slot 'singleShot' can not be overwritten on {type(instance).__name__} object")

    @staticmethod
    def _start(milliseconds: int, *target: Any) -> None:
        function = signals._function(target if len(target) != 3 else target[1:])
        QtCore.QTimer.singleShot(int(milliseconds), lambda: signals.call(function, ()))


class UiLoader(QtUiTools.QUiLoader):
    """Loads .ui files into these classes and doubles, and makes the connections that the file asks for."""

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        cls = _doubles.get(className) or getattr(module(), className, None)
        if cls is None:
            signals.recordFault(f"The host has no class {className}, which a .ui file uses for '{name}'.")
            cls = module().QWidget
        widget = cls(parent)
        QtCore.QObject.setObjectName(widget, name)
        self._kept.append(widget)
        return widget

    def createLayout(self, className: str, parent: Any = None, name: str = "") -> Any:
        cls = getattr(module(), className)
        layout = cls(parent) if isinstance(parent, QtWidgets.QWidget) else cls()
        QtCore.QObject.setObjectName(layout, name)
        self._kept.append(layout)
        return layout

    def createAction(self, parent: Any = None, name: str = "") -> Any:
        action = module().QAction(parent)
        QtCore.QObject.setObjectName(action, name)
        self._kept.append(action)
        return action

    def load(self, source: Any, parent: Any = None) -> Any:
        """The widget of a .ui file: an open QFile, or a path."""
        self._kept: list[Any] = []
        file = QtCore.QFile(source) if isinstance(source, str) else source
        if not file.isOpen():
            file.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        wires, rest = _takeConnections(bytes(file.readAll().data()))
        file.close()
        buffer = QtCore.QBuffer()
        buffer.setData(rest)
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        root = super().load(buffer, parent)
        if root is None:
            return None
        signals.state(root)["kept"] = self._kept
        for widget in self._kept:
            if type(widget).__name__ in _doubles:
                _takeOverProperties(widget)
        named = {QtCore.QObject.objectName(each): each for each in [*self._kept, root]}
        for sender, signal, receiver, slot in wires:
            _wire(named, sender, signal, receiver, slot)
        return root


@functools.lru_cache(maxsize=16)
def _takeConnections(text: bytes) -> tuple[list[tuple[str, str, str, str]], bytes]:
    """A file's connections, and the file without them: Qt cannot make those of doubles, whose signals are Python."""
    tree = ElementTree.fromstring(text)
    wires = []
    for connections in tree.findall("connections"):
        for each in connections.findall("connection"):
            wires.append(tuple(each.findtext(part, "") for part in ("sender", "signal", "receiver", "slot")))
        tree.remove(connections)
    return wires, ElementTree.tostring(tree)


def _wire(named: dict[str, Any], sender: str, signal: str, receiver: str, slot: str) -> None:
    try:
        target: Callable = getattr(adopt(named[receiver]), slot.split("(")[0])
        adopt(named[sender]).connect(signal, target)
    except (KeyError, AttributeError) as error:
        signals.recordFault(f"The .ui file connects {sender}.{signal} to {receiver}.{slot}, which does not exist: {error}")


def _takeOverProperties(double: Any) -> None:
    """Properties that the file sets on a double are the double's own, not dynamic ones."""
    for raw in QtCore.QObject.dynamicPropertyNames(double):
        name = bytes(raw.data()).decode()
        if isinstance(getattr(type(double), name, None), property):
            value = QtCore.QObject.property(double, name)
            QtCore.QObject.setProperty(double, name, None)
            setattr(double, name, value)
