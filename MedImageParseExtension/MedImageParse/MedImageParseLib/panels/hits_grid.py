"""Search results as a grid of small pictures that wraps with the panel's width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from ..search.records import Hit, Record
from ..tasks.find_similar import name_of
from .pixmaps import Watcher, pixmapFromPng
from .sentences import worded
from .widgets import plain, setTip, signalsBlocked

_NARROWEST, _WIDEST_PICTURE, _MARGIN = 104, 128, 10  # pixels
_LINES = 3


class HitsGrid:
    """The results. Arrow keys move, Enter or a double click opens.

    Args:
        listWidget: a qt.QListWidget in icon mode.
        onOpen: called with the Hit that the person wants to see.
        lines: the words below a picture, three at most. tip: tip(rank, hit), everything that is known of it.
    """

    def __init__(
        self, listWidget: Any, onOpen: Callable[[Hit], object], lines: Callable[[Hit], list[str]] | None = None,
        tip: Callable[[int, Hit], str] | None = None,
    ):  # fmt: skip
        self._list, self._onOpen = listWidget, onOpen
        self._lines, self._tip = lines or _lines, tip or tipOf
        self._hits: list[Hit] = []
        self._layout: tuple = ()
        self._watcher = Watcher(onResize=self.arrange)
        listWidget.installEventFilter(self._watcher)
        listWidget.connect("itemActivated(QListWidgetItem*)", self._activated)

    @property
    def hits(self) -> list[Hit]:
        """What is shown, best first."""
        return self._hits

    def show(self, hits: Sequence[Hit]) -> None:
        """Show these results instead of the ones before; none hides the grid."""
        self._hits = list(hits)
        with signalsBlocked(self._list):  # a selection that goes is nobody's choice, and half of the list is not there yet
            self._list.clear()
            for rank, hit in enumerate(self._hits, start=1):
                item = qt.QListWidgetItem()
                item.setIcon(qt.QIcon(pixmapFromPng(hit.record.thumbnail)))
                setTip(item, self._tip(rank, hit))
                item.setData(qt.Qt.AccessibleTextRole, ", ".join(self._lines(hit)))
                self._list.addItem(item)
        self._list.setVisible(bool(self._hits))
        self._layout = ()
        self.arrange()

    @property
    def selected(self) -> list[Hit]:
        """What is selected, in order."""
        return [hit for row, hit in enumerate(self._hits) if self._list.item(row).isSelected()]

    def arrange(self) -> None:
        """As many columns as there is room for, and as high as all rows: a panel that scrolls should hold nothing that scrolls."""
        room = self._list.width - 2 * self._list.frameWidth - 2
        metrics = qt.QFontMetrics(self._list.font)
        layout = (room, metrics.height(), len(self._hits))
        if layout == self._layout or room < 20:
            return
        self._layout = layout
        columns = max(1, room // max(_NARROWEST, metrics.averageCharWidth() * 15))
        cell = room // columns
        side = min(_WIDEST_PICTURE, cell - _MARGIN)
        height = side + _LINES * metrics.lineSpacing() + _MARGIN
        self._list.setIconSize(qt.QSize(side, side))
        self._list.setGridSize(qt.QSize(cell, height))
        for number, hit in enumerate(self._hits):
            lines = [metrics.elidedText(line, qt.Qt.ElideMiddle, cell - _MARGIN) for line in self._lines(hit)]
            self._list.item(number).setText(plain("\n".join(lines)))
        self._list.setFixedHeight(-(-len(self._hits) // columns) * height + 2 * self._list.frameWidth + 2)

    def _activated(self, _item: Any) -> None:
        row = self._list.currentRow
        if 0 <= row < len(self._hits):
            self._onOpen(self._hits[row])


def nameText(record: Record) -> str:
    """What to call a record's image."""
    return str(worded(name_of(record)))


def placeText(record: Record) -> str:
    """Which slice it is, for a person."""
    planes = {"axial": _("axial {index}"), "coronal": _("coronal {index}"), "sagittal": _("sagittal {index}")}
    if record.kind == "slice" and record.plane in planes:
        return planes[record.plane].format(index=record.slice_index)
    return _("whole volume") if record.kind in ("volume", "study") else _("2D picture")


def tipOf(rank: int, hit: Hit) -> str:
    """Everything that is known of a result."""
    record = hit.record
    lines = [
        _("{rank}. {name}").format(rank=rank, name=nameText(record)),
        _("{place}, similarity {similarity}").format(place=placeText(record), similarity=f"{hit.similarity:.4f}"),
        _("Window: {window}").format(window=record.position["window"]) if record.position.get("window") else "",
        record.source or _("The index does not store the location of this image."),
        _("Indexed {when}").format(when=record.added.replace("T", " ").rstrip("Z")) if record.added else "",
        _("Double-click to open that image at that slice."),
    ]
    return "\n".join(line for line in lines if line)


def _lines(hit: Hit) -> list[str]:
    """Similarity, study, slice."""
    return [similarityText(hit.similarity), nameText(hit.record), placeText(hit.record)]


def similarityText(similarity: float) -> str:
    """Two decimals, cut off and not rounded: only the same image has 1.00."""
    return f"{math.floor(100 * similarity + 1e-3) / 100:.2f}"
