"""What the last run found: a row for each prompt, a click goes there; 3D; undo."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import UsageError
from ..logic.runs import ABSENT, COVERED, FOUND, ResultRow, RunResult
from .sentences import forPanel
from .widgets import showSentence, signalsBlocked

_SWATCH = 12  # pixels


class ResultsBox:
    """A table of the last run's prompts, and what can be done with it.

    Args:
        ui: the panel's widgets.
        undo: undo(segmentationNode) takes the last run there back, and returns whether there was one; may raise UsageError.
        say: shows the person a sentence.
    """

    def __init__(self, ui: Any, undo: Any, say: Any):
        self._ui, self._undo, self._say = ui, undo, say
        self._rows: list[ResultRow] = []
        self._segmentationId = ""
        table = ui.resultsTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Structure"), _("Result"), _("Volume")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.connect("cellClicked(int,int)", self._goTo)
        ui.show3DButton.connect("clicked()", self._toggle3D)
        ui.undoButton.connect("clicked()", self._undoClicked)

    @property
    def segmentationNode(self) -> Any:
        """Where the last run's segments are, None where that is gone."""
        return slicer.mrmlScene.GetNodeByID(self._segmentationId) if self._segmentationId else None

    def take(self, result: RunResult) -> None:
        """Show a run's outcome."""
        self._rows = list(result.rows)
        self._segmentationId = result.segmentationNode.GetID() if result.segmentationNode is not None else ""
        self._fill()
        showSentence(self._ui.reportLabel, "\n".join(forPanel(warning) for warning in result.warnings))
        self.show()

    def clear(self) -> None:
        """Forget the last run: the scene is another one."""
        self._rows, self._segmentationId = [], ""
        self._fill()
        showSentence(self._ui.reportLabel, "")
        self.show()

    def show(self) -> None:
        """Enable what is possible now."""
        ui, node = self._ui, self.segmentationNode
        hasSegments = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        ui.show3DButton.setEnabled(hasSegments)
        with signalsBlocked(ui.show3DButton):
            ui.show3DButton.setChecked(hasSegments and node.GetSegmentation().ContainsRepresentation(_closedSurface()))
        ui.undoButton.setEnabled(node is not None)
        tip = _("Take the segments of the last run back; what was there before comes back too.")
        ui.undoButton.setToolTip(tip if node is not None else _("There is no run to take back."))

    def _fill(self) -> None:
        table = self._ui.resultsTable
        table.setRowCount(len(self._rows))
        for number, row in enumerate(self._rows):
            volume = "" if row.volumeMl is None or row.state != FOUND else _("{volume} ml").format(volume=_milliliters(row.volumeMl))
            for column, text in enumerate((row.name, _stateText(row), volume)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_rowTip(row))
                if column == 0:
                    item.setIcon(_swatch(row))
                table.setItem(number, column, item)
        table.setVisible(bool(self._rows))
        table.updateGeometry()  # as tall as its rows: a panel that scrolls should hold nothing that scrolls

    def _goTo(self, rowNumber: int, _column: int) -> None:
        row = self._rows[rowNumber] if rowNumber < len(self._rows) else None
        if row is not None and row.position is not None:
            slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *row.position)

    def _toggle3D(self) -> None:
        node = self.segmentationNode
        if node is None:
            return
        if self._ui.show3DButton.checked:
            node.CreateClosedSurfaceRepresentation()
            node.GetDisplayNode().SetVisibility3D(True)
        else:
            node.RemoveClosedSurfaceRepresentation()

    def _undoClicked(self) -> None:
        try:
            done = self._undo(self.segmentationNode)
        except UsageError as error:
            self._say(str(error))
            return
        if done:
            self._rows = []
            self._fill()
            showSentence(self._ui.reportLabel, "")
        self._say(_("The last run was taken back.") if done else _("There is no run to take back."))
        self.show()


def _stateText(row: ResultRow) -> str:
    if row.state == FOUND:
        return _("found")
    if row.state == ABSENT:
        return _("not found")
    if row.state == COVERED:
        return _("covered")
    return _("no answer")


def _rowTip(row: ResultRow) -> str:
    if row.state == FOUND:
        return _("Click to go to {name}.").format(name=row.name)
    if row.state == ABSENT:
        return _("The model did not find {name} in this image; no segment was added.").format(name=row.name)
    if row.state == COVERED:
        return _("{name} was found, but all of it lies in other segments, which were kept.").format(name=row.name)
    return _("The run stopped before the answer for {name}.").format(name=row.name)


def _swatch(row: ResultRow) -> Any:
    pixmap = qt.QPixmap(_SWATCH, _SWATCH)
    color = qt.QColor(0, 0, 0, 0)
    if row.state == FOUND:
        color = qt.QColor(*(round(255 * part) for part in row.color))
    pixmap.fill(color)
    return qt.QIcon(pixmap)


def _milliliters(volume: float) -> str:
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.1f}" if volume >= 1 else f"{volume:.2g}"


def _closedSurface() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
