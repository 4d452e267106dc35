"""One requests session whose sockets are watched, with the trust and the proxies of a profile.

requests' own conveniences that would send something nobody asked for are off: redirects, cookies, ~/.netrc.
"""

from __future__ import annotations

import functools
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from ..errors import UsageError
from ..redaction import is_plain, redactor
from ..remedies import Sentence
from ..signin.trust import tls_context
from . import watch as watched
from .address import Address, checked_host

if TYPE_CHECKING:
    import requests

# Older ones can unfold packed data without a bound: CVE-2025-66418, CVE-2025-66471, CVE-2026-21441, and CVE-2026-44432, mended in 2.7.0.
OLDEST_URLLIB3 = (2, 7, 0)


def open_session(ca_bundle: str = "", connections: int = 10, *, uses_tls: bool = True) -> requests.Session:
    """A session that verifies TLS against the operating system's store, certifi's list and `ca_bundle`.

    Args:
        ca_bundle: a PEM file or a folder of them with extra certificate authorities, "" for none.
        connections: how many idle connections to keep.
        uses_tls: False where neither endpoint nor proxy is https: reading the certificate stores takes a tenth of a second.

    Raises:
        UsageError: the bundle is missing or not PEM.
    """
    import http.cookiejar

    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: Any) -> None:
            """No redirects; asked for one, requests would also read (and unpack) the whole reply first, and stumble over a strange Location."""

    adapter = _adapter_class()(_tls_context(ca_bundle) if uses_tls else None, connections)
    session = Session()
    session.trust_env = False  # no ~/.netrc; proxies and CA bundles of the environment are read here, on purpose
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.adapters.clear()
    session.mount("http://", adapter)
    if uses_tls:
        session.mount("https://", adapter)
    return session


def old_library() -> str:
    """A sentence where the urllib3 of this Python (3D Slicer brings its own) is older than it should be; "" where it is not.

    Nothing here unfolds a reply, so requests to an endpoint are safe with any version; sign-in and Azure's control plane lean on urllib3.
    """
    import urllib3

    numbers = tuple(int(part) for part in urllib3.__version__.split(".")[:3] if part.isdecimal())
    if not numbers or numbers >= OLDEST_URLLIB3:
        return ""
    wanted = ".".join(map(str, OLDEST_URLLIB3))
    return Sentence(
        "The package urllib3 {version} in this Python has known faults; update it to {wanted} or later (in 3D "
        "Slicer's Python console: slicer.util.pip_install('urllib3>={wanted}')).",
        version=urllib3.__version__,
        wanted=wanted,
    )


def _tls_context(ca_bundle: str) -> ssl.SSLContext:
    """The trust of `signin.trust`, whose sockets are watched."""
    context = tls_context(ca_bundle)
    # truststore keeps its real context inside; where that ever moves, only the handshake loses its slices.
    getattr(context, "_ctx", context).sslsocket_class = watched.WatchedTLSSocket
    return context


def proxy_for(address: Address, proxy: str = "") -> str:
    """The proxy that a request to this address goes through: the profile's, else the environment's, "" for none.

    Never one for this very computer, whatever the environment says.

    Raises:
        UsageError: a proxy of a kind that is not spoken here.
    """
    import requests.utils

    if address.is_loopback:
        return ""
    found = proxy.strip()
    if not found:
        known = requests.utils.get_environ_proxies(address.url)
        found = known.get("https" if address.is_https else "http") or known.get("all") or ""
    return checked_proxy(found, Sentence("set NO_PROXY for {host}", host=address.host)) if found else ""


