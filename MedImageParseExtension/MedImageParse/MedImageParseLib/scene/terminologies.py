"""Standard codes of what a segment is, written the way Slicer stores them with a segment."""

from __future__ import annotations

from typing import Any

Code = tuple[str, str, str]  # coding scheme, value, meaning: ("SCT", "10200004", "Liver")

GENERAL_ANATOMY = "Segmentation category and type - 3D Slicer General Anatomy list"
ANATOMIC_REGIONS = "Anatomic codes - DICOM master list"


def terminologyEntry(
    category: Code,
    type: Code,
    modifier: Code | None = None,
    *,
    region: Code | None = None,
    regionModifier: Code | None = None,
    context: str = GENERAL_ANATOMY,
) -> str:
    """The serialized terminology entry of a segment, as vtkSlicerTerminologiesModuleLogic writes and reads it.

    Args:
        category: what kind of thing it is, (coding scheme, code, meaning).
        type: what it is.
        modifier: which one of it (right, left), if that matters.
        region: where it is (a lesion's organ), if that matters.
        regionModifier: on which side of that region, if it has two.
        context: name of the terminology in which Slicer's selector looks the codes up.

    Examples:
        >>> terminologyEntry(("SCT", "123037004", "Anatomical Structure"), ("SCT", "10200004", "Liver")).split("~")[2]
        'SCT^10200004^Liver'
    """
    fields = (
        _plain(context),
        _triple(category),
        _triple(type),
        _triple(modifier),
        ANATOMIC_REGIONS,
        _triple(region),
        _triple(regionModifier),
    )
    return "~".join(fields)


def setTerminology(segment: Any, entry: str) -> None:
    """Store a serialized entry with a vtkSegment; an empty one removes what is there."""
    if hasattr(segment, "SetTerminology"):
        segment.SetTerminology(entry)
    else:  # Slicer before 5.9
        segment.SetTag(segment.GetTerminologyEntryTagName(), entry)


def terminologyOf(segment: Any) -> str:
    """The serialized entry stored with a vtkSegment, "" where there is none."""
    import vtk

    if hasattr(segment, "GetTerminology"):
        return segment.GetTerminology() or ""
    value = vtk.reference("")
    return str(value) if segment.GetTag(segment.GetTerminologyEntryTagName(), value) else ""


def _triple(code: Code | None) -> str:
    return "^".join(_plain(part) for part in code) if code else "^^"


def _plain(text: str) -> str:
    # ~ and ^ separate the entry's fields, | separates tags in a .seg.nrrd header.
    for separator in "~^|":
        text = text.replace(separator, " ")
    return " ".join(text.split())
