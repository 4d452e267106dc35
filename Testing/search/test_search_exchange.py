"""An index as a file for others, and files of others that claim to be one."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_support import SPACE, hash_of, made_up, same_record

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.records import Provenance

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


@pytest.mark.parametrize("bomb", ["a text", "a vector", "rows", "prefixes"])
def test_a_parquet_file_that_unfolds_to_far_more_than_its_size_is_refused_before_it_does(index, tmp_path, bomb):
    arrow = pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
    from pyarrow import parquet

    index.export(tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    options, rows = {}, table.num_rows
    if bomb == "a text":
        table = table.set_column(table.schema.get_field_index("source"), "source", arrow.array(["x" * 2**20] * rows))
    elif bomb == "a vector":
        ends = np.concatenate([np.zeros(rows, np.int32), [6_000_000]]).astype(np.int32)
        long = arrow.ListArray.from_arrays(arrow.array(ends), arrow.array(np.ones(6_000_000, np.float32)))
        table = table.set_column(table.schema.get_field_index("vector"), "vector", long)
    elif bomb == "rows":
        table = arrow.concat_tables([table.slice(0, 1)] * 400_000).combine_chunks()
    else:
        options = {"use_dictionary": False, "column_encoding": {"source": "DELTA_BYTE_ARRAY"}}
    parquet.write_table(table, tmp_path / "bomb.parquet", compression="zstd", **options)
    tracemalloc.start()
    with EmbeddingIndex.open(tmp_path / "b.index") as copy, pytest.raises(InputError, match="not exported from an index"):
        copy.import_(tmp_path / "bomb.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


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
    with pytest.raises(
        UsageError, match=r"pyarrow, which Parquet needs, is not installed: .*pip install pyarrow.*or use a file that ends with \.npz"
    ):
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
