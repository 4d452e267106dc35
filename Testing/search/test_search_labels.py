"""Zero-shot labels, label sets, outliers and the map of an index, against NumPy, SciPy and pandas."""

from __future__ import annotations

import sys

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import softmax
from search_support import unit_vectors

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.search.compare import map_2d, ranked, volume_vector, zero_shot, zero_shot_volume
from MedImageParseLib.search.label_sets import read_label_sets, ready_set, ready_sets
from MedImageParseLib.search.unusual import knn_distances, rank_outliers, study_vector


def test_probabilities_are_the_softmax_of_scaled_cosines():
    images, texts = unit_vectors(40, 1024, seed=1), unit_vectors(7, 1024, seed=2)
    expected = softmax(np.exp(4.513362) * (images.astype(float) @ texts.astype(float).T), axis=1)
    found = zero_shot(images, texts, 4.513362)
    assert found.dtype == np.float64 and found.shape == (40, 7)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), labels=st.integers(2, 9), factor=st.floats(-5.0, 12.0))
def test_probabilities_add_up_to_one_and_favor_the_nearest_label(seed, labels, factor):
    images, texts = unit_vectors(5, 16, seed), unit_vectors(labels, 16, seed + 5000)
    found = zero_shot(images, texts, factor)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    best = (images.astype(float) @ texts.astype(float).T).argmax(axis=1)
    assert np.all(found[np.arange(5), best] >= found.max(axis=1) - 1e-12)


def test_a_volume_is_classified_by_the_mean_of_its_slices():
    slices, texts = unit_vectors(30, 64, seed=3), unit_vectors(4, 64, seed=4)
    mean = slices.astype(float).mean(axis=0)
    mean /= np.linalg.norm(mean)
    np.testing.assert_allclose(volume_vector(slices), mean, atol=1e-6)
    np.testing.assert_allclose(zero_shot_volume(slices, texts, 4.5), softmax(np.exp(4.5) * texts.astype(float) @ mean), atol=1e-5)


def test_unusable_zero_shot_input_gives_a_sentence():
    images, texts = unit_vectors(2, 8), unit_vectors(3, 8)
    with pytest.raises(UsageError, match="at least two labels"):
        zero_shot(images, texts[:1], 4.5)
    with pytest.raises(UsageError, match="8 numbers and the label vectors 9"):
        zero_shot(images, unit_vectors(3, 9), 4.5)
    for factor in (float("nan"), float("inf"), 1e6):
        with pytest.raises(UsageError, match="scaling factor"):
            zero_shot(images, texts, factor)
    with pytest.raises(InputError, match="zero"):
        volume_vector(np.stack([images[0], -images[0]]))


def test_labels_are_ranked_with_equal_ones_in_the_order_given():
    result = ranked(np.array([0.2, 0.4, 0.2, 0.2]), ["a", "b", "c", "d"])
    assert result.labels == ("b", "a", "c", "d") and result.best == "b" and result.probabilities[0] == 0.4


def test_ready_sets_cover_the_common_modalities_in_one_style():
    assert {label_set.modality for label_set in ready_sets()} >= {"CT", "MR", "DX", "US", "MG"}
    names = [label_set.name for label_set in ready_sets()]
    assert len(set(names)) == len(names)
    for label_set in ready_sets():
        assert len(label_set.labels) >= 4 and len(set(label_set.texts)) == len(label_set.texts)
        assert all(label.text.endswith(label.name) for label in label_set.labels)
        assert all(len(text.split()) <= 12 and "." not in text for text in label_set.texts)
    assert "x-ray chest pneumonia" in ready_set("DX chest").texts
    assert ready_set("CR") is ready_set("dx chest") and ready_set("mr").modality == "MR"
    with pytest.raises(UsageError, match='no ready label set "sonar"; there are: CT chest'):
        ready_set("sonar")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pneumonia\nnormal\n", {"mine": [("pneumonia", "pneumonia"), ("normal", "normal")]}),
        ("\ufefflabel\r\npneumonia\r\n\r\n# a note\r\nnormal\r\n", {"mine": [("pneumonia", "pneumonia"), ("normal", "normal")]}),
        ('label,text\nA,"x-ray, chest A"\nB,\n', {"mine": [("A", "x-ray, chest A"), ("B", "B")]}),
        ("Set;Label;Prompt;note\n1;A;a;x\n2;C;c;\n1;B;b;y\n2;D;d\n", {"1": [("A", "a"), ("B", "b")], "2": [("C", "c"), ("D", "d")]}),
        ("text\tset\nfoie\trégion\nrate\trégion\n", {"région": [("foie", "foie"), ("rate", "rate")]}),
    ],
)
def test_label_files_are_read_in_the_forms_that_spreadsheets_write(tmp_path, text, expected):
    path = tmp_path / "mine.csv"
    path.write_bytes(text.encode())
    sets = read_label_sets(path)
    assert {found.name: [(label.name, label.text) for label in found.labels] for found in sets} == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"label\n", "header and no labels"),
        (b"only one\n", "at least two"),
        (b"a\nb\na\n", '"a" is given twice'),
        (b"label,text\nA,x\n,\n", "line without a label"),
        (b"\xff\xfe\x00a", "UTF-8"),
    ],
)
def test_an_unusable_label_file_gives_a_sentence(tmp_path, content, words):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises((UsageError, InputError), match=words):
        read_label_sets(path)


