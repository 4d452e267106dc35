"""The Segment Editor that the person may have open on the segmentation that a run goes into."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

EFFECT = "Text prompt"


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


def runAgainInEditor(choices: dict[str, Any]) -> str:
    """Run a run of the effect "Text prompt" again, in the Segment Editor with everything chosen as it was.

    Args:
        choices: of the run's RunRecord.

    Returns:
        why that cannot be, "" where it runs.
    """
    segmentationNode, volumeNode = (slicer.mrmlScene.GetNodeByID(choices[role]) for role in ("Segmentation", "Volume"))
    if segmentationNode is None or volumeNode is None:
        return _("The volume or the segmentation of this run is no longer in the scene.")
    if choices["Into"] == "selected" and segmentationNode.GetSegmentation().GetSegment(choices["Segment"]) is None:
        return _("The segment of this run was deleted. Select another one in the Segment Editor, and run there.")
    editIn(segmentationNode, volumeNode, choices["Segment"])
    editor = slicer.modules.SegmentEditorWidget.editor
    effect = editor.effectByName(EFFECT)
    if effect is None:
        return _("The Segment Editor has no effect Text prompt. Install the extension again for this version of Slicer.")
    editor.setActiveEffectByName(EFFECT)
    effect.self().box.runAgain(choices)
    return ""
