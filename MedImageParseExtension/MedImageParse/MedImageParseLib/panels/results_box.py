"""What the runs into a segmentation found: beside each segment, and apart what has none; a click goes there; 3D; undo; run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import UsageError
from ..files.write import csv_cell
from ..logic.guard import SegmentSizes, segmentChanged, segmentMilliliters
from ..logic.history import RunHistory, RunRecord
from ..logic.runs import ABSENT, COVERED, FOUND, SMALL, ResultRow, RunResult
from ..prompts import grouping
from ..scene import tables, undo
from ..scene.tags import TAG, tagsOf
from . import segment_editor
from .save_menu import SaveMenu
from .segment_columns import Cells, SegmentColumns
from .sentences import worded, words
from .widgets import StatusIcons, addAction, fillTable, plain, plainTip, setReady, setTip, setUpTable, showSentence

_SWATCH = 12  # pixels
_HIGHEST, _HIGHEST_SEGMENTS = 90, 190  # pixels: of the rows without a segment, of the table of segments
_TITLE = 40  # characters of a run in the menu


class ResultsBox:
    """Slicer's own table of the chosen segmentation's segments with what each run into it says of them, below it the prompts that have no
    segment, and what can be done with them.

    Where Slicer's table takes no columns of ours, every row is listed in the table below.

    Args:
        ui: the panel's widgets.
        icons: for what was found and what was not.
        logic: takes runs back and brings them back.
        history: the runs into the scene's segmentations, those of the Segment Editor's effect among them.
        chosen: gives (segmentation, volume) as they are chosen now.
        runAgain: called with a RunRecord.
        say: say(sentence, error) shows the person a sentence, and what is about an error as one.
    """

    def __init__(
        self,
        ui: Any,
        icons: StatusIcons,
        logic: Any,
        history: RunHistory,
        chosen: Callable[[], tuple[Any, Any]],
        runAgain: Callable[[RunRecord], object],
        say: Any,
    ):
        self._ui, self._logic, self._history, self._chosen, self._runAgain, self._say = ui, logic, history, chosen, runAgain, say
        self._rows: list[tuple[RunRecord, ResultRow]] = []
        self._filled: tuple = ()
        self._icons = icons
        self._counted = SegmentSizes()
        self._sizes: dict[tuple[str, str], tuple[int, int]] = {}  # of (segmentation, segment): when it was changed, voxels then
        self._cells = SegmentColumns(ui.segmentsTable, self._cellsOf, icons.icon("Good"), self._goToSegment, _HIGHEST_SEGMENTS)
        table = ui.resultsTable
        setUpTable(table, [_("Structure"), _("Result"), _("Volume"), _("Agreement")], widest=0)
        table.connect("cellClicked(int,int)", self._goTo)
        ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_which: self._showDelete())
        ui.deleteButton.connect("clicked()", self._delete)
        ui.undoButton.connect("clicked()", self._undoClicked)
        ui.redoButton.connect("clicked()", self._redoClicked)
        ui.editorButton.connect("clicked()", self._edit)
        ui.apartButton.setText(_("Run again, one request each"))
        ui.apartButton.connect("clicked()", self._runApart)
        self._saveMenu = SaveMenu(ui, logic, chosen, say)
        self._runsMenu, self._tableMenu = qt.QMenu(ui.runsButton), qt.QMenu(ui.tableButton)
        ui.runsButton.setMenu(self._runsMenu)
        ui.tableButton.setMenu(self._tableMenu)
        addAction(self._tableMenu, _("Copy table"), self._copy)
        addAction(self._tableMenu, _("Show as table"), self._showTable)

    @property
    def segmentationNode(self) -> Any:
        """The segmentation that is shown: the chosen one."""
        return self._chosen()[0]

    def stop(self) -> None:
        """Nothing more is shown."""
        self._cells.stop()

    def show(self) -> None:
        """Show what is in effect now."""
        ui, node = self._ui, self.segmentationNode
        self._rows = list(self._history.rows(node))
        self._fill()
        hasSegments = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        for widget in (ui.segmentsTable, ui.show3DButton):
            shown = node if hasSegments else None
            if widget.segmentationNode() is not shown:
                widget.setSegmentationNode(shown)
        ui.segmentsTable.setVisible(hasSegments)
        self._cells.fill()
        self._showDelete()
        ui.show3DButton.setEnabled(hasSegments)
        editor = segment_editor.openEditor(node)
        last = self._titleOf(undo.lastInEffect(node)) if node is not None else None
        setReady(ui.undoButton, last is not None, _("Undo the last run: {prompts}.").format(prompts=last), _("There is no run to undo."))
        setReady(ui.redoButton, undo.canRedo(node, editor), _("Redo the run that was undone."), _("There is no run to redo."))
        ui.editorButton.setEnabled(hasSegments and segment_editor.isThere())
        setTip(
            ui.editorButton,
            _("Correct the segments with the Segment Editor's own tools.") if hasSegments else _("There is no segment yet."),
        )
        ui.tableButton.setEnabled(bool(self._rows))
        self._saveMenu.show()
        self._fillRuns()

    def _titleOf(self, mark: str) -> str | None:
        """The prompts of an import, None where there is no import."""
        if not mark:
            return None
        return next((record.title for record in self._history.all() if record.result.mark == mark), _("an earlier import"))

    def _fill(self) -> None:
        table, listed = self._ui.resultsTable, self._listed()
        filled = tuple((id(record), id(row), self._nameOf(row)) for record, row in listed)
        newest = self._rows[0][0] if self._rows else None
        showSentence(self._ui.reportLabel, _warnings(newest.result if newest is not None else None))
        showSentence(self._ui.resultsLabel, _engines(self._rows))
        self._ui.apartButton.setVisible(_isNestedTogether(newest))
        if filled == self._filled:
            return
        self._filled = filled
        table.horizontalHeader().setVisible(not self._cells.isThere)
        table.setColumnHidden(2, self._cells.isThere)
        table.setColumnHidden(3, all(row.agreement is None for _record, row in listed))
        rows = ((self._texts(row), _rowTip(record, row)) for record, row in listed)
        fillTable(table, rows, _HIGHEST if self._cells.isThere else _HIGHEST_SEGMENTS)
        for number, (_record, row) in enumerate(listed):
            table.item(number, 0).setIcon(_swatch(row) if row.state == FOUND else self._icons.icon("Unknown"))

    def _listed(self) -> list[tuple[RunRecord, ResultRow]]:
        """The rows that stand apart: those without a segment, as the newest run with that prompt has them."""
        if not self._cells.isThere:
            return self._rows
        seen: set[str] = set()
        listed = []
        for record, row in self._rows:
            if row.state != FOUND and row.text not in seen:
                listed.append((record, row))
            seen.add(row.text)
        return listed

    def _foundAs(self, segmentId: str) -> tuple[RunRecord, ResultRow] | None:
        """The newest run that made a segment, and its row."""
        return next(((record, row) for record, row in self._rows if row.state == FOUND and row.segmentId == segmentId), None)

    def _cellsOf(self, segmentId: str) -> Cells:
        """What stands beside a segment in Slicer's table."""
        made, segment = self._foundAs(segmentId), self.segmentationNode.GetSegmentation().GetSegment(segmentId)
        if made is None:
            tags = {name.removeprefix(TAG): value for name, value in tagsOf(segment).items()}
            return Cells(_("found") if tags else "", self._volumeText(segmentId, None), "", _tagsTip(tags))
        record, row = made
        tip = _rowTip(record, row)
        if self._voxelsOf(segmentId, made) != row.voxels:
            tip += "\n" + _("The segment has been edited since.")
        agreement = "" if row.agreement is None else f"{100 * row.agreement:.0f}"
        return Cells(_stateText(row), self._volumeText(segmentId, made), agreement, tip)

    def _voxelsOf(self, segmentId: str, made: tuple[RunRecord, ResultRow] | None) -> int:
        """How many voxels a segment has now. They are counted again after a change, while somebody can see them."""
        node = self.segmentationNode
        key, changed = (node.GetID(), segmentId), segmentChanged(node, segmentId)
        known = self._sizes.get(key)
        if known is None and made is not None and made[0] is self._rows[0][0]:  # just made
            known = (changed, made[1].voxels)
        elif known is None or (known[0] != changed and self._ui.segmentsTable.visible):
            known = (changed, self._counted.voxels(node, segmentId))
        self._sizes[key] = known
        return known[1]

    def _volumeOf(self, segmentId: str, made: tuple[RunRecord, ResultRow] | None) -> float | None:
        """Milliliters of a segment as it is now, None where there is no such thing: a 2D picture."""
        node, volumeNode = self._chosen()
        image = volumeNode.GetImageData() if volumeNode is not None else None
        isFlat = made[1].volumeMl is None if made is not None else image is not None and image.GetDimensions()[2] == 1
        return None if isFlat else segmentMilliliters(node, segmentId, self._voxelsOf(segmentId, made))

    def _volumeText(self, segmentId: str, made: tuple[RunRecord, ResultRow] | None) -> str:
        volume = self._volumeOf(segmentId, made)
        return "" if volume is None else _milliliters(volume)

    def _texts(self, row: ResultRow) -> tuple[str, str, str, str]:
        volume = "" if row.volumeMl is None or row.state != FOUND else _("{volume} ml").format(volume=_milliliters(row.volumeMl))
        agreement = "" if row.agreement is None else _("{percent} %").format(percent=f"{100 * row.agreement:.0f}")
        return self._nameOf(row), _stateText(row), volume, agreement

    def _nameOf(self, row: ResultRow) -> str:
        """The segment's name as it is now, the prompt's where there is no segment."""
        node = self.segmentationNode
        segment = node.GetSegmentation().GetSegment(row.segmentId) if node is not None and row.segmentId else None
        return segment.GetName() if segment is not None else row.name

    def _goTo(self, rowNumber: int, _column: int) -> None:
        listed = self._listed()
        row = listed[rowNumber][1] if rowNumber < len(listed) else None
        if row is not None and row.segmentId:
            self._ui.segmentsTable.setSelectedSegmentIDs([row.segmentId])
            self._goToSegment(row.segmentId)

    def _goToSegment(self, segmentId: str) -> None:
        """Show a segment in the slice views: a point inside of it where the run knows one and nobody has edited it, its middle otherwise."""
        made = self._foundAs(segmentId)
        if made is not None and made[1].position is not None and self._voxelsOf(segmentId, made) == made[1].voxels:
            slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *made[1].position)
        else:
            self._ui.segmentsTable.jumpSlices()

    def _showDelete(self) -> None:
        isChosen = bool(self._ui.segmentsTable.selectedSegmentIDs())
        setReady(self._ui.deleteButton, isChosen, _("Delete the selected segments."), _("Select a segment in the table."))

    def _delete(self) -> None:
        node = self.segmentationNode
        if node is None:
            return
        segmentation, chosen = node.GetSegmentation(), self._ui.segmentsTable.selectedSegmentIDs()
        names = [segmentation.GetSegment(each).GetName() for each in chosen if segmentation.GetSegment(each) is not None]
        question = _("Delete {names}?").format(names=", ".join(names))
        if not names or not slicer.util.confirmOkCancelDisplay(plainTip(question), parent=self._ui.deleteButton.window()):
            return
        segment_editor.saveEditorState(node)  # so that the Segment Editor can bring them back
        for each in chosen:
            segmentation.RemoveSegment(each)

    def _undoClicked(self) -> None:
        self._move(self._logic.undoLastRun, _("The last run was undone."), _("There is no run to undo."))

    def _redoClicked(self) -> None:
        self._move(
            self._logic.redoLastRun, _("The run was redone."), _("The run cannot be redone, because segments have been edited since.")
        )

    def _move(self, how: Any, done: str, notDone: str) -> None:
        node = self.segmentationNode
        try:
            moved = how(node, editor=segment_editor.openEditor(node))
        except UsageError as error:
            self._say(words(error), error)
            return
        self.show()
        self._say(done if moved else notDone)

    def _edit(self) -> None:
        node, volumeNode = self._chosen()
        selected = self._ui.segmentsTable.selectedSegmentIDs()
        segment_editor.editIn(node, volumeNode, selected[0] if selected else "")

    def _runApart(self) -> None:
        """Run the newest run again, each prompt in a request of its own."""
        if self._rows:
            record = self._rows[0][0]
            self._runAgain(replace(record, choices={**record.choices, "Group": "each"}))

    def _fillRuns(self) -> None:
        menu, records = self._runsMenu, self._history.all()
        menu.clear()
        for record in records:
            title = record.title if len(record.title) <= _TITLE else record.title[: _TITLE - 1] + "…"
            text = _("{time}  {prompts}: {found} of {all} found, {endpoint}").format(
                time=f"{record.when:%H:%M}", prompts=title, found=record.found, all=len(record.result.rows), endpoint=_endpoint(record)
            )
            if record.isFromEditor:
                text = _("{run} (Segment Editor)").format(run=text)
            addAction(menu, text, partial(self._runAgain, record))
        tip = _("Runs of this session. Choose one to run it again.")
        setReady(self._ui.runsButton, bool(records), tip, _("There has been no run yet."))

    def _columns(self) -> list[tuple[str, list]]:
        """What is copied: a row for each prompt of every run; volumes are those of now."""
        titles = (_("Structure"), _("Result"), _("Volume (ml)"), _("Voxels"), _("Prompt"), _("Endpoint"), _("Time"))
        rows = []
        for record, row in self._rows:
            isFound = row.state == FOUND
            volume = self._volumeOf(row.segmentId, (record, row)) if isFound else None
            voxels = self._voxelsOf(row.segmentId, (record, row)) if isFound else 0
            texts = (self._nameOf(row), _stateText(row), "" if volume is None else f"{volume:.4f}", str(voxels))
            rows.append((*texts, row.text, record.endpoint, f"{record.when:%Y-%m-%d %H:%M:%S}"))
        return [(title, [row[column] for row in rows]) for column, title in enumerate(titles)]

    def _copy(self) -> None:
        columns = self._columns()
        lines = [[title for title, _values in columns], *zip(*(values for _title, values in columns))]
        qt.QApplication.clipboard().setText("\n".join("\t".join(_cell(text) for text in line) for line in lines))
        self._say(_("The table was copied to the clipboard."))

    def _showTable(self) -> None:
        node = self.segmentationNode
        name = _("Results of {segmentation}").format(segmentation=node.GetName()) if node is not None else _("Results")
        tables.showTable(tables.tableFromColumns(name, self._columns()))