def checked_proxy(proxy: str, otherwise: str = "leave it out") -> str:
    """A proxy's URL as it is called: scheme, user name and password if any, host, port. Its password is known as a secret from here on.

    Args:
        proxy: http://host:port, or host:port; a name and password before the host are percent-encoded where they need it.
        otherwise: ends the sentence on a proxy of another kind.

    Raises:
        UsageError: a proxy of a kind that is not spoken here, or an address that cannot be read. The sentence never repeats name or password.
    """
    scheme, _, rest = proxy.strip().rpartition("://")
    scheme = scheme.lower() or "http"
    user, has_user, place = rest.rpartition("@")
    redactor.learn(*_proxy_secrets(user if has_user else rest))
    if has_user and (not is_plain(user) or any(letter in "[]\\@#?/ " for letter in user)):
        raise UsageError(
            "The proxy's address cannot be read, because its user name or password holds a character that has a meaning in addresses: write "
            + ", ".join(f"{letter} as {quote(letter, safe='')}" for letter in "[]\\@#?/")
            + " (in HTTPS_PROXY, or wherever the proxy is named)."
        )
    try:
        parts = urlsplit(f"{scheme}://{place.rstrip('/')}")
        port = parts.port or (443 if scheme == "https" else 80)
        if parts.path or parts.query or parts.fragment or any(letter in place for letter in "\\?#") or not is_plain(place):
            raise ValueError
        host = checked_host(parts.hostname or "", Sentence("The proxy's address"))
    except ValueError:
        raise UsageError(
            "The proxy's address cannot be read: it should look like http://proxy.example:8080, or http://name:password@proxy.example:8080 "
            "with signs such as # in the password written as %23."
        ) from None
    host = f"[{host}]" if ":" in host else host
    if scheme not in ("http", "https"):
        kind = scheme if scheme.isalnum() else "strange"
        raise UsageError(
            "The proxy {host}:{port} is a {kind} proxy, which is not spoken here: name an http proxy, or {otherwise}.",
            host=host,
            port=port,
            kind=kind,
            otherwise=otherwise,
        )
    return f"{scheme}://{user}{has_user}{host}:{port}"


def proxy_place(proxy: str) -> str:
    """host:port of a proxy that was found acceptable, without the user name and password that its URL may hold."""
    return proxy.rpartition("://")[2].rpartition("@")[2]


def _proxy_secrets(user: str) -> list[str]:
    """What of a proxy's URL must never be shown: all that stands before the host, and the password alone, as typed and decoded."""
    password = user.partition(":")[2]
    return [text for text in dict.fromkeys((user, password, unquote(password))) if text] if password else []


@functools.cache
def _adapter_class() -> Any:
    """The adapter's classes, made on first use so that importing this file does not import requests."""
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    class WatchedConnections:
        def _new_conn(self) -> Any:
            is_proxy = getattr(self, "proxy", None) is not None
            return watched.connect(self._dns_host, self.port, is_proxy=is_proxy, options=self.socket_options)  # type: ignore[attr-defined]

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = type("PlainConnection", (WatchedConnections, HTTPConnectionPool.ConnectionCls), {})

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = type("TLSConnection", (WatchedConnections, HTTPSConnectionPool.ConnectionCls), {})

    pools = {"http": PlainPool, "https": TLSPool}

    class WatchedAdapter(HTTPAdapter):
        """requests' adapter over watched sockets and one TLS context; it never retries and never loosens the verification."""

        def __init__(self, context: ssl.SSLContext | None, connections: int) -> None:
            self._context = context
            super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=0)

        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, ssl_context=self._context, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            manager = super().proxy_manager_for(proxy, ssl_context=self._context, proxy_ssl_context=self._context, **options)
            manager.pool_classes_by_scheme = pools
            return manager

        def build_response(self, req: Any, resp: Any) -> Any:
            """Cookies are not even parsed: nobody needs them, and a strange one costs time."""
            original = getattr(resp, "_original_response", None)
            for name in ("Set-Cookie", "Set-Cookie2"):
                if original is not None and original.msg is not None:
                    del original.msg[name]
            return super().build_response(req, resp)

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            """The context holds the trust; requests must not add to it or take from it."""
            conn.cert_reqs = "CERT_REQUIRED"
            conn.ca_certs = None

    return WatchedAdapter
