"""One kind of work in the search tab: its button, Cancel, how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..logic.jobs import Job, megabytes
from .message_row import MessageRow
from .sentences import fractionDone, stageText, worded
from .widgets import setTip, showProgress, showSentence


class TaskBox:
    """The widgets of one kind of work, of which one job runs at a time.

    Args:
        context: the tab's SearchContext.
        ui: the tab's widgets.
        prefix: what the widgets' names begin with: "index" for indexButton, indexCancelButton, indexProgressBar, …
        start: called by the button; gives the Job that it started, or None where nothing was started.
        tip: what the button does, for its tool tip.

    Attributes:
        message: below the button. job: the one at work, None where there is none.
    """

    def __init__(self, context: Any, ui: Any, prefix: str, start: Callable[[], Job | None], tip: str):
        parts = ("Button", "CancelButton", "ProgressBar", "StageLabel", "ReasonLabel")
        self._button, self._cancelButton, self._bar, self._stage, self._reason = (getattr(ui, prefix + part) for part in parts)
        self._start, self._cancel, self._tip = start, context.logic.cancel, tip
        self.message = MessageRow.around(getattr(ui, prefix + "MessageLabel"), prefix, context.icons, context.helpFor)
        self.job: Job | None = None
        self._button.connect("clicked()", self.start)
        self._cancelButton.connect("clicked()", self.cancel)
        self._bar.setMinimum(0)

    def start(self) -> None:
        """What the button does."""
        if self.job is None and self._button.enabled:
            self.job = self._start()
            self.showJob()

    def cancel(self) -> None:
        """Stop the job at work."""
        if self.job is not None:
            self._cancel(self.job)

    def ended(self) -> None:
        """The job has ended: the button is there again."""
        self.job = None
        self.showJob()

    def showReady(self, whyNot: str) -> None:
        """Args: whyNot: why it cannot start, "" where it can."""
        if self.job is not None:
            whyNot = _("This is already in progress. Wait until it is done, or cancel it.")
        self._button.setEnabled(not whyNot)
        setTip(self._button, worded(whyNot) or self._tip)
        showSentence(self._reason, worded(whyNot) if self.job is None else "")

    def showJob(self) -> None:
        """Show how far the job is."""
        progress = ("",) if self.job is None else (progressText(self.job), _fraction(self.job))
        showProgress(self._cancelButton, self._bar, self._stage, *progress)


def progressText(job: Job) -> str:
    """One line for a job at work: "12 of 38 images, 0:04"."""
    seconds = int(job.elapsed)
    clock = f"{seconds // 60}:{seconds % 60:02d}"
    if job.state == "running" and job.stage == "embedding":
        if job.total:
            return _("{done} of {total} images, {time}").format(done=int(job.done), total=int(job.total), time=clock)
        return _("{done} images, {time}").format(done=int(job.done), time=clock)
    if job.state == "running" and job.stage == "reading":
        return _("Reading, {time}").format(time=clock)
    if job.state == "running" and job.stage == "embedding the labels":
        return _("Reading the labels")
    if job.state == "running" and job.stage == "epochs":
        if job.total:
            return _("Training, epoch {done} of {total}, {time}").format(done=int(job.done), total=int(job.total), time=clock)
        return _("Training, {time}").format(time=clock)
    if job.state == "running" and job.stage == "labels":
        return _("Working, {time}").format(time=clock)
    if job.state == "running" and job.stage in ("searching", ""):
        return _("Searching")
    if job.state == "importing":
        return _("Finishing")
    return stageText(job)


def sizeText(size: float) -> str:
    """Bytes for a person."""
    if size < 1e5:
        return _("{kilobytes} kB").format(kilobytes=max(1, round(size / 1e3)))
    return _("{megabytes} MB").format(megabytes=megabytes(size))


def _fraction(job: Job) -> float | None:
    if job.stage in ("embedding", "epochs"):
        return min(1.0, job.done / job.total) if job.total else None
    return fractionDone(job)
