"""Labels of slices, pictures and series: kept beside the vectors, exported with them, gone with them."""

from __future__ import annotations

import importlib.util
import sqlite3

import numpy as np
import pytest
from search_support import SPACE, hash_of, made_up

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.labels import WHOLE, PlaceLabel, label_of_record
from MedImageParseLib.search.records import Provenance, Record

OTHER = Provenance("medimageinsight", "green")


@pytest.fixture
def index(tmp_path):
    with EmbeddingIndex.open(tmp_path / "studies.index") as opened:
        opened.add(made_up(range(40)), SPACE)
        yield opened


def test_a_slices_own_label_goes_before_that_of_its_series(index):
    records = index.records()
    first, second = (next(number for number, one in records.items() if one.content_hash == hash_of(n)) for n in (1, 2))
    assert index.add_labels([PlaceLabel("part", "chest", "series-0"), label_of_record("part", "neck", records[second])]) == 2
    found = index.labels_of(records, "part")
    assert len(found) == 10 and found[first] == ("chest",) and found[second] == ("neck",)


def test_a_label_holds_for_slices_and_models_that_come_later(index):
    index.add_labels([PlaceLabel("part", "chest", "series-1")])
    late = Record(hash_of(900), series="series-1", plane="axial", slice_index=77, vector=made_up([900])[0].vector)
    index.add([late, *made_up([12])], OTHER)
    labelled = index.labels_of(index.vectors(OTHER)[0].tolist(), "part")
    assert set(labelled.values()) == {("chest",)} and len(labelled) == 2


def test_a_new_label_replaces_the_old_one_unless_it_is_to_stand_beside_it(index):
    index.add_labels([PlaceLabel("finding", "nodule", "series-0")])
    index.add_labels([PlaceLabel("finding", "effusion", "series-0")], replace=False)
    number = next(iter(index.labels_of(index.records(), "finding")))
    assert index.labels_of([number], "finding") == {number: ("effusion", "nodule")}
    index.add_labels([PlaceLabel("finding", "none", "series-0")])
    assert index.labels_of([number], "finding") == {number: ("none",)}
    assert [(one.set, one.counts) for one in index.label_sets()] == [("finding", {"none": 1})]


def test_what_is_removed_from_the_index_leaves_no_label_behind(index, tmp_path):
    secret = "a very telling label"
    place = index.records(series="series-2")
    index.add_labels([label_of_record("note", secret, record) for record in place.values()])
    index.add_labels([PlaceLabel("note", secret, "series-2"), PlaceLabel("note", "plain", "series-1")])
    index.remove(series="series-2")
    assert [(one.series, one.label) for one in index.labels()] == [("series-1", "plain")]
    index.close()
    assert secret.encode() not in (tmp_path / "studies.index").read_bytes()


def test_a_set_can_be_removed_and_its_images_stay(index):
    index.add_labels([PlaceLabel("a", "x", "series-0"), PlaceLabel("b", "x", "series-0")])
    assert index.remove_labels("a") == 1 and index.remove_labels("a") == 0
    assert [one.set for one in index.label_sets()] == ["b"] and index.info().records == 40 and index.check().is_sound


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_labels_travel_with_an_export(index, tmp_path, ending):
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        pytest.skip("the package pyarrow is not installed")
    said = [PlaceLabel("part", "Ölüm ✓", "series-0"), label_of_record("part", "neck", made_up([13])[0])]
    index.add_labels(said)
    index.export(tmp_path / f"all{ending}")
    with EmbeddingIndex.open(tmp_path / "copy.index") as copy:
        assert copy.import_(tmp_path / f"all{ending}") == 40
        assert copy.labels() == said


@pytest.mark.parametrize(
    "rows", ['[["s", "l", "series-0", "", -3]]', '[["s", 5, "series-0", "", 1]]', '{"s": 1}', '[["s", "l"]]', '[["", "l", "x", "", 1]]']
)
def test_an_export_with_impossible_labels_is_refused_whole(index, tmp_path, rows):
    index.export(tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as held:
        arrays = {name: held[name] for name in held.files}
    arrays["labels"] = np.frombuffer(rows.encode(), np.uint8)
    np.savez(tmp_path / "odd.npz", **arrays)
    with EmbeddingIndex.open(tmp_path / "copy.index") as copy:
        with pytest.raises(InputError, match="was not exported from an index"):
            copy.import_(tmp_path / "odd.npz")
        assert copy.info().records == 0


@pytest.mark.parametrize("label", ["", " ", "two\nlines", "x" * 201, "zero\0"])
def test_a_label_that_no_table_could_show_is_refused_and_nothing_is_stored(index, label):
    with pytest.raises(UsageError, match="cannot be kept"):
        index.add_labels([PlaceLabel("part", "good", "series-0"), PlaceLabel("part", label, "series-1")])
    assert index.label_sets() == []


def test_an_index_of_the_format_without_labels_is_brought_up_to_date(index, tmp_path):
    path = tmp_path / "studies.index"
    index.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE labels")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with EmbeddingIndex.open(path, create=False) as opened:
        assert opened.info().records == 40 and opened.info().version == 3 and opened.check().is_sound
        assert opened.add_labels([PlaceLabel("part", "chest", "series-0")]) == 1


def test_a_hundred_thousand_labels_are_kept_and_come_back(index):
    said = [PlaceLabel("many", f"label {number}", f"series-{number % 4}", "axial", number) for number in range(100_000)]
    assert index.add_labels(said) == 100_000
    assert index.labels("many") == said and index.labels()[0].slice_index != WHOLE
