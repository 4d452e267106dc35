"""Message boxes that nobody has to click: recorded, and answered as the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Message:
    """One message that a person would have seen."""

    kind: str
    text: str
    details: str = ""


@dataclass(slots=True)
class Messages:
    """What was shown, in order, and what is answered.

    `answers` holds the answers to come, first come first: True or False for confirmations, a button's value for message boxes.
    When it is empty, `otherwise` is the answer: declining, because a confirmation that a test did not expect must not be granted.
    """

    shown: list[Message] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    otherwise: bool = False

    def texts(self) -> list[str]:
        """The shown texts alone."""
        return [each.text for each in self.shown]

    def answer(self, kind: str, text: str, details: str = "") -> Any:
        """Record a message and give its answer."""
        self.shown.append(Message(kind, str(text), str(details or "")))
        return self.answers.pop(0) if self.answers else self.otherwise


def patch(messages: Messages, util: Any, qt: Any, ctk: Any) -> Callable[[], None]:
    """Let slicer.util's displays, QMessageBox and the input and file dialogs be recorded instead of shown.

    Returns:
        a function that puts everything back.
    """
    before = []

    def replace(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, owner.__dict__.get(name)))
        setattr(owner, name, value)

    for kind in ("info", "warning", "error"):

        def display(text: str, *arguments: Any, kind: str = kind, **named: Any) -> None:
            messages.shown.append(Message(kind, str(text), str(named.get("detailedText") or "")))

        replace(util, f"{kind}Display", display)
    for kind in ("confirmOkCancel", "confirmYesNo", "confirmRetryClose"):

        def confirm(text: str, *arguments: Any, kind: str = kind, **named: Any) -> bool:
            return bool(messages.answer(kind, text, named.get("detailedText", "")))

        replace(util, f"{kind}Display", confirm)
    replace(util, "delayDisplay", lambda message, *arguments, **named: messages.shown.append(Message("delay", str(message))))

    def boxAnswer(kind: str, text: str, details: str = "") -> int:
        answer = messages.answer(kind, text, details)
        return int(qt.QMessageBox.Cancel if answer is False else qt.QMessageBox.Ok if answer is True else answer)

    replace(util, "messageBox", lambda text, *arguments, **named: boxAnswer("messageBox", text, named.get("detailedText", "")))
    for box in (qt.QMessageBox, ctk.ctkMessageBox):
        for name in ("exec_", "exec"):
            replace(box, name, lambda self, *ignored: boxAnswer("messageBox", self.text, self.detailedText))
    for name in ("information", "warning", "critical", "question"):
        replace(qt.QMessageBox, name, staticmethod(lambda parent, title, text, *rest, name=name: boxAnswer(name, text)))
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory", "getOpenFileNames"):
        replace(qt.QFileDialog, name, staticmethod(lambda *arguments, name=name, **named: messages.answer(name, "") or ""))
    for name in ("getText", "getItem", "getInt", "getDouble", "getMultiLineText"):
        ask = staticmethod(lambda parent, title, label, *rest, name=name, **named: messages.answer(name, label) or "")
        replace(qt.QInputDialog, name, ask)
    for name in ("exec_", "exec"):
        replace(qt.QDialog, name, lambda self, *ignored: int(bool(messages.answer("dialog", self.windowTitle))))
        replace(qt.QMenu, name, lambda self, *ignored: messages.answer("menu", "") or None)

    def restore() -> None:
        for owner, name, value in reversed(before):
            delattr(owner, name) if value is None else setattr(owner, name, value)

    return restore
