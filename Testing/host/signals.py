"""Signals and slots with PythonQt's manners: connected by signature string, and a slot's exception is printed, not raised."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

# Signatures that the Qt 5 of Slicer knows and Qt 6 no longer has.
_RENAMED_SINCE_QT5 = {
    "currentIndexChanged(QString)": "currentTextChanged(QString)",
    "activated(QString)": "textActivated(QString)",
    "highlighted(QString)": "textHighlighted(QString)",
    "buttonClicked(int)": "idClicked(int)",
    "buttonPressed(int)": "idPressed(int)",
    "buttonToggled(int,bool)": "idToggled(int,bool)",
}

slotErrors: list[str] = []


def recordError(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print an exception that nobody can catch, as Slicer's Python console does, and keep it for the test to see."""
    text = "".join(traceback.format_exception(kind, error, trace))
    slotErrors.append(text)
    print(text, file=sys.stderr, end="")


def recordFault(sentence: str) -> None:
    """Keep a mistake that Slicer passes over without an exception (a signal that does not exist, say)."""
    slotErrors.append(sentence)
    print(sentence, file=sys.stderr)


def call(function: Callable, arguments: tuple) -> Any:
    """Call a slot: as many of the signal's arguments as the function takes, exceptions recorded."""
    count = _argumentCount(function)
    try:
        return function(*(arguments if count is None else arguments[:count]))
    except Exception:
        recordError(*sys.exc_info())
        return None


def _argumentCount(function: Callable) -> int | None:
    """How many arguments PythonQt passes: what functions and methods declare (defaults count), and everything to any other callable."""
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__func__", None), "__code__", None)
    if code is None or code.co_flags & 0x04:  # a function with *args gets everything
        return None
    return code.co_argcount - (1 if getattr(function, "__self__", None) is not None else 0)


class BoundSignal:
    """What `widget.clicked` is: connect, disconnect, and emitting by call."""

    def __init__(self, sender: Any, name: str, signatures: tuple[str, ...]):
        self.sender, self.name, self.signatures = sender, name, signatures

    def connect(self, *target: Any) -> bool:
        """Call `target` with the fullest form of the signal."""
        return connect(self.sender, self.signatures[0], *target)

    def disconnect(self, *target: Any) -> bool:
        """Undo connect(); without a target, undo every connection of this signal."""
        done = [disconnect(self.sender, signature, *target) for signature in self.signatures]
        return any(done)

    def emit(self, *arguments: Any) -> None:
        raise NotImplementedError

    def __call__(self, *arguments: Any) -> None:
        self.emit(*arguments)


class QtSignal:
    """Descriptor of a signal that Qt itself sends."""

    def __init__(self, native: type, name: str, signatures: list[str]):
        self.native, self.name = native, name
        self.signatures = tuple(sorted(signatures, key=lambda each: -each.count(",") - ("()" not in each)))

    def __get__(self, sender: Any, owner: type | None = None) -> Any:
        return getattr(self.native, self.name) if sender is None else BoundQtSignal(sender, self.name, self.signatures, self)

    def __set__(self, sender: Any, value: Any) -> None:
        if type(value) is not QtCore.SignalInstance:  # PySide puts its own there
            raise AttributeError(f"Signal '{self.name}' can not be overwritten on {type(sender).__name__} object")

    def signature(self, sender: Any, wanted: str) -> str | None:
        """The signature as Qt writes it, or None where there is no such signal."""
        normalized = bytes(QtCore.QMetaObject.normalizedSignature(wanted).data()).decode()
        for each in (normalized, _RENAMED_SINCE_QT5.get(normalized)):
            if each and QtCore.QObject.metaObject(sender).indexOfSignal(each) >= 0:
                return each
        return None

    def attach(self, sender: Any, signature: str, deliver: Callable) -> Callable[[], None]:
        connection = QtCore.QObject.connect(sender, QtCore.SIGNAL(signature), deliver)
        return lambda: QtCore.QObject.disconnect(connection)


class BoundQtSignal(BoundSignal):
    def __init__(self, sender: Any, name: str, signatures: tuple[str, ...], signal: QtSignal):
        super().__init__(sender, name, signatures)
        self._signal = signal

    def emit(self, *arguments: Any) -> None:
        """Send the signal, as calling it does in PythonQt."""
        signal = getattr(self._signal.native, self.name).__get__(self.sender, type(self.sender))
        types = [each[each.index("(") + 1 : -1] for each in self.signatures]
        fitting = [each for each in types if (each.count(",") + 1 if each else 0) == len(arguments)]
        (signal[fitting[0]] if fitting and len(types) > 1 and fitting[0] else signal).emit(*arguments)


