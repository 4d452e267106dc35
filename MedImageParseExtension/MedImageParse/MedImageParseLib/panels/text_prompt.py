"""The Segment Editor effect "Text prompt": its options, and its runs through the same logic and jobs as the module's panel.

Choices are parameters of the Segment Editor's node, which travels with the scene: names and numbers, of an endpoint the profile's name.
A run keeps to the segment and the segmentation that it was started for; it goes on while the person paints with another effect.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..imaging.geometry import SliceView
from ..imaging.volume import Volume
from ..logic.history import RunRecord, historyOf
from ..logic.jobs import POLL_MS, Job
from ..logic.runs import RunResult
from ..logic.segmentation import MedImageParseLogic
from ..profiles.profiles import LOCAL_DEMO
from ..prompts import grammar
from ..scene.editing import COMBINE, EditorTarget, isUnnamed
from ..scene.region_choice import regionOf
from ..scene.segments import checkMadeOfVoxels
from ..scene.undo import isInEffect
from ..scene.volumes import volumeFromNode
from .completer import Completer, askedOf
from .endpoint_box import EndpointBox, whyModelDoesNotFit
from .message_row import MessageRow, helpAgainst
from .parameters import MODULE_NAME
from .privacy_box import mayBeSent
from .segments_follower import SegmentsFollower
from .sentences import fractionDone, stageText, worded, words
from .slice_follower import SliceFollower, sliceCount
from .tab import loadWidgets
from .widgets import Choice, StatusIcons, Timer, plain, setTip, showProgress, showSentence, signalsBlocked

SELECTED, NEW = "selected", "new"
VOLUME, SLICE, RANGE = "volume", "slice", "range"
WHOLE = "whole"
DEFAULTS = {
    "Prompt": "", "Into": SELECTED, "Combine": "replace", "Extent": VOLUME, "FirstSlice": "0", "LastSlice": "0", "Region": WHOLE,
    "Margin": "10",
}  # fmt: skip
_CHOICES = {
    "Into": (SELECTED, NEW), "Combine": COMBINE, "Extent": (VOLUME, SLICE, RANGE), "Region": (WHOLE, "roi", "view", "segment"),
}  # fmt: skip
Slices = tuple[str, int, int]  # (plane, first, last), both ends included
_STATUS_MS = 5000  # for which Slicer's status bar shows what came of a run


def setDefaults(effect: Any) -> None:
    """Give the parameters that the Segment Editor's node has not yet. The endpoint is the one chosen in the module's panel, if any."""
    for name, value in DEFAULTS.items():
        effect.setParameterDefault(name, value)
    panel = slicer.mrmlScene.GetSingletonNode(MODULE_NAME, "vtkMRMLScriptedModuleNode")
    effect.setParameterDefault("Endpoint", (panel.GetParameter("Endpoint") if panel is not None else "") or LOCAL_DEMO)


class _Parameters:
    """The effect's parameters as texts, by name. A scene that another version or somebody else made may hold anything: what is no choice
    here is the default, so that what is shown is what is done.
    """

    def __init__(self, effect: Any):
        self._effect = effect

    def __getitem__(self, name: str) -> str:
        # Asked for a parameter that is not there, Slicer prints an error; a scene of another version may lack some.
        if self._effect.parameterSetNode() is None or not self._effect.parameterDefined(name):
            return DEFAULTS.get(name, LOCAL_DEMO)
        value = self._effect.parameter(name)
        return value if value in _CHOICES.get(name, (value,)) else DEFAULTS[name]

    def __setitem__(self, name: str, value: str) -> None:
        if self._effect.parameterSetNode() is not None and self[name] != value:
            self._effect.setParameter(name, value)

    def number(self, name: str) -> float:
        """A parameter as a number, its default where a scene holds something else."""
        try:
            value = float(self[name])
        except ValueError:
            value = math.nan
        return value if math.isfinite(value) else float(DEFAULTS[name])


class TextPrompt:
    """The options of one Segment Editor's effect.

    Args:
        effect: the qSlicerSegmentEditorScriptedEffect.

    Attributes:
        widget: the root widget. logic: a MedImageParseLogic of its own. job: the run at work, None where there is none.
    """

    def __init__(self, effect: Any):
        self._effect = effect
        folder = os.path.join(os.path.dirname(slicer.modules.medimageparse.path), "Resources")
        self.widget = loadWidgets(os.path.join(folder, "UI", "TextPrompt.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        self.logic = MedImageParseLogic()
        self.job: Job | None = None
        self._edited = ""  # ID of the segmentation that is shown
        self._isClosed = self._isUpdating = self._isActive = False
        self._parameters = _Parameters(effect)
        self._mark = ""  # of the run that the message is about, see scene.undo
        self.follower = SliceFollower(slicer.mrmlScene, self.update)
        self.segments = SegmentsFollower(self._segmentsChanged)
        self._timer = Timer(self._poll, POLL_MS, isOnce=False)
        self._prompt = ui.promptEdit
        self.completer = Completer(self._prompt, self._asked)
        self._prompt.connect("textChanged(QString)", lambda text: self._choose("Prompt", text))
        self._prompt.connect("returnPressed()", lambda: self.run())
        self._choices = {
            name: Choice(getattr(ui, box), options, partial(self._choose, name)) for name, (box, options) in _options().items()
        }
        for spinBox, name in ((ui.firstSpinBox, "FirstSlice"), (ui.lastSpinBox, "LastSlice")):
            spinBox.connect("valueChanged(int)", lambda value, name=name: self._choose(name, str(value)))
        ui.marginSpinBox.connect("valueChanged(double)", lambda value: self._choose("Margin", f"{value:g}"))
        ui.runButton.connect("clicked()", lambda: self.run())
        ui.cancelButton.connect("clicked()", self.cancel)
        panel = getattr(getattr(slicer.modules, "MedImageParseWidget", None), "panel", None)
        self._ownsDemo = panel is None
        icons = StatusIcons(os.path.join(folder, "Icons"))
        self.endpoint = EndpointBox(
            ui, self._parameters, self.logic, icons, self._endpointChanged, demo=None if panel is None else panel.endpoint.demo
        )
        self._escape = qt.QShortcut(qt.QKeySequence("Esc"), self.widget)
        self._escape.setContext(qt.Qt.WidgetWithChildrenShortcut)
        # The Segment Editor has an Esc of its own, which leaves the effect; Qt then calls neither, but says so.
        for signal in ("activated()", "activatedAmbiguously()"):
            self._escape.connect(signal, self.cancel)
        self._message = MessageRow.around(
            ui.messageLabel, "prompt", icons, lambda error: helpAgainst(error, self.endpoint, self._openSettings)
        )
        self._say("")
        self.update()

    # --- life --------------------------------------------------------------------------------------------------------

    def activate(self) -> None:
        """The person chooses the effect."""
        self._isActive = True
        self.follower.start()
        self.endpoint.readProfiles()
        self.update()

    def deactivate(self) -> None:
        """The person chooses another effect, or leaves the editor. A run at work goes on."""
        self._isActive = False
        self.follower.stop()
        self.segments.stop()

    def close(self) -> None:
        """The Segment Editor's widget is deleted. Safe to call twice."""
        if self._isClosed:
            return
        self._isClosed = True
        self._timer.stop()
        self.follower.stop()
        self.segments.stop()
        self.logic.close()
        if self._ownsDemo:
            self.endpoint.close()

    # --- what is shown -----------------------------------------------------------------------------------------------

    @property
    def volumeNode(self) -> Any:
        """The Segment Editor's source volume, None where none is chosen."""
        node = self._effect.parameterSetNode()
        if node is None:
            return None
        return node.GetSourceVolumeNode() if hasattr(node, "GetSourceVolumeNode") else node.GetMasterVolumeNode()

    def update(self) -> None:
        """Show everything as it is in the Segment Editor's node."""
        if self._isClosed or self._isUpdating or self._effect.parameterSetNode() is None:
            return
        self._isUpdating = True
        try:
            self._show()
        finally:
            self._isUpdating = False

    def _show(self) -> None:
        ui, extent = self.ui, self._parameters["Extent"]
        segmentationNode = self._effect.parameterSetNode().GetSegmentationNode()
        edited = segmentationNode.GetID() if segmentationNode is not None else ""
        if edited != self._edited and self.job is None:
            self._say("")  # what was said was about another segmentation
        self._edited = edited
        if self._isActive:
            self.segments.follow(segmentationNode)
        for name, choice in self._choices.items():
            choice.set(self._parameters[name])
        if self._prompt.text != self._parameters["Prompt"]:
            with signalsBlocked(self._prompt):
                self._prompt.setText(self._parameters["Prompt"])
        name = self._segmentName() if self._parameters["Into"] == SELECTED else ""
        self._prompt.setPlaceholderText(plain(name) if name and not isUnnamed(name) else _("such as liver"))
        ui.combineComboBox.setEnabled(self._parameters["Into"] == SELECTED)
        for widget in (ui.slicesLabel, ui.slicesWidget):
            widget.setVisible(extent == RANGE)
        self._showSlices(extent)
        for widget in (ui.marginLabel, ui.marginSpinBox):
            widget.setVisible(self._parameters["Region"] == "segment")
        with signalsBlocked(ui.marginSpinBox):
            ui.marginSpinBox.setValue(self._parameters.number("Margin"))
        self.endpoint.show()
        whyNot = self.whyNotRun()
        ui.runButton.setEnabled(not whyNot)
        setTip(ui.runButton, whyNot or _("Find this structure. (Enter)"))
        showSentence(ui.reasonLabel, "" if self.job is not None else whyNot)
        self._showJob()

    def _showSlices(self, extent: str) -> None:
        ui, volumeNode = self.ui, self.volumeNode
        if extent != RANGE or volumeNode is None or volumeNode.GetImageData() is None:
            return
        try:
            last = sliceCount(volumeNode, self._plane()) - 1
        except MedImageParseError:
            return  # why it cannot be read stands below Run
        with signalsBlocked(ui.firstSpinBox, ui.lastSpinBox):
            for spinBox, name in ((ui.firstSpinBox, "FirstSlice"), (ui.lastSpinBox, "LastSlice")):
                spinBox.setMaximum(last)
                spinBox.setValue(int(self._parameters.number(name)))

    def _showJob(self) -> None:
        ui = self.ui
        progress = ("",) if self.job is None else (stageText(self.job), fractionDone(self.job))
        showProgress(ui.cancelButton, ui.progressBar, ui.stageLabel, *progress)
        ui.runButton.setVisible(self.job is None)

    def whyNotRun(self) -> str:
        """Why Run is disabled, in a sentence; "" where it is not."""
        node = self._effect.parameterSetNode()
        if node is None or node.GetSegmentationNode() is None:
            return _("Choose a segmentation.")
        volumeNode = self.volumeNode
        if volumeNode is None or volumeNode.GetImageData() is None:
            return _("Choose a source volume.")
        if self.job is not None:
            return _("A run is in progress.")
        if self._parameters["Into"] == SELECTED and not self._segmentName():
            return _("Add a segment and select it, or choose new segments.")
        is3d = self._parameters["Extent"] == VOLUME
        try:
            isPicture = volumeFromNode(volumeNode, copy=False).is_picture
            checkMadeOfVoxels(node.GetSegmentationNode())
            prompts = self.prompts()
        except MedImageParseError as error:
            return words(error)
        if self._parameters["Into"] == SELECTED and len(prompts) > 1:
            return _("The selected segment takes one structure. Type one, or choose new segments.")
        return self.endpoint.whyNotReady() or whyModelDoesNotFit(self.endpoint.profile(), is3d, isPicture)

    def prompts(self) -> list[str]:
        """What to look for: what is typed, else the selected segment's name.

        Raises:
            MedImageParseError: neither names a structure.
        """
        text = self._parameters["Prompt"].strip()
        if not text and self._parameters["Into"] == SELECTED:
            text = self._segmentName()
            if isUnnamed(text):
                raise MedImageParseError(_("Type what to find, or give the segment the name of a structure."))
        return grammar.parse_prompts([text])

    def _segmentName(self) -> str:
        """The selected segment's name, "" where none is selected."""
        node = self._effect.parameterSetNode()
        segmentationNode = node.GetSegmentationNode()
        segment = segmentationNode.GetSegmentation().GetSegment(node.GetSelectedSegmentID() or "") if segmentationNode is not None else None
        return segment.GetName() if segment is not None else ""

    def _asked(self) -> tuple[str, str]:
        return askedOf(self._parameters["Extent"] == VOLUME, self.volumeNode)

    def _plane(self) -> str:
        return self.follower.sliceOf(self.volumeNode).plane

    # --- what is done ------------------------------------------------------------------------------------------------

    def runAgain(self, choices: dict[str, Any]) -> None:
        """Choose everything as it was for an earlier run, and run. What is edited is chosen already.

        Args:
            choices: of the run's RunRecord.
        """
        for name in (*DEFAULTS, "Endpoint"):
            self._parameters[name] = choices[name]
        self.update()
        self._say(self.whyNotRun())
        self.run(choices["Slices"])

    def run(self, slices: Slices | None = None) -> None:
        """Start a run.

        Args:
            slices: to look at; None for those that are chosen.
        """
        self.update()
        if self._isClosed or self.whyNotRun():
            return
        try:
            profile = self.endpoint.profile()
            if profile is None or not mayBeSent(profile, self.widget):
                self._say(_("Nothing was sent."))
                return
            if self.whyNotRun():  # while the question was open, the scene may have changed
                return
            self.job = self._start(slices)
        except MedImageParseError as error:
            self._message.sayError(error)
            return
        self._say("")
        self.update()
        self._timer.start()

    def cancel(self) -> None:
        """Stop the run at work; nothing is changed."""
        if self.job is not None:
            self.logic.cancel(self.job)

    def _start(self, slices: Slices | None) -> Job:
        parameters, node, volumeNode = self._parameters, self._effect.parameterSetNode(), self.volumeNode
        volume = volumeFromNode(volumeNode, copy=False)
        kind = parameters["Region"]
        selected = node.GetSelectedSegmentID() or ""
        margin = parameters.number("Margin")
        region = regionOf(
            "" if kind == WHOLE else kind, volumeNode, volume,
            segmentationNode=node.GetSegmentationNode(), segmentId=selected, margin=margin,
        )  # fmt: skip
        into = selected if parameters["Into"] == SELECTED else ""
        options: dict[str, Any] = {"profile": self.endpoint.profile(), "show_device_code": self.endpoint.showDeviceCode}
        if parameters["Extent"] == VOLUME:
            segment: Any = self.logic.segmentVolume
            asked, slices = region, None
            options["region"] = region
        else:
            segment = self.logic.segmentSlices
            plane, first, last = slices = slices or self._slices()
            options |= {"plane": plane, "slices": list(range(first, last + 1))}
            asked = slicesRegion(volume, plane, first, last, region)
        editing = EditorTarget(node, into, parameters["Combine"], asked, self._effect, self._effect.saveStateForUndo)
        choices: dict[str, Any] = {name: parameters[name] for name in (*DEFAULTS, "Endpoint")}
        choices |= {"Segmentation": node.GetSegmentationNode().GetID(), "Volume": volumeNode.GetID(), "Segment": selected, "Slices": slices}
        ended = lambda job: self._ended(job, choices)  # noqa: E731
        job: Job = segment(volumeNode, self.prompts(), editing=editing, callback=ended, **options)
        return job

    def _slices(self) -> Slices:
        """The slices to look at."""
        seen = self.follower.sliceOf(self.volumeNode)
        if self._parameters["Extent"] == SLICE:
            return seen.plane, seen.index, seen.index
        most = sliceCount(self.volumeNode, seen.plane) - 1
        ends = sorted(min(max(int(self._parameters.number(name)), 0), most) for name in ("FirstSlice", "LastSlice"))
        return seen.plane, ends[0], ends[1]

    def _ended(self, job: Job, choices: dict[str, Any]) -> None:
        self.job = None
        if self._isClosed:
            return
        if job.state == "done":
            record = RunRecord.of(job, choices, is3d=choices["Extent"] == VOLUME, isFromEditor=True)
            historyOf(slicer.mrmlScene).add(record)
        if job.state == "done":
            self._say(_outcome(job.result), job.result.mark, MedImageParseError() if job.result.failure else None)
        else:
            self._say("")
            self._message.sayWhyNot(job, _("Cancelled. Nothing was changed."))
        if not self._isActive:
            slicer.util.showStatusMessage(self.ui.messageLabel.text, _STATUS_MS)
        self.update()

    def _say(self, sentence: str, mark: str = "", error: MedImageParseError | None = None) -> None:
        self._mark = mark
        self._message.say(sentence, error)

    def _openSettings(self) -> None:
        """Show the settings of the endpoint that is chosen here: they are the module's."""
        slicer.util.selectModule(MODULE_NAME)
        panel = slicer.modules.MedImageParseWidget.panel
        if panel is not None:
            panel.endpoint.choose(self.endpoint.name)
            panel.settings.open()

    def _segmentsChanged(self) -> None:
        """A segment was added, removed or renamed, or a run taken back, by whomever."""
        node = self._effect.parameterSetNode()
        if self._mark and node is not None and not isInEffect(node.GetSegmentationNode(), self._mark):
            self._say("")  # what was found is taken back
        self.update()

    def _poll(self) -> None:
        self.logic.poll()
        self.endpoint.poll()
        self._showJob()
        if self.logic.isIdle:
            self._timer.stop()

    def _endpointChanged(self) -> None:
        self.update()
        if not self._isClosed:
            self._timer.start()

    def _choose(self, name: str, value: str) -> None:
        self._parameters[name] = value
        self.update()


