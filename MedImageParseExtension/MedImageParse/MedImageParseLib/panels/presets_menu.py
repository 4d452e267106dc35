"""The menu of presets: those that come with the program, a person's own, and keeping, sharing and deleting these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import UsageError
from ..prompts import presets
from .sentences import worded, words
from .widgets import addAction, plainTip, setTip


class PresetsMenu:
    """Fills the menu of a button.

    Args:
        button: the tool button.
        onTake: called with the prompts of the preset that is chosen.
        typed: gives the prompts in the field; raises UsageError where they cannot be kept.
    """

    def __init__(self, button: Any, onTake: Callable[[Sequence[str]], object], typed: Callable[[], list[str]]):
        self._button, self._onTake, self._typed = button, onTake, typed
        self._menu = qt.QMenu(button)
        self._menu.setToolTipsVisible(True)
        self._deleteMenu: Any = None
        self._listed: tuple = ()
        self._model = ""
        button.setMenu(self._menu)

    def show(self, model: str) -> None:
        """Offer the presets that fit a model. A file of one's own that cannot be read is named in the menu; the others stay."""
        self._model = model
        fault = ""
        try:
            found = list(presets.presets(model).values())
        except UsageError as error:
            found, fault = list(presets.presets(model, own=False).values()), words(error)
        setTip(self._button, fault or _("Saved lists of targets."))
        listed = (fault, *((preset.name, preset.prompts) for preset in found))
        if listed != self._listed:
            self._listed = listed
            self._fill(found, fault)

    def _fill(self, found: Sequence[presets.Preset], fault: str) -> None:
        self._menu.clear()
        for preset in found:
            text = _("{name} ({count})").format(name=preset.name, count=len(preset.prompts))
            addAction(self._menu, text, partial(self._onTake, preset.prompts), worded(preset.title))
        self._menu.addSeparator()
        if fault:
            addAction(self._menu, _("Your presets cannot be read…"), partial(slicer.util.errorDisplay, fault), fault)
            return
        addAction(self._menu, _("Save as preset…"), self._keep)
        addAction(self._menu, _("Import presets…"), self._import)
        own = [preset.name for preset in found if preset.is_own]
        if own:
            addAction(self._menu, _("Export presets…"), self._export)
            self._deleteMenu = qt.QMenu(_("Delete preset"), self._menu)
            self._menu.addMenu(self._deleteMenu)
            for name in own:
                addAction(self._deleteMenu, name, partial(self._delete, name))

    def _keep(self) -> None:
        try:
            prompts = tuple(self._typed())
        except UsageError as error:
            slicer.util.errorDisplay(words(error))
            return
        typed = str(qt.QInputDialog.getText(slicer.util.mainWindow(), _("Save as preset"), _("Name:")) or "")
        name = "-".join(typed.split())  # a name is one word, as on the command line
        if name:
            self._change(lambda: self._save([presets.Preset(name, prompts, model=self._model)]))

    def _save(self, added: list[presets.Preset]) -> None:
        """Keep presets; those that would be replaced by others are asked about first."""
        there = presets.presets()
        clash = [each.name for each in added if each.name in there and there[each.name].is_own and there[each.name].prompts != each.prompts]
        if clash and not self._confirmed(_("Replace {names}?").format(names=", ".join(clash))):
            return
        presets.add_presets(added)

    def _import(self) -> None:
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Import presets"), "", _("Presets (*.json)"))
        if path:
            self._change(lambda: self._save(list(presets.read_presets(path).values())))

    def _export(self) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export presets"), "presets.json", _("Presets (*.json)"))
        if path:
            self._change(lambda: presets.export_presets(Path(path)))

    def _delete(self, name: str) -> None:
        if self._confirmed(_("Delete {names}?").format(names=name)):
            self._change(lambda: presets.remove_preset(name))

    def _confirmed(self, question: str) -> bool:
        return bool(slicer.util.confirmOkCancelDisplay(plainTip(question), parent=self._button.window()))

    def _change(self, change: Callable[[], object]) -> None:
        try:
            change()
        except UsageError as error:
            slicer.util.errorDisplay(words(error))
        self.show(self._model)
