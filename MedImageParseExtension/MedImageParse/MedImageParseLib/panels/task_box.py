"""One kind of work in the search tab: its button, Cancel, how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic.jobs import Job
from .message_row import Help, MessageRow
from .sentences import fractionDone, jobWords, megabytes, stageText, worded, words
from .widgets import StatusIcons, hideProgress, setTip, showProgress, showSentence


class TaskBox:
    """The widgets of one kind of work, of which one job runs at a time.

    Args:
        ui: the tab's widgets.
        prefix: what the widgets' names begin with: "index" for indexButton, indexCancelButton, indexProgressBar, …
        start: called by the button; gives the Job that it started, or None where nothing was started.
        cancel: cancel(job).
        tip: what the button does, for its tool tip.
    """

    def __init__(self, ui: Any, prefix: str, start: Callable[[], Job | None], cancel: Callable[[Job], object], tip: str):
        parts = ("Button", "CancelButton", "ProgressBar", "StageLabel", "MessageLabel", "ReasonLabel")
        self._button, self._cancelButton, self._bar, self._stage, self._message, self._reason = (
            getattr(ui, prefix + part) for part in parts
        )
        self._start, self._cancel, self._tip = start, cancel, tip
        self._prefix = prefix
        self._row: MessageRow | None = None
        self.job: Job | None = None
        self._button.connect("clicked()", self.start)
        self._cancelButton.connect("clicked()", self.cancel)
        self._bar.setMinimum(0)

    def showErrorsWith(self, icons: StatusIcons, helpFor: Callable[[BaseException], Help | None]) -> None:
        """Give errors an icon, Copy and the button that helps. Args: as for MessageRow."""
        self._row = MessageRow.around(self._message, self._prefix, icons, helpFor)

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
        job = self.job
        widgets = (self._cancelButton, self._bar, self._stage)
        if job is None:
            hideProgress(*widgets)
        else:
            showProgress(*widgets, _fraction(job), progressText(job))

    def say(self, sentence: str, error: BaseException | None = None) -> None:
        """Show the person a sentence, or none; see MessageRow.say."""
        if self._row is not None:
            self._row.say(sentence, error)
        else:
            showSentence(self._message, sentence)

    def sayError(self, error: MedImageParseError) -> None:
        """Show the person what is wrong."""
        self.say(words(error), error)

    def sayWhyNot(self, job: Job, cancelled: str) -> None:
        """Say why a job that is not done ended. Args: cancelled: the sentence where the person stopped it."""
        if job.state == "cancelled":
            self.say(cancelled)
        else:
            self.say(jobWords(job), job.error or MedImageParseError(job.sentence))


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
