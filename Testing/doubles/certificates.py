"""Certificates for servers on loopback: good, expired, not valid yet, for another host, of a strange authority, self-signed."""

from __future__ import annotations

import functools
import ssl
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority and the server contexts that it vouches for."""

    def __init__(self, organization: str = "Test Authority") -> None:
        self.organization = organization
        self._ca = trustme.CA(organization_name=organization)

    def bundle(self, folder: Path) -> str:
        """Path of a PEM file with the authority's own certificate."""
        path = folder / "authority.pem"
        path.write_bytes(self._ca.cert_pem.bytes())
        return str(path)

    def context(self, host: str = "localhost", *, from_days: float = -1, to_days: float = 30) -> ssl.SSLContext:
        """A server-side context with a certificate for a host, valid from and to some days from now."""
        now = datetime.now(timezone.utc)
        certificate = self._ca.issue_cert(host, not_before=now + timedelta(days=from_days), not_after=now + timedelta(days=to_days))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


def self_signed_context(host: str = "localhost", common_name: str = "Appliance 7") -> ssl.SSLContext:
    """A server-side context whose certificate vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
    return context


@functools.cache
def shared_authority() -> Authority:
    """One authority a run: making keys takes time."""
    return Authority("Hospital TLS Inspection")