def _stateText(row: ResultRow) -> str:
    if row.state == FOUND:
        return _("found")
    if row.state == ABSENT:
        return _("not found")
    if row.state == COVERED:
        return _("covered")
    if row.state == SMALL:
        return _("too small")
    return _("no result")


def _rowTip(record: RunRecord, row: ResultRow) -> str:
    """What became of a prompt, and who says so."""
    if row.state == FOUND:
        text = _("Click to go to {name}.").format(name=row.name)
    elif row.state == ABSENT:
        text = _("The model did not find {name} in this image; no segment was added.").format(name=row.name)
    elif row.state == COVERED:
        text = _("{name} was found, but other segments already cover all of it, and these were kept.").format(name=row.name)
    elif row.state == SMALL:
        text = _("{name} was found, but each of its separate structures is smaller than the chosen minimum size.").format(name=row.name)
    else:
        text = _("The run stopped before the result for {name} was received.").format(name=row.name)
    return f"{text}\n{_madeBy(row.text, record.result.engine or record.model, _endpoint(record), f'{record.when:%Y-%m-%d %H:%M}')}"


def _tagsTip(tags: dict[str, str]) -> str:
    """Who made a segment of another session, as it says itself."""
    if not tags:
        return _("This segment was not made by MedImageParse.")
    model = tags.get("Engine") or tags.get("Model", "")
    return _madeBy(tags.get("Prompt", ""), model, tags.get("Endpoint", ""), tags.get("Date", ""))


