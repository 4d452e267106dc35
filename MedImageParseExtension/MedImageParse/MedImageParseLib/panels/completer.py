"""The list that opens under a field while a target is typed. For a field of several lines and for one of a single line.

Keys: Down and Up move in the list, Enter takes the row, Esc closes it; everything else goes to the field. The list never takes the
keyboard away from the field, and whatever it offers, what was typed stays as it is until a row is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..models import SLICES, VOLUMES
from ..prompts import completion
from ..prompts.catalogue import lookup
from ..scene.volumes import modalityOf
from .widgets import ifNotDestroyed, plain

_WIDEST, _NARROWEST = 420, 240  # pixels
_MEANING_SHOWN = 44  # characters


def askedOf(isVolume: bool, volumeNode: Any) -> tuple[str, str]:
    """The model that would be asked and the image's modality, on which suggestions depend: see Completer's `context`.

    Args:
        isVolume: the whole volume is looked at, not slices of it.
        volumeNode: the image; None where none is chosen.
    """
    return (VOLUMES if isVolume else SLICES).name, modalityOf(volumeNode) if volumeNode is not None else ""


class Completer:
    """Suggests targets for a field.

    Args:
        edit: a qt.QPlainTextEdit or a qt.QLineEdit.
        context: gives (model, modality): a key of models.MODELS and a DICOM modality, "" for what is not known.
        onClosed: called when the list has closed.

    Attributes:
        list: the qt.QTreeWidget with the suggestions.
    """

    def __init__(self, edit: Any, context: Callable[[], tuple[str, str]], onClosed: Callable[[], object] | None = None):
        self._edit, self._context, self._onClosed = edit, context, onClosed
        self._isLine = hasattr(edit, "returnPressed")
        self._isTyped = False  # only what a person types opens the list, not a text that is put in
        self.list = qt.QTreeWidget(edit)
        self.list.setWindowFlags(qt.Qt.ToolTip)  # a window that never becomes the active one
        self.list.setObjectName("suggestionsList")
        self.list.setAccessibleName(_("Suggested targets"))
        self.list.setFocusPolicy(qt.Qt.NoFocus)
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.list.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.list.connect("itemClicked(QTreeWidgetItem*,int)", lambda item, _column: self._take(item))
        self._names: list[str] = []
        self._keys = _Keys(self)
        edit.installEventFilter(self._keys)
        edit.connect("textChanged(QString)" if self._isLine else "textChanged()", self._changed)

    @property
    def isOpen(self) -> bool:
        """Whether the list is seen."""
        return self.list.visible

    def close(self) -> None:
        """Close the list, if it is open."""
        if self.isOpen:
            self.list.hide()
            if self._onClosed is not None:
                self._onClosed()

    def stop(self) -> None:
        """The field goes: listen to it no more."""
        self._onClosed = None
        with ifNotDestroyed():
            self.close()
            self._edit.removeEventFilter(self._keys)

    def typed(self) -> None:
        """The next change of the text is a person's."""
        self._isTyped = True

    def handles(self, key: int) -> bool:
        """Whether a key is meant for the list."""
        if not self.isOpen:
            return False
        if key in (qt.Qt.Key_Return, qt.Qt.Key_Enter):
            return self.list.currentItem() is not None
        return key in (qt.Qt.Key_Down, qt.Qt.Key_Up, qt.Qt.Key_Escape)

    def press(self, key: int) -> None:
        """Do what a key asks for; only for keys that the list `handles`."""
        if key == qt.Qt.Key_Escape:
            self.close()
        elif key in (qt.Qt.Key_Return, qt.Qt.Key_Enter):
            self._take(self.list.currentItem())
        else:
            self._move(1 if key == qt.Qt.Key_Down else -1)

    def _changed(self, _text: str = "") -> None:
        isTyped, self._isTyped = self._isTyped, False
        if not isTyped:
            self.close()
            return
        text, position = self._state()
        start, stop = completion.span_at(text, position)
        if not start <= position <= stop:  # behind the blank after a target
            self.close()
            return
        found = completion.suggest(text[start:position], *self._context())
        if not found or [each.name for each in found] == [text[start:stop]]:
            self.close()
            return
        self._show(found, isWhole=lookup(text[start:stop]) is not None)

    def _show(self, found: list[completion.Suggestion], isWhole: bool) -> None:
        self._names = [each.name for each in found]
        self.list.clear()
        for each in found:
            item = qt.QTreeWidgetItem()
            item.setText(0, plain(each.name))
            item.setText(1, _noteOn(each))
            item.setForeground(1, qt.QBrush(self.list.palette.color(qt.QPalette.Disabled, qt.QPalette.Text)))
            self.list.addTopLevelItem(item)
        self.list.resizeColumnToContents(0)
        # A name that is whole is left alone by Enter: the person may be done with it.
        self.list.setCurrentItem(None if isWhole else self.list.topLevelItem(0))
        self._place()
        self.list.show()

    def _place(self) -> None:
        """Under the cursor's line, or above it where the screen ends."""
        rows = len(self._names)
        height = rows * max(self.list.sizeHintForRow(0), 1) + 2 * self.list.frameWidth
        wide = sum(self.list.sizeHintForColumn(column) for column in (0, 1)) + 24
        width = max(_NARROWEST, min(_WIDEST, wide))
        if self._isLine:
            below, lineHeight = self._edit.mapToGlobal(qt.QPoint(0, self._edit.height)), self._edit.height
        else:
            rect = self._edit.cursorRect()
            below, lineHeight = self._edit.viewport().mapToGlobal(qt.QPoint(0, rect.bottom() + 2)), rect.height() + 4
        bottom, right = _screenEnd(below)
        top = below.y() if below.y() + height <= bottom else below.y() - lineHeight - height
        self.list.setGeometry(max(0, min(below.x(), right - width)), top, width, height)

    def _move(self, step: int) -> None:
        current = self.list.currentItem()
        row = self.list.indexOfTopLevelItem(current) + step if current is not None else (0 if step > 0 else len(self._names) - 1)
        self.list.setCurrentItem(self.list.topLevelItem(row % len(self._names)))

    def _take(self, item: Any) -> None:
        row = self.list.indexOfTopLevelItem(item)
        if not 0 <= row < len(self._names):
            return
        text, position = self._state()
        start, stop = completion.span_at(text, position)
        name = self._names[row]
        self.list.hide()
        first, last = _units(text[:start]), _units(text[:stop])
        # Put in as typing would, so that Ctrl+Z takes it back.
        if self._isLine:
            self._edit.setSelection(first, last - first)
            self._edit.insert(name)
        else:
            cursor = self._edit.textCursor()
            cursor.setPosition(first)
            cursor.setPosition(last, qt.QTextCursor.KeepAnchor)
            cursor.insertText(name)
            self._edit.setTextCursor(cursor)
        if self._onClosed is not None:
            self._onClosed()

    def _state(self) -> tuple[str, int]:
        """The text, and where the cursor is in it, in characters."""
        text = self._edit.text if self._isLine else self._edit.toPlainText()
        position = self._edit.cursorPosition if self._isLine else self._edit.textCursor().position()
        return text, len(text.encode("utf-16-le", "surrogatepass")[: 2 * position].decode("utf-16-le", "ignore"))


