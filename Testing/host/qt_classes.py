"""Qt's classes as PythonQt shows them: properties are attributes, unknown attributes are refused, signals connect by signature.

Every QObject class of PySide6 gets one Python subclass. The rules of reading and writing attributes are those of PythonQt's
instance wrapper: properties first, slots cannot be overwritten, attributes that do not exist can be created on classes derived
in Python only, enumerations are integers, and a child is found by its object name.
"""

from __future__ import annotations

import enum
import functools
import weakref
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import signals

_QObjectType = type(QtCore.QObject)
_generated: dict[type, type] = {}
_DECLARED_IN_PYTHON = {QtCore.Signal, QtCore.Property}  # compared by identity: isinstance() with these corrupts reference counts
_NUMBERS = {"int": int, "uint": int, "qlonglong": int, "double": float, "float": float}

# Calls that hand out objects made inside Qt, which have to get PythonQt's manners as well.
_HANDS_OUT = (
    "actions", "activeWindow", "addAction", "addMenu", "button", "buttons", "centralWidget", "children", "completer", "cornerWidget",
    "currentWidget", "defaultAction", "document", "findChild", "findChildren", "focusWidget", "header", "horizontalHeader",
    "horizontalScrollBar", "itemDelegate", "layout", "lineEdit", "menu", "menuAction", "menuBar", "model", "parent", "parentWidget",
    "screen", "selectionModel", "sender", "statusBar", "tabBar", "takeWidget", "toggleViewAction", "validator",
    "verticalHeader", "verticalScrollBar", "view", "viewport", "widget", "window",
)  # fmt: skip
_VIRTUAL_IN_LAYOUTS = ("widget", "layout")


class WrapperType(_QObjectType):
    """Metaclass of the classes that modules see.

    `cxx=True` marks a double of a C++ class: it refuses new attributes as C++ objects do (its own names begin with an underscore).
    """

    def __new__(mcs, name: str, bases: tuple, namespace: dict, cxx: bool = False, native: type | None = None):
        if not _DECLARED_IN_PYTHON.isdisjoint(map(type, namespace.values())):
            raise TypeError(f"{name} declares a Qt signal or property in Python, which crashes Slicer (PythonQt); use plain callbacks.")
        # PySide finds connect and disconnect only in the class itself, not in its bases.
        namespace.setdefault("connect", signals.connect)
        namespace.setdefault("disconnect", signals.disconnect)
        namespace["_cxx"] = cxx or native is not None
        if native is not None:
            namespace["_native"] = native
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple, namespace: dict, **options: Any):
        super().__init__(name, bases, namespace)

    def __instancecheck__(cls, instance: Any) -> bool:
        native = cls.__dict__.get("_native")
        return isinstance(instance, native) if native is not None else super().__instancecheck__(instance)

    def __subclasscheck__(cls, other: type) -> bool:
        native = cls.__dict__.get("_native")
        return issubclass(other, native) if native is not None else super().__subclasscheck__(other)


class QtProperty:
    """Descriptor of one Qt property: `edit.text`, `button.enabled = False`. On the class it is Qt's method, for calls to the base."""

    def __init__(self, native: type, prop: QtCore.QMetaProperty):
        self.name, self.writable, self.typeName = prop.name(), prop.isWritable(), prop.typeName()
        self.getter = getattr(native, self.name, None)
        self.setter = getattr(native, "set" + self.name[0].upper() + self.name[1:], None)
        self.enumType = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            if self.getter is None:
                raise AttributeError(f"{owner.__name__} has no attribute named '{self.name}'")
            return self.getter
        if callable(self.getter) and type(self.getter) is not QtCore.Signal and self.name != "singleShot":
            return adopt(self.getter(instance))
        return adopt(QtCore.QObject.property(instance, self.name))

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")
        try:
            converted = self._convert(value)
            if self.setter is not None:
                self.setter(instance, converted)
                return
        except (TypeError, ValueError):
            converted = value
        if value is None or not QtCore.QObject.setProperty(instance, self.name, converted):
            raise AttributeError(
                f"Property '{self.name}' of type '{self.typeName}' does not accept an object of type {type(value).__name__} ({value!r})"
            )

    def _convert(self, value: Any) -> Any:
        if value is None:
            return value
        if self.typeName == "bool":
            return bool(value)
        if self.typeName in _NUMBERS:
            return _NUMBERS[self.typeName](value)
        return value if self.typeName != "QString" or isinstance(value, str) else str(value)


def adopt(value: Any) -> Any:
    """Give an object that Qt made PythonQt's manners, in place; lists too. Anything else is returned as it is."""
    if isinstance(value, (list, tuple)):
        return [each if _isInternal(each) else adopt(each) for each in value]
    if isinstance(value, QtCore.QObject) and type(value) in _generated and _primed(type(value)):
        value.__class__ = _generated[type(value)]
        _guard(value)
    return value


def _isInternal(value: Any) -> bool:
    """Qt's own parts of a widget (a table's model and headers, a combo box's list), which come and go without PySide's knowledge."""
    return isinstance(value, QtCore.QObject) and (not QtCore.QObject.objectName(value) or QtCore.QObject.objectName(value).startswith("qt_"))


