"""Mouse, keys and pictures."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from PySide6 import QtCore, QtGui, QtTest, QtWidgets

from . import system_libraries
from .qt_classes import adopt, raw
from .qt_module import module as qtModule
from .signals import state

_BASE_POINT_SIZE = 10.0
_FONT = "DejaVu Sans"


@functools.cache
def font_family() -> str:
    """DejaVu Sans, the same on every machine; what the system has where it cannot be had. Without any font Qt draws boxes."""
    families = QtGui.QFontDatabase.families()
    if _FONT not in families:
        for path in system_libraries.font_files():
            QtGui.QFontDatabase.addApplicationFont(str(path))
        families = QtGui.QFontDatabase.families()
    return _FONT if _FONT in families else (families or [""])[0]


def prepare(application: QtWidgets.QApplication) -> None:
    """The same style and font on every machine."""
    application.setStyle("Fusion")
    application.setFont(QtGui.QFont(font_family(), int(_BASE_POINT_SIZE)))
    application.setPalette(palette("light"))
    application.setQuitOnLastWindowClosed(False)


def palette(theme: str) -> QtGui.QPalette:
    """Slicer's light or dark colors, roughly."""
    role = QtGui.QPalette.ColorRole
    colors = {
        "light": {"Window": "#efefef", "Base": "#ffffff", "Text": "#000000", "Button": "#efefef", "Highlight": "#308cc6"},
        "dark": {"Window": "#353535", "Base": "#232323", "Text": "#ffffff", "Button": "#404040", "Highlight": "#2a82da"},
    }[theme]
    result = QtGui.QPalette(QtGui.QColor(colors["Button"]), QtGui.QColor(colors["Window"]))
    for name in ("Window", "Base", "Button", "Highlight"):
        result.setColor(getattr(role, name), QtGui.QColor(colors[name]))
    for name in ("Text", "WindowText", "ButtonText", "ToolTipText"):
        result.setColor(getattr(role, name), QtGui.QColor(colors["Text"]))
    result.setColor(role.ToolTipBase, QtGui.QColor(colors["Base"]))
    result.setColor(role.AlternateBase, QtGui.QColor(colors["Button"]))
    result.setColor(role.HighlightedText, QtGui.QColor("#ffffff"))
    result.setColor(role.PlaceholderText, QtGui.QColor("#808080"))
    for name in ("Text", "WindowText", "ButtonText"):
        result.setColor(QtGui.QPalette.ColorGroup.Disabled, getattr(role, name), QtGui.QColor("#8c8c8c"))
    return result