class _Keys(qt.QObject):
    """Sees the field's keys before the field does."""

    def __init__(self, completer: Completer):
        qt.QObject.__init__(self)
        self._completer = completer

    def eventFilter(self, _watched: Any, event: Any) -> bool:
        kind = event.type()
        if kind in (qt.QEvent.KeyPress, qt.QEvent.ShortcutOverride):
            if not event.modifiers() & (qt.Qt.ControlModifier | qt.Qt.AltModifier | qt.Qt.MetaModifier):
                key = event.key()
                if self._completer.handles(key):
                    if kind == qt.QEvent.KeyPress:
                        self._completer.press(key)
                    else:
                        event.accept()  # not the tab's own Esc, which cancels a run
                    return True
                if kind == qt.QEvent.KeyPress:
                    self._completer.typed()
        elif kind == qt.QEvent.InputMethod:
            self._completer.typed()
        elif kind in (qt.QEvent.FocusOut, qt.QEvent.Hide):
            self._completer.close()
        return False


def _noteOn(suggestion: completion.Suggestion) -> str:
    """What stands beside a target: the other name that was typed, its meaning, and whether the model cards recommend it."""
    note = suggestion.meaning if suggestion.meaning.casefold() != suggestion.name.casefold() else ""
    parts = [suggestion.alias, note if len(note) <= _MEANING_SHOWN else note[: _MEANING_SHOWN - 1] + "…"]
    if not suggestion.is_recommended:
        parts.append(_("not recommended for this image"))
    return plain(" · ".join(part for part in parts if part))


def _screenEnd(point: Any) -> tuple[int, int]:
    """Bottom and right of the screen that a point is on, in pixels."""
    screen = qt.QGuiApplication.screenAt(point) or qt.QGuiApplication.primaryScreen()
    area = screen.availableGeometry
    area = area() if callable(area) else area
    return area.bottom(), area.right()


def _units(text: str) -> int:
    """The length of a text as Qt counts: in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
