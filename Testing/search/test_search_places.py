"""Contents and places: what several studies share is kept once and found in each of them; older indexes are brought up to date."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from old_index import write_old_index
from search_support import SPACE, hash_of, in_child, made_up, same_record, unit_vectors

from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex, Study
from MedImageParseLib.search.records import Provenance, Record

OTHER = Provenance("medimageinsight", "green", "", "window -150..250")


@pytest.fixture
def index(tmp_path):
    with EmbeddingIndex.open(tmp_path / "studies.index") as opened:
        yield opened


def a_slice(number: int, study: str, index: int, source: str = "", **fields: object) -> Record:
    """A slice of a study that shows content `number`."""
    record = made_up([number])[0]
    return replace(record, kind="slice", series=study, slice_index=index, source=source or f"/gone/{study}.nii", **fields)


def contents_of(index: EmbeddingIndex) -> int:
    with sqlite3.connect(index.path) as connection:
        return connection.execute("SELECT count(*) FROM chunks").fetchone()[0]


def test_a_picture_that_two_studies_share_is_kept_once_and_found_in_both(index):
    assert index.add([a_slice(1, "one", 0), a_slice(2, "one", 1)], SPACE) == 2
    assert index.add([a_slice(1, "two", 5), a_slice(3, "two", 6)], SPACE) == 2
    hits = index.search(made_up([1])[0].vector, provenance=SPACE, top=2)
    assert [(hit.record.series, hit.record.slice_index) for hit in hits] == [("one", 0), ("two", 5)]
    assert hits[0].similarity == hits[1].similarity == pytest.approx(1.0, abs=1e-6) and hits[1].record.thumbnail
    ids, vectors = index.vectors(SPACE)
    assert len(ids) == 4 and np.array_equal(vectors[0], vectors[2]) and contents_of(index) == 3
    assert index.studies() == [Study("one", "", 2), Study("two", "", 2)]


def test_blank_slices_of_one_study_are_all_there(index):
    index.add([a_slice(7, "one", number) for number in range(5)], SPACE)
    assert [record.slice_index for record in index.records().values()] == [0, 1, 2, 3, 4] and contents_of(index) == 1
    assert index.add([a_slice(7, "one", number) for number in range(6)], SPACE) == 1


def test_removing_a_study_leaves_the_slices_that_another_shares(index):
    index.add([a_slice(1, "one", 0), a_slice(2, "one", 1)], SPACE)
    index.add([a_slice(1, "two", 5)], SPACE)
    assert index.remove(series="one") == 2
    (hit,) = index.search(made_up([1])[0].vector, provenance=SPACE)
    assert (hit.record.series, hit.record.slice_index, contents_of(index)) == ("two", 5, 1)
    assert index.has([hash_of(1), hash_of(2)], SPACE) == {hash_of(1)} and index.check().is_sound
    assert index.remove(series="two") == 1 and contents_of(index) == 0 and index.info().thumbnails == 0


def test_a_study_that_is_left_out_of_a_search_does_not_hide_what_another_shares(index):
    index.add([a_slice(1, "one", 0)], SPACE)
    index.add([a_slice(1, "two", 5)], SPACE)
    (hit,) = index.search(made_up([1])[0].vector, provenance=SPACE, exclude_series="one")
    assert hit.record.series == "two"


def test_a_file_that_was_moved_is_found_where_it_is_now(index, tmp_path):
    old, new = str(tmp_path / "old.nii"), str(tmp_path / "new.nii")
    index.add([a_slice(1, "one", 0, old)], SPACE)
    assert index.add([a_slice(1, "one", 0, new, vector=np.empty(0, np.float32), position={"name": "new.nii"})], SPACE) == 0
    (record,) = index.records().values()
    assert (record.source, record.position) == (new, {"name": "new.nii"}) and index.check().is_sound


def test_a_copy_of_a_file_that_is_still_there_is_a_second_place(index, tmp_path):
    old, new = tmp_path / "old.nii", tmp_path / "new.nii"
    old.touch(), new.touch()
    index.add([a_slice(1, "one", 0, str(old))], SPACE)
    assert index.add([a_slice(1, "one", 0, str(new))], SPACE) == 1
    assert index.remove(source=str(old)) == 1
    assert [record.source for record in index.records().values()] == [str(new)]


def test_a_path_that_was_left_out_is_filled_in_and_never_taken_away(index, tmp_path):
    path = tmp_path / "one.nii"
    path.touch()
    for source, expected in (("", ""), (str(path), str(path)), ("", str(path))):
        index.add([replace(a_slice(1, "one", 0), source=source)], SPACE)
        assert [record.source for record in index.records().values()] == [expected]


def test_a_place_without_a_vector_is_passed_over_where_its_content_is_not_held(index):
    blank = np.empty(0, np.float32)
    assert index.add([a_slice(1, "one", 0, vector=blank)], SPACE) == 0 and index.info().records == 0
    index.add([a_slice(1, "one", 0)], SPACE)
    assert index.add([a_slice(1, "two", 3, vector=blank), a_slice(2, "two", 4, vector=blank)], SPACE) == 1


def test_an_open_index_sees_places_that_another_program_adds_and_takes_away(index):
    index.add([a_slice(1, "one", 0)], SPACE)
    with EmbeddingIndex.open(index.path) as other:
        assert len(other.vectors(SPACE)[0]) == 1
        index.add([a_slice(1, "two", 0), a_slice(2, "two", 1)], SPACE)
        assert len(other.vectors(SPACE)[0]) == 3
        index.remove(series="one")
        assert [record.series for record in other.records(other.vectors(SPACE)[0].tolist()).values()] == ["two", "two"]


def test_any_order_of_sharing_and_removing_agrees_with_plain_sets(tmp_path):
    for seed in range(12):
        chance = random.Random(seed)
        held: set[tuple[int, str, int]] = set()
        with EmbeddingIndex.open(tmp_path / f"{seed}.index") as index, EmbeddingIndex.open(tmp_path / f"{seed}.index") as reader:
            for _ in range(12):
                if chance.random() < 0.7:
                    some = [
                        (chance.randrange(8), f"study-{chance.randrange(4)}", chance.randrange(3)) for _ in range(chance.randrange(1, 9))
                    ]
                    assert index.add([a_slice(*one) for one in some], SPACE) == len(set(some) - held)
                    held |= set(some)
                else:
                    study = f"study-{chance.randrange(4)}"
                    assert index.remove(series=study) == sum(one[1] == study for one in held)
                    held = {one for one in held if one[1] != study}
                found = {(record.content_hash, record.series, record.slice_index) for record in reader.records().values()}
                assert found == {(hash_of(number), study, place) for number, study, place in held}
                assert contents_of(index) == len({number for number, _, _ in held})
                if held:
                    ids, vectors = reader.vectors(SPACE)
                    for record, vector in zip(reader.records(ids.tolist()).values(), vectors, strict=True):
                        number = next(number for number in range(8) if hash_of(number) == record.content_hash)
                        assert np.array_equal(vector, made_up([number])[0].vector)
            assert index.check().is_sound


def test_an_older_index_is_brought_up_to_date_with_nothing_lost(tmp_path):
    path = tmp_path / "old.index"
    records, others = made_up(range(40)), made_up(range(5), length=11)
    write_old_index(path, {SPACE: records, OTHER: others})
    with EmbeddingIndex.open(path) as index:
        ids, vectors = index.vectors(SPACE)
        assert ids.tolist() == list(range(1, 41)) and np.array_equal(vectors, np.stack([record.vector for record in records]))
        assert all(same_record(held, record) for held, record in zip(index.records(ids.tolist()).values(), records, strict=True))
        assert index.spaces() == [SPACE, OTHER] and index.vectors(OTHER)[1].shape == (5, 11)
        assert index.has([record.content_hash for record in records], SPACE) == {record.content_hash for record in records}
        assert index.add([replace(records[3], series="another")], SPACE) == 1 and max(index.records()) == 46
        assert index.check().is_sound and index.info().version == 3
    with EmbeddingIndex.open(path) as again:
        assert again.info().records == 46


def test_a_damaged_older_index_is_left_as_it_was(tmp_path):
    path = tmp_path / "old.index"
    write_old_index(path, {SPACE: made_up(range(20))})
    data = bytearray(path.read_bytes())
    data[data.find(made_up([9])[0].vector.tobytes()) + 5] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(IndexFault, match="do not match their checksums") as caught:
        EmbeddingIndex.open(path)
    assert caught.value.code == "damaged" and path.read_bytes() == data


def test_a_kill_while_an_older_index_is_brought_up_to_date_leaves_it_to_the_next(tmp_path):
    path = tmp_path / "old.index"
    write_old_index(path, {SPACE: made_up(range(60), length=1024)})
    code = """
