"""An index as a file for others, and behind a Qdrant server's interface."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_support import SPACE, hash_of, made_up, same_record, unit_vectors

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.qdrant_store import QdrantStore
from MedImageParseLib.search.records import Provenance, Record

OTHER = Provenance("medimageinsight", "green", "classical", "percentiles")


@pytest.fixture
def index(tmp_path):
    with EmbeddingIndex.open(tmp_path / "a.index") as opened:
        opened.add(made_up(range(60)), SPACE)
        opened.add(made_up(range(20), length=12), OTHER)
        yield opened


def _assert_same(one, other):
    for space in (SPACE, OTHER):
        pairs = list(zip(one.rows_of(space), other.rows_of(space), strict=True))
        assert len(pairs) in (60, 20)
        for (record, vector), (copied, vector_copied) in pairs:
            assert same_record(record, copied) and np.array_equal(vector, vector_copied)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_an_exported_index_comes_back_the_same(index, tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
    assert index.export(tmp_path / f"all{ending}") == 80
    with EmbeddingIndex.open(tmp_path / "b.index") as copy:
        assert copy.import_(tmp_path / f"all{ending}") == 80
        _assert_same(index, copy)
        assert copy.import_(tmp_path / f"all{ending}") == 0


def test_an_exported_npz_is_readable_with_plain_numpy_and_without_pickle(index, tmp_path):
    index.export(tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as data:
        assert json.loads(data["spaces"].tobytes())[1] == list(OTHER.as_tuple)
        assert data["vectors_0"].shape == (60, 32) and data["vectors_1"].shape == (20, 12)
        assert json.loads(data["records_0"].tobytes())[7][0] == hash_of(7)
        ends = data["thumbnail_ends_0"]
        assert data["thumbnails_0"][ends[4] : ends[5]].tobytes() == made_up([5])[0].thumbnail


def test_parquet_without_pyarrow_gives_a_sentence(index, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pyarrow, which is not installed; use a file that ends with \.npz"):
        index.export(tmp_path / "all.parquet")
    assert os.listdir(tmp_path) == ["a.index"]


def test_an_export_that_fails_leaves_the_old_file(index, tmp_path):
    (tmp_path / "all.npz").write_bytes(b"before")
    with pytest.raises(UsageError, match="must end with"):
        index.export(tmp_path / "all.csv")
    index.close()
    with pytest.raises(IndexFault):
        index.export(tmp_path / "all.npz")
    assert (tmp_path / "all.npz").read_bytes() == b"before" and len(os.listdir(tmp_path)) == 2


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_export_is_refused_or_imported_whole(tmp_path_factory, place, value, cut):
    folder = tmp_path_factory.mktemp("damaged")
    with EmbeddingIndex.open(folder / "a.index") as index:
        index.add(made_up(range(6), length=4), SPACE)
        index.export(folder / "all.npz")
    data = bytearray((folder / "all.npz").read_bytes())
    place %= len(data)
    data[place] = value
    (folder / "all.npz").write_bytes(data[:place] if cut else data)
    with EmbeddingIndex.open(folder / "b.index") as fresh:
        try:
            assert fresh.import_(folder / "all.npz") in (0, 6)
        except (InputError, UsageError):
            assert fresh.info().records == 0
        assert fresh.check().is_sound


def test_a_file_that_was_never_an_index_is_not_imported(index, tmp_path):
    np.savez(tmp_path / "other.npz", vectors=np.ones((3, 4)))
    (tmp_path / "text.npz").write_text("not a zip")
    for name, words in (("other.npz", "not exported"), ("text.npz", "not exported"), ("none.npz", "no file")):
        with pytest.raises(InputError, match=words):
            index.import_(tmp_path / name)
    assert index.info().records == 80


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    pytest.importorskip("qdrant_client", reason="the package qdrant-client is not installed")
    with QdrantStore.open(":memory:" if request.param == "memory" else str(tmp_path / "qdrant")) as opened:
        yield opened


def test_a_qdrant_store_answers_as_an_index_file_does(store, tmp_path):
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        for place in (index, store):
            assert place.add(made_up(range(80)), SPACE) == 80
            assert place.add(made_up(range(70, 90)), SPACE) == 10
            assert place.add(made_up(range(9), length=12), OTHER) == 9
        queries = unit_vectors(3, 32, seed=8)
        for options in ({}, {"kinds": ["picture"]}, {"exclude_series": "series-3", "kinds": ["slice"]}):
            ours = index.search(queries, provenance=SPACE, top=9, **options)
            theirs = store.search(queries, provenance=SPACE, top=9, **options)
            for one, other in zip(ours, theirs, strict=True):
                assert all(same_record(a.record, b.record) for a, b in zip(one, other, strict=True))
                np.testing.assert_allclose([hit.similarity for hit in one], [hit.similarity for hit in other], atol=1e-5)
        assert store.has([hash_of(2), hash_of(500)], SPACE) == index.has([hash_of(2), hash_of(500)], SPACE) == {hash_of(2)}
        ours, theirs = index.info(), store.info()
        assert {(s.provenance, s.records, s.length) for s in ours.spaces} == {(s.provenance, s.records, s.length) for s in theirs.spaces}
        assert (ours.records, ours.kinds, ours.series, ours.sources, ours.thumbnails) == (
            theirs.records,
            theirs.kinds,
            theirs.series,
            theirs.sources,
            theirs.thumbnails,
        )
        assert index.remove(series="series-0") == store.remove(series="series-0") == 19
        assert len(store.vectors(SPACE)[1]) == len(index.vectors(SPACE)[1]) == 80


def test_a_qdrant_store_never_mixes_provenances_or_lengths(store):
    with pytest.raises(IndexFault, match="empty"):
        store.search(unit_vectors(1, 32)[0], provenance=SPACE)
    store.add(made_up(range(3)), SPACE)
    with pytest.raises(IndexFault, match="none of medimageinsight .*green"):
        store.search(unit_vectors(1, 32)[0], provenance=OTHER)
    with pytest.raises(IndexFault, match="64 numbers, but those of .* have 32"):
        store.add(made_up([9], length=64), SPACE)
    with pytest.raises(IndexFault, match="64 numbers"):
        store.search(unit_vectors(1, 64)[0], provenance=SPACE)
    assert store.remove(provenance=SPACE) == 3
    with pytest.raises(IndexFault, match="empty"):
        store.search(unit_vectors(1, 32)[0], provenance=SPACE)


def test_qdrant_missing_unencrypted_or_silent_gives_a_sentence(monkeypatch):
    pytest.importorskip("qdrant_client", reason="the package qdrant-client is not installed")
    with pytest.raises(UsageError, match="not encrypted; use https"):
        QdrantStore.open("http://qdrant.hospital.example:6333", api_key="secret")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(IndexFault, match="does not answer") as caught:
        QdrantStore.open(place, timeout_s=2)
    assert caught.value.code == "unreachable"
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(IndexFault, match="qdrant-client, which is not installed"):
        QdrantStore.open(":memory:")


def test_a_qdrant_folder_in_use_gives_a_sentence(tmp_path):
    pytest.importorskip("qdrant_client", reason="the package qdrant-client is not installed")
    with QdrantStore.open(str(tmp_path / "q")) as store:
        store.add([Record(hash_of(1), vector=np.ones(4))], SPACE)
        with pytest.raises(IndexFault, match="another program may have it open"):
            QdrantStore.open(str(tmp_path / "q"))


def test_a_qdrant_server_that_refuses_the_key_gives_a_sentence_without_it():
    pytest.importorskip("qdrant_client", reason="the package qdrant-client is not installed")

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(IndexFault, match=r"refused \(403\); check its key") as caught:
            QdrantStore.open(f"http://127.0.0.1:{server.server_port}", api_key="very-secret")
        server.shutdown()
    assert "very-secret" not in str(caught.value)
