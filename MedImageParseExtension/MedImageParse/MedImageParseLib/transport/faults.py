"""What can go wrong between here and an endpoint, each as one sentence that says what is wrong and what to do.

The status codes mean what the Azure Machine Learning documentation on troubleshooting online endpoints says they mean; 424 in
particular is the managed front end's word for "the model's container answered something else than 200".
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from ..remedies import RAISE_BOTH_TIMEOUTS, RAISE_TIMEOUT, SIGN_IN_SOMEHOW, START_SERVER, Sentence

SCORE_PERMISSION = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
MODEL_STATUS_HEADER = "ms-azureml-model-error-statuscode"
MODEL_REASON_HEADER = "ms-azureml-model-error-reason"
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
    sentence = Sentence(
        "{what} cannot be found: check {todo}, and that this computer is on a network (perhaps a VPN) that knows it.", what=what, todo=todo
    )
    return Fault("name", sentence, is_temporary=temporary, detail=f"{type(error).__name__} {error}")


def no_connection(host: str, port: int, error: OSError | None, is_proxy: bool, is_this_computer: bool = False) -> Fault:
    """The name is known, the connection did not come about."""
    code = error.errno if error is not None else 0
    detail = f"{type(error).__name__} {code}"
    who = Sentence("the proxy {host}:{port}", host=host, port=port) if is_proxy else f"{host}:{port}"
    refusals = (errno.ECONNREFUSED, getattr(errno, "WSAECONNREFUSED", errno.ECONNREFUSED))
    if isinstance(error, ConnectionRefusedError) or code in refusals:
        if is_this_computer and not is_proxy:
            return Fault(
                "refused",
                Sentence("Nothing listens at {who}: {start_server}, or check the URL and its port.", who=who, start_server=START_SERVER),
                detail=detail,
            )
        check = (
            Sentence("check the proxy's address, or set NO_PROXY for the endpoint's host")
            if is_proxy
            else Sentence("check the URL and its port, and that the endpoint is running")
        )
        return Fault("refused", Sentence("Nothing listens at {who}: {check}.", who=who, check=check), detail=detail)
    if code in (errno.ETIMEDOUT, getattr(errno, "WSAETIMEDOUT", errno.ETIMEDOUT)):
        return Fault(
            "connect-timeout",
            Sentence(
                "No answer came from {who}: a firewall may be in the way, so check the URL, the VPN, and whether a proxy is needed.",
                who=who,
            ),
            detail=detail,
        )
    return Fault(
        "unreachable",
        Sentence("There is no way from this computer to {who}: check the network, the VPN, and whether a proxy is needed.", who=who),
        detail=detail,
    )


def too_slow(phase: str, place: str, seconds: float) -> Fault:
    """A phase took longer than the seconds that it may take. None of these is tried again: the model may still be at work on the request."""
    if phase == "connecting":
        return Fault(
            "connect-timeout",
            Sentence(
                "{place} did not complete the connection within {duration}: a firewall may be in the way, so check the "
                "URL, the VPN, and whether a proxy is needed.",
                place=place,
                duration=duration(seconds),
            ),
        )
    if phase == "uploading":
        return Fault(
            "stalled",
            Sentence(
                "{place} took no more of the upload for {duration}: check the network, and send less at once if it happens again.",
                place=place,
                duration=duration(seconds),
            ),
        )
    if phase == "downloading":
        return Fault(
            "timeout",
            Sentence(
                "{place} began to reply but had not finished {duration} after the request: check the network, or {raise_timeout}.",
                place=place,
                duration=duration(seconds),
                raise_timeout=RAISE_TIMEOUT,
            ),
        )
    return Fault(
        "timeout",
        Sentence(
            "{place} gave no reply within {duration}: send a smaller volume or fewer prompts, or {raise_both_timeouts}.",
            place=place,
            duration=duration(seconds),
            raise_both_timeouts=RAISE_BOTH_TIMEOUTS,
        ),
    )


def through_proxy(proxy: str, place: str, status: int, detail: str = "") -> Fault:
    """The proxy refused to pass the request on."""
    if status == 407:
        return Fault(
            "proxy-sign-in",
            Sentence(
                "The proxy {proxy} asks for a sign-in (407): put http://name:password@{proxy} into HTTPS_PROXY, or ask "
                "its administrators to let {place} through.",
                proxy=proxy,
                place=place,
            ),
            status=407,
            detail=detail,
        )
    said = f" ({status})" if status else ""
    return Fault(
        "proxy",
        Sentence(
            "The proxy {proxy} did not pass the request on to {place}{said}: ask its administrators to let that host through.",
            proxy=proxy,
            place=place,
            said=said,
        ),
        status=status,
        detail=detail,
    )


def no_tls(place: str, detail: str = "") -> Fault:
    """The handshake failed, and not for the certificate."""
    return Fault(
        "tls",
        Sentence(
            "Could not establish a secure (TLS) connection to {place}: check that the URL's port speaks https, and "
            "whether a proxy is in between.",
            place=place,
        ),
        detail=detail,
    )


def unusable_address(place: str, detail: str = "") -> Fault:
    """requests could make nothing of the URL or the proxy's."""
    return Fault(
        "url",
        Sentence("The address of {place} or of its proxy cannot be used: check both for typing mistakes.", place=place),
        detail=detail,
    )


