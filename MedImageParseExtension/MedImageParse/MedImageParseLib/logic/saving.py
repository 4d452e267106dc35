"""What can be done with segments that are there: files for other programs, a table of what they measure, and how two segmentations agree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import InputError, UsageError
from ..files.collisions import check_outputs
from ..files.write import check_folder, check_writable, safe_file_stem
from ..models import MODEL_NAMES
from ..packages import require
from ..scene.masks import PlacedSegment, segmentsOnVolume
from ..scene.tables import tableFromColumns
from ..scene.tags import TAG
from ..scene.volumes import volumeFromNode
from .indexing_runs import DICOM_SOURCE, openDatabase, whereFrom

if TYPE_CHECKING:
    from ..cohort.labels import LabelSet
    from ..files.dicom_export import Maker

ENDINGS = {
    "dicomSeg": (".dcm",),
    "rtstruct": (".dcm",),
    "labels": (".nii.gz", ".nii", ".nrrd"),
    "statistics": (".csv", ".json"),
}


@dataclass(slots=True, frozen=True)
class SavedFiles:
    """What was written.

    Attributes:
        paths: of the files.
        warnings: sentences worth showing.
    """

    paths: list[str]
    warnings: list[str]


def saveResults(
    segmentationNode: Any,
    volumeNode: Any,
    *,
    dicomSeg: str = "",
    rtstruct: str = "",
    labels: str = "",
    masks: str = "",
    statistics: str = "",
) -> SavedFiles:
    """Write a segmentation in forms that other programs read, on the volume's grid. See MedImageParseLogic.saveResults."""
    given = {"dicomSeg": dicomSeg, "rtstruct": rtstruct, "labels": labels, "statistics": statistics}
    wanted = {name: check_writable(path, ENDINGS[name]) for name, path in given.items() if path}
    if not wanted and not masks:
        raise UsageError("Say what to write: a DICOM segmentation, a structure set, labelmaps or statistics.")
    if masks:
        check_folder(masks, "masks")
    placed = segmentsOnVolume(segmentationNode, volumeNode)
    found = [one for one in placed if one.mask.count]
    folder = {f"mask of {one.name} ({one.segmentId})": Path(masks) / f"{safe_file_stem(one.name)}.nii.gz" for one in found} if masks else {}
    check_outputs({**wanted, **folder}, _readFrom(volumeNode), [masks or None])
    volume = volumeFromNode(volumeNode)
    warnings: list[str] = []
    if "dicomSeg" in wanted:
        require("highdicom", "writing a DICOM segmentation")
    if "dicomSeg" in wanted or "rtstruct" in wanted:
        _writeDicom(wanted, volume, found, volumeNode)
    if "labels" in wanted:
        warnings += _writeLabels(wanted["labels"], volume, placed)
    if masks:
        from ..files.write import make_folder, write_mask

        make_folder(masks)
        for one in found:
            write_mask(Path(masks), one.name, one.mask.full(), volume, description=one.tags.get(f"{TAG}Engine", ""))
    if "statistics" in wanted:
        from ..cohort.statistics import describe, write_statistics

        write_statistics(wanted["statistics"], [(one.name, describe(volume, one.mask)) for one in placed])
    return SavedFiles([str(path) for path in (*wanted.values(), *folder.values())], warnings)


def statisticsTable(segmentationNode: Any, volumeNode: Any) -> Any:
    """A table node with a row a segment: voxels, millilitres, gray values, place."""
    from ..cohort.statistics import COLUMNS, as_row, describe

    volume = volumeFromNode(volumeNode, copy=False)
    rows = [as_row(one.name, describe(volume, one.mask)) for one in segmentsOnVolume(segmentationNode, volumeNode)]
    if not rows:
        raise UsageError("There is no segment to measure yet.")
    columns = [(title, [_cell(row[number], number == 0) for row in rows]) for number, title in enumerate(COLUMNS)]
    return tableFromColumns(f"{segmentationNode.GetName()} statistics", columns, segmentationNode.GetScene())


