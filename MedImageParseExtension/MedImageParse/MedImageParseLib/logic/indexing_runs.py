"""Putting images into an index as a Job: what the main thread gathers, and what the worker does with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..configuration import configuration_folder
from ..errors import InputError, MedImageParseError, UsageError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress
from ..remedies import Sentence
from ..scene.session import hierarchyItem, importSlicer
from ..scene.volumes import volumeFromNode
from ..tasks.indexing import IndexingOptions, IndexingResult, Source
from . import guard
from .jobs import Job
from .runs import Connecting

INDEX_FILE = "images.index"
DICOM_SOURCE = "dicom:"  # what a record's source begins with where it is a series of the DICOM database
NO_DATABASE = "There is no DICOM database open in Slicer; open one in the DICOM module."
_STALE = {
    guard.SCENE_CLOSED: "The scene was closed while it was being indexed; what had been stored is kept.",
    guard.VOLUME_DELETED: "The volume was deleted while it was being indexed; what had been stored is kept.",
    guard.VOLUME_CHANGED: "The volume was changed while it was being indexed; what had been stored is kept. Index it again.",
}
_SERIES_NUMBER, _SERIES_NAME = "0020,0011", "0008,103E"


def defaultIndexPath() -> str:
    """The index of a person who has chosen no other: in the folder of the person's own settings."""
    return str(configuration_folder() / INDEX_FILE)


def readyForWriting(path: str) -> str:
    """The path, its folder made where it is the default one's. Raises UsageError where nothing can be written there."""
    from ..files.write import check_writable

    path = os.path.abspath(os.path.expanduser(path))
    if path == os.path.abspath(defaultIndexPath()):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return str(check_writable(path))


@dataclass(slots=True)
class Gathered:
    """What the worker gets: inputs that are read when their turn comes, and what keeps their voxels in memory.

    Attributes:
        nodeIds: for volumes of the scene, the node behind each source.
        images: shallow copies; to be let go of on the main thread.
        folder: to be looked through by the worker, "" where the sources are known already.
    """

    sources: list[Source] = field(default_factory=list)
    nodeIds: list[str] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    folder: str = ""


class IndexingRun:
    """The main thread's half of indexing. `job` is what to put into a queue.

    Args:
        title: for the person.
        gather: gives what to index, on the main thread, when the job's turn comes.
        volumeNodes: must stay as they are meanwhile; none where no node takes part.
        index: path of the index.
        remember: remember(series, nodeId) for each volume that was indexed.
    """

    def __init__(
        self,
        title: str,
        gather: Callable[[], Gathered],
        volumeNodes: list,
        index: str,
        options: IndexingOptions,
        connecting: Connecting,
        remember: Callable[[str, str], object],
    ):
        self._gather, self._index, self._options, self._connecting = gather, index, options, connecting
        self._remember = remember
        self._guards = [guard.RunGuard(node) for node in volumeNodes]
        self._nodeIds: list[str] = []
        self.job = Job(title, prepare=self._prepare, work=self._work, finish=self._finish, stale=self._whyStale, ended=self._ended)

    def _prepare(self) -> Gathered:
        for each in self._guards:
            each.noteVolume()
        gathered = self._gather()
        self._nodeIds = gathered.nodeIds
        return gathered

    def _work(self, gathered: Gathered, progress: Progress, cancellation: Cancellation) -> IndexingResult:
        from ..api.sources import find_sources
        from ..tasks.embed import MODEL
        from ..tasks.indexing import embed_sources
        from ..tasks.sinks import IndexSink

        progress("reading", 0, 0)
        sources = find_sources(gathered.folder) if gathered.folder else gathered.sources
        cancellation.check()
        sink = IndexSink(readyForWriting(self._index))
        try:
            with self._connecting.open(MODEL, cancellation) as client:
                return embed_sources(sources, client, sink, self._options, progress=progress, cancellation=cancellation)
        finally:
            sink.close()

    def _finish(self, result: IndexingResult) -> IndexingResult:
        for nodeId, tally in zip(self._nodeIds, result.tallies):
            if tally.series:
                self._remember(tally.series, nodeId)
        return result

    def _whyStale(self) -> str:
        why = next(filter(None, (each.whyStale() for each in self._guards)), "")
        return _STALE.get(why, why)

    def _ended(self, _job: Job) -> None:
        for each in self._guards:
            each.release()


