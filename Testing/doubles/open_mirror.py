"""A checkout that looks like the open mirror of MedImageInsight to whoever imports it: its module, its configuration, and small weights.

The module is the innermost point: what is in it needs torch and 2.46 GB in truth. Here the vectors are made of the picture and of the
text's letters.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

_MODULE = """
import base64, io, sys
import numpy as np
from PIL import Image


class _Shaped:
    def __init__(self, *shape):
        self.shape = shape


class _Network:
    logit_scale = 4.5
    is_evaluating, has_gradients = False, True

    def state_dict(self):
        return {"image_encoder.stem": _Shaped(4, 3), "lang_encoder.table": _Shaped(8, 4), "image_projection": _Shaped(4, 16)}

    def eval(self):
        self.is_evaluating = True

    def requires_grad_(self, wanted):
        self.has_gradients = wanted


class MedImageInsight:
    def __init__(self, model_dir, vision_model_name, language_model_name):
        self.model, self.device = None, None

    def load_model(self):
        print("Model loaded successfully on device: cpu")
        self.model, self.device = _Network(), "cpu"

    def encode(self, images=None, texts=None):
        assert self.model.is_evaluating, "drop-out is on"
        if images:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(images[0]))).resize((4, 4)), np.float32)
            assert pixels.ndim == 3, "a picture must have colors"
            return {"image_embeddings": self._unit(pixels.reshape(16, 3).mean(axis=1) + 1.0), "text_embeddings": None}
        if self.model.has_gradients:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        letters = np.bincount([ord(letter) % 16 for letter in texts[0]], minlength=16)
        return {"image_embeddings": None, "text_embeddings": self._unit(letters + 0.1)}

    @staticmethod
    def _unit(values):
        return (values / np.linalg.norm(values))[None].astype(np.float32)
"""


def make_open_mirror(folder: Path) -> Path:
    """Write such a checkout. Returns its folder."""
    (folder / "2024.09.27" / "vision_model").mkdir(parents=True)
    (folder / "medimageinsightmodel.py").write_text(_MODULE, encoding="utf-8")
    (folder / "2024.09.27" / "config.yaml").write_text("VERBOSE: true\n", encoding="utf-8")
    # Names of an older file, which the mirror's loader translates.
    write_safetensors(
        folder / "2024.09.27" / "vision_model" / "medimageinsigt-v1.0.0.safetensors",
        {"visual.stem": np.zeros((4, 3)), "text.table": np.zeros((8, 4)), "vision_projection": np.zeros((4, 16))},
    )
    return folder


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """A .safetensors file, after the format's published description. Returns its path."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path
