"""The runs of a session, and which of them is in effect in which segmentation. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ..models import SLICES, VOLUMES
from ..scene.session import importSlicer, observe
from ..scene.undo import isInEffect
from .jobs import Job
from .runs import FOUND, ResultRow, RunResult

_KEPT = 50


@dataclass(slots=True, eq=False)
class RunRecord:
    """One run that ended well, for people to look at and to run again.

    Attributes:
        result: what it gave; its segmentation is asked for by `segmentationId`, as the node may be gone.
        title: its prompts. endpoint: name of the profile. model: for a person.
        choices: what was chosen in the panel or in the effect, to run it again: values by name, and IDs of nodes by role.
        when: local time.
        segmentationId: of the segmentation, "" where there is none.
        host: of the endpoint.
        isFromEditor: the Segment Editor's effect made it, and the choices are the effect's.
    """

    result: RunResult
    title: str
    endpoint: str
    model: str
    choices: dict[str, Any] = field(default_factory=dict)
    when: datetime = field(default_factory=datetime.now)
    segmentationId: str = ""
    host: str = ""
    isFromEditor: bool = False

    @classmethod
    def of(cls, job: Job, choices: dict[str, Any], *, is3d: bool, isFromEditor: bool = False) -> RunRecord:
        """The record of a job of MedImageParseLogic that ended well.

        Args:
            job: its state is "done".
            choices: see Attributes; "Endpoint" is the profile's name.
            is3d: the whole volume was asked for, not slices.
            isFromEditor: see Attributes.
        """
        host = urlsplit(job.result.report.get("endpoint") or "").hostname or ""
        model = (VOLUMES if is3d else SLICES).title
        return cls(job.result, job.title, choices.get("Endpoint", ""), model, choices, host=host, isFromEditor=isFromEditor)

    @property
    def found(self) -> int:
        """How many prompts were found."""
        return len(self.result.found)


class RunHistory:
    """The runs, oldest first. What is in effect is read from the scene, whoever has changed it (undo, the Segment Editor, a person)."""

    def __init__(self) -> None:
        self._records: list[RunRecord] = []
        self._listeners: list[Callable[[], object]] = []

    def listen(self, onChange: Callable[[], object]) -> None:
        """Call somebody whenever a run has come or gone, until `unlisten`."""
        self._listeners.append(onChange)

    def unlisten(self, onChange: Callable[[], object]) -> None:
        """Call them no more."""
        if onChange in self._listeners:
            self._listeners.remove(onChange)

    def add(self, record: RunRecord) -> None:
        """Keep a run."""
        node = record.result.segmentationNode
        record.segmentationId = node.GetID() if node is not None else ""
        record.result = replace(record.result, segmentationNode=None)  # a record must not keep a node in memory
        self._records.append(record)
        del self._records[:-_KEPT]
        self._tell()

    def clear(self) -> None:
        """Forget everything: the scene is another one."""
        if self._records:
            self._records.clear()
            self._tell()

    def forgetDeleted(self, scene: Any) -> None:
        """Forget the runs into segmentations that are no longer in the scene."""
        kept = [each for each in self._records if not each.segmentationId or scene.GetNodeByID(each.segmentationId) is not None]
        if len(kept) != len(self._records):
            self._records[:] = kept
            self._tell()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    def all(self) -> list[RunRecord]:
        """Every run, the newest first."""
        return self._records[::-1]

    def into(self, segmentationNode: Any) -> list[RunRecord]:
        """The runs into a segmentation that are in effect, the newest first. None: the last run, where it found nothing anywhere."""
        if segmentationNode is None:
            return [record for record in self._records[-1:] if not record.segmentationId]
        identifier = segmentationNode.GetID()
        return [
            record
            for record in self.all()
            if record.segmentationId == identifier and (not record.result.mark or isInEffect(segmentationNode, record.result.mark))
        ]

    def rows(self, segmentationNode: Any) -> Iterator[tuple[RunRecord, ResultRow]]:
        """(run, row) of every prompt of the runs into a segmentation, the newest run first; rows of deleted segments are left out."""
        segmentation = segmentationNode.GetSegmentation() if segmentationNode is not None else None
        for record in self.into(segmentationNode):
            for row in record.result.rows:
                if row.state == FOUND and segmentation is not None and segmentation.GetSegment(row.segmentId) is None:
                    continue
                yield record, row


# One a scene, by the scene's address: the panel and every Segment Editor's effect write into the same.
_histories: dict[str, RunHistory] = {}


def historyOf(scene: Any) -> RunHistory:
    """The runs into a scene's segmentations. Empty after the scene has been closed or another one has been loaded.

    Args:
        scene: the vtkMRMLScene.
    """
    key = scene.GetAddressAsString("")
    if key not in _histories:
        history = _histories[key] = RunHistory()
        kinds = importSlicer().vtkMRMLScene
        for event in (kinds.EndCloseEvent, kinds.EndImportEvent, kinds.EndRestoreEvent):
            observe(scene, event, lambda *_unused: history.clear())
        observe(scene, kinds.NodeRemovedEvent, lambda changed, _event: None if changed.IsClosing() else history.forgetDeleted(changed))
        observe(scene, "DeleteEvent", partial(_forgetScene, _histories, key))
    return _histories[key]


def _forgetScene(histories: dict[str, RunHistory], key: str, *_unused: object) -> None:
    """Called as the scene is deleted, maybe at interpreter exit, when this module's names are gone."""
    histories.pop(key, None)
