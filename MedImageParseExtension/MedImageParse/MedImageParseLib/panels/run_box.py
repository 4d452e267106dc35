"""Run, Cancel, how far it is, what came of it, and what helps where it went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic.jobs import Job
from .message_row import Help, MessageRow
from .sentences import fractionDone, stageText, worded
from .widgets import StatusIcons, setTip, showProgress, showSentence


class RunBox:
    """The two buttons, the reason why Run is not possible, the progress bar, and the message below with its buttons.

    Args:
        ui: the panel's widgets.
        run, cancel: what the buttons do.
        icons: the status pictures.
        helpFor: helpFor(error) gives the button that helps against an error, None where none does.
    """

    def __init__(self, ui: Any, run: Any, cancel: Any, icons: StatusIcons, helpFor: Callable[[BaseException], Help | None]):
        self._ui = ui
        self._message = MessageRow(ui.messageLabel, ui.messageIcon, ui.messageHelpButton, ui.messageCopyButton, icons, helpFor)
        ui.runButton.connect("clicked()", run)
        ui.cancelButton.connect("clicked()", cancel)
        self._missing: Help | None = None
        ui.reasonButton.connect("clicked()", self._reasonClicked)
        ui.progressBar.setMinimum(0)

    def showReady(self, whyNot: str, isBusy: bool, help: Help | None = None) -> None:
        """Args:
        whyNot: why a run cannot start, "" where it can.
        isBusy: a run is in progress already; another one would wait for it.
        help: the button that does what is missing, None where none does.
        """
        self._missing = help if whyNot else None
        self._ui.reasonButton.setVisible(self._missing is not None)
        if self._missing is not None:
            self._ui.reasonButton.setText(self._missing[0])
        button = self._ui.runButton
        button.setEnabled(not whyNot)
        button.setText(_("Run next") if isBusy else _("Run"))
        setTip(
            button, whyNot or (_("Run this after the current run. (Ctrl+Enter)") if isBusy else _("Find these structures. (Ctrl+Enter)"))
        )
        showSentence(self._ui.reasonLabel, whyNot)

    def showJobs(self, jobs: list[Job]) -> None:
        """Show how far the first of these jobs is, and how many wait behind it."""
        text = stageText(jobs[0]) if jobs else ""
        if len(jobs) > 1:
            text = _("{stage} ({count} more waiting)").format(stage=text, count=len(jobs) - 1)
        ui = self._ui
        showProgress(ui.cancelButton, ui.progressBar, ui.stageLabel, text, fractionDone(jobs[0]) if jobs else None)

    def say(self, sentence: str, error: BaseException | None = None) -> None:
        """Show the person a sentence, or none; see MessageRow.say."""
        self._message.say(sentence, error)

    def sayError(self, error: MedImageParseError) -> None:
        """Show the person what is wrong."""
        self._message.sayError(error)

    def sayWhyNot(self, job: Job) -> None:
        """Say why a job that is not done ended."""
        self._message.sayWhyNot(job)

    def sayOutcome(self, job: Job) -> None:
        """Say what came of a run."""
        if job.state != "done":
            self._message.sayWhyNot(job, _("Cancelled. Nothing was added."))
        elif job.result.failure:
            self.say(
                _("Only part of the run was completed, and is kept: {why}").format(why=worded(job.result.failure)), MedImageParseError()
            )
        else:
            found = len(job.result.found)
            seconds = f"{job.elapsed:.1f}" if job.elapsed < 10 else f"{job.elapsed:.0f}"
            self.say(_("Found {found} of {all} in {seconds} s.").format(found=found, all=len(job.result.rows), seconds=seconds))

    def _reasonClicked(self) -> None:
        if self._missing is not None:
            self._missing[1]()
