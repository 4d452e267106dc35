"""Sentences of the rooms below name command-line options; in the panel they name what the person sees here.

How far a run is, in the person's language.
"""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any

from slicer.i18n import tr as _

from ..errors import MedImageParseError


def worded(sentence: str) -> str:
    """A finished sentence (a warning, a note) in the panel's terms."""
    for there, here in _terms():
        sentence = sentence.replace(there, here)
    return sentence


def words(error: BaseException) -> str:
    """An error as the person reads it, without the request's identifier, which only the endpoint's owner can use."""
    identifier = requestId(error)
    sentence = str(error)
    return worded(sentence.replace(f" (request id {identifier})", "") if identifier else sentence)


def jobWords(job: Any) -> str:
    """Why a job has ended without a result."""
    return words(job.error) if isinstance(job.error, MedImageParseError) else worded(job.sentence)


def requestId(error: BaseException | None) -> str:
    """The request's identifier, for the endpoint's owner; "" where nothing was sent."""
    return str(getattr(error, "request_id", "") or "")


def _terms() -> tuple[tuple[str, str], ...]:
    """(what the command line says, what the panel says), the longer before the shorter."""
    return (
        (
            "set MEDIMAGEPARSE_KEY, name a --key-file, or choose another sign-in",
            _("type the key in Settings, or choose another sign-in there"),
        ),
        ("set MEDIMAGEPARSE_KEY or use --key-file", _("type it in Settings")),
        ("give the key with --key-file or MEDIMAGEPARSE_KEY", _("type the key in Settings")),
        ("put it into MEDIMAGEPARSE_KEY, a key file or the system's keyring, and take it out here", _("type it as the key instead")),
        ("give its authority with --ca-bundle or in the profile", _("give its certificates in Settings, under More")),
        ("give its authorities with --ca-bundle or in the profile", _("give its certificates in Settings, under More")),
        ("allow plain http for this endpoint in its profile", _("allow an unencrypted connection in Settings, under More")),
        ("give its PEM file as the CA bundle", _("give its PEM file in Settings, under More, Certificates")),
        (
            "raise the timeout here and in the deployment",
            _("increase the response timeout in the endpoint's settings and in the deployment"),
        ),
        ("start the server there (the local demo with `mip.py serve`)", _("start the server there (the local demo with Start local demo)")),
        ("--ca-bundle", _("Certificates in Settings")),
        ("add --consent once if it may", _("press Run again and agree if it may")),
        ("--group each sends every prompt by itself", _("choose one prompt per request in Options")),
        ("and with --tenant where", _("and name the tenant where")),
        ("or name another tenant with --tenant", _("or name another tenant")),
        ("or leave out --content", _("or switch off Skip empty slices, in Index options")),
        ("name one --deployment", _("name one deployment in Settings")),
        (
            "check it, and export what is readable into a new one",
            _("choose another index file in Index options, or rescue what is readable with mip.py index export"),
        ),
        ("--slabs", _("Slabs in Options")),
        ("--region", _("Region in Options")),
        ("--key-file", _("the key field")),
        ("MEDIMAGEPARSE_KEY", _("the key field")),
        ("--timeout", _("the response timeout in Settings")),
    )


def signInText(url: str, code: str, expires: datetime) -> str:
    """Where to enter a device code, with a link to click."""
    link = f'<a href="{html.escape(url)}">{html.escape(url)}</a>' if url.startswith("https://") else html.escape(url)
    return _("To sign in, open {link} and enter the code <b>{code}</b> before {time}.").format(
        link=link, code=html.escape(code), time=f"{expires.astimezone():%H:%M}"
    )


_LITTLE = 1e5  # bytes, of which nobody wants to see the progress


def stageText(job: Any) -> str:
    """One line for a job at work: "uploading 42 of 118 MB", "7 of 20 done, model working 0:12"."""
    if job.state == "queued":
        return _("Waiting")
    if job.state == "preparing":
        return _("Preparing")
    if job.state == "importing":
        return _("Adding segments")
    words = _stage(job.stage, job.done, job.total)
    finished, everything = job.items
    if everything:
        return _("{finished} of {all} done, {stage}").format(finished=finished, all=everything, stage=words[:1].lower() + words[1:])
    return words


def fractionDone(job: Any) -> float | None:
    """Share of the work that is done, 0 to 1, None where nobody can know."""
    finished, everything = job.items
    if everything:
        return finished / everything
    if job.stage in ("uploading", "downloading") and job.total:
        return min(1.0, job.done / job.total)
    return None


def _stage(stage: str, done: float, total: float) -> str:
    if stage in ("uploading", "downloading") and max(done, total) < _LITTLE:
        return _("Uploading") if stage == "uploading" else _("Receiving")
    if stage == "uploading":
        return _("Uploading {done} of {total} MB").format(done=megabytes(done), total=megabytes(total))
    if stage == "downloading" and total:
        return _("Receiving {done} of {total} MB").format(done=megabytes(done), total=megabytes(total))
    if stage == "downloading":
        return _("Receiving {done} MB").format(done=megabytes(done))
    if stage == "model working":
        return _("Model working {minutes}:{seconds}").format(minutes=int(done) // 60, seconds=f"{int(done) % 60:02d}")
    if stage == "waiting to try again":
        return _("The endpoint is busy, trying again in {seconds} s").format(seconds=int(done) + 1)
    return _("Preparing")


def megabytes(size: float) -> str:
    """Bytes as a number of MB (10**6 bytes)."""
    return f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}"
