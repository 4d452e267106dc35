"""A row of buttons that goes on in the next line where the panel is narrow or the font is large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt


class WrappingRow(qt.QObject):
    """Keeps widgets side by side as long as there is room.

    The container asks for no width of its own (its horizontal policy is Ignored), so that the panel may always become narrower.

    Args:
        container: a widget with a vertical layout, in which the first line is a horizontal layout with the widgets.
        widgets: in their order.
        isFilling: whether a line is as wide as the panel; otherwise, and where it holds only tool buttons, its widgets stand on the left.
    """

    def __init__(self, container: Any, widgets: Sequence[Any], isFilling: bool = True):
        qt.QObject.__init__(self)
        self._container, self._widgets, self._isFilling = container, list(widgets), isFilling
        self._lines: list[Any] = [container.layout().itemAt(0).layout()]
        self._places: list[list[int]] = []
        self._timer = qt.QTimer(container)  # goes with the container
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self.arrange)
        container.installEventFilter(self)
        for widget in self._widgets:
            widget.installEventFilter(self)
        self._showContainer()
        self.arrange()

    def eventFilter(self, _watched: Any, event: Any) -> bool:
        kind = event.type()
        if kind in (qt.QEvent.ShowToParent, qt.QEvent.HideToParent):
            self._showContainer()
            self._timer.start()
        elif kind in (qt.QEvent.Resize, qt.QEvent.FontChange, qt.QEvent.LayoutRequest):
            self._timer.start()  # not now: Qt is going through the items of the line
        return False

    def arrange(self) -> None:
        """Put each widget into the line where it has room."""
        places = self._placesOf(self._shown())
        if places != self._places:
            self._places = places
            self._move(places)

    def _shown(self) -> list[int]:
        return [number for number, widget in enumerate(self._widgets) if not widget.isHidden()]

    def _showContainer(self) -> None:
        """A container of nothing would still take the space between the rows."""
        isNeeded = bool(self._shown())
        if self._container.isHidden() == isNeeded:
            self._container.setVisible(isNeeded)

    def _placesOf(self, shown: list[int]) -> list[list[int]]:
        """The numbers of the widgets in each line."""
        spacing, room = self._lines[0].spacing, self._container.width
        lines: list[list[int]] = [[]]
        used = 0
        for number in shown:
            width = self._widgets[number].sizeHint.width()
            if lines[-1] and used + spacing + width > room:
                lines.append([])
            used = width if not lines[-1] else used + spacing + width
            lines[-1].append(number)
        return lines

    def _move(self, places: list[list[int]]) -> None:
        outer = self._container.layout()
        while len(self._lines) < len(places):
            line = qt.QHBoxLayout()
            outer.addLayout(line)
            self._lines.append(line)
        for line in self._lines:
            while line.count():
                line.takeAt(0)
        for line, numbers in zip(self._lines, places):
            for number in numbers:
                line.addWidget(self._widgets[number])
            if not self._isFilling or all(self._widgets[number].inherits("QToolButton") for number in numbers):
                line.addStretch(1)