def evaluationTable(referenceNode: Any, predictionNode: Any, volumeNode: Any, protocol: str, tolerance: float) -> Any:
    """A table node with a row a structure: how well a segmentation fits a reference. See MedImageParseLogic.evaluate."""
    from ..cohort.evaluate import evaluate_pair

    volumeNode = volumeNode or _referenceVolume(referenceNode) or _referenceVolume(predictionNode)
    if volumeNode is None:
        raise UsageError("It is not known which volume these segmentations belong to; choose it.")
    reference, prediction = (_labelSet(node, volumeNode) for node in (referenceNode, predictionNode))
    name = predictionNode.GetName()
    evaluation = evaluate_pair(reference, prediction, case=name, protocol=protocol, tolerance_mm=tolerance)
    measures = ("dice", "nsd", "hd95_mm", "reference_ml", "prediction_ml", "sensitivity", "precision")
    columns: list[tuple[str, Sequence]] = [("structure", [row.structure for row in evaluation.rows])]
    for measure in measures:
        columns.append((measure, [float(getattr(row.overlap, measure)) for row in evaluation.rows]))
    table = tableFromColumns(f"{name} compared with {referenceNode.GetName()}", columns, predictionNode.GetScene())
    table.SetDescription("\n".join([f"Protocol {protocol}, tolerance {tolerance:g} mm.", *evaluation.warnings]))
    return table


def _labelSet(segmentationNode: Any, volumeNode: Any) -> LabelSet:
    from ..cohort.labels import LabelSet

    placed = segmentsOnVolume(segmentationNode, volumeNode)
    volume = volumeFromNode(volumeNode, copy=False)
    masks = {one.name: one.mask for one in placed}
    values = {name: number for number, name in enumerate(masks, start=1)}
    return LabelSet(volume.shape_kji, np.asarray(volume.ijk_to_ras, float), masks, values)


def _referenceVolume(segmentationNode: Any) -> Any:
    """The volume that a segmentation was made on, None where it does not say."""
    if segmentationNode is None:
        return None
    return segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())


def _cell(value: Any, isName: bool) -> Any:
    return value if isName else float("nan") if value is None else float(value)


def _readFrom(volumeNode: Any) -> list[str]:
    """The files that the volume was loaded from: nothing is written over them."""
    path = whereFrom(volumeNode)[1]
    return [path] if path and not path.startswith(DICOM_SOURCE) else []


def _writeLabels(path: Path, volume: Any, placed: list[PlacedSegment]) -> list[str]:
    from ..files.write import write_labels

    labels = np.zeros(volume.shape_kji, np.uint8 if len(placed) <= 255 else np.uint16)
    overlapped = False
    for number, one in enumerate(placed, start=1):
        part, inside = labels[one.mask.box], one.mask.voxels != 0
        overlapped |= bool(np.any(part[inside]))
        part[inside] = number
    engines = sorted({one.tags[f"{TAG}Engine"] for one in placed if f"{TAG}Engine" in one.tags})
    write_labels(path, labels, volume, description="; ".join(engines))
    return ["Some segments overlap; where they do, the labelmap keeps the later one."] if overlapped else []


def _writeDicom(wanted: dict[str, Path], volume: Any, found: list[PlacedSegment], volumeNode: Any) -> None:
    from ..files import dicom_export

    if not found:
        raise UsageError("There is no segment to write yet; DICOM objects cannot be empty.")
    source = dicom_export.find_source(_dicomFiles(volumeNode), volume)
    structures = [dicom_export.Structure(one.prompt, one.name, one.color, one.mask) for one in found]
    maker = _maker(found)
    if "dicomSeg" in wanted:
        dicom_export.write_dicom_seg(wanted["dicomSeg"], volume, structures, source, maker)
    if "rtstruct" in wanted:
        dicom_export.write_rtstruct(wanted["rtstruct"], volume, structures, source, maker)


def _dicomFiles(volumeNode: Any) -> Any:
    """The files of the series that a volume was loaded from, by the DICOM database or by where its file was."""
    source = whereFrom(volumeNode)[1]
    database = openDatabase()
    if source.startswith(DICOM_SOURCE):
        files = list(database.filesForSeries(source[len(DICOM_SOURCE) :])) if database is not None else []
        if files:
            return [Path(file) for file in files]
    elif source and os.path.exists(source):
        return Path(source)
    raise InputError(
        "DICOM results refer to the images of a DICOM series, and this volume was not loaded from one; save labelmaps instead."
    )


def _maker(found: list[PlacedSegment]) -> Maker:
    """Who made the segments, by their tags: one of our models, a local engine, or a person."""
    from ..files.dicom_export import Maker

    tagged = [one.tags for one in found if f"{TAG}Model" in one.tags]
    if not tagged:
        return Maker("3D Slicer segmentation", __version__, is_ai=False)
    models = [tags for tags in tagged if f"{TAG}Engine" not in tags]
    names = [MODEL_NAMES.get(tags[f"{TAG}Model"], tags[f"{TAG}Model"]) for tags in models] or [tags[f"{TAG}Engine"] for tags in tagged]
    return Maker("; ".join(sorted(set(names))), tagged[0].get(f"{TAG}Version", __version__), is_ai=bool(models))
