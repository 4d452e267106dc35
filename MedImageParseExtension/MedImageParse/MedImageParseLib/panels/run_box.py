"""Run, Cancel, how far it is, and what came of it."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..logic.jobs import Job
from .sentences import forPanel, fractionDone, stageText, withoutRequestId
from .widgets import hideProgress, showProgress, showSentence


class RunBox:
    """The two buttons, the progress bar and the sentences below.

    Args:
        ui: the panel's widgets.
        run, cancel: what the buttons do.
    """

    def __init__(self, ui: Any, run: Any, cancel: Any):
        self._ui = ui
        ui.runButton.connect("clicked()", run)
        ui.cancelButton.connect("clicked()", cancel)
        ui.progressBar.setMinimum(0)

    def showReady(self, whyNot: str, isBusy: bool) -> None:
        """Args:
        whyNot: why a run cannot start, "" where it can.
        isBusy: a run is at work already; another one would wait for it.
        """
        button = self._ui.runButton
        button.setEnabled(not whyNot)
        button.setText(_("Run next") if isBusy else _("Run"))
        button.setToolTip(
            whyNot or (_("Run this after the one at work. (Ctrl+Enter)") if isBusy else _("Find these structures. (Ctrl+Enter)"))
        )

    def showJobs(self, jobs: list[Job]) -> None:
        """Show how far the first of these jobs is, and how many wait behind it."""
        ui, job = self._ui, jobs[0] if jobs else None
        widgets = (ui.cancelButton, ui.progressBar, ui.stageLabel)
        if job is None:
            hideProgress(*widgets)
            return
        text = stageText(job)
        if len(jobs) > 1:
            text = _("{stage} ({count} more waiting)").format(stage=text, count=len(jobs) - 1)
        showProgress(*widgets, fractionDone(job), text)

    def say(self, sentence: str, requestId: str = "") -> None:
        """Show the person a sentence, or none; a request's id, for the endpoint's owner, as its tool tip."""
        showSentence(self._ui.messageLabel, forPanel(withoutRequestId(sentence, requestId)))
        tip = _("For the endpoint's owner: request {id}").format(id=requestId) if requestId else ""
        self._ui.messageLabel.setToolTip(tip)

    def sayOutcome(self, job: Job) -> None:
        """Say what came of a run."""
        if job.state == "cancelled":
            self.say(_("Cancelled. Nothing was imported."))
        elif job.state != "done":
            self.say(job.sentence, getattr(job.error, "request_id", ""))
        elif job.result.failure:
            self.say(_("Only a part was done, and is kept: {why}").format(why=job.result.failure))
        else:
            found = len(job.result.found)
            seconds = f"{job.elapsed:.1f}" if job.elapsed < 10 else f"{job.elapsed:.0f}"
            self.say(_("Found {found} of {all} in {seconds} s.").format(found=found, all=len(job.result.rows), seconds=seconds))
