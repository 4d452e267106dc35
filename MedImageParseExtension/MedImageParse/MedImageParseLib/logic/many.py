"""One run after the other over several images: volumes of the scene, series of the DICOM database, frames of a sequence.

Each image is a `Case`. It is opened when its turn comes, so that a list costs no memory, and one that fails does not stop the others. Main
thread only; the waiting is done by the job queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import MOST_FAILURES, EndpointError, InputError, MedImageParseError
from ..files.dicom import NO_IMAGE_MODALITIES
from ..remedies import Sentence
from ..scene.session import importSlicer
from ..scene.volumes import volumeNodes
from .indexing_runs import DICOM_SOURCE, databaseSeries, seriesName, whereFrom
from .jobs import Job, nothing
from .opening import loadSeries
from .runs import RunResult

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
STOPPED = "Not run, because the endpoint failed five times in a row."
_MODALITY = "0008,0060"
_PASSED_OVER = {*NO_IMAGE_MODALITIES, "FID", "SM"}  # slides of microscopy are too large to open one after the other


@dataclass(slots=True)
class Case:
    """One image of several.

    Attributes:
        name: for the person.
        open: gives the volume node, when its turn comes. Raises MedImageParseError where it is not to be had.
        close: close(volumeNode, result) when its run has ended; result is None where there is none.
        state: "waiting", "running", "done", "failed" or "cancelled".
        sentence: why it failed.
        error: the exception behind it.
        volumeNode, result: once it is done.
    """

    name: str
    open: Callable[[], Any]
    close: Callable[[Any, RunResult | None], object] = nothing
    state: str = WAITING
    sentence: str = ""
    error: BaseException | None = None
    volumeNode: Any = None
    result: RunResult | None = None


class ManyRuns:
    """Runs over cases, one after the other.

    Args:
        cases: at least one.
        start: start(volumeNode, callback) starts a run and gives its Job.
        cancelJob: cancels a Job.
        onChange: called after every change of a case's state.

    Raises:
        InputError: there is no case.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        start: Callable[[Any, Callable[[Job], object]], Job],
        cancelJob: Callable[[Job], object],
        onChange: Callable[[ManyRuns], object] = nothing,
    ):
        if not cases:
            raise InputError("There is no image to run on.")
        self.cases = list(cases)
        self._start, self._cancelJob, self._onChange = start, cancelJob, onChange
        self.job: Job | None = None
        self._failures = 0

    @property
    def isRunning(self) -> bool:
        """Whether cases are waiting or running."""
        return any(case.state in (WAITING, RUNNING) for case in self.cases)

    def count(self, state: str) -> int:
        """How many cases are in a state."""
        return sum(case.state == state for case in self.cases)

    def begin(self) -> None:
        """Start the next case that waits, if there is one."""
        for case in self.cases:
            if case.state == WAITING:
                self._begin(case)
                if case.state == RUNNING:
                    return
        self._onChange(self)

    def cancel(self) -> None:
        """Stop the run at work; those that wait are not started. What is done is kept."""
        for case in self.cases:
            if case.state == WAITING:
                case.state = CANCELLED
        if self.job is not None:
            self._cancelJob(self.job)
        self._onChange(self)

    def _begin(self, case: Case) -> None:
        node = None
        case.state = RUNNING
        try:
            node = case.open()
            self.job = self._start(node, lambda job: self._ended(case, node, job))
        except MedImageParseError as error:
            self._fail(case, error, str(error))
            if node is not None:
                case.close(node, None)
        self._onChange(self)

    def _ended(self, case: Case, node: Any, job: Job) -> None:
        self.job = None
        if job.state == "done":
            case.state, case.volumeNode, case.result, case.sentence = DONE, node, job.result, job.result.failure
            self._failures = 0
        elif job.state == "cancelled":
            case.state = CANCELLED
        else:
            self._fail(case, job.error, job.sentence)
        case.close(node, case.result)
        self.begin()

    def _fail(self, case: Case, error: BaseException | None, sentence: str) -> None:
        case.state, case.error, case.sentence = FAILED, error, sentence
        self._failures = self._failures + 1 if isinstance(error, EndpointError) else 0
        if self._failures >= MOST_FAILURES:
            for other in self.cases:
                if other.state == WAITING:
                    other.state, other.sentence = CANCELLED, STOPPED


def volumeCases(nodes: Sequence[Any]) -> list[Case]:
    """A case for each of several volume nodes of the scene."""
    return [Case(node.GetName() or "", partial(_stillThere, node)) for node in nodes]


def databaseCases(database: Any, scene: Any) -> list[Case]:
    """A case for each series of images in Slicer's DICOM database, which is loaded when its turn comes, unless it is in the scene already.

    Raises:
        InputError: there is no database, or it holds no series of images.
    """
    cases = []
    for series, files in databaseSeries(database):
        if str(database.fileValue(files[0], _MODALITY) or "").strip().upper() not in _PASSED_OVER:
            name = seriesName(database, files[0])
            cases.append(Case(name, partial(_openSeries, series, name, scene)))
    if not cases:
        raise InputError("The DICOM database holds no series of images yet; import some in the DICOM module.")
    return cases


