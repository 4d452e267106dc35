"""Who may ask the local endpoint: programs on this computer, and no page in a browser.

A page of any site can make a browser send requests to 127.0.0.1, under that name or under one of its own that leads there (DNS rebinding).
Browsers add what gives them away: Origin on every POST and every request across sites, Sec-Fetch-Site, and the name in Host.
"""

from __future__ import annotations

import re
from email.message import Message

from ..transport.address import is_loopback_host

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+)(?::[0-9]{1,5})?")
_OWN_SITE = ("none", "same-origin")


def why_refused(headers: Message, target: str) -> str:
    """Why a request is not answered.

    Args:
        headers: the request's.
        target: what follows the method in its first line: a path, or a whole URL.

    Returns:
        a sentence, "" where it may be answered.
    """
    if headers.get("Origin") is not None or any(site.lower() not in _OWN_SITE for site in headers.get_all("Sec-Fetch-Site", [])):
        return "Web pages may not use the local endpoint; call it from a program on this computer."
    hosts = headers.get_all("Host", [])
    if not target.startswith("/") and target != "*":
        hosts.append(target.partition("://")[2].partition("/")[0].partition("?")[0])
    if not all(_is_own(host) for host in hosts):
        return "The Host of the request is not this computer; call the local endpoint as 127.0.0.1 or localhost."
    return ""


def _is_own(host: str) -> bool:
    match = _HOST.fullmatch(host.strip(" \t"))
    return match is not None and is_loopback_host(match[1])
