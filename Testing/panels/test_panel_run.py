"""The panel: from a volume and some words to segments, and what it says on the way."""

from __future__ import annotations

import numpy as np
import pytest
from panel_support import GRAYS, PROMPTS, Gate, namesOf, phantom


def test_run_says_why_it_cannot_start_until_it_can(opened, endpoint):
    run = opened.host.find("runButton")
    assert not run.enabled and run.toolTip == "Select a volume, or load the sample."
    opened.addVolume()
    opened.host.choose("volumeSelector", "CT")
    assert not run.enabled and "There is no prompt" in run.toolTip
    opened.host.type("promptsEdit", "cube\ncube")
    assert not run.enabled and "given twice" in run.toolTip
    opened.host.type("promptsEdit", "cube")
    assert not run.enabled and run.toolTip == "Start the local demo, or choose another endpoint."
    opened.addProfile("Ward 3", endpoint[0])
    assert run.enabled and "Ctrl+Enter" in run.toolTip


def test_run_makes_one_segment_for_each_structure_found_and_names_the_absent_one(opened, endpoint):
    opened.makeReady(endpoint[0])
    job = opened.run()
    assert job.state == "done"
    (node,) = opened.segmentations()
    assert namesOf(node) == ["cube", "bar"]
    milliliters = 1 * 1 * 2 / 1000
    cube, bar = (np.count_nonzero((phantom() >= low) & (phantom() <= high)) * milliliters for low, high in GRAYS.values())
    assert opened.results() == [("cube", "found", f"{cube:.1f} ml"), ("bar", "found", f"{bar:.1f} ml"), ("unicorn", "not found", "")]
    assert opened.text("messageLabel").startswith("Found 2 of 3 in ")
    assert opened.panel.parameters.nodeFor("Segmentation") is node  # the next run goes there too


def test_keys_run_and_cancel(opened, endpoint):
    url, double = endpoint
    double.pause = gate = Gate()
    opened.makeReady(url)
    opened.host.key("promptsEdit", "Ctrl+Return")
    assert len(opened.jobs) == 1
    opened.host.wait_until(gate.reached.is_set, 60)
    opened.host.key("promptsEdit", "Esc")
    assert opened.jobs == [] and opened.text("messageLabel") == "Cancelled. Nothing was added."
    assert opened.segmentations() == []
    gate.open()


def test_a_second_run_waits_for_the_first_and_the_same_run_is_not_queued_twice(opened, endpoint):
    url, double = endpoint
    double.pause = gate = Gate()
    opened.makeReady(url, "cube")
    opened.host.click("runButton")
    first = opened.jobs[0]
    assert not opened.host.find("runButton").enabled and "already in progress" in opened.host.find("runButton").toolTip
    opened.host.type("promptsEdit", "bar")
    assert opened.text("runButton") == "Run next"
    opened.host.click("runButton")
    second = opened.jobs[1]
    opened.host.wait_until(gate.reached.is_set, 60)
    opened.host.wait_until(lambda: "(1 more waiting)" in opened.text("stageLabel"), 60)
    gate.open()
    opened.host.wait_until(lambda: second.has_ended, 60)
    assert (first.state, second.state) == ("done", "done")
    assert [text for seen in double.seen for text in seen.texts] == ["cube", "bar"]


def test_slices_follow_the_view_that_the_mouse_was_in(opened, endpoint):
    import slicer

    url, double = endpoint
    node = opened.makeReady(url, "cube")
    opened.host.choose("modeComboBox", "This slice (2D)")
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetOrientationToAxial()
    red.SetSliceOffset(7 * 2.0)  # spacing 2 mm from 0
    opened.host.process()
    assert opened.text("planeLabel") == "Axial slice 7 of 0 to 11, as in the Red view"
    green = slicer.app.layoutManager().sliceWidget("Green").mrmlSliceNode()
    green.SetOrientationToCoronal()
    green.SetSliceOffset(-9.0)  # row 9 lies at y = -9 mm
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionXYZ([1.0, 1.0, 0.0], green)
    opened.host.process()
    assert opened.text("planeLabel") == "Coronal slice 9 of 0 to 39, as in the Green view"
    assert opened.run().state == "done"
    assert len(double.seen) == 1 and double.seen[0].pixels().shape[:2] == (1024, 1024)
    (segmentation,) = opened.segmentations()
    bounds = np.zeros(6)
    segmentation.GetSegmentation().GetNthSegment(0).GetBounds(bounds)
    assert (bounds[2], bounds[3]) == pytest.approx((-9.5, -8.5))
    assert node.GetName() == "CT"


