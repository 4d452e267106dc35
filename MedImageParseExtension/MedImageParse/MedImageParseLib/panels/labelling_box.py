"""Labels given by clicking: the images of the index, some at a time, and what is said of those that are selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..logic.adapter_runs import ImagePage
from ..logic.jobs import Job
from ..search.records import Hit
from .hits_grid import HitsGrid, nameText, placeText
from .search_context import SearchContext
from .task_box import TaskBox
from .widgets import Choice, plain, showSentence, signalsBlocked

_ALL, _PAGE = "", 24


class LabellingBox:
    """The section Label images. Nothing is sent anywhere; the labels are kept in the index.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
        onOpen: onOpen(hit, task) brings the person to an image.

    Attributes:
        mark: the half that labels what is selected.
    """

    def __init__(self, ui: Any, context: SearchContext, onOpen: Callable[..., object]):
        self._ui, self._context = ui, context
        self.task = TaskBox(context, ui, "tag", self._show, _("Show the images of the index, to label them by clicking."))
        self.page: ImagePage | None = None
        self._start = 0
        self._shownOf = ""  # the index file of what is shown
        self.grid = HitsGrid(ui.tagList, lambda hit: onOpen(hit, self.task), self._lines, self._tip)
        self._study = Choice(ui.tagStudyComboBox, ((_ALL, _("All volumes and pictures")),), lambda _key: self._again(0))
        ui.tagSetComboBox.connect("currentTextChanged(QString)", lambda _text: self._setChosen())
        ui.tagLabelComboBox.connect("currentTextChanged(QString)", lambda _text: context.changed())
        ui.tagList.connect("itemSelectionChanged()", context.changed)
        ui.tagBackButton.connect("clicked()", lambda: self._again(self._start - _PAGE))
        ui.tagNextButton.connect("clicked()", lambda: self._again(self._start + _PAGE))
        self.mark = MarkBox(ui, context, self)

    @property
    def set(self) -> str:
        """The name of the set of labels."""
        return str(self._ui.tagSetComboBox.currentText).strip()

    @property
    def label(self) -> str:
        """What is said of the images."""
        return str(self._ui.tagLabelComboBox.currentText).strip()

    def show(self) -> None:
        """Show everything as it is now."""
        summary = self._context.summary
        named = [(study.series, name) for study, name in self._context.studies() if study.series]
        self._study.fill([(_ALL, _("All volumes and pictures")), *named])
        sets = {one.set: list(one.counts) for one in summary.label_sets} if summary is not None else {}
        _offer(self._ui.tagSetComboBox, list(sets))
        _offer(self._ui.tagLabelComboBox, sets.get(self.set, []))
        if self._shownOf and self._shownOf != self._context.choices.indexPath:
            self._take(None)
        self.task.showReady(self._context.whyNoIndex())
        ui, page = self._ui, self.page
        for button, isThere in (
            (ui.tagBackButton, page is not None and page.start > 0),
            (ui.tagNextButton, page is not None and page.start + len(page.images) < page.total),
        ):
            button.setVisible(page is not None and page.total > len(page.images))
            button.setEnabled(isThere and self.task.job is None)

    def reload(self) -> None:
        """Show the same images again, with the labels that they have now."""
        self._again(self._start)

    def _show(self) -> Job | None:
        context = self._context
        self._shownOf = context.choices.indexPath
        return context.begin(
            self.task,
            lambda **how: context.logic.listImages(
                series=self._study.key, start=self._start, count=_PAGE, labels=self.set, index=self._shownOf, **how
            ),
            self._take,
            sends=False,
        )

    def _again(self, start: int) -> None:
        self._start = max(0, start)
        if self.page is not None:
            self.task.start()

    def _setChosen(self) -> None:
        known = self._context.summary.label_sets if self._context.summary is not None else ()
        if self.page is not None and (self.page.labels or any(one.set == self.set for one in known)):
            self.reload()
        self._context.changed()

    def _take(self, page: ImagePage | None) -> None:
        self.page = page
        self._start = page.start if page is not None else 0
        self.grid.show(page.images if page is not None else ())
        if page is None or not page.images:
            showSentence(self._ui.tagNoteLabel, "" if page is None else _("There are no images."))
            return
        words = _("Images {first} to {last} of {total}. Click images to select them. Double-click an image to open it.")
        first, last = page.start + 1, page.start + len(page.images)
        showSentence(self._ui.tagNoteLabel, words.format(first=f"{first:,}", last=f"{last:,}", total=f"{page.total:,}"))

    def _lines(self, hit: Hit) -> list[str]:
        return [self._labels(hit) or _("no label"), nameText(hit.record), placeText(hit.record)]

    def _tip(self, _rank: int, hit: Hit) -> str:
        lines = [nameText(hit.record), placeText(hit.record), self._labels(hit), hit.record.source]
        return "\n".join(line for line in lines if line)

    def _labels(self, hit: Hit) -> str:
        return ", ".join(self.page.labels.get(hit.id, ())) if self.page is not None else ""


class MarkBox:
    """The button that labels what is selected.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
        images: the images and what is typed.
    """

    def __init__(self, ui: Any, context: SearchContext, images: LabellingBox):
        self._context, self._images = context, images
        self.task = TaskBox(context, ui, "mark", self._start, _("Assign this label to the selected images."))

    def show(self) -> None:
        """Show whether this can start."""
        self.task.showReady(self.whyNot())

    def whyNot(self) -> str:
        """Why this cannot start, "" where it can."""
        images = self._images
        if images.page is None or not images.page.images:
            return _("Show the images first.")
        if not images.set or not images.label:
            return _("Type the name of a set and a label.")
        return "" if images.grid.selected else _("Click the images to label.")

    def _start(self) -> Job | None:
        context, images = self._context, self._images
        ids = [hit.id for hit in images.grid.selected]
        return context.begin(
            self.task,
            lambda **how: context.logic.labelImages(ids, images.label, labels=images.set, index=context.choices.indexPath, **how),
            self._marked,
            sends=False,
        )

    def _marked(self, _count: int) -> None:
        self._context.readIndex()
        self._images.reload()


def _offer(comboBox: Any, names: list[str]) -> None:
    """Offer these names, and leave what is typed as it is."""
    typed = str(comboBox.currentText)
    shown = [str(comboBox.itemText(row)) for row in range(comboBox.count)]
    names = [plain(name) for name in names]
    if names == shown:
        return
    with signalsBlocked(comboBox):
        comboBox.clear()
        comboBox.addItems(names)
        comboBox.setEditText(typed)
