"""The classical demo engine as an engine among others: the default, which needs nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models import LOCAL_NAMES
from ...progress import Progress
from ..interface import Answer, Engine
from .engine import DESCRIBER_NAME, ENGINE_NAME, describe_image, segment_image, segment_volume


class Classical(Engine):
    """Classical image processing; no learned weights."""

    name = "classical"
    title = "classical demo"
    version = "2"
    licence = "MIT"
    models = tuple(LOCAL_NAMES)
    finds = "body, lungs, airways, bones, fat and some organs on CT; brain and head on MR; foreground and lungs in pictures"
    scaling_factor = 4.513362  # as the real MedImageInsight replies
    label = ENGINE_NAME
    vectors_label = DESCRIBER_NAME

    def load(self, progress: Progress) -> None:
        """Import what it computes with, so that the first request does not wait for it."""
        import SimpleITK  # noqa: F401
        from scipy import ndimage  # noqa: F401

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine. Where structures overlap the smaller one wins, so that one labelmap says it all."""
        return Answer(labels=segment_volume(voxels_kji, ijk_to_ras, prompts))

    def segment_image(self, pixels: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine."""
        return Answer([mask != 0 for mask in segment_image(pixels, prompts)])

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        """A vector of image features; see descriptors."""
        return describe_image(pixels)
