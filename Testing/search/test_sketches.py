"""An index that was prepared: the same hits as comparing everything, computed here with NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from MedImageParseLib.errors import Cancelled, UsageError
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.search import sketch as sketches
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.records import Provenance, Record

_LENGTH, _COUNT = 96, 4_000
MADE = Provenance("made up")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def record(number: int, vector: np.ndarray) -> Record:
    return Record(f"{number:064x}", series=f"s{number // 40}", plane="axial", slice_index=number % 40, vector=vector)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Vectors in a hundred clusters around a common direction, prepared, with a few added afterwards. (path, vectors)"""
    rng = np.random.default_rng(5)
    centers = rng.normal(size=(100, _LENGTH)) + 1.5
    vectors = unit(centers[rng.integers(0, 100, _COUNT + 50)] + 0.4 * rng.normal(size=(_COUNT + 50, _LENGTH)))
    path = tmp_path_factory.mktemp("prepared") / "a.index"
    with EmbeddingIndex.open(path) as index:
        index.add((record(n, vectors[n]) for n in range(_COUNT)), MADE)
        assert index.prepare() == _COUNT
        index.add((record(n, vectors[n]) for n in range(_COUNT, _COUNT + 50)), MADE)
    return path, vectors


def found(index: EmbeddingIndex, query: np.ndarray, **options) -> list[int]:
    hits = index.search(query, provenance=MADE, **options)
    return [int(hit.record.content_hash, 16) for hit in hits]


def test_a_prepared_index_finds_what_comparing_everything_finds(prepared, monkeypatch):
    path, vectors = prepared
    monkeypatch.setattr(sketches, "_FIRST", 60)  # as if there were a hundred times as many
    rng = np.random.default_rng(6)
    queries = unit(vectors[rng.integers(0, len(vectors), 40)] + 0.02 * rng.normal(size=(40, _LENGTH)))
    right = 0
    with EmbeddingIndex.open(path) as index:
        for query in queries:
            truth = np.argsort(-(vectors @ query), kind="stable")[:10].tolist()
            told = index.search(query, provenance=MADE, top=10)
            right += len(set(truth) & {int(hit.record.content_hash, 16) for hit in told})
            assert [hit.similarity for hit in told] == sorted((hit.similarity for hit in told), reverse=True)
            assert all(abs(hit.similarity - vectors[int(hit.record.content_hash, 16)] @ query) < 1e-5 for hit in told)
        assert index._loaded.has_sketches, "the sketches were not used"
    assert right >= 0.99 * 400


def test_filters_hold_in_a_prepared_index(prepared):
    path, vectors = prepared
    query, series = vectors[7], np.arange(len(vectors)) // 40
    scores = vectors @ query
    with EmbeddingIndex.open(path) as index:
        order = np.argsort(-scores, kind="stable")
        assert found(index, query, top=5, exclude_series="s0") == [n for n in order if series[n]][:5]
        assert found(index, query, top=5, only=range(101, 140)) == [n for n in order if 100 <= n < 139][:5]
        first_of_each = [n for place, n in enumerate(order) if series[n] not in series[order[:place]]][:6]
        assert found(index, query, top=6, one_each=True) == first_of_each
        assert found(index, query, top=50, least=0.99) == [n for n in order if scores[n] >= 0.99][:50]
        late = _COUNT + 20
        assert found(index, vectors[late], top=1) == [late]


@pytest.mark.parametrize("method", ["sketches", "faiss"])
def test_what_is_shown_at_several_places_is_found_at_all_of_them_in_a_prepared_index(tmp_path, method, capfd):
    if method == "faiss":
        pytest.importorskip("faiss", reason="the extra [faiss] is not installed")
    vectors = unit(np.random.default_rng(4).normal(size=(300, 64)))
    again = [replace(record(n, vectors[n]), series="again", slice_index=n) for n in range(0, 300, 10)]
    path = tmp_path / "a.index"

    def hits(index: EmbeddingIndex, **options) -> list[tuple]:
        found = index.search(vectors[20], provenance=MADE, top=6, **options)
        return [(hit.id, round(hit.similarity, 5), hit.record.series) for hit in found]

    with EmbeddingIndex.open(path) as index:
        index.add((record(n, vectors[n]) for n in range(300)), MADE)
        index.add(again, MADE)
        truth = [hits(index), hits(index, exclude_series="again"), hits(index, one_each=True)]
        index.prepare(method=method)
        assert capfd.readouterr() == ("", "")  # FAISS has nothing to say of few vectors
        index.add([replace(record(7, vectors[7]), series="later")], MADE)
    with EmbeddingIndex.open(path) as index:
        assert [hits(index), hits(index, exclude_series="again"), hits(index, one_each=True)] == truth
        assert index._loaded.has_sketches and {series for _, _, series in truth[0][:2]} == {"s0", "again"}
        assert {hit.record.series for hit in index.search(vectors[7], provenance=MADE, top=2)} == {"s0", "later"}


