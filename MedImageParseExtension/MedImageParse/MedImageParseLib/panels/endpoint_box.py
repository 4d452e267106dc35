"""Which endpoint, whether it answers, and the local demo."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..engines.store import Added, added_engines
from ..errors import MedImageParseError
from ..logic.jobs import Job
from ..models import MODELS
from ..profiles.profiles import LOCAL_DEMO, Profile, ProfileStore, local_demo
from ..transport.about import About
from .local_demo import DemoProcess
from .privacy_box import mayBeSent
from .sentences import jobWords, signInText, worded, words
from .widgets import Choice, StatusIcons, addAction, plain, setPlain, showRich, showSentence


def costs(profile: str = "") -> list[str]:
    """Sentences on endpoints that were made from this computer and cost money until somebody deletes them.

    Args:
        profile: only what this profile leads to; "" for all.
    """
    from ..api import deploy  # not at file scope: it brings everything for Azure, and most people never make an endpoint here

    advice = _("If you no longer need it, delete it in Azure, or with medimageparse deploy delete.")
    return [f"{worded(sentence)} {advice}" for sentence in deploy.reminders(profile)]


def engineText(engine: Added) -> str:
    """An engine as the person chooses it: its name, its licence, and what it finds."""
    licence = engine.licence or _("license not stated")
    name = f"{engine.title or engine.name} {engine.version}".strip()
    return plain(f"{name} ({licence})" + (f": {engine.finds}" if engine.finds else ""))


def whyModelDoesNotFit(profile: Profile | None, is3d: bool, isPicture: bool) -> str:
    """Why the model of an endpoint cannot look at what was chosen, "" where it can or where nobody knows the model yet.

    Args:
        profile: the endpoint, or None.
        is3d: a whole volume was chosen, not slices.
        isPicture: the volume is a 2D picture.
    """
    model = MODELS.get(profile.model) if profile is not None else None
    if model is not None and not model.segments:
        return _("This endpoint runs {model}, which does not segment. Choose another endpoint.").format(model=model.title)
    if model is not None and is3d and not model.whole_volumes:
        return _("This endpoint runs {model}, which takes slices. Choose slices, or another endpoint.").format(model=model.title)
    if model is not None and model.whole_volumes and not is3d:
        return _("This endpoint runs {model}, which takes volumes. Choose Volume (3D), or another endpoint.").format(model=model.title)
    if is3d and isPicture:
        return _("This is a 2D picture. Choose This slice (2D).")
    return ""


class EndpointBox:
    """The endpoint's row.

    Args:
        ui: the panel's widgets.
        parameters: where the choice is kept, by the profile's name: PanelParameters, or anything else that is asked by name.
        logic: a MedImageParseLogic, for testing a connection.
        icons: the status pictures.
        onChange: called when something here has changed that decides whether a run is possible.
        role: the name of the choice among the parameters.
        fits: whether a profile is offered.
        demo: another row's local demo, to be shared; that row ends it.
        model: what the local demo stands in for.
    """

    def __init__(
        self, ui: Any, parameters: Any, logic: Any, icons: StatusIcons, onChange: Any, *,
        role: str = "Endpoint", fits: Callable[[Profile], bool] | None = None, demo: DemoProcess | None = None,
        model: str = "MedImageParse",
    ):  # fmt: skip
        self._ui, self._parameters, self._logic, self._icons, self._onChange = ui, parameters, logic, icons, onChange
        self._role, self._fits, self._model = role, fits or (lambda _profile: True), model
        self._status: dict[str, tuple[str, str]] = {}  # profile name: (icon, sentence)
        self._about: dict[str, About] = {}  # profile name: what its engine said of itself when it was tested
        self._profiles: dict[str, Profile] = {}
        self._costs: dict[str, list[str]] = {}  # profile name: what runs behind it and costs money
        self._check: Job | None = None
        self._checked = self._signIn = ""
        self._codes: list[str] = []  # written by a worker, shown by `poll`
        self.demo = demo or DemoProcess(self._demoChanged)
        if demo is not None:
            demo.listen(self._demoChanged)
        self._choice = Choice(ui.profileComboBox, (), self._chosen)
        self._offered: list[tuple[str, str]] = []
        ui.checkButton.connect("clicked()", self.check)
        ui.demoButton.connect("clicked()", self._demoClicked)
        self._engines: list[Added] = []
        self._enginesMenu = qt.QMenu(ui.demoButton)
        self.readProfiles()

    @property
    def name(self) -> str:
        """The chosen profile's name."""
        return self._choice.key

    @property
    def isGood(self) -> bool:
        """The last test of this endpoint went well."""
        return self._status.get(self.name, ("", ""))[0] == "Good"

    def profile(self) -> Profile | None:
        """The chosen profile; the local demo's points to where the demo runs now."""
        profile = self.stored()
        if profile is not None and profile.name == LOCAL_DEMO and self.demo.url:
            return dataclasses.replace(profile, url=self.demo.url)
        return profile

    @property
    def takesRaw(self) -> bool:
        """Whether the engine there is known to want Hounsfield units, so that an automatic window sends the values as they are."""
        if self.name == LOCAL_DEMO and self.demo.isStarted:
            return self.demo.engine is not None and self.demo.engine.takes_hounsfield
        about = self._about.get(self.name)
        return about is not None and about.wants_hounsfield

    def stored(self) -> Profile | None:
        """The chosen profile as it is stored."""
        return self._profiles.get(self.name)

    def readProfiles(self) -> None:
        """Look again which profiles there are."""
        try:
            profiles = ProfileStore().profiles()
        except MedImageParseError as error:
            profiles = [local_demo()]
            self._status[LOCAL_DEMO] = ("Bad", words(error))
        self._profiles = {profile.name: profile for profile in profiles if self._fits(profile)}
        self._costs = {name: costs(name) for name in self._profiles if name != LOCAL_DEMO}
        self._engines = [engine for engine in added_engines() if engine.engine]  # one whose record is damaged cannot be started
        self._fillEngines()
        self.show()

    def _fill(self) -> None:
        """Offer the profiles, and show as missing the one that was chosen where it is not there: nothing else is taken for it in silence."""
        chosen = self._parameters[self._role]
        entries = [(name, _("Local demo") if name == LOCAL_DEMO else name) for name in self._profiles]
        if chosen not in self._profiles:
            entries.append((chosen, _("{name} (not found)").format(name=chosen)))
        if entries != self._offered:
            self._offered = entries
            self._choice.fill(entries)
        self._choice.set(chosen)

    def choose(self, name: str) -> None:
        """Choose a profile by name, as the person would."""
        self._parameters[self._role] = name
        self.show()

    def forget(self, name: str) -> None:
        """What was known of this endpoint no longer holds, because its settings changed."""
        self._status.pop(name, None)
        self._about.pop(name, None)
        self.show()

    def show(self) -> None:
        """Show choice and status as they are."""
        ui = self._ui
        self._fill()
        icon, sentence = self._statusNow()
        self._icons.show(ui.statusIcon, icon)
        if sentence == self._signIn:
            showRich(ui.statusLabel, sentence)
        else:
            setPlain(ui.statusLabel, sentence)
        showSentence(ui.costLabel, "\n".join(self._costs.get(self.name, ())))
        ui.checkButton.setText(_("Stop test") if self._check is not None else _("Test connection"))
        ui.checkButton.setEnabled(self.profile() is not None)
        ui.checkButton.setVisible(self.name != LOCAL_DEMO)
        ui.demoButton.setVisible(self.name == LOCAL_DEMO)
        self._showDemoButton()

    def _showDemoButton(self) -> None:
        """Where engines were added, the button offers them beside the demo engine, with licence and what each finds."""
        button = self._ui.demoButton
        offers = bool(self._engines) and not self.demo.isStarted
        button.setMenu(self._enginesMenu if offers else None)
        if self.demo.isStarted:
            button.setText(_("Stop local demo") if self.demo.engine is None else _("Stop local engine"))
        else:
            button.setText(_("Start local engine") if offers else _("Start local demo"))

    def _fillEngines(self) -> None:
        self._enginesMenu.clear()
        demo = _("Demo engine, not {model}; it needs nothing").format(model=self._model)
        for engine, text in [(None, demo), *((each, engineText(each)) for each in self._engines)]:
            addAction(self._enginesMenu, text, partial(self.startEngine, engine))

    def startEngine(self, engine: Added | None) -> None:
        """Choose the local endpoint and start it.

        Args:
            engine: who is to answer; None for the demo engine.
        """
        self._parameters[self._role] = LOCAL_DEMO
        self.demo.start(engine)
        self.demo.tell()

    def whyNotReady(self) -> str:
        """Why nothing can be sent, "" where it can."""
        profile = self.profile()
        if profile is None:
            return _("The endpoint {name} was not found on this computer. Choose another, or add it in Settings.").format(name=self.name)
        if profile.name == LOCAL_DEMO and self.demo.isStarted and not self.demo.url:
            return _("The local demo is starting.")
        if profile.name == LOCAL_DEMO and not self.demo.isStarted and not self.isGood:
            return _("Start the local demo, or choose another endpoint.")
        return ""

    def whyNoText(self) -> str:
        """Why this endpoint cannot compare images with texts, "" where it may."""
        if self.name == LOCAL_DEMO and self.demo.engine is not None:
            return ""  # the engine itself says it where it reads no text
        if self.name == LOCAL_DEMO:
            return _("The demo uses classical image features and does not support text. Choose a MedImageInsight endpoint.")
        return ""

    def startDemo(self) -> None:
        """Choose the local demo and start it."""
        if not self.demo.isStarted:
            self.startEngine(None)

    def showDeviceCode(self, url: str, code: str, expires: datetime) -> None:
        """For a worker: show the person where to sign in. Only takes it down; `poll` shows it."""
        self._codes.append(signInText(url, code, expires))

    def poll(self) -> None:
        """Main thread: show what a worker has asked to show."""
        while self._codes:
            self._signIn = self._codes.pop(0)
            self._setStatus(self.name, "Busy", self._signIn)

    def check(self) -> None:
        """Test the connection, or stop the test."""
        if self._check is not None:
            self._logic.cancel(self._check)
            return
        profile = self.profile()
        if profile is None:
            return
        self._checked = profile.name
        try:
            if profile.sign_in != "none" and not mayBeSent(profile, self._ui.checkButton):
                self._setStatus(profile.name, "Unknown", _("Not tested: nothing was sent."))
                return
            self._check = self._logic.check(profile=profile, show_device_code=self.showDeviceCode, callback=self._checkEnded)
        except MedImageParseError as error:
            self._setStatus(profile.name, "Bad", words(error))
            return
        self._setStatus(profile.name, "Busy", _("Testing…"))
        self._onChange()

    def close(self) -> None:
        """End the local demo."""
        self.demo.stop()

    def _checkEnded(self, job: Job) -> None:
        self._check = None
        self._about.pop(self._checked, None)
        if job.state == "done":
            if job.result.about is not None:
                self._about[self._checked] = job.result.about
            self._setStatus(self._checked, "Good", worded(job.result.sentence))
        elif job.state == "cancelled":
            self._status.pop(self._checked, None)
        else:
            self._setStatus(self._checked, "Bad", jobWords(job))
        self.show()
        self._onChange()

    def _statusNow(self) -> tuple[str, str]:
        if self.name == LOCAL_DEMO and self._check is None:
            if self.demo.fault:
                return "Bad", self.demo.fault
            if self.demo.isStarted and not self.demo.url:
                return "Busy", _("Starting…")
            if self.demo.url and self.demo.engine is not None and LOCAL_DEMO not in self._status:
                return "Good", _("Running on this computer: {engine}. The first request waits until the engine has loaded.").format(
                    engine=engineText(self.demo.engine)
                )
            if self.demo.url and LOCAL_DEMO not in self._status:
                return "Good", _("Running on this computer. This is a demo engine, not {model}.").format(model=self._model)
        profile = self._profiles.get(self.name)
        if self.name == LOCAL_DEMO:
            untested = _("Not started. A demo engine on this computer, not {model}. It needs no account.").format(model=self._model)
        else:
            untested = _("Not tested.") if profile is not None else ""
        return self._status.get(self.name, ("Unknown", untested))

    def _setStatus(self, name: str, icon: str, sentence: str) -> None:
        self._status[name] = (icon, sentence)
        self.show()

    def _chosen(self, name: str) -> None:
        self._parameters[self._role] = name

    def _demoClicked(self) -> None:
        if self.demo.isStarted:
            self.demo.stop()
            self.demo.tell()
        else:
            self.startEngine(None)

    def _demoChanged(self) -> None:
        self._status.pop(LOCAL_DEMO, None)
        self.show()
        self._onChange()
