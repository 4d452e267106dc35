"""The runs of a session, and which of them is in effect in which segmentation. No Qt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..scene.undo import isInEffect
from .runs import FOUND, ResultRow, RunResult

_KEPT = 50


@dataclass(slots=True, eq=False)
class RunRecord:
    """One run that ended well, for people to look at and to run again.

    Attributes:
        result: what it gave; its segmentation is asked for by `segmentationId`, as the node may be gone.
        title: its prompts. endpoint: name of the profile. model: for a person.
        choices: what was chosen in the panel, to run it again: values by name, and IDs of nodes by role.
        when: local time.
        segmentationId: of the segmentation, "" where there is none.
        host: of the endpoint.
    """

    result: RunResult
    title: str
    endpoint: str
    model: str
    choices: dict[str, Any] = field(default_factory=dict)
    when: datetime = field(default_factory=datetime.now)
    segmentationId: str = ""
    host: str = ""

    @property
    def found(self) -> int:
        """How many prompts were found."""
        return len(self.result.found)


class RunHistory:
    """The runs, oldest first. What is in effect is read from the scene, whoever has changed it (undo, the Segment Editor, a person)."""

    def __init__(self) -> None:
        self._records: list[RunRecord] = []

    def add(self, record: RunRecord) -> None:
        """Keep a run."""
        node = record.result.segmentationNode
        record.segmentationId = node.GetID() if node is not None else ""
        record.result = replace(record.result, segmentationNode=None)  # a record must not keep a node in memory
        self._records.append(record)
        del self._records[:-_KEPT]

    def clear(self) -> None:
        """Forget everything: the scene is another one."""
        self._records.clear()

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
