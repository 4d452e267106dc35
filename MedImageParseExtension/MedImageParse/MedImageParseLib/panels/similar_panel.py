"""The tab "Find similar": index, search, classify, outliers, labels, adapters. Puts the boxes together, runs the jobs, and follows the scene.

Choices that belong to the scene (volume, region, endpoint) travel through the parameter node, as in the tab beside; those that belong
to the person (which index, what is stored in it) through the application's settings. The index file is open only inside jobs.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic.jobs import Job
from ..logic.similarity import MedImageInsightLogic
from ..models import VECTORS
from ..profiles.profiles import Profile
from .adapter_box import AdapterFile, ApplyBox, EvaluateBox, TrainBox
from .classify_box import ClassifyBox
from .endpoint_box import EndpointBox
from .index_box import IndexBox
from .labelling_box import LabellingBox
from .local_demo import DemoProcess
from .message_row import Help, helpAgainst
from .outliers_box import OutliersBox
from .query_box import QueryBox
from .search_context import SearchContext
from .settings_panel import SettingsPanel
from .slice_follower import SliceFollower, sliceCount
from .tab import Tab, volumeInView
from .task_box import TaskBox
from .widgets import StatusIcons, showSentence, signalsBlocked
from .wrapping_row import WrappingRow

_ENDPOINT_WIDGETS = ("profileComboBox", "statusIcon", "statusLabel", "costLabel", "checkButton", "demoButton")


class SimilarPanel(Tab):
    """What a person sees of the tab.

    Args:
        resourcePath: resourcePath("UI/SimilarImages.ui") gives the full path of a resource.
        demo: the local demo, which the tabs share; its owner ends it.

    Attributes:
        widget: the root widget. logic: a MedImageInsightLogic of its own.
    """

    def __init__(self, resourcePath: Any, demo: DemoProcess):
        Tab.__init__(self, resourcePath("UI/SimilarImages.ui"), MedImageInsightLogic(onChange=self._jobChanged))
        ui = self.ui
        ui.SimilarImages = self.widget
        self._isShown = False
        self.follower = SliceFollower(slicer.mrmlScene, self._sliceMoved)
        icons = StatusIcons(os.path.dirname(resourcePath("Icons/StatusGood.png")))
        row = SimpleNamespace(**{name: getattr(ui, "search" + name[:1].upper() + name[1:]) for name in _ENDPOINT_WIDGETS})
        self.endpoint = EndpointBox(
            row, self.parameters, self.logic, icons, self._endpointChanged,
            role="SearchEndpoint", fits=_fits, demo=demo, model="MedImageInsight",
        )  # fmt: skip
        self.context = SearchContext(
            self.widget, self.logic, self.parameters, self.follower, self.endpoint, icons, self._helpFor, self.update, self._wake, self.chooseNode
        )  # fmt: skip
        self.indexBox = IndexBox(ui, self.context)
        self.query = QueryBox(ui, self.context, self.open)
        self.classify = ClassifyBox(ui, self.context)
        self.outliers = OutliersBox(ui, self.context, self.open)
        self.labelling = LabellingBox(ui, self.context, self.open)
        self.adapter = AdapterFile(ui, self.context)
        self.train = TrainBox(ui, self.context, self.adapter)
        self.evaluate = EvaluateBox(ui, self.context, self.adapter)
        self.apply = ApplyBox(ui, self.context, self.adapter, self.open)
        self._questions = (self.query, self.classify, self.outliers, self.labelling, self.train, self.evaluate, self.apply)
        self._boxes = (self.indexBox, *self._questions, self.labelling.mark)
        self.settings = SettingsPanel(resourcePath("UI/EndpointSettings.ui"), self.endpoint, self._chores, self._wake)
        ui.searchSettingsButton.connect("clicked()", self.settings.open)
        ui.searchVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._volumeChosen)
        self._rows = [
            WrappingRow(ui.searchEndpointButtons, [ui.searchCheckButton, ui.searchDemoButton, ui.searchSettingsButton]),
            WrappingRow(ui.labelsButtons, [ui.labelsTableButton, ui.labelsPlotButton]),
            WrappingRow(ui.markButtons, [ui.markButton, ui.markCancelButton]),
            WrappingRow(ui.figuresButtons, [ui.rocPlotButton, ui.reliabilityPlotButton, ui.confusionTableButton]),
        ]
        self._begin(self.query.task.start, self.cancel)

    # --- life --------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The person opens the tab."""
        self._isShown = True
        self._observeScene()
        if self.context.volumeNode is None:
            self.parameters.setNodeFor("InputVolume", volumeInView())
        self.endpoint.readProfiles()
        self.context.readIndex()
        self.update()

    def leave(self) -> None:
        """The person goes to the other tab; jobs run on."""
        self._isShown = False

    def _end(self) -> None:
        self.context.isClosed = True
        self.query.close()
        Tab._end(self)

    # --- what is shown -----------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Show everything as it is now."""
        if self._isClosed or self._isUpdating or not self._isShown:
            return
        self._isUpdating = True
        try:
            with signalsBlocked(self.ui.searchVolumeSelector):
                self.ui.searchVolumeSelector.setCurrentNode(self.context.volumeNode)
            self._showSlice()
            self.endpoint.show()
            self.settings.show()
            for box in self._boxes:
                box.show()
        finally:
            self._isUpdating = False

    def _sliceMoved(self) -> None:
        self.update()
        if self._isShown:
            self.query.follow()

    def _showSlice(self) -> None:
        seen = self.context.seenSlice()
        if seen is None:
            showSentence(self.ui.searchSliceLabel, "")
            return
        plane = {"axial": _("Axial"), "coronal": _("Coronal"), "sagittal": _("Sagittal")}[seen.plane]
        last = sliceCount(self.context.volumeNode, seen.plane) - 1
        if seen.view:
            text = _("This slice: {plane} {index} of 0 to {last}, as in the {view} view")
        else:
            text = _("This slice: {plane} {index} of 0 to {last}")
        showSentence(self.ui.searchSliceLabel, text.format(plane=plane.lower(), index=seen.index, last=last, view=seen.view))

    def _jobChanged(self, _job: Job) -> None:
        for box in self._boxes:
            if box.task.job is not None:
                box.task.showJob()

    # --- what is done ------------------------------------------------------------------------------------------------

    def open(self, hit: Any, task: TaskBox) -> None:
        """Bring the person to a result; its volume is loaded where it is not in the scene."""
        application = qt.QApplication
        application.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            opened = self.logic.openHit(hit)
        except MedImageParseError as error:
            task.message.sayError(error)
            return
        finally:
            application.restoreOverrideCursor()
        task.message.say("")
        self.parameters.setNodeFor("InputVolume", opened.volumeNode)
        self.query.stay()
        self.update()

    def cancel(self) -> None:
        """Stop the questions at work; where there are none, indexing, which may have been going on for long."""
        questions = [box.task for box in self._questions if box.task.job is not None]
        for task in questions or [self.indexBox.task]:
            task.cancel()

    def _helpFor(self, error: BaseException) -> Help | None:
        """The button that helps against an error."""
        return helpAgainst(error, self.endpoint, self.settings.open)

    def _volumeChosen(self, node: Any) -> None:
        self.chooseNode("InputVolume", node)


def _fits(profile: Profile) -> bool:
    """Whether MedImageInsight may be behind an endpoint."""
    return profile.model in ("", VECTORS.name)
