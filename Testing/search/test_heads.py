"""Heads on vectors, their figures and their splits: against scikit-learn, and by properties."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_support import SPACE, unit_vectors

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.search import linear, measures, network
from MedImageParseLib.search.heads import Head, Learning, fit, load_head, save_head
from MedImageParseLib.search.records import Provenance
from MedImageParseLib.search.splits import joined_groups, split


@pytest.fixture(scope="module")
def digits():
    """Vectors and labels that scikit-learn ships, 400 pictures of ten digits."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.data[:400] / 16.0, found.target[:400]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_linear_head_is_scikit_learns_to_a_ten_thousandth_in_weights_and_probabilities(digits, classes):
    from sklearn.linear_model import LogisticRegression

    x, y = digits
    keep = y < classes
    x, y = x[keep], y[keep]
    oracle = LogisticRegression(C=10.0, tol=1e-10, max_iter=20000).fit(x, y)
    weights, intercepts = linear.fit_classes(x, y, classes, np.ones(len(y)), 10.0, "scipy")
    np.testing.assert_allclose(weights, oracle.coef_, atol=1e-4)
    np.testing.assert_allclose(intercepts, oracle.intercept_, atol=1e-4)
    head = Head("linear", tuple(map(str, range(classes))), True, SPACE, x.shape[1], arrays={"weights": weights, "intercepts": intercepts})
    np.testing.assert_allclose(head.probabilities(x), oracle.predict_proba(x), atol=1e-4)


def test_weighted_classes_and_findings_are_scikit_learns_too(digits):
    from sklearn.linear_model import LogisticRegression

    x, y = digits
    balanced = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=20000).fit(x, y == 3)
    truth = np.stack([y != 3, y == 3], axis=1)
    made = fit(x, truth, np.zeros(len(y)), ["no", "yes"], SPACE, Learning(weights="balanced", strength=1.0, engine="scipy"), exclusive=True)
    np.testing.assert_allclose(made.arrays["weights"], balanced.coef_, atol=1e-4)
    findings = np.stack([y % 2 == 0, y < 3], axis=1)
    made = fit(x, findings, np.zeros(len(y)), ["even", "low"], SPACE, Learning(strength=1.0, engine="scipy"), exclusive=False)
    for place in range(2):
        oracle = LogisticRegression(C=1.0, tol=1e-10, max_iter=20000).fit(x, findings[:, place])
        np.testing.assert_allclose(made.probabilities(x)[:, place], oracle.predict_proba(x)[:, 1], atol=1e-4)


