"""The classical demo engine as an engine among others: the default, which needs nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models import LOCAL_NAMES
from ...program import command_name
from ...progress import Progress
from ..deepbrain.served import head_finder
from ..interface import Answer, Engine
from .engine import DESCRIBER_NAME, ENGINE_NAME, describe_image, segment_image, segment_volume
from .targets import read_prompt

_HINT = (
    "The demo guesses the brain from shapes. On T1-weighted MR a small trained network is far better: run `{command} engine add deepbrain` "
    "once, and the demo uses it."
)


class Classical(Engine):
    """Classical image processing; no learned weights."""

    name = "classical"
    title = "classical demo"
    version = "2"
    licence = "MIT"
    models = tuple(LOCAL_NAMES)
    finds = "body, lungs, airways, bones, fat and some organs on CT; brain and head on MR (the brain by deepbrain's network where that was added); foreground and lungs in pictures"
    seconds_a_slice = 0.02  # of a volume; a picture alone takes up to 0.3 s
    scaling_factor = 4.513362  # as the real MedImageInsight replies
    label = ENGINE_NAME
    vectors_label = DESCRIBER_NAME

    def load(self, progress: Progress) -> None:
        """Import what it computes with, so that the first request does not wait for it."""
        import SimpleITK  # noqa: F401
        from scipy import ndimage  # noqa: F401

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine. Where structures overlap the smaller one wins, so that one labelmap says it all.

        The brain on MR is asked of deepbrain where that was added, and the answer says so; else it says how to add it.
        """
        brain = [read_prompt(prompt).kind == "brain" for prompt in prompts]
        head = head_finder()
        labels = segment_volume(voxels_kji, ijk_to_ras, prompts, head)
        found = head.found
        if found is None:
            return Answer(labels=labels)  # Hounsfield units, or nobody asked for the brain
        if head.network is None:
            return Answer(labels=labels, notes=[] if found.reason else [_HINT.format(command=command_name())])
        there = [asked and bool((labels == value).any()) for value, asked in enumerate(brain, start=1)]
        return Answer(
            labels=labels,
            reasons=[found.reason if asked and not seen else "" for asked, seen in zip(brain, there)],
            found_by=[head.who if found.mask is not None and seen else "" for seen in there],
        )

    def segment_image(self, pixels: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine."""
        return Answer([mask != 0 for mask in segment_image(pixels, prompts)])

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        """A vector of image features; see descriptors."""
        return describe_image(pixels)
