"""What may be written as an endpoint's URL, and what a report may repeat of it.

The host that is shown is the host that is called: what programs read differently (a back-slash, an encoded or look-alike letter, a number
in the place of an IP address) is refused, and a name in another script is shown, and called, as punycode.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from ..errors import UsageError
from ..redaction import is_plain
from ..remedies import ALLOW_PLAIN_HTTP, KEY_NOT_IN_URL, Sentence

DIALECTS = ("auto", "azureml", "mlflow")
# Hosts of Azure ML's online endpoints, in the public cloud and the two others. Source: the endpoints' own scoring URLs and
# learn.microsoft.com/azure/machine-learning/how-to-network-security-overview
_AZURE_ML = (".inference.ml.azure.com", ".inference.ml.azure.us", ".inference.ml.azure.cn")
_EXAMPLE = "https://name.region.inference.ml.azure.com/score or http://localhost:5001/score"
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


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
    def query_secrets(self) -> list[str]:
        """The values in the query, which may be keys (`?code=…`); none of them is ever shown."""
        return [value for _, value in parse_qsl(urlsplit(self.url).query) if len(value) >= 8]

    @property
    def is_azure_ml(self) -> bool:
        """Whether the host belongs to Azure ML's online endpoints: keys and tokens of endpoints are at home there."""
        return self.is_https and self.host.endswith(_AZURE_ML)

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
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def parse_address(url: str, *, allow_plain_http: bool = False) -> Address:
    """Take an endpoint's URL apart.

    Args:
        url: what the person typed.
        allow_plain_http: whether http (not https) to another computer is acceptable.

    Raises:
        UsageError: no scheme, another scheme than http or https, no host or one that can be read in two ways, a user name or password
            inside, a bad port, or plain http to another computer without leave. The sentence never repeats user name, password or query.
    """
    text = url.strip(" \t\r\n")
    parts, port = _split(text)
    if parts.username is not None or parts.password is not None:
        host = (parts.hostname or "").lower()
        before = host if host and _HOST.fullmatch(host) else Sentence("the host")
        raise UsageError(
            "The endpoint's URL holds a user name or password before {before}: take it out, and {key_not_in_url}.",
            before=before,
            key_not_in_url=KEY_NOT_IN_URL,
        )
    host = checked_host(parts.hostname or "", Sentence("The endpoint's URL"))
    is_https = parts.scheme == "https"
    bracketed = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{bracketed}{f':{port}' if port else ''}"
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    address = Address(origin + rest, origin + parts.path, host, port or (443 if is_https else 80), is_https, is_loopback_host(host))
    if _is_unspecified(host):
        raise UsageError(
            "The endpoint's URL has the address {bracketed}, at which a server listens but nobody can call it: on the server's own computer use {scheme}://127.0.0.1{detail}{path}, elsewhere that computer's name.",
            bracketed=bracketed,
            scheme=parts.scheme,
            detail=f":{port}" if port else "",
            path=parts.path,
        )
    if not is_https and not address.is_loopback and not allow_plain_http:
        raise UsageError(
            "The endpoint's URL is plain http, so images would cross the network readable by anyone: if the server "
            "speaks https, use https://{bracketed}{port}{path}; else {allow_plain_http}.",
            bracketed=bracketed,
            port=f":{port}" if port else "",
            path=parts.path,
            allow_plain_http=ALLOW_PLAIN_HTTP,
        )
    return address


def checked_host(host: str, where: str) -> str:
    """A host as it is called and shown: lower case, punycode for other scripts, an IP address in its usual form.

    Args:
        host: a name or an IP address without brackets, as a URL holds it.
        where: begins the sentence, e.g. "The endpoint's URL".

    Raises:
        UsageError: nothing there, or something that programs read in more than one way.
    """
    name = host.lower().rstrip(".")
    if not name:
        raise UsageError("{where} names no host: it should look like {example}.", where=where, example=_EXAMPLE)
    if not name.isascii():
        name = _punycode(name, where)
    if ":" in name:
        try:
            if "%" in name:
                raise ValueError  # a zone, which programs write in several ways
            return ipaddress.IPv6Address(name).compressed
        except ValueError:
            raise UsageError("{where} has an IPv6 address that is none: check it.", where=where) from None
    if not _HOST.fullmatch(name) or ".." in name or len(name) > 253:
        raise UsageError("{where} has a host with letters that no host name has (such as % or \\): write the name itself.", where=where)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise UsageError(
                "{where} has a number in the place of a host: write an IP address as four numbers, or a name.", where=where
            ) from None
    return name


def _punycode(name: str, where: str) -> str:
    """A name in another script as the name system knows it (IDNA). Letters that only look like others are refused."""
    if unicodedata.normalize("NFKC", name) != name:
        raise UsageError("{where} has a host with letters that only look like others: type the name yourself.", where=where)
    try:
        import idna

        return idna.encode(name, uts46=True).decode("ascii")
    except ImportError:
        pass
    except UnicodeError:  # idna.IDNAError is one
        raise UsageError("{where} has a host with letters that no host name has: check it.", where=where) from None
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise UsageError("{where} has a host with letters that no host name has: check it.", where=where) from None


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def resolve_dialect(dialect: str, address: Address) -> str:
    """ "azureml" or "mlflow" for an option of "auto", "azureml" or "mlflow": a path ending in /invocations is mlflow.

    Raises:
        UsageError: any other word.
    """
    if dialect not in DIALECTS:
        raise UsageError("The dialect '{dialect}' is not known: use one of {listed}.", dialect=dialect, listed=", ".join(DIALECTS))
    if dialect != "auto":
        return dialect
    return "mlflow" if urlsplit(address.url).path.rstrip("/").endswith("/invocations") else "azureml"


def _split(text: str) -> tuple[SplitResult, int | None]:
    if "://" not in text:
        raise UsageError(
            "The endpoint's URL must begin with https:// (or http:// for this computer): it should look like {example}.", example=_EXAMPLE
        )
    if not is_plain(text) or any(letter.isspace() for letter in text) or "\\" in text:
        raise UsageError(
            "The endpoint's URL names no host, or has a space, a back-slash or an invisible character in it: it should look like {example}.",
            example=_EXAMPLE,
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(
            "The endpoint's URL cannot be read, perhaps for its port: it should look like {example}.", example=_EXAMPLE
        ) from None
    if parts.scheme not in ("http", "https"):
        raise UsageError(
            "The endpoint's URL begins with {scheme}://, which is not spoken here: it should look like {example}.",
            scheme=parts.scheme,
            example=_EXAMPLE,
        )
    return parts, port
