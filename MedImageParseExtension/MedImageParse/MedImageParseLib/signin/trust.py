"""Which certificate authorities are trusted, for endpoints, sign-in and Azure's control plane alike."""

from __future__ import annotations

import os
import ssl

from ..errors import UsageError
from ..remedies import Sentence

# Certificate authorities that requests users name in the environment, besides SSL_CERT_FILE, which OpenSSL reads itself.
_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def tls_context(ca_bundle: str = "") -> ssl.SSLContext:
    """Trust of the operating system (through truststore where that is installed), of certifi, and of `ca_bundle`.

    Args:
        ca_bundle: a PEM file or a folder of them with extra certificate authorities, "" for none.

    Raises:
        UsageError: the bundle is missing or not PEM.
    """
    context = _system_context()
    for variable in _BUNDLE_VARIABLES:
        named = os.environ.get(variable, "")
        if named and os.path.exists(named):
            _trust(context, named, Sentence("{variable} names the certificate file {named}", variable=variable, named=named))
    check_bundle(ca_bundle)
    if ca_bundle:
        _trust(context, ca_bundle, Sentence("The CA bundle is {ca_bundle}", ca_bundle=ca_bundle))
    return context


def check_bundle(path: str) -> None:
    """Raises UsageError where a CA bundle is named that is not there."""
    if path and not os.path.exists(path):
        raise UsageError("The CA bundle is {path}, and there is no such file: name a PEM file.", path=path)


def _system_context() -> ssl.SSLContext:
    try:
        import truststore
    except ImportError:
        context = ssl.create_default_context()
        try:
            import certifi
        except ImportError:
            return context
        # Slicer's own Python looks for the system's store where its build machine kept it, so it often finds nothing.
        context.load_verify_locations(certifi.where())
        return context
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _trust(context: ssl.SSLContext, path: str, what: str) -> None:
    try:
        context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
    except (OSError, ssl.SSLError):
        raise UsageError(
            "{what}, and that cannot be read as certificates: it must be a PEM file ('-----BEGIN CERTIFICATE-----').", what=what
        ) from None
