"""The panel's words for errors and warnings: where the command line names an option, they name what the person sees here.

How far a run is, in the person's language.
"""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any

from slicer.i18n import tr as _
from slicer.i18n import translate

from .. import remedies
from ..errors import MedImageParseError
from ..logic.jobs import megabytes
from ..remedies import Remedy

CONTEXT = "MedImageParseLib"  # of what is raised below the panels: whoever shows it does not know in which file


def worded(sentence: str) -> str:
    """A sentence from below (a warning, a note) in the panel's terms and the person's language."""
    return str(remedies.worded(sentence, _inThePanel, _translated))


def _translated(template: str) -> str:
    return translate(CONTEXT, template)


def words(error: BaseException) -> str:
    """An error as the person reads it, without the request's identifier, which only the endpoint's owner can use."""
    return error.worded(_inThePanel, _translated) if isinstance(error, MedImageParseError) else str(error)


def jobWords(job: Any) -> str:
    """Why a job has ended without a result."""
    return words(job.error) if isinstance(job.error, MedImageParseError) else worded(job.sentence)


def requestId(error: BaseException | None) -> str:
    """The request's identifier, for the endpoint's owner; "" where nothing was sent."""
    return str(getattr(error, "request_id", "") or "")


def _inThePanel(remedy: Remedy) -> str:
    """What a person does here where the command line names an option."""
    return panelRemedies()[remedy.name]


def panelRemedies() -> dict[str, str]:
    """The panel's words for every remedy, in the middle of a sentence."""
    return {
        "request-id": "",  # it stands in the message's tool tip and on the clipboard
        "install-package": _("install it from Slicer's Python console with slicer.util.pip_install"),
        "give-key": _("type it in Settings"),
        "ask-classifier": _("ask it on the command line, with classify"),
        "sign-in-somehow": _("type the key in Settings, or choose another sign-in there"),
        "key-not-in-url": _("type the key in Settings"),
        "key-not-in-profile": _("type it as the key instead"),
        "give-authority": _("select its certificates in Settings, under More"),
        "give-pem": _("select its PEM file in Settings, under More, Certificates"),
        "allow-plain-http": _("allow an unencrypted connection in Settings, under More"),
        "raise-timeout": _("increase the response timeout in Settings"),
        "raise-both-timeouts": _("increase the response timeout in Settings and in the deployment"),
        "start-server": _("start the server there (the local demo with Start local demo)"),
        "agree": _("press Run again and allow it, if you may"),
        "one-prompt-a-request": _("choose one prompt per request in Options"),
        "name-tenant": _("enter the tenant in Settings"),
        "another-tenant": _("enter another tenant in Settings"),
        "name-scope": _("add the endpoint again in Settings"),
        "keep-empty-slices": _("turn off Skip empty slices in Index options"),
        "choose-plane": _("move the mouse over a slice view of that plane, and run again"),
        "one-deployment": _("enter one deployment in Settings"),
        "choose-clash": _("choose new names for them"),
        "rescue-index": _("choose another index file in Index options, or recover what is readable with medimageparse index export"),
    }


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
