"""One HTTP request to the local endpoint: routes, bodies, headers and the sentences of the real servers."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import SplitResult, parse_qs, urlsplit

from ..engines.hosting import Host
from ..engines.interface import EngineError, EngineLoading
from ..errors import MedImageParseError
from ..models import LOCAL_NAMES
from ..redaction import visible
from ..transport.headers import parse_count
from . import protocol
from .callers import why_refused
from .limits import Budget, Limits, TimedReader

SERVER_VERSION = "0.1.0"
_LONGEST_ID = 100
_PIECE = 1 << 20
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")
_DRAINED = 64 << 20  # bytes of an unread body that are taken in after a refusal, for a second at most

_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
_NOT_FOUND = "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again."
_NOT_ALLOWED = "The method is not allowed for the requested URL."
_METHODS = {
    "/": ("GET", "HEAD", "OPTIONS"),
    "/score": ("GET", "HEAD", "POST", "OPTIONS"),
    "/swagger.json": ("GET", "HEAD", "OPTIONS"),
    "/invocations": ("POST",),
    "/ping": ("GET",),
    "/health": ("GET",),
    "/version": ("GET",),
}

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """An answer other than 200, found while the body was read."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


def _split_model(path: str) -> tuple[str, str]:
    """The model that a path begins with, "" for none, and the route behind it."""
    first, _, rest = path[1:].partition("/")
    return (first, f"/{rest}") if first in LOCAL_NAMES and rest in ("score", "invocations") else ("", path)


class Listening(ThreadingHTTPServer):
    """What a request finds at the server that it came to.

    Attributes:
        limits: what a request may cost.
        engine: who answers.
        bodies: bytes of requests that may stand in memory together.
        scoring: held by the one request that is scored.
    """

    limits: Limits
    engine: Host
    bodies: Budget
    scoring: threading.Lock


class Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection, as the real server does."""

    server: Listening
    protocol_version = "HTTP/1.1"
    sys_version = ""

    @property
    def server_version(self) -> str:  # type: ignore[override]
        """Who answers, as the headers say it."""
        return f"{visible(self._engine.facts.shown).encode('ascii', 'replace').decode()}/{SERVER_VERSION}"

    @property
    def _engine(self) -> Host:
        return self.server.engine

    def setup(self) -> None:
        super().setup()
        self._reader = TimedReader(self.connection, self.server.limits.header_s)
        self.rfile = io.BufferedReader(self._reader, _PIECE)
        self._taken = 0

    def finish(self) -> None:
        self.server.bodies.give_back(self._taken)
        super().finish()

    def handle_expect_100(self) -> bool:
        # Who may not ask, and a body that is too long, are refused before the body is sent.
        limit = self.server.limits.body_bytes
        refused = why_refused(self.headers, self.path)
        if refused or (parse_count(self.headers.get("Content-Length", "0")) or 0) > limit:
            self.close_connection = True
            self._send_message(403 if refused else 413, refused or _too_long(limit))
            return False
        return super().handle_expect_100()

    def _answer(self) -> None:
        self._started = time.perf_counter()
        self._ids: dict[str, str] = {}
        self.close_connection = True
        self._reader.within(self.server.limits.body_s)
        parts = _parts(self.path)
        self._model, route = _split_model(parts.path)
        try:
            if refused := why_refused(self.headers, self.path):
                raise _Refused(403, refused)
            if route not in _METHODS:
                raise _Refused(404, _NOT_FOUND)
            if self.command not in _METHODS[route]:
                raise _Refused(405, _NOT_ALLOWED)
            # The real server names itself and echoes identifiers on its own routes only.
            self._ids = {"x-ms-server-version": self.server_version}
            self._ids |= self._read_ids()
            if not self._model and self.headers.get(protocol.MODEL_HEADER) in LOCAL_NAMES:
                self._model = self.headers[protocol.MODEL_HEADER]
            self._route(route, parts.query)
        except _Refused as refusal:
            self._warn(refusal.status, refusal.message)
            self._send_message(refusal.status, refusal.message)
            self._drain()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer

    def _route(self, path: str, query: str) -> None:
        if self.command == "OPTIONS":
            self._send(200, b"", "text/html; charset=utf-8", {"x-ms-run-function-failed": "False"} if path == "/score" else None)
        elif path == "/":
            health = self._engine.health()
            self._send(200 if health.state == "ready" else 503, health.sentence.encode(), "text/html; charset=utf-8")
        elif path in ("/ping", "/health"):
            health = self._engine.health()
            self._send(200 if health.state == "ready" else 503, b"\n", "application/json")
        elif path == "/version":
            self._send(200, SERVER_VERSION.encode(), "text/html; charset=utf-8")
        elif path == "/swagger.json":
            self._send_json(200, _swagger(self._engine))
        elif path == "/invocations":
            self._invoke()
        elif self.command == "POST":
            self._score(self._read_body())
        else:
            # The real server gives the query to the scoring script, which refuses it like any other body of that form.
            self._score(json.dumps({name: values[-1] for name, values in parse_qs(query).items()}).encode())

    def _score(self, body: bytes) -> None:
        started = time.perf_counter()
        try:
            with self.server.scoring:
                started = time.perf_counter()
                text = self._text(body)
                del body
                reply = json.dumps(protocol.answer_score(text, self._model, self._engine)).encode()
        except protocol.NotOffered as refusal:
            self._warn(400, str(refusal))
            self._send_message(400, str(refusal), {"x-ms-run-fn-exec-ms": _milliseconds(started)})
        except EngineError as fault:
            status, more = engine_status(fault)
            self._warn(status, str(fault))
            self._send_message(status, str(fault), more)
        except MedImageParseError as error:
            self._warn(500, str(error))
            self._send_message(500, _FAILED, {"x-ms-run-function-failed": "True"})
        except _Refused:
            raise
        except Exception as error:  # the scoring script may fail in any way; the server goes on, as the real one does
            self._fell(500, error)
            self._send_message(500, _FAILED, {"x-ms-run-function-failed": "True"})
        else:
            self._send(200, reply, "application/json", {"x-ms-run-fn-exec-ms": _milliseconds(started)})

    def _invoke(self) -> None:
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        if kind != "application/json":
            message = f"This predictor only supports the content type application/json. Got '{kind}'."
            self._send(415, message.encode(), "text/plain; charset=utf-8")
            self._drain()
            return
        body = self._read_body()
        try:
            with self.server.scoring:
                reply = json.dumps(protocol.answer_invocations(self._text(body), self._model, self._engine)).encode()
        except EngineError as fault:
            status, more = engine_status(fault)
            self._warn(status, str(fault))
            self._send(status, json.dumps({"error_code": "ENGINE", "message": str(fault)}).encode(), "application/json", more)
        except MedImageParseError as error:
            self._warn(400, str(error))
            self._send_json(400, {"error_code": "BAD_REQUEST", "message": str(error)})
        except _Refused:
            raise
        except Exception as error:  # the engine may fail in any way; the server goes on
            self._fell(400, error)
            self._send_json(400, {"error_code": "BAD_REQUEST", "message": "The engine failed; see the server's log."})
        else:
            self._send(200, reply, "application/json")

    def _text(self, body: bytes) -> str:
        if self.headers.get_content_type() == "application/x-www-form-urlencoded" and "Content-Type" in self.headers:
            return ""  # the real server takes such a body for a form and leaves the script nothing
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Refused(400, f"Input cannot be decoded as UTF-8: {error}") from None

    def _read_body(self) -> bytes:
        encoded = self.headers.get("Transfer-Encoding", "").lower()
        try:
            pieces = self._chunks(self.server.limits.body_bytes) if "chunked" in encoded else self._pieces(self._announced())
            body = bytearray()  # not a list: a piece may be a single byte, and would take sixty there
            for piece in pieces:
                body += piece
            return bytes(body)
        except TimeoutError:
            raise _Refused(408, f"The body did not come within {self.server.limits.body_s:g} seconds; send it again.") from None

    def _announced(self) -> int:
        """The length of the body."""
        length = parse_count(self.headers.get("Content-Length", "0"))
        if length is None:
            raise _Refused(400, "The Content-Length is not a number.")
        if length > self.server.limits.body_bytes:
            raise _Refused(413, _too_long(self.server.limits.body_bytes))
        return length

    def _pieces(self, length: int) -> Iterator[bytes]:
        """So many bytes of the body, in pieces: memory is taken as they come, not as they are announced."""
        while length > 0:
            part = self.rfile.read1(min(length, _PIECE))
            if not part:
                raise _Refused(400, "The body ended before its Content-Length.")
            if not self.server.bodies.take(len(part)):
                raise _Refused(429, "The requests under way are too large together; send this one again later.")
            self._taken += len(part)
            length -= len(part)
            yield part

    def _chunks(self, limit: int) -> Iterator[bytes]:
        total = 0
        while True:
            size_text = self.rfile.readline(256).split(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size_text):
                raise _Refused(400, "The chunked body is malformed.")
            size = int(size_text, 16)
            if size == 0:
                break
            total += size
            if total > limit:
                raise _Refused(413, _too_long(limit))
            yield from self._pieces(size)
            self.rfile.readline(8)
        for _ in range(100):  # trailers
            if not self.rfile.readline(4096).strip():
                break

    def _drain(self) -> None:
        """Take in a little of a body that nobody read: a connection closed on unread bytes resets, and the answer is lost."""
        try:
            self._reader.within(1.0)
            is_chunked = "Transfer-Encoding" in self.headers
            left = _DRAINED if is_chunked else min(parse_count(self.headers.get("Content-Length", "0")) or 0, _DRAINED)
            while left > 0:
                part = self.rfile.read1(min(left, _PIECE))
                if not part:
                    break
                left -= len(part)
        except (OSError, ValueError):
            _log.debug("the rest of a body did not come", exc_info=True)

    def _read_ids(self) -> dict[str, str]:
        """The identifiers to echo, after the real server's rules; too long ones are refused."""
        request = self.headers.get("x-request-id") or str(uuid.uuid4())
        client, legacy = self.headers.get("x-ms-client-request-id", ""), self.headers.get("x-ms-request-id", "")
        request, client, legacy = visible(request), visible(client), visible(legacy)  # a folded line must not become two headers
        if len(request) > _LONGEST_ID:
            raise _Refused(431, f"x-request-id must not exceed {_LONGEST_ID} characters")
        client = client or legacy
        legacy = legacy or client or request
        self._ids["x-request-id"] = request
        if len(client) > _LONGEST_ID or len(legacy) > _LONGEST_ID:
            raise _Refused(431, f"x-ms-request-id and x-ms-client-request-id must not exceed {_LONGEST_ID} characters")
        ids = {"x-request-id": request, "x-ms-request-id": legacy}
        return ids | ({"x-ms-client-request-id": client} if client else {})

    def _send_message(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send_json(status, {"message": message}, headers)

    def _send_json(self, status: int, reply: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(reply).encode(), "application/json", headers)

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        lines = {"x-ms-run-function-failed": "False"} if content_type == "application/json" else {}
        lines |= getattr(self, "_ids", {}) | (headers or {})
        try:
            self.connection.settimeout(self.server.limits.reply_s)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            for name, value in lines.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:
            _log.debug("the client went away before the answer", exc_info=True)

    def _warn(self, status: int, sentence: str) -> None:
        """A line in the log for a request that was not answered with 200. No query, header or body is in it."""
        _log.warning("%s %s %d: %s", self.command, _plain(_parts(self.path).path), status, sentence)

    def _fell(self, status: int, error: Exception) -> None:
        self._warn(status, f"the engine failed ({type(error).__name__}); --debug shows more")
        _log.info("the engine failed", exc_info=error)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        status = code.value if isinstance(code, HTTPStatus) else code
        _log.info("%s %s %s", self.command, _plain(_parts(self.path).path), status)

    def log_message(self, format: str, *args: object) -> None:
        # The base class writes whole request lines, with the query, to stderr.
        _log.debug("malformed request")


def _parts(target: str) -> SplitResult:
    """What a request asks for, taken apart; what cannot be is a path that there is not."""
    try:
        return urlsplit(target)
    except ValueError:
        return SplitResult("", "", target, "", "")


def _plain(path: str) -> str:
    """A path as the log shows it: those that are no route are foreign text."""
    return path if _split_model(path)[1] in _METHODS else visible(path[:80])


def _too_long(limit: int) -> str:
    return f"The request body is larger than {limit} bytes; send less."


def _milliseconds(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.3f}"


def engine_status(fault: EngineError) -> tuple[int, dict[str, str]]:
    """The status and headers for an engine that failed: 503 where it is worth waiting for, else 424, which no client sends again by itself."""
    return (503, {"Retry-After": "5"}) if isinstance(fault, EngineLoading) else (424, {"x-ms-run-function-failed": "True"})


def _swagger(engine: Host) -> dict[str, object]:
    """A short description in Swagger 2 form; the title says who answers, "x-engine" everything that is known of it."""
    facts = engine.described()
    return {
        "swagger": "2.0",
        "info": {"title": facts.shown, "description": "A local engine behind the models' endpoints", "version": SERVER_VERSION},
        "x-engine": facts.to_json(),
        "schemes": ["http"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": {
            "/": {"get": {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": "Healthy"}}}},
            "/score": {"post": {"operationId": "RunMLService", "responses": {"200": {"description": "One object for each row"}}}},
        }
        | {
            f"/{model}/score": {"post": {"operationId": f"Run_{model}", "responses": {"200": {"description": f"As {title} answers"}}}}
            for model, title in LOCAL_NAMES.items()
        },
    }
