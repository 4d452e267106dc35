"""One try: a request out, a reply in, and whatever happened as an Outcome instead of an exception."""

from __future__ import annotations

import http.client
import io
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from ..errors import MedImageParseError
from ..progress import Cancellation, Progress
from ..redaction import redactor
from . import certificate, faults, sockets, statuses
from .address import Address
from .headers import error_message, lower_headers, page_title, parse_count, parse_http_date, parse_retry_after, redirect_target
from .watch import CHUNK, Timeouts, Watch, watching

_READ = 256 * 1024  # bytes asked for at once
_ERROR_LIMIT = 64 * 1024  # bytes of an error reply that are worth reading
_FRAMING = 2**20  # bytes of status line, headers, chunk sizes and trailers beyond twice the body's limit
_DETAIL = 2000  # characters of a library's message that go to the log


@dataclass(slots=True)
class Outcome:
    """A reply (fault None), or the fault in its place."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: faults.Fault | None = None


class UploadBody:
    """The request's body as requests streams it: piece by piece, without a copy, telling how far it is."""

    def __init__(self, body: bytes, watch: Watch) -> None:
        self._view = memoryview(body)
        self._watch = watch
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def __iter__(self) -> Iterator[memoryview | bytes]:
        while piece := self.read():
            yield piece

    def read(self, size: int = CHUNK) -> memoryview | bytes:
        """The next piece. The size asked for is ignored: urllib3 asks for 16 KiB, which is slow."""
        if self._at >= len(self._view):
            self._watch.uploading(self._at)
            self._watch.uploaded()
            return b""
        self._watch.uploading(self._at)
        piece = self._view[self._at : self._at + CHUNK]
        self._at += len(piece)
        return piece


@dataclass(slots=True, frozen=True)
class Route:
    """How requests of one client reach its endpoint.

    Attributes:
        address: the endpoint's.
        deployment: name of one deployment behind it, "" to let the endpoint choose.
        timeouts: seconds, per try.
        proxy: URL of the proxy, with its password if it has one; "" for none.
        open_session: the session to send with, made or found when it is needed.
    """

    address: Address
    deployment: str
    timeouts: Timeouts
    proxy: str
    open_session: Callable[[str], Any]


