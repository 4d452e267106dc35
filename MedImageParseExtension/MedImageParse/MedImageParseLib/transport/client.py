"""Sends one request body to one endpoint and brings its reply back, or says in one sentence why not."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, EndpointError, ReplyError, UsageError
from ..progress import Cancellation, Progress, no_progress
from ..redaction import RedactingFilter, redactor
from ..remedies import Sentence, annotated
from ..signin.auth import AuthProvider, NoAuth, StaticKey
from ..signin.trust import check_bundle
from . import faults, sockets
from .about import About, ask
from .address import parse_address, resolve_dialect
from .audit import AuditLog
from .request import Exchange, Outcome, Route
from .retry import Persistence, RetryPolicy, limiter_for
from .watch import Timeouts

if TYPE_CHECKING:
    import requests

__all__ = ["AuthProvider", "EndpointClient", "NoAuth", "Reply", "RetryPolicy", "StaticKey", "Timeouts"]

DEFAULT_BODY_LIMIT = 100 * 2**20  # bytes: nginx in Azure's containers says client_max_body_size 100m
DEFAULT_REPLY_LIMIT = 64 * 2**20  # bytes, where the caller does not say what its request can need
_STALE_AFTER = 45.0  # seconds idle, after which a kept connection may have been dropped silently on the way
_REPLY_FAULTS = ("not-json", "truncated", "reply-too-large", "encoding")
_log = logging.getLogger(__name__)
# urllib3 writes the URLs that it calls into the debug log, query included.
logging.getLogger("urllib3.connectionpool").addFilter(RedactingFilter(redactor))


@dataclass(slots=True)
class Reply:
    """What came back, status 200 always.

    Attributes:
        body: the reply's bytes, JSON by its looks.
        headers: lower-case names.
        request_id: the x-ms-client-request-id of the try that succeeded.
        tries: how often the request was sent.
        wait_s: seconds from calling `send` to having the reply: upload, model, download and waiting between tries.
        bytes_sent: size of the request's body.
        request_ids: of all tries, in order.
        paused_s: the part of wait_s that was spent waiting to try again.
        warnings: sentences, such as that this request could not be recorded in the audit file.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    request_id: str = ""
    tries: int = 1
    wait_s: float = 0.0
    bytes_sent: int = 0
    request_ids: list[str] = field(default_factory=list)
    paused_s: float = 0.0
    warnings: list[str] = field(default_factory=list)


