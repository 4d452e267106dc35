"""A package that looks like VoxTell to whoever imports it, with its network and its text model replaced by rules.

The prompt "bright" finds what is above 100; "right" and "top" find the halves of the array that lie there, if it runs as the real package
wants it (slices upwards, rows to anterior, columns to the right).
"""

from __future__ import annotations

from pathlib import Path

_PREDICTOR = """
import os
import numpy as np


class VoxTellPredictor:
    def __init__(self, model_dir=None, device=None, text_encoding_model="Qwen/Qwen3-Embedding-4B", embedding_bank=None):
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1" and device == "device cpu"
        if not os.path.isfile(os.path.join(model_dir, "plans.json")):
            raise FileNotFoundError("plans.json")

    def embed_text_prompts(self, text_prompts):
        if "no text model" in text_prompts:
            raise OSError("Can't load the configuration of 'Qwen/Qwen3-Embedding-4B'")
        return list(text_prompts)

    def predict_single_image(self, data, text_prompts=None, text_embeddings=None, progress_callback=None):
        assert data.ndim == 4 and data.shape[0] == 1 and data.dtype == np.float32 and data.flags["C_CONTIGUOUS"] and text_embeddings
        data, masks = data[0], np.zeros((len(text_embeddings), *data.shape[1:]), np.uint8)
        assert data.any(), "nnU-Net's cropping fails on an empty image"
        for mask, prompt in zip(masks, text_embeddings):
            if prompt == "bright":
                mask[data > 100] = 1
            elif prompt == "right":
                mask[:, :, data.shape[2] // 2 :] = 1
            elif prompt == "top":
                mask[data.shape[0] // 2 :] = 1
        return masks
"""


def make_package(folder: Path) -> Path:
    """Write the package, and as much of torch as the engine asks for. Returns the folder to put on the path."""
    package = folder / "voxtell" / "inference"
    package.mkdir(parents=True)
    for init in (package.parent / "__init__.py", package / "__init__.py"):
        init.write_text("", encoding="utf-8")
    (package / "predictor.py").write_text(_PREDICTOR, encoding="utf-8")
    torch = "class cuda:\n    is_available = staticmethod(lambda: False)\n\n\ndef device(name):\n    return f'device {name}'\n"
    (folder / "torch.py").write_text(torch, encoding="utf-8")
    return folder
