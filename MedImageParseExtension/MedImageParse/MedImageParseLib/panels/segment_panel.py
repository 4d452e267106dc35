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
from ..logic.history import RunRecord, historyOf
from ..logic.jobs import Job
from ..logic.many import Case, ManyRuns
from ..logic.segmentation import MedImageParseLogic
from ..profiles.profiles import LOCAL_DEMO
from . import local_demo
from .completer import askedOf
from .endpoint_box import EndpointBox, whyModelDoesNotFit
from .input_box import ALL, VOLUME, InputBox
from .many_box import ManyBox
from .message_row import Help, helpAgainst
from .options_box import OptionsBox
from .privacy_box import mayBeSent
from .prompt_box import PromptBox
from .results_box import ResultsBox
from .run_box import RunBox
from .segment_editor import runAgainInEditor, saveEditorState
from .segments_follower import SegmentsFollower
from .settings_panel import SettingsPanel
from .slice_follower import SliceFollower
from .tab import Tab, volumeInView
from .widgets import StatusIcons, signalsBlocked
from .wrapping_row import WrappingRow


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
        self._runs: dict[Job, tuple] = {}  # runs in progress and waiting, with what was asked for
        self._choices: dict[Job, dict] = {}  # and with what was chosen, to run them again
        icons = StatusIcons(os.path.dirname(resourcePath("Icons/StatusGood.png")))
        self.endpoint = EndpointBox(ui, self.parameters, self.logic, icons, self._endpointChanged)
        self.follower = SliceFollower(slicer.mrmlScene, self.update)
        self.inputs = InputBox(ui, self.parameters, self.follower, self.chooseNode)
        self.prompts = PromptBox(ui, self._promptsChanged, self._askedOf, self._isTogether, self._sendApart)
        self.options = OptionsBox(ui, self.parameters, self.inputs, self.chooseNode, lambda: self.endpoint.takesRaw)
        self.runBox = RunBox(ui, self.run, self.cancel, icons, self._helpFor)
        self.manyBox = ManyBox(ui, lambda: self.inputs.volumeNode, self.run, self.runOnMany, self._showCase, self.runBox.sayError)
        self.history = historyOf(slicer.mrmlScene)
        self.results = ResultsBox(ui, icons, self.logic, self.history, self._chosenNodes, self.runAgain, self.runBox.say)
        self._rows = _wrappingRows(ui)
        self.segments = SegmentsFollower(self._showResults)
        self.settings = SettingsPanel(resourcePath("UI/EndpointSettings.ui"), self.endpoint, self._chores, self._wake)
        ui.settingsButton.connect("clicked()", self.settings.open)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self.chooseNode("Segmentation", node))
        ui.sampleButton.connect("clicked()", self._loadSample)
        self.history.listen(self._historyChanged)
        self._begin(self.run, self.cancel)
        self._historyChanged()
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
        self.history.unlisten(self._historyChanged)
        self.segments.stop()
        self.results.stop()
        self.manyBox.stop()
        self.options.close()
        self.prompts.stop()
        self.endpoint.close()

    def _sceneCloses(self, _caller: object, _event: object) -> None:
        self.manyBox.clear()
        self.logic.cancelAll(_("The scene was closed, so the run was cancelled."))
        self._chores.cancel_all()

    def _sceneIsAnother(self, caller: object, event: object) -> None:
        self.manyBox.clear()
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
            self.prompts.showPresets(self._askedOf()[0])
            self.options.show()
            self.endpoint.show()
            self.settings.show()
            self.segments.follow(self.parameters.nodeFor("Segmentation"))
            self.results.show()
            with signalsBlocked(self.ui.segmentationSelector):
                self.ui.segmentationSelector.setCurrentNode(self.parameters.nodeFor("Segmentation"))
            self.runBox.showReady(self.whyNotRun(), bool(self._runs), self._whatIsMissing())
            self.manyBox.showReady(self._whyNotMany())
            self._showJobs()
        finally:
            self._isUpdating = False

    def whyNotRun(self) -> str:
        """Why Run is disabled, in a sentence; "" where it is not."""
        why = self.inputs.fault() or self.prompts.fault() or self.endpoint.whyNotReady() or self._whyModelDoesNotFit()
        if not why and self._request() in self._runs.values():
            return _("This run is already in progress. Change a setting to queue another.")
        return why

    def _whyNotMany(self) -> str:
        """Why several images cannot be run on, "" where they can."""
        why = self.prompts.fault() or self.endpoint.whyNotReady() or self._whyModelDoesNotFit()
        if not why and self.inputs.mode not in (VOLUME, ALL):
            why = _("A run on several images uses whole images. Choose Volume (3D) or All slices (2D).")
        return why

    def _whyModelDoesNotFit(self) -> str:
        return whyModelDoesNotFit(self.endpoint.profile(), self.inputs.mode == VOLUME, self.inputs.isPicture)

    def _whatIsMissing(self) -> Help | None:
        """The button that does what keeps Run disabled, where one can."""
        if self.inputs.fault() or self.prompts.fault():
            return None  # the sample's button stands beside the volume, and prompts are typed
        if not self.endpoint.whyNotReady():
            return (_("Open endpoint settings"), self.settings.open) if self._whyModelDoesNotFit() and not self.inputs.isPicture else None
        if self.endpoint.name == LOCAL_DEMO:
            return None if self.endpoint.demo.isStarted else (_("Start local demo"), self.endpoint.startDemo)
        return _("Open endpoint settings"), self.settings.open

    def _showJobs(self) -> None:
        self.runBox.showJobs([job for job in self.logic.jobs if job in self._runs])

    def _jobChanged(self, _job: Job) -> None:
        self._showJobs()

    # --- what is done ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start a run, or queue it behind the one at work."""
        self.update()  # what is named is what is sent
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
            self.runBox.sayError(error)
            return
        self._runs[job] = request
        self._choices[job] = self.parameters.snapshot()
        self.prompts.remember()
        self.runBox.say("")
        self.update()
        self._wake()

    def runOnMany(self, cases: list[Case]) -> None:
        """Run on several images, one after the other, each with a segmentation of its own."""
        self.update()
        if self._isClosed or self._whyNotMany() or self.manyBox.isRunning:
            return
        try:
            if not mayBeSent(self.endpoint.profile(), self.widget):
                self.runBox.say(_("Nothing was sent."))
                return
        except MedImageParseError as error:
            self.runBox.sayError(error)
            return
        if self._isClosed or self._whyNotMany():  # while the question was open, the scene may have changed
            return
        prompts, is3d = self.prompts.prompts(), self.inputs.mode == VOLUME
        options = {**self.options.common(), "profile": self.endpoint.profile(), "show_device_code": self.endpoint.showDeviceCode}
        options |= self.options.ofModel() if is3d else self.options.ofAllSlices()
        segment = self.logic.segmentVolume if is3d else self.logic.segmentSlices
        choices = self.parameters.snapshot()

        def start(volumeNode: Any, callback: Any) -> Job:
            def ended(job: Job) -> None:
                self._runs.pop(job, None)
                if not self._isClosed and not volumeNode.GetHideFromEditors():  # a frame of a sequence is no node that one could go to
                    self._remember(job, choices)
                callback(job)

            job = segment(volumeNode, prompts, callback=ended, **options)
            self._runs[job] = ("many", job.id)
            self._wake()
            return job

        self.prompts.remember()
        self.runBox.say("")
        self.manyBox.runs = ManyRuns(cases, start, self.logic.cancel, self._casesChanged)
        self.manyBox.runs.begin()
        self.update()

    def _casesChanged(self, runs: ManyRuns) -> None:
        if self._isClosed:
            return
        self.manyBox.showCases()
        if not runs.isRunning:
            self.runBox.say(self.manyBox.outcome())
            self.update()

    def _showCase(self, volumeNode: Any, segmentationNode: Any) -> None:
        """Choose an image and its segments, as far as they are in the scene."""
        for role, node in (("InputVolume", volumeNode), ("Segmentation", segmentationNode)):
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                self.parameters.setNodeFor(role, node)
        if volumeNode is not None and slicer.mrmlScene.IsNodePresent(volumeNode):
            slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)

    def cancel(self) -> None:
        """Stop the run at work; the next one in the queue starts. A list of images is stopped as a whole."""
        if self.manyBox.isRunning and self.manyBox.runs is not None:
            self.manyBox.runs.cancel()
            return
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
            tuple((name, value.GetID() if hasattr(value, "GetID") else str(value)) for name, value in sorted(options.items())),
        )

    def _runEnded(self, job: Job) -> None:
        self._runs.pop(job, None)
        if self._isClosed:
            return
        choices = self._choices.pop(job, {})
        self._remember(job, choices)
        if job.state == "done" and job.result.segmentationNode is not None:
            self.parameters.setNodeFor("Segmentation", job.result.segmentationNode)
        self.runBox.sayOutcome(job)
        self.update()

    def _remember(self, job: Job, choices: dict) -> None:
        """Add a run that went through to the history."""
        if job.state == "done":
            self.history.add(RunRecord.of(job, choices, is3d=choices.get("Mode") == VOLUME))

    def _loadSample(self) -> None:
        self.ui.sampleButton.setEnabled(False)
        self.ui.sampleButton.setText(_("Creating the sample…"))
        job = Job("Load sample", work=lambda *_unused: local_demo.makeSample(), finish=local_demo.showSample, callback=self._sampleLoaded)
        self._chores.add(job)
        self._wake()

    def _sampleLoaded(self, job: Job) -> None:
        if self._isClosed:
            return
        self.ui.sampleButton.setEnabled(True)
        self.ui.sampleButton.setText(_("Load sample"))
        if job.state != "done":
            self.runBox.sayWhyNot(job)
            return
        self.parameters.setNodeFor("InputVolume", job.result)
        if not self.prompts.text.strip():
            self.parameters["Prompts"] = local_demo.PROMPTS

    def _promptsChanged(self, text: str) -> None:
        self.parameters["Prompts"] = text

    def _askedOf(self) -> tuple[str, str]:
        """(model, modality): what would be asked, and about which kind of image."""
        return askedOf(self.inputs.mode == VOLUME, self.inputs.volumeNode)

    def _isTogether(self) -> bool:
        return self.inputs.mode == VOLUME and self.parameters["Group"] == "together"

    def _sendApart(self) -> None:
        self.parameters["Group"] = "auto"

    def runAgain(self, record: RunRecord) -> None:
        """Choose everything as it was for an earlier run, and run; one of the Segment Editor's effect goes on there."""
        if record.isFromEditor:
            self.runBox.say(runAgainInEditor(record.choices))
            return
        self.parameters.restore(record.choices)
        self.update()
        why = self.whyNotRun()
        if why:
            self.runBox.say(why)
        else:
            self.run()

    def _helpFor(self, error: BaseException) -> Help | None:
        """The button that helps against an error."""
        return helpAgainst(error, self.endpoint, self.settings.open)

    def _chosenNodes(self) -> tuple[Any, Any]:
        return self.parameters.nodeFor("Segmentation"), self.inputs.volumeNode

    def _historyChanged(self) -> None:
        """A run has come or gone, here or in the Segment Editor. Where nothing is chosen yet, what is edited there is chosen."""
        if self._isClosed:
            return
        newest = next(iter(self.history.all()), None)
        if newest is not None and newest.isFromEditor and self.parameters.nodeFor("Segmentation") is None:
            self.parameters.setNodeFor("Segmentation", slicer.mrmlScene.GetNodeByID(newest.segmentationId))
        self.segments.tell()

    def _showResults(self) -> None:
        if not self._isClosed:
            self.results.show()


def _wrappingRows(ui: Any) -> list[WrappingRow]:
    """The rows of buttons that take several lines where the panel is narrow."""
    return [
        WrappingRow(ui.endpointButtons, [ui.checkButton, ui.demoButton, ui.settingsButton]),
        WrappingRow(ui.promptButtons, [ui.recentButton, ui.presetsButton, ui.browseButton], isFilling=False),
        WrappingRow(ui.runButtons, [ui.runButton, ui.manyButton, ui.cancelButton]),
        WrappingRow(ui.messageButtons, [ui.messageHelpButton, ui.messageCopyButton], isFilling=False),
        WrappingRow(ui.resultsButtons, [ui.show3DButton, ui.undoButton, ui.redoButton, ui.saveResultsButton]),
        WrappingRow(ui.moreResultsButtons, [ui.runsButton, ui.tableButton, ui.deleteButton, ui.editorButton], isFilling=False),
    ]
