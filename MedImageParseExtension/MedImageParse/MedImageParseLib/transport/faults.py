"""What can go wrong between here and an endpoint, each as one sentence that says what is wrong and what to do.

What the endpoint itself says with a status other than 200 is read by statuses.py.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Any

from ..remedies import RAISE_BOTH_TIMEOUTS, RAISE_TIMEOUT, START_SERVER, Sentence

SMALLER = Sentence("send it in 8 bits through a window, crop it to a region, or send fewer slices")


@dataclass(slots=True)
class Fault:
    """One try that failed.

    Attributes:
        kind: a short stable word: "name", "refused", "unreachable", "connect-timeout", "proxy", "proxy-sign-in", "tls",
            "certificate-untrusted", "certificate-expired", "certificate-not-yet-valid", "certificate-other-host", "lost",
            "timeout", "stalled", "redirect", "not-http", "not-json", "truncated",
            "too-large", "reply-too-large", "clock", "url", or the status code.
        sentence: for people, with its full stop.
        status: HTTP status, 0 if there was no reply.
        retry_after: seconds that the endpoint asks to wait, None if it does not say.
        model_status: on 424, what the model's own server answered; 0 not said.
        is_temporary: the system itself says that a later try may go better.
        detail: for the log.
    """

    kind: str
    sentence: str
    status: int = 0
    retry_after: float | None = None
    model_status: int = 0
    is_temporary: bool = False
    detail: str = ""


def make_fault(kind: str, template: str, /, *, status: int = 0, is_temporary: bool = False, detail: str = "", **params: Any) -> Fault:
    """A fault whose sentence is made of a template and its parameters; the rest as in Fault."""
    return Fault(kind, Sentence(template, **params), status, is_temporary=is_temporary, detail=detail)


class FaultError(Exception):
    """Carries a Fault up through requests and urllib3, which let it pass because it is no OSError. Never leaves this package."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.kind)
        self.fault = fault


def duration(seconds: float) -> str:
    """ "3 s", "2 min 5 s", "1 h 30 min", "12 days"."""
    whole = round(seconds)
    if 0 < seconds < 0.1:
        return Sentence("under 0.1 s")
    if whole < 60:
        return f"{round(seconds, 1):g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return Sentence("{count} days", count=round(whole / 86400))


def megabytes(count: float) -> str:
    """Bytes as MB (1 MB = 2**20 bytes, as the servers' limits count)."""
    size = count / 2**20
    return f"{size:.0f} MB" if size >= 10 else f"{size:.2g} MB"


# Before there is a connection ------------------------------------------------------------------------------------------


def name_not_found(host: str, error: OSError | None, is_proxy: bool) -> Fault:
    """The name look-up failed. A look-up that failed only for now (no network yet) is worth one more try."""
    temporary = isinstance(error, socket.gaierror) and error.errno == getattr(socket, "EAI_AGAIN", None)
    what = Sentence("The proxy's name {host}", host=host) if is_proxy else Sentence("The name {host}", host=host)
    todo = (
        Sentence("the proxy's address in the profile or in HTTPS_PROXY")
        if is_proxy
        else Sentence("the endpoint's URL for a typing mistake")
    )
    return make_fault(
        "name",
        "{what} cannot be found: check {todo}, and that this computer is on a network (perhaps a VPN) that knows it.",
        what=what,
        todo=todo,
        is_temporary=temporary,
        detail=f"{type(error).__name__} {error}",
    )


