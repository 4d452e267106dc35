"""Putting images into the index, and which index."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..logic.indexing_runs import NO_DATABASE, openDatabase
from ..logic.jobs import Job
from ..scene.volumes import volumeNodes
from ..tasks.indexing import IndexingResult
from .search_context import SearchContext
from .sentences import worded
from .task_box import TaskBox, sizeText
from .widgets import Choice, addAction, setPlain, setTip, signalsBlocked

VOLUME, ALL, FOLDER, DATABASE = "volume", "all", "folder", "database"


class IndexBox:
    """The Index section.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
    """

    def __init__(self, ui: Any, context: SearchContext):
        self._ui, self._context, self._choices = ui, context, context.choices
        self.task = TaskBox(context, ui, "index", self._start, _("Add these images to the index."))
        self._job: Job | None = None
        self._what = Choice(
            ui.indexWhatComboBox,
            (
                (VOLUME, _("This volume")),
                (ALL, _("All loaded volumes")),
                (FOLDER, _("A folder…")),
                (DATABASE, _("DICOM database")),
            ),
            lambda _key: context.changed(),
        )
        self._plane = Choice(
            ui.indexPlaneComboBox,
            (("auto", _("Automatic")), ("axial", _("Axial")), ("coronal", _("Coronal")), ("sagittal", _("Sagittal"))),
            lambda key: self._choose("plane", key),
        )
        ui.indexEverySpinBox.connect("valueChanged(int)", lambda value: self._choose("every", value))
        for box, name in self._checkBoxes():
            box.connect("toggled(bool)", lambda on, name=name: self._choose(name, bool(on)))
        self._menu = qt.QMenu(ui.indexFileButton)
        addAction(self._menu, _("Open an index…"), self._open)
        addAction(self._menu, _("New index…"), self._new)
        addAction(self._menu, _("Default index"), lambda: self.useIndex(""))
        ui.indexFileButton.setMenu(self._menu)

    def show(self) -> None:
        """Show everything as it is now."""
        ui, choices = self._ui, self._choices
        self._plane.set(choices["plane"])
        with signalsBlocked(ui.indexEverySpinBox):
            ui.indexEverySpinBox.setValue(choices["every"])
        for box, name in self._checkBoxes():
            with signalsBlocked(box):
                box.setChecked(choices[name])
        if ui.indexPathEdit.text != choices.indexPath:
            ui.indexPathEdit.setText(choices.indexPath)
            setTip(ui.indexPathEdit, choices.indexPath)
        info = self._info()
        if ui.indexInfoLabel.text != info:
            setPlain(ui.indexInfoLabel, info)
        self.task.showReady(self.whyNot())

    def whyNot(self) -> str:
        """Why indexing cannot start, "" where it can."""
        return self._whyNoImages() or self._context.whyNoEndpoint() or self._context.indexFault

    def useIndex(self, path: str) -> None:
        """Work with another index file from now on; "" for the default one."""
        self._choices["index"] = path
        self._context.summary, self._context.indexFault = None, ""
        self.task.message.say("")
        self._context.readIndex()
        self._context.changed()

    def _whyNoImages(self) -> str:
        what = self._what.key
        if what == VOLUME:
            return self._context.whyNoVolume()
        if what == ALL and not volumeNodes(slicer.mrmlScene):
            return _("No volume is loaded yet.")
        if what == DATABASE and openDatabase() is None:
            return NO_DATABASE
        return ""

    def _info(self) -> str:
        context, summary = self._context, self._context.summary
        if context.indexFault:
            return worded(context.indexFault)
        if summary is None:
            return _("Reading the index…")
        if not summary.images:
            return _("The index is empty.")
        if len(summary.studies) == 1:
            text = _("The index contains {images} images of one volume, {size}.")
            return text.format(images=f"{summary.images:,}", size=sizeText(summary.bytes))
        return _("The index contains {images} images of {studies} volumes and pictures, {size}.").format(
            images=f"{summary.images:,}", studies=f"{len(summary.studies):,}", size=sizeText(summary.bytes)
        )

    def _start(self) -> Job | None:
        logic, what, options = self._context.logic, self._what.key, self._choices.forIndexing()
        if what == FOLDER:
            folder = qt.QFileDialog.getExistingDirectory(self._context.widget, _("Index a folder"), "")
            if not folder:
                return None
            start = partial(logic.indexFolder, folder, **options)
        elif what == DATABASE:
            start = partial(logic.indexDatabase, **options)
        else:
            nodes = [self._context.volumeNode] if what == VOLUME else volumeNodes(slicer.mrmlScene)
            start = partial(logic.indexVolumes, nodes, **options)
        cancelled = _("Cancelled. What was stored is kept. Press Index to continue.")
        self._job = self._context.begin(self.task, start, self._take, cancelled=cancelled, ended=self._context.readIndex)
        return self._job

    def _take(self, result: IndexingResult) -> None:
        self.task.message.say(_outcome(result, self._job.elapsed if self._job is not None else 0.0))

    def _open(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self._context.widget, _("Open an index"), self._folder(), _("Indexes (*.index)"))
        if path:
            self.useIndex(path)

    def _new(self) -> None:
        path = qt.QFileDialog.getSaveFileName(self._context.widget, _("New index"), self._folder(), _("Indexes (*.index)"))
        if path:
            self.useIndex(path if os.path.splitext(path)[1] else path + ".index")

    def _folder(self) -> str:
        folder = os.path.dirname(self._choices.indexPath)
        return folder if os.path.isdir(folder) else ""

    def _checkBoxes(self) -> tuple[tuple[Any, str], ...]:
        ui = self._ui
        return (ui.indexContentCheckBox, "content"), (ui.indexThumbnailsCheckBox, "thumbnails"), (ui.indexPathsCheckBox, "paths")

    def _choose(self, name: str, value: Any) -> None:
        self._choices[name] = value


def _outcome(result: IndexingResult, seconds: float) -> str:
    """ "12 new, 38 were there. 1.2 MB sent in 3 s.", and what is worth knowing."""
    text = _("{new} slices added, {there} already in the index.").format(new=f"{result.embedded:,}", there=f"{result.already_there:,}")
    left = sum(tally.without_content for tally in result.tallies)
    if left:
        text += " " + _("{left} empty slices were skipped.").format(left=f"{left:,}")
    sent = result.report.get("bytes_sent", 0)
    if sent:
        duration = f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"
        text += " " + _("{size} sent in {seconds} s.").format(size=sizeText(sent), seconds=duration)
    return "\n".join([text, *map(worded, filter(None, [result.failure, *result.report.get("warnings", ())]))])
