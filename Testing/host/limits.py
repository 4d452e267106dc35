"""What PythonQt refuses and PySide does not. Found by making the same calls on both, see README.md."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from PySide6 import QtGui, QtWidgets

# In QtCore, QtGui and QtWidgets of PySide, and not in the module qt.
ABSENT = frozenset(
    [
        "QAccessible",
        "QKeyCombination",
        "QOverrideCursorGuard",
        "QPageRanges",
        "QPluginLoader",
        "QSemaphoreReleaser",
        "QStringDecoder",
        "QStringEncoder",
        "QTreeWidgetItemIterator",
        "QVersionNumber",
        "QXmlStreamReader",
        "QXmlStreamWriter",
    ]
)


def refuseNamed(name: str, named: dict) -> None:
    """Raises ValueError where a call of Qt has keyword arguments."""
    if named:
        raise ValueError(f"Called {name} with keyword arguments, but called slot does not support kwargs.")


def methods(native: type) -> dict[str, Callable]:
    """The methods of a class of PySide that PythonQt has in a stricter way."""
    return {"setIcon": _takesAnIcon(native.setIcon)} if hasattr(native, "setIcon") else {}


def restrictItems() -> None:
    """The same for items of lists, tables and trees, whose classes the host does not derive from."""
    for item in (QtWidgets.QListWidgetItem, QtWidgets.QTableWidgetItem, QtWidgets.QTreeWidgetItem):
        if not hasattr(item.setIcon, "__wrapped__"):
            item.setIcon = _takesAnIcon(item.setIcon)


def _takesAnIcon(method: Callable) -> Callable:
    @functools.wraps(method)
    def setIcon(self: Any, *arguments: Any) -> None:
        if not isinstance(arguments[-1], QtGui.QIcon):
            raise ValueError(f"Called setIcon(QIcon icon) -> void with wrong arguments: {arguments}")
        method(self, *arguments)

    return setIcon