def test_figures_are_those_of_scikit_learn(digits):
    from sklearn import metrics
    from sklearn.linear_model import LogisticRegression

    x, y = digits
    truth = np.eye(10, dtype=bool)[y]
    chances = LogisticRegression(C=0.01, max_iter=500).fit(x[::2], y[::2]).predict_proba(x).round(2)  # rounded, so that there are ties
    chances /= chances.sum(axis=1, keepdims=True)
    found = measures.figures(chances, truth, [str(n) for n in range(10)], np.arange(len(y)), exclusive=True)
    best = chances.argmax(axis=1)
    assert found.overall["accuracy"] == pytest.approx(metrics.accuracy_score(y, best))
    assert found.overall["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, best))
    assert found.overall["auroc"] == pytest.approx(np.mean([metrics.roc_auc_score(y == n, chances[:, n]) for n in range(10)]))
    assert found.overall["average_precision"] == pytest.approx(
        np.mean([metrics.average_precision_score(y == n, chances[:, n]) for n in range(10)])
    )
    assert np.array_equal(found.confusion, metrics.confusion_matrix(y, best))
    false, true, _ = metrics.roc_curve(y == 4, chances[:, 4], drop_intermediate=False)
    np.testing.assert_allclose(np.stack(found.curves["4"]), np.stack([false, true]))
    for name, (low, high) in found.intervals.items():
        assert low <= found.overall[name] + 0.02 and found.overall[name] - 0.02 <= high


def test_a_head_that_claims_what_comes_true_has_no_calibration_error():
    rng = np.random.default_rng(0)
    claimed = rng.uniform(0, 1, 200_000)
    assert measures.reliability(claimed, rng.uniform(0, 1, 200_000) < claimed).error < 0.01
    assert measures.reliability(np.full(1000, 0.9), np.zeros(1000, bool)).error == pytest.approx(0.9)


def test_the_networks_slopes_are_those_of_finite_differences():
    recipe = network.Recipe(width=6)
    parameters = network.first_parameters(5, 3, recipe)
    parameters.flat = parameters.flat.astype(np.float64)
    parameters = network.Parameters.of(parameters.shapes, parameters.flat)
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, 5)), np.array([0, 1, 2, 1])
    weights = np.array([1.0, 2.0, 0.5, 1.0])

    def loss() -> float:
        raw = network.forward(parameters, x)
        shares = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        return float(-(weights * np.log(shares[np.arange(4), y])).sum() / weights.sum())

    kept: dict = {}
    raw = network.forward(parameters, x, kept)
    gradient = network.Parameters.of(parameters.shapes, np.zeros_like(parameters.flat))
    network.backward(parameters, kept, network.classes_loss(y, weights, 3)(raw, np.arange(4)), gradient)
    for place in np.concatenate([rng.integers(0, parameters.flat.size, 30), [parameters.flat.size - 1]]):
        held = parameters.flat[place]
        parameters.flat[place] = held + 1e-5
        above = loss()
        parameters.flat[place] = held - 1e-5
        below = loss()
        parameters.flat[place] = held
        assert gradient.flat[place] == pytest.approx((above - below) / 2e-5, abs=2e-6)


def test_the_network_learns_and_keeps_the_epoch_that_is_best_on_the_choosing_part(digits):
    x, y = digits
    keep = y < 3
    parts = np.arange(int(keep.sum())) % 4 // 2
    how = Learning("network", recipe=network.Recipe(epochs=6, rate=2e-3, width=16, patience=2))
    head = fit(x[keep], np.eye(3, dtype=bool)[y[keep]], parts, ["0", "1", "2"], SPACE, how, exclusive=True)
    chosen = head.probabilities(x[keep][parts == 1])
    assert (chosen.argmax(axis=1) == y[keep][parts == 1]).mean() > 0.9
    course = head.settings["course"]
    assert course[head.settings["epoch"] - 1] == max(course) > 0.98
    assert head.features(x[:5]).shape == (5, 16)


def test_of_epochs_that_order_the_labels_equally_well_the_network_keeps_one_whose_probabilities_are_right():
    rng, y = np.random.default_rng(0), np.arange(48) % 3
    x = unit_vectors(1, 32, seed=1) + 0.3 * unit_vectors(3, 32, seed=2)[y] + 0.01 * rng.normal(size=(48, 32))  # all much alike
    how = Learning("network", recipe=network.Recipe(epochs=30, rate=1e-3, width=16))
    head = fit(x, np.eye(3, dtype=bool)[y], np.arange(48) // 3 % 2, list("abc"), SPACE, how, exclusive=True)
    assert head.settings["course"][:12].count(1.0) > 1 and (head.probabilities(x).argmax(axis=1) == y).all()


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 12), max_size=2),
            st.integers(0, 25),
            st.lists(st.sampled_from("abcd"), min_size=1, max_size=2),
            st.integers(0, 20),
        ),
        min_size=3,
        max_size=60,
    ),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_patient_and_no_picture_is_ever_on_two_sides_of_a_split(items, test, validate, seed):
    owners = [[("content", one[1]), ("series", one[3]), *(("patient", patient) for patient in one[0])] for one in items]
    groups = joined_groups(owners)
    try:
        parts = split(groups, [one[2] for one in items], test=test, validate=validate, seed=seed)
    except UsageError as error:
        assert "must never share one" in str(error) and len(np.unique(groups)) < 3
        return
    for owner in {owner for own in owners for owner in own}:
        assert len({int(part) for part, own in zip(parts, owners) if owner in own}) == 1
    holders = {label: {int(group) for group, one in zip(groups, items) if label in one[2]} for label in "abcd"}
    assert (test == 0) or (parts == 2).any() or min(len(own) for own in holders.values() if own) == 1 or len(set(groups.tolist())) < 8
    assert {label for one in items for label in one[2]} == {label for part, one in zip(parts, items) if part == 0 for label in one[2]}
    assert np.array_equal(parts, split(groups, [one[2] for one in items], test=test, validate=validate, seed=seed))