@pytest.mark.parametrize("orientation", ["Axial", "Coronal", "Sagittal"])
def test_the_slice_of_a_view_that_came_with_another_layout_is_named_and_sent(opened, endpoint, orientation):
    """Slice4 and its like are made when a layout that shows them is chosen for the first time, long after the panel."""
    import slicer

    opened.makeReady(endpoint[0], "cube")
    opened.host.choose("modeComboBox", "This slice (2D)")
    view = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSliceNode")
    view.UnRegister(None)
    view.SetLayoutName("Slice4")
    view.SetName("Slice4")
    view = slicer.mrmlScene.AddNode(view)
    view.SetOrientation(orientation)
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionXYZ([1.0, 1.0, 0.0], view)
    axis, step, last = {"Axial": (2, 2.0, 11), "Coronal": (1, -1.0, 39), "Sagittal": (0, -1.0, 47)}[orientation]
    for index in (3, 6, 5):
        view.JumpSliceByCentering(*np.eye(3)[axis] * index * step)
        opened.host.process()
        assert opened.text("planeLabel") == f"{orientation} slice {index} of 0 to {last}, as in the Slice4 view"
    view.JumpSliceByCentering(*np.eye(3)[axis] * (9 if axis == 0 else 7) * step)
    job = opened.run()
    named = int(opened.text("planeLabel").split(" slice ")[1].split()[0])
    bounds = np.zeros(6)
    job.result.segmentationNode.GetSegmentation().GetNthSegment(0).GetBounds(bounds)
    sent = (bounds[2 * axis] + bounds[2 * axis + 1]) / 2 / step
    assert sent == pytest.approx(named) and named == {2: 7, 1: 7, 0: 9}[axis]


def test_slices_of_a_range_gather_in_one_segment_and_grow_as_they_come(opened, endpoint):
    url, double = endpoint
    opened.makeReady(url, "cube")
    opened.host.choose("modeComboBox", "Slices from–to (2D)")
    opened.host.type("firstSliceSpinBox", "3")
    opened.host.type("lastSliceSpinBox", "6")
    opened.run()
    (node,) = opened.segmentations()
    assert namesOf(node) == ["cube"] and len(double.seen) == 4
    bounds = np.zeros(6)
    node.GetSegmentation().GetNthSegment(0).GetBounds(bounds)
    assert (bounds[4], bounds[5]) == pytest.approx((3 * 2 - 1, 6 * 2 + 1))


def test_choices_travel_with_the_scene_and_come_back_with_it(opened, endpoint, tmp_path):
    import slicer

    opened.makeReady(endpoint[0], "cube & bar")
    opened.host.click("optionsButton")
    opened.host.choose("overlapComboBox", "Keep existing segments")
    opened.host.choose("modeComboBox", "All slices (2D)")
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    opened.host.close_scene()
    assert opened.host.find("promptsEdit").toPlainText() == ""
    assert slicer.mrmlScene.ReadFromMRB(path)
    opened.host.process()
    assert opened.host.find("promptsEdit").toPlainText() == "cube & bar"
    assert opened.host.find("overlapComboBox").currentText == "Keep existing segments"
    assert opened.host.find("modeComboBox").currentText == "All slices (2D)"
    assert opened.host.find("volumeSelector").currentNode().GetName() == "CT"
    assert opened.host.find("profileComboBox").currentText == "Ward 3"


