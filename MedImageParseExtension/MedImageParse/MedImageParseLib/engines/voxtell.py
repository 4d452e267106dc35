"""VoxTell as an engine: its own package, which brings its weights by itself or takes the person's own. Prompts are free text.

What is not as its command line does it: nothing is told to the hub's statistics, and a volume without any contrast is not given to it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pickle import UnpicklingError

import numpy as np

from ..errors import InputError, MedImageParseError
from ..imaging.geometry import AxisMap
from ..progress import Progress
from .interface import Answer, Engine, Need
from .torches import choose_device, device_name


class VoxTell(Engine):
    """VoxTell 1.1, volumes."""

    name = "voxtell"
    title = "VoxTell"
    version = "1.1"
    licence = "Apache-2.0, weights for non-commercial use only"
    models = ("medimageparse3d",)
    wants = "HU"
    finds = "what a free text names in CT, MR and PET: organs, parts of them, and lesions"
    requirements = (
        "voxtell==0.1.2",
        "torch==2.13.0",
        "torchvision==0.28.0",
        "nnunetv2==2.8.1",
        "transformers==5.24.0",
        "acvl-utils==0.2.6",
        "dynamic-network-architectures==0.4.4",
        "numpy>=1.26,<3",
        "nibabel>=5.2,<6",
    )
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        "weights": Need(
            "a folder with its weights (plans.json and fold_0); the package downloads them without it", "folder", is_weights=True
        ),
        "encoder": Need("a folder with the text model Qwen3-Embedding-4B; the package downloads it without it, 8 GB", "folder"),
        "embeddings": Need("a file .npz with vectors of prompts; the package downloads its own without it", "file"),
        "device": Need("cpu, cuda or cuda:1; the best there is without it"),
    }
    terms = (
        "The weights of VoxTell are for non-commercial use (its code is under Apache-2.0), their file can run code of its own while it is "
        "read, so take it from its authors only, and the package downloads them and a text model of 8 GB from huggingface.co"
    )

    def load(self, progress: Progress) -> None:
        """See Engine."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # what is asked for here is nobody else's business
        progress("importing torch", 0, 0)
        import torch
        from voxtell.inference.predictor import VoxTellPredictor

        where = choose_device(self.options.get("device", ""))
        progress("loading weights", 0, 0)
        more = {"text_encoding_model": self.options["encoder"]} if "encoder" in self.options else {}
        try:
            self._predictor = VoxTellPredictor(
                model_dir=self.options.get("weights"), device=torch.device(where), embedding_bank=self.options.get("embeddings"), **more
            )
        except (OSError, EOFError, KeyError, RuntimeError, UnpicklingError) as error:
            if "memory" in str(error).lower():
                raise
            raise InputError(
                "VoxTell's weights cannot be loaded or downloaded: give a folder with plans.json and fold_0/checkpoint_final.pth of "
                "voxtell_v1.1, whole (--set weights=DIR)."
            ) from error
        self.device = device_name(where)

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine."""
        if not prompts:
            return Answer()
        gray = voxels_kji if voxels_kji.ndim == 3 else voxels_kji.mean(axis=3)
        if not gray.size or gray.min() == gray.max():
            return Answer([None] * len(prompts), reasons=["The volume holds one value everywhere."] * len(prompts))
        # It takes arrays as nnU-Net's reader turns them: slices first, RAS.
        axes = AxisMap.towards(ijk_to_ras, ("S", "A", "R"))
        try:
            vectors = self._predictor.embed_text_prompts(list(prompts))
        except (OSError, ValueError, ImportError) as error:
            raise MedImageParseError(
                "VoxTell's text model cannot be loaded or downloaded: give a folder with Qwen3-Embedding-4B (--set encoder=DIR), or a file "
                "with the vectors of these prompts (--set embeddings=FILE)."
            ) from error
        image = np.ascontiguousarray(axes.apply(gray), np.float32)[None]
        found = self._predictor.predict_single_image(image, text_embeddings=vectors)
        masks = [axes.undo(np.asarray(mask)) != 0 for mask in found]
        return Answer([np.ascontiguousarray(mask) if mask.any() else None for mask in masks])
