"""The panel: puts the boxes together, runs the jobs, and follows the scene.

How a choice travels: a widget writes it into the parameter node, the node says that it was modified, and the panel shows what the
node holds. So a choice made here, by another script, by undo or by loading a scene arrives in the same way.
"""

from __future__ import annotations

import os
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..errors import MedImageParseError
from ..jobs.job import Job
from ..logic.logic import MedImageParseLogic
from . import sample
from .consent_question import mayBeSent
from .endpoint_box import EndpointBox
from .input_box import VOLUME, InputBox
from .options_box import OptionsBox
from .parameters import PanelParameters
from .prompt_box import PromptBox
from .results_box import ResultsBox
from .run_box import RunBox
from .settings_panel import SettingsPanel
from .slice_follower import SliceFollower
from .widgets import StatusIcons

_POLL_MS = 10  # see jobs.queue: the worker only gets on while somebody polls


class SegmentPanel(VTKObservationMixin):
    """What a person sees of the module.

    Args:
        resourcePath: resourcePath("UI/MedImageParse.ui") gives the full path of a resource.

    Attributes:
        widget: the root widget, to be put into the module's layout.
        logic: a MedImageParseLogic of its own.
    """

    def __init__(self, resourcePath: Any):
        VTKObservationMixin.__init__(self)
        self.widget = slicer.util.loadUI(resourcePath("UI/MedImageParse.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        self.logic = MedImageParseLogic(onChange=self._jobChanged)
        self.parameters = PanelParameters(slicer.mrmlScene)
        self._runs: dict[Job, tuple] = {}  # runs at work and waiting, with what was asked for
        self._isClosed = False
        self.endpoint = EndpointBox(ui, self.parameters, self.logic, StatusIcons(os.path.dirname(resourcePath("Icons/StatusGood.png"))), self.update)
        self.follower = SliceFollower(slicer.mrmlScene, self.update)
        self.inputs = InputBox(ui, self.parameters, self.follower)
        self.prompts = PromptBox(ui, self._promptsChanged)
        self.options = OptionsBox(ui, self.parameters, self.inputs)
        self.runBox = RunBox(ui, self.run, self.cancel)
        self.results = ResultsBox(ui, self.logic.undoLastRun, self.runBox.say)
        self.settings = SettingsPanel(resourcePath("UI/EndpointSettings.ui"), self.endpoint, self._wake)
        ui.settingsButton.layout().addWidget(self.settings.widget)
        ui.sampleButton.connect("clicked()", self._loadSample)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._shortcuts = [self._shortcut(keys, slot) for keys, slot in (("Ctrl+Return", self.run), ("Ctrl+Enter", self.run), ("Esc", self.cancel))]
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._observeScene()
        self.update()

    # --- life --------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The person opens the module."""
        self._observeScene()
        if self.inputs.volumeNode is None:
            self.parameters.setNodeFor("InputVolume", _volumeInView())
        self.endpoint.readProfiles()
        self.update()

    def close(self) -> None:
        """The module is closed, reloaded, or Slicer ends: nothing of the panel runs on. Safe to call twice."""
        if self._isClosed:
            return
        self._isClosed = True
        self._timer.stop()
        self.removeObservers()
        self.follower.stop()
        self.options.close()
        self.logic.close()
        self.settings.close()
        self.endpoint.close()

    def _observeScene(self) -> None:
        self.removeObservers()
        scene = slicer.mrmlScene
        self.parameters.attach(scene)
        for event, slot in (
            (scene.StartCloseEvent, self._sceneCloses),
            (scene.EndCloseEvent, self._sceneIsAnother),
            (scene.EndImportEvent, self._sceneIsAnother),
            (scene.EndRestoreEvent, self._sceneIsAnother),
            (scene.NodeRemovedEvent, self._sceneChanged),
            (scene.NodeAddedEvent, self._sceneChanged),
        ):
            self.addObserver(scene, event, slot)
        self.addObserver(self.parameters.node, vtk.vtkCommand.ModifiedEvent, self._sceneChanged)
        self.follower.start()

    def _sceneCloses(self, _caller: object, _event: object) -> None:
        self.logic.cancelAll(_("The scene was closed, so the run was cancelled."))

    def _sceneIsAnother(self, _caller: object, _event: object) -> None:
        self._observeScene()
        self.results.clear()
        self.update()

    def _sceneChanged(self, _caller: object, _event: object) -> None:
        if not slicer.mrmlScene.IsBatchProcessing() and not slicer.mrmlScene.IsClosing():
            self.update()

    # --- what is shown -----------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Show everything as it is now."""
        if self._isClosed:
            return
        with _noReentry(self) as isFirst:
            if not isFirst:
                return
            self.inputs.show()
            self.prompts.set(self.parameters["Prompts"])
            self.options.show()
            self.endpoint.show()
            self.results.show()
            self._showOutput()
            self.runBox.showReady(self.whyNotRun(), bool(self._runs))
            self.runBox.showJobs([job for job in self.logic.jobs if job in self._runs])
        self._wake()
"""TODO"""
