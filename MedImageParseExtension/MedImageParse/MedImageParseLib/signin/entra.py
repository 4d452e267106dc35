"""Microsoft Entra sign-in through azure-identity: which credential, one sign-in for all tokens, failures as sentences.

azure-identity is imported when somebody signs in, not before: 3D Slicer does not bring it.

A requests session for the sign-in and control-plane servers: the profile's certificate authorities on top of the usual ones, a proxy.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import Cancelled, MedImageParseError, UsageError
from ..packages import require
from ..progress import Cancellation
from ..remedies import GIVE_AUTHORITY, Sentence
from .auth import RefreshingToken, SignInError, Token
from .trust import tls_context

if TYPE_CHECKING:
    import requests


# prompt(url, code, expires_at): show a person where to enter which code, and until when (UTC).
Prompt = Callable[[str, str, datetime], None]

# Sign-in hosts run by Microsoft or its operators: the public cloud and the sovereign ones. A client secret or a person's password is
# not sent to any other host unless the person vouches for it.
# Source: learn.microsoft.com/entra/identity-platform/authentication-national-cloud
KNOWN_AUTHORITIES = frozenset(
    ("login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn", "login.partner.microsoftonline.cn",
     "login.sovcloud-identity.fr", "login.sovcloud-identity.de", "login.sovcloud-identity.sg")
)  # fmt: skip
_METHOD_NAMES = {
    "browser": Sentence("the browser"), "device-code": Sentence("a device code"), "azure-cli": Sentence("the Azure CLI"), "managed-identity": Sentence("the managed identity"),
    "environment": Sentence("the service principal in the environment"), "default": Sentence("the default chain"),
}  # fmt: skip
_UNAVAILABLE = {
    "browser": "No browser could be opened for the sign-in: use the device code instead.",
    "device-code": "The device code sign-in is not available here: use the browser or the Azure CLI instead.",
    "azure-cli": "The Azure CLI has no sign-in to share: install it, run `az login`, then try again.",
    "managed-identity": "This computer has no managed identity: they exist only on Azure machines; use another way to sign in.",
    "environment": "The environment names no service principal: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
    "default": "None of the default ways to sign in to Microsoft Entra worked: run `az login`, or choose the browser or a device code.",
}
# What the codes mean for a person. Source: learn.microsoft.com/entra/identity-platform/reference-error-codes
_CODES = {
    "7000215": Sentence("the client secret is wrong: check AZURE_CLIENT_SECRET"),
    "7000222": Sentence("the client secret has expired: ask for a new one"),
    "700016": Sentence("the application is not known in this tenant: check the client id and the tenant id"),
    "900023": Sentence("the tenant id is not one: check it"),
    "90002": Sentence("the tenant does not exist: check the tenant id"),
    "500011": Sentence("the scope is not known in this cloud: check the scope and the sign-in host"),
    "50034": Sentence("the account does not exist in this tenant: check the account and the tenant id"),
    "50057": Sentence("the account is disabled: ask your administrator"),
    "50076": Sentence("your organization asks for a second factor: sign in with the browser"),
    "50079": Sentence("your organization asks for a second factor: sign in with the browser"),
    "50105": Sentence("your account has not been given this application: ask your administrator"),
    "50126": Sentence("the name or the password is wrong"),
    "53003": Sentence("a rule of your organization (Conditional Access) blocks it: ask your administrator"),
    "65001": Sentence("the application has not been approved in your organization: ask your administrator"),
    "65004": Sentence("the approval was declined: sign in again and approve it"),
    "70008": Sentence("the sign-in has expired: sign in again"),
    "70019": Sentence("the code has expired: start again and enter the new one in time"),
    "70020": Sentence("the code has expired: start again and enter the new one in time"),
    "700082": Sentence("the sign-in has expired: sign in again"),
}


@dataclass(slots=True, frozen=True)
class EntraOptions:
    """Who signs in where; the fields mean what they mean in a profile."""

    method: str = "default"
    tenant_id: str = ""
    client_id: str = ""
    authority: str = ""
    allow_other_authority: bool = False
    ca_bundle: str = ""
    proxy: str = ""


class EntraSession:
    """One sign-in. All tokens, for whatever scope, come from it, so that a person is prompted once.

    Args:
        options: who signs in where.
    """

    def __init__(self, options: EntraOptions) -> None:
        self._options = options
        self._prompt: Prompt | None = None
        self._cancellation: Cancellation | None = None
        self._credential: Any = None
        self._one_at_a_time = threading.Lock()
        self._lock = threading.Lock()
        self._providers: dict[str, RefreshingToken] = {}

    def __repr__(self) -> str:
        return f"EntraSession({self._options.method})"

    def attend(self, prompt: Prompt | None = None, cancellation: Cancellation | None = None) -> None:
        """Who is there now: `prompt` shows the device code, `cancellation` ends the waiting, until somebody else attends."""
        self._prompt = prompt or self._prompt
        self._cancellation = cancellation

    def auth(self, scope: str) -> RefreshingToken:
        """The AuthProvider for a scope, e.g. `https://ml.azure.com/.default`; the same one each time, so that its token is shared."""
        with self._lock:
            if scope not in self._providers:
                self._providers[scope] = RefreshingToken(lambda force: self.fetch(scope, force))
            return self._providers[scope]

    def fetch(self, scope: str, force: bool = False) -> Token:
        """A token for a scope, from azure-identity. One thread at a time, as one person can answer one prompt at a time.

        Args:
            scope: what the token is for, such as https://ml.azure.com/.default.
            force: the endpoint refused the last token, so one from azure-identity's memory will not do.

        Raises:
            SignInError: the sign-in failed. UsageError: azure-identity is not installed.
            Cancelled: the person stopped it.
        """
        with self._one_at_a_time:
            interactive = self._options.method in ("browser", "device-code")
            if self._options.method == "device-code" and self._prompt is None:
                raise UsageError("A device code has to be shown to a person, and nobody is there to see it: use another way to sign in.")
            if self._credential is None or (force and not interactive):
                # A new credential object starts with an empty memory.
                self._credential = make_credential(self._options, self._show)
            extra: dict[str, str] = {}
            if force and interactive:
                # A person is not asked again: a claims challenge, of the form that Continuous Access Evaluation uses, makes the
                # library pass over the remembered token and use the refresh token.
                extra["claims"] = f'{{"access_token":{{"nbf":{{"essential":true,"value":"{int(time.time())}"}}}}}}'
            credential = self._credential
            token = _interruptible(lambda: _get_token(credential, scope, extra, self._options), self._cancellation)
        return Token(token.token, float(token.expires_on))

    def interruptibly(self, call: Callable[[], Any]) -> Any:
        """The outcome of a call that may take long, unless the person cancels first. Raises Cancelled then."""
        return _interruptible(call, self._cancellation)

    def _show(self, url: str, code: str, expires_at: datetime) -> None:
        if self._prompt is not None:
            self._prompt(url, code, expires_at)


def make_credential(options: EntraOptions, prompt: Prompt) -> Any:
    """The azure-identity credential for a method.

    Raises:
        UsageError: azure-identity is not installed, an unknown method, or a sign-in host that is not Microsoft's and that nobody vouched for.
    """
    if options.method not in _METHOD_NAMES:
        raise UsageError(
            '"{method}" is not a way to sign in to Entra: choose one of {listed}.', method=options.method, listed=", ".join(_METHOD_NAMES)
        )
    authority = _checked_authority(options)
    require("azure.identity", "Microsoft Entra sign-in", "or use a key instead")
    import azure.identity as identity

    _quiet_libraries()
    try:
        return _build(identity, options, prompt, authority)
    except ValueError as error:
        raise UsageError("The tenant id or the sign-in host has a form that none has: check both in the profile.") from _Unquoted(error)


def _quiet_libraries() -> None:
    """Without a handler Python prints these libraries' warnings to stderr, beside our sentence; and msal's cache writes device codes and
    account data into a debug log, such as Slicer's."""
    for library in ("azure", "msal"):
        if not logging.getLogger(library).handlers:
            logging.getLogger(library).addHandler(logging.NullHandler())
    logging.getLogger("msal.token_cache").setLevel(logging.INFO)