class EndpointClient:
    """A connection to one endpoint. `send` may be called from several threads; no thread of its own is started.

    Args:
        url: the scoring URL.
        auth: sign-in; the key goes to this host only, over https or to this very computer.
        dialect: "azureml", "mlflow", or "auto" (a path ending in /invocations is mlflow).
        deployment: name of one deployment behind the endpoint, "" to let the endpoint choose.
        timeouts: seconds, per try.
        retry: tries and budget of waiting.
        ca_bundle: PEM file with extra certificate authorities; they add to the system's, nothing replaces it.
        proxy: http://host:port; "" for what the environment says.
        allow_plain_http: whether http to another computer is acceptable. A key is not sent that way all the same.
        body_limit: bytes; a larger body is refused before anything is sent.
        max_in_flight: how many requests may be at the endpoint at once from this process.
        audit: where to record what left this computer, None for nowhere.

    Attributes:
        warnings: sentences that every reply brings along, such as one on a key file that others can read.

    Raises:
        UsageError: URL, dialect, proxy or CA bundle make no sense.

    Examples:
        >>> client = EndpointClient("http://localhost:5001/score")
        >>> client.dialect
        'azureml'
        >>> client.close()
    """

    def __init__(
        self,
        url: str,
        *,
        auth: AuthProvider | None = None,
        dialect: str = "auto",
        deployment: str = "",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (frozen)
        retry: RetryPolicy = RetryPolicy(),
        ca_bundle: str = "",
        proxy: str = "",
        allow_plain_http: bool = False,
        body_limit: int = DEFAULT_BODY_LIMIT,
        max_in_flight: int = 2,
        audit: AuditLog | None = None,
    ) -> None:
        self.address = parse_address(url, allow_plain_http=allow_plain_http)
        redactor.learn(*self.address.query_secrets)
        self.dialect = resolve_dialect(dialect, self.address)
        self.deployment = deployment.strip()
        self.timeouts = timeouts
        self.retry = retry
        self.body_limit = body_limit
        self.max_in_flight = max_in_flight
        self.warnings: list[str] = []
        self._auth: AuthProvider = auth or NoAuth()
        self._ca_bundle = ca_bundle
        self._proxy = proxy
        self._audit = audit
        self._limiter = limiter_for(self.address.name, self.deployment, is_loopback=self.address.is_loopback)
        self._session: requests.Session | None = None
        self._last_used = 0.0
        self._about: About | None = None
        self._has_asked = False
        self._about_lock = threading.Lock()
        self._lock = threading.Lock()
        self._refresh_lock = threading.Lock()
        _check_deployment(self.deployment)
        check_bundle(ca_bundle)
        if not self.address.is_loopback and (sentence := sockets.old_library()):
            self.warnings.append(sentence)

    def __repr__(self) -> str:
        return f"EndpointClient({self.name!r})"

    @property
    def url(self) -> str:
        """The URL that is sent to, query included: for a report use `name`."""
        return self.address.url

    @property
    def name(self) -> str:
        """Scheme, host and path."""
        return self.address.name

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is this very computer."""
        return self.address.is_loopback

    def about(self, *, fresh: bool = False) -> About | None:
        """What an engine on this very computer says of itself; None for any other endpoint. Asked once, without a key.

        Args:
            fresh: ask again: an engine that was loading knows its device only afterwards.
        """
        with self._about_lock:
            if not self._has_asked or (fresh and self._about is not None):
                self._about = ask(self.address) or self._about
                self._has_asked = True
            return self._about

    def send(
        self,
        body: bytes,
        *,
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
        max_reply_bytes: int = DEFAULT_REPLY_LIMIT,
        model: str = "",
        work: int = 0,
        retry: RetryPolicy | None = None,
        slow_again: bool = True,
    ) -> Reply:
        """POST a JSON body and return the reply, trying again where that can help.

        Args:
            body: UTF-8 JSON.
            progress: told "uploading" and "downloading" in bytes, "model working" in seconds, "waiting to try again" as seconds left.
            cancellation: stops it at any moment.
            max_reply_bytes: a longer reply is an error, and is not read to its end.
            model: for the audit line, and for the local endpoint, which plays three models.
            work: slices times prompts, or pictures, that the body asks for. Where nobody chose a timeout, a local engine's own estimate for
                so much work decides how long its reply is waited for; 0 asks for no estimate.
            retry: instead of the client's own policy.
            slow_again: whether a request that the gateway gave up waiting for (504) may be sent once more as it is; False where less is sent at
                once then.

        Raises:
            EndpointError: anything but a 200 with something like JSON in it; see its `code`, `status`, `tries` and `request_id`.
            ReplyError: a 200 that is a web page, empty, cut off, compressed, or longer than it may be.
            Cancelled: the person stopped it.
        """
        cancellation = cancellation or Cancellation()
        cancellation.check()
        if len(body) > self.body_limit:
            raise _error(faults.body_too_large(len(body), self.body_limit), [], 0.0, "")
        began = time.monotonic()
        persistence = Persistence(retry or self.retry, slow_again=slow_again)
        request_ids: list[str] = []
        digest = self._audit.digest(body) if self._audit is not None else ""
        route = Route(self.address, self.deployment, self._timeouts_for(work), self.find_proxy(), self.open_session)
        is_refreshed = False
        while True:
            header = self._authorization()
            exchange = Exchange(
                route,
                body,
                header,
                str(uuid.uuid4()),
                progress=progress,
                cancellation=cancellation,
                max_reply_bytes=max_reply_bytes,
                model=model,
            )
            persistence.tries += 1
            request_ids.append(exchange.request_id)
            outcome = self._one_try(exchange, progress, cancellation, model, digest)
            fault = outcome.fault
            if fault is None:
                seconds = time.monotonic() - began
                warnings = [*self.warnings, *([self._audit.trouble] if self._audit is not None and self._audit.trouble else [])]
                return Reply(
                    outcome.body, 200, outcome.headers, request_ids[-1], len(request_ids), seconds, len(body),
                    request_ids, persistence.waited, warnings,
                )  # fmt: skip
            _log.debug("try %d, %s: %s %s", persistence.tries, exchange.request_id, fault.kind, redactor.quote(fault.detail, 2000))
            if fault.status == 401 and not is_refreshed and persistence.has_another_try() and self._has_newer_token(header):
                is_refreshed = True
                continue
            wait = persistence.next_wait(fault)
            if wait is None:
                break
            persistence.wait(wait, progress, cancellation)
        unrecorded = self._audit is not None and bool(self._audit.trouble)
        raise _error(fault, request_ids, time.monotonic() - began, persistence.stopped_by, unrecorded=unrecorded)

    def _timeouts_for(self, work: int) -> Timeouts:
        """The timeouts, with the reply's raised to what a local engine says that it needs, unless a person chose it."""
        if not work or self.timeouts.is_chosen or self.timeouts.reply != Timeouts().reply:
            return self.timeouts
        engine = self.about()
        if engine is None:
            return self.timeouts
        return replace(self.timeouts, reply=max(self.timeouts.reply, engine.reply_timeout(work, self.max_in_flight)))

    def close(self) -> None:
        """Close the kept connections. The client may be used again after that."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def __enter__(self) -> EndpointClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_session(self, proxy: str) -> requests.Session:
        """The session, made on first use; connections that have been idle for long are not trusted any more."""
        with self._lock:
            now = time.monotonic()
            if self._session is None:
                uses_tls = self.address.is_https or proxy.startswith("https:")
                self._session = sockets.open_session(self._ca_bundle, max(4, self.max_in_flight), uses_tls=uses_tls)
            elif now - self._last_used > _STALE_AFTER and not self._limiter.in_flight > 1:
                self._session.close()
            self._last_used = now
            return self._session

    def find_proxy(self) -> str:
        """The proxy's URL that requests go through, "" for none. Holds its password, if any: not for showing."""
        return sockets.proxy_for(self.address, self._proxy)

    def _one_try(self, exchange: Exchange, progress: Progress, cancellation: Cancellation, model: str, digest: str) -> Outcome:
        slot = self._limiter.enter(self.max_in_flight, cancellation)
        status, said, pause = 0, "failed", 0.0
        try:
            # Told before the first byte leaves: whoever hears it knows that the request may be on its way from now on.
            progress("uploading", 0, exchange.body_bytes)
            cancellation.check()
            outcome = exchange.run(on_uploaded=lambda: self._limiter.uploaded(slot))
            status = 200 if outcome.fault is None else outcome.fault.status
            said = "200" if outcome.fault is None else outcome.fault.kind
            pause = (outcome.fault.retry_after or 0.0) if outcome.fault is not None else 0.0
            return outcome
        except Cancelled:
            said = "cancelled"
            raise
        finally:
            self._limiter.leave(slot, status, pause)
            if self._audit is not None:
                self._audit.record(
                    host=self.address.place,
                    model=model,
                    bytes_sent=exchange.bytes_sent,
                    sha256=digest,
                    request_id=exchange.request_id,
                    outcome=said,
                )

    def _authorization(self) -> str:
        header = self._auth.header()
        if not header:
            return ""
        redactor.learn(header)
        if not all("\x20" <= character <= "\x7e" for character in header) or header != header.strip():
            raise UsageError("The key or token holds a line break or an accented letter, so it was not copied right: copy it again.")
        if not self.address.is_https and not self.address.is_loopback:
            raise UsageError(
                "A key is never sent over plain http, where anyone on the way can read it: use https for {place}, or sign-in none.",
                place=self.address.place,
            )
        return header

    def _has_newer_token(self, refused: str) -> bool:
        """One refresh for all the threads that were refused at once."""
        with self._refresh_lock:
            if self._auth.header() != refused:
                return True
            return self._auth.refresh()


def _check_deployment(name: str) -> None:
    if not all("\x21" <= character <= "\x7e" for character in name) or len(name) > 100:
        raise UsageError("The deployment's name holds characters that no deployment has: copy it from the endpoint's page.")


def _error(fault: faults.Fault, request_ids: list[str], seconds: float, stopped_by: str, *, unrecorded: bool = False) -> EndpointError:
    notes = [stopped_by] if stopped_by else []
    if unrecorded:
        notes.append("the audit file could not be written")
    if len(request_ids) > 1:
        notes.append(Sentence("tried {count} times in {duration}", count=len(request_ids), duration=faults.duration(seconds)))
    sentence = annotated(fault.sentence, notes, request_ids[-1] if request_ids else "")
    kind: Any = ReplyError if fault.kind in _REPLY_FAULTS else EndpointError
    return kind(sentence, request_id=request_ids[-1] if request_ids else "", status=fault.status, tries=len(request_ids), code=fault.kind)
