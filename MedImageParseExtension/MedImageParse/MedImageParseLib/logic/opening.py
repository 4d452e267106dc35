"""From a search result to the slice on the screen: the volume in the scene, or loaded from where it was. Main thread only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..scene.session import importSlicer
from ..scene.volumes import nodeFromVolume, seriesOf, showSlice, volumeNodes
from ..search.records import Record
from .indexing_runs import DICOM_SOURCE, NO_DATABASE, openDatabase, whereFrom


@dataclass(slots=True, frozen=True)
class OpenedImage:
    """Where the person was brought.

    Attributes:
        volumeNode: now in the slice views.
        position: that they went to, world coordinates (mm, RAS).
        isNew: it was loaded for this.
    """

    volumeNode: Any
    position: tuple[float, float, float]
    isNew: bool


def openRecord(record: Record, scene: Any, known: dict[str, str]) -> OpenedImage:
    """Go to the slice that a record describes; its volume is loaded where it is not in the scene.

    Args:
        record: of a search.
        scene: the vtkMRMLScene to show it in.
        known: series: ID of the node that was indexed under it in this session.

    Raises:
        InputError: neither in the scene nor to be found again; the sentence says why.
    """
    node, isNew = nodeOfRecord(record, scene, known), False
    if node is None:
        node, isNew = _load(record, scene), True
        if not _fits(node, record):
            raise InputError("{named} has another size than when it was indexed; index it again.", named=_named(record))
    plane, index = record.plane, record.slice_index
    if record.kind in ("volume", "study"):
        index = int(record.position.get("shown", 0))
    return OpenedImage(node, showSlice(node, plane if index >= 0 else "", index), isNew)


def nodeOfRecord(record: Record, scene: Any, known: dict[str, str]) -> Any:
    """The volume of a record in the scene, by what this session indexed, by its file, or by its voxels; None where it is not there."""
    node = scene.GetNodeByID(known[record.series]) if record.series in known else None
    if node is not None and _fits(node, record):
        return node
    fitting = [node for node in volumeNodes(scene) if _fits(node, record)]
    if record.source:
        node = next((node for node in fitting if whereFrom(node)[1] == record.source), None)
        if node is not None:
            return node
    return next((node for node in fitting if seriesOf(node) == record.series), None)


def _fits(node: Any, record: Record) -> bool:
    """Whether a volume has the size of what was indexed."""
    size = record.position.get("size_kji")
    image = node.GetImageData() if node is not None else None
    return image is not None and (not size or list(image.GetDimensions()[::-1]) == list(size))


def _load(record: Record, scene: Any) -> Any:
    source = record.source
    if not source:
        raise InputError(
            "{named} is not in the scene, and where it was is not kept in the index; load it and try again.", named=_named(record)
        )
    if source.startswith(DICOM_SOURCE):
        return loadSeries(source[len(DICOM_SOURCE) :], _named(record), scene)
    if not os.path.exists(source):
        raise InputError(
            "{named} is not in the scene, and its file is no longer where it was; load it and try again.", named=_named(record)
        )
    if os.path.isdir(source):
        return _loadFolder(source, str(record.position.get("dicom_series") or ""), scene)
    slicer = importSlicer()
    try:
        # One file: else Slicer would take neighbors with numbers in their names (photo1.png, photo2.png) for slices of one volume.
        return slicer.util.loadVolume(source, {"singleFile": True})
    except RuntimeError as error:
        raise InputError(
            "The file {basename} could not be loaded; look in the log for details.", basename=os.path.basename(source)
        ) from error


def _loadFolder(folder: str, series: str, scene: Any) -> Any:
    """A folder of DICOM files, or one series of several in it, read as when it was indexed, so that the slices have the same numbers."""
    from ..files.read import read_image

    volume, _warnings = read_image(Path(folder), series=series)
    return nodeFromVolume(volume, scene.GenerateUniqueName(os.path.basename(folder) or "DICOM"), scene)


def loadSeries(uid: str, named: str, scene: Any) -> Any:
    """Load a series of the DICOM database, by Slicer's own DICOM loader.

    Args:
        uid: of the series.
        named: what the sentences call it, such as 'The series "thin"'.
        scene: where it goes.

    Returns:
        the volume node.

    Raises:
        InputError: it cannot be loaded; the sentence says why.
    """
    database = openDatabase()
    if database is None:
        raise InputError(NO_DATABASE)
    if not database.filesForSeries(uid):
        raise InputError("{named} is no longer in the DICOM database; import it again.", named=named)
    try:
        from DICOMLib import DICOMUtils
    except ImportError as error:
        raise InputError("Slicer's DICOM module is not there, so the series cannot be loaded; load it yourself and try again.") from error
    loaded = [scene.GetNodeByID(nodeId) for nodeId in DICOMUtils.loadSeriesByUID([uid]) or ()]
    node = next((node for node in loaded if node is not None and node.IsA("vtkMRMLVolumeNode")), None)
    if node is None:
        raise InputError("{named} could not be loaded from the DICOM database; look in the log for details.", named=named)
    return node


def _named(record: Record) -> str:
    name = record.position.get("name")
    return f'"{name}"' if name else "The volume of this image"
