"""A small HTTP host for the entry script, on the standard library alone and on this computer alone.

It answers as Azure ML's inference server does (azureml-inference-server-http 1.5, its routes, statuses, messages and headers as observed),
and beside that on `/invocations` as `mlflow models serve` does. Each model has both routes at an address of its own,
`/medimageparse3d/score` for example. It always listens on 127.0.0.1: there is no option for another address. One request is scored at a
time, as by one worker. Its log holds method, path, status, sizes and what was wrong, never a query, a header or a body.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..engines import default_engine
from ..engines.hosting import Host
from ..errors import UsageError
from ..models import LOCAL_NAMES
from .limits import Budget, Limits
from .server_requests import Handler, Listening

LOOPBACK = "127.0.0.1"
DEFAULT_BODY_LIMIT = Limits().body_bytes
_BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 56\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    b'{"message": "Too many connections are open; wait a bit"}'
)

_log = logging.getLogger(__name__)


class _Host(Listening):
    """Listens; one thread a connection, and no more connections than the limits say."""

    daemon_threads = True
    # On Windows the option would let two programs share the port; elsewhere it only skips the wait after a restart.
    allow_reuse_address = os.name != "nt"
    request_queue_size = 32

    def __init__(self, port: int, limits: Limits, engine: Host):
        self.limits = limits
        self.engine = engine
        self.bodies = Budget(limits.bodies_bytes)
        self.scoring = threading.Lock()
        self._free = threading.BoundedSemaphore(limits.connections)
        super().__init__((LOOPBACK, port), Handler)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the host name, which can take seconds where there is no network.
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except Exception:  # no thread was started; after an interrupt one may have been, which gives its place back itself
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a connection ended early", exc_info=True)


class LocalEndpoint:
    """The local endpoint in a thread of this process.

    Args:
        port: 0 takes a free one.
        body_limit: bytes of a request body beyond which 413 is answered.
        limits: the other bounds.
        engine: who answers; None for the classical demo engine. It is started with the endpoint and stopped with it.

    Examples:
        >>> with LocalEndpoint() as endpoint:
        ...     endpoint.url  # doctest: +SKIP
        'http://127.0.0.1:41234/score'
    """

    def __init__(
        self,
        port: int = 0,
        *,
        body_limit: int = DEFAULT_BODY_LIMIT,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        engine: Host | None = None,
    ):
        self._engine = engine or default_engine()
        self._port = port
        self._limits = replace(limits, body_bytes=body_limit)
        self._host: _Host | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port listened on, or asked for where it is not started."""
        return self._host.server_port if self._host else self._port

    @property
    def url(self) -> str:
        """Where Azure ML's form of requests goes that fit one model only."""
        return f"http://{LOOPBACK}:{self.port}/score"

    def url_of(self, model: str) -> str:
        """Where Azure ML's form of requests to one model goes.

        Args:
            model: "medimageparse", "medimageparse3d" or "medimageinsight".
        """
        return model_urls(self.url)[model]

    def start(self) -> LocalEndpoint:
        """Listen and answer until stop(). Raises UsageError where the port is taken or not allowed."""
        if self._host is None:
            self._host = _open(self._port, self._limits, self._engine)
            self._thread = threading.Thread(
                target=self._host.serve_forever, kwargs={"poll_interval": 0.1}, name="local endpoint", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening. A request in work is answered no more. Safe to call twice."""
        host, self._host = self._host, None
        if host is not None:
            self._port = 0 if self._port == 0 else host.server_port
            host.shutdown()
            host.server_close()
            self._engine.stop()
            if self._thread is not None:
                self._thread.join(5.0)

    def __enter__(self) -> LocalEndpoint:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()


def model_urls(url: str) -> dict[str, str]:
    """The address of each model behind a local endpoint.

    Args:
        url: the one that names no model, "http://127.0.0.1:5001/score".
    """
    root, _, route = url.rpartition("/")
    return {model: f"{root}/{model}/{route}" for model in LOCAL_NAMES}


def serve(
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    *,
    parent_pid: int = 0,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    quiet: bool = False,
    engine: Host | None = None,
) -> None:
    """Listen and answer in the foreground until interrupted (Ctrl+C) or until the process `parent_pid` is gone.

    Requests that failed leave a line on stderr.

    Args:
        port: 0 takes a free one.
        ready: called once with the URL when requests are welcome.
        parent_pid: 0 for none.
        limits: what all requests together may cost.
        quiet: nothing on stderr.
        engine: who answers; None for the classical demo engine. It ends with the server.

    Raises:
        UsageError: the port is taken or not allowed.
    """
    host = _open(port, limits, engine)
    if parent_pid:
        threading.Thread(target=_stop_with_parent, args=(host, parent_pid), daemon=True).start()
    with _warnings_on_stderr(quiet):
        try:
            if ready is not None:
                ready(f"http://{LOOPBACK}:{host.server_port}/score")
            host.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            _log.info("interrupted")
        finally:
            host.server_close()
            host.engine.stop()


@contextlib.contextmanager
def _warnings_on_stderr(quiet: bool) -> Iterator[None]:
    """This package's warnings as lines on stderr, whatever a program did with its own log; once where that goes to stderr already."""
    log = logging.getLogger(__package__)
    speaks = any(isinstance(handler, logging.StreamHandler) for handler in logging.getLogger().handlers)
    if quiet or speaks:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _open(port: int, limits: Limits, engine: Host | None = None) -> _Host:
    if not 0 <= port <= 65535:
        raise UsageError("{port} is not a port; give a number from 1 to 65535, or 0 for any free one.", port=port)
    try:
        host = _Host(port, limits, engine or default_engine())
    except PermissionError as error:
        raise UsageError("Port {port} may not be used without administrator rights; choose one above 1024.", port=port) from error
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
            raise UsageError(
                "Port {port} is taken by another program; choose another with --port, or 0 for any free one.", port=port
            ) from error
        raise UsageError(
            "Port {port} cannot be opened ({value}); choose another with --port.", port=port, value=error.strerror or "unknown reason"
        ) from error
    host.engine.start()
    return host


def _stop_with_parent(host: _Host, parent_pid: int) -> None:
    """End the server when the program that started it is gone, so that none is left behind after a crash."""
    waiting = threading.Event()
    while not waiting.wait(1.0):
        if not _is_running(parent_pid):
            _log.info("the program that started the local endpoint has ended")
            host.shutdown()
            return


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        synchronize, timeout = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            return False
        still = ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == timeout
        ctypes.windll.kernel32.CloseHandle(handle)
        return still
    if os.getppid() == pid:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
