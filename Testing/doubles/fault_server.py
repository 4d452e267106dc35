"""A real server on loopback that misbehaves as it is told: sockets and threads, TLS with its own certificate authority.

A server has a script, one behavior a request; the last one repeats. A behavior is a function of a `Connection`.

Example:
    >>> with FaultServer([status(503), ok()]) as server:  # doctest: +SKIP
    ...     EndpointClient(server.url).send(b"{}").tries
    2
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate

REPLY = [{"image_features": "{}", "text_features": ["liver"]}]


@dataclass
class Seen:
    """One request as the server got it (the body only as far as it was read)."""

    line: str
    headers: dict[str, str]
    body: bytes = b""


class Hangup(Exception):
    """The client went away."""


class Connection:
    """The server's end of one connection, with the little HTTP that the behaviors need."""

    def __init__(self, server: FaultServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.seen = Seen("", {})
        self._ahead = b""

    def read_headers(self) -> Seen:
        while b"\r\n\r\n" not in self._ahead:
            self._ahead += self._receive()
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.seen = Seen(lines[0], {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])})
        self.server.requests.append(self.seen)
        return self.seen

    def read_body(self, limit: int | None = None) -> bytes:
        length = int(self.seen.headers.get("content-length", "0"))
        wanted = length if limit is None else min(limit, length)
        pieces, have = [self._ahead[:wanted]], len(self._ahead[:wanted])
        self._ahead = self._ahead[wanted:]
        while have < wanted:
            piece = self._receive()
            pieces.append(piece[: wanted - have])
            self._ahead = piece[wanted - have :]
            have += len(pieces[-1])
        self.seen.body = b"".join(pieces)
        return self.seen.body

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Hangup from error

    def reply(self, code: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        given = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body) if length is None else length),
            "Date": formatdate(usegmt=True),
        }
        given.update(headers or {})
        head = f"HTTP/1.1 {code} Scripted\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        self.send(head.encode("latin-1") + b"\r\n" + body)

    def reset(self) -> None:
        """Close with a TCP reset, as a crashing peer or an angry firewall does."""
        raw = self.sock
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        raise Hangup

    def wait_for_hangup(self) -> None:
        """Do nothing until the client goes away or the server stops."""
        while not self.server.stopping.is_set():
            readable, _, _ = select.select([self.sock], [], [], 0.02)
            if readable:
                self._receive()
        raise Hangup

    def _receive(self) -> bytes:
        try:
            data = self.sock.recv(1 << 18)
        except OSError as error:
            raise Hangup from error
        if not data:
            raise Hangup
        return data


Behavior = Callable[[Connection], None]


class FaultServer:
    """Listens on a loopback port of its own from `__enter__` on; its threads end in `__exit__`.

    Args:
        script: one behavior a request; the last one repeats.
        tls: a server-side context, None for plain HTTP.
        host: the name in `url`.
    """

    def __init__(self, script: Sequence[Behavior], *, tls: ssl.SSLContext | None = None, host: str = "localhost") -> None:
        self.script = list(script)
        self.tls = tls
        self.host = host
        self.stopping = threading.Event()
        self.requests: list[Seen] = []
        self.connections = 0
        self.handshake_errors: list[str] = []
        self._turn = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/score"

    def __enter__(self) -> FaultServer:
        self._listener.settimeout(0.02)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # already gone
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def next_behavior(self) -> Behavior:
        with self._lock:
            behavior = self.script[min(self._turn, len(self.script) - 1)]
            self._turn += 1
            return behavior

    def open_connections(self) -> int:
        with self._lock:
            return len(self._open)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True, name="fault server")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            self._start(self._serve, sock)

    def _asks_who(self, connection: Connection) -> bool:
        """Whether the client only looks whether a local engine describes itself here; it counts as no request."""
        if connection.read_headers().line.split(" ")[1:2] != ["/swagger.json"]:
            return False
        with self._lock:
            self.requests.pop()
            self.connections -= 1
        return True

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talking = sock
        try:
            if self.tls is not None:
                talking = self.tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._open.discard(sock)
                    self._open.add(talking)
            connection = Connection(self, talking)
            while not self.stopping.is_set():
                if self.script[0] is not speak_first and self._asks_who(connection):
                    connection.reply(404, b"{}")
                    raise Hangup
                self.next_behavior()(connection)
        except Hangup:
            pass  # the client left, or the behavior ended the connection
        except OSError as error:
            self.handshake_errors.append(str(error))
        finally:
            with self._lock:
                self._open.discard(sock)
                self._open.discard(talking)
            talking.close()


# Behaviors ---------------------------------------------------------------------------------------------------------------


def ok(content: object = REPLY, **headers: str) -> Behavior:
    """A whole reply."""

    def act(connection: Connection) -> None:
        connection.read_body()
        connection.reply(200, json.dumps(content).encode(), {name.replace("_", "-"): value for name, value in headers.items()})

    return act


