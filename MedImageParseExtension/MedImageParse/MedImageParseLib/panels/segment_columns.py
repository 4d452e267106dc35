"""Columns of ours in Slicer's own table of segments: found, milliliters and agreement stand in the segment's own row.

The table (qMRMLSegmentsTableView) shows a QStandardItemModel through a filter. Columns that are appended to that model follow the order,
the filter and the selection of the rows by themselves, and Slicer writes only its own columns. The name's tool tip is Slicer's, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from .pixmaps import Watcher
from .widgets import Timer, plain, plainTip

_STATE, _VOLUME, _AGREEMENT = range(3)
_NAME, _OPACITY = 3, 2  # Slicer's columns, where its model does not say
_LEAST_NAME = 14  # characters of a name that are shown before the opacity is
_LEAST_HEIGHT = 75  # pixels: of Slicer's table


@dataclass(slots=True, frozen=True)
class Cells:
    """What stands beside a segment.

    Attributes:
        state: "found", "" for a segment that no run has made.
        volume: milliliters, "" where they are not known. agreement: percent, "" where nobody voted.
        tip: who made the segment.
    """

    state: str = ""
    volume: str = ""
    agreement: str = ""
    tip: str = ""


class SegmentColumns:
    """The three columns, and how high the table is.

    Args:
        view: a qMRMLSegmentsTableView that shows no segmentation yet: Slicer warns about cells that belong to no segment.
        cellsOf: what stands beside a segment, by its ID.
        icon: a qt.QIcon of what was found.
        onClick: called with a segment's ID when its name, or one of these columns, is clicked.
        most: pixels that the table is high at most; it scrolls then.

    Attributes:
        isThere: whether Slicer's table has taken the columns. Otherwise everything is listed apart.
    """

    def __init__(self, view: Any, cellsOf: Callable[[str], Cells], icon: Any, onClick: Callable[[str], object], most: int):
        self._view, self._cellsOf, self._icon, self._onClick, self._most = view, cellsOf, icon, onClick, most
        self._table = table = view.tableWidget()
        self._model = table.model()
        self._first = self._model.columnCount()
        self.isThere = bool(self._model.insertColumns(self._first, 3))
        own = view.model()
        self._name, self._opacity = getattr(own, "nameColumn", _NAME), getattr(own, "opacityColumn", _OPACITY)
        table.setAccessibleName(view.accessibleName)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self._timer = Timer(self.fill, 0)
        self._watcher = Watcher(onResize=self._timer.start)
        table.installEventFilter(self._watcher)
        table.verticalHeader().connect("sectionResized(int,int,int)", lambda *_sizes: self._timer.start())
        table.connect("clicked(QModelIndex)", self._clicked)
        for signal in ("rowsInserted(QModelIndex,int,int)", "rowsRemoved(QModelIndex,int,int)", "modelReset()", "layoutChanged()"):
            self._model.connect(signal, lambda *_what: self._timer.start())
        if self.isThere:
            self._titles()

    def stop(self) -> None:
        """Nothing more is filled in."""
        self._timer.stop()

    def fill(self) -> None:
        """Write what stands beside each segment, where it is not there already."""
        hasVotes = False
        for row in range(self._model.rowCount() if self.isThere else 0):
            cells = self._cellsOf(self._view.segmentIDForRow(row))
            hasVotes = hasVotes or bool(cells.agreement)
            for column, text in ((_STATE, cells.state), (_VOLUME, cells.volume), (_AGREEMENT, cells.agreement)):
                self._write(row, column, text, cells.tip)
        self._table.setColumnHidden(self._first + _AGREEMENT, not hasVotes)
        self.fit()

    def fit(self) -> None:
        """As high as its rows; the opacity is shown where names have room beside it."""
        table, header = self._table, self._table.horizontalHeader()
        shown = not table.isColumnHidden(self._opacity)
        room = header.sectionSize(self._name) + (header.sectionSize(self._opacity) if shown else 0)
        metrics = qt.QFontMetrics(table.font)  # table.fontMetrics() came with Slicer 5.10
        hasRoom = room - header.sectionSizeHint(self._opacity) >= _LEAST_NAME * metrics.averageCharWidth()
        if hasRoom != shown:
            table.setColumnHidden(self._opacity, not hasRoom)
        height = table.verticalHeader().length() + (header.height if header.visible else 0) + 2 * table.frameWidth
        if self._view.filterBarVisible:
            height += 2 * metrics.height()
        self._view.setFixedHeight(min(max(height, _LEAST_HEIGHT), self._most))

    def _titles(self) -> None:
        titles = (
            ("", _("Found")),
            (_("ml"), _("Volume of the segment in milliliters, as it is now")),
            (_("%"), _("Agreement of the votes in percent")),
        )
        for column, (title, tip) in enumerate(titles):
            self._model.setHeaderData(self._first + column, qt.Qt.Horizontal, title)
            self._model.setHeaderData(self._first + column, qt.Qt.Horizontal, tip, qt.Qt.ToolTipRole)

    def _write(self, row: int, column: int, text: str, tip: str) -> None:
        index = self._model.index(row, self._first + column)
        text = plain(text)
        if column == _STATE:  # a mark; its word is for the tool tip and for who cannot see the mark
            if (self._model.data(index, qt.Qt.AccessibleTextRole) or "") != text:
                self._model.setData(index, text, qt.Qt.AccessibleTextRole)
                self._model.setData(index, self._icon if text else None, qt.Qt.DecorationRole)
        elif (self._model.data(index, qt.Qt.DisplayRole) or "") != text:
            self._model.setData(index, text, qt.Qt.DisplayRole)
            self._model.setData(index, int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter), qt.Qt.TextAlignmentRole)
        if (self._model.data(index, qt.Qt.ToolTipRole) or "") != plainTip(tip):
            self._model.setData(index, plainTip(tip), qt.Qt.ToolTipRole)

    def _clicked(self, index: Any) -> None:
        if index.column() == self._name or index.column() >= self._first:
            self._onClick(self._view.segmentIDForRow(index.row()))
