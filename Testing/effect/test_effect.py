"""The Segment Editor effect "Text prompt", as a person uses it: real MRML, Slicer's real editor logic, the host's widgets."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from effect_support import labelmap
from panel_support import phantom

CUBE, BAR = phantom() == 100, phantom() == 200


KINDS = slicer.vtkMRMLSegmentationNode


def found(annotator) -> str:
    """The first line of the message."""
    return annotator.message.splitlines()[0]


def test_the_selected_segments_name_is_the_prompt_and_enter_runs(annotator):
    made = annotator.addSegment("cube")
    job = annotator.run()
    assert job.state == "done", job.sentence
    assert np.array_equal(annotator.voxels(made) != 0, CUBE)
    assert found(annotator) == "Found: cube." and annotator.names() == ["cube"]


def test_typed_structures_become_new_segments_and_one_undo_takes_them_back(annotator):
    annotator.addSegment("mine")
    before = annotator.everything()
    annotator.host.choose("intoComboBox", "New segments")
    annotator.run("cube & bar & unicorn")
    after = annotator.everything()
    assert annotator.names() == ["mine", "cube", "bar"] and "Not found, nothing was changed for: unicorn." in annotator.message
    annotator.editor.undo()
    assert annotator.everything() == before
    annotator.editor.redo()
    assert annotator.everything() == after


def test_what_may_not_be_edited_stays_byte_for_byte(annotator):
    annotator.editor.mrmlSegmentEditorNode().SetOverwriteMode(2)
    wall = annotator.addSegment("wall")
    annotator.host.choose("combineComboBox", "Add to what is there")
    annotator.run("bar")
    before = annotator.voxels(wall).tobytes()
    annotator.parameters.SetMaskMode(KINDS.EditAllowedOutsideAllSegments)
    both = annotator.addSegment("all bright")
    annotator.parameters.SetSourceVolumeIntensityMask(True)
    annotator.parameters.SetSourceVolumeIntensityMaskRange(50, 300)
    annotator.run("bar")
    assert not annotator.voxels(both).any() and "masking leaves nothing" in annotator.message
    annotator.run("cube")
    assert np.array_equal(annotator.voxels(both) != 0, CUBE & ~BAR)
    assert annotator.voxels(wall).tobytes() == before


def test_this_slice_changes_this_slice_and_leaves_the_others(annotator):
    made = annotator.addSegment("cube")
    annotator.run()
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, 0, 0, 10.0)  # slice 5 of 2 mm
    annotator.host.choose("extentComboBox", "This slice (2D)")
    annotator.run("bar")
    expected = CUBE.copy()
    expected[5] = BAR[5]
    assert np.array_equal(annotator.voxels(made) != 0, expected)


def test_slices_from_to_are_those_that_are_sent_and_changed(annotator, endpoint):
    made = annotator.addSegment("cube")
    annotator.host.choose("extentComboBox", "Slices from–to (2D)")
    annotator.host.find("firstSpinBox").setValue(6)
    annotator.host.find("lastSpinBox").setValue(4)
    annotator.run()
    expected = np.zeros_like(CUBE)
    expected[4:7] = CUBE[4:7]
    assert np.array_equal(annotator.voxels(made) != 0, expected)


def test_the_box_around_a_segment_is_sent_and_an_empty_segment_has_none(annotator, endpoint):
    made = annotator.addSegment("cube")
    annotator.host.choose("regionComboBox", "Box around the selected segment")
    annotator.host.key("promptEdit", "Return")
    assert annotator.message == 'The segment "cube" is empty; choose another.' and not endpoint[1].seen
    annotator.host.choose("regionComboBox", "Everywhere")
    annotator.run()
    annotator.host.choose("regionComboBox", "Box around the selected segment")
    annotator.host.find("marginSpinBox").setValue(2)
    annotator.host.choose("combineComboBox", "Keep only what is in both")
    annotator.run()
    assert np.array_equal(annotator.voxels(made) != 0, CUBE)
    assert endpoint[1].seen[-1].nifti().shape[:3] == (20, 16, 8), "16 x 12 x 6 voxels of 1 x 1 x 2 mm and 2 mm on each side"


def test_a_volume_under_nested_transforms_and_a_segmentation_on_another_grid(annotator):
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume

    outer, inner = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _number in range(2))
    for node, move in ((outer, (5.0, -7.0, 11.0)), (inner, (-30.5, 2.25, 0.5))):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], move
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    inner.SetAndObserveTransformNodeID(outer.GetID())
    annotator.volume.SetAndObserveTransformNodeID(inner.GetID())
    annotator.edit(annotator.volume)
    made = annotator.addSegment("cube")
    annotator.run()
    assert annotator.node.GetParentTransformNode() is inner and np.array_equal(annotator.voxels(made) != 0, CUBE)

    # The same places on a grid of half the spacing along k, moved by whole voxels, outside of any transform: 0.00 mm off in the world.
    toWorld = slicer.vtkMRMLTransformNode
    matrix = slicer.util.vtkMatrixFromArray(np.eye(4))
    toWorld.GetMatrixTransformBetweenNodes(inner, None, matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix) @ np.diag([-1.0, -1.0, 2.0, 1.0])
    shift = np.eye(4)
    shift[:3, 3] = (-3, 2, -1)
    grid = nodeFromVolume(Volume(np.zeros((14, 40, 54), np.uint8), affine @ shift), "grid", slicer.mrmlScene)
    annotator.node.SetAndObserveTransformNodeID(None)
    annotator.node.GetSegmentation().RemoveAllSegments()
    annotator.node.SetReferenceImageGeometryParameterFromVolumeNode(grid)
    made = annotator.addSegment("cube")
    annotator.run()
    from MedImageParseLib.scene.masks import segmentsOnVolume

    (placed,) = segmentsOnVolume(annotator.node, annotator.volume)
    assert np.array_equal(placed.mask.full() != 0, CUBE)


def test_a_run_that_ends_after_the_effect_was_left_still_goes_into_its_segment_as_one_step(held):
    annotator, made, job, go = held
    other = annotator.addSegment("other")
    annotator.editor.setActiveEffectByName("")
    go()
    annotator.host.wait_until(lambda: job.has_ended, 30)
    assert job.state == "done" and np.array_equal(annotator.voxels(made) != 0, CUBE) and not annotator.voxels(other).any()
    assert annotator.editor.currentSegmentID() == other, "the person's selection stays"
    annotator.editor.undo()
    assert not annotator.voxels(made).any()


def test_a_segment_that_is_deleted_while_the_run_is_at_work_drops_the_reply(held):
    annotator, made, job, go = held
    other = annotator.addSegment("other")
    annotator.node.GetSegmentation().RemoveSegment(made)
    go()
    annotator.host.wait_until(lambda: job.has_ended, 30)
    annotator.host.process()
    assert "segment was deleted" in annotator.message and annotator.names() == ["other"] and not annotator.voxels(other).any()


def test_a_scene_that_is_closed_while_the_run_is_at_work_stays_empty(held):
    annotator, _made, job, go = held
    annotator.host.close_scene()
    go()
    annotator.host.wait_until(lambda: job.has_ended, 30)
    annotator.host.process()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert annotator.box.job is None and "scene was closed" in annotator.message


def test_another_segmentation_in_the_editor_drops_the_reply(held):
    annotator, _made, job, go = held
    before = annotator.everything()
    annotator.editor.setSegmentationNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
    go()
    annotator.host.wait_until(lambda: job.has_ended, 30)
    assert "another segmentation" in annotator.message and annotator.everything() == before


def test_escape_cancels_and_nothing_is_changed(held):
    annotator, _made, job, go = held
    before = annotator.everything()
    assert annotator.host.find("cancelButton").visible and not annotator.host.find("runButton").visible
    annotator.host.key("promptEdit", "Esc")
    go()
    annotator.host.wait_until(lambda: job.has_ended, 30)
    assert annotator.message == "Cancelled. Nothing was changed." and annotator.everything() == before


def test_the_reason_why_run_is_grey_is_readable(annotator):
    reason = lambda: annotator.reason  # noqa: E731
    assert reason() == "Add a segment and select it, or choose new segments."
    annotator.addSegment("Segment_1")
    assert reason() == "Type what to find, or give the segment the name of a structure."
    annotator.host.type("promptEdit", "cube & bar")
    assert reason() == "The selected segment takes one structure. Type one, or choose new segments."
    annotator.editor.setSourceVolumeNode(None)
    assert reason() == "Choose a source volume." and not annotator.host.find("runButton").enabled


def test_choices_are_kept_in_the_editors_node_without_the_endpoints_address(annotator, endpoint):
    annotator.host.type("promptEdit", "bar")
    annotator.host.choose("combineComboBox", "Remove from what is there")
    annotator.host.choose("regionComboBox", "Box around the selected segment")
    annotator.host.find("marginSpinBox").setValue(7.5)
    node = annotator.parameters
    kept = {name: node.GetAttribute(f"Text prompt.{name}") for name in ("Prompt", "Combine", "Region", "Margin", "Endpoint")}
    assert kept == {"Prompt": "bar", "Combine": "remove", "Region": "segment", "Margin": "7.5", "Endpoint": "Ward 3"}
    assert endpoint[0] not in " ".join(node.GetAttribute(each) or "" for each in node.GetAttributeNames())
    node.SetAttribute("Text prompt.Prompt", "cube")
    node.SetAttribute("Text prompt.Combine", "add")
    assert annotator.host.find("promptEdit").text == "cube" and annotator.host.find("combineComboBox").currentText == "Add to what is there"


def test_three_letters_and_enter_give_a_target_and_the_next_enter_runs(annotator, endpoint):
    annotator.addSegment("mine")
    annotator.host.type("promptEdit", "adr")
    shown = annotator.box.completer.list
    assert shown.visible and shown.topLevelItem(0).text(0) == "adrenal gland"
    annotator.host.key("promptEdit", "Return")
    assert annotator.host.find("promptEdit").text == "adrenal gland" and annotator.box.job is None and not shown.visible
    annotator.run()
    assert endpoint[1].seen and found(annotator).startswith("Not found")


def test_an_editor_that_is_deleted_while_a_run_is_at_work_takes_the_run_with_it(held):
    annotator, _made, job, go = held
    box, before = annotator.box, annotator.everything()
    annotator.close()
    go()
    assert job.has_ended and box.logic.isIdle and annotator.everything() == before
    annotator.open()
    assert annotator.box.job is None and annotator.box is not box


def test_a_segment_that_is_renamed_is_asked_for_by_its_new_name(annotator):
    made = annotator.addSegment("Segment_1")
    assert not annotator.host.find("runButton").enabled
    annotator.node.GetSegmentation().GetSegment(made).SetName("bar")  # a double click in the table of segments
    annotator.host.process()
    assert annotator.host.find("promptEdit").placeholderText == "bar" and annotator.host.find("runButton").enabled
    annotator.run()
    assert np.array_equal(annotator.voxels(made) != 0, BAR)


def test_what_was_found_is_no_longer_said_after_it_was_taken_back(annotator):
    annotator.addSegment("cube")
    annotator.run()
    annotator.editor.paint(labelmap(annotator, BAR))
    annotator.host.process()
    assert found(annotator) == "Found: cube.", "a stroke changes nothing about it"
    annotator.editor.undo()
    annotator.editor.undo()
    annotator.host.process()
    assert annotator.message == ""
