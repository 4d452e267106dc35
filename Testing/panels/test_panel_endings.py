"""Whatever a person does in whatever stage of a run: no exception, nothing half-imported, no process and no file left behind."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import contextmanager

import numpy as np
import pytest
from panel_support import GRAYS, Gate, destroyQtObjects, namesOf, openedPanel, timers

from doubles import fault_server
from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges

STAGES = ("waiting", "preparing", "uploading", "model working", "receiving", "importing")
EVENTS = ("cancel", "scene closed", "volume deleted", "volume changed", "segmentation deleted", "second run", "module reloaded", "quit")


@contextmanager
def endpointHeldIn(stage):
    """URL of an endpoint at which a run stays in a stage."""
    hanging = {"uploading": fault_server.hang_in_upload, "receiving": fault_server.hang_in_body}
    if stage in hanging:
        with fault_server.FaultServer([hanging[stage]] * 3, host="127.0.0.1") as server:
            yield server.url
        return
    double, gate = EndpointDouble(GrayRanges(GRAYS)), Gate()
    double.pause = gate if stage == "model working" else None
    with double.serve() as url:
        try:
            yield url
        finally:
            gate.open()


def bring(opened, stage):
    """Press Run and poll by hand until the run is in the stage. Returns the job."""
    panel = opened.panel
    panel._isPolling = True  # or the panel would start its timer, and a slow click would see the run through
    opened.host.click("runButton")
    job = opened.jobs[-1]
    reached = {
        "waiting": lambda: job.state == "queued",
        "preparing": lambda: job.state == "preparing",
        "uploading": lambda: job.stage == "uploading",
        "model working": lambda: job.stage == "model working",
        "receiving": lambda: job.stage in ("downloading", "model working") and job.elapsed > 0.3,
        "importing": lambda: job.state == "importing",
    }[stage]
    for _try in range(4000):
        if reached():
            return job
        panel._poll()
    raise AssertionError(f"The run did not come to {stage}, it is {job.state}, {job.stage}.")


def existingSegmentation(opened, volumeNode):
    from MedImageParseLib.imaging.volume import CroppedMask
    from MedImageParseLib.scene.segments import SegmentSpec, importSegments

    shape = volumeNode.GetImageData().GetDimensions()[::-1]
    mask = np.zeros(shape, np.uint8)
    mask[1:3, 2:9, 4:20] = 1
    spec = SegmentSpec("mine", CroppedMask.from_full(mask), (0.2, 0.4, 0.6))
    node = importSegments(None, volumeNode, [spec]).segmentationNode
    opened.host.choose("segmentationSelector", node.GetName())
    return node


def happen(opened, event, job, volumeNode, segmentationNode):
    host = opened.host
    if event == "cancel":
        host.click("cancelButton")
    elif event == "scene closed":
        host.close_scene()
    elif event == "volume deleted":
        host.scene.RemoveNode(volumeNode)
    elif event == "volume changed":
        from slicer.util import arrayFromVolume, arrayFromVolumeModified

        arrayFromVolume(volumeNode)[0] += 1
        arrayFromVolumeModified(volumeNode)
    elif event == "segmentation deleted":
        host.scene.RemoveNode(segmentationNode)
    elif event == "second run":
        host.type("promptsEdit", "bar")
        host.click("runButton")
        host.click("cancelButton")  # the first
        host.click("cancelButton")  # the second
    elif event == "module reloaded":
        host.reload_module()
    elif event == "quit":
        host.quit()
        return
    host.process()
    if event not in ("module reloaded",):
        opened.panel._timer.start()
    host.wait_until(lambda: job.has_ended, 60)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("stage", STAGES)
def test_an_event_in_a_stage_of_a_run_ends_it_cleanly(stage, event, caplog, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with endpointHeldIn(stage) as url, openedPanel() as opened:
        before = set(os.listdir(tmp_path))
        noise = np.random.default_rng(3).integers(0, 255, (40, 400, 400), np.uint8) if stage == "uploading" else None
        volumeNode = opened.addVolume(voxels=noise)
        opened.addProfile("Ward 3", url)
        opened.host.choose("volumeSelector", "CT")
        segmentationNode = existingSegmentation(opened, volumeNode)
        opened.host.type("promptsEdit", "cube")
        with caplog.at_level(logging.WARNING):
            job = bring(opened, stage)
            happen(opened, event, job, volumeNode, segmentationNode)
        isTooEarlyToMatter = event == "volume changed" and stage in ("waiting", "preparing")  # the run takes the volume as it is then
        assert job.has_ended and (job.state == "done") == isTooEarlyToMatter
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        if event in ("cancel", "volume deleted", "volume changed", "second run") and not isTooEarlyToMatter:
            assert namesOf(segmentationNode) == ["mine"]
        if event in ("cancel", "second run"):
            assert opened.text("messageLabel") == "Cancelled. Nothing was added."
        if event in ("volume deleted", "volume changed", "segmentation deleted"):
            assert opened.text("messageLabel").endswith(".") and not opened.host.find("messageLabel").isHidden()
        if event != "quit":
            assert set(os.listdir(tmp_path)) <= before | {"configuration"}
    assert [name for name in os.listdir(tmp_path) if name != "configuration"] == []


@pytest.mark.parametrize("how", ["button", "module reloaded", "quit"])
def test_local_demo_process_ends_with_the_panel(how):
    import psutil

    with openedPanel() as opened:
        opened.host.click("demoButton")
        demo = opened.panel.endpoint.demo
        process = psutil.Process(int(demo._process.processId()))
        opened.host.wait_until(lambda: demo.url, 60)
        if how == "button":
            opened.host.click("demoButton")
            assert opened.text("statusLabel").startswith("Not started")
        elif how == "module reloaded":
            opened.host.reload_module()
        else:
            opened.host.quit()
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_local_demo_that_ends_by_itself_is_noticed():
    import psutil

    with openedPanel() as opened:
        opened.host.click("demoButton")
        demo = opened.panel.endpoint.demo
        opened.host.wait_until(lambda: demo.url, 60)
        psutil.Process(int(demo._process.processId())).kill()
        opened.host.wait_until(lambda: not demo.isStarted, 60)
        assert opened.text("statusLabel").startswith("The local demo has stopped") and opened.text("statusLabel").endswith(
            "; start it again."
        )
        assert opened.text("demoButton") == "Start local demo"


@pytest.mark.parametrize("last", ["ImportError: No module named numpy", "<b>bold</b> & \x1b[31mred\x07"])
def test_a_local_demo_that_dies_at_start_says_its_last_words(tmp_path, monkeypatch, last):
    script = tmp_path / "python"
    script.write_bytes(b"#!/bin/sh\ncat >&2 <<'END'\nTraceback\n" + last.encode() + b"\n\nEND\nexit 1\n")
    script.chmod(0o755)
    with openedPanel() as opened:
        monkeypatch.setattr(sys.modules["MedImageParseLib.panels.local_demo"], "python_executable", lambda: str(script))
        opened.host.click("demoButton")
        opened.host.wait_until(lambda: not opened.panel.endpoint.demo.isStarted, 60)
        shown = "".join(each if each.isprintable() else " " for each in last)
        assert opened.text("statusLabel") == f"The local demo has stopped ({shown}); start it again."
        assert opened.host.find("statusLabel").textFormat == opened.host.qt.Qt.PlainText


def test_reload_brings_a_working_module_with_everything_new():
    double = EndpointDouble(GrayRanges(GRAYS))
    with double.serve() as url, openedPanel() as opened:
        old = sys.modules["MedImageParseLib.panels.segment_panel"]
        opened.host.reload_module()
        assert sys.modules["MedImageParseLib.panels.segment_panel"] is not old
        opened.makeReady(url, "cube")
        assert opened.run().state == "done"


def test_the_panel_closes_without_a_fault_where_qt_has_destroyed_its_widgets_before(opened):
    host, panel = opened.host, opened.panel
    opened.addVolume()
    host.click("settingsButton")
    panel.settings.openDeploy()
    host.click("browseButton")
    host.find("moduleTabBar").setCurrentIndex(1)
    host.process()
    panel.endpoint.demo._process = process = host.qt.QProcess()
    tabs, dialogs = host.widget.tabs, (panel.settings, panel.settings._deploy, panel.prompts._browser)
    destroyQtObjects(tabs.widget, process, *(each.dialog for each in dialogs), *timers())
    tabs.close()
    assert panel.endpoint.demo._process is None and panel.logic.isIdle
