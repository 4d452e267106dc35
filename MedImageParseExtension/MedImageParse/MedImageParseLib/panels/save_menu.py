"""The menu "Save results as…": the segments as files that other programs read, and what they measure as a table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..scene import tables
from .sentences import worded, words
from .widgets import addAction, setReady


class SaveMenu:
    """Files and a table made of the chosen segmentation, on the chosen volume's grid.

    Args:
        ui: the panel's widgets.
        logic: writes and measures.
        chosen: gives (segmentation, volume) as they are chosen now.
        say: say(sentence, error) shows the person a sentence, and what is about an error as one.
    """

    def __init__(self, ui: Any, logic: Any, chosen: Callable[[], tuple[Any, Any]], say: Callable[..., object]):
        self._ui, self._logic, self._chosen, self._say = ui, logic, chosen, say
        self._menu = qt.QMenu(ui.saveResultsButton)
        ui.saveResultsButton.setMenu(self._menu)
        for text, kind, ending, names in (
            (_("DICOM segmentation…"), "dicomSeg", ".dcm", _("DICOM (*.dcm)")),
            (_("RT structure set…"), "rtstruct", ".dcm", _("DICOM (*.dcm)")),
            (_("Labelmap…"), "labels", ".nii.gz", _("Labelmaps (*.nii.gz *.nrrd)")),
            (_("Statistics…"), "statistics", ".csv", _("Tables (*.csv *.json)")),
        ):
            addAction(self._menu, text, partial(self._saveFile, kind, ending, names))
        addAction(self._menu, _("One labelmap per segment…"), self._saveMasks)
        addAction(self._menu, _("Show statistics as table"), self._showStatistics)

    def show(self) -> None:
        """Show whether there is anything to save."""
        node, volumeNode = self._chosen()
        isReady = node is not None and volumeNode is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        tip = _("Save the segments as they are now, on the volume's grid.")
        setReady(self._ui.saveResultsButton, isReady, tip, _("There is no segment yet."))

    def _saveFile(self, kind: str, ending: str, names: str) -> None:
        path = str(qt.QFileDialog.getSaveFileName(self._ui.saveResultsButton, _("Save results"), f"results{ending}", names))
        if path:
            self._save({kind: path if "." in path.replace("\\", "/").rpartition("/")[2] else path + ending})

    def _saveMasks(self) -> None:
        folder = str(qt.QFileDialog.getExistingDirectory(self._ui.saveResultsButton, _("Folder for the labelmaps"), ""))
        if folder:
            self._save({"masks": folder})

    def _save(self, files: dict[str, str]) -> None:
        node, volumeNode = self._chosen()
        try:
            saved = self._logic.saveResults(node, volumeNode, **files)
        except MedImageParseError as error:
            self._say(words(error), error)
            return
        count = len(saved.paths)
        done = _("Saved {path}.").format(path=saved.paths[0]) if count == 1 else _("Saved {count} files.").format(count=count)
        self._say(" ".join([done, *map(worded, saved.warnings)]))

    def _showStatistics(self) -> None:
        try:
            tables.showTable(self._logic.statistics(*self._chosen()))
        except MedImageParseError as error:
            self._say(words(error), error)
