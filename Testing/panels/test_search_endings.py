"""The tab "Find similar": whatever happens while a job is at work, nothing goes wrong and nothing is lost."""

from __future__ import annotations

import logging
import os

import pytest
from panel_support import Gate
from search_panel_support import openedTab

from doubles.insight import InsightDouble

EVENTS = {
    "index": ("cancel", "scene closed", "volume deleted", "volume changed", "module reloaded", "quit"),
    "similar": ("cancel", "scene closed", "volume deleted", "module reloaded", "quit"),
    "classify": ("cancel", "volume deleted", "quit"),
    "outliers": ("scene closed", "quit"),
}


class HeldDouble(InsightDouble):
    """Holds its answers while it is told to.

    Attributes:
        gate: a Gate, or None to answer at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate: Gate | None = None

    def answer(self, body: bytes) -> tuple[int, bytes]:
        if self.gate is not None:
            self.gate()
        return super().answer(body)


def begin(search, kind, double):
    """An index of twelve slices, then a job of a kind that stays at work. Returns the job."""
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    double.gate = gate = Gate()
    if kind in ("index", "similar"):  # of what the index holds nothing is sent
        search.addCt("CT new", slices=10, size=60)
        search.host.choose("searchVolumeSelector", "CT new")
    elif kind == "classify":
        search.host.click("classifySection")
        search.host.type("labelsEdit", "bone\nfat")
    elif kind == "outliers":
        search.host.click("outliersSection")
    tab = search.tab
    task = {"index": tab.indexBox, "similar": tab.query, "classify": tab.classify, "outliers": tab.outliers}[kind].task
    search.host.click(f"{kind}Button")
    if kind != "outliers":  # these ask nobody, and are over when they have begun
        search.host.wait_until(gate.reached.is_set, 60, every=0.01)
    return task, task.job


@pytest.mark.parametrize(("kind", "event"), [(kind, event) for kind, events in EVENTS.items() for event in events])
def test_an_event_during_a_job_ends_it_cleanly_and_loses_nothing(kind, event, caplog):
    double = HeldDouble()
    with double.serve() as url, openedTab(url) as search, caplog.at_level(logging.WARNING):
        task, job = begin(search, kind, double)
        node = search.host.find("searchVolumeSelector").currentNode()
        path = search.indexPath
        happen(search, event, kind, node)
        double.gate.open()
        if event not in ("module reloaded", "quit"):
            search.settle()
            ended = "done" if kind == "outliers" else "cancelled" if event == "cancel" else "dropped"
            assert job.state == ended and task.job is None
            if kind != "outliers":
                sentence = search.text(f"{kind}MessageLabel")
                assert sentence.endswith(".") and "\n" not in sentence
            if kind == "similar":
                assert search.grid() == []
        assert job is None or job.has_ended
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert vectorsIn(path) >= 12 and not os.path.exists(path + "-journal")


def happen(search, event, kind, node):
    import slicer

    if event == "cancel":
        if kind != "outliers":
            search.host.click(f"{kind}CancelButton")
    elif event == "scene closed":
        search.host.close_scene()
    elif event == "volume deleted":
        search.host.scene.RemoveNode(node)
    elif event == "volume changed":
        slicer.util.arrayFromVolume(node)[0] += 1
        slicer.util.arrayFromVolumeModified(node)
    elif event == "module reloaded":
        search.host.reload_module()
    else:
        search.host.quit()


def vectorsIn(path):
    """How many records, read with SQLite alone."""
    import sqlite3

    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        has = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'records'").fetchone()[0]
        return connection.execute("SELECT count(*) FROM records").fetchone()[0] if has else 0
    finally:
        connection.close()


def test_cancel_keeps_what_was_stored_and_the_next_run_goes_on_there():
    double = InsightDouble(latency_s=0.08)
    with double.serve() as url, openedTab(url) as search:
        search.addCt("CT", slices=24, size=64)
        search.host.choose("searchVolumeSelector", "CT")
        search.host.click("indexButton")
        search.host.wait_until(lambda: os.path.exists(search.indexPath) and vectorsIn(search.indexPath), 60, every=0.02)
        search.host.click("indexCancelButton")
        search.settle()
        assert search.text("indexMessageLabel") == "Cancelled. What was stored is kept. Press Index to continue."
        kept = vectorsIn(search.indexPath)
        assert 0 < kept < 24
        assert search.text("indexInfoLabel").startswith(f"The index contains {kept} images of one volume, ")
        search.host.wait_until(lambda: double._now == 0, 60)  # what was on its way when the person cancelled
        sent = len(double.rows)
        search.do("indexButton")
        assert search.text("indexMessageLabel").startswith(f"{24 - kept} slices added, {kept} already in the index. ")
        assert len(double.rows) == sent + 24 - kept and vectorsIn(search.indexPath) == 24


def test_an_endpoint_that_fails_half_way_costs_only_what_was_not_done():
    double = InsightDouble(latency_s=0.002)
    double.fail_after = 8
    with double.serve() as url, openedTab() as search:
        search.useEndpoint(url, tries=1)
        search.addCt("CT", slices=20, size=60)
        search.host.choose("searchVolumeSelector", "CT")
        search.do("indexButton")
        lines = search.text("indexMessageLabel").splitlines()
        kept = vectorsIn(search.indexPath)  # eight, or a few more that were on their way
        assert 8 <= kept < 20
        assert (
            lines[0].startswith(f"{kept} slices added, 0 already in the index.")
            and f"{20 - kept} of 20 pictures could not be embedded" in lines[1]
        )
        double.fail_after = None
        search.do("indexButton")
        assert search.text("indexMessageLabel").startswith(f"{20 - kept} slices added, {kept} already in the index. ")
