"""One try: a request out, a reply in, and whatever happened as an Outcome instead of an exception."""

from __future__ import annotations

import http.client
import io
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..progress import Cancellation, Progress
from . import certificate, faults, sockets
from .retry import parse_http_date, parse_retry_after
from .watch import CHUNK, Watch, watching

if TYPE_CHECKING:
    from .client import EndpointClient

_READ = 256 * 1024  # bytes asked for at once
_ERROR_LIMIT = 64 * 1024  # bytes of an error reply that are worth reading


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

    def __iter__(self) -> Iterator[memoryview]:
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


class Exchange:
    """One request, sent once.

    Args:
        client: whose endpoint, session and scrubber are used.
        body: UTF-8 JSON.
        authorization: value of the Authorization header, "" for none.
        request_id: sent as x-ms-client-request-id and x-request-id (each at most 100 characters, or the container answers 431).
        progress, cancellation, max_reply_bytes: as in EndpointClient.send.
    """

    def __init__(
        self,
        client: EndpointClient,
        body: bytes,
        authorization: str,
        request_id: str,
        *,
        progress: Progress,
        cancellation: Cancellation,
        max_reply_bytes: int,
    ) -> None:
        self.request_id = request_id
        self._client = client
        self._place = client.address.place
        self._body = body
        self._authorization = authorization
        self._max_reply_bytes = max_reply_bytes
        self._watch = Watch(client.timeouts, place=self._place, upload_bytes=len(body), progress=progress, cancellation=cancellation)
        self._received = 0
        self._announced = 0

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
        proxy = self._client.find_proxy()
        self._watch.on_uploaded = on_uploaded
        with watching(self._watch):
            return self._talk(proxy)

    def _talk(self, proxy: str) -> Outcome:
        import requests
        import urllib3

        try:
            opened = self._client.open_session(proxy)
            response = opened.send(
                self._prepare(),
                stream=True,
                verify=True,
                allow_redirects=False,
                timeout=self._client.timeouts.reply,
                proxies={"http": proxy, "https": proxy} if proxy else {},
            )
            connection = response.raw.connection
            try:
                return self._read(response)
            finally:
                response.close()
                if connection is not None and self._watch.sent_bytes < len(self._body):
                    connection.close()  # answered early: this one still expects the rest of the body
        except faults.FaultError as error:
            return Outcome(fault=error.fault)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return Outcome(fault=self._explain(error, proxy))

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
        if self._client.deployment:
            headers["azureml-model-deployment"] = self._client.deployment
        upload = UploadBody(self._body, self._watch)
        return requests.Request("POST", self._client.url, headers=headers, data=upload, auth=Authorization()).prepare()

    def _read(self, response: Any) -> Outcome:
        headers = {name.lower(): value for name, value in response.headers.items()}
        announced = headers.get("content-length", "")
        self._announced = int(announced) if announced.isdigit() and announced.isascii() else 0
        self._watch.uploaded()
        self._watch.downloading(0, self._announced)
        if response.status_code != 200:
            return Outcome(headers=headers, fault=self._refused(response, headers))
        if self._announced > self._max_reply_bytes:
            return Outcome(headers=headers, fault=faults.reply_too_large(self._place, self._announced, self._max_reply_bytes))
        body = self._drain(response, self._max_reply_bytes)
        if body is None:
            return Outcome(headers=headers, fault=faults.reply_too_large(self._place, 0, self._max_reply_bytes))
        if self._received < self._announced and "content-encoding" not in headers:
            return Outcome(headers=headers, fault=faults.connection_lost(self._place, "downloading", self._received, self._announced))
        return Outcome(body, headers, self._judge(body, headers))

    def _drain(self, response: Any, limit: int) -> bytes | None:
        """The whole body, or None when it grows past the limit (a compressed one is counted as it unfolds)."""
        content = io.BytesIO()
        while True:
            try:
                piece = response.raw.read(_READ, decode_content=True)
            finally:
                self._received = max(self._received, response.raw.tell())
            if not piece:
                return content.getvalue()
            content.write(piece)
            if content.tell() > limit:
                return None
            self._watch.downloading(self._received, self._announced)

    def _refused(self, response: Any, headers: dict[str, str]) -> faults.Fault:
        scrubber = self._client.scrubber
        date = parse_http_date(headers.get("date", ""))
        now = time.time()
        seconds = self._watch.seconds_waited()
        model_status = headers.get(faults.MODEL_STATUS_HEADER, "").strip()
        answer = faults.Answer(
            place=self._place,
            status=response.status_code,
            said=scrubber.quote(_message(self._read_error(response), headers)),
            model_status=int(model_status) if model_status.isdigit() and len(model_status) <= 3 else 0,
            model_reason=scrubber.quote(headers.get(faults.MODEL_REASON_HEADER, "")),
            location=scrubber.quote(_redirect_target(headers.get("location", ""), self._place)),
            deployment=self._client.deployment,
            seconds=seconds,
            retry_after=parse_retry_after(headers.get("retry-after", ""), now if date is None else date),
            skew=None if date is None else date - now,
            has_key=bool(self._authorization),
        )
        return faults.refused_by_status(answer)

    def _read_error(self, response: Any) -> bytes:
        """The beginning of an error's body; one that cannot be read does not hide the status."""
        import urllib3

        try:
            return response.raw.read(_ERROR_LIMIT, decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError, faults.FaultError):
            return b""

    def _judge(self, body: bytes, headers: dict[str, str]) -> faults.Fault | None:
        """Whether a 200 looks like a whole JSON document. Parsing it is the wire room's work; this is for what lies in between."""
        quote = self._client.scrubber.quote
        head = body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
        if not head.startswith((b"{", b"[")):
            title = re.search(rb"(?is)<title[^>]*>(.*?)</title>", body[:65536])
            said = "" if title else quote(body)
            is_page = head[:1] == b"<"
            return faults.not_json(
                self._place,
                headers.get("content-type", "") or ("html" if is_page else ""),
                quote(title.group(1), 80) if title else "",
                said,
            )
        tail = body[-4096:].rstrip()
        if not tail.endswith(b"}" if head.startswith(b"{") else b"]"):
            return faults.cut_off(self._place, len(body), quote(tail[-40:], 40))
        return None

    def _explain(self, error: Exception, proxy: str) -> faults.Fault:
        """A fault for what requests, urllib3 or the system raised."""
        import requests

        detail = f"{type(error).__name__}: {error}"
        cause = _find(error, ssl.SSLError)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return certificate.refused(cause, self._place, self._watch.peer, detail)
        if isinstance(error, requests.exceptions.ProxyError):
            code = re.search(r"Tunnel connection failed: (\d{3})", detail)
            return faults.through_proxy(sockets.proxy_place(proxy), self._place, int(code.group(1)) if code else 0, detail)
        if cause is not None and self._watch.phase == "connecting":
            sentence = (
                f"No secure connection to {self._place} came about (TLS): check that the URL's port speaks https, and "
                "whether a proxy is in between."
            )
            return faults.Fault("tls", sentence, detail=detail)
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)):
            return faults.Fault(
                "url", f"The address of {self._place} or of its proxy cannot be used: check both for typing mistakes.", detail=detail
            )
        garbled = _find(error, http.client.HTTPException)
        if garbled is not None and self._watch.phase == "waiting" and not isinstance(garbled, OSError):
            return faults.not_http(self._place, self._client.address.is_https, detail)
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


def _message(body: bytes, headers: dict[str, str]) -> str:
    """What an error's body says: its "message", its page title, or its text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
        if title:
            return title.group(1).strip()
        return "" if text.startswith("<") else text
    for _ in range(3):
        if not isinstance(content, dict):
            break
        content = content.get("error", content.get("message", content.get("detail", "")))
    return content if isinstance(content, str) else json.dumps(content)


def _redirect_target(location: str, own: str) -> str:
    """Where a redirect points: the host, or the path where it stays on the same host; never a query."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an unreadable address"
    host = parts.netloc.rpartition("@")[2]
    return host if host and host != own else (f"{parts.scheme}://{own}{parts.path}" if host else parts.path)
