"""MedImageInsight as an engine: the open mirror's own code and weights, which the person brings. Nothing of either is in this package.

The mirror's loader takes whatever of a checkpoint fits and says nothing of the rest, and starts with random weights where there is none, so
the file is looked at here first: names, shapes and length, as its own header (safetensors) lists them.
"""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UsageError
from ..progress import Progress
from .interface import Engine, Need

_FOLDER = "2024.09.27"  # of the mirror's configuration, weights and vocabulary
_MOST_HEADER = 64 << 20
_OLD_NAMES = (("visual.", "image_encoder."), ("text.", "lang_encoder."))
_OLD_PROJECTIONS = {"vision_projection": "image_projection", "text_projection": "lang_projection"}


class MedImageInsight(Engine):
    """MedImageInsight: vectors of pictures and texts."""

    name = "medimageinsight"
    title = "MedImageInsight"
    version = _FOLDER
    licence = "MIT"
    models = ("medimageinsight",)
    finds = "similar images, images that fit a text, and classes by their names (zero-shot)"
    scaling_factor = 4.513362  # the published model's; the checkpoint's own takes its place when it is loaded
    reads_text = True
    requirements = (
        "torch==2.13.0",
        "torchvision==0.28.0",
        "transformers==4.46.2",
        "timm==1.0.15",
        "safetensors>=0.4,<1",
        "einops==0.8.0",
        "mup==1.0.0",
        "fvcore==0.1.5.post20221221",
        "ftfy==6.2.3",
        "sentencepiece>=0.2,<1",
        "pandas>=2,<3",
        "requests>=2.31,<3",
        "pyyaml>=6,<7",
        "yacs>=0.1.8",
        "tenacity>=9,<10",
        "numpy>=1.26,<3",
        "pillow>=10,<14",
    )
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        "repo": Need("your checkout of the open mirror, lion-ai/MedImageInsights on huggingface.co", "folder", True),
        "checkpoint": Need("its weights (2.46 GB), a .safetensors; without it the one in the checkout", "file", False, True),
        "device": Need("cpu to leave a GPU alone"),
    }

    def load(self, progress: Progress) -> None:
        """See Engine."""
        repo = Path(self.options["repo"])
        folder = repo / _FOLDER
        if not (repo / "medimageinsightmodel.py").is_file() or not (folder / "config.yaml").is_file():
            raise UsageError(
                "The checkout of MedImageInsight has no medimageinsightmodel.py or no {folder}/config.yaml: bring it whole.", folder=_FOLDER
            )
        weights = self._weights(folder)
        progress("reading the checkpoint", 0, 0)
        listed = read_header(weights)
        if self.options.get("device", "") == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # its code takes a GPU where it sees one
        progress("importing torch", 0, 0)
        sys.path.insert(0, str(repo))
        from medimageinsightmodel import MedImageInsight as Published

        progress("loading weights", 0, 0)
        # The mirror joins the name to its own folder; an absolute path stays what it is.
        self._model = Published(model_dir=str(folder), vision_model_name=str(weights), language_model_name="language_model.pth")
        self._model.load_model()
        compare(listed, self._model.model.state_dict())
        self._model.model.eval()  # the mirror leaves drop-out on, which makes vectors random
        self._model.model.requires_grad_(False)  # and the gradients, with which its texts cannot become arrays
        self.scaling_factor = float(self._model.model.logit_scale)
        self.device = str(self._model.device)
        progress("loading weights", 1, 1)

    def _weights(self, folder: Path) -> Path:
        if self.options.get("checkpoint"):
            return Path(self.options["checkpoint"])
        found = sorted((folder / "vision_model").glob("*.safetensors"))
        if len(found) != 1:
            raise UsageError(
                "The checkout has no weights in {folder}/vision_model: add the engine again with --checkpoint FILE.", folder=_FOLDER
            )
        return found[0]

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        """See Engine."""
        from PIL import Image

        packed = io.BytesIO()
        picture = Image.fromarray(pixels)
        picture.convert("RGB").save(packed, format="PNG")
        encoded = base64.b64encode(packed.getvalue()).decode("ascii")
        return _vector(self._model.encode(images=[encoded])["image_embeddings"])

    def embed_text(self, text: str) -> np.ndarray:
        """See Engine."""
        return _vector(self._model.encode(texts=[text])["text_embeddings"])


def _vector(rows: Any) -> np.ndarray:
    return np.asarray(rows[0], np.float32).reshape(-1)


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a .safetensors, by the file's own header.

    Raises:
        InputError: it is none, or shorter than its header says.
    """
    damaged = f"The checkpoint {path.name} is damaged, truncated or no .safetensors: bring it anew and compare its size with its source."
    try:
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _MOST_HEADER:
                raise InputError(damaged)
            header = json.loads(stream.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        last = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in tensors.items()}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(damaged) from error
    if not shapes or path.stat().st_size < 8 + length + last:
        raise InputError(damaged)
    return shapes


def compare(listed: dict[str, tuple[int, ...]], own: Any) -> None:
    """Whether a checkpoint is the network's.

    Args:
        listed: names and shapes in the file.
        own: the network's tensors by name.

    Raises:
        InputError: it is another model's.
    """
    renamed = {_today(name): shape for name, shape in listed.items()}
    missing = [name for name in own if name not in renamed]
    misshapen = [name for name in own if name in renamed and tuple(own[name].shape) != renamed[name]]
    if len(missing) > len(own) // 20 or misshapen:
        raise InputError(
            "The checkpoint is not one of MedImageInsight: {count} of its {count2} tensors are missing and {count3} have another shape; give the weights that belong to the checkout.",
            count=len(missing),
            count2=len(own),
            count3=len(misshapen),
        )


def _today(name: str) -> str:
    """The name that the mirror's loader gives to a tensor of an older file."""
    for old, new in _OLD_NAMES:
        if name.startswith(old):
            return new + name[len(old) :]
    return _OLD_PROJECTIONS.get(name, name)