def _build(identity: Any, options: EntraOptions, prompt: Prompt, authority: str) -> Any:
    from azure.core.pipeline.transport import RequestsTransport

    transport = RequestsTransport(session=make_session(options.ca_bundle, options.proxy), session_owner=False)
    common: dict[str, Any] = {"transport": transport, "retry_total": 3}
    if options.proxy:
        common["proxies"] = {"http": options.proxy, "https": options.proxy}
    if options.method == "managed-identity":
        return identity.ManagedIdentityCredential(client_id=options.client_id or None, **common)
    if options.method == "azure-cli":
        return identity.AzureCliCredential(tenant_id=options.tenant_id, process_timeout=30)
    common |= {"connection_timeout": 10, "read_timeout": 30}
    if authority:
        common["authority"] = authority
    if (authority or _environment_authority()) and _host(authority or _environment_authority()) not in KNOWN_AUTHORITIES:
        common["disable_instance_discovery"] = True
    if options.method == "environment":
        secret, names = os.environ.get("AZURE_CLIENT_SECRET"), ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")
        tenant, client = (given or os.environ.get(name) for given, name in zip((options.tenant_id, options.client_id), names, strict=True))
        if secret and tenant and client:
            return identity.ClientSecretCredential(tenant, client, secret, **common)
        return identity.EnvironmentCredential(**common)
    if options.method == "default":
        return identity.DefaultAzureCredential(managed_identity_client_id=options.client_id or None, process_timeout=30, **common)
    common |= {name: value for name, value in (("tenant_id", options.tenant_id), ("client_id", options.client_id)) if value}
    if options.method == "device-code":
        return identity.DeviceCodeCredential(prompt_callback=prompt, **common)
    return identity.InteractiveBrowserCredential(timeout=300, **common)