def _madeBy(prompt: str, model: str, endpoint: str, time: str) -> str:
    text = _("Prompt: {prompt}\nModel: {model}\nEndpoint: {endpoint}\nTime: {time}")
    return text.format(prompt=prompt, model=model, endpoint=endpoint, time=time)


def _endpoint(record: RunRecord) -> str:
    """Name and host of where a run was sent."""
    return _("{name} ({host})").format(name=record.endpoint, host=record.host) if record.host else record.endpoint


def _engines(rows: list[tuple[RunRecord, ResultRow]]) -> str:
    """Who made what is in the table, where it was not one of the published models."""
    engines = list(dict.fromkeys(record.result.engine for record, _row in rows if record.result.engine))
    return _("Made by: {engines}.").format(engines=", ".join(engines)) if engines else ""


def _warnings(result: RunResult | None) -> str:
    """What a run warned of. Who made it is not repeated: that stands above the table."""
    if result is None:
        return ""
    return "\n".join(worded(warning) for warning in result.warnings if not (result.engine and result.engine in str(warning)))


def _isNestedTogether(record: RunRecord | None) -> bool:
    """Whether a run sent targets that contain each other in one request to the 3D model."""
    if record is None or record.choices.get("Group") != "together" or record.choices.get("Mode") != "volume":
        return False
    return grouping.nested_warning([row.text for row in record.result.rows]) is not None


def _swatch(row: ResultRow) -> Any:
    pixmap = qt.QPixmap(_SWATCH, _SWATCH)
    color = qt.QColor(0, 0, 0, 0)
    if row.state == FOUND:
        color = qt.QColor(*(round(255 * part) for part in row.color))
    pixmap.fill(color)
    return qt.QIcon(pixmap)


def _milliliters(volume: float) -> str:
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.1f}" if volume >= 1 else f"{volume:.2g}"


def _cell(text: str) -> str:
    """A cell for a spreadsheet: on one line, and no formula whatever it begins with."""
    return csv_cell(" ".join(plain(text).split()))
