"""The Segment Editor that the person may have open on the segmentation that a run goes into."""

from __future__ import annotations

from typing import Any

import slicer


def saveEditorState(segmentationNode: Any) -> None:
    """Let one Ctrl+Z in the Segment Editor take back what is about to be changed; does nothing where it edits something else.

    Only an editor that has been opened has a history; asking the module for its widget would make one, so its attribute is looked at.
    """
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)
    editor = getattr(widget, "editor", None)
    if editor is not None and segmentationNode is not None and editor.segmentationNode() is segmentationNode:
        editor.saveStateForUndo()
