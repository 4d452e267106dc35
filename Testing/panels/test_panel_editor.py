"""The panel beside the Segment Editor and beside Slicer's own settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")


class Editor:
    """What of qMRMLSegmentEditorWidget matters here, with the real history of segments behind it."""

    def __init__(self, node):
        self._node, self.saved = node, 0
        self._history = slicer.vtkSegmentationHistory()
        self._history.SetSegmentation(node.GetSegmentation())

    def segmentationNode(self):
        return self._node

    def saveStateForUndo(self):
        self.saved += 1
        self._history.SaveState()

    def undo(self):
        self._history.RestorePreviousState()

    def redo(self):
        self._history.RestoreNextState()


@pytest.fixture
def painted(opened, endpoint):
    """A run's segmentation, with the Segment Editor open on it."""
    opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    editor = Editor(node)
    slicer.modules.SegmentEditorWidget = SimpleNamespace(editor=editor)
    yield node, editor
    del slicer.modules.SegmentEditorWidget


def names(node) -> list[str]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]


@pytest.mark.parametrize("mode", ["volume", "slices"])
def test_one_undo_in_the_segment_editor_takes_a_whole_run_back(opened, painted, mode):
    node, editor = painted
    opened.host.type("promptsEdit", "bar & unicorn")
    if mode == "slices":
        opened.host.choose("modeComboBox", "All slices (2D)")
    opened.run()
    assert (names(node), editor.saved) == (["cube", "bar"], 1)
    editor.undo()
    assert names(node) == ["cube"]
    opened.host.click("undoButton")
    assert names(node) == [], "the run before is the next that the panel takes back"


def shown(opened) -> list[str]:
    """The names in the results table."""
    opened.host.process()
    return [row[0] for row in opened.results()]


def test_the_panel_and_the_editor_move_in_one_history(opened, painted):
    node, editor = painted
    for prompt in ("bar", "cube & bar"):
        opened.host.type("promptsEdit", prompt)
        opened.run()
    everything = names(node)
    assert shown(opened) == everything

    editor.undo()
    assert names(node) == everything[:2] and shown(opened) == ["cube", "bar"]
    assert opened.host.find("redoButton").enabled
    editor.redo()
    assert names(node) == everything and len(shown(opened)) == 4

    opened.host.click("undoButton")
    assert names(node) == everything[:2], "the editor's undo and the panel's take back the same run"
    editor.redo()
    assert names(node) == everything and len(shown(opened)) == 4
    editor.undo()
    opened.host.process()
    opened.host.click("undoButton")
    assert names(node) == everything[:1], "the panel goes on where the editor is"
    opened.host.click("redoButton")
    assert names(node) == everything[:2] and shown(opened) == ["cube", "bar"]
    opened.host.click("redoButton")
    assert names(node) == everything and not opened.host.find("redoButton").enabled


def test_segments_are_followed_after_a_visit_to_another_module(opened, painted):
    node, editor = painted
    opened.host.type("promptsEdit", "bar")
    opened.run()
    for _visit in range(2):
        opened.host.leave_module()
        opened.host.open_module("MedImageParse")
    editor.undo()
    assert names(node) == ["cube"] and shown(opened) == ["cube"]
    editor.redo()
    assert shown(opened) == ["cube", "bar"]


def test_without_an_editor_runs_are_taken_back_and_brought_back(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    opened.host.type("promptsEdit", "bar")
    opened.run()
    for _time in range(2):
        opened.host.click("undoButton")
        opened.host.click("undoButton")
        assert names(node) == [] and shown(opened) == []
        opened.host.click("redoButton")
        assert names(node) == ["cube"] and shown(opened) == ["cube"]
        opened.host.click("redoButton")
        assert names(node) == ["cube", "bar"] and shown(opened) == ["cube", "bar"]
    assert not opened.host.find("redoButton").enabled


def test_a_new_run_ends_what_could_be_brought_back(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    node = opened.run().result.segmentationNode
    opened.host.click("undoButton")
    assert opened.host.find("redoButton").enabled
    opened.host.type("promptsEdit", "bar")
    opened.run()
    assert not opened.host.find("redoButton").enabled and names(node) == ["bar"]


def test_deleted_segments_and_segmentations_are_no_longer_listed(opened, endpoint):
    opened.makeReady(endpoint[0], "cube & bar")
    node = opened.run().result.segmentationNode
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetSegmentIdBySegmentName("cube"))
    assert shown(opened) == ["bar"]
    node.GetSegmentation().GetNthSegment(0).SetName("my bar")
    assert shown(opened) == ["my bar"]
    slicer.mrmlScene.RemoveNode(node)
    assert shown(opened) == [] and not opened.host.find("undoButton").enabled
    assert opened.host.find("resultsTable").isHidden()


def test_a_run_that_finds_nothing_leaves_the_editors_history_alone(opened, painted):
    node, editor = painted
    opened.host.type("promptsEdit", "unicorn")
    opened.run()
    assert (names(node), editor.saved) == (["cube"], 0)


def test_a_run_into_another_segmentation_leaves_the_editors_history_alone(opened, painted):
    node, editor = painted
    opened.panel.parameters.setNodeFor("Segmentation", None)
    job = opened.run()
    assert job.result.segmentationNode is not node
    assert editor.saved == 0


def test_profiles_lie_beside_slicers_own_settings(monkeypatch):
    from panel_support import MODULE

    from host import Host
    from MedImageParseLib import configuration

    monkeypatch.delenv("MEDIMAGEPARSE_CONFIG_DIR")
    monkeypatch.setattr(configuration, "_chosen", [])
    with Host() as host:
        host.load_module("MedImageParse", MODULE)
        beside = Path(slicer.app.slicerUserSettingsFilePath).parent
        assert configuration.configuration_folder() == beside / "MedImageParse"
        host.reload_module()
        from MedImageParseLib import configuration as again

        assert again is not configuration
        assert again.configuration_folder() == beside / "MedImageParse"
        assert host.slot_errors == []
