"""The Segment Editor that the person may have open on the segmentation that a run goes into."""

from __future__ import annotations

from typing import Any

import slicer


def openEditor(segmentationNode: Any) -> Any:
    """The Segment Editor's widget where it edits this segmentation, else None.

    Only an editor that has been opened has a history; asking the module for its widget would make one, so its attribute is looked at.
    """
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)
    editor = getattr(widget, "editor", None)
    if editor is not None and segmentationNode is not None and editor.segmentationNode() is segmentationNode:
        return editor
    return None


def saveEditorState(segmentationNode: Any) -> None:
    """Let one Ctrl+Z in the Segment Editor take back what is about to be changed; does nothing where it edits something else."""
    editor = openEditor(segmentationNode)
    if editor is not None:
        editor.saveStateForUndo()


def isThere() -> bool:
    """Whether this Slicer has a Segment Editor module."""
    return hasattr(slicer.modules, "segmenteditor")


def editIn(segmentationNode: Any, volumeNode: Any, segmentId: str = "") -> None:
    """Go to the Segment Editor with this segmentation, segment and volume chosen."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.SegmentEditorWidget.editor
    editor.setSegmentationNode(segmentationNode)
    if volumeNode is not None:
        editor.setSourceVolumeNode(volumeNode)
    if segmentId:
        editor.setCurrentSegmentID(segmentId)
