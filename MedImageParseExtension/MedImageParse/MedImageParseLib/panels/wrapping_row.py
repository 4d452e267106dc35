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
        isFilling: whether a line is as wide as the panel; otherwise its widgets stand on the left.
    """

    def __init__(self, container: Any, widgets: Sequence[Any], isFilling: bool = True):
        qt.QObject.__init__(self)
        self._container, self._widgets, self._isFilling = container, list(widgets), isFilling
        self._lines: list[Any] = [container.layout().itemAt(0).layout()]
        self._places: list[list[int]] = []
        self._isArranging = False
        for widget in (container, *self._widgets):
            widget.installEventFilter(self)
        self.arrange()

    def eventFilter(self, _watched: Any, event: Any) -> bool:
        if event.type() in (
            qt.QEvent.Resize, qt.QEvent.FontChange, qt.QEvent.LayoutRequest, qt.QEvent.ShowToParent, qt.QEvent.HideToParent
        ):  # fmt: skip
            self.arrange()
        return False

    def arrange(self) -> None:
        """Put each widget into the line where it has room."""
        if self._isArranging:
            return
        self._isArranging = True
        try:
            shown = [number for number, widget in enumerate(self._widgets) if not widget.isHidden()]
            self._container.setVisible(bool(shown))
            places = self._placesOf(shown)
            if places != self._places:
                self._places = places
                self._move(places)
        finally:
            self._isArranging = False

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
            if not self._isFilling:
                line.addStretch(1)
