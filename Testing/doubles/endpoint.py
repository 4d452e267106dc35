"""A double of the MedImageParse endpoints that serves true masks for whatever image is sent, in any documented reply form.

It is an independent second reading of the wire contract: requests are taken apart with json, base64, nibabel and Pillow, and nothing
of the product is imported. It answers in process (`answer`, `client`) and over HTTP on loopback (`serve`), and keeps what it was sent.

    >>> from doubles.truth import GrayRanges
    >>> double = EndpointDouble(GrayRanges({"cube": (90, 110)}))
    >>> with double.serve() as url:
    ...     ...  # url ends in /score; "/invocations" beside it speaks MLflow's dialect
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from .forms import Form, picture_row, volume_row, wrap

_FRAMES = {"input_data": "azureml", "dataframe_split": "mlflow"}
_PNG = b"\x89PNG\r\n\x1a\n"


class Refused(Exception):
    """The request is not what the contract describes; the sentence says in which way."""


@dataclass(slots=True)
class Seen:
    """One request, taken apart.

    Attributes:
        body: the bytes as they came.
        dialect: "azureml" or "mlflow".
        images: bytes of the image column, decoded from base64.
        texts: the text column.
        params: None where the request had none.
        headers: lower-case names (HTTP only).
        path: of the URL (HTTP only).
    """

    body: bytes
    dialect: str
    images: list[bytes]
    texts: list[str]
    params: dict | None
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""

    def nifti(self, row: int = 0):
        """The volume of a row as a nibabel image."""
        import nibabel as nib

        return nib.Nifti1Image.from_bytes(gzip.decompress(self.images[row]))

    def pixels(self, row: int = 0) -> np.ndarray:
        """The picture of a row, with the channels it has."""
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.images[row])))

    def png_chunks(self, row: int = 0) -> list[str]:
        """Names of the PNG's chunks, in order."""
        data, position, names = self.images[row], len(_PNG), []
        while position < len(data):
            (size,) = struct.unpack(">I", data[position : position + 4])
            names.append(data[position + 4 : position + 8].decode())
            position += 12 + size
        return names


@dataclass(slots=True)
class DirectReply:
    """What an in-process client returns."""

    body: bytes
    tries: int = 1
    request_ids: list[str] = field(default_factory=list)


class DirectClient:
    """Calls the double without HTTP; has what tasks ask of a connection."""

    def __init__(self, double: EndpointDouble, dialect: str = "azureml", max_in_flight: int = 2, body_limit: int = 100 * 2**20):
        self._double = double
        self.dialect, self.max_in_flight, self.body_limit = dialect, max_in_flight, body_limit
        self.public_url = self.name = "http://127.0.0.1/score"

    def send(
        self,
        body: bytes,
        *,
        progress=None,
        cancellation=None,
        max_reply_bytes: int = 0,
        model: str = "",
        work: int = 0,
    ) -> DirectReply:
        if cancellation is not None:
            cancellation.check()
        seen = take_apart(body)
        if seen.dialect != self.dialect:
            raise Refused(f"The request speaks {seen.dialect} on a {self.dialect} endpoint.")
        reply = self._double.tampered(self._double.answer(body))
        assert not max_reply_bytes or len(reply) <= max_reply_bytes, f"a reply of {len(reply)} bytes, where {max_reply_bytes} are allowed"
        return DirectReply(reply if isinstance(reply, bytes) else reply[2], 1, [str(uuid.uuid4())])


