"""A batch on a Dask cluster of two worker processes, one of which is killed: the same guarantees."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from batch_support import CountingDouble, lines_of, write_case

from MedImageParseLib import __version__
from MedImageParseLib.api.batch import batch
from MedImageParseLib.cohort.scheduler import run_on_cluster
from MedImageParseLib.errors import UsageError
from MedImageParseLib.progress import Cancellation

distributed = pytest.importorskip("distributed", reason="the extra [dask] is not installed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs="CRITICAL"
    ) as cluster:
        yield cluster


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is what POSIX systems have")
def test_a_worker_that_is_killed_loses_no_case_and_sends_none_twice(tmp_path, cluster):
    (tmp_path / "images").mkdir()
    for number in range(40):
        write_case(tmp_path / "images" / f"c{number:02}.nii.gz", number, fails=number == 9)
    (tmp_path / "images" / "corrupt.nii.gz").write_bytes(b"no image")
    double = CountingDouble()
    double.pause = lambda: time.sleep(0.1)
    with distributed.Client(cluster, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))

    def kill() -> None:
        while len(double.seen) < 12:
            time.sleep(0.005)
        os.kill(victim, signal.SIGKILL)

    with double.serve() as url:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        options = {"model": "medimageparse3d", "endpoint": url, "slabs": "none", "write": "labels", "scheduler": cluster.scheduler_address}
        result = batch(tmp_path / "images", "liver", output_dir=tmp_path / "out", **options)
        killer.join()
        assert (result.exit_status, result.tally.done, result.tally.failed) == (4, 39, 2)
        assert set(double.on_the_wire().values()) == {1} and len(double.seen) == 40
        again = batch(tmp_path / "images", "liver", output_dir=tmp_path / "out", **options)
        assert (again.exit_status, again.tally.done_before, len(double.seen)) == (4, 39, 40)
    entries = lines_of(tmp_path / "out")
    assert {name for name, entry in entries.items() if entry["state"] == "failed"} == {"c09", "corrupt"}
    assert {entry["prompts"][0]["voxels"] for entry in entries.values() if entry["state"] == "done"} == {60}


def test_no_key_goes_through_the_scheduler_and_a_scheduler_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("MedImageParseLib.cohort.scheduler._PATIENCE_S", 1)
    write_case(tmp_path / "a.nii.gz", 1)
    options = {"model": "medimageparse3d", "endpoint": "http://127.0.0.1:9/score", "output_dir": tmp_path / "out"}
    with pytest.raises(UsageError, match="cannot be sent to other computers"):
        batch(tmp_path / "a.nii.gz", "liver", scheduler="tcp://127.0.0.1:9", key="a-key-of-a-person", auth="key", **options)
    with pytest.raises(UsageError, match="No Dask scheduler answers"):
        batch(tmp_path / "a.nii.gz", "liver", scheduler="tcp://127.0.0.1:9", **options)
    monkeypatch.setattr(
        "distributed.Client", lambda *_, **__: pytest.fail("A client of no address prints a traceback when the program ends")
    )
    with pytest.raises(UsageError, match="No Dask scheduler answers at here"):
        batch(tmp_path / "a.nii.gz", "liver", scheduler="here", **options)


@pytest.mark.parametrize(
    ("place", "versions", "sentence"),
    [
        ("scheduler", ModuleNotFoundError("No module named 'MedImageParseLib'"), r"cannot load medimageparse \(ModuleNotFoundError\)"),
        ("workers", ModuleNotFoundError("No module named 'MedImageParseLib'"), r"cannot load medimageparse \(ModuleNotFoundError\)"),
        ("scheduler", "0.0.1", "have medimageparse 0.0.1, .*and here it is"),
    ],
)
def test_a_scheduler_or_worker_without_this_version_is_one_sentence_before_anything_is_given_out(monkeypatch, place, versions, sentence):
    def told(here: str) -> str:
        if here == place and isinstance(versions, Exception):
            raise versions
        return versions if here == place else __version__

    client = SimpleNamespace(
        wait_for_workers=lambda *_, **__: None,
        run_on_scheduler=lambda _: told("scheduler"),
        run=lambda _: {"a": told("workers")},
        close=lambda: None,
    )
    monkeypatch.setattr("MedImageParseLib.cohort.scheduler._connected", lambda _address: client)
    never = iter(lambda: pytest.fail("a job was given out"), None)
    with pytest.raises(UsageError, match=sentence):
        run_on_cluster("tcp://here:1", never, dict, dict, dict, at_once=1, is_stopped=lambda: False, cancellation=Cancellation())


def test_workers_embed_volumes_whose_vectors_then_go_into_one_index(tmp_path, cluster):
    from doubles.insight import InsightDouble
    from MedImageParseLib.api.embed import index_add
    from MedImageParseLib.search.index import EmbeddingIndex

    (tmp_path / "images").mkdir()
    for number in range(6):
        write_case(tmp_path / "images" / f"c{number}.nii.gz", number)
    (tmp_path / "images" / "corrupt.nii.gz").write_bytes(b"no image")
    double = InsightDouble()
    options = {"work_dir": tmp_path / "work", "scheduler": cluster.scheduler_address, "slices": "1:3", "plane": "axial"}
    with double.serve() as url:
        result = index_add(tmp_path / "a.index", tmp_path / "images", endpoint=url, **options)
        sent = len(double.rows)
        again = index_add(tmp_path / "a.index", tmp_path / "images", endpoint=url, **options)
    assert result.embedded + result.already_there == 12 and "corrupt" in result.failure
    assert (again.embedded, again.already_there, len(double.rows)) == (0, 12, sent)
    with EmbeddingIndex.open(tmp_path / "a.index", create=False) as index:
        assert index.info().records == 12 and index.check().is_sound