def _checked_authority(options: EntraOptions) -> str:
    if not options.authority:
        return ""
    host = _host(options.authority)
    if not host or ("://" in options.authority and not options.authority.startswith("https://")):
        raise UsageError("The sign-in host has to be a host name or an https URL, e.g. login.microsoftonline.us.")
    if host not in KNOWN_AUTHORITIES and not options.allow_other_authority:
        raise UsageError(
            "The profile wants to sign in at {host}, which is not one of Microsoft's sign-in hosts: if you trust it with your account, say so in the profile (allow_other_authority).",
            host=host,
        )
    return options.authority


def _environment_authority() -> str:
    return os.environ.get("AZURE_AUTHORITY_HOST", "")


def _host(authority: str) -> str:
    return (urlsplit(authority if "://" in authority else f"https://{authority}").hostname or "").lower()


def _get_token(credential: Any, scope: str, extra: dict[str, str], options: EntraOptions) -> Any:
    from azure.core.exceptions import AzureError
    from azure.identity import CredentialUnavailableError

    try:
        return credential.get_token(scope, **extra)
    except CredentialUnavailableError as error:
        if "Timed out" in str(error):
            raise SignInError(_refusal(error, options)) from _Unquoted(error)
        raise SignInError(_UNAVAILABLE[options.method], code="sign-in-unavailable") from _Unquoted(error)
    except (AzureError, ValueError, OSError) as error:
        # ValueError: msal on a tenant that is not there. What the prompt raised arrives wrapped into theirs.
        for link in _chain(error):
            if isinstance(link, MedImageParseError):
                raise link from None
        raise SignInError(_refusal(error, options)) from _Unquoted(error)


class _Unquoted(Exception):
    """Stands for a library's exception in a traceback: its type, not its text, which may quote what a server said or was sent."""

    def __init__(self, error: BaseException):
        super().__init__(type(error).__name__)


