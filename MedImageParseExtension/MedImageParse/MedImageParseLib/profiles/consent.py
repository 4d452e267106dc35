"""Image data leaves this computer only for hosts that the person has agreed to, each asked about once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ..configuration import configuration_folder, write_atomically
from ..errors import ConsentError
from ..transport.address import is_loopback_host, parse_address

CONSENT_FILE = "consent.json"
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
        """Whether the person has agreed to a host before."""
        return host.lower() in self.hosts()

    def grant(self, host: str) -> None:
        """Remember that the person agreed. Where the file cannot be written the consent counts for this time only."""
        try:
            write_atomically(self.path, json.dumps(sorted({*self.hosts(), host.lower()}), indent=1) + "\n")
        except OSError as error:
            _log.warning("The consent could not be remembered (%s): it will be asked for again.", type(error).__name__)

    def withdraw(self, host: str) -> None:
        """Forget a host: the next request to it asks again.

        Raises:
            OSError: the file cannot be written; the consent stands.
        """
        write_atomically(self.path, json.dumps([known for known in self.hosts() if known != host.lower()], indent=1) + "\n")


def consent_is_needed(url: str, store: ConsentStore) -> bool:
    """Whether the person has to be asked before image data goes to this URL.

    Raises:
        UsageError: it is not a URL.
    """
    host = parse_address(url, allow_plain_http=True).host
    return not is_loopback_host(host) and not store.has(host)


def require_consent(url: str, granted: bool, store: ConsentStore, what: str = "Image data") -> None:
    """Let image data go to this URL, or refuse.

    Args:
        url: the endpoint's.
        granted: the person says yes now (`--consent`, a box in the dialog, a profile's flag); remembered for the host.
        store: what was agreed before.
        what: would leave: image data, or a sign-in.

    Raises:
        ConsentError: a host other than this computer that nobody has agreed to.
        UsageError: it is not a URL.
    """
    if not consent_is_needed(url, store):
        return
    host = parse_address(url, allow_plain_http=True).host
    if not granted:
        raise ConsentError(f"{what} would leave this computer for {host}, and nobody has agreed to that yet: add --consent once if it may.")
    store.grant(host)
