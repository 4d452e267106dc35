"""Why a server's certificate was refused, told so that a person recognizes an intercepting proxy or a wrong clock.

The certificate is read from the very handshake that failed. Nothing is ever connected to a second time without verification.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import Any

from ..redaction import redactor
from ..remedies import GIVE_PEM, Sentence
from .faults import Fault, duration, make_fault

# OpenSSL's X509_V_ERR_ numbers.
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_HOST = (62, 64)


@dataclass(slots=True, frozen=True)
class PeerCertificate:
    """What of a server's certificate a sentence may need. Times in seconds since 1970, None where not known."""

    issuer: str = ""
    subject: str = ""
    not_before: float | None = None
    not_after: float | None = None


def read_peer(sock: Any) -> PeerCertificate | None:
    """The server's own certificate, from a TLS socket whose handshake has just failed or succeeded; None where Python keeps it to itself.

    Python has no public call for this after a failed handshake; the private one has been there since 3.10, and doing without it costs
    the sentence its issuer and dates, nothing else.
    """
    try:
        chain = sock._sslobj.get_unverified_chain()
        info = chain[0].get_info() if chain else {}
    except (AttributeError, ValueError, TypeError, ssl.SSLError):
        return None
    return PeerCertificate(_name(info.get("issuer")), _name(info.get("subject")), _time(info.get("notBefore")), _time(info.get("notAfter")))


def refused(error: ssl.SSLCertVerificationError, place: str, peer: PeerCertificate | None, detail: str = "") -> Fault:
    """The sentence for a certificate that did not pass."""
    peer = peer or PeerCertificate()
    now = time.time()
    code = getattr(error, "verify_code", 0)
    message = str(getattr(error, "verify_message", "") or error).lower()
    if code == _NOT_YET_VALID or "not yet valid" in message:
        since = Sentence(" only in {duration}", duration=duration(peer.not_before - now)) if peer.not_before else Sentence(" later")
        return make_fault(
            "certificate-not-yet-valid",
            "The certificate of {place} becomes valid{since} by this computer's clock ({now}): the clock is probably behind, so set it.",
            place=place,
            since=since,
            now=_date(now),
            detail=detail,
        )
    if code == _EXPIRED or "expired" in message:
        ago = Sentence(" {duration} ago", duration=duration(now - peer.not_after)) if peer.not_after else ""
        return make_fault(
            "certificate-expired",
            "The certificate of {place} expired{ago} by this computer's clock ({now}): set the clock if that is "
            "wrong, else its owner has to renew it.",
            place=place,
            ago=ago,
            now=_date(now),
            detail=detail,
        )
    if code in _OTHER_HOST or "match" in message:
        return make_fault(
            "certificate-other-host",
            "The certificate shown by {place} belongs to another name{whose}: check the URL, and whether a proxy is in between.",
            place=place,
            whose=f" ({peer.subject})" if peer.subject else "",
            detail=detail,
        )
    if peer.issuer and peer.issuer == peer.subject:
        return make_fault(
            "certificate-untrusted",
            "The certificate of {place} is self-signed by “{issuer}”, so it is not trusted: {give_pem} if you know it to be right.",
            place=place,
            issuer=peer.issuer,
            give_pem=GIVE_PEM,
            detail=detail,
        )
    return make_fault(
        "certificate-untrusted",
        "The certificate of {place}{by} is not trusted on this computer: if that is your hospital's or company's "
        "own authority (a proxy that reads TLS), {give_pem}.",
        place=place,
        by=Sentence(", which “{issuer}” issued,", issuer=peer.issuer) if peer.issuer else "",
        give_pem=GIVE_PEM,
        detail=detail,
    )


def _name(parts: Any) -> str:
    """A distinguished name as a person knows it: the common name, with the organization where that says more."""
    found = {key: value for group in parts or () for key, value in group}
    common, organization = found.get("commonName", ""), found.get("organizationName", "")
    unit = found.get("organizationalUnitName", "")
    name = common or unit
    shown = f"{name} ({organization})" if name and organization and organization not in name else name or organization
    return redactor.quote(shown, 120)  # whoever answers wrote it


def _time(text: Any) -> float | None:
    try:
        return float(ssl.cert_time_to_seconds(text))
    except (TypeError, ValueError):
        return None


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
