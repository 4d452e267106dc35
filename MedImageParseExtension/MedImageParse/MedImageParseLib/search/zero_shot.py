"""Labels without training: which of several texts an image is nearest to.

probability of label l = softmax over the labels of exp(scaling_factor) * image . text_l. The scaling factor that the model returns is
the logarithm of a temperature (healthcareai-examples, zero-shot notebook); without the exponential the result is nearly uniform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .records import unit_rows

CALIBRATION_NOTE = (
    "The percentages compare the given labels with one another and always add up to 100 %: they are not the chance that a patient has a "
    "finding. A label that fits nothing still gets its share, and leaving out the right label raises the wrong ones. "
    "Check them on cases of your own with known answers before relying on them."
)


@dataclass(slots=True, frozen=True)
class Classified:
    """One image or volume with its labels, the likeliest first."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def best(self) -> str:
        return self.labels[0]


def zero_shot(image_vectors: np.ndarray, text_vectors: np.ndarray, scaling_factor: float) -> np.ndarray:
    """Probabilities of labels for images, row by row.

    Args:
        image_vectors: (images, length) or (length,); scaled to unit length where they are not.
        text_vectors: (labels, length); likewise.
        scaling_factor: log temperature as the model returns it (4.513362 for the published one).

    Returns:
        float64 (images, labels); each row adds up to 1.

    Raises:
        UsageError: fewer than two labels, lengths that differ, or a scaling factor that is not a usable number.
        InputError: vectors that cannot be used.
    """
    images, texts = _float64_units(image_vectors), _float64_units(text_vectors)
    if len(texts) < 2:
        raise UsageError("Give at least two labels: the probabilities compare labels with one another, so one alone always gets 100 %.")
    if images.shape[1] != texts.shape[1]:
        raise UsageError(
            f"The image vectors have {images.shape[1]} numbers and the label vectors {texts.shape[1]}; embed both with the same model."
        )
    if not math.isfinite(scaling_factor) or abs(scaling_factor) > 100:
        raise UsageError(f"The scaling factor {scaling_factor} is not usable; it is a logarithm near 4.5 for the published model.")
    logits = math.exp(scaling_factor) * (images @ texts.T)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def volume_vector(image_vectors: np.ndarray) -> np.ndarray:
    """One vector for a volume: the mean of its slices' unit vectors, scaled back to unit length.

    The mean of unit vectors points in the direction that is nearest to all of them (it maximizes the sum of cosines). It suits what most
    slices show; a finding in few slices is diluted, so look at the slices' own results as well.

    Args:
        image_vectors: (slices, length).

    Returns:
        float32 (length,).

    Raises:
        InputError: no vectors, vectors that cannot be used, or vectors that cancel one another.
    """
    return unit_rows(_float64_units(image_vectors).mean(axis=0)[None])[0]


def zero_shot_volume(image_vectors: np.ndarray, text_vectors: np.ndarray, scaling_factor: float) -> np.ndarray:
    """Probabilities of labels for a whole volume, float64 (labels,): those of its `volume_vector`."""
    return zero_shot(volume_vector(image_vectors)[None], text_vectors, scaling_factor)[0]


def ranked(probabilities: np.ndarray, labels: Sequence[str]) -> Classified:
    """One row of probabilities as labels, the likeliest first; equal ones stay in the order given."""
    if len(labels) != len(probabilities):
        raise UsageError(f"There are {len(labels)} labels for {len(probabilities)} probabilities.")
    order = np.argsort(-np.asarray(probabilities), kind="stable")
    return Classified(tuple(labels[place] for place in order), tuple(float(probabilities[place]) for place in order))


def _float64_units(vectors: np.ndarray) -> np.ndarray:
    rows = unit_rows(vectors).astype(np.float64)
    return rows