def slicesRegion(volume: Volume, plane: str, first: int, last: int, region: str = "") -> str:
    """The part of a volume that some of its slices and a region have in common, as the tasks' `region` option.

    Args:
        volume: voxels and geometry.
        plane: "axial", "coronal" or "sagittal".
        first: index of the first slice along the plane's axis.
        last: index of the last, which is included.
        region: "I0:I1,J0:J1,K0:K1"; "" for the whole volume.

    Raises:
        MedImageParseError: they have nothing in common.
    """
    axis = 2 - SliceView.of(volume, plane).axes.order[0]  # of ijk
    ends = [part.split(":") for part in region.split(",")] if region else [[0, size] for size in volume.shape_kji[::-1]]
    pairs = [(int(low), int(high)) for low, high in ends]
    low, high = max(pairs[axis][0], first), min(pairs[axis][1], last + 1)
    if low >= high:
        raise MedImageParseError(_("The region does not reach these slices. Choose others, or another region."))
    pairs[axis] = (low, high)
    return ",".join(f"{low}:{high}" for low, high in pairs)


def _outcome(result: RunResult) -> str:
    if result.failure:
        return _("Only a part was done, and is kept: {why}").format(why=worded(result.failure))
    absent = [row.name for row in result.rows if row.state == "absent"]
    covered = [row.name for row in result.rows if row.state == "covered"]
    found = [row.name for row in result.found]
    lines = [_("Found: {names}.").format(names=", ".join(found))] if found else []
    if absent:
        lines.append(_("Not found, nothing was changed for: {names}.").format(names=", ".join(absent)))
    if covered:
        lines.append(_("The masking leaves nothing to change for: {names}.").format(names=", ".join(covered)))
    return "\n".join([*lines, *(worded(warning) for warning in result.warnings)])


def _options() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """(combo box, entries) of each choice, by the parameter's name."""
    return {
        "Into": ("intoComboBox", [(SELECTED, _("Selected segment")), (NEW, _("New segments"))]),
        "Combine": (
            "combineComboBox",
            [
                ("replace", _("Replace what is there")),
                ("add", _("Add to what is there")),
                ("remove", _("Remove from what is there")),
                ("intersect", _("Keep only what is in both")),
            ],
        ),
        "Extent": ("extentComboBox", [(VOLUME, _("Volume (3D)")), (SLICE, _("This slice (2D)")), (RANGE, _("Slices from–to (2D)"))]),
        "Region": (
            "regionComboBox",
            [
                (WHOLE, _("Everywhere")),
                ("roi", _("Visible region of interest")),
                ("view", _("What the slice views show")),
                ("segment", _("Box around the selected segment")),
            ],
        ),
    }
