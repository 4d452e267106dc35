"""Makes an endpoint in the person's own Azure subscription, lists those that were made here, and deletes them: a dialog over `api.deploy`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..api.deploy import Azure, AzureOptions, DeployOptions, Made, sign_in_to_azure
from ..azure.deploy import Deployed
from ..azure.offers import OFFERS
from ..azure.plan import Plan
from ..logic.jobs import POLL_MS, Job, JobQueue
from ..options import about
from ..progress import Cancellation, Progress
from .message_row import MessageRow, noHelp
from .profile_form import entraMethods
from .sentences import signInText, worded
from .tab import loadWidgets, scrollingDialog
from .widgets import Choice, StatusIcons, Timer, dispose, plain, setTip, showRich, showSentence

_SIZE = (460, 640)  # pixels
_AUTOMATIC = ""


class DeployDialog:
    """The dialog behind "Deploy a new endpoint…". It does not wait: Slicer and the panel can be used while Azure works.

    Args:
        uiPath: DeployEndpoint.ui.
        onMade: called with the name of the profile of an endpoint that was made.
        onDeleted: called after an endpoint was deleted.
        icons: the status pictures.

    Attributes:
        dialog: the window.
    """

    def __init__(self, uiPath: str | Path, onMade: Callable[[str], object], onDeleted: Callable[[], object], icons: StatusIcons):
        widget = loadWidgets(str(uiPath))
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        self._onMade, self._onDeleted = onMade, onDeleted
        self._note = MessageRow.around(ui.deployNoteLabel, "deployNote", icons, noHelp)
        self._queue = JobQueue()
        self._job: Job | None = None
        self._plan: tuple[Plan, DeployOptions] | None = None  # what the person has seen, and would agree to
        self._found: list[Deployed] = []
        self._codes: list[str] = []  # written by the worker, shown by `_poll`
        self._model = Choice(ui.deployModelComboBox, [(key, offer.title) for key, offer in OFFERS.items()], self._modelChosen)
        self._instance = Choice(ui.deployInstanceComboBox, (), self._changed)
        ways = (("key", _("The endpoint's key")), ("entra", _("Microsoft Entra")), ("aml-token", _("Azure ML token")))
        self._signIn = Choice(ui.deploySignInComboBox, ways, self._changed)
        self._method = Choice(ui.deployMethodComboBox, entraMethods(), self._changed)
        for field, name in (
            (ui.deployWorkspaceEdit, "workspace"), (ui.deployInstanceComboBox, "instance"), (ui.deploySignInComboBox, "sign_in"),
            (ui.deployDeleteByEdit, "delete_by"), (ui.deploySharedCheckBox, "shared_quota"),
        ):  # fmt: skip
            setTip(field, _inSentence(worded(about(DeployOptions, name).help)))
        for edit in (ui.deployWorkspaceEdit, ui.deployDeleteByEdit):
            edit.connect("textChanged(QString)", self._changed)
        ui.deploySharedCheckBox.connect("toggled(bool)", self._changed)
        for button, slot in (
            (ui.deployPlanButton, self._look), (ui.deployMakeButton, self._make), (ui.deployStopButton, self._stop),
            (ui.deployListButton, self._list), (ui.deployDeleteButton, self._delete),
        ):  # fmt: skip
            button.connect("clicked()", slot)
        ui.deployList.connect("itemSelectionChanged()", self._show)
        self._timer = Timer(self._poll, POLL_MS, isOnce=False)
        self.dialog = scrollingDialog(widget, _("Deploy an endpoint in Azure"), _SIZE)
        self._modelChosen(self._model.key)

    def open(self) -> None:
        """Show the dialog; returns at once."""
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()

    def close(self) -> None:
        """The panel is closed: nothing is waited for any longer. What was begun goes on in Azure."""
        self._timer.stop()
        self._queue.close()
        dispose(self.dialog)

    # --- what the person wants ---------------------------------------------------------------------------------------

    def _modelChosen(self, key: str) -> None:
        machines = [(name, name.removeprefix("Standard_")) for name in OFFERS[key].instances]
        self._instance.fill([(_AUTOMATIC, _("Automatic")), *machines])
        self._changed()

    def _changed(self, *_what: object) -> None:
        """What was shown is no longer what would be made."""
        self._plan = None
        showSentence(self.ui.deployPlanLabel, "")
        self._show()

    def _options(self) -> DeployOptions:
        ui = self.ui
        return DeployOptions(
            workspace=ui.deployWorkspaceEdit.text.strip(), instance=self._instance.key, sign_in=self._signIn.key,
            delete_by=ui.deployDeleteByEdit.text.strip(), shared_quota=bool(ui.deploySharedCheckBox.checked),
        )  # fmt: skip

    def _azure(self, method: str, cancellation: Cancellation) -> Azure:
        """In the worker: somebody may have to sign in."""
        return sign_in_to_azure(
            options=AzureOptions(method=method), prompt=lambda *code: self._codes.append(signInText(*code)), cancellation=cancellation
        )

    # --- the jobs ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        model, options, method = self._model.key, self._options(), self._method.key
        self._changed()

        def work(_prepared: Any, _progress: Progress, cancellation: Cancellation) -> tuple[Plan, list[str]]:
            azure = self._azure(method, cancellation)
            plan = azure.plan(model, options)
            return plan, azure.sentences(plan)

        def seen(job: Job) -> None:
            if self._ended(job):
                plan, sentences = job.result
                self._plan = (plan, options)
                showSentence(self.ui.deployPlanLabel, "\n".join(worded(each) for each in sentences))
                self._show()

        self._begin(Job("Look at Azure", work=work, callback=seen), _("Checking the workspace, the quota and the price…"))

    def _make(self) -> None:
        if self._plan is None:
            return
        (plan, options), method = self._plan, self._method.key

        def work(_prepared: Any, progress: Progress, cancellation: Cancellation) -> Made:
            return self._azure(method, cancellation).deploy(plan, options, progress=progress, cancellation=cancellation)

        def made(job: Job) -> None:
            if not self._ended(job):
                if job.state == "cancelled":
                    self._note.say(
                        _(
                            "Azure continues what was started, and it costs money. Press Create endpoint again to continue, or delete the endpoint."
                        ),
                    )
                return
            result: Made = job.result
            notes = [result.check, *result.notes] if result.check else result.notes
            self._changed()
            self._note.say("\n".join(worded(note) for note in notes if note))
            self._onMade(result.profile)

        self._begin(Job("Make an endpoint", work=work, callback=made), _("Creating the endpoint. This takes 10 to 30 minutes…"))

    def _list(self) -> None:
        options, method = self._options(), self._method.key

        def work(_prepared: Any, _progress: Progress, cancellation: Cancellation) -> list[Deployed]:
            return self._azure(method, cancellation).deployments(options.workspace)

        def listed(job: Job) -> None:
            if not self._ended(job):
                return
            self._found = job.result
            self.ui.deployList.clear()
            self.ui.deployList.addItems(
                [plain(f"{each.name} ({each.workspace}): {each.state}. {worded(each.reminder())}") for each in self._found]
            )
            if not self._found:
                self._note.say(_("No endpoint created by this program was found."))
            self._show()

        self._begin(Job("List endpoints", work=work, callback=listed), _("Searching…"))

    def _delete(self) -> None:
        row, method = self.ui.deployList.currentRow, self._method.key
        if not 0 <= row < len(self._found):
            return
        chosen = self._found[row]
        question = _("Delete the endpoint {name} and its deployment? It stops working for everyone who uses it.")
        if not slicer.util.confirmYesNoDisplay(question.format(name=chosen.name), parent=self.dialog):
            return
        workspace = chosen.resource_id.partition("/onlineEndpoints/")[0]

        def work(_prepared: Any, progress: Progress, cancellation: Cancellation) -> None:
            self._azure(method, cancellation).delete(chosen.name, workspace, progress=progress, cancellation=cancellation)

        def deleted(job: Job) -> None:
            if self._ended(job):
                self._found = [each for each in self._found if each is not chosen]
                self.ui.deployList.takeItem(row)
                self._note.say(_("{name} was deleted and no longer costs anything.").format(name=chosen.name))
                self._onDeleted()

        self._begin(Job("Delete an endpoint", work=work, callback=deleted), _("Deleting the endpoint…"))

    def _begin(self, job: Job, sentence: str) -> None:
        if self._job is not None:
            return
        self._job = self._queue.add(job)
        self._note.say(sentence)
        self._show()
        self._timer.start()

    def _stop(self) -> None:
        if self._job is not None:
            self._queue.cancel(self._job)

    def _ended(self, job: Job) -> bool:
        """Whether it went well; says why where it did not."""
        self._job = None
        if job.state == "done":
            self._note.say("")
        else:
            self._note.sayWhyNot(job)
        self._show()
        return job.state == "done"

    def _poll(self) -> None:
        self._queue.poll()
        while self._codes:
            showRich(self.ui.deployNoteLabel, self._codes.pop(0))
        job = self._job
        if job is not None and job.stage and job.stage != "asking it a tiny question":
            minutes = int(job.elapsed // 60)
            self._note.say(
                _("Azure is working: {stage}, {minutes} min so far.").format(stage=_stageText(job.stage), minutes=minutes),
            )
        if self._queue.is_idle:
            self._timer.stop()

    def _show(self, *_what: object) -> None:
        """What can be pressed now."""
        ui, idle = self.ui, self._job is None
        ui.deployPlanButton.setEnabled(idle)
        ui.deployListButton.setEnabled(idle)
        setTip(ui.deployMakeButton, _("Create the endpoint as described above.") if self._plan else _("Show what will be created first."))
        ui.deployMakeButton.setEnabled(idle and self._plan is not None)
        ui.deployDeleteButton.setEnabled(idle and 0 <= ui.deployList.currentRow < len(self._found))
        ui.deployStopButton.setVisible(not idle)


def _stageText(stage: str) -> str:
    """What Azure is doing, in the middle of a sentence."""
    return {
        "making the endpoint": _("making the endpoint"),
        "removing the failed deployment": _("removing the failed deployment"),
        "making the deployment": _("making the deployment"),
        "directing the traffic": _("directing the traffic"),
        "deleting": _("deleting"),
    }.get(stage, stage)


def _inSentence(help: str) -> str:
    """An option's help as a tooltip."""
    return f"{help[:1].upper()}{help[1:]}."