def _refusal(error: BaseException, options: EntraOptions) -> str:
    message = str(error)
    unreachable = _unreachable(error, options)
    if unreachable:
        return unreachable
    code = re.search(r"AADSTS(\d+)", message)
    how = _METHOD_NAMES[options.method]
    if code and code[1] in _CODES:
        return Sentence(
            "Microsoft Entra refused the sign-in with {how}: {codes} (AADSTS{code}).", how=how, codes=_CODES[code[1]], code=code[1]
        )
    if code:
        return Sentence(
            "Microsoft Entra refused the sign-in with {how} (AADSTS{code}): give this code to your administrator.", how=how, code=code[1]
        )
    if re.search(r"Timed out (after )?waiting|expired_token|code_expired", message):
        return "Nobody finished the sign-in in time: start again, and enter the code or answer the browser within its time."
    if "authorization_declined" in message or "access_denied" in message:
        return "The sign-in was declined: start again and approve it."
    if options.method == "default":
        return _UNAVAILABLE["default"]
    if "tenant" in message.lower():
        return Sentence(
            "Microsoft Entra does not know the tenant of the sign-in with {how}: check the tenant id and the sign-in host.", how=how
        )
    return Sentence("The sign-in with {how} failed: check the tenant id, the client id and the sign-in host, then try again.", how=how)


def _unreachable(error: BaseException, options: EntraOptions) -> str:
    """The sentence for a sign-in server that does not answer, "" if that is not what happened."""
    names = " ".join(f"{type(link).__module__}.{type(link).__name__}" for link in _chain(error))
    where = _host(options.authority or _environment_authority() or "login.microsoftonline.com")
    if options.method == "managed-identity":
        where = Sentence("of the managed identity")
    if "SSLError" in names or "CertificateError" in names or "SSLCertVerificationError" in names:
        return Sentence(
            "The certificate of the sign-in server {where} is not trusted: where a proxy of your organization "
            "replaces certificates, {give_authority}.",
            where=where,
            give_authority=GIVE_AUTHORITY,
        )
    if "ProxyError" in names:
        return "The proxy did not let the sign-in through: check the proxy's address and whether it asks for a sign-in of its own."
    if "ServiceRequest" in names or "ServiceResponse" in names or "requests.exceptions" in names:
        return Sentence("The sign-in server {where} cannot be reached: check the network and the proxy, then try again.", where=where)
    return ""


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and those behind it, azure-core's `inner_exception` included."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = getattr(current, "inner_exception", None) or current.__cause__ or current.__context__
    return chain


def _interruptible(call: Callable[[], Any], cancellation: Cancellation | None) -> Any:
    """Run a call that nobody can interrupt (azure-identity sleeps between its polls) and stop waiting for it when the person cancels.

    Its thread then ends by itself, at the latest when the code that it waits for expires.
    """
    if cancellation is None:
        return call()
    cancellation.check()
    outcome: list[Any] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:  # handed over to the waiting thread, whatever it is
            outcome.append((None, error))
        done.set()

    threading.Thread(target=work, name="Entra sign-in", daemon=True).start()
    forget = cancellation.on_cancel(done.set)
    try:
        done.wait()
    finally:
        forget()
    if not outcome:
        raise Cancelled("The sign-in was cancelled.")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def make_session(ca_bundle: str = "", proxy: str = "") -> requests.Session:
    """A session that verifies certificates against the usual authorities, the operating system's, and those of `ca_bundle`.

    Args:
        ca_bundle: PEM file of extra certificate authorities, "" for none.
        proxy: proxy URL, "" for the environment's.

    Raises:
        UsageError: the bundle is missing or holds no certificate.
    """
    import requests
    from requests.adapters import HTTPAdapter

    context = tls_context(ca_bundle)

    class TrustingAdapter(HTTPAdapter):
        """requests adds its own bundle to the context it is given here; verification stays on."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **kwargs)

    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # nothing that unfolds
    session.mount("https://", TrustingAdapter())
    # With an authentication of its own, even one that adds nothing, requests does not look into ~/.netrc.
    session.auth = lambda request: request
    if proxy:
        session.proxies = {"http": proxy, "https": proxy}
    return session
