"""Sentences of the rooms below name command-line options; in the panel they name what the person sees here."""

from __future__ import annotations

import html
from datetime import datetime

from slicer.i18n import tr as _


def forPanel(sentence: str) -> str:
    """The same sentence in the panel's terms."""
    for there, here in _terms():
        sentence = sentence.replace(there, here)
    return sentence


def withoutRequestId(sentence: str, requestId: str) -> str:
    """The sentence as it reads without the id that only the endpoint's owner can use."""
    return sentence.replace(f" (request id {requestId})", "") if requestId else sentence


def _terms() -> tuple[tuple[str, str], ...]:
    """(what the command line says, what the panel says), the longer before the shorter."""
    return (
        (
            "set MEDIMAGEPARSE_KEY, name a --key-file, or choose another sign-in",
            _("type the key in Endpoint settings, or choose another sign-in there"),
        ),
        ("set MEDIMAGEPARSE_KEY or use --key-file", _("type it in Endpoint settings")),
        ("give the key with --key-file or MEDIMAGEPARSE_KEY", _("type the key in Endpoint settings")),
        ("put it into MEDIMAGEPARSE_KEY, a key file or the system's keyring, and take it out here", _("type it as the key instead")),
        ("give its authority with --ca-bundle or in the profile", _("give its certificates in Endpoint settings, under More")),
        ("give its authorities with --ca-bundle or in the profile", _("give its certificates in Endpoint settings, under More")),
        ("allow plain http for this endpoint in its profile", _("allow an unencrypted connection in Endpoint settings, under More")),
        ("give its PEM file as the CA bundle", _("give its PEM file in Endpoint settings, under More, Certificates")),
        ("raise the timeout here and in the deployment", _("raise Reply within in Endpoint settings, and the deployment's timeout")),
        ("--ca-bundle", _("Certificates in Endpoint settings")),
        ("add --consent once if it may", _("press Run again and agree if it may")),
        ("--group each sends every prompt by itself", _("choose Requests: one for each prompt in Options")),
        ("and with --tenant where", _("and name the tenant where")),
        ("or name another tenant with --tenant", _("or name another tenant")),
        ("or leave out --content", _("or switch off Only slices that show something, in Index options")),
        ("name one --deployment", _("name one deployment in Endpoint settings")),
        (
            "check it, and export what is readable into a new one",
            _("choose another index file in Index options, or rescue what is readable with mip.py index export"),
        ),
        ("--slabs", _("Slabs in Options")),
        ("--region", _("Region in Options")),
        ("--key-file", _("the key field")),
        ("MEDIMAGEPARSE_KEY", _("the key field")),
        ("--timeout", _("Reply within, in Endpoint settings")),
    )


def signInText(url: str, code: str, expires: datetime) -> str:
    """Where to enter a device code, with a link to click."""
    link = f'<a href="{html.escape(url)}">{html.escape(url)}</a>'
    return _("To sign in, open {link} and enter the code <b>{code}</b> before {time}.").format(
        link=link, code=html.escape(code), time=f"{expires.astimezone():%H:%M}"
    )
