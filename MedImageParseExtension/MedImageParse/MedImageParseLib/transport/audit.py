"""A record of what left this computer: one line of JSON a request, in a file that the person can open and switch off.

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

from .folders import configuration_folder, write_atomically

AUDIT_FILE = "audit.jsonl"
_SWITCH_FILE = "audit-off"
_log = logging.getLogger(__name__)


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
            _log.warning("The audit file could not be written (%s).", type(error).__name__)

    @property
    def _switch(self) -> Path:
        return self.path.with_name(_SWITCH_FILE)
