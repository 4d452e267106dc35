"""The sender of a batch: a process of its own that carries requests to the endpoint and keeps the replies.

A run that is killed (kill -9, out of memory, a crash) cannot finish what it has at the endpoint. This process can: it is in a session of
its own, notices that nobody asks any more, sends nothing further, waits for the replies to what it has sent, keeps them (see `replies`),
and ends. The next run takes them from there. So a request is on the wire once, whatever happens to the run; only where this process itself
or the computer dies while a request is at the endpoint, that one is sent again.

Frames to it on its standard input: four bytes, the length of a JSON object; the object; then `size` bytes of a body.

    {"op": "connect", "endpoint": …, "profile": …, "at_once": 4, "options": {…}}        a key travels here, never in arguments or files
    {"op": "send", "number": 1, "folder": …, "options": {"max_reply_bytes": …, "model": …, "work": …}, "size": 8123}
    {"op": "cancel"}                    everything that is in its hands
    {"op": "drop"}                      what has not left yet

From it on its standard output, a JSON object a line: {"number": 1}, or with "error", or {"prompt": […]} to sign in with a device code.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from .. import errors
from ..errors import Cancelled, EndpointError, MedImageParseError
from ..program import NAME_FOR_PROCESSES, command_name, python_executable
from ..progress import Cancellation, Progress, no_progress
from ..tasks.run import about_of
from ..transport.about import About
from ..transport.client import EndpointClient, Reply
from .replies import place_of, read_reply, send_once, write_refusal

_SPARE = 2  # requests that may be ready in the sender beyond those at the endpoint, so that none waits for the run
_PATIENCE = 5.0  # seconds for the sender to end by itself
_PACKAGE = Path(__file__).resolve().parents[1]


class DirectSender:
    """Sends in this process; for a connection that somebody else owns.

    Args:
        client: where to.
    """

    def __init__(self, client: Any):
        self.client = client

    def send(self, folder: Path, body: bytes, *, cancellation: Cancellation, **options: Any) -> Reply:
        """The reply to a request of the case that `folder` belongs to."""

        def ask() -> Reply:
            return self.client.send(body, cancellation=cancellation, **options)

        return send_once(folder, body, ask, cancellation)

    def begin(self) -> None:
        """Nothing to begin."""

    def cancel(self) -> None:
        """The requests' own cancellation stops them."""

    def drop(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing to end."""


class Courier:
    """Sends through a process of its own. `send` may be called from several threads.

    Args:
        endpoint, profile: as `connect` takes them.
        options: further options of `connect`, plain JSON values.
        at_once: most requests at the endpoint at the same time.
        show_device_code: shows a person where to enter a code; None where nobody is there.
    """

    def __init__(
        self, endpoint: str | None, profile: str | None, options: dict, at_once: int, show_device_code: Callable[..., None] | None = None
    ):
        self._waiting: dict[int, Future] = {}
        self._number = 0
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._room = threading.Semaphore(at_once + _SPARE)
        self._show = show_device_code
        given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
        self._connect = {"op": "connect", "endpoint": endpoint, "profile": profile, "at_once": at_once, "options": given}
        self._process: subprocess.Popen | None = None  # begun with the first case that is due

    def _begin(self) -> subprocess.Popen:
        environment = os.environ | {NAME_FOR_PROCESSES: command_name()}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PACKAGE.parent), environment.get("PYTHONPATH", ""))))
        apart: dict[str, Any] = {"creationflags": 0x00000200} if sys.platform == "win32" else {"start_new_session": True}
        process = subprocess.Popen(
            [python_executable(), "-m", f"{_PACKAGE.name}.cohort.courier"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, **apart,
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(process.stdout,), name="medimageparse-courier", daemon=True).start()
        _write_frame(process.stdin, self._connect, b"")  # type: ignore[arg-type]
        return process

    def send(self, folder: Path, body: bytes, *, cancellation: Cancellation, **options: Any) -> Reply:
        """The reply to a request of the case that `folder` belongs to.

        Args:
            folder: of the case's replies.
            body: the request's.
            cancellation: gives it up.
            options: further ones of `EndpointClient.send`, plain JSON values.

        Raises:
            as `EndpointClient.send` does; EndpointError too where the sender has died.
        """
        kept = read_reply(place_of(folder, body))
        if kept is not None:
            return kept
        with self._room:
            cancellation.check()
            future: Future = Future()
            with self._lock:
                self._number += 1
                number = self._number
                self._waiting[number] = future
            forget = cancellation.on_cancel(lambda: _fail(future, Cancelled()))
            try:
                more = {"folder": str(folder), "options": options, "size": len(body)}
                self._tell({"op": "send", "number": number, **more}, body)
                future.result()
            finally:
                forget()
                with self._lock:
                    self._waiting.pop(number, None)
        reply = read_reply(place_of(folder, body))
        if reply is None:
            raise _gone()
        return reply

    def begin(self) -> None:
        """Start the process, which is ready by the time the first case is."""
        if self._process is None:
            with self._writing:
                self._process = self._process or self._begin()

    def cancel(self) -> None:
        """Stop what is at the endpoint."""
        self._say("cancel")

    def drop(self) -> None:
        """Give up what has not left yet."""
        self._say("drop")

    def close(self) -> None:
        """End the process, which lasts until the last reply has come."""
        process = self._process
        if process is None:
            return
        with self._writing, suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)

    def _say(self, operation: str) -> None:
        if self._process is not None:
            with suppress(EndpointError):
                self._tell({"op": operation})

    def _tell(self, header: dict, body: bytes = b"") -> None:
        try:
            self.begin()
            with self._writing:
                _write_frame(self._process.stdin, header, body)  # type: ignore[union-attr, arg-type]
        except (OSError, ValueError) as error:
            raise _gone() from error

    def _listen(self, answers: BinaryIO) -> None:
        for line in answers:
            said = json.loads(line)
            if "prompt" in said:
                url, code, expires = said["prompt"]
                if self._show:
                    self._show(url, code, datetime.fromisoformat(expires))
                continue
            with self._lock:
                future = self._waiting.get(said["number"])
            if future is None:
                continue
            if "error" in said:
                _fail(future, _error_from(said["error"]))
            else:
                with suppress(InvalidStateError):  # cancelled meanwhile
                    future.set_result(None)
        with self._lock:
            left = list(self._waiting.values())
        for future in left:
            _fail(future, _gone())


def _fail(future: Future, error: MedImageParseError) -> None:
    with suppress(InvalidStateError):  # it has ended already
        future.set_exception(error)


def _gone() -> EndpointError:
    return EndpointError(
        "The process that sends the requests has ended; run the same command again, which goes on from here.", code="sender"
    )


def _error_as(error: MedImageParseError) -> dict:
    details = {name: getattr(error, name) for name in ("request_id", "status", "tries") if isinstance(error, EndpointError)}
    return {"class": type(error).__name__, "text": str(error), "code": error.code, **details}


def _error_from(said: dict) -> MedImageParseError:
    """The error as the sender raised it, with its class where it is one of `errors`."""
    known = getattr(errors, said.pop("class"), EndpointError)
    text, code = said.pop("text"), said.pop("code")
    return known(text, code=code, **(said if issubclass(known, EndpointError) else {}))


# --- the process -------------------------------------------------------------------------------------------------------


class _Parcel:
    """A request in the sender's hands."""

    def __init__(self, is_alone: threading.Event):
        self.cancellation = Cancellation()
        self._is_alone = is_alone
        self._is_out = False
        self._lock = threading.Lock()

    def progress(self, stage: str, _done: float, _total: float) -> None:
        """Told where the request is, "uploading" before its first byte leaves: what nobody waits for any more is not begun."""
        with self._lock:
            if stage == "uploading" and not self._is_out:
                self._is_out = not self._is_alone.is_set()
            elif stage == "waiting to try again":
                self._is_out = False
        self.drop()

    def drop(self) -> None:
        """Give up what has not left yet, where the run has gone."""
        if self._is_alone.is_set():
            self.stop(everything=False)

    def stop(self, *, everything: bool) -> None:
        """Give it up, if it has not left yet or `everything` is meant."""
        with self._lock:
            is_over = everything or not self._is_out
            self._is_out &= not is_over
        if is_over:
            self.cancellation.cancel()


class _Office:
    """The sender's side: reads frames until their end, and answers."""

    def __init__(self, source: BinaryIO, sink: BinaryIO):
        self._source, self._sink = source, sink
        self._lock = threading.Lock()
        self._is_alone = threading.Event()
        self._parcels: dict[int, _Parcel] = {}
        self._client: EndpointClient | None = None
        self._trouble: MedImageParseError | None = None

    def work(self) -> None:
        with ThreadPoolExecutor(256, thread_name_prefix="medimageparse-send") as pool:
            while (frame := _read_frame(self._source)) is not None:
                header, body = frame
                if header["op"] == "connect":
                    self._connect(header)
                elif header["op"] in ("cancel", "drop"):
                    for parcel in self._all():
                        parcel.stop(everything=header["op"] == "cancel")
                else:
                    parcel = _Parcel(self._is_alone)
                    with self._lock:
                        self._parcels[header["number"]] = parcel
                    pool.submit(self._deliver, header, body, parcel)
                del frame, body
            self._is_alone.set()
            for parcel in self._all():
                parcel.drop()

    def _all(self) -> list[_Parcel]:
        with self._lock:
            return list(self._parcels.values())

    def _connect(self, header: dict) -> None:
        from ..profiles.connection import connect

        def prompt(url: str, code: str, expires_at: datetime) -> None:
            self._say({"prompt": [url, code, expires_at.isoformat()]})

        try:
            self._client = connect(header["endpoint"], header["profile"], show_device_code=prompt, **header["options"])
            self._client.max_in_flight = header["at_once"]
        except MedImageParseError as error:
            self._trouble = error

    def _deliver(self, header: dict, body: bytes, parcel: _Parcel) -> None:
        answer: dict[str, Any] = {"number": header["number"]}
        try:
            if self._client is None:
                raise self._trouble or EndpointError("The sender has no connection.")
            client, progress = self._client, parcel.progress

            def ask() -> Reply:
                try:
                    return client.send(body, progress=progress, cancellation=parcel.cancellation, **header["options"])
                except EndpointError as error:
                    if error.status:  # while the lock is held: the run may be gone before it has written this down
                        write_refusal(Path(header["folder"]), body, error)
                    raise

            send_once(Path(header["folder"]), body, ask, parcel.cancellation)
        except MedImageParseError as error:
            answer["error"] = _error_as(error)
        except Exception as error:  # a fault of ours: the run must not wait for ever
            answer["error"] = _error_as(EndpointError("The sender failed ({kind}).", kind=type(error).__name__, code="sender"))
        with self._lock:
            self._parcels.pop(header["number"], None)
        self._say(answer)

    def _say(self, answer: dict) -> None:
        with self._lock, suppress(OSError):  # the run may have gone
            self._sink.write(json.dumps(answer).encode() + b"\n")
            self._sink.flush()


def _write_frame(sink: BinaryIO, header: dict, body: bytes) -> None:
    text = json.dumps(header).encode()
    sink.write(struct.pack(">I", len(text)) + text)
    if body:
        sink.write(body)
    sink.flush()


def _read_frame(source: BinaryIO) -> tuple[dict, bytes] | None:
    """None at the end, and where a frame was cut off: the run has gone."""
    start = source.read(4)
    if len(start) < 4:
        return None
    text = source.read(struct.unpack(">I", start)[0])
    try:
        header = json.loads(text)
    except ValueError:
        return None
    body = source.read(header.get("size", 0))
    return None if len(body) < header.get("size", 0) else (header, body)


def main() -> None:
    """Work until standard input ends and the last reply has come."""
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever prints does not print between the answers
    _Office(sys.stdin.buffer, sink).work()


class CaseClient:
    """What the tasks need of a connection, for one case: requests go through the sender, and replies are kept.

    Args:
        client: the connection, for its name, dialect and limits; nothing is sent through it.
        sender: sends.
        folder: of the case's replies.
        before_sending: called once, before the first request leaves.
    """

    def __init__(self, client: Any, sender: DirectSender | Courier, folder: Path, before_sending: Callable[[], None] = lambda: None):
        self.name, self.dialect, self.body_limit, self.max_in_flight = client.name, client.dialect, client.body_limit, client.max_in_flight
        self.deployment = getattr(client, "deployment", "")
        self._client, self._sender, self._folder, self._before = client, sender, folder, before_sending
        self._asked: Counter[int] = Counter()  # how often each request was asked for: repeated runs send the same one again
        self._lock = threading.Lock()

    def about(self, *, fresh: bool = False) -> About | None:
        """As EndpointClient.about."""
        return about_of(self._client, fresh=fresh)

    def send(
        self,
        body: bytes,
        *,
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
        max_reply_bytes: int = 64 * 2**20,
        model: str = "",
        work: int = 0,
        slow_again: bool = True,
    ) -> Reply:
        """As EndpointClient.send."""
        if len(body) > self.body_limit:
            from ..transport.faults import body_too_large

            fault = body_too_large(len(body), self.body_limit)
            raise EndpointError(fault.sentence, code=fault.kind)
        with self._lock:
            again = self._asked[hash(body)]
            self._asked[hash(body)] += 1
        self._before()
        folder = self._folder / f"run-{again + 1}" if again else self._folder
        cancellation = cancellation or Cancellation()
        options = {"max_reply_bytes": max_reply_bytes, "model": model, "work": work} | ({} if slow_again else {"slow_again": False})
        return self._sender.send(folder, body, cancellation=cancellation, **options)


if __name__ == "__main__":
    main()
