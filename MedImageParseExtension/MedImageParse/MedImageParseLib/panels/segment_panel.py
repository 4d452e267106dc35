"""The panel: puts the boxes together, runs the jobs, and follows the scene.

How a choice travels: a widget writes it into the parameter node, the node says that it was modified, and the panel shows what the
node holds. So a choice made here, by another script, by undo or by loading a scene arrives in the same way.
"""

from __future__ import annotations

import os
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic.jobs import Job
from ..logic.segmentation import MedImageParseLogic
from . import local_demo
from .endpoint_box import EndpointBox
from .input_box import VOLUME, InputBox
from .options_box import OptionsBox
from .privacy_box import mayBeSent
from .prompt_box import PromptBox
from .results_box import ResultsBox
from .run_box import RunBox
from .segment_editor import saveEditorState
from .sentences import forPanel
from .settings_panel import SettingsPanel
from .slice_follower import SliceFollower
from .tab import Tab, volumeInView
from .widgets import StatusIcons, signalsBlocked


class SegmentPanel(Tab):
    """What a person sees of the module.

    Args:
        resourcePath: resourcePath("UI/MedImageParse.ui") gives the full path of a resource.

    Attributes:
        widget: the root widget, to be put into the module's layout.
        logic: a MedImageParseLogic of its own.
    """

    def __init__(self, resourcePath: Any):
        Tab.__init__(self, resourcePath("UI/MedImageParse.ui"), MedImageParseLogic(onChange=self._jobChanged))
        ui = self.ui
        self._runs: dict[Job, tuple] = {}  # runs at work and waiting, with what was asked for
        icons = StatusIcons(os.path.dirname(resourcePath("Icons/StatusGood.png")))
        self.endpoint = EndpointBox(ui, self.parameters, self.logic, icons, self._endpointChanged)
        self.follower = SliceFollower(slicer.mrmlScene, self.update)
        self.inputs = InputBox(ui, self.parameters, self.follower)
        self.prompts = PromptBox(ui, self._promptsChanged)
        self.options = OptionsBox(ui, self.parameters, self.inputs)
        self.runBox = RunBox(ui, self.run, self.cancel)
        self.results = ResultsBox(ui, self.logic.undoLastRun, self.runBox.say)
        self.settings = SettingsPanel(resourcePath("UI/EndpointSettings.ui"), self.endpoint, self._chores, self._wake)
        ui.settingsButtonContents.layout().addWidget(self.settings.widget)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._segmentationChosen)
        ui.sampleButton.connect("clicked()", self._loadSample)
        self._begin(self.run, self.cancel)
        self.update()

    # --- life --------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The person opens the module."""
        self._observeScene()
        if self.inputs.volumeNode is None:
            self.parameters.setNodeFor("InputVolume", volumeInView())
        self.endpoint.readProfiles()
        self.update()

    def _end(self) -> None:
        Tab._end(self)
        self.options.close()
        self.endpoint.close()

    def _sceneCloses(self, _caller: object, _event: object) -> None:
        self.logic.cancelAll(_("The scene was closed, so the run was cancelled."))
        self._chores.cancel_all()

    def _sceneIsAnother(self, caller: object, event: object) -> None:
        self.results.clear()
        Tab._sceneIsAnother(self, caller, event)

    # --- what is shown -----------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Show everything as it is now."""
        if self._isClosed or self._isUpdating:
            return
        self._isUpdating = True
        try:
            self.inputs.show()
            self.prompts.set(self.parameters["Prompts"])
            self.options.show()
            self.endpoint.show()
            self.settings.show()
            self.results.show()
            with signalsBlocked(self.ui.segmentationSelector):
                self.ui.segmentationSelector.setCurrentNode(self.parameters.nodeFor("Segmentation"))
            self.runBox.showReady(self.whyNotRun(), bool(self._runs))
            self._showJobs()
        finally:
            self._isUpdating = False

    def whyNotRun(self) -> str:
        """Why Run is disabled, in a sentence; "" where it is not."""
        if self.inputs.volumeNode is None:
            return _("Select a volume, or load the sample.")
        if self.inputs.volumeNode.GetImageData() is None:
            return _("This volume is empty; select another.")
        why = self.prompts.fault() or self.endpoint.whyNotReady() or self._whyModelDoesNotFit()
        if not why and self._request() in self._runs.values():
            return _("This very run is at work already; change something to queue another.")
        return forPanel(why)

    def _whyModelDoesNotFit(self) -> str:
        model, is3d = self.endpoint.profile().model, self.inputs.mode == VOLUME
        if model == "medimageinsight":
            return _("This endpoint runs MedImageInsight, which does not segment; choose another endpoint.")
        if model == "medimageparse" and is3d:
            return _("This endpoint runs MedImageParse, which takes slices; choose slices, or another endpoint.")
        if model == "medimageparse3d" and not is3d:
            return _("This endpoint runs MedImageParse 3D, which takes volumes; choose Volume (3D), or another endpoint.")
        if is3d and self.inputs.isPicture:
            return _("This is a 2D picture; choose This slice (2D).")
        return ""

    def _showJobs(self) -> None:
        self.runBox.showJobs([job for job in self.logic.jobs if job in self._runs])

    def _jobChanged(self, _job: Job) -> None:
        self._showJobs()

    # --- what is done ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start a run, or queue it behind the one at work."""
        if self._isClosed or self.whyNotRun():
            return
        try:
            if not mayBeSent(self.endpoint.profile(), self.widget):
                self.runBox.say(_("Nothing was sent."))
                return
            if self.whyNotRun():  # while the question was open, the scene may have changed
                return
            request = self._request()
            job = self._start()
        except MedImageParseError as error:
            self.runBox.say(str(error))
            return
        self._runs[job] = request
        self.prompts.remember()
        self.runBox.say("")
        self.update()
        self._wake()

    def cancel(self) -> None:
        """Stop the run at work; the next one in the queue starts."""
        for job in self.logic.jobs:
            if job in self._runs:
                self.logic.cancel(job)
                return

    def _start(self) -> Job:
        segmentationNode = self.parameters.nodeFor("Segmentation")
        options = dict(
            self.options.common(),
            **self.options.ofModel(),
            profile=self.endpoint.profile(),
            show_device_code=self.endpoint.showDeviceCode,
            segmentationNode=segmentationNode,
            beforeChange=lambda: saveEditorState(segmentationNode),
            callback=self._runEnded,
        )
        segment = self.logic.segmentVolume if self.inputs.mode == VOLUME else self.logic.segmentSlices
        return segment(self.inputs.volumeNode, self.prompts.prompts(), **options)

    def _request(self) -> tuple:
        """What tells one run from another."""
        volumeNode, segmentationNode = self.inputs.volumeNode, self.parameters.nodeFor("Segmentation")
        options = {**self.options.common(), **self.options.ofModel()}
        return (
            volumeNode.GetID(),
            volumeNode.GetImageData().GetMTime(),
            segmentationNode.GetID() if segmentationNode is not None else "",
            self.endpoint.name,
            tuple(self.prompts.prompts()),
            tuple((name, value if isinstance(value, str) else value.GetID()) for name, value in sorted(options.items())),
        )

    def _runEnded(self, job: Job) -> None:
        self._runs.pop(job, None)
        if self._isClosed:
            return
        if job.state == "done":
            self.results.take(job.result)
            if job.result.segmentationNode is not None:
                self.parameters.setNodeFor("Segmentation", job.result.segmentationNode)
        self.runBox.sayOutcome(job)
        self.update()

    def _loadSample(self) -> None:
        self.ui.sampleButton.setEnabled(False)
        self.ui.sampleButton.setText(_("Making the sample…"))
        job = Job("Load sample", work=lambda *_unused: local_demo.makeSample(), finish=local_demo.showSample, callback=self._sampleLoaded)
        self._chores.add(job)
        self._wake()

    def _sampleLoaded(self, job: Job) -> None:
        if self._isClosed:
            return
        self.ui.sampleButton.setEnabled(True)
        self.ui.sampleButton.setText(_("Load sample"))
        if job.state != "done":
            self.runBox.say(job.sentence)
            return
        self.parameters.setNodeFor("InputVolume", job.result)
        if not self.prompts.text.strip():
            self.parameters["Prompts"] = local_demo.PROMPTS

    def _promptsChanged(self, text: str) -> None:
        self.parameters["Prompts"] = text

    def _segmentationChosen(self, node: Any) -> None:
        self.parameters.setNodeFor("Segmentation", node)