class Exchange:
    """One request, sent once.

    Args:
        route: the way to the endpoint.
        body: UTF-8 JSON.
        authorization: value of the Authorization header, "" for none.
        request_id: sent as x-ms-client-request-id and x-request-id (each at most 100 characters, or the container answers 431).
        progress: as in EndpointClient.send.
        cancellation: as in EndpointClient.send.
        max_reply_bytes: as in EndpointClient.send.
        model: as in EndpointClient.send.
    """

    def __init__(
        self,
        route: Route,
        body: bytes,
        authorization: str,
        request_id: str,
        *,
        progress: Progress,
        cancellation: Cancellation,
        max_reply_bytes: int,
        model: str = "",
    ) -> None:
        self.request_id = request_id
        self._model = model
        self._route = route
        self._place = route.address.place
        self._body = body
        self._authorization = authorization
        self._max_reply_bytes = max_reply_bytes
        self._watch = Watch(
            route.timeouts,
            place=self._place,
            upload_bytes=len(body),
            progress=progress,
            cancellation=cancellation,
            most_received=2 * max_reply_bytes + _FRAMING,
        )
        self._received = 0
        self._announced = 0

    @property
    def body_bytes(self) -> int:
        """Size of the request's body."""
        return len(self._body)

    @property
    def bytes_sent(self) -> int:
        """How much of the body has left this computer."""
        return self._watch.sent_bytes

    def run(self, on_uploaded: Callable[[], None]) -> Outcome:
        """Send and receive.

        Args:
            on_uploaded: called when the last byte has been sent.

        Raises:
            Cancelled: the person stopped it.
            UsageError: the proxy is of a kind that is not spoken.
        """
        self._watch.begin()
        self._watch.on_uploaded = on_uploaded
        with watching(self._watch):
            try:
                return self._talk()
            except faults.FaultError as error:
                return Outcome(fault=error.fault)
            except MedImageParseError:
                raise
            except MemoryError:
                return Outcome(fault=faults.no_memory(self._place, self._received))
            except Exception as error:  # whatever a reply makes of the libraries that read it, it is the reply's fault
                return Outcome(fault=self._explain(error))

    def _talk(self) -> Outcome:
        proxy = self._route.proxy
        opened = self._route.open_session(proxy)
        response = opened.send(
            self._prepare(),
            stream=True,
            verify=True,
            allow_redirects=False,
            timeout=self._route.timeouts.reply,
            proxies={"http": proxy, "https": proxy} if proxy else {},
        )
        connection = response.raw.connection
        try:
            return self._read(response)
        finally:
            response.close()
            if connection is not None and self._watch.sent_bytes < len(self._body):
                connection.close()  # answered early: this one still expects the rest of the body

    def _prepare(self) -> Any:
        import requests
        import requests.auth

        authorization = self._authorization

        class Authorization(requests.auth.AuthBase):
            """requests lets ~/.netrc override a plain header, but not this."""

            def __call__(self, request: Any) -> Any:
                if authorization:
                    request.headers["Authorization"] = authorization
                return request

        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "MedImageParse-Slicer",
            "x-ms-client-request-id": self.request_id,
            "x-request-id": self.request_id,
        }
        if self._route.deployment:
            headers["azureml-model-deployment"] = self._route.deployment
        if self._model and self._route.address.is_loopback:
            # The local endpoint plays three models, and a picture with text fits two of them.
            headers["x-medimageparse-model"] = self._model.split()[0]
        upload = UploadBody(self._body, self._watch)
        data = cast("Iterable[bytes]", upload)  # its pieces are views of bytes, which sockets take as well
        return requests.Request("POST", self._route.address.url, headers=headers, data=data, auth=Authorization()).prepare()

    def _read(self, response: Any) -> Outcome:
        headers = lower_headers(response.headers)
        self._announced = parse_count(headers.get("content-length", "")) or 0
        self._watch.uploaded()
        self._watch.downloading(0, self._announced)
        if response.status_code != 200:
            return Outcome(headers=headers, fault=self._refused(response, headers))
        if _is_encoded(headers):
            return Outcome(headers=headers, fault=faults.encoded(self._place, redactor.quote(headers["content-encoding"], 40)))
        if self._announced > self._max_reply_bytes:
            return Outcome(headers=headers, fault=faults.reply_too_large(self._place, self._announced, self._max_reply_bytes))
        body = self._drain(response, self._max_reply_bytes)
        if body is None:
            return Outcome(headers=headers, fault=faults.reply_too_large(self._place, 0, self._max_reply_bytes))
        if self._received < self._announced:
            return Outcome(headers=headers, fault=faults.connection_lost(self._place, "downloading", self._received, self._announced))
        return Outcome(redactor.clean_bytes(body), headers, self._judge(body, headers))

    def _drain(self, response: Any, limit: int) -> bytes | None:
        """The whole body, or None when it grows past the limit. Nothing is unfolded: no encoding was asked for."""
        content = io.BytesIO()
        while True:
            piece = response.raw.read(_READ, decode_content=False)
            self._received += len(piece)
            if not piece:
                return content.getvalue()
            if self._received > limit:
                return None
            content.write(piece)
            self._watch.downloading(self._received, self._announced)

    def _refused(self, response: Any, headers: dict[str, str]) -> faults.Fault:
        date = parse_http_date(headers.get("date", ""))
        now = time.time()
        seconds = self._watch.seconds_waited()
        said = error_message(self._read_error(response, headers))
        answer = statuses.Answer(
            place=self._place,
            status=response.status_code,
            said=redactor.quote(said),
            model_status=parse_count(headers.get(statuses.MODEL_STATUS_HEADER, ""), 999) or 0,
            model_reason=redactor.quote(headers.get(statuses.MODEL_REASON_HEADER, "")),
            location=redactor.quote(redirect_target(headers.get("location", ""), self._place)),
            deployment=self._route.deployment,
            seconds=seconds,
            retry_after=parse_retry_after(headers.get("retry-after", ""), now if date is None else date),
            skew=None if date is None else date - now,
            has_key=bool(self._authorization),
        )
        return statuses.refused_by_status(answer)

    def _read_error(self, response: Any, headers: dict[str, str]) -> bytes:
        """The beginning of an error's body; one that cannot be read does not hide the status."""
        import urllib3

        if _is_encoded(headers):
            return b""
        try:
            return response.raw.read(_ERROR_LIMIT, decode_content=False)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError, faults.FaultError):
            return b""

    def _judge(self, body: bytes, headers: dict[str, str]) -> faults.Fault | None:
        """Whether a 200 looks like a whole JSON document. Parsing it is the wire room's work; this is for what lies in between."""
        head = body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
        if not head.startswith((b"{", b"[")):
            title = page_title(body[:65536].decode("utf-8", "replace"))
            said = "" if title is not None else redactor.quote(body)
            kind = redactor.quote(headers.get("content-type", ""), 80) or ("html" if head[:1] == b"<" else "")
            return faults.not_json(self._place, kind, redactor.quote(title, 80) if title else "", said)
        tail = body[-4096:].rstrip()
        if not tail.endswith(b"}" if head.startswith(b"{") else b"]"):
            return faults.cut_off(self._place, len(body), redactor.quote(tail[-40:], 40))
        return None

    def _explain(self, error: Exception) -> faults.Fault:
        """A fault for what requests, urllib3 or the system raised."""
        import requests
        import urllib3

        detail = f"{type(error).__name__}: {error}"[:_DETAIL]
        cause = _find(error, ssl.SSLError)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return certificate.refused(cause, self._place, self._watch.peer, detail)
        if isinstance(error, requests.exceptions.ProxyError):
            code = re.search(r"Tunnel connection failed: (\d{3})", detail)
            return faults.through_proxy(sockets.proxy_place(self._route.proxy), self._place, int(code.group(1)) if code else 0, detail)
        if cause is not None and self._watch.phase == "connecting":
            return faults.no_tls(self._place, detail)
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)):
            return faults.unusable_address(self._place, detail)
        garbled = _find(error, http.client.HTTPException)
        if garbled is not None and self._watch.phase == "waiting" and not isinstance(garbled, OSError):
            return faults.not_http(self._place, self._route.address.is_https, detail)
        if not isinstance(error, (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)):
            return faults.garbled(self._place, detail)
        # urllib3 looks for a reply after a broken upload, so the phase alone does not tell where it broke.
        in_upload = self._watch.phase == "waiting" and self._watch.sent_bytes < len(self._body)
        return faults.connection_lost(self._place, "uploading" if in_upload else self._watch.phase, self._received, self._announced, detail)


def _find(error: BaseException | None, kind: type[BaseException]) -> Any:
    """The first exception of a kind among an exception, its arguments, reasons, causes and contexts."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, kind):
            return item
        waiting += [getattr(item, "reason", None), *item.args, item.__cause__, item.__context__]
    return None


def _is_encoded(headers: dict[str, str]) -> bool:
    """Whether the body is packed although "identity" was asked for: unpacking it could cost more than it may."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")
