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
from ..remedies import ALLOW_PLAIN_HTTP, GIVE_AUTHORITY, GIVE_PEM, ONE_DEPLOYMENT, RAISE_TIMEOUT, Remedy
from ..signin.auth import SIGN_INS
from ..signin.methods import sign_out
from ..transport.address import parse_address
from .endpoint_box import EndpointBox, costs
from .find_box import FindBox
from .message_row import Help, MessageRow
from .privacy_box import PrivacyBox
from .profile_form import KeyBox, ProfileForm
from .tab import loadWidgets, scrollingDialog
from .widgets import StatusIcons, dispose, showSentence

_EMPTY = Profile(name="", url="")
_DIALOG = (420, 620)  # pixels
_UNDER_MORE = {each.name for each in (ALLOW_PLAIN_HTTP, GIVE_AUTHORITY, GIVE_PEM, ONE_DEPLOYMENT, RAISE_TIMEOUT)}


class SettingsPanel:
    """The dialog behind the endpoint's row.

    Args:
        uiPath: EndpointSettings.ui.
        endpoint: the endpoint's row, which is told of changes.
        chores: a JobQueue for finding endpoints.
        wake: asks for polls.

    Attributes:
        widget: the root widget. dialog: the window that holds it.
    """

    def __init__(self, uiPath: str, endpoint: EndpointBox, chores: JobQueue, wake: Any):
        self.widget = loadWidgets(uiPath)
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        self._endpoint = endpoint
        self._folder = Path(uiPath).parent
        self._deploy: Any = None  # the dialog that makes endpoints in Azure, once it has been asked for
        self._shown: Profile | None = None  # None while a new one is being described
        self._key = KeyBox(ui)
        self._form = ProfileForm(ui, self._signInChosen)
        self._icons = StatusIcons(str(self._folder.parent / "Icons"))
        self._note = MessageRow.around(ui.noteLabel, "note", self._icons, self._helpFor)
        self._find = FindBox(ui, chores, self._added, wake, self._icons)
        self._privacy = PrivacyBox(ui, self._note.say)
        for button, slot in (
            (ui.saveButton, self._save), (ui.newButton, self._new), (ui.removeButton, self._remove),
            (ui.importButton, self._import), (ui.exportButton, self._export), (ui.signOutButton, self._signOut),
            (ui.deployButton, self.openDeploy),
        ):  # fmt: skip
            button.connect("clicked()", slot)
        self.dialog = scrollingDialog(self.widget, _("Endpoint settings"), _DIALOG)
        self.show()

    def open(self) -> None:
        """Show the dialog. It does not wait: runs go on, and the panel can be used beside it."""
        self.show()
        showSentence(self.ui.costsLabel, "\n".join(costs()))
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()

    def openDeploy(self) -> None:
        """Show the dialog that makes an endpoint in the person's own Azure subscription."""
        if self._deploy is None:
            from .deploy_dialog import DeployDialog  # not at file scope: it brings everything for Azure

            self._deploy = DeployDialog(self._folder / "DeployEndpoint.ui", self._made, self._costsChanged, self._icons)
        self._deploy.open()

    def _made(self, name: str) -> None:
        self._added(name)
        self._costsChanged()

    def _costsChanged(self) -> None:
        showSentence(self.ui.costsLabel, "\n".join(costs()))
        self._endpoint.readProfiles()

    def close(self) -> None:
        """The panel is closed, and its dialogs with it."""
        if self._deploy is not None:
            self._deploy.close()
        dispose(self.dialog)

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
        ui.saveButton.setToolTip(_("The local demo needs no settings.") if isDemo else _("Save this endpoint."))
        self._signInChosen(self._form.signIn)
        self._note.say("")

    def _signInChosen(self, signIn: str) -> None:
        self.ui.keyBox.setVisible(SIGN_INS[signIn].asks_for == "key")
        self.ui.entraBox.setVisible(SIGN_INS[signIn].asks_for == "entra")

    def _new(self) -> None:
        self._describe(None)
        self._note.say(_("Fill in the name and the URL, then press Save."))
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
            if before is not None and isRenamed:
                self._key.forget(before)
                store.remove(before.name)
        except MedImageParseError as error:
            self._note.sayError(error)
            return
        self._added(profile.name)
        self._note.say(_("Saved. Test the connection next."))

    def _remove(self) -> None:
        profile = self._shown
        if profile is None:
            return
        try:
            self._key.forget(profile)
            ProfileStore().remove(profile.name)
        except MedImageParseError as error:
            self._note.sayError(error)
            return
        self._endpoint.forget(profile.name)
        self._added(LOCAL_DEMO)
        self._note.say(_("{name} and its key were removed.").format(name=profile.name))

    def _import(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self.widget, _("Import endpoints"), "", _("Endpoints (*.json)"))
        if not path:
            return
        try:
            brought = ProfileStore().import_file(path, clash="rename")
        except MedImageParseError as error:
            self._note.sayError(error)
            return
        if brought.names:
            self._added(brought.names[0])
        self._note.say("\n".join(brought.notes) or _("There is no endpoint in this file."))

    def _export(self) -> None:
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Export endpoints"), "endpoints.json", _("Endpoints (*.json)"))
        if not path:
            return
        try:
            names = ProfileStore().export(path)
        except MedImageParseError as error:
            self._note.sayError(error)
            return
        self._note.say(
            _("Exported {names} to {file}. The file does not contain a key.").format(names=", ".join(names), file=Path(path).name)
        )

    def _signOut(self) -> None:
        sign_out()
        if self._shown is not None:
            self._key.show(self._shown)
        self._note.say(_("You are signed out, and typed keys were removed."))

    def _added(self, name: str) -> None:
        self._endpoint.forget(name)
        self._endpoint.readProfiles()
        self._endpoint.choose(name)
        self._shown = None
        self.show()

    def _helpFor(self, error: BaseException) -> Help | None:
        """The button that helps against an error: what is to be changed may be folded away."""
        named: set[str] = set()

        def noted(remedy: Remedy) -> str:
            named.add(remedy.name)
            return remedy

        if isinstance(error, MedImageParseError):
            error.worded(noted)
        if not self.ui.moreButton.collapsed or not named & _UNDER_MORE:
            return None
        return _("Show More"), lambda: self.ui.moreButton.setCollapsed(False)