# While the request is under way ----------------------------------------------------------------------------------------


def connection_lost(place: str, phase: str, received: int = 0, expected: int = 0, detail: str = "") -> Fault:
    """The connection broke; where it broke tells the person what to suspect."""
    if phase == "downloading":
        how_much = Sentence(" after {received:,} of {expected:,} bytes", received=received, expected=expected) if expected else ""
        return Fault(
            "lost",
            Sentence(
                "The connection to {place} broke in the middle of the reply{how_much}: check the network and try again.",
                place=place,
                how_much=how_much,
            ),
            detail=detail,
        )
    if phase == "uploading":
        return Fault(
            "lost",
            Sentence(
                "The connection to {place} broke during the upload: check the network, and whether a proxy limits what may be sent.",
                place=place,
            ),
            detail=detail,
        )
    if phase == "waiting":
        return Fault(
            "lost",
            Sentence(
                "{place} closed the connection without a reply: its server may have crashed on this request, so try again "
                "with less or see its log.",
                place=place,
            ),
            detail=detail,
        )
    return Fault(
        "lost",
        Sentence("The connection to {place} broke before the request was sent: check the network, the VPN and the proxy.", place=place),
        detail=detail,
    )


def body_too_large(size: int, limit: int) -> Fault:
    """Found before anything is sent."""
    return Fault(
        "too-large",
        Sentence(
            "The request would be {size} and this endpoint takes {limit} at most: {smaller}.",
            size=megabytes(size),
            limit=megabytes(limit),
            smaller=SMALLER,
        ),
    )


def reply_too_large(place: str, size: int, limit: int) -> Fault:
    """A reply beyond what the request can sensibly bring is not read to its end."""
    said = Sentence("announces {size}, more than", size=megabytes(size)) if size else Sentence("is longer than")
    return Fault(
        "reply-too-large",
        Sentence(
            "The reply of {place} {said} the {limit} that this request can need: check that the URL is the right endpoint.",
            place=place,
            said=said,
            limit=megabytes(limit),
        ),
    )


def encoded(place: str, encoding: str) -> Fault:
    """A reply that is packed although nobody asked for it: a few bytes of it could fill the memory."""
    return Fault(
        "encoding",
        Sentence(
            "The reply of {place} is compressed ({encoding}), which was not asked for, so it was not read: check "
            "whether a proxy is in between, and have compression switched off there or at the endpoint.",
            place=place,
            encoding=encoding,
        ),
        status=200,
    )


def no_memory(place: str, received: int) -> Fault:
    """The reply did not fit into this computer's memory."""
    return Fault(
        "memory",
        Sentence(
            "This computer has not enough memory for the reply of {place} ({received} so far): close other programs, or send less at once.",
            place=place,
            received=megabytes(received),
        ),
    )


def garbled(place: str, detail: str = "") -> Fault:
    """A reply that breaks the rules of HTTP in a way that no library names."""
    return Fault(
        "not-http",
        Sentence("The reply of {place} does not follow the rules of HTTP: check the URL, and whether a proxy is in between.", place=place),
        detail=detail,
    )


# What the endpoint said ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Answer:
    """What a sentence on a reply other than 200 may draw on, already scrubbed.

    Attributes:
        place: the endpoint's host.
        status: HTTP status.
        said: the reply's own message, one line, "" if none.
        model_status, model_reason: the two headers that come with 424.
        location: host that a redirect points to.
        deployment: the deployment that was asked for by name, "" if none.
        seconds: from the last byte sent to this reply.
        retry_after: seconds, None if not said.
        skew: the endpoint's clock minus this computer's, seconds; None if the reply tells no time.
        has_key: whether an Authorization header was sent.
    """

    place: str
    status: int
    said: str = ""
    model_status: int = 0
    model_reason: str = ""
    location: str = ""
    deployment: str = ""
    seconds: float = 0.0
    retry_after: float | None = None
    skew: float | None = None
    has_key: bool = False