def test_what_is_removed_lives_on_in_no_sketch(tmp_path):
    rng = np.random.default_rng(8)
    vectors = unit(rng.normal(size=(300, 64)))
    path = tmp_path / "a.index"
    with EmbeddingIndex.open(path) as index:
        index.add((record(n, vectors[n]) for n in range(300)), MADE)
        index.prepare()
        (sketch,) = tmp_path.glob("*.sketch")
        assert sketch.stat().st_mode & 0o077 == 0
        stale = sketch.read_bytes()
        assert found(index, vectors[50], top=1) == [50]
        index.remove(series="s1")
        assert not list(tmp_path.glob("*.sketch"))
        sketch.write_bytes(stale)  # as a copy that was put back
        assert found(index, vectors[50], top=1) != [50]
        index.prepare()
        sketch.write_bytes(sketch.read_bytes()[:-100])  # cut short: passed over
    with EmbeddingIndex.open(path) as index:
        assert found(index, vectors[3], top=1) == [3] and not index._loaded.has_sketches


def test_bits_are_counted_alike_with_and_without_numpy_2():
    words = np.random.default_rng(1).integers(0, 2**63, 1000, dtype=np.uint64)
    truth = [bin(int(word)).count("1") for word in words]
    for way in (sketches._ones_by_table, sketches._ones):
        assert way(words, np.empty(len(words), np.uint8)).tolist() == truth


def test_the_command_prepares_an_index_unless_it_is_interrupted(prepared, capsys):
    from MedImageParseLib.cli.main import main, run_command

    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        run_command(["index", "prepare", str(prepared[0]), "--quiet"], cancellation)
    assert main(["index", "prepare", str(prepared[0]), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{_COUNT + 50} vectors prepared\n"


def test_faiss_finds_what_comparing_everything_finds_and_its_file_goes_with_a_removal(tmp_path):
    pytest.importorskip("faiss", reason="the extra [faiss] is not installed")
    rng = np.random.default_rng(9)
    centers = rng.normal(size=(60, _LENGTH))
    vectors = unit(centers[rng.integers(0, 60, 3_050)] + 0.4 * rng.normal(size=(3_050, _LENGTH)))
    path, right = tmp_path / "a.index", 0
    with EmbeddingIndex.open(path) as index:
        index.add((record(n, vectors[n]) for n in range(3_000)), MADE)
        assert index.prepare(method="faiss") == 3_000
        (lists,) = tmp_path.glob("*.faiss")
        assert lists.stat().st_mode & 0o077 == 0
        index.add((record(n, vectors[n]) for n in range(3_000, 3_050)), MADE)
        for query in unit(vectors[:40] + 0.02 * rng.normal(size=(40, _LENGTH))):
            told = index.search(query, provenance=MADE, top=10)
            right += len({int(hit.record.content_hash, 16) for hit in told} & set(np.argsort(-(vectors @ query))[:10].tolist()))
            assert all(abs(hit.similarity - vectors[int(hit.record.content_hash, 16)] @ query) < 1e-5 for hit in told)
        assert right >= 0.99 * 400 and index._loaded.has_sketches
        order = [n for n in np.argsort(-(vectors @ vectors[7]), kind="stable") if n // 40]
        assert found(index, vectors[7], top=5, exclude_series="s0") == order[:5]
        stale = lists.read_bytes()
        index.remove(series="s1")
        assert not list(tmp_path.glob("*.faiss"))
        assert index.prepare(method="faiss") == 3_010
        (lists,) = tmp_path.glob("*.faiss")
        lists.write_bytes(stale[:-5000])
    with EmbeddingIndex.open(path) as index:
        assert found(index, vectors[3], top=1) == [3] and not index._loaded.has_sketches, "a damaged file was used"


def test_faiss_that_is_not_installed_is_one_sentence_and_leaves_what_is_there(prepared, monkeypatch):
    monkeypatch.setattr("MedImageParseLib.packages.is_there", lambda module: module != "faiss")
    before = sorted(path.name for path in prepared[0].parent.iterdir())
    with EmbeddingIndex.open(prepared[0]) as index, pytest.raises(UsageError, match="faiss-cpu.*sketches"):
        index.prepare(method="faiss")
    assert sorted(path.name for path in prepared[0].parent.iterdir()) == before
