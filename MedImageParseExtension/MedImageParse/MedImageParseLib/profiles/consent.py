"""Image data leaves this computer only for hosts that the person has agreed to, each asked about once.

A record of what left this computer: one line of JSON a request, in a file that the person can open and switch off.

It holds time, host, model, number of bytes, their SHA-256, the request id and the outcome. No pixel, no prompt, no file name, no key.
Writing it never makes a run fail.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from datetime import datetime, timezone
from pathlib import Path

from ..errors import ConsentError
from ..transport.address import is_loopback_host, parse_address
from .configuration import configuration_folder, write_atomically

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


AUDIT_FILE = "audit.jsonl"
_SWITCH_FILE = "audit-off"
_audit_log = logging.getLogger(__name__)


class AuditLog:
    """Appends to the audit file.

    Args:
        path: the file; None for audit.jsonl in the configuration folder.

    Example:
        >>> client = EndpointClient("http://localhost:5001/score", audit=AuditLog())  # doctest: +SKIP
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else configuration_folder() / AUDIT_FILE
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether requests are recorded: yes, until the person switches it off."""
        return not self._switch.exists()

    def switch(self, on: bool) -> None:
        """Record from now on, or stop recording; remembered. What is in the file stays there.

        Raises:
            OSError: the configuration folder cannot be written.
        """
        if on:
            self._switch.unlink(missing_ok=True)
        else:
            write_atomically(self._switch, "Requests are not recorded while this file exists.\n")

    def digest(self, body: bytes) -> str:
        """SHA-256 of a request's body in hexadecimal, "" while switched off."""
        return hashlib.sha256(body).hexdigest() if self.is_on else ""

    def record(self, *, host: str, model: str, bytes_sent: int, sha256: str, request_id: str, outcome: str) -> None:
        """Add one line. Problems with the file go to the log only.

        Args:
            host: host and port.
            model: which model was asked, "" if not known.
            bytes_sent: how much of the body left.
            sha256: of the whole body.
            request_id: the x-ms-client-request-id.
            outcome: "200", another status, or the kind of the fault, or "cancelled".
        """
        if not self.is_on:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {
            "time": now,
            "host": host,
            "model": model,
            "bytes": bytes_sent,
            "sha256": sha256,
            "request_id": request_id,
            "outcome": outcome,
        }
        data = (json.dumps(line) + "\n").encode("ascii")
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # One write in append mode, so that two programs' lines do not mix.
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(handle, data)
                finally:
                    os.close(handle)
        except OSError as error:
            _audit_log.warning("The audit file could not be written (%s).", type(error).__name__)

    @property
    def _switch(self) -> Path:
        return self.path.with_name(_SWITCH_FILE)
