"""The index on disk: adding, searching, removing; results against plain NumPy."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_support import SPACE, hash_of, made_up, same_record, unit_vectors

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.records import Provenance, Record, content_hash, series_name

OTHER = Provenance("medimageinsight", "green", "", "window -150..250")


@pytest.fixture
def index(tmp_path):
    with EmbeddingIndex.open(tmp_path / "studies.index") as opened:
        yield opened


def test_results_are_those_of_plain_numpy(index):
    records = made_up(range(700), length=48)
    index.add(records, SPACE)
    matrix = np.stack([record.vector for record in records]).astype(np.float64)
    for query in unit_vectors(5, 48, seed=999):
        similarities = matrix @ query.astype(np.float64)
        order = np.argsort(-similarities)[:12]
        hits = index.search(query, provenance=SPACE, top=12)
        assert [hit.record.content_hash for hit in hits] == [records[place].content_hash for place in order]
        np.testing.assert_allclose([hit.similarity for hit in hits], similarities[order], atol=1e-6)
        assert all(same_record(hit.record, records[place]) for hit, place in zip(hits, order))


def test_many_queries_at_once_give_what_each_gives_alone(index):
    index.add(made_up(range(300)), SPACE)
    queries = unit_vectors(70, 32, seed=5)
    together = index.search_many(queries, provenance=SPACE, top=4)
    alone = [index.search(query, provenance=SPACE, top=4) for query in queries]
    assert [[hit.id for hit in hits] for hits in together] == [[hit.id for hit in hits] for hits in alone]


def test_vectors_come_back_bit_for_bit_and_outlive_the_index_object(tmp_path):
    records = made_up(range(50))
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        index.add(records, SPACE)
    with EmbeddingIndex.open(tmp_path / "a.index", create=False) as index:
        ids, matrix = index.vectors(SPACE)
        held = index.records(ids.tolist())
    assert np.array_equal(matrix, np.stack([record.vector for record in records]))
    assert matrix.dtype == np.float32 and not matrix.flags.writeable
    assert all(same_record(held[number], record) for number, record in zip(ids.tolist(), records))


def test_an_image_is_never_stored_twice_with_the_same_provenance(index):
    assert index.add(made_up(range(30)), SPACE) == 30
    assert index.add(made_up(range(20, 40)), SPACE) == 10
    assert index.add(made_up([50]) * 3, SPACE) == 1
    assert index.add(made_up(range(5)), OTHER) == 5
    assert index.has([hash_of(3), hash_of(39), hash_of(77)], SPACE) == {hash_of(3), hash_of(39)}
    assert index.has([hash_of(30)], OTHER) == set()
    assert [(space.provenance, space.records) for space in index.info().spaces] == [(SPACE, 41), (OTHER, 5)]


def test_a_search_may_leave_out_a_series_and_other_kinds(index):
    records = made_up(range(100))
    index.add(records, SPACE)
    hits = index.search(records[33].vector, provenance=SPACE, top=100, exclude_series="series-3", kinds=["picture"])
    assert {hit.record.content_hash for hit in hits} == {hash_of(n) for n in range(0, 100, 5) if n // 10 != 3}
    assert index.search(records[33].vector, provenance=SPACE, top=1, exclude_series="no such series")[0].record.slice_index == 3


def test_equal_images_come_in_the_order_they_were_added(index):
    vector = unit_vectors(1, 32)[0]
    records = [Record(hash_of(number), vector=vector) for number in range(20)]
    index.add(records, SPACE)
    found = [hit.record.content_hash for hit in index.search(vector, provenance=SPACE, top=7)]
    assert found == [hash_of(number) for number in range(7)]


def test_vectors_of_another_model_or_preprocessing_are_never_compared(index):
    index.add(made_up(range(5)), SPACE)
    asked = Provenance("medimageinsight", "blue", "", "window 0..80")
    words = r"holds vectors of medimageinsight \(deployment blue, window -150\.\.250\), none of .*0\.\.80"
    with pytest.raises(IndexFault, match=words) as caught:
        index.search(unit_vectors(1, 32)[0], provenance=asked)
    assert caught.value.code == "provenance"
    index.add(made_up(range(100, 103)), OTHER)
    assert len(index.search(unit_vectors(1, 32)[0], provenance=OTHER, top=50)) == 3


def test_a_length_that_the_provenance_does_not_have_is_refused_and_nothing_is_stored(index):
    index.add(made_up(range(5)), SPACE)
    with pytest.raises(IndexFault, match="64 numbers, but those of .* have 32"):
        index.add(made_up(range(10, 12), length=64), SPACE)
    with pytest.raises(IndexFault, match="64 numbers"):
        index.search(unit_vectors(1, 64)[0], provenance=SPACE)
    assert index.info().records == 5


def test_an_empty_index_says_so(index):
    with pytest.raises(IndexFault, match="empty; add images"):
        index.search(unit_vectors(1, 32)[0], provenance=SPACE)
    assert index.has([hash_of(1)], SPACE) == set() and index.info().records == 0 and index.check().is_sound


@pytest.mark.parametrize("bad", [np.zeros(8), np.full(8, np.nan), np.array([np.inf] + [0.0] * 7)])
def test_a_vector_that_is_no_direction_is_refused(index, bad):
    with pytest.raises(InputError, match="zero or holds numbers that are not finite"):
        index.add([Record(hash_of(1), vector=bad)], SPACE)
    assert index.info().records == 0


def test_a_vector_is_scaled_to_unit_length(index):
    index.add([Record(hash_of(1), vector=np.array([3.0, 4.0]))], SPACE)
    assert index.vectors(SPACE)[1].tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert index.search(np.array([30.0, 40.0]), provenance=SPACE)[0].similarity == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("record", [Record("short", vector=np.ones(4)), Record(hash_of(1), kind="film", vector=np.ones(4))])
def test_a_record_that_is_not_well_formed_is_refused(index, record):
    with pytest.raises(UsageError):
        index.add([record], SPACE)


def test_removal_takes_path_thumbnail_and_vector_out_of_the_file(tmp_path):
    path = tmp_path / "private.index"
    secret = Record(hash_of(1), source="/patients/doe^jane.dcm", series="jane", thumbnail=b"PIXELS" * 9, vector=unit_vectors(1, 256)[0])
    with EmbeddingIndex.open(path) as index:
        index.add([*made_up(range(10, 20), length=256), secret], SPACE)
        traces = (b"doe^jane", b"PIXELS", secret.vector[100:140].tobytes(), bytes.fromhex(hash_of(1)))
        assert all(trace in path.read_bytes() for trace in traces)
        assert index.remove(series="jane") == 1
        assert not any(trace in path.read_bytes() for trace in traces)
        assert index.info().records == 10 and index.check().is_sound


def test_removal_by_source_number_and_provenance_and_nothing_else(index):
    index.add(made_up(range(40)), SPACE)
    index.add(made_up(range(40)), OTHER)
    assert index.remove(source="/studies/1.nii.gz") == 20
    numbers = index.vectors(SPACE)[0][:3].tolist()
    assert index.remove(ids=[*numbers, 99999]) == 3
    assert index.remove(provenance=OTHER) == 30
    assert index.remove(series="nobody") == 0
    assert index.spaces() == [SPACE] and index.info().records == 27
    for conditions in ({}, {"source": "a", "series": "b"}):
        with pytest.raises(UsageError, match="one of these"):
            index.remove(**conditions)


def test_compaction_gives_room_back_and_changes_no_result(index):
    index.add(made_up(range(2000), thumbnail_bytes=500), SPACE)
    ids = index.vectors(SPACE)[0]
    index.remove(ids=[number for number in ids.tolist() if number % 3])
    query = unit_vectors(1, 32, seed=4)[0]
    before = index.search(query, provenance=SPACE, top=50)
    assert index.compact() > 500_000
    after = index.search(query, provenance=SPACE, top=50)
    assert [(hit.id, hit.similarity) for hit in before] == [(hit.id, hit.similarity) for hit in after]
    assert index.check().is_sound and index.remove(ids=[before[0].id]) == 1


def test_a_matrix_that_was_given_out_does_not_change_under_its_holder(index):
    index.add(made_up(range(20)), SPACE)
    ids, matrix = index.vectors(SPACE)
    copy = matrix.copy()
    index.add(made_up(range(20, 60)), SPACE)
    index.remove(ids=[int(ids[0])])
    index.add(made_up(range(60, 90)), SPACE)
    assert len(index.vectors(SPACE)[0]) == 89
    assert np.array_equal(matrix, copy)


def test_names_that_are_not_unicode_and_numpy_numbers_are_stored(index):
    odd = os.fsdecode(b"/scans/\xff\xfe.nii")
    index.add([Record(hash_of(1), source=odd, slice_index=np.int64(7), position={"spacing": np.float32(0.5)}, vector=np.ones(4))], SPACE)
    record = next(iter(index.records().values()))
    assert (record.slice_index, record.position) == (7, {"spacing": 0.5}) and record.source.startswith("/scans/")
    assert index.remove(source=odd) == 1


def test_threads_may_search_while_another_adds(index):
    records = made_up(range(400))
    index.add(records[:100], SPACE)
    wrong = []

    def search():
        for record in records[:100]:
            hit = index.search(record.vector, provenance=SPACE, top=1)[0]
            if hit.record.content_hash != record.content_hash:
                wrong.append(record)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(100, 400, 20):
        index.add(records[start : start + 20], SPACE)
    for thread in threads:
        thread.join()
    assert not wrong and len(index.vectors(SPACE)[0]) == 400


def test_the_content_hash_tells_pixels_shape_and_preprocessing_apart():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    hashes = {
        content_hash(pixels, "a"),
        content_hash(pixels, "b"),
        content_hash(pixels.T, "a"),
        content_hash(pixels.reshape(4, 3), "a"),
        content_hash(pixels.astype(np.int16), "a"),
        content_hash(b"png", "a"),
    }
    assert len(hashes) == 6 and content_hash(pixels.copy(order="F"), "a") in hashes


def test_the_name_of_a_series_depends_on_voxels_and_geometry_only():
    voxels, affine = np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 1.0, 2.0, 1.0])
    name = series_name(voxels, affine)
    assert name == series_name(voxels.copy(order="F"), affine + 1e-9) and len(name) == 32
    assert name != series_name(voxels + 1, affine) and name != series_name(voxels, np.diag([1.0, 1.0, 3.0, 1.0]))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 60), max_size=12)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 60), min_size=1, max_size=6)),
        st.tuples(st.just("remove series"), st.integers(0, 6)),
        st.tuples(st.sampled_from(["compact", "reopen", "search"]), st.integers(0, 60)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_any_order_of_adding_removing_and_searching_agrees_with_a_plain_dictionary(steps, tmp_path_factory):
    path = tmp_path_factory.mktemp("steps") / "a.index"
    held: dict[str, Record] = {}
    index = EmbeddingIndex.open(path)
    reader = EmbeddingIndex.open(path)
    for what, value in [*steps, ("search", 1)]:
        if what == "add":
            fresh = {record.content_hash: record for record in made_up(value) if record.content_hash not in held}
            assert index.add(made_up(value), SPACE) == len(fresh)
            held |= fresh
        elif what == "remove":
            numbers = {record.content_hash: number for number, record in index.records().items()}
            gone = {hash_of(number) for number in value} & set(held)
            assert index.remove(ids=[numbers[key] for key in gone] or [10**6]) == len(gone)
            held = {key: record for key, record in held.items() if key not in gone}
        elif what == "remove series":
            kept = {key: record for key, record in held.items() if record.series != f"series-{value}"}
            assert index.remove(series=f"series-{value}") == len(held) - len(kept)
            held = kept
        elif what == "compact":
            index.compact()
        elif what == "reopen":
            index.close()
            index = EmbeddingIndex.open(path)
        elif held:
            query = unit_vectors(1, 32, seed=1000 + value)[0]
            matrix = np.stack([record.vector for record in held.values()]).astype(np.float64)
            expected = [list(held)[place] for place in np.argsort(-(matrix @ query))]
            for reading in (index, reader):
                assert [hit.record.content_hash for hit in reading.search(query, provenance=SPACE, top=99)] == expected
    assert index.check().is_sound and index.info().records == len(held)
    index.close()
    reader.close()
