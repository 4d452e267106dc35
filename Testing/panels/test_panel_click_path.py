"""The whole path of a new user, by mouse and keys, with the real demo process, Slicer's real scene and a real saved file."""

from __future__ import annotations

import numpy as np
import pytest
from panel_support import namesOf
from scene_support import segment_on_grid


def voxelsByName(node, shape):
    segmentation = node.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    return {segmentation.GetSegment(each).GetName(): segment_on_grid(node, each, shape).tobytes() for each in ids}


def waitForRun(opened):
    job = opened.jobs[-1]
    opened.host.wait_until(lambda: job.has_ended, 60)
    opened.host.process()
    return job


def test_a_new_user_gets_from_nothing_to_saved_segments(opened, tmp_path):
    import slicer

    host = opened.host
    host.click("demoButton")
    host.wait_until(lambda: "demo engine, not MedImageParse" in opened.text("statusLabel") and opened.panel.endpoint.demo.url, 60)
    host.click("sampleButton")
    host.wait_until(lambda: host.find("volumeSelector").currentNode() is not None, 60)
    assert host.find("promptsEdit").toPlainText() == "lungs\nbones\nunicorn"  # something to begin with
    host.type("promptsEdit", "lungs & bones & unicorn")

    host.click("runButton")
    job = opened.jobs[0]
    host.wait_until(lambda: job.stage == "model working", 60)
    host.click("cancelButton")
    assert job.state == "cancelled" and opened.segmentations() == []

    host.click("runButton")
    assert waitForRun(opened).state == "done"
    (node,) = opened.segmentations()
    shape = host.find("volumeSelector").currentNode().GetImageData().GetDimensions()[::-1]
    assert [row[:2] for row in opened.results()] == [("lungs", "found"), ("bones", "found"), ("unicorn", "not found")]
    assert opened.text("resultsLabel") == "Made by: local demo engine, not MedImageParse."

    host.click("undoButton")
    assert namesOf(node) == []
    host.click("runButton")
    waitForRun(opened)
    assert namesOf(node) == ["lungs", "bones"]
    byOverlapRule(opened, node, shape)

    before = voxelsByName(node, shape)
    name = node.GetName()
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    host.close_scene()
    assert opened.segmentations() == [] and host.find("resultsTable").isHidden()
    assert slicer.mrmlScene.ReadFromMRB(path)
    host.process()
    assert voxelsByName(slicer.util.getNode(name), shape) == before
    assert host.find("promptsEdit").toPlainText() == "body"
    assert host.find("runButton").enabled  # the demo is still there, and everything is chosen as it was


def byOverlapRule(opened, node, shape):
    """ "body" holds everything else: with each rule, what it does to the segments that are there."""
    host = opened.host
    host.type("promptsEdit", "body")
    before = voxelsByName(node, shape)

    def run(rule):
        host.find("optionsButton").collapsed = False
        host.choose("overlapComboBox", rule)
        host.click("runButton")
        assert waitForRun(opened).state == "done"
        return voxelsByName(node, shape)

    def count(voxels):
        return np.count_nonzero(np.frombuffer(voxels, bool))

    after = run("Allow overlap")
    assert {name: after[name] for name in before} == before and set(after) - set(before) == {"body"}
    whole = after["body"]
    host.click("undoButton")
    after = run("Keep existing segments")
    assert {name: after[name] for name in before} == before
    union = np.logical_or.reduce([np.frombuffer(voxels, bool) for voxels in before.values()])
    assert after["body"] == (np.frombuffer(whole, bool) & ~union).tobytes()
    host.click("undoButton")
    after = run("Overwrite existing segments")
    assert after["body"] == whole
    for name, voxels in before.items():
        assert after[name] == (np.frombuffer(voxels, bool) & ~np.frombuffer(whole, bool)).tobytes()
        assert count(after[name]) < count(voxels)
    host.click("undoButton")
    assert voxelsByName(node, shape) == before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_off_in_a_narrow_panel_or_with_large_fonts(opened, theme):
    host = opened.host
    for button in ("settingsButton", "optionsButton"):
        host.click(button)
    host.choose("modeComboBox", "Slices from–to (2D)")
    host.choose("windowComboBox", "Custom range")
    for section in ("moreButton", "findSection", "privacySection"):
        host.click(section)
    assert host.layout_faults(300, 1200) == []
    assert host.layout_faults(420, 1200, 1.5) == []
    assert not host.screenshot(width=300, height=1200, theme=theme).isNull()
