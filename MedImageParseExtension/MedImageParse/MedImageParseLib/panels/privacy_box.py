"""What leaves this computer: in words, the hosts agreed to, and the record of requests.

Asks once for each host before image data, or a key, leaves this computer. No answer, or Cancel, sends nothing.
"""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..profiles.consent import WHAT_LEAVES, ConsentStore, in_words, missing_consents
from ..profiles.profiles import Profile
from ..transport.address import parse_address
from ..transport.audit import AuditLog
from .sentences import worded
from .widgets import plain, plainTip, setPlain, setReady, signalsBlocked


class PrivacyBox:
    """A section of the settings.

    Args:
        ui: the settings' widgets.
        say: say(sentence, error) shows the person a sentence, and what is about an error as one.
    """

    def __init__(self, ui: Any, say: Any):
        self._ui, self._say = ui, say
        setPlain(ui.whatLeavesLabel, worded(WHAT_LEAVES))
        ui.hostsList.connect("itemSelectionChanged()", self._selected)
        ui.withdrawButton.connect("clicked()", self._withdraw)
        ui.auditCheckBox.connect("toggled(bool)", self._switchAudit)
        ui.openAuditButton.connect("clicked()", self._openAudit)
        ui.privacySection.connect("contentsCollapsed(bool)", self._opened)
        self.show()

    def show(self) -> None:
        """Read what is agreed to, and whether requests are recorded."""
        ui, hosts, audit = self._ui, ConsentStore().hosts(), AuditLog()
        with signalsBlocked(ui.hostsList, ui.auditCheckBox):
            ui.hostsList.clear()
            ui.hostsList.addItems([plain(host) for host in hosts])
            ui.auditCheckBox.setChecked(audit.is_on)
        ui.hostsLabel.setText(_("Allowed hosts:") if hosts else _("No host has been allowed yet."))
        ui.hostsList.setVisible(bool(hosts))
        ui.withdrawButton.setVisible(bool(hosts))
        setReady(ui.openAuditButton, audit.path.exists(), str(audit.path), _("Nothing has been recorded yet."))
        self._selected()

    def _opened(self, collapsed: bool) -> None:
        if not collapsed:
            self.show()

    def _selected(self) -> None:
        isChosen, tip = self._ui.hostsList.currentItem() is not None, _("Ask again before anything is sent to this host.")
        setReady(self._ui.withdrawButton, isChosen, tip, _("Select a host in the list."))

    def _withdraw(self) -> None:
        item = self._ui.hostsList.currentItem()
        if item is None:
            return
        host = item.text()
        try:
            ConsentStore().withdraw(host)
        except OSError as error:
            self._say(
                _("The consent could not be withdrawn ({reason}); it is still in effect.").format(
                    reason=error.strerror or type(error).__name__
                ),
                error,
            )
            return
        self._say(_("You will be asked again before anything is sent to {host}.").format(host=host))
        self.show()

    def _switchAudit(self, on: bool) -> None:
        try:
            AuditLog().switch(on)
        except OSError as error:
            self._say(_("This setting could not be saved ({reason}).").format(reason=error.strerror or type(error).__name__), error)
        self.show()

    def _openAudit(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(AuditLog().path)))


def mayBeSent(profile: Profile, parent: Any = None) -> bool:
    """Whether image data may go to this profile's host: agreed to before, this very computer, or agreed to now.

    Args:
        profile: where it would go.
        parent: the widget over which to ask.

    Raises:
        UsageError: the profile's URL is none.
    """
    store = ConsentStore()
    signsIn = profile.sign_in != "none"
    missing = missing_consents(profile.url, store, signs_in=signsIn, proxy=profile.proxy, ca_bundle=profile.ca_bundle)
    if profile.consent or not missing:
        return True
    host = parse_address(profile.url, allow_plain_http=True).host
    question = _("Send your images to {host}?\n\n{whatLeaves}").format(
        host=host + worded(in_words(profile.proxy, profile.ca_bundle)), whatLeaves=worded(WHAT_LEAVES)
    )
    if signsIn:
        question += "\n\n" + _("Your key or sign-in for this endpoint is sent there too.")
    question += "\n\n" + _("You are asked once for each host. OK sends the images, Cancel sends nothing.")
    if not slicer.util.confirmOkCancelDisplay(plainTip(question), windowTitle=_("Send image data?"), parent=parent):
        return False
    for each in missing:
        store.grant(each)
    return True
