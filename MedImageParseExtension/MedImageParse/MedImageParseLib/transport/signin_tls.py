"""A requests session for the sign-in and control-plane servers: the profile's certificate authorities on top of the usual ones, a proxy."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import requests


def make_session(ca_bundle: str = "", proxy: str = "") -> requests.Session:
    """A session that verifies certificates against the usual authorities, the operating system's, and those of `ca_bundle`.

    Args:
        ca_bundle: PEM file of extra certificate authorities, "" for none.
        proxy: proxy URL, "" for the environment's.

    Raises:
        InputError: the bundle is missing or holds no certificate.
    """
    import requests
    from requests.adapters import HTTPAdapter

    context = _context(ca_bundle)

    class TrustingAdapter(HTTPAdapter):
        """requests adds its own bundle to the context it is given here; verification stays on."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **kwargs)

    session = requests.Session()
    session.mount("https://", TrustingAdapter())
    # With an authentication of its own, even one that adds nothing, requests does not look into ~/.netrc.
    session.auth = lambda request: request
    if proxy:
        session.proxies = {"http": proxy, "https": proxy}
    return session


def _context(ca_bundle: str) -> ssl.SSLContext:
    try:
        import truststore

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except ImportError:
        context = ssl.create_default_context()
    if ca_bundle:
        if not os.path.exists(ca_bundle):
            raise InputError(f"The CA bundle {ca_bundle} does not exist: give a PEM file with the certificate authority.")
        try:
            context.load_verify_locations(**{"capath" if os.path.isdir(ca_bundle) else "cafile": ca_bundle})
        except (ssl.SSLError, OSError) as error:
            raise InputError(f"The CA bundle {ca_bundle} holds no certificate that can be read: give a PEM file.") from error
    return context
