"""Labels without training: which of several texts an image is nearest to.

probability of label l = softmax over the labels of exp(scaling_factor) * image . text_l. The scaling factor that the model returns is
the logarithm of a temperature (healthcareai-examples, zero-shot notebook); without the exponential the result is nearly uniform.

A map of an index: vectors as points in the plane, near where the images are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UsageError
from ..packages import require
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
            "The image vectors have {shape} numbers and the label vectors {shape2}; embed both with the same model.",
            shape=images.shape[1],
            shape2=texts.shape[1],
        )
    if not math.isfinite(scaling_factor) or abs(scaling_factor) > 100:
        raise UsageError(
            "The scaling factor {scaling_factor} is not usable; it is a logarithm near 4.5 for the published model.",
            scaling_factor=scaling_factor,
        )
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
        raise UsageError("There are {count} labels for {count2} probabilities.", count=len(labels), count2=len(probabilities))
    order = np.argsort(-np.asarray(probabilities), kind="stable")
    return Classified(tuple(labels[place] for place in order), tuple(float(probabilities[place]) for place in order))


def _float64_units(vectors: np.ndarray) -> np.ndarray:
    return unit_rows(vectors).astype(np.float64)


METHODS = ("auto", "pca", "umap")
_EXACT_NUMBERS = 2_000_000  # up to this many numbers the exact decomposition takes well under a second
_ROWS_AT_ONCE = 4096
_EXTRA, _POWER_STEPS = 10, 4


@dataclass(slots=True, frozen=True)
class Map:
    """Points of a map.

    Attributes:
        points: float64 (rows, 2).
        method: "pca" or "umap": how it was made in the end.
        explained: share of the variance along each axis (PCA); NaN for UMAP, where there is no such thing.
    """

    points: np.ndarray
    method: str
    explained: tuple[float, float]


def map_2d(vectors: np.ndarray, *, method: str = "auto", seed: int = 0) -> Map:
    """Lay vectors out in the plane. The same vectors always give the same map.

    Args:
        vectors: (rows, length).
        method: "pca": principal components, by singular value decomposition (randomized with power iteration, after Halko et al. 2011,
            where there are many vectors); "umap": UMAP, where the package umap-learn is installed; "auto": UMAP if it is there and there
            are vectors enough for it, else PCA.
        seed: for the randomized steps.

    Raises:
        UsageError: an unknown method, or UMAP asked for where it is not installed.
        InputError: no vectors, or numbers that are not finite.
    """
    if method not in METHODS:
        raise UsageError('The map can be made by {listed}, not by "{method}".', listed=", ".join(METHODS), method=method)
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise InputError("A map needs at least one vector, with finite numbers only.")
    if method == "umap" or (method == "auto" and len(rows) >= 16):
        points = _by_umap(rows, seed, required=method == "umap")
        if points is not None:
            return Map(points, "umap", (float("nan"), float("nan")))
    return _by_pca(rows, seed)


def _by_umap(rows: np.ndarray, seed: int, *, required: bool) -> np.ndarray | None:
    if required:
        require("umap", "UMAP", "or choose PCA instead")
    try:
        import umap
    except ImportError:
        if required:
            raise
        return None
    if len(rows) < 4:
        if required:
            raise UsageError("UMAP needs at least four vectors; choose PCA instead.")
        return None
    neighbors = min(15, len(rows) - 1)
    reducer = umap.UMAP(n_components=2, metric="cosine", n_neighbors=neighbors, init="random", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(rows), np.float64)


def _by_pca(rows: np.ndarray, seed: int) -> Map:
    middle = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    variance = sum(float(np.einsum("ij,ij->", part, part, dtype=np.float64)) for _, part in _centered(rows, middle))
    points, explained = np.zeros((len(rows), 2)), [0.0, 0.0]
    if variance > 0.0:
        left, values, axes = _decompose(rows, middle, seed)
        for place in range(min(2, len(values))):
            # A singular vector's sign is arbitrary: the largest loading is made positive, so that a map does not flip.
            sign = 1.0 if axes[place][np.argmax(np.abs(axes[place]))] >= 0 else -1.0
            points[:, place] = sign * left[:, place] * values[place]
            explained[place] = float(values[place] ** 2 / variance)
    return Map(points, "pca", (explained[0], explained[1]))


def _centered(rows: np.ndarray, middle: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows at a time, less their mean, with their places: a copy of all of them may be as much memory as there is."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        here = slice(start, start + _ROWS_AT_ONCE)
        yield here, rows[here] - middle


def _decompose(rows: np.ndarray, middle: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The leading left singular vectors, singular values and right singular vectors of the rows less their mean."""
    if rows.size <= _EXACT_NUMBERS:
        return np.linalg.svd((rows - middle).astype(np.float64), full_matrices=False)

    def times(other: np.ndarray) -> np.ndarray:
        return np.concatenate([part @ other for _, part in _centered(rows, middle)])

    def turned_times(other: np.ndarray) -> np.ndarray:
        return sum((part.T @ other[here] for here, part in _centered(rows, middle)), np.zeros((rows.shape[1], other.shape[1]), np.float32))

    directions = min(2 + _EXTRA, *rows.shape)
    probe = np.random.default_rng(seed).standard_normal((rows.shape[1], directions)).astype(np.float32)
    basis = np.linalg.qr(times(probe))[0]
    for _ in range(_POWER_STEPS):
        basis = np.linalg.qr(times(np.linalg.qr(turned_times(basis))[0]))[0]
    left, values, axes = np.linalg.svd(turned_times(basis).T.astype(np.float64), full_matrices=False)
    return basis @ left, values, axes