@pytest.fixture
def head():
    rng = np.random.default_rng(0)
    arrays = {"weights": rng.normal(size=(3, 8)), "intercepts": rng.normal(size=3)}
    return Head("linear", ("a", "b", "ç"), True, SPACE, 8, "set", "slice", arrays, {"train": ["x"]}, {"items": 3}, {"strength": 1.0})


def test_a_head_comes_back_from_its_file_as_it_was(head, tmp_path):
    save_head(head, tmp_path / "head.npz")
    back = load_head(tmp_path / "head.npz")
    vectors = unit_vectors(4, 8)
    assert np.array_equal(head.probabilities(vectors), back.probabilities(vectors)) and back.labels == head.labels
    assert (back.provenance, back.split, back.figures, back.settings, back.name) == (SPACE, head.split, head.figures, head.settings, "set")


def test_a_head_file_that_is_cut_short_or_changed_is_refused_in_one_sentence(head, tmp_path):
    path = save_head(head, tmp_path / "head.npz")
    whole = path.read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="no adapter, or it is damaged or cut short"):
            load_head(path)
    for labels in (("a", "b"), ("a", "b", "c\n\x1b[31md")):  # more rows of weights than labels; a label that a terminal would obey
        head.labels = labels
        save_head(head, path)
        with pytest.raises(InputError, match="no adapter"):
            load_head(path)
    head.labels, head.exclusive = ("a",), True  # nothing to tell apart
    head.arrays = {"weights": np.ones((1, head.length)), "intercepts": np.zeros(1)}
    save_head(head, path)
    with pytest.raises(InputError, match="no adapter"):
        load_head(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.npy", b"no array")
    with pytest.raises(InputError, match="no adapter"):
        load_head(path)


def test_a_head_refuses_vectors_of_another_model_preprocessing_or_length_and_those_that_are_not_finite(head):
    for other in (Provenance("another", "blue", "", SPACE.preprocessing), Provenance(SPACE.model, "blue", "", "window 0..80")):
        with pytest.raises(UsageError, match="was trained on vectors of medimageinsight"):
            head.require(other)
    with pytest.raises(UsageError, match="vectors of 8 numbers, and these have 9"):
        head.probabilities(unit_vectors(2, 9))
    vectors = unit_vectors(3, 8)
    vectors[1, 2] = math.nan
    with pytest.raises(InputError, match="1 of 3 vectors hold numbers that are not finite"):
        head.probabilities(vectors)


@pytest.mark.parametrize(
    ("truth", "parts", "labels", "sentence"),
    [
        (np.ones((4, 1), bool), [0] * 4, ["a"], r"the same label \(a\)"),
        (np.eye(4, dtype=bool)[[0, 1, 2, 2]], [0, 0, 1, 1], list("abcd"), "cannot be learned, as no image to learn from has it"),
        (np.zeros((4, 100_000), bool), [0] * 4, [str(n) for n in range(100_000)], "has 100000 different labels"),
    ],
)
def test_labels_from_which_nothing_can_be_learned_are_one_sentence(truth, parts, labels, sentence):
    with pytest.raises(UsageError, match=sentence):
        fit(unit_vectors(4, 8), truth, np.array(parts), labels, SPACE, Learning(), exclusive=True)
