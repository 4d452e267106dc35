"""The three models as their documentation words them, for a `FaultServer`: right in form, empty in content.

Each refuses what it cannot read the way Azure's front end tells of it: 424 with the model's own status.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import threading
from dataclasses import dataclass, field

import nibabel
import numpy as np
from PIL import Image

from doubles import fault_server as f


def image_sent(connection: f.Connection) -> tuple[bytes, str]:
    content = json.loads(connection.read_body())
    frame = content.get("input_data") or content["dataframe_split"]
    assert frame["columns"] == ["image", "text"] and len(frame["data"]) == 1
    return base64.b64decode(frame["data"][0][0]), frame["data"][0][1]


def misfit(connection: f.Connection) -> None:
    connection.reply(424, b'{"message": "An unexpected error occurred in scoring script."}', {"ms-azureml-model-error-statuscode": "500"})


def _answer(connection: f.Connection, row: dict, engine: str) -> None:
    connection.reply(200, json.dumps([{**row, "engine": engine} if engine else row]).encode())


def picture_model(engine: str = "") -> f.Behavior:
    """MedImageParse as documented: any picture that Pillow reads, one map a prompt."""

    def act(connection: f.Connection) -> None:
        data, text = image_sent(connection)
        if not data.startswith(b"\x89PNG"):
            return misfit(connection)
        size = Image.open(io.BytesIO(data)).size
        maps = np.zeros((len(text.split("&")), *size[::-1]), np.uint8)
        inner = {"data": base64.b64encode(maps.tobytes()).decode(), "shape": list(maps.shape), "dtype": "uint8"}
        return _answer(connection, {"image_features": json.dumps(inner), "text_features": ["liver"]}, engine)

    return act


def volume_model(engine: str = "") -> f.Behavior:
    """MedImageParse 3D as documented: a .nii.gz in, a labelmap of the same shape out."""

    def act(connection: f.Connection) -> None:
        data, _ = image_sent(connection)
        if not data.startswith(b"\x1f\x8b"):
            return misfit(connection)
        sent = nibabel.Nifti1Image.from_bytes(gzip.decompress(data))
        labels = nibabel.Nifti1Image(np.zeros(sent.shape, np.uint8), sent.affine)
        packed = base64.b64encode(gzip.compress(labels.to_bytes())).decode()
        return _answer(connection, {"nifti_file": json.dumps({"data": packed})}, engine)

    return act


def insight_model(engine: str = "") -> f.Behavior:
    """MedImageInsight as documented; a request with a text beside the image gives both vectors."""

    def act(connection: f.Connection) -> None:
        data, text = image_sent(connection)
        if not data.startswith(b"\x89PNG"):
            return misfit(connection)
        row: dict = {"image_features": [[1.0] + [0.0] * 1023], "scaling_factor": 4.513362}
        if text:
            row["text_features"] = [1.0] + [0.0] * 1023
        return _answer(connection, row, engine)

    return act


MODELS = {"medimageparse": picture_model, "medimageparse3d": volume_model, "medimageinsight": insight_model}


@dataclass
class Capacity:
    """A model that takes `seconds` for a request and `at_once` of them together.

    Beyond that it answers 429, or, with `queues`, lets them wait. Remembers the most it ever saw at once.
    """

    seconds: float
    at_once: int
    queues: bool = False
    most: int = 0
    refused: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._room = threading.Semaphore(self.at_once)

    def __call__(self, connection: f.Connection) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            too_many = self._now > self.at_once and not self.queues
            self.refused += too_many
        try:
            connection.read_body()
            if not too_many:
                with self._room:
                    connection.server.stopping.wait(self.seconds)
        finally:
            with self._lock:
                self._now -= 1
        connection.reply(429 if too_many else 200, b"[{}]")
