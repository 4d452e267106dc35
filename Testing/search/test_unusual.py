"""Outliers: pruned distances equal to scikit-learn's neighbors, thresholds by the reference, ROC where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from search_support import SPACE, hash_of, unit_vectors

from MedImageParseLib.errors import UsageError
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.labels import PlaceLabel
from MedImageParseLib.search.records import Record
from MedImageParseLib.search.unusual import knn_distances
from MedImageParseLib.tasks.outliers import find_outliers


@pytest.mark.parametrize("is_clustered", [True, False])
@pytest.mark.parametrize("neighbors", [1, 2])
def test_distances_of_a_large_reference_are_those_of_scikit_learn(is_clustered, neighbors):
    rng = np.random.default_rng(0)
    members = rng.normal(size=(3300, 300)).astype(np.float32)
    if is_clustered:
        members = (members * 0.1 + rng.normal(size=(40, 300))[rng.integers(0, 40, 3300)]).astype(np.float32)
    rows = np.concatenate([members[:40], members[100:140] + 0.05 * rng.normal(size=(40, 300)).astype(np.float32)])
    from sklearn.neighbors import NearestNeighbors

    oracle = NearestNeighbors(n_neighbors=neighbors + 1, algorithm="brute").fit(members.astype(np.float64))
    own = np.append(np.arange(40), np.full(40, -1))
    near = oracle.kneighbors(rows.astype(np.float64))[0]
    expected = np.append(near[:40, 1:].mean(axis=1), near[40:, :neighbors].mean(axis=1))
    np.testing.assert_allclose(knn_distances(rows, members, neighbors=neighbors, own_places=own), expected, rtol=1e-6)


@pytest.fixture
def index(tmp_path):
    """Thirty usual pictures near one another, and six that are not."""
    center, rng = unit_vectors(1, 16)[0], np.random.default_rng(1)
    with EmbeddingIndex.open(tmp_path / "a.index") as opened:
        for n in range(36):
            vector = center + rng.normal(size=16) * (0.05 if n < 30 else 0.5)
            opened.add(
                [
                    Record(
                        hash_of(n),
                        kind="picture",
                        series=f"series-{n:03d}",
                        vector=vector,
                        position={"name": f"{'usual' if n < 20 else 'new'}{n}"},
                    )
                ],
                SPACE,
            )
            opened.add_labels([PlaceLabel("truth", "ill" if n >= 30 else "well", f"series-{n:03d}")])
        yield opened


@pytest.mark.parametrize("method", ["knn", "lof", "forest"])
def test_known_outliers_stand_out_by_every_method(index, method):
    from sklearn.metrics import roc_auc_score

    found = find_outliers(index, ["usual*"], neighbors=2, method=method, labels="truth", unusual=["ill"])
    known = found.report["known"]
    truth = [item.record.series >= "series-030" for item in found.items]
    assert known["auroc"] == pytest.approx(roc_auc_score(truth, [item.distance for item in found.items])) and known["auroc"] > 0.95
    assert np.sum(known["best"]["confusion"]) == known["items"] == 16 and known["unusual"] == 6


def test_the_threshold_lets_the_expected_share_of_the_reference_pass(index):
    found = find_outliers(index, ["usual*"], false_alarms=0.1)
    beyond = sum(item.distance > found.report["threshold"] for item in found.members)
    assert beyond <= 0.1 * len(found.members) and found.report["beyond"] >= 6
    assert "too small to expect" in find_outliers(index, ["usual*"], false_alarms=0.01).report["warnings"][0]


def test_a_truth_that_calls_nothing_unusual_is_one_sentence(index):
    with pytest.raises(UsageError, match="name its unusual labels: those outside the reference set have ill, well"):
        find_outliers(index, ["usual*"], labels="truth")
    with pytest.raises(UsageError, match="no set of labels 'nothing'; it has truth"):
        find_outliers(index, ["usual*"], labels="nothing", unusual=["ill"])
