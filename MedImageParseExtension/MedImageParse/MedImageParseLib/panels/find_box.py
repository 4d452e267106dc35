"""Finds the endpoints that the person's Azure account can see, and makes a profile of one."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..azure.discovery import CLOUDS, Discovery, FoundDeployment, FoundEndpoint, MadeProfile, discover, make_profile
from ..azure.resource_manager import ResourceManager, arm_scope
from ..errors import MedImageParseError
from ..logic.jobs import Job, JobQueue
from ..models import MODEL_NAMES
from ..profiles.profiles import ProfileStore
from ..progress import Cancellation, Progress
from ..signin.auth import session_keys
from ..signin.entra import EntraOptions
from ..signin.methods import entra_session
from .message_row import MessageRow, noHelp
from .profile_form import entraMethods
from .sentences import signInText, worded
from .widgets import Choice, StatusIcons, plain, showRich

_CLOUD = CLOUDS["public"]


class FindBox:
    """A section of the settings.

    Args:
        ui: the settings' widgets.
        chores: the queue to work in; its owner polls and closes it.
        onAdded: called with the name of a profile that was made.
        wake: asks for polls.
        icons: the status pictures.
    """

    def __init__(self, ui: Any, chores: JobQueue, onAdded: Any, wake: Any, icons: StatusIcons):
        self._ui, self._queue, self._onAdded, self._wake = ui, chores, onAdded, wake
        self._job: Job | None = None
        self._codes: list[str] = []  # written by the worker, shown by `poll`
        self._found: list[tuple[FoundEndpoint, FoundDeployment | None]] = []
        self._note = MessageRow.around(ui.findNoteLabel, "findNote", icons, noHelp)
        self._method = Choice(ui.findMethodComboBox, entraMethods())
        ui.findButton.connect("clicked()", self._findOrStop)
        ui.addFoundButton.connect("clicked()", self._add)
        ui.foundList.connect("itemSelectionChanged()", self._selected)

    def poll(self) -> None:
        """Main thread: show a code to sign in with."""
        while self._codes:
            showRich(self._ui.findNoteLabel, self._codes.pop(0))

    def _findOrStop(self) -> None:
        if self._job is not None:
            self._queue.cancel(self._job)
            return

        def work(options: EntraOptions, _progress: Progress, cancellation: Cancellation) -> Discovery:
            return discover(self._manager(options, cancellation), cancellation=cancellation)

        self._begin(Job("Find endpoints", prepare=self._options, work=work, callback=self._foundSome), _("Searching…"))

    def _add(self) -> None:
        row = self._ui.foundList.currentRow
        if self._job is not None or not 0 <= row < len(self._found):
            return
        endpoint, deployment = self._found[row]

        def work(options: EntraOptions, _progress: Progress, cancellation: Cancellation) -> MadeProfile:
            manager = self._manager(options, cancellation)
            return make_profile(manager, endpoint, deployment, options=options, scope=_CLOUD.scope, arm_url=_CLOUD.arm_url)

        self._begin(Job("Make a profile", prepare=self._options, work=work, callback=self._made), _("Reading the endpoint's settings…"))

    def _begin(self, job: Job, sentence: str) -> None:
        self._job = self._queue.add(job)
        self._ui.findButton.setText(_("Stop"))
        self._ui.addFoundButton.setEnabled(False)
        self._note.say(sentence)
        self._wake()

    def _options(self) -> EntraOptions:
        return EntraOptions(self._method.key, authority=_CLOUD.authority)

    def _manager(self, options: EntraOptions, cancellation: Cancellation) -> ResourceManager:
        """In the worker: somebody may have to sign in."""
        session = entra_session(options, lambda *code: self._codes.append(signInText(*code)), cancellation)
        return ResourceManager(session.auth(arm_scope(_CLOUD.arm_url)), _CLOUD.arm_url, cancellation=cancellation)

    def _ended(self, job: Job) -> bool:
        """Whether it went well; says why where it did not."""
        self._job = None
        self._ui.findButton.setText(_("Find my endpoints"))
        if job.state == "done":
            self._note.say("")
        else:
            self._note.sayWhyNot(job)
        self._selected()
        return job.state == "done"

    def _foundSome(self, job: Job) -> None:
        if not self._ended(job):
            return
        ui, discovery = self._ui, job.result
        self._found = [(endpoint, deployment) for endpoint in discovery.endpoints for deployment in endpoint.deployments or [None]]
        ui.foundList.clear()
        ui.foundList.addItems([plain(_describe(endpoint, deployment)) for endpoint, deployment in self._found])
        ui.foundList.setVisible(bool(self._found))
        ui.addFoundButton.setVisible(bool(self._found))
        notes = [worded(warning) for warning in discovery.warnings]
        self._note.say("\n".join(notes if self._found or notes else [_("No endpoint was found.")]))

    def _made(self, job: Job) -> None:
        if not self._ended(job):
            return
        made = job.result
        try:
            ProfileStore().add(made.profile, replace=any(made.profile.name == known.name for known in ProfileStore().profiles()))
            if made.key:
                session_keys.remember(made.profile.name, made.profile.url, made.key, made.profile.route)
        except MedImageParseError as error:
            self._note.sayError(error)
            return
        self._note.say("\n".join(worded(note) for note in made.notes))
        self._onAdded(made.profile.name)

    def _selected(self) -> None:
        self._ui.addFoundButton.setEnabled(self._job is None and 0 <= self._ui.foundList.currentRow < len(self._found))


def _describe(endpoint: FoundEndpoint, deployment: FoundDeployment | None) -> str:
    name = f"{endpoint.name} / {deployment.name}" if deployment is not None else endpoint.name
    model = MODEL_NAMES.get(deployment.model if deployment is not None else "", _("unknown model"))
    return _("{name}: {model}, in {workspace}").format(name=name, model=model, workspace=endpoint.workspace)