import os, signal, sys
from MedImageParseLib.search import migrate
from MedImageParseLib.search.index import EmbeddingIndex
def die(*arguments, move=migrate._move_vectors):
    move(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
migrate._move_vectors = die
EmbeddingIndex.open(sys.argv[1])
"""
    child = in_child(code, path)
    child.communicate()
    assert child.returncode == -9
    with EmbeddingIndex.open(path) as index:
        assert index.info().records == 60 and index.check().is_sound


def test_two_programs_that_open_an_older_index_bring_it_up_to_date_once(tmp_path):
    path = tmp_path / "old.index"
    write_old_index(path, {SPACE: made_up(range(300), length=256)})
    code = "import sys\nfrom MedImageParseLib.search.index import EmbeddingIndex\nprint(EmbeddingIndex.open(sys.argv[1]).info().records)"
    children = [in_child(code, path) for _ in range(2)]
    assert [child.communicate()[0].strip() for child in children] == ["300", "300"]


def test_another_version_of_the_model_is_told_by_its_scaling_factor(index):
    index.add(made_up(range(3)), SPACE, factor=4.513362)
    assert index.add(made_up([3]), SPACE, factor=4.51336) == 1 and index.add(made_up([4]), SPACE) == 1
    with pytest.raises(IndexFault, match=r"states the scaling factor 4\.6, .* came with 4\.51336; another version") as caught:
        index.add(made_up([5]), SPACE, factor=4.6)
    assert caught.value.code == "factor" and index.info().records == 5 and index.info().spaces[0].factor == 4.513362
    with pytest.raises(IndexFault, match="another version"):
        index.require_factor(SPACE, 4.6)
    index.require_factor(SPACE, None)
    index.require_factor(OTHER, 4.6)


def test_a_scaling_factor_is_learned_where_an_older_index_has_none(tmp_path):
    path = tmp_path / "old.index"
    write_old_index(path, {SPACE: made_up(range(4))})
    with EmbeddingIndex.open(path) as index:
        index.add(made_up([9]), SPACE, factor=4.5)
        assert index.info().spaces[0].factor == 4.5


def test_places_and_factors_survive_export_and_import(index, tmp_path):
    index.add([a_slice(1, "one", 0), a_slice(1, "two", 5), a_slice(2, "two", 6)], SPACE, factor=4.5)
    assert index.export(tmp_path / "all.npz") == 3
    with EmbeddingIndex.open(tmp_path / "copy.index") as copy:
        assert copy.import_(tmp_path / "all.npz") == 3 and contents_of(copy) == 2
        assert all(map(same_record, copy.records().values(), index.records().values())) and copy.info().spaces[0].factor == 4.5


def test_a_content_whose_places_were_lost_gets_them_back_without_being_sent(index):
    index.add([Record(hash_of(1), vector=unit_vectors(1, 8)[0])], SPACE)
    assert index.add([a_slice(1, "one", 4, vector=np.empty(0, np.float32))], SPACE) == 0
    (record,) = index.records().values()
    assert (record.series, record.slice_index) == ("one", 4)
    assert index.search(unit_vectors(1, 8)[0], provenance=SPACE, exclude_series="one") == []


@pytest.mark.parametrize("number", ["ENOLCK", "EOPNOTSUPP"])
def test_a_drive_without_file_locks_is_named_at_once(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")
    import errno

    def refuse(*_arguments: object) -> None:
        raise OSError(getattr(errno, number), "no locks")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(IndexFault, match="no file locks, as some network shares.*local disk") as caught:
        EmbeddingIndex.open(tmp_path / "a.index")
    assert caught.value.code == "no-locks" and list(tmp_path.iterdir()) == []