def no_connection(host: str, port: int, error: OSError | None, is_proxy: bool, is_this_computer: bool = False) -> Fault:
    """The name is known, the connection did not come about."""
    code = error.errno if error is not None else 0
    detail = f"{type(error).__name__} {code}"
    who = Sentence("the proxy {host}:{port}", host=host, port=port) if is_proxy else f"{host}:{port}"
    refusals = (errno.ECONNREFUSED, getattr(errno, "WSAECONNREFUSED", errno.ECONNREFUSED))
    if isinstance(error, ConnectionRefusedError) or code in refusals:
        if is_this_computer and not is_proxy:
            return make_fault(
                "refused",
                "Nothing listens at {who}: {start_server}, or check the URL and its port.",
                who=who,
                start_server=START_SERVER,
                detail=detail,
            )
        check = (
            Sentence("check the proxy's address, or set NO_PROXY for the endpoint's host")
            if is_proxy
            else Sentence("check the URL and its port, and that the endpoint is running")
        )
        return make_fault("refused", "Nothing listens at {who}: {check}.", who=who, check=check, detail=detail)
    if code in (errno.ETIMEDOUT, getattr(errno, "WSAETIMEDOUT", errno.ETIMEDOUT)):
        return make_fault(
            "connect-timeout",
            "No answer came from {who}: a firewall may be in the way, so check the URL, the VPN, and whether a proxy is needed.",
            who=who,
            detail=detail,
        )
    return make_fault(
        "unreachable",
        "There is no way from this computer to {who}: check the network, the VPN, and whether a proxy is needed.",
        who=who,
        detail=detail,
    )


def too_slow(phase: str, place: str, seconds: float) -> Fault:
    """A phase took longer than the seconds that it may take. None of these is tried again: the model may still be at work on the request."""
    if phase == "connecting":
        return make_fault(
            "connect-timeout",
            "{place} did not complete the connection within {duration}: a firewall may be in the way, so check the "
            "URL, the VPN, and whether a proxy is needed.",
            place=place,
            duration=duration(seconds),
        )
    if phase == "uploading":
        return make_fault(
            "stalled",
            "{place} took no more of the upload for {duration}: check the network, and send less at once if it happens again.",
            place=place,
            duration=duration(seconds),
        )
    if phase == "downloading":
        return make_fault(
            "timeout",
            "{place} began to reply but had not finished {duration} after the request: check the network, or {raise_timeout}.",
            place=place,
            duration=duration(seconds),
            raise_timeout=RAISE_TIMEOUT,
        )
    return make_fault(
        "timeout",
        "{place} gave no reply within {duration}: send a smaller volume or fewer prompts, or {raise_both_timeouts}.",
        place=place,
        duration=duration(seconds),
        raise_both_timeouts=RAISE_BOTH_TIMEOUTS,
    )


def through_proxy(proxy: str, place: str, status: int, detail: str = "") -> Fault:
    """The proxy refused to pass the request on."""
    if status == 407:
        return make_fault(
            "proxy-sign-in",
            "The proxy {proxy} asks for a sign-in (407): put http://name:password@{proxy} into HTTPS_PROXY, or ask "
            "its administrators to let {place} through.",
            proxy=proxy,
            place=place,
            status=407,
            detail=detail,
        )
    said = f" ({status})" if status else ""
    return make_fault(
        "proxy",
        "The proxy {proxy} did not pass the request on to {place}{said}: ask its administrators to let that host through.",
        proxy=proxy,
        place=place,
        said=said,
        status=status,
        detail=detail,
    )


def no_tls(place: str, detail: str = "") -> Fault:
    """The handshake failed, and not for the certificate."""
    return make_fault(
        "tls",
        "Could not establish a secure (TLS) connection to {place}: check that the URL's port speaks https, and "
        "whether a proxy is in between.",
        place=place,
        detail=detail,
    )


def unusable_address(place: str, detail: str = "") -> Fault:
    """requests could make nothing of the URL or the proxy's."""
    return make_fault(
        "url",
        "The address of {place} or of its proxy cannot be used: check both for typing mistakes.",
        place=place,
        detail=detail,
    )


# While the request is under way ----------------------------------------------------------------------------------------