# What the model's own server answered, as the front end passes it on with 424, and means the same as if the front end had said it.
_MODEL_STATUS_COUNTS = (408, 413, 429)
_STREAM_TIMEOUT = ("stream timeout", "upstream request timeout")  # what Envoy, the front end's gateway, writes into the body


def refused_by_status(answer: Answer) -> Fault:
    """The sentence for a reply other than 200."""
    kind, sentence = _by_status(answer)
    return Fault(kind, sentence, answer.status, answer.retry_after, answer.model_status, detail=answer.said)


def _by_status(answer: Answer) -> tuple[str, str]:
    place, status = answer.place, answer.status
    if 300 <= status < 400:
        target = Sentence(" to {location}", location=answer.location) if answer.location else ""
        return (
            "redirect",
            Sentence(
                "{place} redirects{target} ({status}), which an endpoint never does, so nothing was sent on: check the "
                "URL, and whether a sign-in page is in between.",
                place=place,
                target=target,
                status=status,
            ),
        )
    if status == 401:
        return _sign_in(answer)
    if status == 407:
        return (
            "proxy-sign-in",
            Sentence(
                "A proxy before {place} asks for a sign-in (407): put the proxy's name and password into HTTPS_PROXY, or "
                "ask its administrators to let {place} through.",
                place=place,
            ),
        )
    if status == 403:
        return "403", _forbidden(answer)
    if status == 424 and answer.model_status in _MODEL_STATUS_COUNTS:
        status = answer.model_status
    said = f": “{answer.said}”" if answer.said else ""
    if status == 504 or (status >= 500 and answer.said.lower().startswith(_STREAM_TIMEOUT)):
        return "504", (
            Sentence(
                "{place} gave up waiting for the model after {duration} ({status}{said}), and the model may still be "
                "computing: wait some minutes, send less at once (a smaller volume, fewer prompts, a smaller batch), or "
                "have the deployment's request timeout raised.",
                place=place,
                duration=duration(answer.seconds),
                status=status,
                said=said,
            )
        )
    reason = f": “{answer.model_reason}”" if answer.model_reason else ""
    shown = Sentence("424, the model's status {status}{reason}", status=status, reason=reason) if answer.status == 424 else str(status)
    plain = {
        404: Sentence(
            "{place} has nothing at this address (404): check that the URL ends in /score (or /invocations), and that the deployment "
            "'{deployment}' exists."
            if answer.deployment
            else "{place} has nothing at this address (404): check that the URL ends in /score (or /invocations), and that a deployment gets "
            "traffic.",
            place=place,
            deployment=answer.deployment,
        ),
        408: Sentence(
            "The model took longer than its deployment allows ({shown}, after {duration}): send a smaller volume, "
            "fewer prompts or a smaller batch, or have its request timeout raised to 180 s.",
            shown=shown,
            duration=duration(answer.seconds),
        ),
        413: Sentence("{place} rejected the request as too large ({shown}): {smaller}.", place=place, shown=shown, smaller=SMALLER),
        429: Sentence(
            "{place} is busy ({shown}): try again later, or have its owner give the deployment more instances.", place=place, shown=shown
        ),
        431: Sentence("{place} rejected the request's headers as too long (431): check the key and the deployment's name.", place=place),
    }
    if status in plain:
        return str(status), plain[status]
    if status == 424:
        return "424", _model_failed(answer)
    if status >= 500:
        failed = (
            "{place} failed ({status}{said}); see the endpoint's log."
            if status == 500
            else "{place} failed ({status}{said}); it may be restarting, so try again in a few minutes or see its log."
        )
        return str(status), Sentence(failed, place=place, status=status, said=said)
    return str(status), Sentence(
        "{place} did not accept the request ({status}{said}): check that the URL, the model and the dialect belong together.",
        place=place,
        status=status,
        said=said,
    )


