"""The module `ctk`: doubles of the CTK widgets that panels use, with the layout behavior of the originals."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore

from .qt_classes import WrapperType, raw
from .qt_module import module as qtModule
from .qt_module import registerDouble
from .signals import HostSignal, state

_module: types.ModuleType | None = None
qt = qtModule()


def held(name: str, default: Any = None, changed: str | None = None) -> property:
    """A plain property of a double: kept as it is set; `changed` names a method to call afterwards."""

    def get(self: Any) -> Any:
        return state(self).get(name, default)

    def put(self: Any, value: Any) -> None:
        before = get(self)
        state(self)[name] = value
        if changed is not None and value != before:
            getattr(self, changed)()

    return property(get, put)


def passed(part: str, name: str) -> property:
    """A property of a double that is one of its inner widget's."""
    return property(lambda self: getattr(state(self)[part], name), lambda self, value: setattr(state(self)[part], name, value))


def setters(cls: WrapperType, *names: str) -> None:
    """setX() beside property x, as C++ classes have."""
    for name in names:
        setattr(cls, "set" + name[0].upper() + name[1:], lambda self, value, name=name: setattr(self, name, value))


def _isWidget(child: Any) -> bool:
    return QtCore.QObject.isWidgetType(raw(child))


@registerDouble
class ctkCollapsibleButton(qt.QWidget, cxx=True):
    """A header that shows and hides what is laid out below it; collapsed, it is as high as its header."""

    toggled = HostSignal("toggled(bool)")
    clicked = HostSignal("clicked(bool)", "clicked()")
    contentsCollapsed = HostSignal("contentsCollapsed(bool)")

    def __init__(self, text: Any = "", parent: Any = None):
        super().__init__(parent if isinstance(text, str) else text)
        state(self).update(text=text if isinstance(text, str) else "", collapsed=False, hidden=[])
        self.setContentsMargins(0, self._headerHeight(), 0, 0)
        self.setFocusPolicy(qt.Qt.StrongFocus)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)

    def _headerHeight(self) -> int:
        return max(qt.QFontMetrics(self.font).height() + 8, 22)

    text = property(lambda self: state(self)["text"], lambda self, value: self._setText(value))
    checkable = held("checkable", True)
    flat = held("flat", False)
    contentsFrameShape = held("contentsFrameShape", 0)
    collapsedHeight = held("collapsedHeight", 10)
    checked = property(lambda self: not self.collapsed, lambda self, value: self.setCollapsed(not value))
    collapsed = property(lambda self: state(self)["collapsed"], lambda self, value: self.setCollapsed(value))

    def _setText(self, text: str) -> None:
        state(self)["text"] = text
        self.update()

    def setText(self, text: str) -> None:
        self._setText(text)

    def setChecked(self, checked: bool) -> None:
        self.setCollapsed(not checked)

    def isChecked(self) -> bool:
        return not self.collapsed

    def setCollapsed(self, collapsed: bool) -> None:
        """Hide or show the contents and tell who listens."""
        if bool(collapsed) == state(self)["collapsed"]:
            return
        state(self)["collapsed"] = bool(collapsed)
        if collapsed:
            self._hideContents()
        else:
            for each in state(self)["hidden"]:
                each.setVisible(True)
            state(self)["hidden"].clear()
        self.setMaximumHeight(self._headerHeight() if collapsed else 16777215)
        self.updateGeometry()
        self.toggled.emit(not collapsed)
        self.contentsCollapsed.emit(bool(collapsed))

    def _hideContents(self) -> None:
        for each in self.children():
            if _isWidget(each) and not each.isHidden():
                state(self)["hidden"].append(each)
                each.setVisible(False)

    def event(self, event: Any) -> bool:
        if event.type() == qt.QEvent.FontChange and self.collapsed:
            self.setMaximumHeight(self._headerHeight())
        if event.type() in (qt.QEvent.ChildPolished, qt.QEvent.LayoutRequest) and self.collapsed:
            self._hideContents()  # what is added while it is collapsed
        return qt.QWidget.event(self, event)

    def click(self) -> None:
        """What a press on the header does."""
        self.setCollapsed(not self.collapsed)
        self.clicked.emit(not self.collapsed)

    def toggle(self) -> None:
        self.setCollapsed(not self.collapsed)

    def sizeHint(self) -> Any:
        return self._withHeader(qt.QWidget.sizeHint(self))

    def minimumSizeHint(self) -> Any:
        return self._withHeader(qt.QWidget.minimumSizeHint(self))

    def _withHeader(self, size: Any) -> Any:
        width = max(size.width(), qt.QFontMetrics(self.font).horizontalAdvance(self.text) + 30)
        return qt.QSize(width, self._headerHeight() if self.collapsed else max(size.height(), self._headerHeight()))

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() <= self._headerHeight():
            self.click()

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == qt.Qt.Key_Space:
            self.click()
        else:
            qt.QWidget.keyPressEvent(self, event)

    def changeEvent(self, event: Any) -> None:
        if event.type() == qt.QEvent.FontChange:
            self.setContentsMargins(0, self._headerHeight(), 0, 0)
        qt.QWidget.changeEvent(self, event)

    def paintEvent(self, event: Any) -> None:
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = qt.QRect(0, 0, self.width, self._headerHeight())
        style = qt.QApplication.style()  # the widget's own style() would tie the application's style to this widget's life
        style.drawControl(qt.QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        arrow = qt.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = qt.QRect(6, (self._headerHeight() - 12) // 2, 12, 12)
        kind = qt.QStyle.PrimitiveElement
        style.drawPrimitive(kind.PE_IndicatorArrowRight if self.collapsed else kind.PE_IndicatorArrowDown, arrow, painter, self)
        text = qt.QRect(24, 0, self.width - 28, self._headerHeight())
        painter.drawText(text, int(qt.Qt.AlignLeft | qt.Qt.AlignVCenter), self.text)
        painter.end()


@registerDouble
class ctkCollapsibleGroupBox(qt.QGroupBox, cxx=True):
    """A group box whose title hides and shows its contents."""

    def __init__(self, title: Any = "", parent: Any = None):
        super().__init__(parent if isinstance(title, str) else title)
        state(self)["hidden"] = []
        self.checkable = True
        self.checked = True
        if isinstance(title, str):
            self.title = title
        self.connect("toggled(bool)", self._expand)

    collapsed = property(lambda self: not self.checked, lambda self, value: self.setCollapsed(value))
    collapsedHeight = held("collapsedHeight", 14)

    def setCollapsed(self, collapsed: bool) -> None:
        self.checked = not collapsed

    def _expand(self, expanded: bool) -> None:
        if not expanded:
            state(self)["hidden"] = [each for each in self.children() if _isWidget(each) and not each.isHidden()]
        for each in state(self)["hidden"]:
            each.setVisible(expanded)
        self.setMaximumHeight(16777215 if expanded else qt.QFontMetrics(self.font).height() + self.collapsedHeight)


@registerDouble
class ctkComboBox(qt.QComboBox, cxx=True):
    """A combo box that can show a text while nothing is chosen."""

    defaultText = held("defaultText", "")
    forceDefault = held("forceDefault", False)
    elideMode = held("elideMode", 0)
    scrollWheelEffect = held("scrollWheelEffect", 0)


@registerDouble
class ctkCheckBox(qt.QCheckBox, cxx=True):
    pass


@registerDouble
class ctkPushButton(qt.QPushButton, cxx=True):
    pass


@registerDouble
class ctkSearchBox(qt.QLineEdit, cxx=True):
    """A line edit with a search icon."""

    showSearchIcon = held("showSearchIcon", False)
    searchMode = held("searchMode", False)
    alwaysShowClearIcon = held("alwaysShowClearIcon", False)


@registerDouble
class ctkDoubleSpinBox(qt.QDoubleSpinBox, cxx=True):
    """A spin box for real numbers."""

    decimalsOption = held("decimalsOption", 0)


@registerDouble
class ctkColorPickerButton(qt.QPushButton, cxx=True):
    """A button that shows a color; a click would open a dialog and does nothing here: tests set `color`."""

    colorChanged = HostSignal("colorChanged(QColor)")
    color = held("color", qt.QColor(255, 255, 255), "_tell")
    displayColorName = held("displayColorName", True)

    def setColor(self, color: Any) -> None:
        self.color = color

    def _tell(self) -> None:
        pixmap = qt.QPixmap(12, 12)
        pixmap.fill(self.color)
        self.icon = qt.QIcon(pixmap)
        if self.displayColorName:
            self.text = self.color.name()
        self.colorChanged.emit(self.color)


class ctkMessageBox(qt.QMessageBox, cxx=True):
    """A message box; its exec_() is answered by the test, so that nothing waits for a person who is not there (see messages.py)."""

    dontShowAgainVisible = held("dontShowAgainVisible", False)
    dontShowAgain = held("dontShowAgain", False)
    dontShowAgainSettingsKey = held("dontShowAgainSettingsKey", "")


def module() -> types.ModuleType:
    """The one `ctk` module of this process."""
    global _module
    if _module is None:
        from . import ctk_values, other_widgets

        _module = types.ModuleType("ctk", "Doubles of CTK's widgets")
        for source in (globals(), vars(ctk_values), vars(other_widgets)):
            for name, item in source.items():
                if name.startswith("ctk") and isinstance(item, type):
                    setattr(_module, name, item)
    return _module
