"""What may be written as an endpoint's URL, and what a report may repeat of it.

Takes keys and tokens out of any text before a person, a log or a file sees it.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from ..errors import UsageError

DIALECTS = ("auto", "azureml", "mlflow")


@dataclass(slots=True, frozen=True)
class Address:
    """An endpoint's URL, taken apart and found acceptable.

    Attributes:
        url: as it is sent to, query included.
        name: scheme, host and path: the only part that reports, logs and errors repeat (a query may hold a secret).
        host: lower case, without brackets.
        port: the port that is connected to.
        is_https: TLS or not.
        is_loopback: this very computer.
    """

    url: str
    name: str
    host: str
    port: int
    is_https: bool
    is_loopback: bool

    @property
    def place(self) -> str:
        """host, with the port where it is not the scheme's usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_https else 80) else f"{host}:{self.port}"


def is_loopback_host(host: str) -> bool:
    """Whether a host name or IP address literal means this very computer."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def parse_address(url: str, *, allow_plain_http: bool = False) -> Address:
    """Take an endpoint's URL apart.

    Args:
        url: what the person typed.
        allow_plain_http: whether http (not https) to another computer is acceptable.

    Raises:
        UsageError: no scheme, another scheme than http or https, no host, a user name or password inside, a bad port, or
            plain http to another computer without leave. The sentence never repeats user name, password or query.
    """
    text = url.strip()
    parts, port = _split(text)
    host = (parts.hostname or "").lower().rstrip(".")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"The endpoint's URL holds a user name or password before {host or 'the host'}: take it out, and give "
            "the key with --key-file or MEDIMAGEPARSE_KEY."
        )
    if not host or any(character.isspace() for character in text):
        raise UsageError(
            "The endpoint's URL names no host, or has a space in it: it should look like https://name.region.inference.ml.azure.com/score."
        )
    is_https = parts.scheme == "https"
    bracketed = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{bracketed}{f':{port}' if port else ''}{parts.path}"
    address = Address(text.partition("#")[0], shown, host, port or (443 if is_https else 80), is_https, is_loopback_host(host))
    if not is_https and not address.is_loopback and not allow_plain_http:
        raise UsageError(
            "The endpoint's URL is plain http, so images would cross the network readable by anyone: use "
            f"https://{bracketed}, or allow plain http for this endpoint in its profile."
        )
    return address


def resolve_dialect(dialect: str, address: Address) -> str:
    """ "azureml" or "mlflow" for an option of "auto", "azureml" or "mlflow": a path ending in /invocations is mlflow.

    Raises:
        UsageError: any other word.
    """
    if dialect not in DIALECTS:
        raise UsageError(f"The dialect '{dialect}' is not known: use one of {', '.join(DIALECTS)}.")
    if dialect != "auto":
        return dialect
    return "mlflow" if urlsplit(address.url).path.rstrip("/").endswith("/invocations") else "azureml"


def _split(text: str) -> tuple[SplitResult, int | None]:
    example = "https://name.region.inference.ml.azure.com/score or http://localhost:5001/score"
    if "://" not in text:
        raise UsageError(f"The endpoint's URL must begin with https:// (or http:// for this computer): it should look like {example}.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"The endpoint's URL cannot be read, perhaps for its port: it should look like {example}.") from None
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"The endpoint's URL begins with {parts.scheme}://, which is not spoken here: it should look like {example}.")
    return parts, port


_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=\-]{6,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
HIDDEN = "(hidden)"


class Scrubber:
    """Knows the secrets that were used so far and blanks them, and anything shaped like a token, out of text."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "Scrubber()"

    def learn(self, *secrets: str) -> None:
        """Remember secrets; of an Authorization value such as "Bearer abc", the part after the word as well."""
        with self._lock:
            for secret in secrets:
                for form in (secret, secret.partition(" ")[2]):
                    if len(form) >= 4:
                        self._secrets.update((form, quote(form, safe="")))

    def clean(self, text: str) -> str:
        """The text with every known secret, and every word shaped like one, hidden."""
        with self._lock:
            secrets = sorted(self._secrets, key=len, reverse=True)
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        return _JWT.sub(HIDDEN, _BEARER.sub(HIDDEN, text))

    def clean_bytes(self, content: bytes) -> bytes:
        """A reply with every known secret starred out, so that nothing that is made of it later can repeat one.

        Only secrets of eight letters and more, which data does not hold by chance; the length stays, so that JSON stays JSON.
        """
        with self._lock:
            secrets = [secret.encode() for secret in self._secrets if len(secret) >= 8]
        for secret in secrets:
            if secret in content:
                content = content.replace(secret, b"*" * len(secret))
        return content

    def quote(self, content: bytes | str, limit: int = 200) -> str:
        """The beginning of a reply as one line that is safe to show: scrubbed first, then cut to `limit` characters."""
        text = content[:65536].decode("utf-8", "replace") if isinstance(content, (bytes, bytearray)) else content
        text = _CONTROL.sub(" ", self.clean(text)).strip()
        return text if len(text) <= limit else text[:limit].rstrip() + "…"
