"""Image data leaves this computer only for hosts that the person has agreed to, each asked about once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from ..configuration import configuration_folder, write_atomically
from ..errors import ConsentError
from ..redaction import redactor
from ..remedies import AGREE, Sentence, joined
from ..transport.address import is_loopback_host, parse_address

CONSENT_FILE = "consent.json"
_LARGEST_BUNDLE = 16 * 2**20  # bytes of a certificate file
WHAT_LEAVES = (
    "What leaves this computer is the voxels or pixels, their spacing and orientation, and the prompts; "
    "no names, dates or other fields of the file."
)
_log = logging.getLogger(__name__)


class ConsentStore:
    """The hosts that were agreed to: a JSON list in the configuration folder. Read afresh each time, so that two programs agree.

    Args:
        path: the file; None for consent.json in the configuration folder.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else configuration_folder() / CONSENT_FILE

    def hosts(self) -> list[str]:
        """Agreed hosts, sorted. A damaged file counts as no consent at all: the person is asked again."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("The list of agreed hosts cannot be read (%s), so consent is asked for again.", type(error).__name__)
            return []
        return sorted({host for host in content if isinstance(host, str)}) if isinstance(content, list) else []

    def has(self, host: str) -> bool:
        """Whether the person has agreed to a host, or to a way to it as `destination` writes it, before."""
        return host.lower() in self.hosts()

    def grant(self, host: str) -> None:
        """Remember that the person agreed. Where the file cannot be written the consent counts for this time only."""
        try:
            write_atomically(self.path, json.dumps(sorted({*self.hosts(), host.lower()}), indent=1) + "\n")
        except OSError as error:
            _log.warning("The consent could not be remembered (%s): it will be asked for again.", type(error).__name__)

    def withdraw(self, host: str) -> None:
        """Forget a host and all ways to it, or one way: the next request asks again.

        Raises:
            OSError: the file cannot be written; the consent stands.
        """
        gone = host.lower()
        left = [known for known in self.hosts() if known != gone and not known.startswith(f"{gone} ")]
        write_atomically(self.path, json.dumps(left, indent=1) + "\n")


def destination(url: str, proxy: str = "", ca_bundle: str = "") -> str:
    """What a person agrees to: a host and, where a profile or an option adds them, the proxy and the certificates on the way to it.

    Args:
        url: the endpoint's.
        proxy: the profile's; the environment's belongs to the computer and is not asked about.
        ca_bundle: file or folder of the extra certificate authorities. It counts by its content, so that a replaced one is asked about.

    Raises:
        UsageError: it is not a URL.
    """
    host = parse_address(url, allow_plain_http=True).host
    through = f" through {_place(proxy)}" if proxy else ""
    trusting = f" with certificates {_digest(ca_bundle)}" if ca_bundle else ""
    return f"{host}{through}{trusting}".lower()


def _place(proxy: str) -> str:
    """A proxy without its scheme, and without the name and password that it may hold."""
    return proxy.rpartition("@")[2].rpartition("://")[2]


def _digest(path: str) -> str:
    """The beginning of the SHA-256 of a file, or of the files of a folder; of the path where there is nothing to read."""
    found = hashlib.sha256()
    try:
        names = sorted(os.path.join(path, name) for name in os.listdir(path)) if os.path.isdir(path) else [path]
        for name in names:
            found.update(os.path.basename(name).encode("utf-8", "surrogateescape") if os.path.isdir(path) else b"")
            if os.path.isfile(name):
                with open(name, "rb") as stream:
                    found.update(stream.read(_LARGEST_BUNDLE))
    except OSError:
        found.update(path.encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:24]


def missing_consents(
    url: str, store: ConsentStore, *, images: bool = True, signs_in: bool = False, proxy: str = "", ca_bundle: str = ""
) -> list[str]:
    """What the person has still to agree to before a request goes to this URL on this way, as `ConsentStore.grant` takes it.

    Nothing for this very computer. A key or token is asked about with the host where that is Azure ML's, whose endpoints keys and tokens
    are made for, and for itself elsewhere: agreeing that images go to a host does not say that a key in the environment is meant for it.

    Args:
        url: the endpoint's.
        store: what was agreed before.
        images: image data would go.
        signs_in: a key or token would go.
        proxy: the profile's, "" for none; see `destination`.
        ca_bundle: file or folder of extra certificate authorities, "" for none.

    Raises:
        UsageError: it is not a URL.
    """
    address = parse_address(url, allow_plain_http=True)
    if is_loopback_host(address.host):
        return []
    place = destination(url, proxy, ca_bundle)
    asked = [place] if images or (signs_in and address.is_azure_ml) else []
    asked += [f"{place} (key)"] if signs_in and not address.is_azure_ml else []
    return [each for each in asked if not store.has(each)]


def require_consent(
    url: str, granted: bool, store: ConsentStore, *, images: bool = True, signs_in: bool = False, proxy: str = "", ca_bundle: str = ""
) -> None:
    """Let image data or a sign-in go to this URL, or refuse.

    Args:
        url: the endpoint's.
        granted: the person says yes now (`--consent`, a box in the dialog, a profile's flag); remembered for the host and the way to it.
        store: what was agreed before.
        images: image data would go.
        signs_in: a key or token would go.
        proxy: as in `missing_consents`.
        ca_bundle: as in `missing_consents`.

    Raises:
        ConsentError: a host other than this computer that nobody has agreed to.
        UsageError: it is not a URL.
    """
    missing = missing_consents(url, store, images=images, signs_in=signs_in, proxy=proxy, ca_bundle=ca_bundle)
    if not missing:
        return
    if not granted:
        host, way = parse_address(url, allow_plain_http=True).host, in_words(proxy, ca_bundle)
        raise ConsentError(_NOT_AGREED[images, signs_in], host=host, way=way, agree=AGREE)
    for each in missing:
        store.grant(each)


_NOT_AGREED = {
    (True, False): "Image data would leave this computer for {host}{way}, and nobody has agreed to that yet: {agree}.",
    (False, True): "A key or token would leave this computer for {host}{way}, and nobody has agreed to that yet: {agree}.",
    (True, True): "Image data and a key or token would leave this computer for {host}{way}, and nobody has agreed to that yet: {agree}.",
}


def in_words(proxy: str = "", ca_bundle: str = "") -> str:
    """The way to a host for a sentence, "" where nothing is added to the usual one."""
    through = [Sentence(" through the proxy {proxy}", proxy=redactor.quote(_place(proxy), 100))] if proxy else []
    trusting = [Sentence(", trusting the certificates in {ca_bundle}", ca_bundle=redactor.quote(ca_bundle, 100))] if ca_bundle else []
    return joined([*through, *trusting], "")