def test_a_click_on_a_result_shows_it_in_the_slice_views(opened, endpoint):
    import slicer

    opened.makeReady(endpoint[0], "bar")
    opened.run()
    views = [slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Green")]
    views[0].SetOrientationToAxial()
    views[1].SetOrientationToCoronal()
    for view in views:
        view.SetSliceOffset(500.0)
    opened.clickResult(0)
    assert 2 * 5 - 1 <= views[0].GetSliceOffset() <= 2 * 10 + 1  # slices 5 to 10, 2 mm each
    assert -36 <= views[1].GetSliceOffset() <= -24  # rows 24 to 35


def test_undo_takes_the_last_run_back_and_show_3d_makes_surfaces(opened, endpoint):
    opened.makeReady(endpoint[0])
    opened.run()
    (node,) = opened.segmentations()
    opened.host.click("show3DButton")
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    opened.host.click("show3DButton")
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    opened.host.click("undoButton")
    assert namesOf(node) == [] and opened.text("messageLabel") == "The last run was undone."
    assert opened.host.find("resultsTable").isHidden()
    assert not opened.host.find("undoButton").enabled
    assert opened.host.find("undoButton").toolTip == "There is no run to undo."


def test_recent_prompts_are_offered_and_the_last_ones_come_back(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    opened.host.type("promptsEdit", "bar & cube")
    opened.run()
    opened.host.type("promptsEdit", "something else")
    menu = opened.host.find("recentButton").menu()
    assert [action.text for action in menu.actions()] == ["bar && cube", "cube"]
    menu.actions()[0].trigger()
    assert opened.host.find("promptsEdit").toPlainText() == "bar\ncube"
    menu.actions()[1].trigger()
    assert opened.host.find("promptsEdit").toPlainText() == "cube"


@pytest.mark.parametrize(
    ("model", "mode", "words"),
    [
        ("medimageparse", "Volume (3D)", "takes slices"),
        ("medimageparse3d", "All slices (2D)", "takes volumes"),
        ("medimageinsight", "Volume (3D)", "does not segment"),
    ],
)
def test_an_endpoint_of_another_model_is_told_before_anything_is_sent(opened, endpoint, model, mode, words):
    opened.makeReady(endpoint[0], PROMPTS, model=model)
    opened.host.choose("modeComboBox", mode)
    assert not opened.host.find("runButton").enabled and words in opened.host.find("runButton").toolTip


def test_a_fault_of_the_endpoint_is_told_in_words_of_the_panel_and_adds_nothing(opened, endpoint):
    url, double = endpoint
    double.tamper = lambda reply: (401, "application/json", b'{"message": "no"}')
    opened.makeReady(url)
    job = opened.run()
    assert job.state == "failed" and "(401: “no”)" in opened.text("messageLabel")
    assert "type the key in Settings" in opened.text("messageLabel") and "--" not in opened.text("messageLabel")
    assert opened.segmentations() == [] and opened.host.find("runButton").enabled


def test_preview_is_a_small_version_of_what_is_sent(opened, endpoint):
    from MedImageParseLib.panels import preview
    from MedImageParseLib.scene.volumes import volumeFromNode

    url, double = endpoint
    node = opened.makeReady(url, "cube")
    opened.host.choose("modeComboBox", "Slices from–to (2D)")
    opened.host.type("firstSliceSpinBox", "6")
    opened.host.type("lastSliceSpinBox", "6")
    opened.host.click("optionsButton")
    opened.host.choose("windowComboBox", "Custom range")
    opened.host.type("windowLowSpinBox", "0")
    opened.host.type("windowHighSpinBox", "220")
    opened.run()
    volume = volumeFromNode(node)
    shown = preview.slicePreview(volume, preview.windowFor(volume, "0,220", "cube"), "axial", 6, "trained", "cube").pixels
    sent = double.seen[0].pixels()[..., 0]
    # The sent square, looked at where the preview's pixels have their centers.
    centers = ((np.arange(preview.SIDE) + 0.5) * 1024 / preview.SIDE).astype(int)
    difference = np.abs(sent[np.ix_(centers, centers)].astype(int) - shown.astype(int))
    assert np.median(difference) <= 1 and np.mean(difference > 20) < 0.06  # edges may differ by a pixel
    opened.host.wait_until(lambda: "Range as given: 0 to 220" in opened.text("previewText"), 60)
    assert not opened.host.find("previewImage").pixmap.isNull()


@pytest.mark.parametrize(
    ("state", "told", "items", "text"),
    [
        ("queued", ("", 0, 0), (0, 0), "Waiting"),
        ("running", ("uploading", 42e6, 118e6), (0, 0), "Uploading 42 of 118 MB"),
        ("running", ("uploading", 300, 300), (0, 0), "Uploading"),
        ("running", ("model working", 72.4, 0), (0, 0), "Model working 1:12"),
        ("running", ("model working", 2.0, 0), (7, 20), "7 of 20 done, model working 0:02"),
        ("running", ("waiting to try again", 4.2, 0), (0, 0), "The endpoint is busy, trying again in 5 s"),
        ("importing", ("downloading", 5, 5), (0, 0), "Adding segments"),
    ],
)
def test_progress_is_told_in_stages_with_bytes_and_seconds(opened, state, told, items, text):
    from types import SimpleNamespace

    from MedImageParseLib.panels.sentences import stageText

    stage, done, total = told
    assert stageText(SimpleNamespace(state=state, stage=stage, done=done, total=total, items=items)) == text
