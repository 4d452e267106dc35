"""Asks once for each host before image data, or a key, leaves this computer. No answer, or Cancel, sends nothing."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..transport.address import parse_address
from ..transport.consent import WHAT_LEAVES, ConsentStore, consent_is_needed
from ..transport.profiles import Profile


def mayBeSent(profile: Profile, parent: Any = None) -> bool:
    """Whether image data may go to this profile's host: agreed to before, this very computer, or agreed to now.

    Args:
        profile: where it would go.
        parent: the widget over which to ask.

    Raises:
        UsageError: the profile's URL is none.
    """
    store = ConsentStore()
    if profile.consent or not consent_is_needed(profile.url, store):
        return True
    host = parse_address(profile.url, allow_plain_http=True).host
    question = _("May {host} get your images?\n\n{whatLeaves}").format(host=host, whatLeaves=WHAT_LEAVES)
    if profile.sign_in != "none":
        question += "\n\n" + _("Your key or sign-in for this endpoint goes there too.")
    question += "\n\n" + _("You are asked once for each host. OK sends, Cancel sends nothing.")
    if not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Send image data?"), parent=parent):
        return False
    store.grant(host)
    return True
