"""The prompt field, the prompts of earlier runs, and presets: named lists of prompts, a person's own among them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..errors import UsageError
from ..prompts import grammar
from ..prompts.catalogue import lookup
from .browse_dialog import BrowseDialog
from .completer import Completer
from .pixmaps import Watcher
from .presets_menu import PresetsMenu
from .prompt_hints import PromptHints
from .sentences import words
from .widgets import addAction, setReady, signalsBlocked

_SETTINGS_KEY = "MedImageParse/RecentPrompts"
_KEPT = 12
_SHOWN = 60  # characters of an entry in the menu
_FEWEST_LINES, _MOST_LINES = 4, 8  # of the field; more are scrolled


class PromptBox:
    """What to look for.

    Args:
        ui: the panel's widgets: promptsEdit, recentButton, presetsButton, browseButton, hintLabel, hintButton.
        onChange: called with the text when the person has changed it.
        image: gives (model, modality) of what would be asked: a key of models.MODELS, a DICOM modality; "" for what is not known.
        isTogether: whether all prompts would go to the 3D model in one request.
        sendApart: lets nested targets go in requests of their own.
    """

    def __init__(
        self,
        ui: Any,
        onChange: Callable[[str], object],
        image: Callable[[], tuple[str, str]],
        isTogether: Callable[[], bool],
        sendApart: Callable[[], object],
    ):
        self._edit, self._recentButton = ui.promptsEdit, ui.recentButton
        self._onChange, self._image, self._isTogether = onChange, image, isTogether
        self.hints = PromptHints(ui, self._asked, self._replace, sendApart)
        self.completer = Completer(ui.promptsEdit, image, self.hints.later)
        self._browser: BrowseDialog | None = None
        self._presets = PresetsMenu(ui.presetsButton, self._fill, self.prompts)
        self._menu = qt.QMenu(self._recentButton)
        self._recentButton.setMenu(self._menu)
        self._edit.connect("textChanged()", self._changed)
        self._edit.connect("blockCountChanged(int)", lambda _count: self._fit())
        self._watcher = Watcher(onResize=self._fit)
        self._edit.installEventFilter(self._watcher)
        ui.browseButton.connect("clicked()", self.browse)
        self._fillMenu()

    @property
    def text(self) -> str:
        return self._edit.toPlainText()

    def set(self, text: str) -> None:
        """Show a text without telling anybody."""
        if text != self.text:
            with signalsBlocked(self._edit):
                self._edit.setPlainText(text)
        self.hints.later()

    def _fit(self) -> None:
        """Make the field as high as its lines, so that no prompt is out of sight."""
        lines = min(max(self._edit.blockCount, _FEWEST_LINES), _MOST_LINES)
        around = 2 * (self._edit.frameWidth + round(self._edit.document().documentMargin)) + 1
        height = lines * (qt.QFontMetrics(self._edit.font).lineSpacing() + 1) + around  # Qt rounds each line up
        if height != self._edit.height:
            self._edit.setFixedHeight(height)

    def prompts(self) -> list[str]:
        """The prompts, one a structure. Raises UsageError with a sentence: none given, one given twice."""
        return grammar.parse_prompts([self.text])

    def fault(self) -> str:
        """Why these prompts cannot be sent, "" where they can."""
        try:
            self.prompts()
        except UsageError as error:
            return words(error)
        return ""

    def remember(self) -> None:
        """Put what is there now at the head of the recent prompts. Names of structures only, nothing about a patient."""
        text = " & ".join(self.prompts())
        entries = [text, *(entry for entry in recentPrompts() if entry != text)]
        qt.QSettings().setValue(_SETTINGS_KEY, json.dumps(entries[:_KEPT]))
        self._fillMenu()

    def showPresets(self, model: str) -> None:
        """Offer the presets that fit a model, and keeping what is typed as one's own."""
        self._presets.show(model)

    def browse(self) -> None:
        """Show the known targets, to tick them."""
        if self._browser is None:
            self._browser = BrowseDialog(self._browsed)
        self._browser.open(self._typed(), *self._image())

    def stop(self) -> None:
        """The panel is closed."""
        self.completer.stop()
        self.hints.stop()
        if self._browser is not None:
            self._browser.close()

    def _browsed(self, added: list[str], removed: list[str]) -> None:
        kept = [prompt for prompt in self._typed() if (target := lookup(prompt)) is None or target.name not in removed]
        self._fill([*kept, *added])

    def _typed(self) -> list[str]:
        """What is in the field, one a structure, also where it cannot be sent."""
        return [part.strip() for part in re.split(r"[&\n]", self.text) if part.strip()]

    def _asked(self) -> tuple[list[str], str, bool]:
        try:
            prompts = [] if self.completer.isOpen else self.prompts()
        except UsageError:
            prompts = []  # the reason under Run says why
        return prompts, self._image()[1], self._isTogether()

    def _replace(self, prompt: str, by: str) -> None:
        parts = [each.strip() for each in by.split("&")]
        typed = self._typed()
        others = {other.casefold() for other in typed if other != prompt}
        self._fill(
            [new for each in typed for new in ([part for part in parts if part.casefold() not in others] if each == prompt else [each])]
        )

    def _take(self, text: str) -> None:
        self._fill([part.strip() for part in text.split("&")])

    def _fill(self, prompts: Iterable[str]) -> None:
        """Put prompts into the field as typing would, so that Ctrl+Z there brings back what was in it."""
        self._edit.selectAll()
        self._edit.insertPlainText("\n".join(prompts))
        self._edit.setFocus()

    def _changed(self) -> None:
        self._onChange(self.text)
        self.hints.later()

    def _fillMenu(self) -> None:
        entries = recentPrompts()
        self._menu.clear()
        for entry in entries:
            shown = entry if len(entry) <= _SHOWN else entry[:_SHOWN] + "…"
            addAction(self._menu, shown, partial(self._take, entry))
        setReady(self._recentButton, bool(entries), _("Prompts of earlier runs."), _("There has been no run yet."))


def recentPrompts() -> list[str]:
    """What was looked for in earlier runs, the latest first."""
    try:
        entries = json.loads(qt.QSettings().value(_SETTINGS_KEY, "[]") or "[]")
    except (TypeError, ValueError):
        return []  # somebody else's or an older version's; it is replaced by the next run
    return [entry for entry in entries if isinstance(entry, str) and entry.strip()][:_KEPT] if isinstance(entries, list) else []
