"""What goes wrong with one picture, one input or one disk costs only itself: the rest is done, it is named, and the next run tries it."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from dicom_support import write_image, write_series
from embed_support import made_up_ct, reached
from PIL import Image

from doubles.insight import Form, InsightDouble
from MedImageParseLib import classify, embed, index_add, index_info, index_search, outliers
from MedImageParseLib.cohort.cases import find_cases
from MedImageParseLib.configuration import locked
from MedImageParseLib.errors import EndpointError, PartlyDone, ReplyError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.tasks.sinks import IndexSink


class Faulty(InsightDouble):
    """A double that refuses requests, or spoils single vectors.

    Args:
        refuses: from (rows of the request, bytes of it) to a status, 0 to answer.
        spoils: from the number of the row, counted from 0, to what comes in place of its vector, None to leave it.
    """

    def __init__(self, refuses=lambda rows, size: 0, spoils=lambda number: None, **options):
        super().__init__(**options)
        self.refuses, self.spoils = refuses, spoils
        self.answered = 0
        self.sizes: list[int] = []

    def answer(self, body: bytes) -> tuple[int, bytes]:
        rows = json.loads(body)["input_data"]["data"]
        self.sizes.append(len(rows))
        status = self.refuses(rows, len(body))
        if status:
            return status, b'{"message": "refused"}'
        status, reply = super().answer(body)
        answers = json.loads(reply)
        for row in answers:
            spoiled = self.spoils(self.answered)
            if spoiled is not None:
                row["image_features"] = spoiled
            self.answered += 1
        return status, json.dumps(answers).encode()


def digest_of(row: list) -> str:
    return hashlib.sha256(row[0].encode()).hexdigest()


def rows_sent_for(volume: Volume, slices: str, tmp_path) -> set[str]:
    """Digests of what is sent for some slices of a volume."""
    seen: set[str] = set()
    with reached(Faulty(lambda rows, _size: seen.update(map(digest_of, rows)) or 0)) as (_double, client):
        index_add(tmp_path / "probe.index", volume, slices=slices, client=client)
    return seen


def slices_in(path) -> list[int]:
    with EmbeddingIndex.open(path, create=False) as index:
        return sorted(record.slice_index for record in index.records().values())


@pytest.mark.parametrize("batch", [1, 4, 5])
@pytest.mark.parametrize("status", [424, 400, 500])
def test_a_picture_that_the_model_fails_on_is_named_and_the_rest_is_kept(tmp_path, batch, status):
    bad = rows_sent_for(made_up_ct(), "7", tmp_path)
    double = Faulty(lambda rows, _size: status if bad & set(map(digest_of, rows)) else 0)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(), client=client, batch=batch)
        assert slices_in(tmp_path / "a.index") == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
        assert "1 of 12 pictures" in result.failure and "volume 1, axial slice 7" in result.failure
        assert [(one["plane"], one["slice"]) for one in result.report["inputs"][0]["refused"]] == [("axial", 7)]
        sent = len(double.sizes)
        again = index_add(tmp_path / "a.index", made_up_ct(), client=client, batch=batch)
        assert double.sizes[sent:] == [1] and again.already_there == 11 and "slice 7" in again.failure
        double.refuses = lambda _rows, _size: 0
        assert index_add(tmp_path / "a.index", made_up_ct(), client=client).failure == ""


@pytest.mark.parametrize("spoiled", [[0.0] * 1024, [math.nan] * 1024, [1.0] * 1023 + [math.inf], None], ids=["zero", "nan", "inf", "null"])
def test_a_vector_that_cannot_be_used_costs_only_its_picture(tmp_path, spoiled):
    double = Faulty(spoils=lambda number: ([] if spoiled is None else spoiled) if number == 5 else None)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(), client=client, batch=1, at_once=1)
    (missing,) = set(range(12)) - set(slices_in(tmp_path / "a.index"))
    assert f"axial slice {missing}: The" in result.failure


def test_a_vector_that_cannot_be_used_is_the_endpoints_fault_wherever_it_comes(tmp_path):
    double = Faulty(spoils=lambda _number: [0.0] * 1024)
    with reached(double) as (_double, client):
        for ask in (lambda: embed(made_up_ct(1), client=client), lambda: classify(made_up_ct(2), label=["a", "b"], client=client)):
            with pytest.raises(ReplyError, match="zero or holds numbers") as caught:
                ask()
            assert caught.value.exit_status == 3


@pytest.mark.parametrize("status", [413, 408, 504])
def test_a_batch_that_is_too_large_or_too_slow_is_halved_down_to_one(tmp_path, status, monkeypatch):
    monkeypatch.setattr("MedImageParseLib.tasks.embed._SLOW_PAUSE_S", 0.0)
    double = Faulty(lambda rows, _size: status if len(rows) > 1 else 0)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(16), client=client, batch=8, at_once=1)
    assert result.failure == "" and slices_in(tmp_path / "a.index") == list(range(16))
    assert double.sizes.count(1) == 16 and max(double.sizes) == 8


def test_a_model_that_its_gateway_gave_up_waiting_for_gets_less_after_a_pause_and_never_the_same_again(tmp_path, monkeypatch):
    sent: list[str] = []
    pauses: list[float] = []
    double = Faulty(lambda rows, _size: sent.extend(map(digest_of, rows)) or 504)
    monkeypatch.setattr(Cancellation, "wait", lambda _self, seconds: pauses.append(seconds))
    with reached(double, retries=5) as (_double, client), pytest.raises(EndpointError, match="may still be computing"):
        index_add(tmp_path / "a.index", made_up_ct(30), client=client, at_once=3)
    assert max(map(sent.count, sent)) == 3  # among four, among two, alone
    assert double.sizes.count(4) <= 3 and double.sizes.count(2) == double.sizes.count(1) == 2
    assert pauses == [10.0] * 4


@pytest.mark.parametrize("status", [408, 504])
@pytest.mark.parametrize("batch", [1, 4])
def test_what_was_held_back_from_a_slow_model_is_sent_once_it_answers_something(tmp_path, monkeypatch, status, batch):
    monkeypatch.setattr("MedImageParseLib.tasks.embed._SLOW_PAUSE_S", 0.0)
    double = Faulty(lambda rows, _size: status if len(rows) > 1 or len(double.sizes) == 1 else 0, latency_s=0.01)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(24), client=client, at_once=2, batch=batch)
    assert len(slices_in(tmp_path / "a.index")) == (23 if batch == 1 else 24) and bool(result.failure) == (batch == 1)


def test_once_a_batch_was_too_large_the_later_ones_are_smaller(tmp_path):
    double = Faulty(lambda rows, _size: 413 if len(rows) > 1 else 0)
    with reached(double) as (_double, client):
        index_add(tmp_path / "a.index", made_up_ct(30, size=60), client=client, batch=2, at_once=1)
    assert double.sizes.count(1) == 30 and double.sizes.count(2) < 15


def test_a_batch_that_is_too_large_is_halved_for_a_question_as_well(tmp_path):
    double = Faulty(lambda rows, _size: 413 if len(rows) > 2 else 0)
    with reached(double) as (_double, client):
        assert embed(made_up_ct(9), client=client).vectors.shape == (9, 1024)


def test_a_picture_that_is_too_large_alone_is_named_as_such(tmp_path):
    bad = rows_sent_for(made_up_ct(), "3", tmp_path)
    double = Faulty(lambda rows, _size: 413 if bad & set(map(digest_of, rows)) else 0)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(), client=client)
    assert "slice 3: the endpoint rejects it as too large, though it is sent alone" in result.failure and "--" not in result.failure


def test_an_endpoint_that_fails_on_every_picture_is_not_asked_for_all_of_them(tmp_path):
    double = Faulty(lambda _rows, _size: 424)
    with reached(double) as (_double, client), pytest.raises(EndpointError):
        index_add(tmp_path / "a.index", made_up_ct(60, size=80), client=client)
    assert len(double.sizes) < 40 and not (tmp_path / "a.index").exists()


def test_another_model_behind_the_url_is_told_at_the_first_reply(tmp_path):
    class Other(InsightDouble):
        def answer(self, body: bytes) -> tuple[int, bytes]:
            self.requests.append(("image", 1))
            return 200, json.dumps([{"pred": 1} for _ in json.loads(body)["input_data"]["data"]]).encode()

    with reached(Other()) as (double, client), pytest.raises(ReplyError, match="another model may be behind"):
        index_add(tmp_path / "a.index", made_up_ct(30), client=client, at_once=1)
    assert len(double.requests) == 1


def test_storing_that_fails_half_way_ends_the_run_with_its_own_threads_and_no_traceback(tmp_path, monkeypatch):
    stored: list[int] = []
    unraisable: list[object] = []
    add = IndexSink.add

    def fail(self, records, provenance, factor):
        if len(stored) >= 2:
            raise IndexFault("There is no room on the disk.", "full")
        stored.append(len(records))
        add(self, records, provenance, factor)

    monkeypatch.setattr(IndexSink, "add", fail)
    monkeypatch.setattr(sys, "unraisablehook", lambda found: unraisable.append(found.exc_value))
    monkeypatch.setattr("MedImageParseLib.tasks.indexing._FLUSH_COUNT", 1)
    with reached(InsightDouble(latency_s=0.02)) as (double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(30), client=client, batch=1)
        gc.collect()
        assert "no room on the disk" in result.failure and result.embedded == sum(stored)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("medimageinsight")]
        assert len(double.rows) < 30 and unraisable == []


def test_storing_that_fails_at_once_after_requests_is_no_bad_usage(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise IndexFault("There is no room on the disk.", "full")

    monkeypatch.setattr(IndexSink, "add", fail)
    with reached() as (_double, client), pytest.raises(PartlyDone, match="no room on the disk") as caught:
        index_add(tmp_path / "a.index", made_up_ct(), client=client)
    assert caught.value.exit_status == 4


def test_an_index_that_cannot_be_kept_is_refused_before_anything_is_sent(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")
    opened = EmbeddingIndex.open
    monkeypatch.setattr(EmbeddingIndex, "open", lambda path, **options: opened(path, **options, wait_s=0.05))
    with reached() as (double, client):
        index_add(tmp_path / "held.index", made_up_ct(1), client=client)
        sent = len(double.requests)
        with closing(sqlite3.connect(tmp_path / "held.index", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(IndexFault, match="in use by another program"):
                index_add(tmp_path / "held.index", made_up_ct(6), client=client)
        monkeypatch.setattr(fcntl, "lockf", no_locks)
        with pytest.raises(IndexFault, match="no file locks"):
            index_add(tmp_path / "new.index", made_up_ct(6), client=client)
    assert len(double.requests) == sent and not (tmp_path / "new.index").exists()


def no_locks(*_arguments: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_file_is_not_waited_for_on_a_drive_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")
    monkeypatch.setattr("MedImageParseLib.configuration._LOCK_PATIENCE_S", -1.0)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path / "profiles.json"):
        assert [path.name for path in tmp_path.iterdir()] == ["profiles.json.lock"]


def test_an_index_that_is_deleted_while_it_is_in_use_is_said_to_be_gone(tmp_path):
    with reached() as (_double, client):
        index_add(tmp_path / "a.index", made_up_ct(1), client=client)
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        (tmp_path / "a.index").unlink()
        with pytest.raises(IndexFault, match="moved or deleted while it was in use"):
            index.require_writable()
            index.remove(ids=[1])


def test_a_volume_that_is_pooled_without_all_its_slices_is_not_kept(tmp_path):
    bad = rows_sent_for(made_up_ct(9), "8", tmp_path)
    double = Faulty(lambda rows, _size: 424 if bad & set(map(digest_of, rows)) else 0)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", [made_up_ct(9), made_up_ct(5)], client=client, pool="mean")
    assert result.embedded == 1 and "volume 1: 1 of its slices could not be embedded" in result.failure


# --- contents and places ---


def blank_ended(seed: int) -> Volume:
    """Ten slices, the first and the last two black, the others unlike those of any other seed."""
    voxels = np.random.default_rng(seed).integers(1, 255, (10, 40, 40), dtype=np.uint8)
    voxels[[0, 8, 9]] = 0
    return Volume(voxels, np.diag([1.0, 1.0, 1.0, 1.0]), "MR")


def test_slices_that_look_alike_are_sent_once_and_kept_at_each_place(tmp_path):
    with reached() as (double, client):
        result = index_add(tmp_path / "a.index", [blank_ended(1), blank_ended(2)], client=client, batch=1)
        assert len(double.rows) == len(set(double.rows)) == 15 and result.embedded == 15 and result.already_there == 5
        index_add(tmp_path / "a.index", blank_ended(3), client=client)
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        assert [study.images for study in index.studies()] == [10, 10, 10] and index.info().thumbnails == 22


def test_studies_are_compared_by_all_of_their_slices(tmp_path):
    volumes = [blank_ended(seed) for seed in (1, 2, 3, 4)]
    with reached() as (_double, client):
        series = [tally.series for tally in index_add(tmp_path / "a.index", volumes, client=client).tallies]
        rows = [embed(volume, client=client).vectors.astype(float) for volume in volumes]
    result = outliers(tmp_path / "a.index", reference=series[:2], by="study")
    quarters = [[np.percentile(one, share, axis=0) for share in (25, 50, 75)] for one in rows]
    by_hand = [
        np.hstack([one.mean(0), one.std(0, ddof=1), one.min(0), *three, one.max(0)]) for one, three in zip(rows, quarters, strict=True)
    ]
    for item in result.items:
        expected = min(np.linalg.norm(by_hand[series.index(item.record.series)] - by_hand[usual]) for usual in (0, 1))
        assert item.slices == 10 and item.distance == pytest.approx(expected, abs=1e-4)


def test_a_place_that_waits_for_a_picture_which_fails_is_named_too(tmp_path):
    volume = made_up_ct(6)
    volume.voxels[4] = volume.voxels[2]
    bad = rows_sent_for(volume, "2", tmp_path)
    double = Faulty(lambda rows, _size: 424 if bad & set(map(digest_of, rows)) else 0, latency_s=0.01)
    with reached(double) as (_double, client):
        result = index_add(tmp_path / "a.index", volume, client=client, batch=1, at_once=1)
    assert slices_in(tmp_path / "a.index") == [0, 1, 3, 5]
    assert [one["slice"] for one in result.report["inputs"][0]["refused"]] == [2, 4] and result.already_there == 0


def test_a_file_that_has_moved_is_not_sent_again_and_found_where_it_is(tmp_path):
    from PIL import Image

    old, new = tmp_path / "old.png", tmp_path / "new.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)).save(old)
    with reached() as (double, client):
        index_add(tmp_path / "a.index", old, client=client)
        old.rename(new)
        assert index_add(tmp_path / "a.index", new, client=client).already_there == 1 and len(double.rows) == 1
        (hit,) = index_search(tmp_path / "a.index", image=new, client=client).hits
    assert hit.record.source == str(new) and hit.record.position["name"] == "new.png"


# --- which model ---


def test_two_versions_of_a_model_that_take_turns_are_told(tmp_path):
    class Turns(InsightDouble):
        def _reply(self, kind: str, data: list) -> bytes:
            rows = json.loads(super()._reply(kind, data))
            return json.dumps([{**row, "scaling_factor": 4.6} for row in rows] if len(self.requests) % 2 else rows).encode()

    with reached(Turns()) as (_double, client):
        result = index_add(tmp_path / "a.index", made_up_ct(20), client=client, at_once=1)
    assert "scaling factor changed during the run, from 4.6 to 4.51336, so two versions of the model take turns" in result.failure
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        assert index.info().spaces[0].factor == 4.6


def test_another_version_of_the_model_neither_adds_to_an_index_nor_searches_it(tmp_path):
    with reached() as (_double, client):
        index_add(tmp_path / "a.index", made_up_ct(6), client=client, slices="0:3")
    with reached(Form(factor=4.6)) as (_double, client):
        with pytest.raises(ReplyError, match="another version of the model") as caught:
            index_add(tmp_path / "a.index", made_up_ct(6), client=client)
        assert caught.value.exit_status == 3 and index_info(tmp_path / "a.index").records == 3
        with pytest.raises(ReplyError, match="another version of the model"):
            index_search(tmp_path / "a.index", image=made_up_ct(6), slices="5", client=client)
        with pytest.raises(ReplyError, match="another version of the model"):
            index_search(tmp_path / "a.index", text="liver", client=client)


# --- which plane, which series ---


def sagittal(slices: int = 6) -> Volume:
    """Sagittal slices of 50 x 70 pixels, 4 mm apart: the array's first axis runs to the left."""
    ijk_to_ras = np.array([[0, 0, -4.0, 20], [-0.8, 0, 0, 30], [0, -0.8, 0, 40], [0, 0, 0, 1]])
    return Volume(np.random.default_rng(3).integers(0, 900, (slices, 50, 70)).astype(np.int16), ijk_to_ras, "MR")


