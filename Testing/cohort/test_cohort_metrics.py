"""Masks measured against references, with independent arithmetic as the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from MedImageParseLib.cohort import metrics

surface_distance = pytest.importorskip("surface_distance", reason="surface-distance is not installed")


def random_mask(seed: int, shape=(7, 8, 9), share=0.3) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def brute_force_nsd(reference: np.ndarray, prediction: np.ndarray, spacing, tolerance: float) -> float:
    """Every 2x2x2 neighbourhood is looked at in a loop, every distance is computed pair by pair."""
    from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

    areas = create_table_neighbour_code_to_surface_area(spacing)
    sides = []
    for mask in (reference, prediction):
        padded = np.pad(mask, 1)
        points, sizes = [], []
        for corner in itertools.product(*(range(size - 1) for size in padded.shape)):
            code = 0
            for place in itertools.product((0, 1), repeat=3):
                code = 2 * code + int(padded[tuple(np.add(corner, place))])
            if code not in (0, 255):
                points.append(np.multiply(corner, spacing))
                sizes.append(areas[code])
        sides.append((np.array(points), np.array(sizes)))
    (one, one_areas), (other, other_areas) = sides
    distances = cdist(one, other)
    near = one_areas[distances.min(axis=1) <= tolerance].sum() + other_areas[distances.min(axis=0) <= tolerance].sum()
    return near / (one_areas.sum() + other_areas.sum())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.7, 2.0, 1.3)])
@pytest.mark.parametrize("seed", range(3))
def test_surface_dice_is_that_of_a_brute_force_search(seed, spacing):
    reference, prediction = random_mask(seed, share=0.1), random_mask(seed + 50, share=0.1)
    for tolerance in (0.9, 2.0):
        ours, _hd95 = metrics.surface_measures(reference, prediction, spacing, tolerance)
        assert ours == pytest.approx(brute_force_nsd(reference, prediction, spacing, tolerance), abs=1e-12)


def test_surface_dice_takes_the_spacing_of_each_axis_from_the_affine():
    k, j, i = np.indices((6, 26, 30))
    matrix = np.diag([0.8, 0.8, 5.0, 1.0])
    spheres = [((k * 5 - 13) ** 2 + (j * 0.8 - 10) ** 2 + (i * 0.8 - at) ** 2) <= 9**2 for at in (10, 14)]
    right = metrics.measure(*spheres, matrix, 2.0)
    swapped = metrics.challenge_semantic(*(one.astype(int) for one in spheres), (0.8, 0.8, 5.0), [1], 2.0)
    assert right.nsd == pytest.approx(brute_force_nsd(*spheres, (5.0, 0.8, 0.8), 2.0), abs=1e-12)
    assert swapped[1] == pytest.approx(brute_force_nsd(*spheres, (0.8, 0.8, 5.0), 2.0), abs=1e-4)
    assert abs(swapped[1] - right.nsd) > 0.05


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.0, 0.6), st.floats(0.0, 0.6))
def test_dice_sensitivity_and_precision_are_those_of_simpleitk(seed, share, other_share):
    sitk = pytest.importorskip("SimpleITK")
    reference, prediction = random_mask(seed, share=share), random_mask(seed + 1, share=other_share)
    measured = metrics.measure(reference, prediction, np.diag([2.0, 3.0, 4.0, 1.0]), 2.0, surfaces=False)
    assert measured.reference_ml == pytest.approx(reference.sum() * 0.024)
    if not reference.any() or not prediction.any():
        assert measured.dice == 0 if reference.any() or prediction.any() else np.isnan(measured.dice)
        return
    oracle = sitk.LabelOverlapMeasuresImageFilter()
    oracle.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, reference)))
    assert measured.dice == pytest.approx(oracle.GetDiceCoefficient())
    assert measured.precision == pytest.approx(1 - oracle.GetFalsePositiveError()) or oracle.GetFalsePositiveError() >= 0
    assert 1 - measured.sensitivity == pytest.approx(oracle.GetFalseNegativeError())


def test_empty_masks_give_nan_for_both_and_zero_for_one():
    nothing, something = np.zeros((4, 5, 6), bool), random_mask(1, (4, 5, 6))
    both = metrics.measure(nothing, nothing, np.eye(4), 2.0)
    one = metrics.measure(something, nothing, np.eye(4), 2.0)
    other = metrics.measure(nothing, something, np.eye(4), 2.0)
    assert np.isnan([both.dice, both.nsd, both.hd95_mm]).all() and both.presence == "TN"
    assert (one.dice, one.nsd, one.presence) == (0, 0, "FN") and np.isinf(one.hd95_mm)
    assert (other.dice, other.nsd, other.presence) == (0, 0, "FP") and np.isnan(other.difference_percent)


def test_a_case_of_the_challenge_counts_only_labels_of_the_reference_that_are_prompts_to_four_digits():
    reference, prediction = np.zeros((2, 6, 6, 6), np.int64)
    reference[:3, :3, :3], reference[3:, :, :] = 1, 2
    prediction[:3, :3, :2], prediction[:3, 3:, :] = 1, 9
    dice, nsd = metrics.challenge_semantic(reference, prediction, (1, 1, 1), [1, 9], 2.0)
    assert dice == round(2 * 18 / (27 + 18), 4) and nsd == 1.0
    assert np.isnan(metrics.challenge_semantic(reference, prediction, (1, 1, 1), [7], 2.0)).all()


def test_a_case_of_the_challenge_is_cut_to_eight_bits_and_its_smallest_label_is_background():
    reference = np.full((4, 4, 4), 3)
    reference[:2] = 257
    assert metrics.challenge_semantic(reference, reference, (1, 1, 1), [1, 3], 2.0) == (1.0, 1.0)
    assert np.isnan(metrics.challenge_semantic(reference, reference, (1, 1, 1), [1], 2.0)).all()  # 257 is 1, the smallest


def brute_force_instances(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """F1 and Dice of the hits by trying pairs: at an IoU above one half every object has one partner at most."""
    hits, dices = 0, []
    trues, founds = (set(np.unique(side)) - {0} for side in (reference, prediction))
    for true in trues:
        a = reference == true
        for found in set(np.unique(prediction[a])) - {0}:
            b = prediction == found
            if (a & b).sum() / (a | b).sum() > 0.5:
                hits += 1
                dices.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    f1 = 2 * hits / (len(trues) + len(founds)) if founds else 0.0
    return f1, float(np.mean(dices)) if dices else 0.0


def lesions(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Objects on a lattice and a binary prediction that cuts some of them short."""
    rng = np.random.default_rng(seed)
    reference, prediction = np.zeros((40, 60, 60), np.int32), np.zeros((40, 60, 60), np.int32)
    places = itertools.product(range(0, 40, 4), range(0, 60, 8), range(0, 60, 10))
    for number, (k, j, i) in enumerate(itertools.islice(places, count), start=1):
        reference[k : k + 3, j : j + 5, i : i + 7] = number
        cut = rng.integers(0, 7)
        prediction[k : k + 3, j : j + 5, i + cut : i + 7] = 1
    return reference, prediction


