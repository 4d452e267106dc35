"""Searching: by a slice, a part of it, or a text; and the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..logic.jobs import Job
from ..tasks.find_similar import SearchResult
from .hits_grid import HitsGrid
from .search_choices import AUTO, OFF, ON
from .search_context import SearchContext
from .sentences import worded
from .task_box import TaskBox
from .widgets import Choice, Timer, plain, showSentence, signalsBlocked

SLICE, REGION, TEXT = "slice", "region", "text"
_PAUSE_MS = 250  # a person who scrolls through slices asks for the one where the mouse wheel rests


class QueryBox:
    """The Search section.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
        onOpen: onOpen(hit, task) brings the person to a result.
    """

    def __init__(self, ui: Any, context: SearchContext, onOpen: Callable[..., object]):
        self._ui, self._context = ui, context
        tip = _("Find the most similar images in the index. (Ctrl+Enter)")
        self.task = TaskBox(context, ui, "similar", self._start, tip)
        self.grid = HitsGrid(ui.hitsList, lambda hit: onOpen(hit, self.task))
        self._asked = ""
        self._askedSlice: Any = None
        self._pause = Timer(self._followNow, _PAUSE_MS)
        self._segments: list[str] = []
        self._mode = Choice(
            ui.queryModeComboBox,
            ((SLICE, _("This slice")), (REGION, _("This region")), (TEXT, _("This text"))),
            lambda _key: context.changed(),
        )
        ui.queryRegionSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: context.chooseNode("SearchRegion", node))
        ui.queryTextEdit.connect("textChanged(QString)", lambda _text: context.changed())
        ui.queryTextEdit.connect("returnPressed()", self.task.start)
        ui.queryTopSpinBox.connect("valueChanged(int)", lambda value: self._choose("top", value))
        ui.leaveOutCheckBox.connect("toggled(bool)", lambda on: self._choose("leaveOut", ON if on else OFF))
        ui.followCheckBox.connect("toggled(bool)", self._followToggled)

    def show(self) -> None:
        """Show everything as it is now."""
        ui, mode, choices = self._ui, self._mode.key, self._context.choices
        region = self._context.parameters.nodeFor("SearchRegion")
        isSegmentation = region is not None and region.IsA("vtkMRMLSegmentationNode")
        for widgets, isVisible in (
            ((ui.queryRegionLabel, ui.queryRegionSelector), mode == REGION),
            ((ui.querySegmentLabel, ui.querySegmentComboBox), mode == REGION and isSegmentation),
            ((ui.queryTextLabel, ui.queryTextEdit), mode == TEXT),
            ((ui.leaveOutCheckBox,), mode != TEXT),
            ((ui.followCheckBox,), mode == SLICE),
        ):
            for widget in widgets:
                widget.setVisible(isVisible)
        with signalsBlocked(ui.queryRegionSelector, ui.queryTopSpinBox, ui.leaveOutCheckBox, ui.followCheckBox):
            ui.queryRegionSelector.setCurrentNode(region)
            ui.queryTopSpinBox.setValue(choices["top"])
            ui.leaveOutCheckBox.setChecked(self._leavesOut())
            ui.followCheckBox.setChecked(choices["follow"])
        if isSegmentation:
            self._showSegments(region)
        self.task.showReady(self.whyNot())

    def whyNot(self) -> str:
        """Why a search cannot start, "" where it can."""
        context, mode = self._context, self._mode.key
        if mode == TEXT:
            why = context.whyNoText() or ("" if self._ui.queryTextEdit.text.strip() else _("Type what to search for."))
        else:
            why = context.whyNoVolume()
            if not why and mode == REGION and self._region() is None:
                why = _("Choose a region of interest, or a segment.")
        return why or context.whyNoEndpoint() or context.whyNoIndex()

    def follow(self) -> None:
        """The person looks at another slice: search with that one, if that is wanted."""
        if self._context.choices["follow"] and self._mode.key == SLICE and self.grid.hits:
            self._pause.start()

    def stay(self) -> None:
        """The slice that is looked at now is a result: do not search with it by itself."""
        self._askedSlice = self._sliceNow()

    def close(self) -> None:
        """Follow no more."""
        self._pause.stop()

    def _followNow(self) -> None:
        if not self._context.isClosed and self.task.job is None and self._sliceNow() != self._askedSlice and not self.whyNot():
            self.task.start()

    def _followToggled(self, on: bool) -> None:
        self._choose("follow", bool(on))
        self.follow()

    def _sliceNow(self) -> Any:
        node = self._context.volumeNode
        return (node.GetID(), self._context.seenSlice()) if node is not None else None

    def _start(self) -> Job | None:
        context, mode, choices = self._context, self._mode.key, self._context.choices
        query: dict[str, Any] = {"top": choices["top"], "index": choices.indexPath}
        if mode == TEXT:
            text = self._ui.queryTextEdit.text.strip()
            asked = _("the text “{text}”").format(text=text)
            query["text"] = text
        else:
            seen = context.seenSlice()
            if seen is None:
                return None  # the volume was closed a moment ago
            texts = {
                "axial": _("axial slice {index} of {volume}"),
                "coronal": _("coronal slice {index} of {volume}"),
                "sagittal": _("sagittal slice {index} of {volume}"),
            }
            asked = texts[seen.plane].format(index=seen.index, volume=context.volumeNode.GetName())
            if mode == REGION:
                asked = _("a region of {slice}").format(slice=asked)
            query.update(
                volumeNode=context.volumeNode, plane=seen.plane, sliceIndex=seen.index, leaveOutVolume=self._leavesOut(),
                region=self._region() if mode == REGION else None,
            )  # fmt: skip
        # When it has ended the person may have gone on.
        job = context.begin(self.task, lambda **how: context.logic.findSimilar(**query, **how), self._take, ended=self.follow)
        self._askedSlice = self._sliceNow()
        self._asked = asked if job is not None else self._asked
        return job

    def _take(self, result: SearchResult) -> None:
        text = _("Most similar to {asked}:") if result.hits else _("Nothing was found for {asked}.")
        showSentence(self._ui.hitsLabel, text.format(asked=self._asked))
        self.task.message.say("\n".join(worded(warning) for warning in result.report.get("warnings", ())))
        self.grid.show(result.hits)

    def _region(self) -> Any:
        """A ROI node, or (segmentation, segment ID); None where nothing is chosen."""
        node = self._context.parameters.nodeFor("SearchRegion")
        if node is None or not node.IsA("vtkMRMLSegmentationNode"):
            return node
        row = self._ui.querySegmentComboBox.currentIndex
        return (node, self._segments[row]) if 0 <= row < len(self._segments) else None

    def _showSegments(self, node: Any) -> None:
        segmentation = node.GetSegmentation()
        ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
        names = [segmentation.GetSegment(each).GetName() for each in ids]
        box = self._ui.querySegmentComboBox
        if ids != self._segments or names != [box.itemText(row) for row in range(box.count)]:
            chosen = self._segments[box.currentIndex] if 0 <= box.currentIndex < len(self._segments) else ""
            self._segments = ids
            box.clear()
            box.addItems([plain(name) for name in names])
            if ids:
                box.setCurrentIndex(ids.index(chosen) if chosen in ids else 0)

    def _leavesOut(self) -> bool:
        """Whether the volume that is searched with is left out: nobody looks for that one where there are others."""
        chosen, summary = self._context.choices["leaveOut"], self._context.summary
        return chosen == ON or (chosen == AUTO and summary is not None and len(summary.studies) > 1)

    def _choose(self, name: str, value: Any) -> None:
        self._context.choices[name] = value
