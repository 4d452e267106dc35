"""Search that is measured and narrowed: against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from search_support import SPACE, hash_of, unit_vectors

from MedImageParseLib.api.labels import index_evaluate
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import UsageError
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.labels import PlaceLabel
from MedImageParseLib.search.records import Record
from MedImageParseLib.tasks.find_similar import Narrow
from MedImageParseLib.tasks.retrieval import evaluate_search, measures_of


@pytest.fixture
def index(tmp_path):
    """Six series of three kinds, four slices each, near the center of their kind."""
    centers, rng = unit_vectors(3, 24, seed=1), np.random.default_rng(2)
    with EmbeddingIndex.open(tmp_path / "a.index") as opened:
        for study in range(6):
            for n in range(4):
                vector = centers[study % 3] + 0.05 * rng.normal(size=24)
                place = {"series": f"series-{study}", "plane": "axial" if n < 3 else "coronal", "slice_index": n}
                opened.add(
                    [Record(hash_of(10 * study + n), vector=vector, position={"name": f"{study}.nii", "modality": "CT"}, **place)], SPACE
                )
            opened.add_labels([PlaceLabel("part", "abc"[study % 3], f"series-{study}")])
        yield opened


def test_figures_of_a_query_are_those_of_scikit_learn():
    from sklearn.metrics import average_precision_score, ndcg_score

    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, right = rng.normal(size=50), rng.random(50) < 0.3
        found = measures_of(scores, right, (1, 5))
        assert found["mAP"] == pytest.approx(average_precision_score(right, scores))
        assert found["nDCG"] == pytest.approx(ndcg_score([right.astype(float)], [scores]))
        first = np.argsort(-scores)[:5]
        assert found["P@5"] == right[first].mean() and found["R@5"] == pytest.approx(right[first].sum() / right.sum())


def test_a_search_that_is_right_throughout_is_told_from_chance(index):
    found = evaluate_search(index, "part", depths=(1, 3))
    assert found.rankings["vectors"].mean["P@1"] == 1.0 and found.rankings["vectors"].mean["mAP"] == pytest.approx(1.0)
    assert found.rankings["random"].mean["mAP"] < 0.6 and set(found.rankings["vectors"].by_plane) == {"axial", "coronal"}
    index.add_labels([PlaceLabel("patient", "one", "series-0"), PlaceLabel("patient", "one", "series-3")])
    assert evaluate_search(index, "part", patients="patient", depths=(1,)).report["patients"] == 5
    with pytest.raises(UsageError, match="no set of labels"):
        evaluate_search(index, "nothing")


def test_labels_that_one_patient_alone_has_are_left_out_and_a_set_of_such_labels_is_one_sentence(index):
    index.add_labels([PlaceLabel("part", "rare", "series-5"), PlaceLabel("alone", "x", "series-0"), PlaceLabel("alone", "y", "series-1")])
    found = evaluate_search(index, "part", depths=(1,))
    assert list(found.rankings["vectors"].by_label) == ["a", "b"] and found.queries == 16  # c and rare have one series each
    assert found.report["warnings"][-1].endswith("find them in no other: 2.")
    with pytest.raises(UsageError, match="one of which two patients have"):
        evaluate_search(index, "alone")


def test_the_features_of_an_adapter_are_compared_by_their_distance_and_only_strangers_ask(index, tmp_path):
    from sklearn.neighbors import NearestNeighbors

    from MedImageParseLib.search.heads import Learning, save_head
    from MedImageParseLib.search.network import Recipe
    from MedImageParseLib.tasks.adapters import train

    network = Learning("network", recipe=Recipe(epochs=3, width=8))
    head = train(index, "part", network, test=0.4, validate=0).head
    found = evaluate_search(index, "part", depths=(1,), head=head)
    numbers, vectors = index.vectors(SPACE)
    series = [index.records([number])[number].series for number in numbers.tolist()]
    asks = np.array([one in head.split["test"] for one in series])
    features = head.features(vectors)
    order = NearestNeighbors(n_neighbors=24).fit(features).kneighbors(features, return_distance=False)
    right = []
    for row in np.flatnonzero(asks):
        nearest = next(other for other in order[row] if series[other] != series[row])
        right.append(int(series[nearest][-1]) % 3 == int(series[row][-1]) % 3)
    assert found.queries == asks.sum() < 24 and found.rankings["adapter features"].by_label.keys() == {"a", "b", "c"}
    by_label = {
        label: [one for one, row in zip(right, np.flatnonzero(asks)) if "abc"[int(series[row][-1]) % 3] == label] for label in "abc"
    }
    for label, own in by_label.items():
        assert not own or found.rankings["adapter features"].by_label[label]["P@1"] == pytest.approx(np.mean(own))
    linear = train(index, "part", test=0.4, validate=0).head
    with pytest.raises(UsageError, match="has no feature vectors"):
        evaluate_search(index, "part", head=linear)
    head.split["train"] += head.split["test"]
    save_head(head, tmp_path / "head.npz")
    with pytest.raises(UsageError, match="has learned from the patients of all these images"):
        index_evaluate(tmp_path / "a.index", labels="part", adapter=tmp_path / "head.npz")


def test_of_each_volume_only_the_best_slice_may_be_shown_and_nothing_below_a_similarity(index):
    query = index.vectors(SPACE)[1][0]
    every = index.search(query, provenance=SPACE, top=24)
    each = index.search(query, provenance=SPACE, top=24, one_each=True)
    best = {}
    for hit in every:
        best.setdefault(hit.record.series, hit.id)
    assert [hit.id for hit in each] == list(best.values()) and len(each) == 6
    least = every[5].similarity
    assert [hit.id for hit in index.search(query, provenance=SPACE, top=24, least=least)] == [hit.id for hit in every[:6]]


@pytest.mark.parametrize(
    ("narrow", "count"),
    [
        (Narrow(plane="coronal"), 6),
        (Narrow(names=("2.nii", "3.*")), 8),
        (Narrow(labels=("part=a",)), 8),
        (Narrow(modality="ct", plane="axial"), 18),
    ],
)
def test_a_search_can_be_narrowed(index, narrow, count):
    assert len(index.search(index.vectors(SPACE)[1][0], provenance=SPACE, top=100, **narrow.options(index))) == count


def test_conditions_that_nothing_meets_are_one_sentence(index):
    for narrow, sentence in ((Narrow(modality="MR"), "Nothing in the index fits"), (Narrow(labels=("part",)), "as SET=LABEL")):
        with pytest.raises(UsageError, match=sentence):
            narrow.options(index)


def test_the_command_prints_the_figures_and_draws_the_worst_queries(index, tmp_path, capsys):
    words = [
        "index",
        "evaluate",
        str(tmp_path / "a.index"),
        "--labels",
        "part",
        "--k",
        "1,2",
        "--picture",
        str(tmp_path / "worst.png"),
        "--quiet",
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("ranking\tP@1\tP@2\tR@1") and "vectors\t1.0000" in out and (tmp_path / "worst.png").stat().st_size > 1000
