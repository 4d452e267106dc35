"""Run again, whatever has become of what was chosen then."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")


def again(opened, number: int = 0) -> None:
    """Choose a run of the history: 0 is the newest."""
    opened.host.find("runsButton").menu().actions()[number].trigger()
    opened.host.process()


def finish(opened) -> None:
    opened.host.wait_until(lambda: not opened.jobs, 30, every=0.02)
    opened.host.process()


def test_an_earlier_run_is_run_again_as_it_was(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    opened.host.type("promptsEdit", "bar")
    opened.run()
    again(opened, 1)
    finish(opened)
    assert opened.panel.parameters["Prompts"] == "cube" and [row[0] for row in opened.results()] == ["cube"]
    assert len(opened.segmentations()) == 2  # as then: into a new segmentation


def test_a_run_on_a_volume_that_was_deleted_says_that_there_is_none(opened, endpoint):
    volume = opened.makeReady(endpoint[0], "cube")
    opened.run()
    opened.addVolume("Another")
    slicer.mrmlScene.RemoveNode(volume)
    again(opened)
    assert opened.jobs == [] and "Select a volume" in opened.text("messageLabel")


def test_a_run_at_an_endpoint_that_was_removed_says_that_it_is_no_longer_there(opened, endpoint):
    from MedImageParseLib.profiles.profiles import ProfileStore

    opened.makeReady(endpoint[0], "cube")
    opened.run()
    ProfileStore().remove("Ward 3")
    opened.panel.endpoint.readProfiles()
    seen = len(endpoint[1].seen)
    again(opened)
    assert opened.jobs == [] and len(endpoint[1].seen) == seen
    assert opened.text("messageLabel") and not opened.host.find("reasonLabel").isHidden()


def test_a_run_into_a_segmentation_that_was_deleted_goes_into_a_new_one(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    slicer.mrmlScene.RemoveNode(node)
    opened.panel.update()
    if opened.host.find("runsButton").menu().actions():
        again(opened)
        finish(opened)
        assert [row[0] for row in opened.results()] == ["cube"]


def test_a_run_that_is_in_progress_is_not_started_twice_from_the_history(opened, endpoint):
    from panel_support import Gate

    opened.makeReady(endpoint[0], "cube")
    opened.run()
    endpoint[1].pause = gate = Gate()
    again(opened)
    again(opened)
    assert len(opened.jobs) == 1 and "already in progress" in opened.text("messageLabel")
    gate.open()
    finish(opened)
