"""How well a mask fits a reference. Arrays in, numbers out.

Definitions and their sources:
- Dice: 2 V(A and B) / (V(A) + V(B)); both empty: NaN; one empty: 0.
- Surface Dice (NSD): google-deepmind/surface-distance. Surface elements with areas from the 2x2x2 neighbour codes, distances from a
  Euclidean distance transform of the border; the area within the tolerance of the other surface, both ways, over both areas.
- Instances and the `challenge_…` functions: CVPR25_text_eval.py of the CVPR 2025 challenge (JunMa11/CVPR-MedSegFMCompetition), with
  its quirks, so that numbers can be laid beside the published ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..imaging.volume import bounding_box
from ..packages import is_there, require

CHALLENGE_TOLERANCE_MM = 2.0
IOU_OF_A_HIT = 0.5
BOOTSTRAP_DRAWS = 2000
_BOOTSTRAP_SEED = 20260101


@dataclass(slots=True, frozen=True)
class Overlap:
    """A structure of one case, measured.

    Attributes:
        dice: 0..1; NaN where both masks are empty.
        nsd: surface Dice at the tolerance, 0..1; NaN where both are empty.
        hd95_mm: 95 % Hausdorff distance; infinite where one mask is empty, NaN where both are.
        reference_ml, prediction_ml: volumes.
        sensitivity: share of the reference that was found; NaN without a reference.
        precision: share of the prediction that is right; NaN without a prediction.
    """

    dice: float
    nsd: float
    hd95_mm: float
    reference_ml: float
    prediction_ml: float
    sensitivity: float
    precision: float

    @property
    def difference_ml(self) -> float:
        """Prediction minus reference."""
        return self.prediction_ml - self.reference_ml

    @property
    def difference_percent(self) -> float:
        """Of the reference's volume; NaN without a reference."""
        return 100.0 * self.difference_ml / self.reference_ml if self.reference_ml else float("nan")

    @property
    def presence(self) -> str:
        """Whether the structure is there at all: "TP", "FP", "FN" or "TN"."""
        return ("TP" if self.prediction_ml else "FN") if self.reference_ml else ("FP" if self.prediction_ml else "TN")