def well(connection: Connection) -> None:
    """A whole reply, where nothing hangs on what it says."""
    ok()(connection)


def raw(body: bytes, code: int = 200, headers: dict[str, str] | None = None, length: int | None = None) -> Behavior:
    """Any body, and any lie about its length; the connection ends after it."""

    def act(connection: Connection) -> None:
        connection.read_body()
        connection.reply(code, body, headers, length)
        raise Hangup

    return act


def status(code: int, message: str = "scripted", headers: dict[str, str] | None = None) -> Behavior:
    """An error as the containers word it."""

    def act(connection: Connection) -> None:
        connection.read_body()
        connection.reply(code, json.dumps({"message": message}).encode(), headers)

    return act


def echo_authorization(code: int) -> Behavior:
    """An indiscreet server: repeats the Authorization header in its error."""

    def act(connection: Connection) -> None:
        connection.read_body()
        said = connection.seen.headers.get("authorization", "")
        connection.reply(code, json.dumps({"message": f"I got {said} from you"}).encode(), {"ms-azureml-model-error-reason": said})

    return act


def hang_before_headers(connection: Connection) -> None:
    connection.read_body()
    connection.wait_for_hangup()


def hang_in_body(connection: Connection) -> None:
    connection.read_body()
    connection.reply(200, b'[{"image_features": "', length=1000)
    connection.wait_for_hangup()


def hang_in_upload(connection: Connection) -> None:
    """Reads the headers and nothing of the body, and says nothing."""
    while not connection.server.stopping.wait(0.02):
        if connection.sock.fileno() < 0:
            break
    raise Hangup


def trickle(connection: Connection) -> None:
    """A byte every 30 ms for ever: each read succeeds, the reply never ends."""
    connection.read_body()
    connection.reply(200, b"[", length=1 << 20)
    while not connection.server.stopping.wait(0.03):
        connection.send(b" ")
    raise Hangup


def trickled_headers(connection: Connection) -> None:
    connection.read_body()
    connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not connection.server.stopping.wait(0.03):
        connection.send(b"a")
    raise Hangup


def reset_in_upload(connection: Connection) -> None:
    connection.read_body(limit=100_000)
    connection.reset()


def reset_in_reply(connection: Connection) -> None:
    connection.read_body()
    connection.reply(200, b'[{"image_features": "', length=100_000)
    time.sleep(0.05)  # let the headers arrive; a reset overtakes what is still unread
    connection.reset()


def close_without_reply(connection: Connection) -> None:
    connection.read_body()
    raise Hangup


def answer_early(code: int) -> Behavior:
    """Refuse on the headers alone, as a server that knows the size limit does, and drain the rest like nginx."""

    def act(connection: Connection) -> None:
        connection.reply(code, b'{"message": "early"}', {"Connection": "close"})
        connection.sock.shutdown(socket.SHUT_WR)
        connection.wait_for_hangup()

    return act


def speak_first(connection: Connection) -> None:
    """A plain web server that finds the first bytes of a TLS handshake strange."""
    connection.reply(400, b"<html>Bad request</html>", {"Connection": "close"})
    raise Hangup


def tls_alert(connection: Connection) -> None:
    """A TLS server that gets a plain request and says so in its own protocol."""
    connection.read_body()
    connection.send(b"\x15\x03\x01\x00\x02\x02\x46")
    raise Hangup


def chunked(pieces: list[bytes], ends: bool) -> Behavior:
    """A reply without a declared length, in chunks; `ends` False leaves out the last one."""

    def act(connection: Connection) -> None:
        connection.read_body()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ends:
            connection.send(b"0\r\n\r\n")
        raise Hangup

    return act


def clock_skew(seconds: float) -> Behavior:
    """A 401 whose Date shows that the two clocks disagree."""
    return lambda connection: status(401, "token not valid yet", {"Date": formatdate(time.time() + seconds, usegmt=True)})(connection)


def proxy_refusing(code: int) -> Behavior:
    """A proxy that lets nothing through."""

    def act(connection: Connection) -> None:
        connection.reply(code, b"", {"Proxy-Authenticate": 'Basic realm="hospital"'})
        raise Hangup

    return act


def proxy_tunnel(connection: Connection) -> None:
    """A proxy that does its work: CONNECT, whatever the host, goes to the same port on loopback."""
    port = int(connection.seen.line.split()[1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as onward:
        connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ends = {connection.sock: onward, onward: connection.sock}
        while not connection.server.stopping.is_set():
            for source in select.select(list(ends), [], [], 0.02)[0]:
                data = source.recv(1 << 16)
                if not data:
                    raise Hangup
                ends[source].sendall(data)
    raise Hangup
