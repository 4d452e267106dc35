"""The effect beside the module's panel: one list of results, one history of runs, one undo history."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from effect_support import labelmap
from panel_support import Opened, phantom

CUBE, BAR = phantom() == 100, phantom() == 200


class Panel(Opened):
    """The module's panel beside the Segment Editor, as a person finds it on going there."""

    def __init__(self, annotator):
        Opened.__init__(self, annotator.host)
        self.host.open_module("MedImageParse")

    def states(self):
        self.host.process()
        return [row[:2] for row in self.results()]

    def runs(self):
        return list(self.host.find("runsButton").menu().actions())

    def say(self):
        return self.text("messageLabel")


@pytest.fixture
def painted(annotator):
    """A run "cube" into a segment, a run "bar & unicorn" into new ones. Returns (annotator, segment ID)."""
    made = annotator.addSegment("cube")
    annotator.run()
    annotator.host.choose("intoComboBox", "New segments")
    annotator.run("bar & unicorn")
    return annotator, made


def test_runs_of_the_effect_are_in_the_panels_results_and_in_its_history_of_runs(painted):
    panel = Panel(painted[0])
    assert panel.host.find("segmentationSelector").currentNode() is painted[0].node, "nothing was chosen there yet"
    cube, bar = (f"{np.count_nonzero(mask) * 2 / 1000:.1f} ml" for mask in (CUBE, BAR))
    panel.host.process()
    assert panel.results() == [("cube", "found", cube), ("bar", "found", bar), ("unicorn", "not found", "")]
    newest, oldest = (each.text.split("  ")[1] for each in panel.runs())
    assert newest == "bar && unicorn: 1 of 2 found, Ward 3 (127.0.0.1) (Segment Editor)"
    assert oldest == "cube: 1 of 1 found, Ward 3 (127.0.0.1) (Segment Editor)"
    assert "Model: MedImageParse 3D" in panel.besides()[0]["tip"]


def test_one_undo_history_whoever_moves_in_it(painted):
    annotator, made = painted
    both = annotator.everything()
    panel = Panel(annotator)
    panel.host.click("undoButton")
    assert annotator.names() == ["cube"] and panel.states() == [("cube", "found")]
    panel.host.click("undoButton")
    assert not annotator.voxels(made).any() and panel.states() == [("cube", "")] and not panel.host.find("undoButton").enabled
    annotator.editor.redo()
    annotator.editor.redo()
    everything = [("cube", "found"), ("bar", "found"), ("unicorn", "not found")]
    assert annotator.everything() == both and panel.states() == everything
    annotator.editor.undo()
    assert panel.states() == [("cube", "found")]
    panel.host.click("redoButton")
    assert annotator.everything() == both


def test_an_undo_in_the_panel_never_takes_a_stroke_with_it(painted):
    annotator, made = painted
    annotator.editor.setCurrentSegmentID(made)
    spot = np.zeros_like(CUBE)
    spot[1, 1:4, 1:4] = True
    annotator.editor.paint(labelmap(annotator, spot))
    before = annotator.everything()
    panel = Panel(annotator)
    panel.host.click("undoButton")
    assert annotator.everything() == before and "have been edited since" in panel.say()
    annotator.editor.undo()
    panel.host.click("undoButton")
    assert annotator.names() == ["cube"]


def test_a_run_into_a_segment_that_another_run_made_leaves_that_run_in_effect(annotator):
    from MedImageParseLib.logic.history import historyOf

    annotator.host.choose("intoComboBox", "New segments")
    annotator.run("cube")
    annotator.editor.setCurrentSegmentID(annotator.node.GetSegmentation().GetNthSegmentID(0))
    annotator.host.choose("intoComboBox", "Selected segment")
    annotator.host.choose("combineComboBox", "Add to what is there")
    annotator.run("bar")
    shown = lambda: [row.text for _run, row in historyOf(slicer.mrmlScene).rows(annotator.node)]  # noqa: E731
    assert shown() == ["bar", "cube"]
    annotator.editor.undo()
    assert shown() == ["cube"]
    annotator.editor.undo()
    assert shown() == []


def test_run_again_goes_to_the_editor_and_asks_for_the_same(annotator, endpoint):
    made = annotator.addSegment("cube")
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, 0, 0, 10.0)  # slice 5 of 2 mm
    annotator.host.choose("extentComboBox", "This slice (2D)")
    annotator.run()
    first = annotator.everything()
    annotator.editor.undo()
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, 0, 0, 4.0)
    annotator.addSegment("other")
    annotator.host.choose("extentComboBox", "Volume (3D)")
    annotator.host.choose("intoComboBox", "New segments")
    panel = Panel(annotator)
    before = len(endpoint[1].seen)
    panel.runs()[0].trigger()
    assert annotator.editor.activeEffect().name == "Text prompt" and annotator.editor.currentSegmentID() == made
    annotator.wait(annotator.box.job)
    assert annotator.everything()[0] == first[0] and len(endpoint[1].seen) == before + 1
    assert annotator.box._parameters["Extent"] == "slice", "what was chosen is shown"


def test_run_again_says_what_is_gone(painted):
    annotator, made = painted
    annotator.node.GetSegmentation().RemoveSegment(made)
    panel = Panel(annotator)
    panel.runs()[1].trigger()
    assert "segment of this run was deleted" in panel.say()
    slicer.mrmlScene.RemoveNode(annotator.volume)
    panel.runs()[0].trigger()
    assert "no longer in the scene" in panel.say() and annotator.box.job is None


@pytest.mark.parametrize("end", ["segmentation deleted", "scene closed"])
def test_a_deleted_segmentation_or_a_closed_scene_empties_results_and_history(painted, end):
    panel = Panel(painted[0])
    assert panel.results() and panel.runs()
    if end == "scene closed":
        panel.host.close_scene()
    else:
        slicer.mrmlScene.RemoveNode(painted[0].node)
    panel.host.process()
    assert panel.results() == [] and panel.runs() == [] and not panel.host.find("undoButton").enabled