def test_a_study_vector_holds_the_seven_statistics_that_pandas_gives():
    slices = unit_vectors(23, 1024, seed=6)
    table = pandas.DataFrame(slices.astype(float)).describe().drop("count")
    found = study_vector(slices)
    assert found.shape == (7168,) and found.dtype == np.float32
    np.testing.assert_allclose(found, table.loc[["mean", "std", "min", "25%", "50%", "75%", "max"]].to_numpy().ravel(), atol=1e-6)


def test_a_study_of_one_slice_has_no_spread_and_an_empty_one_is_refused():
    single = unit_vectors(1, 10)
    assert np.all(study_vector(single)[10:20] == 0) and np.array_equal(study_vector(single)[:10], single[0])
    for bad in (np.empty((0, 10)), np.full((2, 10), np.nan)):
        with pytest.raises(InputError, match="at least one slice"):
            study_vector(bad)


@pytest.mark.parametrize("neighbors", [1, 3])
def test_distances_to_the_nearest_are_those_of_scipy(neighbors):
    vectors, reference = unit_vectors(50, 128, seed=1), unit_vectors(300, 128, seed=2)
    reference[:50] = vectors + np.random.default_rng(0).normal(scale=1e-5, size=vectors.shape)  # near ones, where digits are lost
    expected = np.sort(cdist(vectors.astype(float), reference.astype(float)), axis=1)[:, :neighbors].mean(axis=1)
    np.testing.assert_allclose(knn_distances(vectors, reference, neighbors=neighbors), expected, rtol=1e-6)


def test_nobody_is_his_own_neighbor():
    vectors = unit_vectors(40, 16)
    expected = cdist(vectors.astype(float), vectors.astype(float))
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_allclose(knn_distances(vectors, vectors, own_places=np.arange(40)), expected.min(axis=1), rtol=1e-6)


def test_the_odd_one_out_ranks_first_and_beyond_all_of_the_reference_set():
    center = unit_vectors(1, 64, seed=9)
    crowd = center + 0.02 * unit_vectors(60, 64, seed=10)
    queries = np.concatenate([crowd[:5] + 0.001, -center, center])
    found = rank_outliers(queries, crowd)
    assert found[0].place == 5 and found[0].percentile == 100.0 and found[-1].percentile < 50.0
    assert [item.distance for item in found] == sorted((item.distance for item in found), reverse=True)


def test_too_small_a_reference_set_gives_a_sentence():
    vectors = unit_vectors(3, 8)
    with pytest.raises(UsageError, match="has 2 other members, too few for 3"):
        knn_distances(vectors, vectors, neighbors=3, own_places=[0, 1, 2])
    with pytest.raises(UsageError, match="8 numbers and the reference set 9"):
        knn_distances(vectors, unit_vectors(3, 9))
    assert np.isnan(rank_outliers(vectors, vectors[:1])[0].percentile)


def _principal(vectors):
    centered = vectors.astype(float) - vectors.astype(float).mean(axis=0)
    values, axes = np.linalg.eigh(centered.T @ centered)
    return centered @ axes[:, [-1, -2]], values[[-1, -2]] / values.sum()


@pytest.mark.parametrize("count", [60, 12000])
def test_the_map_is_the_first_two_principal_components(count):
    """The large one takes the randomized way."""
    random = np.random.default_rng(3)
    vectors = random.normal(size=(count, 2)) * [3.0, 1.5] @ random.normal(size=(2, 200)) + random.normal(scale=0.5, size=(count, 200))
    found, (expected, explained) = map_2d(vectors, method="pca"), _principal(vectors.astype(np.float32))
    signs = np.sign((found.points * expected).sum(axis=0))
    np.testing.assert_allclose(found.points, expected * signs, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(found.explained, explained, atol=1e-4)
    assert found.method == "pca" and np.array_equal(found.points, map_2d(vectors, method="pca").points)


def test_a_map_of_one_or_of_equal_images_puts_all_in_one_place():
    for vectors in (unit_vectors(1, 8), np.repeat(unit_vectors(1, 8), 30, axis=0)):
        assert np.abs(map_2d(vectors, method="pca").points).max() < 1e-5
    assert map_2d(unit_vectors(2, 8), method="pca").points.shape == (2, 2)
    assert map_2d(unit_vectors(5, 1), method="pca").points.shape == (5, 2)


def test_umap_is_used_where_it_is_installed_and_named_where_it_is_not(monkeypatch):
    class Reducer:
        def __init__(self, **options):
            assert options["n_components"] == 2 and options["random_state"] == 0

        def fit_transform(self, rows):
            return rows[:, :2] * 10

    module = type(sys)("umap")
    module.UMAP = Reducer
    vectors = unit_vectors(40, 8)
    monkeypatch.setitem(sys.modules, "umap", module)
    found = map_2d(vectors)
    assert found.method == "umap" and np.allclose(found.points, vectors[:, :2] * 10)
    assert map_2d(vectors[:3]).method == "pca"
    monkeypatch.setitem(sys.modules, "umap", None)
    assert map_2d(vectors).method == "pca"
    with pytest.raises(UsageError, match="umap-learn, which UMAP needs, is not installed: .*pip install umap-learn.*or choose PCA"):
        map_2d(vectors, method="umap")
    with pytest.raises(UsageError, match="not by"):
        map_2d(vectors, method="magic")
    with pytest.raises(InputError):
        map_2d(np.empty((0, 8)))
