"""Comparing a slice or a volume with labels, and the numbers as table and plot."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..logic.jobs import Job
from ..logic.similarity import labelsFrom
from ..scene import tables
from ..scene.volumes import showSlice
from ..search.compare import CALIBRATION_NOTE
from ..search.label_sets import ready_sets
from ..tasks.classify import ClassificationResult
from .search_context import SearchContext
from .sentences import worded
from .task_box import TaskBox
from .widgets import Choice, fillTable, setReady, setTip, setUpTable, showSentence

OWN = "own"
SLICE, ALL, FIFTH = "slice", "all", "fifth"
_HIGHEST = 260  # pixels
_MOST_LINES = 8  # labels in a plot of many slices


class ClassifyBox:
    """The Classify section.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
    """

    def __init__(self, ui: Any, context: SearchContext):
        self._ui, self._context = ui, context
        tip = _("Classify with these labels, without training.")
        self.task = TaskBox(context, ui, "classify", self._start, tip)
        self._result: ClassificationResult | None = None
        self._asked: tuple[str, str, str] = ("", "", "")  # node ID, name, plane
        options = [(OWN, _("My own labels")), *((each.name, each.name) for each in ready_sets())]
        self._set = Choice(ui.labelSetComboBox, options, self._setChosen)
        self._of = Choice(
            ui.classifyOfComboBox,
            ((SLICE, _("This slice")), (ALL, _("All slices of this volume")), (FIFTH, _("Every fifth slice of this volume"))),
        )
        ui.labelsEdit.connect("textChanged()", context.changed)
        ui.labelsTableButton.connect("clicked()", self._showTable)
        ui.labelsPlotButton.connect("clicked()", self._showPlot)
        table = ui.labelsTable
        setUpTable(table, [_("Label"), _("Share"), _("Slice")], widest=0)
        table.connect("cellDoubleClicked(int,int)", self._goTo)

    def show(self) -> None:
        """Show everything as it is now."""
        self._ui.labelsEdit.setVisible(self._set.key == OWN)
        self.task.showReady(self.whyNot())
        isThere, whyNot = self._result is not None, _("Nothing has been classified yet.")
        setReady(self._ui.labelsTableButton, isThere, _("Add the results to the scene as a table."), whyNot)
        setReady(self._ui.labelsPlotButton, isThere, _("Add the results to the scene as a plot."), whyNot)

    def whyNot(self) -> str:
        """Why this cannot start, "" where it can."""
        why = self._context.whyNoVolume() or self._context.whyNoEndpoint() or self._context.whyNoText()
        if why or self._set.key != OWN:
            return why
        lines = [line for line in self._ui.labelsEdit.toPlainText().splitlines() if line.strip()]
        return "" if len(lines) >= 2 else _("Type at least two labels, one per line. They are compared with each other.")

    def _start(self) -> Job | None:
        context, seen, node = self._context, self._context.seenSlice(), self._context.volumeNode
        if seen is None:
            return None  # the volume was closed a moment ago
        labels = self._set.key if self._set.key != OWN else self._ui.labelsEdit.toPlainText()
        asked = (node.GetID(), node.GetName(), seen.plane)
        options: dict[str, Any] = {"plane": seen.plane}
        if self._of.key == SLICE:
            options["slices"] = str(seen.index)
        elif self._of.key == FIFTH:
            options["every"] = 5
        job = context.begin(self.task, lambda **how: context.logic.classify(node, labels, **options, **how), self._take)
        self._asked = asked if job is not None else self._asked
        return job

    def _take(self, result: ClassificationResult) -> None:
        self._result, ui = result, self._ui
        several = len(result.indices) > 1
        table = ui.labelsTable
        table.setColumnHidden(2, not several)
        table.setToolTip(_("Double-click a row to go to its best matching slice.") if several else "")
        rows = []
        for place in _order(result):
            label, percent = result.labels[place], _("{percent} %").format(percent=f"{100 * result.volume[place]:.1f}")
            rows.append(((label.name, percent, str(_bestSlice(result, place))), _("Sent as: {text}").format(text=label.text)))
        fillTable(table, rows, _HIGHEST)
        for row in range(len(rows)):
            for column in (1, 2):
                table.item(row, column).setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        _nodeId, name, plane = self._asked
        if several:
            what = _("Result for {count} {plane} slices of {volume} together.").format(count=len(result.indices), plane=plane, volume=name)
        else:
            what = _("{plane} slice {index} of {volume}.").format(plane=plane.capitalize(), index=result.indices[0], volume=name)
        warnings = [worded(warning) for warning in result.report.get("warnings", ())]
        showSentence(ui.labelsNoteLabel, "\n".join([what, worded(CALIBRATION_NOTE), *warnings]))

    def _goTo(self, row: int, _column: int) -> None:
        nodeId, _name, plane = self._asked
        node = slicer.mrmlScene.GetNodeByID(nodeId)
        if self._result is None or node is None:
            self.task.message.say(_("The volume is no longer in the scene."))
            return
        try:
            showSlice(node, plane, _bestSlice(self._result, _order(self._result)[row]))
        except InputError as error:
            self.task.message.sayError(error)

    def _setChosen(self, key: str) -> None:
        setTip(self._ui.labelSetComboBox, "" if key == OWN else "\n".join(label.name for label in labelsFrom(key)))
        self._context.changed()

    def _showTable(self) -> None:
        if self._result is not None:
            tables.showTable(self._tableNode(self._result))

    def _showPlot(self) -> None:
        result = self._result
        if result is None:
            return
        node = self._tableNode(result)
        if len(result.indices) > 1:
            names = [result.labels[place].name for place in _order(result)[:_MOST_LINES]]
            chart = tables.chartOfLines(node, _("Slice"), names, _("Share"))
        else:
            chart = tables.chartOfBars(node, _("Label"), _("Share"))
        tables.showChart(chart)

    def _tableNode(self, result: ClassificationResult) -> Any:
        """A row a slice where there are several, else a row a label."""
        order = _order(result)
        name = _("Labels of {volume}").format(volume=self._asked[1])
        if len(result.indices) > 1:
            columns: list[tables.Column] = [
                (_("Slice"), result.indices),
                *((result.labels[place].name, result.slices[:, place]) for place in order),
            ]
        else:
            names = [result.labels[place].name for place in order]
            columns = [(_("Label"), names), (_("Share"), [result.volume[place] for place in order])]
        return tables.tableFromColumns(name, columns)


def _order(result: ClassificationResult) -> list[int]:
    """Places of the labels, the likeliest first."""
    return [int(place) for place in np.argsort(-result.volume, kind="stable")]


def _bestSlice(result: ClassificationResult, place: int) -> int:
    """The slice that a label fits best."""
    return result.indices[int(np.argmax(result.slices[:, place]))]
