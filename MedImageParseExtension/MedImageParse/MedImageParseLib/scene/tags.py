"""What is kept with a segment: who made it, as tags that stay in a scene, in a .seg.nrrd, and when it is renamed or copied, with a line on its
node; and the standard codes of what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..files.segmentation import plain_tag

TAG = "MedImageParse."
TAGS = tuple(f"{TAG}{name}" for name in ("Prompt", "Model", "Engine", "Endpoint", "Window", "RequestId", "Date", "Version"))
_MOST_LINES = 20


def setTags(segment: Any, tags: Mapping[str, str]) -> None:
    """Keep tags with a vtkSegment; those of ours that an earlier run left there go."""
    for name in TAGS:
        if tags and segment.HasTag(name):
            segment.RemoveTag(name)
    for name, value in tags.items():
        segment.SetTag(name, plain_tag(value))


def tagsOf(segment: Any) -> dict[str, str]:
    """What a vtkSegment says of who made it: the tags of ours that it has, by name."""
    import vtk

    found = {}
    for name in TAGS:
        value = vtk.reference("")
        if segment.GetTag(name, value):
            found[name] = str(value)
    return found


def noteMaker(node: Any, line: str) -> None:
    """Add who made something in it to a node's description, which Slicer's Data module shows; a line that is there is not added again."""
    lines = [each for each in (node.GetDescription() or "").splitlines() if each]
    if line and line not in lines:
        node.SetDescription("\n".join([*lines, line][-_MOST_LINES:]))


def setTerminology(segment: Any, entry: str) -> None:
    """Store a serialized entry with a vtkSegment; an empty one removes what is there."""
    if hasattr(segment, "SetTerminology"):
        segment.SetTerminology(entry)
    else:  # Slicer before 5.9
        segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