def connection_lost(place: str, phase: str, received: int = 0, expected: int = 0, detail: str = "") -> Fault:
    """The connection broke; where it broke tells the person what to suspect."""
    if phase == "downloading":
        how_much = Sentence(" after {received:,} of {expected:,} bytes", received=received, expected=expected) if expected else ""
        return make_fault(
            "lost",
            "The connection to {place} broke in the middle of the reply{how_much}: check the network and try again.",
            place=place,
            how_much=how_much,
            detail=detail,
        )
    if phase == "uploading":
        return make_fault(
            "lost",
            "The connection to {place} broke during the upload: check the network, and whether a proxy limits what may be sent.",
            place=place,
            detail=detail,
        )
    if phase == "waiting":
        return make_fault(
            "lost",
            "{place} closed the connection without a reply: its server may have crashed on this request, so try again "
            "with less or see its log.",
            place=place,
            detail=detail,
        )
    return make_fault(
        "lost",
        "The connection to {place} broke before the request was sent: check the network, the VPN and the proxy.",
        place=place,
        detail=detail,
    )


def body_too_large(size: int, limit: int) -> Fault:
    """Found before anything is sent."""
    return make_fault(
        "too-large",
        "The request would be {size} and this endpoint takes {limit} at most: {smaller}.",
        size=megabytes(size),
        limit=megabytes(limit),
        smaller=SMALLER,
    )


def reply_too_large(place: str, size: int, limit: int) -> Fault:
    """A reply beyond what the request can sensibly bring is not read to its end."""
    said = Sentence("announces {size}, more than", size=megabytes(size)) if size else Sentence("is longer than")
    return make_fault(
        "reply-too-large",
        "The reply of {place} {said} the {limit} that this request can need: check that the URL is the right endpoint.",
        place=place,
        said=said,
        limit=megabytes(limit),
    )


def encoded(place: str, encoding: str) -> Fault:
    """A reply that is packed although nobody asked for it: a few bytes of it could fill the memory."""
    return make_fault(
        "encoding",
        "The reply of {place} is compressed ({encoding}), which was not asked for, so it was not read: check "
        "whether a proxy is in between, and have compression switched off there or at the endpoint.",
        place=place,
        encoding=encoding,
        status=200,
    )


def no_memory(place: str, received: int) -> Fault:
    """The reply did not fit into this computer's memory."""
    return make_fault(
        "memory",
        "This computer has not enough memory for the reply of {place} ({received} so far): close other programs, or send less at once.",
        place=place,
        received=megabytes(received),
    )


def garbled(place: str, detail: str = "") -> Fault:
    """A reply that breaks the rules of HTTP in a way that no library names."""
    return make_fault(
        "not-http",
        "The reply of {place} does not follow the rules of HTTP: check the URL, and whether a proxy is in between.",
        place=place,
        detail=detail,
    )


# A reply that cannot be read ----------------------------------------------------------------------------------------------


def not_http(place: str, is_https: bool, detail: str = "") -> Fault:
    """Something answers, and it is no web server; or it is one that expects TLS."""
    guess = "" if is_https else Sentence(", and whether it should begin with https")
    return make_fault(
        "not-http",
        "What listens at {place} does not speak HTTP: check the URL's port{guess}.",
        place=place,
        guess=guess,
        detail=detail,
    )


def not_json(place: str, content_type: str, title: str, said: str) -> Fault:
    """A 200 that is no JSON. Most often a sign-in or block page of something in between."""
    if title or "html" in content_type.lower():
        named = Sentence(" titled “{title}”", title=title) if title else ""
        return make_fault(
            "not-json",
            "{place} answered with a web page{named} instead of a result: check the URL, and whether a proxy or a "
            "sign-in page is in between.",
            place=place,
            named=named,
            status=200,
        )
    what = Sentence("something that is not JSON: “{said}”", said=said) if said else Sentence("nothing at all")
    return make_fault(
        "not-json",
        "{place} answered with {what}; check that the URL is the endpoint's scoring address.",
        place=place,
        what=what,
        status=200,
    )


def cut_off(place: str, size: int, said_end: str) -> Fault:
    """JSON that begins well and does not end."""
    return make_fault(
        "truncated",
        "The reply of {place} is cut off after {size:,} bytes (it ends in “{said_end}”): try again, and see the "
        "endpoint's log if it stays so.",
        place=place,
        size=size,
        said_end=said_end,
        status=200,
    )