@dataclass(slots=True, frozen=True)
class Instances:
    """Found objects against those of the reference.

    Attributes:
        hits, false_positives, false_negatives: counts at an IoU of at least 0.5.
        f1: 2PR / (P + R), 0 where nothing was predicted.
        dice_of_hits: mean Dice of the matched pairs, 0 where there are none.
    """

    hits: int
    false_positives: int
    false_negatives: int
    f1: float
    dice_of_hits: float


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice of two boolean arrays of one shape; NaN where both are empty."""
    volumes = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(reference & prediction)) / volumes if volumes else float("nan")


def has_surface_distances() -> bool:
    """Whether the package that measures surfaces is installed."""
    return is_there("surface_distance")


def surface_measures(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance_mm: float) -> tuple[float, float]:
    """Surface Dice and 95 % Hausdorff distance of two boolean arrays.

    Args:
        reference: what is right; three axes, in any order.
        prediction: what is measured, of the same shape.
        spacing: mm along the arrays' axes, in their order.
        tolerance_mm: distance up to which a surface element counts as right.

    Returns:
        (NSD, HD95 in mm): (NaN, NaN) where both are empty, (0, infinity) where one is.

    Raises:
        UsageError: the package surface-distance is not installed.
    """
    empty = not reference.any(), not prediction.any()
    if any(empty):  # the package stumbles over empty masks with numpy 2
        return (float("nan"), float("nan")) if all(empty) else (0.0, float("inf"))
    require("surface_distance", "measuring surface distances")
    import surface_distance

    box = bounding_box(reference | prediction)
    masks = (np.ascontiguousarray(side[box]) for side in (reference, prediction))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package uses scipy's old names
        distances = surface_distance.compute_surface_distances(*masks, tuple(float(step) for step in spacing))
    nsd = surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm)
    return float(nsd), float(surface_distance.compute_robust_hausdorff(distances, 95))


def measure(
    reference: np.ndarray, prediction: np.ndarray, ijk_to_ras: np.ndarray, tolerance_mm: float, *, surfaces: bool = True
) -> Overlap:
    """Everything that the protocol "plain" says of one structure.

    Args:
        reference: what is right, boolean, kji.
        prediction: what is measured, boolean, of the same shape.
        ijk_to_ras: 4x4, mm; for the voxel's size. Distances are measured along its axes, as for an unsheared grid.
        tolerance_mm: for the surface Dice.
        surfaces: False leaves NSD and HD95 out (NaN), which need a package and most of the time.
    """
    matrix = np.asarray(ijk_to_ras, float)[:3, :3]
    voxel_ml = abs(float(np.linalg.det(matrix))) / 1000.0
    in_reference, in_prediction = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    both = int(np.count_nonzero(reference & prediction))
    spacing_kji = np.linalg.norm(matrix, axis=0)[::-1]
    nsd, hd95 = surface_measures(reference, prediction, spacing_kji, tolerance_mm) if surfaces else (float("nan"), float("nan"))
    return Overlap(
        dice=2 * both / (in_reference + in_prediction) if in_reference + in_prediction else float("nan"),
        nsd=nsd,
        hd95_mm=hd95,
        reference_ml=in_reference * voxel_ml,
        prediction_ml=in_prediction * voxel_ml,
        sensitivity=both / in_reference if in_reference else float("nan"),
        precision=both / in_prediction if in_prediction else float("nan"),
    )


def instances(reference: np.ndarray, prediction: np.ndarray) -> Instances:
    """Match objects: reference ids as they are; a binary prediction is split into connected components (6 neighbours).

    Args:
        reference: the objects that are there: integers, 0 is background.
        prediction: the objects that were found, or a binary mask; of the same shape.
    """
    if len(np.unique(prediction)) == 2:
        prediction = _components(prediction).astype(np.int64)
    return _matched(_sequential(reference), _sequential(prediction))


def challenge_semantic(
    reference: np.ndarray, prediction: np.ndarray, stored_spacing: Sequence[float], labels: Collection[int], tolerance_mm: float
) -> tuple[float, float]:
    """(Dice, NSD) of one case as the challenge's script has them: 4 digits, NaN where no label is left.

    Quirks kept: values are cut to 8 bits; the smallest value of the reference counts as background; the spacing is taken in the order
    in which it is stored (x, y, z) although the arrays are (z, y, x).

    Args:
        reference: what is right: integers, axes z, y, x.
        prediction: what is measured, of the same shape.
        stored_spacing: mm, x, y, z.
        labels: the prompts' labels; others do not count.
        tolerance_mm: 2.0 in the challenge.
    """
    reference, prediction = reference.astype(np.uint8), prediction.astype(np.uint8)
    counted = sorted(set(np.unique(reference)[1:].tolist()) & {int(label) for label in labels})
    if not counted:
        return float("nan"), float("nan")
    masks = [(reference == label, prediction == label) for label in counted]
    dices = [dice(*pair) for pair in masks]
    surfaces = [surface_measures(*pair, stored_spacing, tolerance_mm)[0] for pair in masks]
    return round(float(np.nanmean(dices)), 4), round(float(np.nanmean(surfaces)), 4)


def challenge_instances(reference: np.ndarray, prediction: np.ndarray) -> Instances:
    """Instances of one case as the challenge's script has them: 8-bit values (instance 257 becomes 1), 4 digits."""
    reference, prediction = reference.astype(np.uint8), prediction.astype(np.uint8)
    if len(np.unique(prediction)) == 2:
        parts = _components(prediction)
        numbered = (parts + int(prediction.max())).astype(np.uint8)  # past 255 the numbers begin again, as in the script
        prediction = np.where(parts > 0, numbered, prediction)
    found = _matched(_sequential(reference), _sequential(prediction))
    return Instances(found.hits, found.false_positives, found.false_negatives, round(found.f1, 4), round(found.dice_of_hits, 4))


