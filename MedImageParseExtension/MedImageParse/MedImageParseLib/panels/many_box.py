"""Run on several images: the menu that chooses them, and the list of their states."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic import many
from ..logic.indexing_runs import openDatabase
from ..scene.volumes import volumeNodes
from .sentences import worded, words
from .widgets import addAction, fitHeight, plain, setTip, setUpTable

_HIGHEST = 150  # pixels of the list


class ManyBox:
    """The button "Run on…", and below it a row an image with its state.

    Args:
        ui: the panel's widgets.
        chosenVolume: gives the volume that is chosen.
        run: what "This volume" does.
        runOnMany: called with a list of cases.
        show: show(volumeNode, segmentationNode): brings a case that is done before the person's eyes.
        sayError: shows what is wrong.
    """

    def __init__(
        self,
        ui: Any,
        chosenVolume: Callable[[], Any],
        run: Callable[[], object],
        runOnMany: Callable[[list[many.Case]], object],
        show: Callable[[Any, Any], object],
        sayError: Callable[[MedImageParseError], object],
    ):
        self._ui, self._chosenVolume, self._run = ui, chosenVolume, run
        self._runOnMany, self._show, self._sayError = runOnMany, show, sayError
        self.runs: many.ManyRuns | None = None
        self._menu = qt.QMenu(ui.manyButton)
        ui.manyButton.setMenu(self._menu)
        self._filled: tuple = ()
        setUpTable(ui.manyTable, (_("Image"), _("State")), 0)
        ui.manyTable.connect("cellClicked(int,int)", self._clicked)

    @property
    def isRunning(self) -> bool:
        """Whether a list is being worked on."""
        return self.runs is not None and self.runs.isRunning

    def clear(self) -> None:
        """Stop the list and forget it: its nodes are going."""
        self.stop()
        self.showCases()

    def stop(self) -> None:
        """Stop the list; nothing is shown of it any more."""
        runs, self.runs = self.runs, None
        if runs is not None and runs.isRunning:
            runs.cancel()

    def showReady(self, whyNot: str) -> None:
        """Args: whyNot: why nothing can be run now, "" where it can."""
        button = self._ui.manyButton
        whyNot = _("Several images are being processed. Wait until they are done, or cancel.") if self.isRunning else whyNot
        button.setEnabled(not whyNot)
        setTip(button, whyNot or _("Run on several images, each with a segmentation of its own."))
        if not whyNot:
            self._fillMenu()

    def showCases(self) -> None:
        """Show the list as it is now."""
        table, cases = self._ui.manyTable, self.runs.cases if self.runs is not None else []
        table.setRowCount(len(cases))
        for number, case in enumerate(cases):
            for column, text in enumerate((case.name, _stateText(case))):
                item = qt.QTableWidgetItem(plain(text))
                setTip(item, worded(case.sentence) or text)
                table.setItem(number, column, item)
        table.setVisible(bool(cases))
        if cases:
            fitHeight(table, _HIGHEST)

    def outcome(self) -> str:
        """One sentence on how the list ended."""
        if self.runs is None:
            return ""
        done, every = self.runs.count(many.DONE), len(self.runs.cases)
        failed = [case for case in self.runs.cases if case.state == many.FAILED]
        text = _("{done} of {all} images are done.").format(done=done, all=every)
        if failed:
            why = words(failed[0].error) if isinstance(failed[0].error, MedImageParseError) else worded(failed[0].sentence)
            text += " " + _("{name}: {why}").format(name=failed[0].name, why=why)
        return text

    def _fillMenu(self) -> None:
        scene = slicer.mrmlScene
        entries: list[tuple[str, Callable[[], object]]] = [(_("This volume"), self._run)]
        nodes = volumeNodes(scene)
        if len(nodes) > 1:
            entries.append((_("All {count} loaded volumes").format(count=len(nodes)), lambda: self._begin(lambda: many.volumeCases(nodes))))
        for node in self._sequences(scene):
            text = _("All {count} frames of {name}").format(count=node.GetNumberOfDataNodes(), name=node.GetName())
            entries.append((text, partial(self._begin, partial(many.sequenceCases, node))))
        if openDatabase() is not None:
            text = _("All patients of the DICOM database")
            entries.append((text, lambda: self._begin(lambda: many.databaseCases(openDatabase(), slicer.mrmlScene))))
        texts = tuple(text for text, _slot in entries)
        self._slots = [slot for _text, slot in entries]
        if texts == self._filled:
            return
        self._filled = texts
        self._menu.clear()
        for number, text in enumerate(texts):
            addAction(self._menu, text, lambda number=number: self._slots[number]())  # type: ignore[misc]

    def _sequences(self, scene: Any) -> list[Any]:
        """The sequence that the chosen volume is a frame of first, then the others."""
        own = many.sequenceOf(self._chosenVolume())
        return sorted(many.volumeSequences(scene), key=lambda node: node is not own)

    def _begin(self, cases: Callable[[], list[many.Case]]) -> None:
        try:
            found = cases()
        except MedImageParseError as error:
            self._sayError(error)
            return
        self._runOnMany(found)

    def _clicked(self, row: int, _column: int) -> None:
        case = self.runs.cases[row] if self.runs is not None and row < len(self.runs.cases) else None
        if case is not None and case.result is not None:
            self._show(case.volumeNode, case.result.segmentationNode)


def _stateText(case: many.Case) -> str:
    if case.state == many.DONE:
        rows = case.result.rows if case.result is not None else []
        found = sum(1 for row in rows if row.segmentId)
        return _("{found} of {all} found").format(found=found, all=len(rows))
    return {
        many.WAITING: _("waiting"),
        many.RUNNING: _("running"),
        many.FAILED: _("failed"),
        many.CANCELLED: _("cancelled"),
    }[case.state]
