"""A map of an index: vectors as points in the plane, near where the images are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UsageError

METHODS = ("auto", "pca", "umap")
_EXACT_NUMBERS = 2_000_000  # up to this many numbers the exact decomposition takes well under a second
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
        raise UsageError(f'The map can be made by {", ".join(METHODS)}, not by "{method}".')
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise InputError("A map needs at least one vector, with finite numbers only.")
    if method == "umap" or (method == "auto" and len(rows) >= 16):
        points = _by_umap(rows, seed, required=method == "umap")
        if points is not None:
            return Map(points, "umap", (float("nan"), float("nan")))
    return _by_pca(rows, seed)


def _by_umap(rows: np.ndarray, seed: int, *, required: bool) -> np.ndarray | None:
    try:
        import umap
    except ImportError:
        if required:
            raise UsageError("UMAP needs the package umap-learn, which is not installed; choose PCA instead.") from None
        return None
    if len(rows) < 4:
        if required:
            raise UsageError("UMAP needs at least four vectors; choose PCA instead.")
        return None
    neighbors = min(15, len(rows) - 1)
    reducer = umap.UMAP(n_components=2, metric="cosine", n_neighbors=neighbors, init="random", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(rows), np.float64)


def _by_pca(rows: np.ndarray, seed: int) -> Map:
    centered = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    variance = float(np.einsum("ij,ij->", centered, centered, dtype=np.float64))
    points, explained = np.zeros((len(rows), 2)), [0.0, 0.0]
    if variance > 0.0:
        left, values, axes = _decompose(centered, seed)
        for place in range(min(2, len(values))):
            # A singular vector's sign is arbitrary: the largest loading is made positive, so that a map does not flip.
            sign = 1.0 if axes[place][np.argmax(np.abs(axes[place]))] >= 0 else -1.0
            points[:, place] = sign * left[:, place] * values[place]
            explained[place] = float(values[place] ** 2 / variance)
    return Map(points, "pca", (explained[0], explained[1]))


def _decompose(centered: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The leading left singular vectors, singular values and right singular vectors."""
    if centered.size <= _EXACT_NUMBERS:
        return np.linalg.svd(centered.astype(np.float64), full_matrices=False)
    directions = min(2 + _EXTRA, *centered.shape)
    probe = np.random.default_rng(seed).standard_normal((centered.shape[1], directions)).astype(np.float32)
    basis = np.linalg.qr(centered @ probe)[0]
    for _ in range(_POWER_STEPS):
        basis = np.linalg.qr(centered @ np.linalg.qr(centered.T @ basis)[0])[0]
    small = (basis.T @ centered).astype(np.float64)
    left, values, axes = np.linalg.svd(small, full_matrices=False)
    return basis @ left, values, axes
