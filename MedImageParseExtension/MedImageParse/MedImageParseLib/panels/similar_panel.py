"""The tab "Find similar": index, search, classify, outliers. Puts the boxes together, runs the jobs, and follows the scene.

Choices that belong to the scene (volume, region, endpoint) travel through the parameter node, as in the tab beside; those that belong
to the person (which index, what is stored in it) through the application's settings. The index file is open only inside jobs.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..errors import MedImageParseError
from ..jobs.job import Job
from ..jobs.queue import POLL_MS, JobQueue
from ..logic.search_logic import MedImageInsightLogic
from ..transport.profiles import Profile
from .classify_box import ClassifyBox
from .demo_process import DemoProcess
from .endpoint_box import EndpointBox
from .index_box import IndexBox
from .outliers_box import OutliersBox
from .parameters import PanelParameters
from .query_box import QueryBox
from .search_context import SearchContext
from .settings_panel import SettingsPanel
from .slice_follower import SliceFollower, sliceCount
from .task_box import TaskBox
from .widgets import StatusIcons, showSentence, signalsBlocked

_ENDPOINT_WIDGETS = ("profileComboBox", "statusIcon", "statusLabel", "checkButton", "demoButton")


class SimilarPanel(VTKObservationMixin):
    """What a person sees of the tab.

    Args:
        resourcePath: resourcePath("UI/SimilarImages.ui") gives the full path of a resource.
        demo: the local demo, which the tabs share; its owner ends it.

    Attributes:
        widget: the root widget. logic: a MedImageInsightLogic of its own.
    """

    def __init__(self, resourcePath: Any, demo: DemoProcess):
        VTKObservationMixin.__init__(self)
        self.widget = slicer.util.loadUI(resourcePath("UI/SimilarImages.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        ui.SimilarImages = self.widget
        self.logic = MedImageInsightLogic(onChange=self._jobChanged)
        self.parameters = PanelParameters(slicer.mrmlScene)
        self._chores = JobQueue()
        self._isClosed = self._isUpdating = self._isPolling = self._isShown = False
        self.follower = SliceFollower(slicer.mrmlScene, self._sliceMoved)
        self.context = SearchContext(self.widget, self.logic, self.parameters, self.follower, self.update, self._wake)
        icons = StatusIcons(os.path.dirname(resourcePath("Icons/StatusGood.png")))
        row = SimpleNamespace(**{name: getattr(ui, "search" + name[:1].upper() + name[1:]) for name in _ENDPOINT_WIDGETS})
        self.endpoint = EndpointBox(
            row, self.parameters, self.logic, icons, self._endpointChanged,
            role="SearchEndpoint", fits=_fits, demo=demo, model="MedImageInsight",
        )  # fmt: skip
        self.context.endpoint = self.endpoint
        self.indexBox = IndexBox(ui, self.context)
        self.query = QueryBox(ui, self.context, self.open)
        self.classify = ClassifyBox(ui, self.context)
        self.outliers = OutliersBox(ui, self.context, self.open)
        self._boxes = (self.indexBox, self.query, self.classify, self.outliers)
        self.settings = SettingsPanel(resourcePath("UI/EndpointSettings.ui"), self.endpoint, self._chores, self._wake)
        ui.searchSettingsButtonContents.layout().addWidget(self.settings.widget)
        ui.searchVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._volumeChosen)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        keys = (("Ctrl+Return", self.query.task.start), ("Ctrl+Enter", self.query.task.start), ("Esc", self.cancel))
        self._shortcuts = [self._shortcut(*each) for each in keys]
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._observeScene()

    # --- life --------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The person opens the tab."""
        self._isShown = True
        self._observeScene()
        if self.context.volumeNode is None:
            self.parameters.setNodeFor("InputVolume", _volumeInView())
        self.endpoint.readProfiles()
        self.context.readIndex()
        self.update()

    def leave(self) -> None:
        """The person goes to the other tab; jobs run on."""
        self._isShown = False

    def close(self) -> None:
        """The module is closed, reloaded, or Slicer ends: nothing of the tab runs on. Safe to call twice."""
        if self._isClosed:
            return
        self._isClosed = self.context.isClosed = True
        self._timer.stop()
        self.query.close()
        self.removeObservers()
        self.follower.stop()
        self.logic.close()
        self._chores.close()

    def _observeScene(self) -> None:
        self.removeObservers()
        scene = slicer.mrmlScene
        self.parameters.attach()
        for event, slot in (
            (scene.EndCloseEvent, self._sceneIsAnother),
            (scene.EndImportEvent, self._sceneIsAnother),
            (scene.EndRestoreEvent, self._sceneIsAnother),
            (scene.NodeRemovedEvent, self._sceneChanged),
            (scene.NodeAddedEvent, self._sceneChanged),
        ):
            self.addObserver(scene, event, slot)
        self.addObserver(self.parameters.node, vtk.vtkCommand.ModifiedEvent, self._sceneChanged)
        self.follower.start()

    def _sceneIsAnother(self, _caller: object, _event: object) -> None:
        """Jobs about volumes notice by themselves; indexing a folder, or asking with a text, goes on."""
        self._observeScene()
        self.update()

    def _sceneChanged(self, _caller: object, _event: object) -> None:
        if not slicer.mrmlScene.IsBatchProcessing() and not slicer.mrmlScene.IsClosing():
            self.update()

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
            task.say(str(error))
            return
        finally:
            application.restoreOverrideCursor()
        task.say("")
        self.parameters.setNodeFor("InputVolume", opened.volumeNode)
        self.query.stay()
        self.update()

    def cancel(self) -> None:
        """Stop the questions at work; where there are none, indexing, which may have been going on for long."""
        questions = [box.task for box in (self.query, self.classify, self.outliers) if box.task.job is not None]
        for task in questions or [self.indexBox.task]:
            task.cancel()

    def _endpointChanged(self) -> None:
        self.update()
        self._wake()

    def _volumeChosen(self, node: Any) -> None:
        self.parameters.setNodeFor("InputVolume", node)

    # --- time --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Poll from now on, until there is nothing left to do."""
        if not self._isClosed and not self._isPolling:
            self._isPolling = True
            self._timer.start()

    def _poll(self) -> None:
        self.logic.poll()
        self._chores.poll()
        self.settings.poll()
        self.endpoint.poll()
        if self.logic.isIdle and self._chores.is_idle:
            self._isPolling = False
            self._timer.stop()

    def _shortcut(self, keys: str, slot: Any) -> Any:
        shortcut = qt.QShortcut(qt.QKeySequence(keys), self.widget)
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        shortcut.connect("activated()", slot)
        return shortcut


def _fits(profile: Profile) -> bool:
    """Whether MedImageInsight may be behind an endpoint."""
    return profile.model in ("", "medimageinsight")


def _volumeInView() -> Any:
    """The volume that the slice views show, None where there is none."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    return slicer.mrmlScene.GetNodeByID(selection.GetActiveVolumeID() or "") if selection is not None else None