class HostSignal:
    """Descriptor of a signal of a double: a C++ class of Slicer or CTK that is Python here. The fullest signature comes first.

    Example: `currentNodeChanged = HostSignal("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)")`
    Emitting gives every signature the same arguments, unless `emitAs` names one.
    """

    def __init__(self, *signatures: str):
        self.signatures = signatures
        self.name = signatures[0].split("(")[0]

    def __get__(self, sender: Any, owner: type | None = None) -> Any:
        return self if sender is None else BoundHostSignal(sender, self.name, self.signatures)

    def signature(self, sender: Any, wanted: str) -> str | None:
        squeezed = wanted.replace(" ", "").replace("constQString&", "QString")
        return squeezed if squeezed in self.signatures else None

    def attach(self, sender: Any, signature: str, deliver: Callable) -> Callable[[], None]:
        listeners = state(sender).setdefault("listeners", [])
        entry = (signature, deliver)
        listeners.append(entry)
        return lambda: listeners.remove(entry)


class BoundHostSignal(BoundSignal):
    def emit(self, *arguments: Any) -> None:
        """Call whoever is connected to any form of the signal."""
        for signature in self.signatures:
            self.emitAs(signature, *arguments)

    def emitAs(self, signature: str, *arguments: Any) -> None:
        """Call whoever is connected to this form of the signal, unless the sender's signals are blocked."""
        if isinstance(self.sender, QtCore.QObject) and QtCore.QObject.signalsBlocked(self.sender):
            return
        for each, deliver in list(state(self.sender).get("listeners", ())):
            if each == signature:
                deliver(*arguments)


def state(instance: Any) -> dict:
    """The host's own notes on an object."""
    return instance.__dict__.setdefault("_hostState", {})


def connect(sender: Any, signature: str, *target: Any) -> bool:
    """`sender.connect("clicked(bool)", function)` or `(…, receiver, "slot(bool)")`.

    Returns:
        False, with a recorded fault, where the sender has no such signal: in Slicer that is easily overlooked.
    """
    function = _function(target)
    signal = _signal(sender, signature.lstrip("12"))
    found = signal.signature(sender, signature.lstrip("12")) if signal else None
    if found is None:
        recordFault(f"{type(sender).__name__} has no signal {signature}: connect() returned False and nothing will be called.")
        return False
    from .qt_classes import adopt

    def deliver(*arguments: Any) -> None:
        call(function, tuple(adopt(each) for each in arguments))

    detach = signal.attach(sender, found, deliver)
    state(sender).setdefault("connections", []).append((found, function, detach))
    return True


def disconnect(sender: Any, signature: str | None = None, *target: Any) -> bool:
    """Undo connect() for one function, for a whole signal, or for everything."""
    if isinstance(sender, QtCore.QObject) and not shiboken6.isValid(sender):
        raise ValueError(f"Trying to call 'disconnect' on a destroyed {type(sender).__name__} object")
    function = _function(target) if target else None
    found = signature
    if signature is not None and (signal := _signal(sender, signature)) is not None:
        found = signal.signature(sender, signature)
    connections = state(sender).setdefault("connections", [])
    doomed = [each for each in connections if found in (None, each[0]) and function in (None, each[1])]
    for each in doomed:
        connections.remove(each)
        each[2]()
    return bool(doomed)


def _signal(sender: Any, signature: str) -> QtSignal | HostSignal | None:
    name = signature.split("(")[0].strip()
    from .qt_classes import pythonQtType

    for each in pythonQtType(sender).__mro__:
        found = each.__dict__.get(name)
        if isinstance(found, (QtSignal, HostSignal)):
            return found
    return None


def _function(target: tuple) -> Callable:
    if len(target) == 1 and isinstance(target[0], BoundSignal):
        return target[0].emit
    if len(target) == 1 and callable(target[0]):
        return target[0]
    if len(target) == 2 and isinstance(target[1], str):
        receiver, name = target[0], target[1].lstrip("12").split("(")[0]
        slot = getattr(receiver, name)
        return slot.emit if isinstance(slot, BoundSignal) else slot
    raise TypeError(f"connect and disconnect take a function, or a receiver and its slot's signature, not {target!r}")
