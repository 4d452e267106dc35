"""Slicer's own table of segments with what the runs say beside each, the targets without a segment below it, and what can be done there."""

from __future__ import annotations

import numpy as np
import pytest
from panel_support import namesOf

from doubles.truth import GrayRanges

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")


def apart(opened) -> list[tuple[str, str]]:
    """The rows below the segments: targets without one."""
    table = opened.host.find("resultsTable")
    return [(table.item(row, 0).text(), table.item(row, 1).text()) for row in range(table.rowCount)]


def beside(opened) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in opened.besides()}


def test_every_segment_has_its_volume_beside_it_whichever_run_made_it(opened, endpoint):
    opened.makeReady(endpoint[0], "cube & unicorn")
    opened.run()
    opened.host.type("promptsEdit", "bar")
    opened.run()
    rows = beside(opened)
    assert list(rows) == ["cube", "bar"] and [row["state"] for row in rows.values()] == ["found", "found"]
    assert float(rows["cube"]["volume"]) == pytest.approx(6 * 12 * 16 * 2 / 1000, abs=0.05)
    assert "Prompt: cube" in rows["cube"]["tip"] and "Endpoint: Ward 3" in rows["bar"]["tip"]
    assert apart(opened) == [("unicorn", "not found")]


def test_a_target_that_a_later_run_finds_is_no_longer_listed_as_absent(opened, endpoint):
    opened.makeReady(endpoint[0], "unicorn & cube")
    opened.run()
    endpoint[1].truth = GrayRanges({"cube": (90, 110), "unicorn": (190, 210)})
    opened.host.type("promptsEdit", "unicorn")
    opened.run()
    assert apart(opened) == [] and opened.host.find("resultsTable").isHidden() and list(beside(opened)) == ["cube", "unicorn"]


def test_the_columns_follow_the_order_the_filter_and_the_names_of_the_segments(opened, endpoint):
    opened.makeReady(endpoint[0], "cube & bar")
    node = opened.run().result.segmentationNode
    before = beside(opened)
    node.GetSegmentation().SetSegmentIndex(node.GetSegmentation().GetSegmentIdBySegmentName("bar"), 0)
    node.GetSegmentation().GetNthSegment(0).SetName("my bar")
    rows = opened.besides()
    assert [row["name"] for row in rows] == ["my bar", "cube"]
    assert [row["volume"] for row in rows] == [before["bar"]["volume"], before["cube"]["volume"]]
    opened.host.find("segmentsTable").textFilter = "cube"
    assert [(row["name"], row["volume"]) for row in opened.besides()] == [("cube", before["cube"]["volume"])]


def test_the_volume_is_that_of_the_segment_as_it_is_now_and_the_tip_says_that_it_was_edited(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    before = beside(opened)["cube"]
    assert "edited" not in before["tip"]
    from MedImageParseLib.logic.guard import segmentVoxels

    segmentId = node.GetSegmentation().GetNthSegmentID(0)
    voxels = segmentVoxels(node, segmentId)
    image = node.GetSegmentation().GetSegment(segmentId).GetRepresentation("Binary labelmap")
    from MedImageParseLib.scene.geometry import labelArray

    labelArray(image)[0] = 0
    image.Modified()
    node.GetSegmentation().GetSegment(segmentId).Modified()
    after = beside(opened)["cube"]
    left = segmentVoxels(node, segmentId)
    assert left < voxels and float(after["volume"]) == pytest.approx(2 * left / 1000, abs=0.05) and "edited" in after["tip"]


def test_a_segment_of_another_program_has_a_volume_and_says_that_no_run_has_made_it(opened, endpoint):
    from scene_support import add_shared_layer

    volume = opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    labels = np.zeros((12, 40, 48), np.uint8)
    labels[0, :2, :3] = 1
    add_shared_layer(node, volume, labels, ["by hand"])
    row = beside(opened)["by hand"]
    assert (row["state"], row["volume"]) == ("", "0.012") and "not made by MedImageParse" in row["tip"]


def test_the_segments_of_a_scene_that_was_saved_still_say_who_made_them(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    volume = beside(opened)["cube"]["volume"]
    opened.panel.history.clear()  # another session knows only what the segments say themselves
    opened.panel.update()
    row = beside(opened)["cube"]
    assert (row["state"], row["volume"]) == ("found", volume) and "Prompt: cube" in row["tip"] and "Endpoint: 127.0.0.1" in row["tip"]


def test_a_click_goes_to_the_segment_also_after_it_was_edited(opened, endpoint):
    opened.makeReady(endpoint[0], "cube & bar")
    opened.run()
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    view.SetOrientationToAxial()
    view.SetSliceOffset(500.0)
    opened.clickResult(1)
    assert 2 * 5 - 1 <= view.GetSliceOffset() <= 2 * 10 + 1
    assert opened.host.find("segmentsTable").selectedSegmentIDs() == (opened.segmentations()[0].GetSegmentation().GetNthSegmentID(1),)


def test_selected_segments_are_deleted_after_a_question(opened, endpoint):
    opened.makeReady(endpoint[0], "cube & bar")
    node = opened.run().result.segmentationNode
    button = opened.host.find("deleteButton")
    assert not button.enabled
    opened.clickResult(0)
    assert button.enabled
    opened.host.messages.answers.append(False)
    opened.host.click("deleteButton")
    assert namesOf(node) == ["cube", "bar"]
    opened.host.messages.answers.append(True)
    opened.host.click("deleteButton")
    opened.host.process()
    assert namesOf(node) == ["bar"] and list(beside(opened)) == ["bar"] and not button.enabled


def test_where_slicers_table_takes_no_columns_every_row_is_listed_below(opened, endpoint, monkeypatch):
    opened.makeReady(endpoint[0], "cube & unicorn")
    monkeypatch.setattr(opened.panel.results._cells, "isThere", False)
    opened.run()
    assert apart(opened) == [("cube", "found"), ("unicorn", "not found")]
    assert opened.host.find("resultsTable").item(0, 2).text() == "2.3 ml"


def test_opacity_gives_way_to_names_where_the_panel_is_narrow(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    table = opened.host.find("segmentsTable")
    assert table.opacityColumnVisible
    with opened.host.panel.dressed(300, 900, 1.5, "light"):
        for _pass in range(6):
            opened.host.process()
        assert not table.opacityColumnVisible


def test_a_segment_that_is_a_surface_has_no_volume_and_disturbs_nothing(opened, endpoint):
    import vtk

    opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    other = opened.host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Surfaces")
    other.GetSegmentation().SetSourceRepresentationName("Closed surface")
    other.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "sphere")
    opened.panel.parameters.setNodeFor("Segmentation", other)
    assert (beside(opened)["sphere"]["state"], beside(opened)["sphere"]["volume"]) == ("", "")
    opened.panel.parameters.setNodeFor("Segmentation", node)
    assert list(beside(opened)) == ["cube"]
