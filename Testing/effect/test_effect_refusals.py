"""What a person may get wrong, or change while a run is at work: one clear sentence, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from effect_support import labelmap
from panel_support import phantom

CUBE, BAR = phantom() == 100, phantom() == 200


@pytest.fixture
def held(held):
    """The folder's held run, whose `go` also waits until the run has ended. Returns (annotator, segment ID, job, go)."""
    annotator, made, job, answer = held

    def go():
        answer()
        annotator.host.wait_until(lambda: job.has_ended, 30)
        annotator.host.process()

    return annotator, made, job, go


def roi(middle, size=(4.0, 4.0, 4.0)):
    """A region of interest that is shown."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    node.CreateDefaultDisplayNodes()
    node.SetCenter(*middle)
    node.SetSize(*size)
    return node


def vectorVolume(components=3, kind=np.float32):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "directions")
    image = vtk.vtkImageData()
    image.SetDimensions(6, 5, 4)
    image.GetPointData().SetScalars(numpy_to_vtk(np.zeros((120, components), kind), deep=True))
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    return node


# --- before a run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extent", ["Volume (3D)", "This slice (2D)", "Slices from–to (2D)"])
def test_vectors_that_are_no_colors_are_refused_while_they_are_chosen(annotator, endpoint, extent):
    annotator.addSegment("cube")
    annotator.host.choose("extentComboBox", extent)
    annotator.edit(vectorVolume())
    annotator.addSegment("cube")
    assert "they are no colors; choose a scalar volume." in annotator.reason and not annotator.host.find("runButton").enabled
    annotator.host.key("promptEdit", "Return")
    assert annotator.box.job is None and not endpoint[1].seen


def test_without_a_source_volume_the_effect_says_so_and_enter_does_nothing(annotator, endpoint):
    annotator.addSegment("cube")
    annotator.editor.setActiveEffectByName("")
    annotator.editor.setSourceVolumeNode(None)
    annotator.editor.setActiveEffectByName("Text prompt")
    for extent in ("Slices from–to (2D)", "This slice (2D)", "Volume (3D)"):
        annotator.host.choose("extentComboBox", extent)
        annotator.host.key("promptEdit", "Return")
        assert annotator.reason == "Choose a source volume." and annotator.box.job is None and not endpoint[1].seen


def test_a_color_picture_is_asked_for_as_a_slice(annotator):
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume

    colors = np.full((1, 32, 40, 3), 10, np.uint8)
    colors[0, 8:20, 10:30] = 100
    picture = nodeFromVolume(Volume(colors, np.diag([-1.0, -1.0, 1.0, 1.0])), "picture", slicer.mrmlScene)
    file = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    file.SetFileName("picture.png")  # slicer-core has no reader of such files
    picture.SetAndObserveStorageNodeID(file.GetID())
    annotator.edit(picture)
    made = annotator.addSegment("cube")
    assert annotator.reason == "This is a 2D picture. Choose This slice (2D)."
    annotator.host.choose("extentComboBox", "This slice (2D)")
    assert annotator.run().state == "done", annotator.message
    assert np.count_nonzero(annotator.voxels(made)) == 12 * 20


def outside():
    roi((500.0, 500.0, 500.0))


def hidden():
    roi((-10.0, -10.0, 10.0)).GetDisplayNode().SetVisibility(False)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: None, "No region of interest is shown; add one with the Markups module, or choose another region."),
        (hidden, "No region of interest is shown; add one with the Markups module, or choose another region."),
        (outside, "The region of interest holds no voxel of the volume; move it onto the volume or make it larger."),
    ],
)
def test_a_region_of_interest_that_cannot_be_used_is_told_and_nothing_is_sent(annotator, endpoint, make, sentence):
    annotator.addSegment("cube")
    make()
    annotator.host.choose("regionComboBox", "Visible region of interest")
    annotator.host.key("promptEdit", "Return")
    assert annotator.message == sentence and not endpoint[1].seen and annotator.box.job is None


def test_of_several_regions_of_interest_the_one_that_was_added_last_is_sent(annotator, endpoint):
    made = annotator.addSegment("cube")
    roi((-20.0, -20.0, 10.0), (80.0, 80.0, 80.0))
    roi((-12.0, -8.0, 10.0), (6.0, 4.0, 8.0))
    hidden()
    annotator.host.choose("regionComboBox", "Visible region of interest")
    annotator.run()
    expected = np.zeros_like(CUBE)
    expected[3:8, 6:11, 9:16] = CUBE[3:8, 6:11, 9:16]
    assert np.array_equal(annotator.voxels(made) != 0, expected)


def test_a_segmentation_of_surfaces_is_refused_before_anything_is_sent(annotator, endpoint):
    made = annotator.addSegment("cube")
    annotator.editor.paint(labelmap(annotator, CUBE))
    segmentation = annotator.node.GetSegmentation()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert segmentation.CreateRepresentation(surface)
    segmentation.SetSourceRepresentationName(surface)
    before = segmentation.GetSegment(made).GetRepresentation(surface).GetNumberOfPoints()
    for region in ("Everywhere", "Box around the selected segment"):
        annotator.host.choose("regionComboBox", region)
        annotator.host.key("promptEdit", "Return")
        assert annotator.box.job is None and "is not made of voxels" in annotator.reason, region
    assert not endpoint[1].seen and segmentation.GetSegment(made).GetRepresentation(surface).GetNumberOfPoints() == before


def test_an_endpoint_that_refuses_leads_from_the_effect_to_its_settings(annotator, endpoint):
    annotator.addSegment("cube")
    endpoint[1].tamper = lambda _reply: (404, "application/json", b"{}")
    assert annotator.run().state == "failed"
    parts = [annotator.host.find(f"promptMessage{part}") for part in ("Icon", "CopyButton", "HelpButton")]
    assert all(each.visible for each in parts) and parts[2].text == "Open endpoint settings"
    annotator.host.click("promptMessageCopyButton")
    copied = annotator.host.qt.QApplication.clipboard().text()
    assert copied.startswith(annotator.message) and "Request " in copied
    annotator.host.click("promptMessageHelpButton")
    panel = slicer.modules.MedImageParseWidget.panel
    assert panel.settings.dialog.visible and panel.settings.ui.nameEdit.text == "Ward 3"
    panel.settings.dialog.hide()
    annotator.host.open_segment_editor()
    endpoint[1].tamper = None
    annotator.run()
    assert not any(each.visible for each in parts)


def test_escape_while_nothing_runs_changes_nothing(annotator):
    annotator.addSegment("cube")
    before = annotator.everything()
    annotator.host.key("promptEdit", "Esc")
    assert annotator.message == "" and annotator.everything() == before and annotator.host.find("runButton").enabled


def test_a_segment_whose_name_is_two_structures_is_told_apart(annotator, endpoint):
    annotator.addSegment("cube & bar")
    annotator.host.key("promptEdit", "Return")
    assert annotator.reason.startswith("The selected segment takes one structure.") and not endpoint[1].seen


# --- while a run is at work ------------------------------------------------------------------------------------------


def test_enter_twice_sends_one_request(held, endpoint):
    annotator, made, _job, go = held
    annotator.host.key("promptEdit", "Return")
    annotator.host.key("promptEdit", "Return")
    go()
    assert len(endpoint[1].seen) == 1 and np.array_equal(annotator.voxels(made) != 0, CUBE)


def test_a_volume_that_is_switched_keeps_the_run_on_the_one_that_was_sent(held):
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume

    annotator, made, job, go = held
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    annotator.editor.setSourceVolumeNode(nodeFromVolume(Volume(np.zeros_like(phantom()), affine), "another", slicer.mrmlScene))
    go()
    assert job.state == "done" and np.array_equal(annotator.voxels(made) != 0, CUBE)


def test_an_intensity_range_of_another_volume_masks_nothing_by_mistake(held):
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume

    annotator, _made, job, go = held
    before = annotator.everything()
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    annotator.editor.setSourceVolumeNode(nodeFromVolume(Volume(np.zeros_like(phantom()), affine), "another", slicer.mrmlScene))
    annotator.parameters.SetSourceVolumeIntensityMask(True)
    go()
    assert job.state == "failed" and annotator.everything() == before
    assert "another source volume" in annotator.message and "run again" in annotator.message


def test_an_undo_during_a_run_is_kept_and_the_run_is_a_step_of_its_own(held):
    annotator, made, _job, go = held
    spot = np.zeros_like(CUBE)
    spot[1, 1:4, 1:4] = True
    annotator.host.choose("combineComboBox", "Add to what is there")  # of the next run
    annotator.editor.paint(labelmap(annotator, BAR))
    annotator.editor.paint(labelmap(annotator, spot))
    annotator.editor.undo()
    go()
    assert np.array_equal(annotator.voxels(made) != 0, CUBE), "replace was chosen as it was started"
    annotator.editor.undo()
    assert np.array_equal(annotator.voxels(made) != 0, BAR)
    annotator.editor.undo()
    assert not annotator.voxels(made).any()


@pytest.mark.parametrize("gone", ["volume", "segmentation"])
def test_what_the_run_needs_is_deleted_while_it_is_at_work(held, gone):
    annotator, _made, job, go = held
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "somebody else's")
    slicer.mrmlScene.RemoveNode(annotator.volume if gone == "volume" else annotator.node)
    go()
    assert job.state != "done" and annotator.box.job is None and other.GetSegmentation().GetNumberOfSegments() == 0
    assert f"The {gone} was deleted" in annotator.message, annotator.message


def test_the_representation_that_is_changed_while_the_run_is_at_work_keeps_the_segments(held):
    annotator, made, job, go = held
    annotator.editor.paint(labelmap(annotator, BAR))
    segmentation = annotator.node.GetSegmentation()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert segmentation.CreateRepresentation(surface)
    segmentation.SetSourceRepresentationName(surface)
    points = segmentation.GetSegment(made).GetRepresentation(surface).GetNumberOfPoints()
    go()
    assert job.state == "failed" and "is not made of voxels" in annotator.message
    assert segmentation.GetSegment(made).GetRepresentation(surface).GetNumberOfPoints() == points > 0


def test_the_other_of_two_segmentations_is_left_alone(held):
    annotator, made, job, go = held
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    other.GetSegmentation().AddEmptySegment("", "cube")
    go()
    assert job.state == "done" and np.array_equal(annotator.voxels(made) != 0, CUBE)
    (segmentId,) = other.GetSegmentation().GetSegmentIDs()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = other.GetSegmentation().GetSegment(segmentId).GetRepresentation(binary)
    assert image is None or image.GetNumberOfPoints() == 0


def test_what_was_said_about_one_segmentation_goes_with_it(annotator):
    annotator.addSegment("cube")
    annotator.run("unicorn")
    assert annotator.message
    annotator.editor.setSegmentationNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
    annotator.host.process()
    assert annotator.message == ""


def test_choices_that_this_version_does_not_know_are_the_defaults_in_what_is_shown_and_in_what_is_done(annotator, endpoint):
    made = annotator.addSegment("cube")
    node = annotator.parameters
    for name in ("Into", "Combine", "Extent", "Region", "Margin", "FirstSlice", "LastSlice"):
        node.SetAttribute(f"Text prompt.{name}", "nan" if name == "LastSlice" else "of another version")
    annotator.host.process()
    assert [annotator.host.find(f"{each}ComboBox").currentText for each in ("into", "combine", "extent", "region")] == [
        "Selected segment", "Replace what is there", "Volume (3D)", "Everywhere",
    ]  # fmt: skip
    annotator.run()
    assert np.array_equal(annotator.voxels(made) != 0, CUBE)
    node.SetAttribute("Text prompt.Extent", "range")
    annotator.host.process()
    assert annotator.host.find("lastSpinBox").value == 0
