"""Small things that several panels need: combo boxes by key, menus, timers, status icons, tables, progress, foreign words as plain text."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import qt

from ..redaction import visible

Option = tuple[str, str]  # (key, text for the person)
_STEPS = 1000  # of a progress bar
_FEWEST_PIXELS = 40  # of a table's height, whatever it holds


def plain(text: str) -> str:
    """Words from outside (an endpoint, a file, somebody else's profile) without characters that are not seen but change what is."""
    return visible(text, keep="\n")


def plainTip(text: str) -> str:
    """The same for a tool tip or a message box: these have no switch for plain text, and Qt takes what looks like a tag as HTML."""
    text = plain(text)
    return f"<qt>{html.escape(text, quote=False)}</qt>".replace("\n", "<br>") if "<" in text else text


def setPlain(label: Any, text: str) -> None:
    """Put words into a label as they are: a tag in them is shown, not obeyed."""
    label.setTextFormat(qt.Qt.PlainText)
    text = plain(text)
    if label.text != text:
        label.setText(text)


def setTip(widget: Any, text: str) -> None:
    """Give a widget, or an item of a table or a list, a tool tip of plain text."""
    widget.setToolTip(plainTip(text))


def setReady(button: Any, isReady: bool, tip: str, whyNot: str) -> None:
    """Enable a button, with what it does as its tool tip, or disable it, with the reason."""
    button.setEnabled(isReady)
    setTip(button, tip if isReady else whyNot)


def addAction(menu: Any, text: str, slot: Callable[[], object], tip: str = "") -> None:
    """Put an entry at the end of a menu."""
    action = qt.QAction(plain(text).replace("&", "&&"), menu)  # a single one would underline a letter
    if tip:
        setTip(action, tip)
    action.connect("triggered()", lambda: slot())
    menu.addAction(action)


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
            self.comboBox.addItems([plain(text) for _key, text in options])
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


class Timer:
    """Calls a function after a pause, or again and again.

    Args:
        slot: what to call.
        milliseconds: of the pause; 0 is as soon as Slicer is idle.
        isOnce: once after each start, not until it is stopped.
    """

    def __init__(self, slot: Callable[[], object], milliseconds: int, *, isOnce: bool = True):
        self._timer = qt.QTimer()
        self._timer.setSingleShot(isOnce)
        self._timer.setInterval(milliseconds)
        self._timer.connect("timeout()", slot)

    def start(self) -> None:
        """Begin the pause, anew where it has begun already."""
        self._timer.start()

    def isActive(self) -> bool:
        """Whether it waits for the end of the pause."""
        return bool(self._timer.isActive())

    def stop(self) -> None:
        """Call nobody any more."""
        with ifNotDestroyed():
            self._timer.stop()


@contextmanager
def ifNotDestroyed() -> Iterator[None]:
    """For what tidies up: when Slicer ends, Qt may have destroyed a widget or a timer before whoever holds it is closed."""
    with suppress(ValueError):  # what PythonQt raises
        yield


def dispose(dialog: Any) -> None:
    """A window of its own goes with its panel."""
    with ifNotDestroyed():
        dialog.hide()
        dialog.deleteLater()


class StatusIcons:
    """The small pictures before a sentence: not known, good, bad, at work.

    Args:
        folder: Resources/Icons.
    """

    def __init__(self, folder: str):
        self._pixmaps = {name: qt.QPixmap(os.path.join(folder, f"Status{name}.png")) for name in ("Unknown", "Good", "Bad", "Busy")}

    def icon(self, name: str) -> Any:
        """A picture as a qt.QIcon. Args: name: as for `show`."""
        return qt.QIcon(self._pixmaps[name])

    def show(self, label: Any, name: str) -> None:
        """Put a picture into a label. Args: name: "Unknown", "Good", "Bad" or "Busy"."""
        label.setPixmap(self._pixmaps[name])


def showSentence(label: Any, text: str) -> None:
    """Put a sentence into a label as plain text, and hide the label where there is none."""
    setPlain(label, text)
    label.setVisible(bool(text))


def showRich(label: Any, markup: str) -> None:
    """Show a sentence of our own with links in it; what came from outside has been escaped."""
    label.setTextFormat(qt.Qt.RichText)
    label.setText(markup)
    label.setVisible(True)


def setUpTable(table: Any, titles: Sequence[str], widest: int) -> None:
    """Columns of a table of results: one takes the room that the others leave."""
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header = table.horizontalHeader()
    for column in range(len(titles)):
        header.setSectionResizeMode(column, qt.QHeaderView.Stretch if column == widest else qt.QHeaderView.ResizeToContents)


def fillTable(table: Any, rows: Iterable[tuple[Sequence[str], str]], most: int = 0) -> None:
    """Show rows of texts in a table, each with a tool tip, and make it as high as they are; see fitHeight."""
    listed = list(rows)
    table.setRowCount(len(listed))
    for number, (texts, tip) in enumerate(listed):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(plain(text))
            setTip(item, tip)
            table.setItem(number, column, item)
    table.setVisible(bool(listed))
    fitHeight(table, most)


def fitHeight(table: Any, most: int = 0) -> None:
    """Make a table as high as its rows: a panel that scrolls should hold nothing that scrolls.

    Its width is whatever the panel gives. A table that follows its contents (AdjustToContents) asks for more width than it has, gets it in
    Slicer, and asks again: the panel runs away.

    Args:
        table: a qt.QTableWidget, filled already.
        most: pixels after which it scrolls all the same; 0 for no limit.
    """
    header = table.horizontalHeader()
    height = table.verticalHeader().length() + (header.height if header.visible else 0) + 2 * table.frameWidth
    height = max(height, _FEWEST_PIXELS)
    table.setFixedHeight(min(height, most) if most else height)


def showProgress(cancelButton: Any, bar: Any, label: Any, text: str, fraction: float | None = None) -> None:
    """Show what is at work and how far it is, a fraction of None as a bar that only moves; with no text that nothing is at work."""
    cancelButton.setVisible(bool(text))
    bar.setVisible(bool(text))
    bar.setMaximum(0 if fraction is None else _STEPS)
    if fraction is not None:
        bar.setValue(round(_STEPS * fraction))
    showSentence(label, text)