class EndpointDouble:
    """An endpoint whose model knows the truth.

    Args:
        truth: one of doubles.truth, or anything with their methods.
        form: how replies are written.

    Attributes:
        seen: every request, in order of arrival.
        tamper: changes each good reply before it is sent: bytes, or (status, content type, bytes).
        pause: called before each answer, e.g. to wait.
    """

    def __init__(self, truth: object, form: Form = Form()):
        self.truth, self.form = truth, form
        self.seen: list[Seen] = []
        self.tamper: Callable[[bytes], bytes | tuple[int, str, bytes]] | None = None
        self.pause: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def answer(self, body: bytes, headers: dict[str, str] | None = None, path: str = "") -> bytes:
        """The reply to one request. Raises Refused for anything that the contract does not describe."""
        seen = take_apart(body)
        seen.headers, seen.path = headers or {}, path
        with self._lock:
            self.seen.append(seen)
        rows = [self._row(image, text) for image, text in zip(seen.images, seen.texts)]
        return wrap(rows, self.form, seen.dialect)

    def tampered(self, reply: bytes) -> bytes | tuple[int, str, bytes]:
        return self.tamper(reply) if self.tamper else reply

    def client(self, dialect: str = "azureml", **options) -> DirectClient:
        """A connection for tasks, without HTTP."""
        return DirectClient(self, dialect, **options)

    @contextmanager
    def serve(self, path: str = "/score", port: int = 0) -> Iterator[str]:
        """Answer on a port of loopback (0: a free one) while the block runs; gives the URL."""
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _row(self, image: bytes, text: str) -> dict:
        prompts = [part.strip() for part in text.split("&") if part.strip()]
        if not prompts:
            raise Refused("The text is empty.")
        if image.startswith(_PNG):
            gray = Seen(b"", "", [image], [text], None).pixels().astype(np.float32)
            if gray.ndim == 3:  # the mean of the channels, several times as fast as numpy's along a short axis
                gray = sum(np.moveaxis(gray, 2, 0)) / np.float32(gray.shape[2])
            return picture_row(self.truth.picture(gray, prompts), self.form)
        nifti = Seen(b"", "", [image], [text], None).nifti()
        voxels = np.asarray(nifti.dataobj)
        if voxels.ndim != 3:
            raise Refused(f"The volume has {voxels.ndim} dimensions.")
        return volume_row(self.truth.volume(voxels, prompts), nifti.affine, self.form)


def take_apart(body: bytes) -> Seen:
    """Read a request as the published servers do (docs/wire.md). Raises Refused."""
    try:
        outer = json.loads(body)
    except ValueError as error:
        raise Refused(f"The body is not JSON: {error}.") from error
    frames = [name for name in _FRAMES if isinstance(outer, dict) and name in outer]
    if len(frames) != 1 or set(outer) - {*frames, "params"}:
        raise Refused(f"The body is no request: {sorted(outer) if isinstance(outer, dict) else type(outer).__name__}.")
    frame = outer[frames[0]]
    if set(frame) != {"columns", "index", "data"}:
        raise Refused(f"The frame has the keys {sorted(frame)}.")
    if frame["columns"] != ["image", "text"] or frame["index"] != list(range(len(frame["data"]))):
        raise Refused(f"Columns {frame['columns']} or index {frame['index']} are wrong.")
    if any(len(row) != 2 or not all(isinstance(cell, str) for cell in row) for row in frame["data"]):
        raise Refused("A cell is no string.")
    images = [base64.b64decode(image, validate=True) for image, _text in frame["data"]]
    return Seen(body, _FRAMES[frames[0]], images, [text for _image, text in frame["data"]], outer.get("params"))


def _handler(double: EndpointDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if double.pause:
                double.pause()
            try:
                if headers.get("content-type") != "application/json":
                    raise Refused("The content type is not application/json.")
                if (take_apart(body).dialect == "mlflow") != self.path.endswith("/invocations"):
                    raise Refused("This path speaks the other dialect.")
                reply = double.tampered(double.answer(body, headers, self.path))
            except Refused as error:
                reply = (400, "application/json", json.dumps({"message": str(error)}).encode())
            status, kind, data = reply if isinstance(reply, tuple) else (200, "application/json", reply)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client has gone

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"Healthy")

        def log_message(self, *_arguments) -> None:
            """Says nothing."""

    return Handler
