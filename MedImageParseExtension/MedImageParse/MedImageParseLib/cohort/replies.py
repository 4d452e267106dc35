"""Replies of cases in work, kept on disk as soon as they have come: whatever is killed after that, the request is not sent again.

A reply lies at `.batch/replies/<case>/<digest of the request>`: a line of JSON about it, then its body. While its request is at the
endpoint, the file of that name with ".lock" is held by the process that sends it, which the system ends with that process. Who wants to
send the same request, in a run after one that was killed or on another worker, waits for that lock and finds the reply.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from ..configuration import try_lock
from ..errors import EndpointError, InputError
from ..files.write import write_whole
from ..progress import Cancellation
from ..transport.client import Reply

_LOOK = 0.05  # seconds between two looks at a lock that another process holds
_ENDED = "line.json"
_KEPT = ("request_id", "tries", "wait_s", "bytes_sent", "request_ids", "paused_s", "warnings")


def send_once(folder: Path, body: bytes, send: Callable[[], Reply], cancellation: Cancellation) -> Reply:
    """The reply to a request: the kept one, or the endpoint's, which is kept before anybody sees it.

    Args:
        folder: of the case; made if need be.
        body: the request's; the same body is the same request.
        send: sends it.
        cancellation: ends waiting for another process that sends the same.

    Raises:
        whatever `send` raises, and EndpointError where the endpoint refused it to a run that was killed. Cancelled. UsageError: the reply cannot be written.
    """
    path = place_of(folder, body)
    os.makedirs(folder, exist_ok=True)
    with _held(path.with_name(f"{path.name}.lock"), cancellation):
        kept = read_reply(path)
        if kept is not None:
            return kept
        _raise_refusal(path)
        reply = send()
        write_reply(path, reply)
        return reply


def place_of(folder: Path, body: bytes) -> Path:
    """Where the reply to a request is kept."""
    return folder / hashlib.sha256(body).hexdigest()[:32]


def write_reply(path: Path, reply: Reply) -> None:
    """Keep a reply, whole or not at all."""
    said = {name: value for name, value in asdict(reply).items() if name in _KEPT}

    def write(file: BinaryIO) -> None:
        file.write(json.dumps(said).encode() + b"\n")
        file.write(reply.body)

    write_whole(path, write)


def write_refusal(folder: Path, body: bytes, error: EndpointError) -> None:
    """Keep that the endpoint refused a request until its case has its line: who asks before that hears it in place of sending."""
    said = {"text": str(error), "code": error.code, "request_id": error.request_id, "status": error.status, "tries": error.tries}
    path = place_of(folder, body)
    write_whole(path.with_name(f"{path.name}.refused"), lambda file: file.write(json.dumps(said).encode()))


def _raise_refusal(path: Path) -> None:
    """Raises the error of a request that was refused to a run that was killed before it could write that down, once."""
    kept = path.with_name(f"{path.name}.refused")
    try:
        said = json.loads(kept.read_bytes())
        kept.unlink()
    except (OSError, ValueError):
        return
    raise EndpointError(said.pop("text"), **said)


def read_reply(path: Path) -> Reply | None:
    """A kept reply; None where there is none."""
    try:
        with open(path, "rb") as file:
            said = json.loads(file.readline())
            return Reply(file.read(), **said)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise InputError("The kept reply {path} cannot be read; delete that file.", path=path) from error


def write_ended(folder: Path, entry: dict) -> None:
    """Keep the line of a case that has ended, for whoever is told to do it again: a scheduler may, when it has lost a worker."""
    os.makedirs(folder, exist_ok=True)
    write_whole(folder / _ENDED, lambda file: file.write(json.dumps(entry).encode()))


def read_ended(folder: Path, fingerprint: str) -> dict | None:
    """The line of a case that has ended with this fingerprint; None where it has not."""
    try:
        entry = json.loads((folder / _ENDED).read_bytes())
    except (OSError, ValueError):
        return None
    return entry if entry.get("fingerprint") == fingerprint else None


def keep_line_only(folder: Path) -> None:
    """Take away a case's replies, but not its line."""
    for path in folder.glob("*"):
        if path.name != _ENDED:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _held(path: Path, cancellation: Cancellation) -> Iterator[None]:
    with open(path, "a+b") as file:
        while not try_lock(file.fileno()):
            cancellation.check()
            time.sleep(_LOOK)
        yield
