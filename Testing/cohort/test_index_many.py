"""Many volumes into an index: an account of what is done, shards, and one merge that is whole or does not happen."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from batch_support import start
from embed_support import made_up_ct, reached

from doubles.insight import InsightDouble
from MedImageParseLib.api.embed import index_add, index_merge
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import EndpointError, UsageError
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex

SLICES = 3


def write_volume(path: Path, number: int) -> Path:
    voxels = made_up_ct(SLICES, 32).voxels.copy()
    voxels[:, 20:24, 20 : 21 + number] = 300
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of four volumes and a damaged one."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        write_volume(folder / f"v{number}.nii.gz", number)
    (folder / "broken.nii.gz").write_bytes(b"no image")
    return folder


def held(path: Path) -> dict[tuple, np.ndarray]:
    """The vector of each place."""
    with EmbeddingIndex.open(path, create=False) as index:
        assert index.check().is_sound
        rows = [row for space in index.spaces() for row in index.rows_of(space)]
    return {(Path(record.source).name, record.slice_index, record.content_hash, bool(record.thumbnail)): vector for record, vector in rows}


def assert_same(one: dict[tuple, np.ndarray], other: dict[tuple, np.ndarray]) -> None:
    assert one.keys() == other.keys() and all(np.array_equal(one[place], other[place]) for place in one)


def test_many_volumes_give_the_same_index_as_one_run_and_a_bad_one_costs_only_itself(images, tmp_path):
    with reached() as (double, client):
        plain = index_add(tmp_path / "plain.index", images, client=client)
        assert plain.failure and len(double.rows) == 4 * SLICES
        double.rows.clear()
        many = index_add(tmp_path / "many.index", images, client=client, work_dir=tmp_path / "work")
        assert (many.embedded, many.already_there) == (4 * SLICES, 0)
        assert "1 of 5 inputs failed" in many.failure and "broken" in many.failure
        assert_same(held(tmp_path / "many.index"), held(tmp_path / "plain.index"))
        again = index_add(tmp_path / "many.index", images, client=client, work_dir=tmp_path / "work")
        assert (again.embedded, again.already_there, len(double.rows)) == (0, 4 * SLICES, 4 * SLICES)
        write_volume(images / "broken.nii.gz", 9)
        mended = index_add(tmp_path / "many.index", images, client=client, work_dir=tmp_path / "work")
        assert (mended.embedded, mended.failure, len(double.rows)) == (SLICES, "", 5 * SLICES)
        assert len(held(tmp_path / "many.index")) == 5 * SLICES


def test_an_endpoint_that_fails_half_way_is_asked_only_for_what_it_has_not_answered(images, tmp_path):
    (images / "broken.nii.gz").unlink()
    double = InsightDouble()
    double.fail_after = 5
    with reached(double) as (_double, client):
        options = {"client": client, "work_dir": tmp_path / "work", "batch": 1, "at_once": 1}
        first = index_add(tmp_path / "a.index", images, **options)
        assert first.failure and 0 < first.embedded <= 5
        double.fail_after = None
        last = index_add(tmp_path / "a.index", images, **options, redo="failed")
        assert not last.failure
    assert set(Counter(double.rows).values()) == {1} and len(double.rows) == 4 * SLICES
    assert len(held(tmp_path / "a.index")) == 4 * SLICES


def test_what_the_index_holds_is_not_sent_again_and_its_new_place_is_kept(images, tmp_path):
    with reached() as (double, client):
        index_add(tmp_path / "a.index", images / "v1.nii.gz", client=client)
        (tmp_path / "copy.nii.gz").write_bytes((images / "v1.nii.gz").read_bytes())
        result = index_add(tmp_path / "a.index", tmp_path / "copy.nii.gz", client=client, work_dir=tmp_path / "work")
    assert (result.already_there, len(double.rows)) == (SLICES, SLICES)
    assert {name for name, *_rest in held(tmp_path / "a.index")} == {"v1.nii.gz", "copy.nii.gz"}


def test_shards_wait_until_they_are_merged_and_a_damaged_part_leaves_the_index_as_it_was(images, tmp_path, capsys):
    (images / "broken.nii.gz").unlink()
    index, work = tmp_path / "a.index", tmp_path / "work"
    with reached() as (double, client):
        for shard in ("1/2", "2/2"):
            index_add(index, images, client=client, work_dir=work, shard=shard)
            assert not index.exists()
        assert len(double.rows) == 4 * SLICES
    part = work / "v3.index"
    good = part.read_bytes()
    vector = next(iter(held(part).values())).tobytes()
    part.write_bytes(good.replace(vector, vector[:-1] + bytes([vector[-1] ^ 1])))
    with pytest.raises(IndexFault, match="v3"):
        index_merge(index, work)
    with EmbeddingIndex.open(index) as opened:
        assert opened.info().records == 0, "a part of it was merged"
    part.write_bytes(good)
    assert main(["index", "merge", str(index), str(work), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{4 * SLICES} records added\n" and len(held(index)) == 4 * SLICES
    assert index_merge(index, work) == 0


def test_labels_come_along_and_vectors_of_another_model_do_not(tmp_path):
    from search_support import SPACE, made_up

    from MedImageParseLib.search.labels import PlaceLabel

    paths = [tmp_path / f"{name}.index" for name in "abc"]
    for path, numbers, factor in zip(paths, (range(5), range(3, 9), range(20, 22)), (4.5, 4.5, 3.0), strict=True):
        with EmbeddingIndex.open(path) as index:
            index.add(made_up(numbers), SPACE, factor=factor)
            series = next(iter(index.records().values())).series
            index.add_labels([PlaceLabel("organ", path.stem, series)])
    with pytest.raises(IndexFault):
        index_merge(paths[0], [paths[1], paths[2]])
    with EmbeddingIndex.open(paths[0]) as index:
        assert (index.info().records, len(index.labels())) == (5, 1), "what came before the fault was kept"
    assert index_merge(paths[0], paths[1]) == 4
    with EmbeddingIndex.open(paths[0]) as index:
        assert (index.info().records, {one.label for one in index.labels()}) == (9, {"a", "b"})


def test_an_account_is_needed_for_shards_and_files_are_needed_for_an_account(images, tmp_path):
    with reached() as (double, client):
        with pytest.raises(UsageError, match="--work-dir"):
            index_add(tmp_path / "a.index", images, client=client, shard="1/2")
        with pytest.raises(UsageError, match="images in memory"):
            index_add(tmp_path / "a.index", made_up_ct(), client=client, work_dir=tmp_path / "work")
        with pytest.raises(UsageError, match="would replace"):
            index_add(images / "v1.nii.gz", images, client=client, work_dir=tmp_path / "work")
        double.fail_after = 0
        (images / "broken.nii.gz").unlink()
        with pytest.raises(EndpointError, match="4 of 4 inputs failed"):
            index_add(tmp_path / "a.index", images, client=client, work_dir=tmp_path / "work")
        with pytest.raises(UsageError, match="no working folder"):
            index_merge(tmp_path / "a.index", images)
    assert not (tmp_path / "a.index").exists() and not double.rows


class HeldDouble(InsightDouble):
    """Answers five pictures. The sixth it holds until it is let go, and never answers, as whoever asked is gone by then."""

    def __init__(self) -> None:
        super().__init__()
        self.holds, self.free = threading.Event(), threading.Event()

    def _answer(self, body: bytes) -> tuple[int, bytes]:
        if len(self.rows) >= 5 and not self.free.is_set():
            self.holds.set()
            self.free.wait(60)
            return 503, b""
        return super()._answer(body)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is what POSIX systems have")
def test_a_run_that_is_killed_sends_no_picture_twice_and_leaves_no_half_index(images, tmp_path):
    (images / "broken.nii.gz").unlink()
    double = HeldDouble()
    words = ["index", "add", str(tmp_path / "a.index"), str(images), "--work-dir", str(tmp_path / "work"), "--batch", "1", "--quiet"]
    words += ["--at-once", "1"]
    with double.serve() as url:
        run = start([*words, "--endpoint", url])
        while not double.holds.wait(0.1):  # the five before have been answered then
            assert run.poll() is None, run.communicate()
        run.kill()
        run.communicate()
        assert not (tmp_path / "a.index").exists()
        double.free.set()
        assert main([*words, "--endpoint", url]) == 0
    assert set(Counter(double.rows).values()) == {1} and len(held(tmp_path / "a.index")) == 4 * SLICES