@functools.cache
def _primed(native: type) -> bool:
    """Make one object of the generated class, once, if its C++ class has two bases.

    PySide learns on the first construction where the second base lies in memory. Without that, an adopted object would leave a
    dangling entry behind when it goes.
    """
    if not issubclass(native, (QtWidgets.QWidget, QtWidgets.QLayout, QtGui.QWindow)):
        return True
    for arguments in ((), (QtCore.Qt.Orientation.Horizontal,), (QtWidgets.QBoxLayout.Direction.LeftToRight,)):
        try:
            _generated[native](*arguments)
        except (TypeError, NotImplementedError):
            continue
        return True
    return False


def _guard(value: QtCore.QObject) -> None:
    """PySide is not told when an object that Qt made is destroyed by Qt, and would touch its memory later."""
    wrapper = weakref.ref(value)

    def forget(*ignored: Any) -> None:
        if (found := wrapper()) is not None:
            shiboken6.invalidate(found)

    QtCore.QObject.connect(value, QtCore.SIGNAL("destroyed()"), forget)


def wrap(native: type) -> type:
    """The PythonQt-like subclass of a PySide class; made once."""
    if native not in _generated:
        _generated[native] = WrapperType(native.__name__, (native,), _members(native), native=native)
    return _generated[native]


def _members(native: type) -> dict[str, Any]:
    namespace: dict[str, Any] = {
        "__module__": "qt", "__setattr__": _setAttribute, "__getattr__": _getAttribute, "className": _className, "delete": _delete,
        "setProperty": _setDynamicProperty, "__bool__": lambda self: True,
    }  # fmt: skip
    for name in _HANDS_OUT:
        if name in _VIRTUAL_IN_LAYOUTS and issubclass(native, QtWidgets.QLayout):
            continue
        method = getattr(native, name, None)
        if callable(method) and type(method) is not QtCore.Signal:
            namespace[name] = _handingOut(method)
    meta = native.staticMetaObject
    found: dict[str, list[str]] = {}
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            found.setdefault(bytes(method.name().data()).decode(), []).append(bytes(method.methodSignature().data()).decode())
    for name, signatures in found.items():
        namespace[name] = signals.QtSignal(native, name, signatures)
    for index in range(meta.propertyCount()):
        prop = meta.property(index)
        namespace[prop.name()] = QtProperty(native, prop)
    namespace.setdefault("name", property(lambda self: self.objectName, lambda self, value: setattr(self, "objectName", value)))
    return namespace


def _handingOut(method: Any) -> Any:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        return adopt(method(*[getattr(each, "_native", each) if isinstance(each, WrapperType) else each for each in arguments], **named))

    return call


def _className(self: Any) -> str:
    return type(self).__name__


def _delete(self: Any) -> None:
    shiboken6.delete(self)


def _setDynamicProperty(self: Any, name: str, value: Any) -> bool:
    """setProperty() reaches the doubles' own properties as it reaches Qt's."""
    descriptor = _lookUp(type(self), name)
    if isinstance(descriptor, property) and descriptor.fset is not None:
        descriptor.fset(self, value)
        return True
    return QtCore.QObject.setProperty(self, name, value)


def _lookUp(cls: type, name: str) -> Any:
    for each in cls.__mro__:
        if name in each.__dict__:
            return each.__dict__[name]
    return None


def _nativeOf(cls: type) -> type:
    return next(each.__dict__["_native"] for each in cls.__mro__ if "_native" in each.__dict__)


def _setAttribute(self: Any, name: str, value: Any) -> None:
    cls = type(self)
    descriptor = _lookUp(cls, name)
    if hasattr(type(descriptor), "__set__"):
        if isinstance(descriptor, property) and descriptor.fset is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} object is not writable")
        descriptor.__set__(self, value)
        return
    if name.startswith("_"):
        self.__dict__[name] = value
        return
    if callable(getattr(_nativeOf(cls), name, None)):
        raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__} object")
    if name in [bytes(each.data()).decode() for each in QtCore.QObject.dynamicPropertyNames(self)]:
        QtCore.QObject.setProperty(self, name, value)
        return
    if isinstance(value, QtCore.QObject) and QtCore.QObject.objectName(value) == name:
        return  # PySide's loader of .ui files names every child on the root; PythonQt's does not
    if cls._cxx:
        raise AttributeError(f"'{name}' does not exist on {cls.__name__} and creating new attributes on C++ objects is not allowed")
    self.__dict__[name] = value


def _getAttribute(self: Any, name: str) -> Any:
    """Only what Python did not find comes here."""
    if not name.startswith("_"):
        value = QtCore.QObject.property(self, name)
        if value is not None:
            return value
        for child in QtCore.QObject.children(self):
            if QtCore.QObject.objectName(child) == name:
                return adopt(child)
    raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")


def makeEnumerationsIntegers() -> None:
    """PythonQt's enumerations are integers; PySide's flags are not all, and then `result == qt.X.Y` is False for an integer."""
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            owner = getattr(module, name)
            if isinstance(owner, type):
                for each in (owner, *vars(owner).values()):
                    if isinstance(each, enum.EnumMeta) and not issubclass(each, int):
                        _asInteger(each)


def _asInteger(kind: enum.EnumMeta) -> None:
    def equal(self: Any, other: Any) -> Any:
        if isinstance(other, int):
            return self.value == other
        return self is other or (type(self) is type(other) and self.value == other.value)

    kind.__eq__ = equal
    kind.__hash__ = lambda self: hash(self.value)
    kind.__int__ = kind.__index__ = lambda self: int(self.value)
