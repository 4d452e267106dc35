"""The fields of one endpoint profile.

The key of an endpoint: typed here, kept in memory until Slicer ends, or in the computer's keyring where the person wants that.

The field is masked and never filled: a key that is known is not shown again, and none is read from a disk to show it.
"""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..models import MODELS, SLICES, VECTORS, VOLUMES
from ..profiles.profiles import Profile
from ..signin.auth import SIGN_INS, delete_from_keyring, keyring_is_there, save_in_keyring, session_keys
from .widgets import Choice, setPlain


class ProfileForm:
    """Shows a profile in its fields, and reads it back.

    Args:
        ui: the settings' widgets.
        onSignIn: called when another way to sign in is chosen, with its key.
    """

    def __init__(self, ui: Any, onSignIn: Any):
        self._ui = ui
        self._texts = {
            "name": ui.nameEdit, "url": ui.urlEdit, "deployment": ui.deploymentEdit, "ca_bundle": ui.certificatesEdit,
            "proxy": ui.proxyEdit, "tenant_id": ui.tenantEdit,
        }  # fmt: skip
        self._choices = {
            "model": Choice(ui.modelComboBox, _models()),
            "dialect": Choice(ui.dialectComboBox, (("auto", _("Automatic")), ("azureml", _("Azure ML")), ("mlflow", _("MLflow")))),
            "sign_in": Choice(ui.signInComboBox, _signIns(), onSignIn),
            "entra_method": Choice(ui.entraMethodComboBox, entraMethods()),
        }
        ui.certificatesButton.connect("clicked()", self._chooseCertificates)

    @property
    def signIn(self) -> str:
        return self._choices["sign_in"].key

    def show(self, profile: Profile) -> None:
        """Fill the fields."""
        for name, edit in self._texts.items():
            edit.setText(getattr(profile, name))
            edit.setCursorPosition(0)
        for name, choice in self._choices.items():
            choice.set(getattr(profile, name))
        ui = self._ui
        ui.connectTimeoutSpinBox.setValue(profile.connect_timeout_s)
        ui.replyTimeoutSpinBox.setValue(profile.reply_timeout_s)
        ui.triesSpinBox.setValue(profile.tries)
        ui.plainHttpCheckBox.setChecked(profile.allow_plain_http)

    def setEnabled(self, enabled: bool) -> None:
        """Whether the fields can be changed."""
        ui = self._ui
        for widget in (*self._texts.values(), *(choice.comboBox for choice in self._choices.values()), ui.certificatesButton,
                       ui.connectTimeoutSpinBox, ui.replyTimeoutSpinBox, ui.triesSpinBox, ui.plainHttpCheckBox):  # fmt: skip
            widget.setEnabled(enabled)

    def read(self, before: Profile | None) -> Profile:
        """The profile as the fields describe it; what has no field stays as it was."""
        ui = self._ui
        values: dict[str, Any] = {name: edit.text.strip() for name, edit in self._texts.items()}
        values |= {name: choice.key for name, choice in self._choices.items()}
        values |= {
            "connect_timeout_s": float(ui.connectTimeoutSpinBox.value),
            "reply_timeout_s": float(ui.replyTimeoutSpinBox.value),
            "tries": int(ui.triesSpinBox.value),
            "allow_plain_http": bool(ui.plainHttpCheckBox.checked),
        }
        return before.edited(**values) if before is not None else Profile(**values)

    def _chooseCertificates(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            self._ui.certificatesEdit, _("Certificate authorities"), "", _("Certificates (*.pem *.crt *.cer)")
        )
        if path:
            self._ui.certificatesEdit.setText(path)


def entraMethods() -> tuple[tuple[str, str], ...]:
    """Ways to sign in to Microsoft Entra."""
    return (
        ("default", _("Automatic")),
        ("browser", _("Browser")),
        ("device-code", _("Device code")),
        ("azure-cli", _("Azure CLI (az login)")),
        ("managed-identity", _("Managed identity of this Azure machine")),
        ("environment", _("Environment variables")),
    )


def _models() -> tuple[tuple[str, str], ...]:
    words = {
        VOLUMES.name: _("MedImageParse 3D (volumes)"),
        SLICES.name: _("MedImageParse (slices)"),
        VECTORS.name: _("MedImageInsight (search)"),
    }
    others = {model.name: f"{model.title} ({model.takes})" for model in MODELS.values() if model.name not in words}
    return (("", _("Any")), *words.items(), *others.items())


def _signIns() -> tuple[tuple[str, str], ...]:
    words = {"none": _("None"), "key": _("Key"), "aml-token": _("Azure ML token"), "entra": _("Microsoft account (Entra)")}
    return tuple((each.name, words.get(each.name, each.title)) for each in SIGN_INS.values())


class KeyBox:
    """The key's field.

    Args:
        ui: the settings' widgets: keyEdit, keyringCheckBox, keyNoteLabel.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._hasKeyring = keyring_is_there()
        ui.keyringCheckBox.setVisible(self._hasKeyring)

    @property
    def wantsKeyring(self) -> bool:
        return self._hasKeyring and self._ui.keyringCheckBox.checked

    def show(self, profile: Profile) -> None:
        """Show for a profile whether a key is known, never the key."""
        ui = self._ui
        ui.keyEdit.clear()
        ui.keyringCheckBox.setChecked(profile.key_in_keyring)
        if session_keys.recall(profile.name, profile.url, profile.route):
            hint = _("entered; kept until Slicer is closed")
        elif profile.key_in_keyring:
            hint = _("in this computer's keyring")
        else:
            hint = _("paste the endpoint's key")
        ui.keyEdit.setPlaceholderText(hint)
        setPlain(ui.keyNoteLabel, _("The key is kept in memory until Slicer is closed. It is never saved with the scene or in a file."))

    def keep(self, profile: Profile, before: Profile | None) -> None:
        """Keep what was typed for this profile, and forget what no longer belongs.

        Raises:
            UsageError: what was typed is no key. InputError: the keyring refuses.
        """
        key = self._ui.keyEdit.text
        if key.strip():
            session_keys.remember(profile.name, profile.url, key, profile.route)
            if profile.key_in_keyring:
                save_in_keyring(profile.name, profile.url, key, profile.route)
        if before is not None and before.key_in_keyring and not profile.key_in_keyring:
            delete_from_keyring(before.name, before.url, before.route)
        self._ui.keyEdit.clear()

    def forget(self, profile: Profile) -> None:
        """Forget the key of a profile that is removed. Raises InputError where the keyring refuses."""
        session_keys.forget(profile.name)
        if profile.key_in_keyring:
            delete_from_keyring(profile.name, profile.url, profile.route)
