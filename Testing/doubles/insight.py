"""A double of a MedImageInsight endpoint: an independent second reading of the wire contract; nothing of the product is imported.

Requests are taken apart with json, base64 and Pillow. A picture's vector is made of a coarse copy of its pixels by a fixed random
projection, so that pictures that look alike have vectors that are near; a text's vector is drawn from its letters. It answers over
HTTP on loopback, and counts what it is asked, and how much of it at once.

    >>> double = InsightDouble(Form(factor=None))
    >>> with double.serve() as url:
    ...     ...  # url ends in /score
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

LENGTH = 1024
FACTOR = 4.513362
_COARSE = 24


@dataclass(slots=True, frozen=True)
class Form:
    """How replies are written.

    Attributes:
        nested_images, nested_texts: [[1024]] a row, else [1024]. Recorded: images nested, texts flat.
        factor: the scaling factor in each row, None where the key is absent (an older recording).
        wrapped: {"predictions": [...]} as MLflow wraps it.
        engine: what a local endpoint says of its engine, "" for nothing.
    """

    nested_images: bool = True
    nested_texts: bool = False
    factor: float | None = FACTOR
    wrapped: bool = False
    engine: str = ""


RECORDED = {
    "nested images, flat texts, factor": Form(),
    "all flat, no factor": Form(nested_images=False, factor=None),
    "all nested, no factor": Form(nested_texts=True, factor=None),
}


class InsightDouble:
    """The endpoint.

    Args:
        form: how replies are written.
        latency_s: seconds for each row of a request, as a model that looks at one image after another takes.
        capacity: more requests than this at the same time get 429; 0 for no limit.
        fast: vectors that mean nothing, for measuring the client, always nested and with the factor.

    Attributes:
        requests: for each request ("image" or "text", rows).
        rows: digest of every image that was answered, in order.
        texts: every text that was answered, in order.
        pictures: the PNG bytes of every image answered, in order (where keep is set).
        fail_after: answers this many images, then 500 for ever; None for never.
        peak: most requests at the same time.
    """

    def __init__(self, form: Form = Form(), *, latency_s: float = 0.0, capacity: int = 0, fast: bool = False):
        self.form, self.latency_s, self.capacity, self.fast = form, latency_s, capacity, fast
        self.requests: list[tuple[str, int]] = []
        self.rows: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[bytes] = []
        self.keep = False
        self.fail_after: int | None = None
        self.peak = self.refused = 0
        self._now = 0
        self._lock = threading.Lock()

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the reply to one request."""
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)
            is_full = bool(self.capacity) and self._now > self.capacity
            self.refused += is_full
        try:
            if is_full:
                return 429, _message("too many requests")
            return self._answer(body)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, body: bytes) -> tuple[int, bytes]:
        outer = json.loads(body)
        frame = outer.get("input_data") or outer.get("dataframe_split")
        if set(outer) - {"input_data", "dataframe_split", "params"} or frame["columns"] != ["image", "text"]:
            return 400, _message("unknown keys or columns")
        if type(outer.get("params", {}).get("get_scaling_factor", True)) is not bool:
            return 400, _message("Can not safely convert str to boolean")
        data = frame["data"]
        if frame["index"] != list(range(len(data))):
            return 400, _message("the index does not number the rows")
        with_image, with_text = [bool(image) for image, _ in data], [bool(text) for _, text in data]
        if any(with_image) == any(with_text) or not (all(with_image) or all(with_text)):
            return 400, _message("each column must be all filled or all empty")
        kind = "image" if all(with_image) else "text"
        if self.latency_s:
            time.sleep(self.latency_s * len(data))
        with self._lock:
            if kind == "image" and self.fail_after is not None and len(self.rows) + len(data) > self.fail_after:
                return 500, _message("the model failed")
            self.requests.append((kind, len(data)))
        return 200, self._reply(kind, data)

    def _reply(self, kind: str, data: list) -> bytes:
        if self.fast and kind == "image":
            return self._fast_reply(data)
        rows = []
        for image, text in data:
            if kind == "image":
                png = base64.b64decode(image, validate=True)
                with self._lock:
                    self.rows.append(hashlib.sha256(png).hexdigest())
                    self.pictures += [png] if self.keep else []
                vector = image_vector(png)
                row = {"image_features": [vector] if self.form.nested_images else vector}
            else:
                with self._lock:
                    self.texts.append(text)
                vector = text_vector(text).tolist()
                row = {"text_features": [vector] if self.form.nested_texts else vector}
            row |= {} if self.form.factor is None else {"scaling_factor": self.form.factor}
            rows.append(row | ({"engine": self.form.engine} if self.form.engine else {}))
        return json.dumps({"predictions": rows} if self.form.wrapped else rows).encode()

    def _fast_reply(self, data: list) -> bytes:
        """Image vectors that mean nothing, written beforehand: what is measured is the client."""
        digests = [hashlib.sha256(image.encode()).hexdigest() for image, _text in data]
        with self._lock:
            self.rows += digests
        features = (quick_vector(int(digest[:2], 16) % 32) for digest in digests)
        return ("[" + ", ".join(f'{{"image_features": [{vector}], "scaling_factor": {FACTOR}}}' for vector in features) + "]").encode()

    @contextmanager
    def serve(self, path: str = "/score") -> Iterator[str]:
        """Answer on a free port of loopback while the block runs; gives the URL."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def image_vector(png: bytes) -> list[float]:
    """A unit vector that is near for pictures that look alike."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        coarse = np.asarray(picture.convert("L").resize((_COARSE, _COARSE), Image.Resampling.BOX), float).ravel() / 255.0
    vector = np.concatenate([coarse, [0.2]]) @ _projection()
    return (vector / np.linalg.norm(vector)).astype(np.float32).tolist()


@lru_cache(maxsize=1)
def _projection() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(_COARSE * _COARSE + 1, LENGTH))


@lru_cache(maxsize=64)
def quick_vector(seed: int) -> str:
    """A unit vector as JSON, drawn from a number."""
    vector = np.random.default_rng(seed).normal(size=LENGTH)
    return json.dumps((vector / np.linalg.norm(vector)).round(6).tolist())


def text_vector(text: str) -> np.ndarray:
    """A unit vector drawn from the letters of a text."""
    vector = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")).normal(size=LENGTH)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _message(sentence: str) -> bytes:
    return json.dumps({"message": sentence}).encode()


def _handler(double: InsightDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # headers and body leave together

        def do_POST(self) -> None:
            status, data = double.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
                self.wfile.flush()
            except OSError:
                self.close_connection = True  # the client has gone

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    return Handler