class _Growth(QtCore.QObject):
    """Widens the panel's window with what its contents ask for, and never narrows it, as Slicer's main window does."""

    def __init__(self, panel: Panel):
        super().__init__()
        self._panel = panel

    def eventFilter(self, _watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        if event.type() in (QtCore.QEvent.Type.LayoutRequest, QtCore.QEvent.Type.Resize):
            window, needed = self._panel.window, self._panel.needed_width()
            if needed > window.width:
                window.resize(needed, window.height)
        return False


class Panel:
    """Slicer's module panel: a scroll area as wide as its contents need, at least."""

    def __init__(self) -> None:
        qt = qtModule()
        self.window = qt.QWidget()
        self.window.objectName = "ModulePanel"
        layout = qt.QVBoxLayout(self.window)
        layout.setContentsMargins(0, 0, 0, 0)
        self.scroll = qt.QScrollArea()
        self.scroll.widgetResizable = True
        self.scroll.frameShape = qt.QFrame.NoFrame
        layout.addWidget(self.scroll)
        self.window.resize(420, 800)
        self._growth = _Growth(self)

    def show(self, carrier: Any) -> None:
        """Put a module's widget into the panel."""
        if self.scroll.widget() is not None:
            self.scroll.takeWidget().hide()
        carrier.widgetRepresentation().layout().setContentsMargins(0, 0, 0, 0)  # as qSlicerModulePanel does
        self.scroll.setWidget(carrier.widgetRepresentation())
        QtCore.QObject.installEventFilter(raw(carrier.widgetRepresentation()), self._growth)
        carrier.widgetRepresentation().show()
        self.window.show()
        self.window.activateWindow()

    def close(self, carriers: Iterable[Any]) -> None:
        """Delete the panel and every module's widget."""
        self.window.close()
        for each in carriers:
            if each._representation is not None:
                each._representation.deleteLater()
        self.window.deleteLater()

    def needed_width(self) -> int:
        """Pixels below which Slicer does not let the panel shrink: what the contents ask for, not only what they need at least."""
        contents = self.scroll.widget()
        if contents is None:
            return 0
        return max(contents.minimumSizeHint.width(), contents.sizeHint.width()) + self.scroll.verticalScrollBar().sizeHint.width()

    @contextmanager
    def dressed(self, width: int, height: int, font_scale: float, theme: str) -> Iterator[None]:
        """The panel in this size, font and theme, and as before afterwards."""
        application = QtWidgets.QApplication.instance()
        font, colors, size = QtGui.QFont(application.font()), QtGui.QPalette(application.palette()), self.window.size
        larger = QtGui.QFont(font)
        larger.setPointSizeF(_BASE_POINT_SIZE * font_scale)
        application.setFont(larger)
        application.setPalette(palette(theme))
        QtCore.QCoreApplication.processEvents()
        self.window.resize(max(width, self.needed_width()), height)
        QtCore.QCoreApplication.processEvents()
        try:
            yield
        finally:
            application.setFont(font)
            application.setPalette(colors)
            self.window.resize(size)

    def picture(self) -> QtGui.QImage:
        """What the panel shows now."""
        return QtWidgets.QWidget.grab(self.window).toImage()


def find(window: Any, name: str | Any) -> Any:
    """The object of this name in the panel or in another window that is open."""
    if not isinstance(name, str):
        return adopt(name)
    found, own = [], []
    for top in (window, *QtWidgets.QApplication.topLevelWidgets()):
        found += [top] if QtCore.QObject.objectName(top) == name else QtCore.QObject.findChildren(top, QtCore.QObject, name)
        own = own or list(found)  # those of the window itself, which is the first
    if found:
        # After a reload the widgets of the module as it was are still there, hidden, as in Slicer; and other windows may wait for their end.
        visible = (each for each in (*own, *found) if isinstance(each, QtWidgets.QWidget) and QtWidgets.QWidget.isVisible(each))
        return adopt(next(visible, (own or found)[-1]))
    raise LookupError(f"No widget is named {name!r}.")


def click(widget: Any) -> None:
    """A left click in the middle of a widget; for a check box on its indicator, for a collapsible one on its header."""
    widget = raw(widget)
    if isinstance(widget, QtGui.QAction):
        _demand(QtGui.QAction.isEnabled(widget) and QtGui.QAction.isVisible(widget), widget, "disabled or hidden")
        QtGui.QAction.trigger(widget)
        return
    _demand(QtWidgets.QWidget.isVisible(widget), widget, "hidden")
    _demand(QtWidgets.QWidget.isEnabled(widget), widget, "disabled")
    _bring_into_view(widget)
    rect = QtWidgets.QWidget.rect(widget)
    place = rect.center()
    if isinstance(widget, (QtWidgets.QCheckBox, QtWidgets.QRadioButton)):
        place.setX(12)
    elif isinstance(widget, QtWidgets.QGroupBox) or type(widget).__name__.startswith("ctkCollapsible"):
        place = QtCore.QPoint(12, min(rect.center().y(), 9))
    QtTest.QTest.mouseClick(widget, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, place)


def type_text(widget: Any, text: str, clear: bool) -> None:
    """Key by key, newlines as Return."""
    widget = raw(widget)
    _demand(QtWidgets.QWidget.isVisible(widget) and QtWidgets.QWidget.isEnabled(widget), widget, "hidden or disabled")
    target = state(widget).get("combo", widget)
    QtWidgets.QWidget.setFocus(target)
    if clear:
        QtTest.QTest.keySequence(target, QtGui.QKeySequence("Ctrl+A"))
        QtTest.QTest.keyClick(target, QtCore.Qt.Key.Key_Delete)
    for index, line in enumerate(text.split("\n")):
        if index:
            QtTest.QTest.keyClick(target, QtCore.Qt.Key.Key_Return)
        QtTest.QTest.keyClicks(target, line)


def press(widget: Any, keys: str) -> None:
    """One combination, by way of the window, so that shortcuts see it."""
    widget = raw(widget)
    _demand(QtWidgets.QWidget.isVisible(widget), widget, "hidden")
    window = QtWidgets.QWidget.window(widget)
    window.activateWindow()
    QtWidgets.QWidget.setFocus(widget)
    QtCore.QCoreApplication.processEvents()
    combination = QtGui.QKeySequence(keys)[0]
    focused = QtWidgets.QApplication.focusWidget() or widget
    QtTest.QTest.keyClick(focused, combination.key(), combination.keyboardModifiers())


def choose(widget: Any, text: str) -> None:
    """Choose by visible text, as a person does: the widget is told that it was a person's choice."""
    widget = raw(widget)
    combo = state(widget).get("combo", widget)
    _demand(QtWidgets.QWidget.isVisible(widget) and QtWidgets.QWidget.isEnabled(widget), widget, "hidden or disabled")
    row = QtWidgets.QComboBox.findText(combo, text)
    if row < 0:
        offered = [QtWidgets.QComboBox.itemText(combo, each) for each in range(QtWidgets.QComboBox.count(combo))]
        raise LookupError(f"{text!r} is not offered; there are {offered}.")
    QtWidgets.QComboBox.setCurrentIndex(combo, row)
    QtWidgets.QComboBox.activated.__get__(combo, type(combo)).emit(row)
    QtWidgets.QComboBox.textActivated.__get__(combo, type(combo)).emit(text)


_SHORT_CHOICE = 14  # characters that a combo box has to show in full


def layout_faults(panel: Panel) -> list[str]:
    """Texts wider than their widgets, and visible widgets that cover each other or stick out of their parents."""
    faults = []
    for widget in QtCore.QObject.findChildren(panel.scroll.widget(), QtWidgets.QWidget):
        if not QtWidgets.QWidget.isVisible(widget) or QtWidgets.QWidget.isWindow(widget):
            continue
        name = _called(widget)
        size, wanted = QtWidgets.QWidget.size(widget), _size_hint(widget)
        if isinstance(widget, QtWidgets.QLabel) and QtWidgets.QLabel.wordWrap(widget):
            wanted = QtCore.QSize(size.width(), QtWidgets.QLabel.heightForWidth(widget, size.width()))
        if isinstance(widget, (QtWidgets.QLabel, QtWidgets.QAbstractButton)) and _has_text(widget):
            if size.width() + 1 < wanted.width() or size.height() + 1 < min(wanted.height(), _line_height(widget)):
                faults.append(f"{name}: {size.width()}x{size.height()} pixels for a text that needs {wanted.width()}x{wanted.height()}")
            if isinstance(widget, QtWidgets.QLabel) and size.height() + 1 < wanted.height():
                faults.append(f"{name}: {size.height()} pixels high for a text that needs {wanted.height()}")
        if isinstance(widget, QtWidgets.QComboBox) and not QtWidgets.QComboBox.isEditable(widget) and _is_cut(widget):
            faults.append(f"{name}: its choice {QtWidgets.QComboBox.currentText(widget)!r} is cut off")
        faults += _misplaced(widget, name)
    return faults


def _is_cut(box: QtWidgets.QComboBox) -> bool:
    """Whether a combo box has less room than its choice of our own needs; names of nodes and files may be of any length."""
    option = QtWidgets.QStyleOptionComboBox()
    QtWidgets.QComboBox.initStyleOption(box, option)
    style = QtWidgets.QWidget.style(box)
    room = style.subControlRect(QtWidgets.QStyle.ComplexControl.CC_ComboBox, option, QtWidgets.QStyle.SubControl.SC_ComboBoxEditField, box)
    text = QtWidgets.QComboBox.currentText(box)
    return len(text) <= _SHORT_CHOICE and room.width() < QtWidgets.QWidget.fontMetrics(box).horizontalAdvance(text)


def _misplaced(widget: QtWidgets.QWidget, name: str) -> list[str]:
    """What is wrong with a widget's place among its neighbors in a layout."""
    parent = QtWidgets.QWidget.parentWidget(widget)
    if QtWidgets.QWidget.layout(parent) is None:
        return []
    faults, place = [], QtWidgets.QWidget.geometry(widget)
    if not QtWidgets.QWidget.rect(parent).contains(place):
        faults.append(f"{name} sticks out of {_called(parent)}")
    for other in QtWidgets.QWidget.children(parent):
        # Each pair once, hence the comparison.
        if isinstance(other, QtWidgets.QWidget) and id(other) > id(widget) and not QtWidgets.QWidget.isWindow(other):
            if QtWidgets.QWidget.isVisible(other) and QtWidgets.QWidget.geometry(other).intersects(place):
                faults.append(f"{name} overlaps {_called(other)}")
    return faults


def _called(widget: Any) -> str:
    return QtCore.QObject.objectName(widget) or type(widget).__name__


def _size_hint(widget: Any) -> QtCore.QSize:
    hint = widget.sizeHint  # a property, or a call where Qt made the widget or its class is derived in Python
    return hint() if callable(hint) else hint


def _has_text(widget: Any) -> bool:
    kind = QtWidgets.QLabel if isinstance(widget, QtWidgets.QLabel) else QtWidgets.QAbstractButton
    return bool(kind.text(widget))


def _line_height(widget: Any) -> int:
    return QtWidgets.QWidget.fontMetrics(widget).height()


def _bring_into_view(widget: Any) -> None:
    parent = QtWidgets.QWidget.parentWidget(widget)
    while parent is not None:
        if isinstance(parent, QtWidgets.QScrollArea):
            QtWidgets.QScrollArea.ensureWidgetVisible(parent, widget)
        parent = QtWidgets.QWidget.parentWidget(parent)
    QtCore.QCoreApplication.processEvents()


def _demand(holds: bool, widget: Any, what: str) -> None:
    if not holds:
        raise AssertionError(f"A person cannot use {_called(widget)}: it is {what}.")
