"""Labels without training: which of several texts an image is nearest to.

probability of label l = softmax over the labels of exp(scaling_factor) * image . text_l. The scaling factor that the model returns is
the logarithm of a temperature (healthcareai-examples, zero-shot notebook); without the exponential the result is nearly uniform.

Which images or studies are unlike the rest: distance to the nearest members of a reference set, ranked.

The study vector and the distance follow the outlier demonstration of healthcareai-examples.

A map of an index: vectors as points in the plane, near where the images are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UsageError
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


STATISTICS = ("mean", "standard deviation", "minimum", "25 %", "median", "75 %", "maximum")
_DISTANCES_AT_ONCE = 16_000_000  # bounds the memory
_SPARE = 8  # nearest members measured again beyond those asked for


@dataclass(slots=True, frozen=True)
class Outlier:
    """One item of a ranking.

    Attributes:
        place: its row in the vectors that were ranked.
        distance: Euclidean distance to the reference set.
        percentile: share of the reference set, 0 to 100, that is nearer to the rest of the reference set than this item is.
    """

    place: int
    distance: float
    percentile: float


def study_vector(vectors: np.ndarray) -> np.ndarray:
    """Seven statistics over a study's slices, one after the other: mean, standard deviation (n - 1), minimum, the three quartiles
    (linear interpolation) and maximum.

    The standard deviation of a single slice is taken as 0. The result is not of unit length; compare by Euclidean distance.

    Args:
        vectors: (slices, length).

    Returns:
        float32 (7 * length,): 7168 numbers for the published model.

    Raises:
        InputError: no slices, or numbers that are not finite.
    """
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise InputError("A study vector needs at least one slice vector, with finite numbers only.")
    deviation = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
    quartiles = np.percentile(rows, (25, 50, 75), axis=0)
    return np.concatenate([rows.mean(axis=0), deviation, rows.min(axis=0), *quartiles, rows.max(axis=0)]).astype(np.float32)


def knn_distances(
    vectors: np.ndarray, reference: np.ndarray, *, neighbors: int = 1, own_places: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Mean Euclidean distance of each vector to its nearest members of a reference set.

    Args:
        vectors: (rows, length).
        reference: (members, length).
        neighbors: over how many of the nearest to average.
        own_places: for each row its own place in the reference set, -1 where it has none: nobody is his own neighbor.

    Returns:
        float64 (rows,).

    Raises:
        UsageError: fewer members than neighbors (not counting oneself), or lengths that differ.
    """
    rows, members = np.atleast_2d(np.asarray(vectors)), np.atleast_2d(np.asarray(reference))
    if rows.shape[1] != members.shape[1]:
        raise UsageError(f"The vectors have {rows.shape[1]} numbers and the reference set {members.shape[1]}; use the same model for both.")
    own = np.full(len(rows), -1) if own_places is None else np.asarray(own_places)
    available = len(members) - int((own >= 0).any())
    if not 1 <= neighbors <= available:
        few = f"The reference set has {available} other members, too few for {neighbors} neighbors"
        raise UsageError(f"{few}; enlarge it or ask for fewer.")
    rows, members = rows.astype(np.float32, copy=False), members.astype(np.float32, copy=False)
    squares = np.einsum("ij,ij->i", members, members)
    distances = np.empty(len(rows))
    step = max(1, _DISTANCES_AT_ONCE // len(members))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        relative = squares - 2.0 * (block @ members.T)  # squared distance but for the row's own square, which moves no rank
        places = own[start : start + step]
        known = np.flatnonzero(places >= 0)
        relative[known, places[known]] = np.inf
        for row, vector in enumerate(block.astype(np.float64)):
            distances[start + row] = _nearest(vector, relative[row], members, neighbors).mean()
    return distances


def _nearest(vector: np.ndarray, relative: np.ndarray, members: np.ndarray, neighbors: int) -> np.ndarray:
    """Exact distances to the nearest members. The expanded squares lose digits, so a few more than needed are measured again."""
    count = min(neighbors + _SPARE, np.count_nonzero(relative < np.inf))
    candidates = np.argpartition(relative, count - 1)[:count]
    return np.sort(np.linalg.norm(members[candidates].astype(np.float64) - vector, axis=1))[:neighbors]


def rank_outliers(
    vectors: np.ndarray, reference: np.ndarray, *, neighbors: int = 1, own_places: Sequence[int] | np.ndarray | None = None
) -> list[Outlier]:
    """Rank vectors by their distance to a reference set, the most unusual first. Arguments and errors as for `knn_distances`."""
    distances = knn_distances(vectors, reference, neighbors=neighbors, own_places=own_places)
    members = len(np.atleast_2d(reference))
    if members > neighbors:
        usual = np.sort(knn_distances(reference, reference, neighbors=neighbors, own_places=np.arange(members)))
        percentiles = np.searchsorted(usual, distances, side="left") / members * 100.0
    else:
        percentiles = np.full(len(distances), np.nan)
    order = np.argsort(-distances, kind="stable")
    return [Outlier(int(place), float(distances[place]), float(percentiles[place])) for place in order]


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
