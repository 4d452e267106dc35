"""The key of an endpoint: typed here, kept in memory until Slicer ends, or in the computer's keyring where the person wants that.

The field is masked and never filled: a key that is known is not shown again, and none is read from a disk to show it.
"""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..transport.profiles import Profile
from ..transport.signin_keys import delete_from_keyring, keyring_is_there, save_in_keyring, session_keys


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
        if session_keys.recall(profile.name, profile.url):
            hint = _("typed, and kept until Slicer is closed")
        elif profile.key_in_keyring:
            hint = _("in this computer's keyring")
        else:
            hint = _("paste the endpoint's key")
        ui.keyEdit.setPlaceholderText(hint)
        ui.keyNoteLabel.setText(_("A key is kept in memory until Slicer is closed. It is never saved with the scene or in a file."))

    def keep(self, profile: Profile, before: Profile | None) -> None:
        """Keep what was typed for this profile, and forget what no longer belongs.

        Raises:
            UsageError: what was typed is no key. InputError: the keyring refuses.
        """
        key = self._ui.keyEdit.text
        if key.strip():
            session_keys.remember(profile.name, profile.url, key)
            if profile.key_in_keyring:
                save_in_keyring(profile.name, profile.url, key)
        if before is not None and before.key_in_keyring and not profile.key_in_keyring:
            delete_from_keyring(before.name, before.url)
        self._ui.keyEdit.clear()

    def forget(self, profile: Profile) -> None:
        """Forget the key of a profile that is removed. Raises InputError where the keyring refuses."""
        session_keys.forget(profile.name)
        if profile.key_in_keyring:
            delete_from_keyring(profile.name, profile.url)