def _stillThere(node: Any) -> Any:
    scene = node.GetScene()
    if scene is None or not scene.IsNodePresent(node):
        raise InputError("The volume was removed from the scene.")
    return node


def _openSeries(series: str, name: str, scene: Any) -> Any:
    for node in volumeNodes(scene):
        if whereFrom(node)[1] == DICOM_SOURCE + series:
            return node
    return loadSeries(series, Sentence('The series "{name}"', name=name), scene)


def sequenceOf(volumeNode: Any) -> Any:
    """The sequence whose frames a volume node shows, by the scene's sequence browsers; None where it shows none."""
    scene = volumeNode.GetScene() if volumeNode is not None else None
    for browser in _nodes(scene, "vtkMRMLSequenceBrowserNode"):
        if browser.IsProxyNodeID(volumeNode.GetID()):
            return browser.GetSequenceNode(volumeNode)
    return None


def volumeSequences(scene: Any) -> list[Any]:
    """The scene's sequences of volumes."""
    return [
        node
        for node in _nodes(scene, "vtkMRMLSequenceNode")
        if node.GetNumberOfDataNodes() and node.GetNthDataNode(0).IsA("vtkMRMLVolumeNode")
    ]


def sequenceCases(sequenceNode: Any) -> list[Case]:
    """A case for each frame of a sequence of volumes. The results become a sequence of segmentations with the same index values, which is
    shown by the same sequence browsers; a frame where nothing was found gets an empty segmentation, so that the two keep step.

    Raises:
        InputError: it holds no volumes.
    """
    if sequenceNode is None or sequenceNode not in volumeSequences(sequenceNode.GetScene()):
        raise InputError("Choose a sequence of volumes.")
    results = _SegmentationSequence(sequenceNode)
    unit = f" {sequenceNode.GetIndexUnit()}" if sequenceNode.GetIndexUnit() else ""
    cases = []
    for number in range(sequenceNode.GetNumberOfDataNodes()):
        value = sequenceNode.GetNthIndexValue(number)
        name = f"{sequenceNode.GetName()}, {sequenceNode.GetIndexName() or 'frame'} {value}{unit}"
        cases.append(Case(name, partial(results.openFrame, value), partial(results.keep, value)))
    return cases


class _SegmentationSequence:
    """Segmentations by index value, beside a sequence of volumes; made with the first of them."""

    def __init__(self, sequenceNode: Any):
        self._volumes = sequenceNode
        self.node: Any = None

    def openFrame(self, value: str) -> Any:
        """A frame as a volume node of the scene, which nobody else sees."""
        from ..scene.volumes import nodeFromVolume, volumeFromNode

        scene = self._volumes.GetScene()
        if scene is None:
            raise InputError("The sequence was removed from the scene.")
        data = self._volumes.GetDataNodeAtValue(value)
        if data is None:
            raise InputError("The sequence has no such frame any more.")
        node = nodeFromVolume(volumeFromNode(data), f"{self._volumes.GetName()} {value}", scene)
        node.SetHideFromEditors(True)
        return node

    def keep(self, value: str, volumeNode: Any, result: RunResult | None) -> None:
        """Put a frame's segmentation into the sequence, and take the frame's own nodes out of the scene."""
        from ..scene.segments import newSegmentation, removeSegmentation

        scene = self._volumes.GetScene()
        if result is not None and scene is not None:
            segmentation = result.segmentationNode or newSegmentation(volumeNode)
            if self.node is None:
                self.node = self._make(scene)
            self.node.SetDataNodeAtValue(segmentation, value)
            removeSegmentation(segmentation)
            result.segmentationNode = self.node.GetDataNodeAtValue(value)
        _removeVolume(volumeNode)

    def _make(self, scene: Any) -> Any:
        node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(f"{self._volumes.GetName()} segmentation"))
        node.SetIndexName(self._volumes.GetIndexName())
        node.SetIndexUnit(self._volumes.GetIndexUnit())
        node.SetIndexType(self._volumes.GetIndexType())
        for browser in _nodes(scene, "vtkMRMLSequenceBrowserNode"):
            if browser.IsSynchronizedSequenceNode(self._volumes, True):
                browser.AddSynchronizedSequenceNode(node)
        return node


def _removeVolume(volumeNode: Any) -> None:
    scene = volumeNode.GetScene()
    if scene is None or not scene.IsNodePresent(volumeNode):
        return
    slicer = importSlicer()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    if item and getattr(slicer, "app", None) is None:  # the application removes the item with the node
        hierarchy.RemoveItem(item, False, True)
    for node in (volumeNode.GetDisplayNode(), volumeNode):
        if node is not None and scene.IsNodePresent(node):
            scene.RemoveNode(node)


def _nodes(scene: Any, kind: str) -> list[Any]:
    if scene is None:
        return []
    return [scene.GetNthNodeByClass(number, kind) for number in range(scene.GetNumberOfNodesByClass(kind))]
