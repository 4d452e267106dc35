"""Keeps an eye on one try of a request: where it stands, when it must end, and whether the person has stopped it.

A blocking socket call cannot be woken from another thread on every platform, and a thread that sits in one cannot be ended. So no
socket here ever blocks for longer than `SLICE`: it wakes, asks the watch of the thread it runs in, and goes on. That gives three things
with no second thread: cancelling works at any moment, a deadline covers the whole reply (an endpoint that trickles bytes cannot stretch
it), and progress is told while the model works. Only the name look-up needs a thread of its own, because it cannot be sliced.
"""

from __future__ import annotations

import select
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..progress import Cancellation, Progress, no_progress
from . import faults
from .address import is_loopback_host
from .certificate import PeerCertificate, read_peer

SLICE = 0.05  # seconds; cancelling is felt within two of these
CHUNK = 64 * 1024  # bytes handed to a socket at once
_TELL_EVERY = 0.1  # seconds between two words on progress


@dataclass(slots=True, frozen=True)
class Timeouts:
    """Seconds that each phase of one try may take.

    Attributes:
        connect: name look-up, connection, the proxy's tunnel and the TLS handshake together.
        reply: from the last byte sent to the last byte received.
        stall: the longest time in which an upload makes no headway at all.
        is_chosen: a person chose `reply`, so it stays as it is for an engine on this computer that needs longer.
    """

    connect: float = 10.0
    reply: float = 190.0
    stall: float = 60.0
    is_chosen: bool = False


