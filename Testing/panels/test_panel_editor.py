"""The panel beside the Segment Editor and beside Slicer's own settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")


class Editor:
    """The two things of qMRMLSegmentEditorWidget that matter here, with the real history of segments behind them."""

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
