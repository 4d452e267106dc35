"""Slicer segmentation files (.seg.nrrd), written as Slicer's own storage node writes them; a test reads them by that node.

The file covers the whole grid of the volume, so that any NRRD reader, SimpleITK for instance, gets an array of the volume's size in the
volume's place. Segments that overlap lie in different layers: such a file has several values per voxel.

Format: https://apidocs.slicer.org/main/classvtkMRMLSegmentationStorageNode.html and its source. Neither Slicer nor VTK is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..imaging.layers import common_box, planes, share_layers
from ..imaging.volume import CroppedMask, Volume
from .nrrd import write_nrrd
from .write import check_writable, write_whole

SUFFIX = ".seg.nrrd"
_FASTEST = 1  # of gzip's levels: the background is nearly all of it, and goes at any level
_BINARY = "Binary labelmap"
_GEOMETRY = "Reference image geometry"
# What Slicer says of that parameter; it shows this text beside it.
_GEOMETRY_MEANS = (
    "Image geometry description string determining the geometry of the labelmap that is created in course of conversion. "
    "Can be copied from a volume, using the button."
)
# "Tissue", which every segment in Slicer starts with.
_ANY_TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)


@dataclass(slots=True)
class SegmentSpec:
    """One segment to be made.

    Attributes:
        name: shown to the person.
        mask: on the volume's own grid (kji).
        color: red, green, blue, 0..1.
        terminology: Slicer's serialized terminology entry (see prompts.catalogue.Target.terminology_entry); empty leaves what Slicer gives
            every new segment ("Tissue").
        tags: what made it, kept with the segment by its name, e.g. {"MedImageParse.Model": "medimageparse3d"}.
    """

    name: str
    mask: CroppedMask
    color: tuple[float, float, float]
    terminology: str = ""
    tags: dict[str, str] = field(default_factory=dict)


def check_segmentation_path(path: str | os.PathLike) -> Path:
    """Make sure, before anything is computed or sent, that a segmentation can be written there.

    Raises:
        UsageError: another ending than .seg.nrrd, or as `write.check_writable`.
    """
    path = Path(path).expanduser()
    if not path.name.lower().endswith(SUFFIX) or len(path.name) == len(SUFFIX):
        raise UsageError(
            "The segmentation's name must end with {suffix}, which '{name}' does not; for a labelmap use --labels.",
            suffix=SUFFIX,
            name=path.name,
            code="segmentation-name",
        )
    return check_writable(path)


def plain_tag(value: str) -> str:
    """A tag's value as a segmentation file can hold it: on one line, and without the | that separates tags there."""
    return " ".join(value.replace("|", "/").split())


def write_segmentation(path: str | os.PathLike, volume: Volume, specs: Sequence[SegmentSpec]) -> Path:
    """Write masks of a volume as a Slicer segmentation. The file appears whole or not at all.

    Args:
        path: ends in .seg.nrrd; the folder must exist.
        volume: the volume that the masks lie on; its geometry may be oblique, left-handed or sheared.
        specs: segments in this order; empty masks are left out. No segment at all gives a valid file with the volume's grid.

    Returns:
        the path written.

    Raises:
        UsageError: another ending, a folder that is not there or cannot be written to, a full disk, a mask of another size than the volume.
    """
    path = check_segmentation_path(path)
    for spec in specs:
        if tuple(spec.mask.shape_kji) != volume.shape_kji:
            raise UsageError("The mask \"{name}\" is not on the volume's grid; give masks of the volume's size.", name=spec.name)
    trimmed = [(spec, spec.mask.trimmed()) for spec in specs]
    present = [spec for spec, mask in trimmed if mask.voxels.size]
    masks = [mask for _spec, mask in trimmed if mask.voxels.size]
    shared = share_layers(masks)
    fields = _segments(present, masks, shared) | _segmentation(volume, bool(present))
    write_whole(
        path,
        lambda file: write_nrrd(
            file,
            planes(masks, shared, volume.shape_kji),
            np.dtype(np.uint8),
            volume.shape_kji,
            volume.ijk_to_ras,
            layers=len(shared) or 1,
            fields=fields,
            level=_FASTEST,
        ),
    )
    return path


def _segments(present: Sequence[SegmentSpec], masks: list[CroppedMask], shared: list[list[int]]) -> dict[str, str]:
    """The header's entries of each segment."""
    place = {number: (layer, label) for layer, members in enumerate(shared) for label, number in enumerate(members, start=1)}
    # Slicer cuts a layer to the extent of its first segment, so that all segments of a layer state the layer's.
    extents = [_extent([masks[number] for number in members]) for members in shared]
    fields: dict[str, str] = {}
    for number, structure in enumerate(present):
        layer, label = place[number]
        entries = {
            "Color": " ".join(f"{part:.6g}" for part in structure.color),
            "ColorAutoGenerated": "0",
            "Extent": extents[layer],
            "ID": f"Segment_{number + 1}",
            "LabelValue": str(label),
            "Layer": str(layer),
            "Name": structure.name,
            "NameAutoGenerated": "0",
            "Tags": _tags(structure.tags, structure.terminology),
        }
        fields |= {f"Segment{number}_{key}": value for key, value in entries.items()}
    return fields


def _segmentation(volume: Volume, has_segments: bool) -> dict[str, str]:
    """The header's entries of the whole; the reference geometry keeps the volume's grid for segments that are drawn later."""
    matrix = np.asarray(volume.ijk_to_ras, dtype=float)
    corners = [corner for size in volume.shape_kji[::-1] for corner in (0, size - 1)]
    geometry = "".join(f"{value};" for value in [*(repr(float(value) + 0.0) for value in matrix.ravel()), *corners])
    return {
        "Segmentation_ContainedRepresentationNames": f"{_BINARY}|" if has_segments else "",
        "Segmentation_ConversionParameters": f"{_GEOMETRY}|{geometry}|{_GEOMETRY_MEANS}&",
        "Segmentation_MasterRepresentation": _BINARY,
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }


def _extent(masks: list[CroppedMask]) -> str:
    return " ".join(f"{part.start} {part.stop - 1}" for part in common_box(masks)[::-1])


def _tags(tags: Mapping[str, str], terminology: str) -> str:
    every = {name: plain_tag(value) for name, value in tags.items()} | {"TerminologyEntry": terminology or _ANY_TISSUE}
    return "".join(f"{name}:{value}|" for name, value in sorted(every.items()))