class Watch:
    """One try: its phase, its deadline and its cancellation. Used by the sockets of the thread that is inside `watching`."""

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        place: str = "",
        upload_bytes: int = 0,
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
        most_received: int = 2**40,
    ) -> None:
        self.most_received = most_received
        self._bytes_received = 0
        self.timeouts = timeouts
        self.place = place
        self.upload_bytes = upload_bytes
        self.sent_bytes = 0
        self.phase = "connecting"
        self.on_uploaded: Callable[[], None] = lambda: None
        self.peer: PeerCertificate | None = None  # what the last TLS handshake showed
        self._progress = progress
        self._cancellation = cancellation or Cancellation()
        self._waiting_since = 0.0
        self._told = 0.0
        self._stage = ""
        self.begin()

    def check(self) -> None:
        """Raises Cancelled when the person has stopped the work, FaultError when the phase has taken too long."""
        self._cancellation.check()
        if time.monotonic() > self._deadline:
            seconds = {"connecting": self.timeouts.connect, "uploading": self.timeouts.stall}.get(self.phase, self.timeouts.reply)
            raise faults.FaultError(faults.too_slow(self.phase, self.place, seconds))

    def idle(self) -> None:
        """To be called whenever a socket had nothing to do for a slice."""
        self.check()
        if self.phase == "waiting":
            self._tell("model working", time.monotonic() - self._waiting_since, 0)

    def received(self, count: int) -> None:
        """Bytes came in, of whatever kind. Headers, chunk sizes and trailers without end are stopped here.

        Raises:
            FaultError: more than the whole reply can need.
        """
        self._bytes_received += count
        if self._bytes_received > self.most_received:
            raise faults.FaultError(faults.reply_too_large(self.place, 0, self.most_received))

    def begin(self) -> None:
        """The connection is being made now: waiting for a turn before that does not count."""
        self._deadline = time.monotonic() + self.timeouts.connect

    def uploading(self, sent: int) -> None:
        """`sent` bytes of the body have left so far."""
        self.phase = "uploading"
        self.sent_bytes = sent
        self._deadline = time.monotonic() + self.timeouts.stall
        self._tell("uploading", sent, self.upload_bytes, at_once=sent >= self.upload_bytes)

    def moved(self) -> None:
        """Some bytes of the upload got through: it is slow, not stuck."""
        if self.phase == "uploading":
            self._deadline = time.monotonic() + self.timeouts.stall

    def uploaded(self) -> None:
        """The last byte has been sent (or the endpoint answers already): from here on the clock of the reply runs."""
        if self.phase in ("connecting", "uploading"):
            self.phase = "waiting"
            self._waiting_since = time.monotonic()
            self._deadline = self._waiting_since + self.timeouts.reply
            self.on_uploaded()
            self._tell("model working", 0, 0, at_once=True)

    def seconds_waited(self) -> float:
        """Since the last byte was sent; 0 before that."""
        return time.monotonic() - self._waiting_since if self._waiting_since else 0.0

    def downloading(self, received: int, total: int) -> None:
        """The headers of the reply are here, and `received` bytes of it (total 0: not known)."""
        self.phase = "downloading"
        self.check()
        self._tell("downloading", received, total, at_once=bool(total) and received >= total)

    def _tell(self, stage: str, done: float, total: float, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or stage != self._stage or now - self._told >= _TELL_EVERY:
            self._told, self._stage = now, stage
            self._progress(stage, done, total)


_in_this_thread = threading.local()


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Within the block, every watched socket of this thread asks `watch`."""
    before = getattr(_in_this_thread, "watch", None)
    _in_this_thread.watch = watch
    try:
        yield watch
    finally:
        _in_this_thread.watch = before


def current() -> Watch:
    """The watch of this thread; outside of `watching`, one that gives up after the usual times."""
    return getattr(_in_this_thread, "watch", None) or Watch(Timeouts())


class _Watched:
    """Mixed into a socket class: the same calls, in slices, each slice asking the watch."""

    _early = b""

    def settimeout(self, value: float | None) -> None:
        """Whatever urllib3 or ssl ask for, the socket keeps its slice; the watch keeps the deadlines."""
        super().settimeout(SLICE)  # type: ignore[misc]

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything, unless the endpoint answers before it has heard everything (413, 401): then BrokenPipeError.

        urllib3 takes a BrokenPipeError as "look whether there is a reply", which is what is wanted: a person should not wait for
        100 MB to be uploaded before reading that 50 MB are the limit.
        """
        watch = current()
        view = memoryview(data).cast("B")
        while len(view):
            watch.check()
            if watch.phase == "uploading" and self._answers_already():
                raise BrokenPipeError("the other side answered before the upload was complete")
            try:
                count = super().send(view[:CHUNK], flags)  # type: ignore[misc]
            except TimeoutError:
                watch.idle()
                continue
            if count:
                watch.moved()
            view = view[count:]

    def recv_into(self, buffer: Any, nbytes: int | None = 0, flags: int = 0) -> int:
        """Receive what is there, waiting in slices."""
        watch = current()
        if watch.phase == "uploading":
            watch.uploaded()  # the caller stopped sending: it is listening now
        if self._early:
            view = memoryview(buffer).cast("B")
            count = min(len(view), len(self._early), nbytes or len(view))
            view[:count] = self._early[:count]
            self._early = self._early[count:]
            return count
        while True:
            watch.check()
            try:
                count = super().recv_into(buffer, nbytes or 0, flags)  # type: ignore[misc]
                watch.received(count)
                return count
            except TimeoutError:
                watch.idle()

    def _answers_already(self) -> bool:
        if not is_ready(self, "read", 0):  # type: ignore[arg-type]
            return False
        super().settimeout(0.0)  # type: ignore[misc]
        try:
            # Over TLS a readable socket may hold no more than a session ticket, so it takes a real read to know.
            self._early = super().recv(CHUNK)  # type: ignore[misc]
            return True
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        finally:
            super().settimeout(SLICE)  # type: ignore[misc]


class WatchedSocket(_Watched, socket.socket):
    """A TCP socket that never blocks for longer than a slice."""


class WatchedTLSSocket(_Watched, ssl.SSLSocket):
    """The same over TLS; contexts make it through their `sslsocket_class`."""

    def do_handshake(self, block: bool = False) -> None:
        """The handshake in slices; a failed check of the certificate keeps its type."""
        watch = current()
        try:
            while True:
                watch.check()
                try:
                    super().do_handshake(block)
                    break
                except TimeoutError:
                    watch.idle()
        except BaseException:
            watch.peer = read_peer(self)
            self.close()
            raise
        watch.peer = read_peer(self)  # truststore verifies only now, on Windows and macOS


def is_ready(sock: socket.socket, direction: str, seconds: float) -> bool:
    """Whether a socket can be read ("read") or written ("write") within some seconds.

    poll() where there is one: select() fails on file numbers beyond 1023, and Slicer opens many files.
    """
    event = selectors.EVENT_READ if direction == "read" else selectors.EVENT_WRITE
    kind = selectors.PollSelector if hasattr(select, "poll") else selectors.SelectSelector
    with kind() as selector:
        selector.register(sock, event)
        return bool(selector.select(seconds))


def connect(host: str, port: int, *, is_proxy: bool = False, options: Any = ()) -> WatchedSocket:
    """A connection to a host, address by address, under the watch of this thread.

    Raises:
        FaultError: the name is not known, nobody listens, no route, or it took too long.
        Cancelled: the person stopped it, at most a slice ago.
    """
    last: OSError | None = None
    for family, kind, protocol, _, address in _look_up(host, port, is_proxy):
        sock = WatchedSocket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            _connect_in_slices(sock, address)
            return sock
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
    raise faults.FaultError(faults.no_connection(host, port, last, is_proxy, is_loopback_host(host)))


def _connect_in_slices(sock: WatchedSocket, address: Any) -> None:
    watch = current()
    sock.setblocking(False)
    try:
        sock.connect(address)
    except (BlockingIOError, InterruptedError):
        while not is_ready(sock, "write", SLICE):
            watch.idle()
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"connect failed with {code}") from None
    sock.settimeout(SLICE)
    watch.check()


def _look_up(host: str, port: int, is_proxy: bool) -> list[Any]:
    """getaddrinfo in a daemon thread: the system gives no way to stop it, so a cancelled one is left to end by itself."""
    found: list[Any] = []
    failed: list[OSError] = []
    done = threading.Event()

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, "not a host name"))
        finally:
            done.set()

    watch = current()
    watch.check()
    threading.Thread(target=ask, name="name look-up", daemon=True).start()
    while not done.wait(SLICE):
        watch.idle()
    if failed or not found:
        raise faults.FaultError(faults.name_not_found(host, failed[0] if failed else None, is_proxy))
    return found
