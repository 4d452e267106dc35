"""What the boxes of the search tab share: the volume, the slice that is looked at, the endpoint, the index, and how a job is begun."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic.jobs import Job, nothing
from .privacy_box import mayBeSent
from .search_choices import SearchChoices
from .sentences import jobWords

if TYPE_CHECKING:
    from ..logic.question_runs import IndexSummary
    from ..logic.similarity import MedImageInsightLogic
    from ..search.info import Study
    from .endpoint_box import EndpointBox
    from .message_row import Help
    from .parameters import PanelParameters
    from .slice_follower import SeenSlice, SliceFollower
    from .task_box import TaskBox
    from .widgets import StatusIcons


class SearchContext:
    """Handed to every box.

    Args:
        widget: over which questions are asked.
        endpoint: the endpoint's row. icons, helpFor: as for MessageRow.
        changed: called when something has changed that the tab shows. wake: asks for polls. chooseNode: what a node selector tells.

    Attributes:
        summary: what the index holds, None while nobody knows. indexFault: why it cannot be read.
        isClosed: the tab is gone; answers that come now are not shown.
    """

    def __init__(
        self, widget: Any, logic: MedImageInsightLogic, parameters: PanelParameters, follower: SliceFollower, endpoint: EndpointBox,
        icons: StatusIcons, helpFor: Callable[[BaseException], Help | None], changed: Callable[[], object], wake: Callable[[], object],
        chooseNode: Callable[[str, Any], object],
    ):  # fmt: skip
        self.widget, self.logic, self.parameters, self.follower = widget, logic, parameters, follower
        self.endpoint, self.icons, self.helpFor = endpoint, icons, helpFor
        self.changed, self.wake, self.chooseNode = changed, wake, chooseNode
        self.choices = SearchChoices()
        self.summary: IndexSummary | None = None
        self.indexFault = ""
        self.isClosed = False
        self._reading: Job | None = None

    @property
    def volumeNode(self) -> Any:
        """The chosen volume, None where there is none."""
        return self.parameters.nodeFor("InputVolume")

    def seenSlice(self) -> SeenSlice | None:
        """The slice of that volume that is looked at, None where there is none."""
        return self.follower.seenOf(self.volumeNode)

    def studies(self) -> list[tuple[Study, str]]:
        """The volumes and pictures in the index by name, each with what to call it."""
        studies = sorted(self.summary.studies, key=lambda study: study.name.casefold()) if self.summary is not None else []
        return [(study, study.name or _("series {series}").format(series=study.series[:8])) for study in studies]

    def whyNoVolume(self) -> str:
        """Why there is no slice to work with, "" where there is."""
        if self.volumeNode is None:
            return _("Select a volume.")
        return _("This volume is empty. Select another.") if self.seenSlice() is None else ""

    def whyNoIndex(self) -> str:
        """Why there is nothing to search in, "" where there may be."""
        if self.indexFault:
            return self.indexFault
        return _("The index is empty. Press Index first.") if self.summary is not None and not self.summary.images else ""

    def whyNoEndpoint(self) -> str:
        """Why nothing can be sent, "" where it can."""
        return self.endpoint.whyNotReady()

    def whyNoText(self) -> str:
        """Why the endpoint cannot compare with words, "" where it can."""
        return self.endpoint.whyNoText()

    def begin(
        self, task: TaskBox, start: Callable[..., Any], take: Callable[[Any], object], *, sends: bool = True, cancelled: str = "",
        ended: Callable[[], object] = nothing,
    ) -> Job | None:  # fmt: skip
        """Start a job, having asked whether image data may leave. Nothing is shown of one that ends after the tab has gone.

        Args:
            task: where to say what goes wrong.
            start: start(**how) gives the job.
            take: take(result) shows what a job that is done brought.
            sends: False for work that asks no endpoint.
            cancelled: the sentence where the person stopped it; "" for the usual one.
            ended: called when that is shown, however the job ended.

        Returns:
            the job, None where nothing was started.
        """

        def callback(job: Job) -> None:
            if self.isClosed:
                return
            task.ended()
            if job.state == "done":
                take(job.result)
            else:
                task.message.sayWhyNot(job, cancelled or _("Cancelled."))
            ended()
            self.changed()

        how: dict[str, Any] = {"callback": callback}
        try:
            if sends:
                how |= {"profile": self.endpoint.profile(), "show_device_code": self.endpoint.showDeviceCode}
                if not mayBeSent(how["profile"], self.widget):
                    task.message.say(_("Nothing was sent."))
                    return None
            job = start(**how)
        except MedImageParseError as error:
            task.message.sayError(error)
            return None
        task.message.say("")
        self.wake()
        return job

    def readIndex(self) -> None:
        """Find out what the index holds; `changed` is called when that is known."""
        if self._reading is not None or self.isClosed:
            return
        self._reading = cast("Job", self.logic.describeIndex(index=self.choices.indexPath, callback=self._indexRead))  # for its callback
        self.wake()

    def _indexRead(self, job: Job) -> None:
        self._reading = None
        if self.isClosed:
            return
        if job.state == "done" and job.result.path != os.path.abspath(os.path.expanduser(self.choices.indexPath)):
            self.readIndex()  # another file was chosen meanwhile
            return
        self.summary = job.result if job.state == "done" else None
        self.indexFault = jobWords(job) if job.state == "failed" else ""
        self.changed()
