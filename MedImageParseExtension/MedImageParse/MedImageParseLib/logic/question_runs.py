"""Questions to an index or about an image, as Jobs: similar images, labels, outliers, and what an index holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..imaging.geometry import SliceView
from ..imaging.regions import Region
from ..imaging.volume import Volume, three
from ..progress import Cancellation, Progress
from ..remedies import Sentence
from ..scene.geometry import regionFromRoi, regionFromSegment
from ..search.index import EmbeddingIndex, Study
from ..search.labels import LabelCounts
from ..search.records import Provenance, series_name
from ..tasks.find_similar import SearchResult
from .guard import RunGuard, borrowVolume
from .jobs import Job
from .runs import Connecting


@dataclass(slots=True, frozen=True)
class IndexSummary:
    """What an index holds.

    Attributes:
        path: of the file. exists: whether there is one.
        bytes: its size. images: how many vectors.
        studies: volumes and pictures, in the order in which they came.
        label_sets: the sets of labels, and how many places have each label.
    """

    path: str
    exists: bool = False
    bytes: int = 0
    images: int = 0
    studies: tuple[Study, ...] = ()
    label_sets: tuple[LabelCounts, ...] = ()


@dataclass(slots=True)
class Question:
    """What the worker gets of a volume.

    Attributes:
        image: the shallow copy that keeps the voxels' memory. region: "" for the whole slice.
    """

    volume: Volume
    image: Any
    region: str = ""


@dataclass(slots=True, frozen=True)
class Query:
    """What to look for: the slice of a volume (a part of it where the question has a region), or a text.

    Attributes:
        other_volumes: leave out what comes from the same volume.
    """

    index: str
    text: str = ""
    plane: str = "axial"
    slice_index: int = 0
    top: int = 10
    other_volumes: bool = False


def summarize(path: str) -> IndexSummary:
    """What is in an index; an absent one is empty. In the worker.

    Raises:
        IndexFault: damaged, of a newer version, or no index at all.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path) or not os.path.getsize(path):
        return IndexSummary(path)
    with EmbeddingIndex.open(path, create=False) as index:
        studies = index.studies()
        images = sum(study.images for study in studies)
        return IndexSummary(path, True, os.path.getsize(path), images, tuple(studies), tuple(index.label_sets()))


class VolumeQuestion:
    """A Job about a volume node: its voxels go to the worker without a copy, and the answer is dropped where the volume is no more.

    Args:
        region: a region of interest (ROI) node, or (segmentation node, segment ID), or None.
        answer: answer(question, progress, cancellation) in the worker.
    """

    def __init__(self, title: str, volumeNode: Any, region: Any, answer: Any):
        self._volumeNode, self._region = volumeNode, region
        self._guard = RunGuard(volumeNode)
        self.job = Job(title, prepare=self._prepare, work=answer, stale=self._guard.whyStale, ended=lambda _job: self._guard.release())

    def _prepare(self) -> Question:
        self._guard.noteVolume()
        borrowed = borrowVolume(self._volumeNode)
        return Question(borrowed.volume, borrowed.image, self._regionText(borrowed.volume))

    def _regionText(self, volume: Volume) -> str:
        if self._region is None:
            return ""
        if isinstance(self._region, tuple):
            segmentationNode, segmentId = self._region
            return regionFromSegment(segmentationNode, segmentId, self._volumeNode, volume)
        return regionFromRoi(self._region, self._volumeNode, volume)


def find(query: Query, question: Question | None, connecting: Connecting, progress: Progress, cancellation: Cancellation) -> SearchResult:
    """The worker's half of a search: the index is open only here."""
    from ..tasks.embed import MODEL
    from ..tasks.find_similar import search_image, search_text

    progress("searching", 0, 0)
    common: dict = {"top": query.top, "progress": progress, "cancellation": cancellation}
    with EmbeddingIndex.open(query.index, create=False) as index, connecting.open(MODEL, cancellation) as client:
        if question is None:
            return search_text(index, query.text, client, **common)
        if question.region:
            return _search_region(index, question, client, query, progress, cancellation)
        slices = [0] if question.volume.is_picture else [query.slice_index]
        return search_image(index, question.volume, client, slices=slices, plane=query.plane, other_volumes=query.other_volumes, **common)


def _search_region(
    index: EmbeddingIndex, question: Question, client: Any, query: Query, progress: Progress, cancellation: Cancellation
) -> SearchResult:
    """Ask with a part of a slice, windowed as the whole volume is: what the index holds was windowed so."""
    from ..tasks.embed import MODEL, Embedder, Selection, embed_volume
    from ..tasks.find_similar import choose_space, require_same_model
    from ..tasks.preprocessing import Preprocessing, make_thumbnail, window_of
    from ..tasks.run import RunLog

    volume = question.volume
    part = partOfSlice(volume, question.region, query.plane, query.slice_index)
    log = RunLog(MODEL, progress, cancellation)
    space = choose_space(index, client, None, log)
    recipe = Preprocessing.parse(space.preprocessing)
    if recipe is None or recipe.pool != "none":
        raise UsageError("The index holds whole volumes or is of another recipe, so a part of a slice cannot be compared; index slices.")
    window = window_of(volume, recipe.window)
    setting = f"{window.low:.9g},{window.high:.9g}" if window.changes_values and window.low < window.high else "auto"
    embedder = Embedder(client, log, progress=progress)
    pictures, vectors = embed_volume(part, embedder, Preprocessing(setting, recipe.fit), Selection("all", plane=query.plane))
    found = Provenance(space.model, space.deployment, embedder.engine or "", space.preprocessing)
    require_same_model(index, found, embedder)
    excluded = series_name(volume.voxels, volume.ijk_to_ras) if query.other_volumes else ""
    hits = index.search(vectors[0], provenance=found, top=query.top, exclude_series=excluded)
    report = log.report(volume, client, recipe.window, query={"plane": query.plane, "slices": [query.slice_index], "text": None})
    detail = Sentence("a part of {plane}, slice {slice_index}", plane=query.plane, slice_index=query.slice_index)
    return SearchResult(hits, found, make_thumbnail(pictures[0].pixels), detail, report.as_dict())


def partOfSlice(volume: Volume, region: str, plane: str, index: int) -> Volume:
    """The part of one slice that lies in a region, as a volume of one slice.

    Raises:
        UsageError: the region does not reach this slice.
    """
    box = Region.parse(region, volume.shape_kji)
    axis = SliceView.of(volume, plane).axes.order[0]
    start, stop = list(box.start_kji), list(box.stop_kji)
    if not start[axis] <= index < stop[axis]:
        raise UsageError(
            "The region does not reach slice {index}: it spans slices {start} to {value}; go to one of these.",
            index=index,
            start=start[axis],
            value=stop[axis] - 1,
        )
    start[axis], stop[axis] = index, index + 1
    part = Region(three(start), three(stop))
    voxels = np.ascontiguousarray(part.crop(volume.voxels))
    return Volume(voxels, part.cropped_matrix(volume.ijk_to_ras), volume.modality, volume.is_picture)
