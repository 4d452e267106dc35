"""Qt's classes as PythonQt shows them: properties are attributes, unknown attributes are refused, signals connect by signature.

Every QObject class of PySide6 gets one Python subclass. The rules of reading and writing attributes are those of PythonQt's
instance wrapper: properties first, slots cannot be overwritten, attributes that do not exist can be created on classes derived
in Python only, enumerations are integers, and a child is found by its object name. C++ classes know nothing of their base
classes: a push button is no instance of QWidget. What Qt lists comes as a tuple.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import limits, signals

_QObjectType = type(QtCore.QObject)
_generated: dict[type, type] = {}
_DECLARED_IN_PYTHON = {QtCore.Signal, QtCore.Property}  # compared by identity: isinstance() with these corrupts reference counts
_NUMBERS = {"int": int, "uint": int, "qlonglong": int, "double": float, "float": float}

# Calls that hand out objects made inside Qt, which have to get PythonQt's manners as well.
_HANDS_OUT = (
    "actions", "activeWindow", "addAction", "addMenu", "button", "buttons", "centralWidget", "children", "completer", "cornerWidget",
    "currentWidget", "defaultAction", "document", "findChild", "findChildren", "focusWidget", "header", "horizontalHeader",
    "horizontalScrollBar", "itemDelegate", "layout", "lineEdit", "menu", "menuAction", "menuBar", "model", "parent", "parentWidget",
    "screen", "screens", "selectedItems", "selectionModel", "sender", "statusBar", "tabBar", "takeWidget", "toggleViewAction",
    "topLevelWidgets", "validator", "verticalHeader", "verticalScrollBar", "view", "widget", "window",
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
        for each in [each for each in namespace if each in ("event", "eventFilter") or each.endswith("Event")]:
            if native is None and isinstance(namespace[each], types.FunctionType):
                namespace[each] = _printingErrors(namespace[each])
        if native is not None:
            namespace["_native"] = native
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple, namespace: dict, **options: Any):
        super().__init__(name, bases, namespace)

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls in _knownClasses(pythonQtType(instance))

    def __subclasscheck__(cls, other: type) -> bool:
        return cls in _knownClasses(other)


def _knownClasses(cls: type) -> list[type]:
    """What PythonQt knows a class to be: the classes derived in Python up to the first C++ class, whose own bases it does not know."""
    known = []
    for each in cls.__mro__:
        known.append(each)
        if each.__dict__.get("_cxx"):
            break
    return known


def _printingErrors(handler: Any) -> Any:
    """An event handler whose exceptions are printed; PySide would raise them in whoever happens to run the event loop."""

    @functools.wraps(handler)
    def handle(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except Exception:
            signals.recordError(*sys.exc_info())
            return False if handler.__name__ in ("event", "eventFilter") else None

    return handle


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
        if not shiboken6.isValid(instance):
            raise ValueError(f"Trying to read property '{self.name}' from a destroyed {type(instance).__name__} object")
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
        if converted is None or not QtCore.QObject.setProperty(instance, self.name, converted):
            raise AttributeError(
                f"Property '{self.name}' of type '{self.typeName}' does not accept an object of type {type(value).__name__} ({value!r})"
            )

    def _convert(self, value: Any) -> Any:
        if self.typeName == "bool":
            return bool(value)
        if self.typeName in _NUMBERS:
            return _NUMBERS[self.typeName](value)
        return value if self.typeName != "QString" or isinstance(value, str) else str(value)


class Handle:
    """An object that Qt made (a table's header, a scroll bar), with PythonQt's manners.

    Objects made in Python are instances of the generated classes; those that Qt made have PySide's own classes, whose instances
    must not be given another class (PySide loses track of their memory). As an argument of a Qt call a handle is not accepted.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: QtCore.QObject):
        object.__setattr__(self, "_raw", raw)

    def __getattr__(self, name: str) -> Any:
        generated = _generated[type(self._raw)]
        found = _lookUp(generated, name)
        if isinstance(found, types.FunctionType):
            return types.MethodType(found, self._raw)
        if isinstance(found, staticmethod):
            return found.__func__
        if hasattr(type(found), "__set__") and not name.startswith("__"):
            return found.__get__(self._raw, generated)
        return getattr(self._raw, name) if hasattr(type(self._raw), name) else _getAttribute(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _setAttribute(self._raw, name, value)

    def __eq__(self, other: Any) -> bool:
        return raw(other) is self._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"Handle({self._raw!r})"


def adopt(value: Any) -> Any:
    """Give an object that Qt made PythonQt's manners; lists too. Anything else is returned as it is."""
    if isinstance(value, (list, tuple)):
        return tuple(adopt(each) for each in value)
    return Handle(value) if type(value) in _generated else value


def raw(value: Any) -> Any:
    """The object behind a handle, for Qt's own calls; anything else is returned as it is."""
    return value._raw if type(value) is Handle else value


def pythonQtType(instance: Any) -> type:
    """The generated class of an object, be it an instance of it or made by Qt."""
    return _generated.get(type(raw(instance)), type(instance))


def wrap(native: type) -> type:
    """The PythonQt-like subclass of a PySide class; made once."""
    if native not in _generated:
        _generated[native] = WrapperType(native.__name__, (native,), _members(native), native=native)
    return _generated[native]


def _members(native: type) -> dict[str, Any]:
    def construct(self: Any, *arguments: Any, **named: Any) -> None:
        limits.refuseNamed(native.__name__, named)
        native.__init__(self, *map(raw, arguments))
        # PySide puts its own objects for the signals onto the instance, where they would hide ours.
        for name in [name for name, value in self.__dict__.items() if type(value) is QtCore.SignalInstance]:
            del self.__dict__[name]

    namespace: dict[str, Any] = {
        "__module__": "qt",
        "__init__": construct,
        "__setattr__": _setAttribute,
        "__getattribute__": _refusingTheDestroyed(native),
        "__getattr__": _getAttribute,
        "__bool__": lambda self: True,
        "className": _className,
        "delete": _delete,
        "setProperty": _setDynamicProperty,
    }
    namespace.update(limits.methods(native))
    for name in _HANDS_OUT:
        if name in _VIRTUAL_IN_LAYOUTS and issubclass(native, QtWidgets.QLayout):
            continue
        method = getattr(native, name, None)
        if isinstance(method, types.BuiltinFunctionType):
            namespace[name] = staticmethod(_handingOut(method))
        elif callable(method) and type(method) is not QtCore.Signal:
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
    namespace.setdefault("name", property(QtCore.QObject.objectName, QtCore.QObject.setObjectName))
    return namespace


def _handingOut(method: Any) -> Any:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        limits.refuseNamed(method.__name__, named)
        plain = [each.__dict__.get("_native", each) if isinstance(each, WrapperType) else raw(each) for each in arguments]
        return adopt(method(*plain))

    return call


def _className(self: Any) -> str:
    return type(self).__name__


def _delete(self: Any) -> None:
    shiboken6.delete(self)


def _setDynamicProperty(self: Any, name: str, value: Any) -> bool:
    """setProperty() reaches the doubles' own properties as it reaches Qt's."""
    descriptor = _lookUp(pythonQtType(self), name)
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
    cls = pythonQtType(self)
    descriptor = _lookUp(cls, name)
    if hasattr(type(descriptor), "__set__"):
        if isinstance(descriptor, property) and descriptor.fset is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} object is not writable")
        if isinstance(descriptor, QtProperty) and not shiboken6.isValid(self):
            raise AttributeError(f"Trying to set property '{name}' on a destroyed {cls.__name__} object")
        descriptor.__set__(self, value)
        return
    if name.startswith("_") or (not cls._cxx and not shiboken6.isValid(self)):
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


def _refusingTheDestroyed(native: type) -> Any:
    """Reads what Python finds; a call of a destroyed object is refused. PySide would crash: these classes have a metaclass of their own."""
    find = native.__getattribute__

    def getFound(self: Any, name: str) -> Any:
        if name == "fontMetrics":  # before Slicer 5.10 there is none
            raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")
        found = find(self, name)
        if type(found) is types.BuiltinFunctionType and not name.startswith("_") and not shiboken6.isValid(self):
            raise ValueError(f"Trying to call '{name}' on a destroyed {type(self).__name__} object")
        return found

    return getFound


def _getAttribute(self: Any, name: str) -> Any:
    """Only what Python did not find comes here."""
    if not name.startswith("_") and shiboken6.isValid(self):
        value = QtCore.QObject.property(self, name)
        if value is not None:
            return value
        child = QtCore.QObject.findChild(self, QtCore.QObject, name, QtCore.Qt.FindChildOption.FindDirectChildrenOnly)
        if child is not None:
            return adopt(child)
        enumerator = getattr(_nativeOf(pythonQtType(self)), name, None)  # PySide has these on the class only
        if isinstance(enumerator, enum.Enum):
            return enumerator
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