def gatherVolumes(volumeNodes: list) -> Gathered:
    """Volumes of the scene, their voxels not copied. One that holds no numbers is a source whose reading says so."""
    gathered = Gathered()
    for node in volumeNodes:
        name, path = whereFrom(node)
        try:
            borrowed = guard.borrowVolume(node)
        except InputError as error:
            gathered.sources.append(Source(name, path, _failing(error)))
        else:
            gathered.images.append(borrowed.image)
            gathered.sources.append(Source(name, path, _given(borrowed.volume)))
        gathered.nodeIds.append(node.GetID())
    return gathered


def gatherDatabase(database: Any) -> Gathered:
    """Every series of Slicer's DICOM database. Main thread: the database belongs to it.

    Names are the series' description and number; nothing of the patient is asked for.

    Raises:
        InputError: there is no database, or it holds no series.
    """
    gathered = Gathered()
    gathered.sources += [_seriesSource(database, series, files) for series, files in databaseSeries(database)]
    if not gathered.sources:
        raise InputError("The DICOM database holds no series yet; import some in the DICOM module.")
    return gathered


def databaseSeries(database: Any) -> list[tuple[str, list[str]]]:
    """UID and sorted files of each series that has some, patient by patient.

    Args:
        database: Slicer's DICOM database, or None. Main thread: the database belongs to it.

    Raises:
        InputError: there is no database.
    """
    if database is None or not database.isOpen:
        raise InputError(NO_DATABASE)
    found = []
    for patient in database.patients():
        for study in database.studiesForPatient(patient):
            for series in database.seriesForStudy(study):
                if files := sorted(database.filesForSeries(series)):
                    found.append((series, files))
    return found


def seriesName(database: Any, file: str) -> str:
    """What a series is called by number and description; nothing of the patient is asked for.

    Args:
        database: Slicer's DICOM database.
        file: any of the series.
    """
    number, words = (str(database.fileValue(file, tag) or "").strip() for tag in (_SERIES_NUMBER, _SERIES_NAME))
    return f"{number}: {words}" if number and words else words or (Sentence("series {number}", number=number) if number else "DICOM series")


def whereFrom(volumeNode: Any) -> tuple[str, str]:
    """(name for people, where to find it again: a file's path, "dicom:" and a series' UID, or "")."""
    uid = _seriesUid(volumeNode)
    if uid:
        return volumeNode.GetName() or "", DICOM_SOURCE + uid
    storage = volumeNode.GetStorageNode()
    path = (storage.GetFileName() if storage is not None else "") or ""
    return (os.path.basename(path), os.path.abspath(path)) if path else (volumeNode.GetName() or "", "")


def openDatabase() -> Any:
    """Slicer's DICOM database, None where there is none or it is not open."""
    database = getattr(importSlicer(), "dicomDatabase", None)
    return database if database is not None and database.isOpen else None


def _seriesUid(volumeNode: Any) -> str:
    """UID of the DICOM series that a node was loaded from, by its item in the subject hierarchy or by its first instance."""
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not instances:
        return ""
    hierarchy, item = hierarchyItem(volumeNode)
    uid = hierarchy.GetItemUID(item, "DICOM") if item else ""
    database = openDatabase()
    return uid or (database.instanceValue(instances[0], "0020,000E") if database is not None else "") or ""


def _seriesSource(database: Any, series: str, files: list[str]) -> Source:
    from ..files.dicom import read_dicom

    name = seriesName(database, files[0])

    def read() -> tuple:
        warnings: list[str] = []
        return read_dicom([Path(file) for file in files], Sentence('The series "{name}"', name=name), warnings), warnings

    return Source(name, DICOM_SOURCE + series, read)


def _given(volume: Volume) -> Callable[[], tuple[Volume, list[str]]]:
    return lambda: (volume, [])


def _failing(error: MedImageParseError) -> Callable[[], tuple]:
    def read() -> tuple:
        raise error

    return read


def checkedNodes(volumeNodes: Any) -> list:
    """The nodes as a list. Raises UsageError where there is none, InputError where the only one holds no voxels."""
    nodes = list(volumeNodes) if isinstance(volumeNodes, (list, tuple)) else [volumeNodes]
    if not nodes:
        raise UsageError("Name at least one volume to index.")
    if len(nodes) == 1:
        volumeFromNode(nodes[0], copy=False)
    return nodes