@pytest.mark.parametrize("count", [1, 25, 300])
def test_a_binary_prediction_is_split_into_objects_that_touch_by_faces(count):
    cc3d = pytest.importorskip("cc3d", reason="connected-components-3d is not installed")
    reference, prediction = lesions(count, count)
    found = metrics.instances(reference, prediction)
    f1, dice = brute_force_instances(reference, cc3d.connected_components(prediction, connectivity=6))
    assert (found.f1, found.dice_of_hits) == (pytest.approx(f1), pytest.approx(dice))


def test_objects_that_touch_by_an_edge_only_are_two():
    reference = np.zeros((1, 4, 4), int)
    reference[0, :2, :2], reference[0, 2:, 2:] = 1, 2
    found = metrics.instances(reference, (reference > 0).astype(int))
    assert (found.hits, found.f1, found.dice_of_hits) == (2, 1.0, 1.0)


def test_numbered_predictions_keep_their_numbers_and_nothing_predicted_is_zero():
    reference, _binary = lesions(6, 0)
    shuffled = np.where(reference > 0, 1000 - 7 * reference, 0)
    assert metrics.instances(reference, shuffled).f1 == 1.0
    nothing = metrics.instances(reference, np.zeros_like(reference))
    assert (nothing.f1, nothing.dice_of_hits, nothing.false_negatives) == (0.0, 0.0, 6)
    assert metrics.instances(np.zeros_like(reference), reference).f1 == 0.0


def test_past_255_objects_the_challenge_loses_some_as_its_eight_bits_do():
    reference, prediction = lesions(300, 3)
    prediction = (reference > 0).astype(np.int32)
    cut = metrics.challenge_instances(reference, prediction)
    assert metrics.instances(reference, prediction).f1 == 1.0
    assert cut.hits < 256


def test_the_bootstrap_interval_is_the_same_every_time_and_holds_the_mean():
    values = np.random.default_rng(0).normal(0.8, 0.1, 40)
    low, high = metrics.bootstrap_interval(values)
    assert (low, high) == metrics.bootstrap_interval(values)
    rough = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert values.mean() - low == pytest.approx(rough, rel=0.2) and high - values.mean() == pytest.approx(rough, rel=0.2)
    assert np.isnan(metrics.bootstrap_interval(np.array([0.5, np.nan]))).all()


def test_the_mean_over_structures_weighs_each_structure_once():
    table = np.array([[1.0, 0.0], [np.nan, 0.5], [0.5, 0.1]])
    assert metrics.mean_of_means(table) == pytest.approx((0.75 + 0.2) / 2)
