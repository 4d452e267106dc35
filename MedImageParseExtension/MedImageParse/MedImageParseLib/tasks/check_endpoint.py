"""Tests a connection: does the endpoint answer, how fast, and which model is behind it.

The probe is a made-up picture or volume of a few kilobytes with one prompt, never the person's data. It costs the model one slice or
eight small ones.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import EndpointError, ReplyError, UsageError
from ..models import MODEL_NAMES, MODELS, VECTORS, guess_model
from ..progress import Cancellation, Progress, no_progress
from ..redaction import redactor
from ..remedies import Sentence, few, joined
from ..transport.about import About
from ..transport.client import EndpointClient
from ..transport.faults import duration
from ..transport.retry import RetryPolicy
from .run import Report

# One more try: enough for a lost connection, and a person who tests a connection waits for the answer.
_CHECK_RETRY = RetryPolicy(tries=2, wait_budget=10.0)
_REPLY_LIMIT = 16 * 2**20  # bytes; the largest reply to a probe is a 1024 x 1024 map of float64 in base64, 11 MB
# What an endpoint says when the body made no sense to the model behind it.
_MISFITS = {"400", "415", "422", "424", "500"}


@dataclass(slots=True, frozen=True)
class CheckResult:
    """A healthy endpoint.

    Attributes:
        sentence: for the person.
        model: "medimageparse", "medimageparse3d" or "medimageinsight".
        latency_s: seconds for the probe, upload and download included.
        reply_form: which of the documented forms the reply had.
        engine: what a local endpoint calls its engine, "" for the published models.
        warnings: sentences, such as on a key file that others can read.
        about: what a local endpoint says of its engine; None for any other.
        report: plain JSON types; docs/report.md says what is in it.
    """

    sentence: str
    model: str
    latency_s: float
    reply_form: str
    engine: str = ""
    warnings: list[str] = field(default_factory=list)
    about: About | None = None
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class _Found:
    model: str
    form: str
    engine: str


def check_endpoint(
    client: EndpointClient, model: str = "auto", *, progress: Progress = no_progress, cancellation: Cancellation | None = None
) -> CheckResult:
    """Send a tiny probe and tell what answered.

    Args:
        client: the connection to test.
        model: what should be there: "medimageparse", "medimageparse3d", "medimageinsight", or "auto" for whatever it is.
        progress: told the stages, and pieces done of all.
        cancellation: stops the run: Cancelled is raised, and requests on their way are given up.

    Raises:
        EndpointError: any fault, with its sentence; kind "wrong-model" when another model answers than was asked for.
        UsageError: the model's name is not known.
        Cancelled: the person stopped it.
    """
    if model != "auto" and model not in MODEL_NAMES:
        raise UsageError("The model '{model}' is not known: use auto, {listed}.", model=model, listed=", ".join(MODEL_NAMES))
    first: EndpointError | None = None
    report = Report(http_status=200, endpoint=client.name, dialect=client.dialect)
    for candidate in _order(client, model):
        try:
            body = _codec(candidate).build_probe(client.dialect)
            reply = client.send(
                body,
                progress=progress,
                cancellation=cancellation,
                max_reply_bytes=_REPLY_LIMIT,
                model=f"{candidate} (probe)",
                retry=replace(_CHECK_RETRY, tries=min(_CHECK_RETRY.tries, client.retry.tries)),
            )
        except EndpointError as error:
            if error.code not in _MISFITS:
                raise
            # Perhaps the probe was one for another model: the next may fit, and name what is there.
            first = first or error
            report.tries += error.tries
            report.request_ids += [error.request_id] if error.request_id else []
            continue
        report.tries += reply.tries
        report.request_ids += reply.request_ids
        report.bytes_sent, report.bytes_received = len(body), len(reply.body)
        try:
            found = _recognize(reply.body)
        except ReplyError as error:
            if error.code != "classification" or model not in ("auto", VECTORS.name):
                raise
            return _reported(_classifier(client, reply.body, reply.wait_s - reply.paused_s, reply.warnings), report)
        if model not in ("auto", found.model):
            raise _wrong_model(client, model, found, reply.request_id)
        return _reported(_healthy(client, found, reply.wait_s - reply.paused_s, reply.warnings), report)
    assert first is not None
    raise first


def _reported(result: CheckResult, report: Report) -> CheckResult:
    """The result with the report of the requests that were sent, completed by what was found."""
    report.model, report.engine, report.reply_form, report.warnings = (
        result.model,
        result.engine or None,
        result.reply_form,
        result.warnings,
    )
    report.engine_facts = result.about.to_json() if result.about is not None else None
    report.timings_s = {"total": round(result.latency_s, 3)}
    return replace(result, report=report.as_dict())


def _order(client: EndpointClient, model: str) -> list[str]:
    """The probe most likely to fit goes first: the one asked for, else the one that URL and deployment hint at."""
    names = list(MODEL_NAMES)
    likely = guess_model(f"{client.name} {client.deployment}").name if model == "auto" else model
    return [likely, *(name for name in names if name != likely)]


def _codec(model: str) -> Any:
    """What a model says and hears: the module of `wire` with its name."""
    return importlib.import_module(f"{__package__.rpartition('.')[0]}.wire.{model}")


def _recognize(body: bytes) -> _Found:
    """The model that answers in this way.

    Raises:
        ReplyError: none of the documented forms.
    """
    faults = []
    for name in sorted(MODELS, key=lambda name: MODELS[name].whole_volumes):  # a volume's reply has the most forms
        try:
            found = _codec(name).recognize_probe(body)
        except ReplyError as error:
            faults.append(error)
            continue
        if found is not None:
            return _Found(name, *found)
    raise faults[0]


def _classifier(client: EndpointClient, body: bytes, latency_s: float, warnings: list[str]) -> CheckResult:
    """A fine-tuned adapter of MedImageInsight, which answers with labels of its own."""
    from ..wire.classification import parse_reply

    labels = list(parse_reply(body, 1)[0])
    named = redactor.quote(few(labels), 200)
    sentence = Sentence(
        "{name} answers in {duration} with a fine-tuned classifier of the labels {named}: classify can use it as "
        "a tuned one; only a tiny made-up probe was sent.",
        name=client.name,
        duration=duration(latency_s),
        named=named,
    )
    return CheckResult(sentence, "medimageinsight", latency_s, "labels and scores", "", warnings)


def _healthy(client: EndpointClient, found: _Found, latency_s: float, warnings: list[str]) -> CheckResult:
    engine = redactor.quote(found.engine, 200)
    about = client.about(fresh=True) if engine else None
    who = Sentence("the {engine}", engine=engine) if engine else MODEL_NAMES[found.model]
    asked = [Sentence("asked as {model}", model=MODEL_NAMES[found.model])] if engine else []
    how = joined((Sentence("{part}; ", part=part) for part in (*asked, *_more(about, engine))), "")
    sentence = Sentence(
        "{name} answers in {duration} with {who} ({how}reply: {form}); only a tiny made-up probe was sent.",
        name=client.name,
        duration=duration(latency_s),
        who=who,
        how=how,
        form=found.form,
    )
    return CheckResult(sentence, found.model, latency_s, found.form, engine, warnings, about)


def _more(about: About | None, engine: str) -> list[str]:
    """What decides how a local engine is asked, and what its replies do not say."""
    found: list[str] = []
    if about is None:
        return found
    if about.device and about.device not in engine:
        found.append(Sentence("runs on {device}", device=about.device))
    if about.wants_hounsfield:
        found.append(Sentence("takes Hounsfield units"))
    if about.seconds_a_slice >= 1:
        found.append(Sentence("needs about {seconds:g} s a slice and prompt", seconds=about.seconds_a_slice))
    return found


def _wrong_model(client: EndpointClient, asked: str, found: _Found, request_id: str) -> ReplyError:
    return ReplyError(
        "{name} answers, but with {model_names} where {model_names2} was expected: choose {model}, or the other endpoint's URL.",
        name=client.name,
        model_names=MODEL_NAMES[found.model],
        model_names2=MODEL_NAMES[asked],
        model=found.model,
        code="wrong-model",
        status=200,
        tries=1,
        request_id=request_id,
    )