def bootstrap_interval(values: np.ndarray, *, draws: int = BOOTSTRAP_DRAWS) -> tuple[float, float]:
    """95 % percentile interval of the mean over cases, the same every time.

    Args:
        values: one number a case, or (cases, structures) for the mean of the structures' means; NaN is left out.
        draws: how often cases are drawn with replacement.

    Returns:
        (lower, upper); NaN with fewer than two cases.
    """
    values = np.asarray(values, float)
    table = values.reshape(len(values), -1)
    table = table[~np.all(np.isnan(table), axis=1)]
    if len(table) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    means = np.empty(draws)
    for start in range(0, draws, 200):  # in pieces: many cases and structures would else fill the memory
        drawn = table[rng.integers(0, len(table), (min(200, draws - start), len(table)))]
        means[start : start + len(drawn)] = mean_of_means(drawn)
    means = means[~np.isnan(means)]
    return (float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))) if len(means) else (float("nan"), float("nan"))


def mean_of_means(table: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the means over the one before it, NaN left out in both."""
    there = ~np.isnan(table)
    counts = there.sum(axis=-2)
    means = np.where(counts, np.where(there, table, 0.0).sum(axis=-2) / np.maximum(counts, 1), 0.0)
    columns = (counts > 0).sum(axis=-1)
    return np.where(columns, means.sum(axis=-1) / np.maximum(columns, 1), np.nan)


def _components(labels: np.ndarray) -> np.ndarray:
    """Numbers 1, 2, … for the parts of equal value that touch by their faces, 0 for 0."""
    from scipy.ndimage import label

    numbered = np.zeros(labels.shape, np.int64)
    count = 0
    for value in np.unique(labels[labels != 0]):
        parts, found = label(labels == value)
        numbered += np.where(parts > 0, parts + count, 0)
        count += found
    return numbered


def _sequential(labels: np.ndarray) -> np.ndarray:
    """The same objects numbered 1, 2, … in the order of their values, 0 kept."""
    values, places = np.unique(labels, return_inverse=True)
    numbers = np.zeros(len(values), np.int64)
    numbers[values != 0] = np.arange(1, np.count_nonzero(values) + 1)
    return numbers[places].reshape(labels.shape)


def _matched(reference: np.ndarray, prediction: np.ndarray) -> Instances:
    """Hungarian assignment on IoU between objects numbered from 1."""
    from scipy.optimize import linear_sum_assignment

    in_reference, in_prediction = int(reference.max(initial=0)), int(prediction.max(initial=0))
    if in_prediction == 0:
        return Instances(0, 0, in_reference, 0.0, 0.0)
    pairs = reference.ravel() * (in_prediction + 1) + prediction.ravel()
    shared = np.bincount(pairs, minlength=(in_reference + 1) * (in_prediction + 1)).reshape(in_reference + 1, in_prediction + 1)
    sizes_reference, sizes_prediction = shared.sum(axis=1, keepdims=True), shared.sum(axis=0, keepdims=True)
    shared, sizes_reference, sizes_prediction = shared[1:, 1:], sizes_reference[1:], sizes_prediction[:, 1:]
    iou = shared / np.maximum(sizes_reference + sizes_prediction - shared, 1)
    costs = -(iou >= IOU_OF_A_HIT).astype(float) - iou / (2 * max(min(iou.shape), 1))
    rows, columns = linear_sum_assignment(costs)
    is_hit = iou[rows, columns] >= IOU_OF_A_HIT
    rows, columns = rows[is_hit], columns[is_hit]
    hits = len(rows)
    precision, recall = hits / in_prediction, hits / in_reference if in_reference else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    dices = 2 * shared[rows, columns] / (sizes_reference[rows, 0] + sizes_prediction[0, columns])
    return Instances(hits, in_prediction - hits, in_reference - hits, f1, float(dices.mean()) if hits else 0.0)
