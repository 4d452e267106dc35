"""What an endpoint's status means, as one sentence that says what is wrong and what to do.

The status codes mean what the Azure Machine Learning documentation on troubleshooting online endpoints says they mean; 424 in
particular is the managed front end's word for "the model's container answered something else than 200".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..remedies import SIGN_IN_SOMEHOW, Sentence
from ..signin.auth import SIGN_INS
from .faults import SMALLER, Fault, duration

SCORE_PERMISSION = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
MODEL_STATUS_HEADER = "ms-azureml-model-error-statuscode"
MODEL_REASON_HEADER = "ms-azureml-model-error-reason"
# What the model's own server answered, as the front end passes it on with 424, and means the same as if the front end had said it.
_MODEL_STATUS_COUNTS = (408, 413, 429)
_STREAM_TIMEOUT = ("stream timeout", "upstream request timeout")  # what Envoy, the front end's gateway, writes into the body
_WRONG_WAY = ("authentication mode", "auth mode", "denied by policy", "authentication type")
_BY_NETWORK = ("private link", "private endpoint", "public access", "public network", "firewall", "ip address", "virtual network", "vnet")


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


_REDIRECTED = "{place} redirects{target} ({status}), which an endpoint never does, so nothing was sent on: check the URL, and whether a sign-in page is in between."
_NO_DEPLOYMENT = "{place} has nothing at this address (404): check that the URL ends in /score (or /invocations), and that the deployment '{deployment}' exists."
_RESTARTING = "{place} failed ({status}{said}); it may be restarting, so try again in a few minutes or see its log."
_NOT_ACCEPTED = "{place} did not accept the request ({status}{said}): check that the URL, the model and the dialect belong together."
_SENTENCES = {
    404: "{place} has nothing at this address (404): check that the URL ends in /score (or /invocations), and that a deployment gets traffic.",
    407: "A proxy before {place} asks for a sign-in (407): put the proxy's name and password into HTTPS_PROXY, or ask its administrators to let {place} through.",
    408: "The model took longer than its deployment allows ({shown}, after {duration}): send a smaller volume, fewer prompts or a smaller batch, or have its request timeout raised to 180 s.",
    413: "{place} rejected the request as too large ({shown}): {smaller}.",
    429: "{place} is busy ({shown}): try again later, or have its owner give the deployment more instances.",
    431: "{place} rejected the request's headers as too long (431): check the key and the deployment's name.",
    500: "{place} failed ({status}{said}); see the endpoint's log.",
    504: "{place} gave up waiting for the model after {duration} ({status}{said}), and the model may still be computing: wait some minutes, send less at once (a smaller volume, fewer prompts, a smaller batch), or have the deployment's request timeout raised.",
}


def refused_by_status(answer: Answer) -> Fault:
    """The sentence for a reply other than 200."""
    kind, sentence = _by_status(answer)
    return Fault(kind, sentence, answer.status, answer.retry_after, answer.model_status, detail=answer.said)


def _by_status(answer: Answer) -> tuple[str, str]:
    status = answer.status
    if status == 424 and answer.model_status in _MODEL_STATUS_COUNTS:
        status = answer.model_status
    if 300 <= status < 400:
        return "redirect", _filled(_REDIRECTED, answer)
    if status == 401:
        return _sign_in(answer)
    if status >= 500 and answer.said.lower().startswith(_STREAM_TIMEOUT):
        status = 504
    kind = "proxy-sign-in" if status == 407 else str(status)
    if status in _READERS:
        return kind, _READERS[status](answer)
    if status == 404 and answer.deployment:
        return kind, _filled(_NO_DEPLOYMENT, answer)
    return kind, _filled(_SENTENCES.get(status, _RESTARTING if status >= 500 else _NOT_ACCEPTED), answer)


def _filled(template: str, answer: Answer, **more: object) -> str:
    """A template with what the answer says, and with more that only this one needs."""
    known = {
        "place": answer.place,
        "status": answer.status,
        "said": _quoted(answer.said),
        "shown": _shown(answer),
        "duration": duration(answer.seconds),
        "deployment": answer.deployment,
        "target": Sentence(" to {location}", location=answer.location) if answer.location else "",
        "smaller": SMALLER,
        "sign_in_somehow": SIGN_IN_SOMEHOW,
    }
    return Sentence(template, **known | more)


def _quoted(said: str) -> str:
    return f": “{said}”" if said else ""


def _shown(answer: Answer) -> str:
    """The status, and where the model's server gave it, with its reason."""
    if answer.status != 424:
        return str(answer.status)
    return Sentence("424, the model's status {status}{reason}", status=answer.model_status, reason=_quoted(answer.model_reason))


def _sign_in(answer: Answer) -> tuple[str, str]:
    said = answer.said.rstrip(".")
    if answer.skew is not None and abs(answer.skew) > 300:
        direction = Sentence("behind") if answer.skew > 0 else Sentence("ahead of")
        sentence = (
            "{place} refused the sign-in (401), and this computer's clock is {duration} {direction} the endpoint's: "
            "set the clock and sign in again."
        )
        return "clock", _filled(sentence, answer, duration=duration(abs(answer.skew)), direction=direction)
    if not answer.has_key:
        sentence = "{place} requires a sign-in (401{quoted}) and none was given: {sign_in_somehow}."
        return "401", _filled(sentence, answer, quoted=_quoted(said))
    if not said:
        sentence = (
            "{place} refused the key or token (401): copy the endpoint's key again, or sign in again for the scope "
            "that the endpoint expects."
        )
        return "401", _filled(sentence, answer)
    if any(word in said.lower() for word in _WRONG_WAY):
        ways = ", ".join(way.name for way in SIGN_INS.values() if way.asks_for)
        advice = Sentence("choose the sign-in that this endpoint uses ({ways})", ways=ways)
    else:
        advice = Sentence("copy the key again, or sign in again, as that says")
    return "401", _filled("{place} refused the key or token (401: “{said}”): {advice}.", answer, said=said, advice=advice)


def _forbidden(answer: Answer) -> str:
    """403 is for want of a role, or for the network that the request came from; the endpoint's own words tell which."""
    said = answer.said.rstrip(".")
    if any(word in said.lower() for word in _BY_NETWORK):
        by_network = (
            "{place} does not take requests from this network (403: “{said}”): use the network or VPN that the "
            "workspace is reachable from, or ask its administrators."
        )
        return _filled(by_network, answer, said=said)
    role = Sentence("ask its owner for a role with {score_permission}, such as AzureML Data Scientist", score_permission=SCORE_PERMISSION)
    if said:
        return _filled(
            "You are not allowed to use {place} (403: “{said}”): if that does not say why, {role}.", answer, said=said, role=role
        )
    if not answer.has_key:
        return _filled("{place} does not let anyone in without a sign-in (403): {sign_in_somehow}.", answer)
    return _filled("You are signed in, but not allowed to use {place} (403): {role}.", answer, role=role)


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


_READERS: dict[int, Callable[[Answer], str]] = {403: _forbidden, 424: _model_failed}
