"""Endpoint settings: profiles, sign-in, finding endpoints, what leaves this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..logic.jobs import JobQueue
from ..profiles.profiles import LOCAL_DEMO, Profile, ProfileStore
from ..signin.methods import sign_out
from ..transport.address import parse_address
from .endpoint_box import EndpointBox
from .find_box import FindBox
from .privacy_box import PrivacyBox
from .profile_form import KeyBox, ProfileForm
from .sentences import forPanel
from .widgets import showSentence

_EMPTY = Profile(name="", url="")


class SettingsPanel:
    """The section below the endpoint's row.

    Args:
        uiPath: EndpointSettings.ui.
        endpoint: the endpoint's row, which is told of changes.
        chores: a JobQueue for finding endpoints.
        wake: asks for polls.

    Attributes:
        widget: the root widget.
    """

    def __init__(self, uiPath: str, endpoint: EndpointBox, chores: JobQueue, wake: Any):
        self.widget = slicer.util.loadUI(uiPath)
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        self._endpoint = endpoint
        self._shown: Profile | None = None  # None while a new one is being described
        self._key = KeyBox(ui)
        self._form = ProfileForm(ui, self._signInChosen)
        self._find = FindBox(ui, chores, self._added, wake)
        self._privacy = PrivacyBox(ui, self._say)
        for button, slot in (
            (ui.saveButton, self._save), (ui.newButton, self._new), (ui.removeButton, self._remove),
            (ui.importButton, self._import), (ui.exportButton, self._export), (ui.signOutButton, self._signOut),
        ):  # fmt: skip
            button.connect("clicked()", slot)
        self.show()

    def poll(self) -> None:
        """Show what a worker has asked to show."""
        self._find.poll()

    def show(self) -> None:
        """Show the chosen profile, if it is another one than before."""
        profile = self._endpoint.stored()
        if profile is not None and profile != self._shown:
            self._describe(profile)

    def _describe(self, profile: Profile | None) -> None:
        self._shown = profile
        isDemo = profile is not None and profile.name == LOCAL_DEMO
        self._form.show(profile or _EMPTY)
        self._key.show(profile or _EMPTY)
        self._form.setEnabled(not isDemo)
        ui = self.ui
        ui.saveButton.setEnabled(not isDemo)
        ui.removeButton.setEnabled(profile is not None and not isDemo)
        ui.saveButton.setToolTip(_("The local demo needs no settings.") if isDemo else _("Keep this endpoint."))
        self._signInChosen(self._form.signIn)
        self._say("")

    def _signInChosen(self, signIn: str) -> None:
        self.ui.keyBox.setVisible(signIn in ("key", "aml-token"))
        self.ui.entraBox.setVisible(signIn == "entra")

    def _new(self) -> None:
        self._describe(None)
        self._say(_("Fill in name and URL, then Save."))
        self.ui.nameEdit.setFocus()

    def _save(self) -> None:
        store, before = ProfileStore(), self._shown
        try:
            profile = self._form.read(before)
            profile.key_in_keyring = self._key.wantsKeyring
            profile.validate()
            parse_address(profile.url, allow_plain_http=profile.allow_plain_http)
            isRenamed = before is not None and before.name != profile.name
            store.add(profile, replace=before is not None and not isRenamed)
            self._key.keep(profile, before)
            if isRenamed:
                self._key.forget(before)
                store.remove(before.name)
        except MedImageParseError as error:
            self._say(str(error))
            return
        self._added(profile.name)
        self._say(_("Saved. Test the connection next."))

    def _remove(self) -> None:
        profile = self._shown
        if profile is None:
            return
        try:
            self._key.forget(profile)
            ProfileStore().remove(profile.name)
        except MedImageParseError as error:
            self._say(str(error))
            return
        self._endpoint.forget(profile.name)
        self._added(LOCAL_DEMO)
        self._say(_("{name} and its key are forgotten.").format(name=profile.name))

    def _import(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self.widget, _("Import endpoints"), "", _("Endpoints (*.json)"))
        if not path:
            return
        try:
            brought = ProfileStore().import_file(path, clash="rename")
        except MedImageParseError as error:
            self._say(str(error))
            return
        if brought.names:
            self._added(brought.names[0])
        self._say("\n".join(brought.notes) or _("There is no endpoint in this file."))

    def _export(self) -> None:
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Export endpoints"), "endpoints.json", _("Endpoints (*.json)"))
        if not path:
            return
        try:
            names = ProfileStore().export(path)
        except MedImageParseError as error:
            self._say(str(error))
            return
        self._say(_("Wrote {names} to {file}. It holds no key.").format(names=", ".join(names), file=Path(path).name))

    def _signOut(self) -> None:
        sign_out()
        if self._shown is not None:
            self._key.show(self._shown)
        self._say(_("Signed out, and typed keys are forgotten."))

    def _added(self, name: str) -> None:
        self._endpoint.forget(name)
        self._endpoint.readProfiles()
        self._endpoint.choose(name)
        self._shown = None
        self.show()

    def _say(self, sentence: str) -> None:
        showSentence(self.ui.noteLabel, forPanel(sentence))