def _sign_in(answer: Answer) -> tuple[str, str]:
    if answer.skew is not None and abs(answer.skew) > 300:
        direction = Sentence("behind") if answer.skew > 0 else Sentence("ahead of")
        return (
            "clock",
            Sentence(
                "{place} refused the sign-in (401), and this computer's clock is {duration} {direction} the endpoint's: "
                "set the clock and sign in again.",
                place=answer.place,
                duration=duration(abs(answer.skew)),
                direction=direction,
            ),
        )
    if not answer.has_key:
        quoted = f": “{answer.said.rstrip('.')}”" if answer.said else ""
        return (
            "401",
            Sentence(
                "{place} requires a sign-in (401{quoted}) and none was given: {sign_in_somehow}.",
                place=answer.place,
                quoted=quoted,
                sign_in_somehow=SIGN_IN_SOMEHOW,
            ),
        )
    if not answer.said:
        return (
            "401",
            Sentence(
                "{place} refused the key or token (401): copy the endpoint's key again, or sign in again for the scope "
                "that the endpoint expects.",
                place=answer.place,
            ),
        )
    said = answer.said.rstrip(".")
    if any(word in said.lower() for word in _WRONG_WAY):
        advice = Sentence("choose the sign-in that this endpoint uses (key, aml-token or entra)")
    else:
        advice = Sentence("copy the key again, or sign in again, as that says")
    return "401", Sentence("{place} refused the key or token (401: “{said}”): {advice}.", place=answer.place, said=said, advice=advice)


_WRONG_WAY = ("authentication mode", "auth mode", "denied by policy", "authentication type")
_BY_NETWORK = ("private link", "private endpoint", "public access", "public network", "firewall", "ip address", "virtual network", "vnet")


def _forbidden(answer: Answer) -> str:
    """403 is for want of a role, or for the network that the request came from; the endpoint's own words tell which."""
    said = answer.said.rstrip(".")
    if any(word in said.lower() for word in _BY_NETWORK):
        return Sentence(
            "{place} does not take requests from this network (403: “{said}”): use the network or VPN that the "
            "workspace is reachable from, or ask its administrators.",
            place=answer.place,
            said=said,
        )
    role = Sentence("ask its owner for a role with {score_permission}, such as AzureML Data Scientist", score_permission=SCORE_PERMISSION)
    if said:
        return Sentence(
            "You are not allowed to use {place} (403: “{said}”): if that does not say why, {role}.",
            place=answer.place,
            said=said,
            role=role,
        )
    if not answer.has_key:
        return Sentence(
            "{place} does not let anyone in without a sign-in (403): {sign_in_somehow}.",
            place=answer.place,
            sign_in_somehow=SIGN_IN_SOMEHOW,
        )
    return Sentence("You are signed in, but not allowed to use {place} (403): {role}.", place=answer.place, role=role)


def _model_failed(answer: Answer) -> str:
    parts = []
    if answer.model_status:
        parts.append(f"status {answer.model_status}")
    if answer.model_reason:
        parts.append(f"“{answer.model_reason}”")
    elif answer.said:
        parts.append(f"“{answer.said}”")
    inner = ", ".join(parts)
    if answer.model_status == 413:
        advice = SMALLER
    elif answer.model_status in (502, 503):
        advice = Sentence("it may be restarting, so try again in a few minutes")
    elif answer.model_status in (400, 415):
        advice = Sentence("check that the model chosen here is the one that the endpoint runs")
    else:
        advice = Sentence(
            "check that the endpoint runs the model chosen here, send less if memory may be short, and see the deployment's log"
        )
    return Sentence(
        "The model behind {place} failed on this request (424{inner}): {advice}.",
        place=answer.place,
        inner=": " + inner if inner else "",
        advice=advice,
    )


def not_http(place: str, is_https: bool, detail: str = "") -> Fault:
    """Something answers, and it is no web server; or it is one that expects TLS."""
    guess = "" if is_https else Sentence(", and whether it should begin with https")
    return Fault(
        "not-http",
        Sentence("What listens at {place} does not speak HTTP: check the URL's port{guess}.", place=place, guess=guess),
        detail=detail,
    )


def not_json(place: str, content_type: str, title: str, said: str) -> Fault:
    """A 200 that is no JSON. Most often a sign-in or block page of something in between."""
    if title or "html" in content_type.lower():
        named = Sentence(" titled “{title}”", title=title) if title else ""
        return Fault(
            "not-json",
            Sentence(
                "{place} answered with a web page{named} instead of a result: check the URL, and whether a proxy or a "
                "sign-in page is in between.",
                place=place,
                named=named,
            ),
            status=200,
        )
    what = Sentence("something that is not JSON: “{said}”", said=said) if said else Sentence("nothing at all")
    return Fault(
        "not-json",
        Sentence("{place} answered with {what}; check that the URL is the endpoint's scoring address.", place=place, what=what),
        status=200,
    )


def cut_off(place: str, size: int, said_end: str) -> Fault:
    """JSON that begins well and does not end."""
    return Fault(
        "truncated",
        Sentence(
            "The reply of {place} is cut off after {size:,} bytes (it ends in “{said_end}”): try again, and see the "
            "endpoint's log if it stays so.",
            place=place,
            size=size,
            said_end=said_end,
        ),
        status=200,
    )
