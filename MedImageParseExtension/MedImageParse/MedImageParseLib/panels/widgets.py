"""Small things that several panels need: combo boxes by key, status icons, tables, progress, a quiet way to fill widgets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import qt

Option = tuple[str, str]  # (key, text for the person)
_STEPS = 1000  # of a progress bar


class Choice:
    """A combo box that is asked and told by key, whatever language its texts are in.

    Args:
        comboBox: a qt.QComboBox.
        options: (key, text) of each entry.
        onChange: called with the key when another entry is chosen.
    """

    def __init__(self, comboBox: Any, options: Sequence[Option], onChange: Callable[[str], object] | None = None):
        self.comboBox = comboBox
        self._keys: list[str] = []
        self._onChange = onChange
        self.fill(options)
        comboBox.connect("currentIndexChanged(int)", self._changed)

    def fill(self, options: Sequence[Option]) -> None:
        """Replace the entries; the chosen key stays chosen where it is still there. Nobody is told."""
        before = self.key
        with signalsBlocked(self.comboBox):
            self.comboBox.clear()
            self._keys = [key for key, _text in options]
            self.comboBox.addItems([text for _key, text in options])
            self.comboBox.setCurrentIndex(self._keys.index(before) if before in self._keys else 0)

    @property
    def key(self) -> str:
        index = self.comboBox.currentIndex
        return self._keys[index] if 0 <= index < len(self._keys) else ""

    def set(self, key: str) -> None:
        """Choose an entry without telling anybody; an unknown key chooses the first."""
        with signalsBlocked(self.comboBox):
            self.comboBox.setCurrentIndex(self._keys.index(key) if key in self._keys else 0)

    def _changed(self, _index: int) -> None:
        if self._onChange is not None:
            self._onChange(self.key)


@contextmanager
def signalsBlocked(*widgets: Any) -> Iterator[None]:
    """Change widgets without their telling anybody."""
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, was in zip(widgets, before):
            widget.blockSignals(was)


class StatusIcons:
    """The small pictures before a sentence: not known, good, bad, at work.

    Args:
        folder: Resources/Icons.
    """

    def __init__(self, folder: str):
        self._pixmaps = {name: qt.QPixmap(os.path.join(folder, f"Status{name}.png")) for name in ("Unknown", "Good", "Bad", "Busy")}

    def show(self, label: Any, name: str) -> None:
        """Put a picture into a label. Args: name: "Unknown", "Good", "Bad" or "Busy"."""
        label.setPixmap(self._pixmaps[name])


def showSentence(label: Any, text: str) -> None:
    """Put a sentence into a label, and hide the label where there is none."""
    label.setText(text)
    label.setVisible(bool(text))


def setUpTable(table: Any, titles: Sequence[str], widest: int) -> None:
    """Columns of a table of results: one takes the room that the others leave."""
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    table.verticalHeader().setVisible(False)
    header = table.horizontalHeader()
    for column in range(len(titles)):
        header.setSectionResizeMode(column, qt.QHeaderView.Stretch if column == widest else qt.QHeaderView.ResizeToContents)


def showProgress(cancelButton: Any, bar: Any, label: Any, fraction: float | None, text: str) -> None:
    """Show that something is at work and how far it is; a fraction of None is a bar that only moves."""
    cancelButton.setVisible(True)
    bar.setVisible(True)
    bar.setMaximum(0 if fraction is None else _STEPS)
    if fraction is not None:
        bar.setValue(round(_STEPS * fraction))
    if label.text != text:
        showSentence(label, text)
    label.setVisible(True)


def hideProgress(cancelButton: Any, bar: Any, label: Any) -> None:
    """Nothing is at work."""
    cancelButton.setVisible(False)
    bar.setVisible(False)
    showSentence(label, "")
