"""A record of what left this computer: one line of JSON a request, in a file that the person can open and switch off.

It holds time, host, model, number of bytes, their SHA-256, the request id and the outcome. No pixel, no prompt, no file name, no key.
Writing it never makes a run fail; what could not be written is said, in the run's warnings and, once there is room again, in the file
itself: `{"time": …, "not_recorded": 3}`. A line that was torn (a full disk, a crash) is closed before the next one is written. A file
that has grown to MOST_BYTES is renamed to audit.jsonl.1, the one before to .2, and so on to .KEPT; older ones are deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from datetime import datetime, timezone
from pathlib import Path

from ..configuration import append_line, configuration_folder, locked, write_atomically
from ..remedies import Sentence

AUDIT_FILE = "audit.jsonl"
MOST_BYTES = 10 * 2**20  # about 40,000 requests
KEPT = 9
_SWITCH_FILE = "audit-off"
_log = logging.getLogger(__name__)


class AuditLog:
    """Appends to the audit file. Safe from any thread and, through a lock file, from any number of programs.

    Args:
        path: the file; None for audit.jsonl in the configuration folder.

    Attributes:
        not_recorded: how many requests could not be recorded and have not been mentioned in the file yet.
        trouble: a sentence about it, "" while all is well.

    Examples:
        >>> client = EndpointClient("http://localhost:5001/score", audit=AuditLog())  # doctest: +SKIP
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else configuration_folder() / AUDIT_FILE
        self.not_recorded = 0
        self.trouble = ""
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether requests are recorded: yes, until the person switches it off."""
        try:
            return not self._switch.exists()
        except OSError:
            return True  # a folder that cannot be looked into; writing will say so

    def switch(self, on: bool) -> None:
        """Record from now on, or stop recording; remembered. What is in the file stays there.

        Args:
            on: True to record.

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
        """Add one line. Problems with the file become `trouble`, never an exception.

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
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "host": host,
            "model": model,
            "bytes": bytes_sent,
            "sha256": sha256,
            "request_id": request_id,
            "outcome": outcome,
        }
        with self._lock:
            try:
                self._append(line)
            except (OSError, TimeoutError) as error:
                self.not_recorded += 1
                self.trouble = Sentence(
                    "{not_recorded} of the requests could not be recorded in {path} ({why}): make room there, or check that "
                    "the file can be written.",
                    not_recorded=self.not_recorded,
                    path=self.path,
                    why=error.strerror or type(error).__name__,
                )
                _log.warning("The audit file could not be written (%s).", type(error).__name__)

    def _append(self, line: dict[str, object]) -> None:
        with locked(self.path):
            self._rotate()
            text = json.dumps(line) + "\n"
            if self.not_recorded:
                text = json.dumps({"time": line["time"], "not_recorded": self.not_recorded}) + "\n" + text
            append_line(self.path, text.encode("ascii"), mode=0o600, is_synced=False)
        self.not_recorded = 0
        self.trouble = ""

    def _rotate(self) -> None:
        """Start a new file where this one is full; called with the lock held."""
        try:
            if self.path.stat().st_size < MOST_BYTES:
                return
        except FileNotFoundError:
            return
        for number in range(KEPT, 0, -1):
            older = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            if older.exists():
                os.replace(older, self.path.with_name(f"{self.path.name}.{number}"))

    @property
    def _switch(self) -> Path:
        return self.path.with_name(_SWITCH_FILE)