@pytest.mark.parametrize("slices", [1, 6])
def test_the_slices_of_an_index_are_the_volumes_own(tmp_path, slices):
    with reached() as (double, client):
        result = index_add(tmp_path / "a.index", sagittal(slices), client=client)
        assert len(double.rows) == result.embedded == slices and result.report["inputs"][0]["plane"] == "sagittal"
        hits = index_search(tmp_path / "a.index", image=sagittal(slices), slices="0", client=client).hits
    assert [(hits[0].record.plane, hits[0].record.slice_index)] == [("sagittal", 0)]


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_a_plane_along_which_slices_are_strips_is_refused_before_anything_is_sent(tmp_path, plane):
    with reached() as (double, client):
        with pytest.raises(UsageError, match=r"a strip of \d+ x \d+ pixels; its own slices are sagittal"):
            index_add(tmp_path / "a.index", sagittal(), client=client, plane=plane)
        with pytest.raises(UsageError, match="sagittal"):
            embed(sagittal(), client=client, plane=plane)
    assert double.requests == []


def test_each_series_of_a_dicom_folder_is_an_input_of_its_own(tmp_path):
    folder = tmp_path / "study"
    write_series(folder, 4, SeriesInstanceUID="1.2.3.5", SeriesNumber=2)
    for number in range(3):
        pixels = np.random.default_rng(40 + number).integers(0, 2000, (6, 8)).astype(np.int16)
        write_image(
            folder / f"other{number}.dcm", pixels, SeriesInstanceUID="1.2.3.6", SeriesNumber=7, InstanceNumber=number + 1,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0.0, 0.0, 5.0 * number], PixelSpacing=[1.0, 1.0], SliceThickness=5.0,
        )  # fmt: skip
    with reached() as (_double, client):
        result = index_add(tmp_path / "a.index", folder, client=client)
    assert result.failure == "" and sorted(tally.chosen for tally in result.tallies) == [3, 4]
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        records = list(index.records().values())
    assert {record.position["dicom_series"] for record in records} == {"1.2.3.5", "1.2.3.6"}
    assert {record.source for record in records} == {str(folder)} and len({record.position["name"] for record in records}) == 2


def test_each_radiograph_of_one_series_is_an_input_of_its_own_and_a_preview_hides_no_series(tmp_path):
    folder = tmp_path / "chest"
    folder.mkdir()
    for number, shape in enumerate(((20, 30), (30, 20))):
        pixels = np.random.default_rng(number).integers(0, 4000, shape).astype(np.uint16)
        write_image(folder / f"{number}.dcm", pixels, Modality="DX", SeriesInstanceUID="1.2.3.7")
    write_series(folder / "ct", 4)
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 251).save(folder / "ct" / "preview.png")
    with reached() as (_double, client):
        result = index_add(tmp_path / "a.index", folder, client=client)
    assert result.failure == "" and sorted(tally.chosen for tally in result.tallies) == [1, 1, 1, 4]
    assert sorted(Path(case.input).name for case in find_cases([folder]).cases) == ["0.dcm", "1.dcm", "ct", "preview.png"]
