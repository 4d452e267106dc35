"""MedImageInsightLogic: finding similar images from Slicer's Python console, and what the panel's second tab stands on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..imaging.geometry import check_plane
from ..models import VECTORS
from ..progress import Cancellation, Progress
from ..tasks.indexing import IndexingOptions, IndexingResult
from .adapter_runs import ImagePage, askIndex, askVolume, labelPlaces, pageOf
from .base import JobLogic
from .indexing_runs import Gathered, IndexingRun, checkedNodes, defaultIndexPath, gatherDatabase, gatherVolumes, openDatabase
from .jobs import YIELD_S, Job, JobQueue
from .opening import OpenedImage, openRecord
from .question_runs import IndexSummary, Query, Question, VolumeQuestion, find, summarize
from .runs import Connecting

if TYPE_CHECKING:
    from ..api.adapters import AppliedResult
    from ..search.label_sets import Label
    from ..tasks.adapters import AdapterResult
    from ..tasks.classify import ClassificationResult
    from ..tasks.find_similar import SearchResult
    from ..tasks.outliers import OutlierResult

_MODEL = VECTORS.name


class MedImageInsightLogic(JobLogic):
    """Indexes volumes, finds similar images, compares images with labels, and ranks outliers. Use it on the main thread.

    Every method waits for the answer, and raises a MedImageParseError with one sentence where there is none. Given a `callback`, it
    returns a Job at once instead; then something has to call `poll()` every few milliseconds (the module's panel does, a script may), and
    `callback(job)` is called when the job has ended: look at job.state, job.result and job.sentence.

    Common arguments: `index`, the path of the index file (default: one in the folder of the person's settings, see `defaultIndexPath`);
    `endpoint`, a scoring URL, or `profile`, a stored profile's name, or `client`, a connection; and further options of
    transport.connection.connect (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent). Changes of the index wait
    for one another; questions do not wait for them.

    Args:
        onChange: called with a Job whenever something about it has changed.
        yieldSeconds: how long a poll sleeps while a worker is busy, see jobs.queue.

    Example (all slices of a volume into an index, then the slices that look most like slice 4):
        >>> logic = MedImageInsightLogic()
        >>> done = logic.indexVolumes(volumeNode, index=path, endpoint=url)
        >>> done.embedded, done.already_there
        (12, 0)
        >>> result = logic.findSimilar(volumeNode, sliceIndex=4, index=path, endpoint=url, top=3)
        >>> [hit.record.slice_index for hit in result.hits][0]
        4

    Example (go to what was found):
        >>> opened = logic.openHit(result.hits[1])
        >>> opened.volumeNode is volumeNode, opened.isNew
        (True, False)

    Example (going on while the model works; what is in the index already is not sent again):
        >>> job = logic.indexVolumes(volumeNode, index=path, endpoint=url, callback=lambda job: print(job.state, job.result.already_there))
        >>> while not logic.isIdle:
        ...     logic.poll()
        done 12
        >>> logic.close()
    """

    def __init__(self, *, onChange: Callable[[Job], object] | None = None, yieldSeconds: float = YIELD_S):
        self._storing = JobQueue(onChange, yieldSeconds)
        self._asking = JobQueue(onChange, yieldSeconds)
        super().__init__(self._storing, self._asking, model=_MODEL)
        self._known: dict[str, str] = {}  # series: ID of the node that it was indexed from in this session

    # --- the index ---------------------------------------------------------------------------------------------------

    @staticmethod
    def defaultIndexPath() -> str:
        """Where the index is unless another file is named."""
        return defaultIndexPath()

    def indexVolumes(
        self, volumeNodes: Any, *, index: str = "", plane: str = "auto", every: int = 1, onlyContent: bool = False,
        thumbnails: bool = True, paths: bool = True, slices: str = "all", callback: Callable[[Job], object] | None = None, cancellation: Cancellation | None = None,
        **connection: Any,
    ) -> IndexingResult | Job:  # fmt: skip
        """Put slices of volumes of the scene into an index; what is in it already is not sent again.

        Args:
            volumeNodes: one volume node or several.
            index: the index file; "" for the one in the settings folder.
            plane: which slices: "axial", "coronal", "sagittal", or "auto" for the volume's own plane.
            slices: "all", one index, or a range such as "10:20" (end not included).
            every: each n-th slice of those.
            onlyContent: leave out slices that show nothing.
            thumbnails: keep a small picture of each slice.
            paths: keep names, and where the volume can be found again.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            connection: where to send and how to sign in: endpoint, profile or client, and further options of `connect`.

        Returns:
            tasks.indexing.IndexingResult: `.embedded`, `.already_there`, `.tallies`, `.failure`.

        Raises:
            UsageError, InputError: at once, where nothing needs to be sent to know. MedImageParseError, Cancelled, Dropped: what had
            been stored by then is kept, and the next run goes on from there.
        """
        options = _options(plane, every, onlyContent, thumbnails, paths, slices)
        nodes = checkedNodes(volumeNodes)
        return self._index("Index", lambda: gatherVolumes(nodes), nodes, index, options, connection, callback, cancellation)

    def indexFolder(
        self, path: str | os.PathLike, *, index: str = "", plane: str = "auto", every: int = 1, onlyContent: bool = False,
        thumbnails: bool = True, paths: bool = True, callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None, **connection: Any,
    ) -> IndexingResult | Job:  # fmt: skip
        """Put every image below a folder into an index; nothing is loaded into the scene. Other arguments: see indexVolumes.

        Args:
            path: a folder (image files and folders of DICOM files in it and below), or one file.
            index: the index file; "" for the one in the settings folder.
            plane: as for indexVolumes.
            every: as for indexVolumes.
            onlyContent: as for indexVolumes.
            thumbnails: as for indexVolumes.
            paths: as for indexVolumes.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            connection: where to send and how to sign in: endpoint, profile or client, and further options of `connect`.
        """
        options = _options(plane, every, onlyContent, thumbnails, paths)
        folder = os.path.abspath(os.path.expanduser(path))
        return self._index("Index a folder", lambda: Gathered(folder=folder), [], index, options, connection, callback, cancellation)

    def indexDatabase(
        self, *, index: str = "", plane: str = "auto", every: int = 1, onlyContent: bool = False, thumbnails: bool = True,
        paths: bool = True, callback: Callable[[Job], object] | None = None, cancellation: Cancellation | None = None, **connection: Any,
    ) -> IndexingResult | Job:  # fmt: skip
        """Put every series of Slicer's DICOM database into an index; nothing is loaded into the scene. Arguments: see indexVolumes."""
        options = _options(plane, every, onlyContent, thumbnails, paths)

        def gather() -> Gathered:
            return gatherDatabase(openDatabase())

        return self._index("Index the DICOM database", gather, [], index, options, connection, callback, cancellation)

    def describeIndex(
        self, *, index: str = "", callback: Callable[[Job], object] | None = None, cancellation: Cancellation | None = None
    ) -> IndexSummary | Job:
        """What an index holds: `.images`, `.bytes`, `.studies`; an index that is not there yet is empty."""
        path = index or defaultIndexPath()
        job = Job("Read the index", work=lambda _prepared, _progress, _cancellation: summarize(path))
        return self._start(self._storing, job, callback, cancellation)

    # --- questions ---------------------------------------------------------------------------------------------------

    def findSimilar(
        self, volumeNode: Any = None, *, sliceIndex: int = 0, plane: str = "axial", region: Any = None, text: str = "", top: int = 10,
        leaveOutVolume: bool = False, index: str = "", callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None, **connection: Any,
    ) -> SearchResult | Job:  # fmt: skip
        """The images of an index that are most like a slice, a part of a slice, or a text.

        Args:
            volumeNode: with `plane` and `sliceIndex` (along the volume's own array axis) the slice to ask with; or
            sliceIndex: which slice, along the volume's own array axis.
            plane: "axial", "coronal" or "sagittal", of that slice.
            text: such as "computed tomography abdomen liver" (not every endpoint reads text).
            region: a region of interest (ROI) node, or (segmentationNode, segmentID): only what lies in the box of it.
            top: how many.
            leaveOutVolume: not the slices of this very volume.
            index: the index file; "" for the one in the settings folder.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            connection: where to send and how to sign in: endpoint, profile or client, and further options of `connect`.

        Returns:
            tasks.find_similar.SearchResult: `.hits` with `.similarity` and `.record`, best first; openHit goes to one.
        """
        if (volumeNode is None) == (not text.strip()):
            raise UsageError("Say what to search for: a slice of a volume, or a text, one of the two.")
        if top < 1:
            raise UsageError("The number of results must be at least 1.")
        check_plane(plane)
        query = Query(index or defaultIndexPath(), text.strip(), plane, int(sliceIndex), int(top), leaveOutVolume)
        connecting = Connecting.of(connection)

        def answer(question: Question | None, progress: Progress, switch: Cancellation) -> SearchResult:
            return find(query, question, connecting, progress, switch)

        if volumeNode is None:
            job = Job("Similar to a text", work=answer)
        else:
            job = VolumeQuestion("Similar to a slice", volumeNode, region, answer).job
        return self._start(self._asking, job, callback, cancellation)

    def classify(
        self, volumeNode: Any, labels: str | Sequence[str | Label], *, plane: str = "auto", slices: str = "all", every: int = 1,
        onlyContent: bool = False, prefix: str = "", callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None, **connection: Any,
    ) -> ClassificationResult | Job:  # fmt: skip
        """Compare slices of a volume, and the volume as a whole, with labels, without training.

        Args:
            volumeNode: the volume.
            labels: labels one a line, a list of them (texts or search.label_sets.Label), or the name of a ready set such as "CT chest".
            plane: as for indexVolumes.
            slices: as for indexVolumes.
            every: as for indexVolumes.
            onlyContent: as for indexVolumes.
            prefix: begins each label's text, such as "x-ray chest anteroposterior".
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            connection: where to send and how to sign in: endpoint, profile or client, and further options of `connect`.

        Returns:
            tasks.classify.ClassificationResult: `.ranked` for the whole, `.slices` (slices, labels), `.indices`.
        """
        from ..tasks.embed import Selection

        check_plane(plane)
        chosen = labelsFrom(labels, prefix)
        selection = Selection(slices, every, onlyContent, plane)
        connecting = Connecting.of(connection)

        def answer(question: Question, progress: Progress, switch: Cancellation) -> ClassificationResult:
            from ..tasks.classify import classify

            with connecting.open(_MODEL, switch) as client:
                return classify(question.volume, chosen, client, selection=selection, progress=progress, cancellation=switch)

        return self._start(self._asking, VolumeQuestion("Classify", volumeNode, None, answer).job, callback, cancellation)

    def findOutliers(
        self, *, reference: Iterable[str] | None = None, by: str = "slice", neighbors: int = 1, index: str = "",
        callback: Callable[[Job], object] | None = None, cancellation: Cancellation | None = None,
    ) -> OutlierResult | Job:  # fmt: skip
        """Rank what is in an index by its distance to what is usual. Nothing is sent anywhere.

        Args:
            reference: what is usual: names (with * and ?), paths or series; None compares everything with everything else.
            by: "slice", or "study" for whole volumes.
            neighbors: over how many of the nearest members to average.
            index: the index file; "" for the one in the settings folder.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.

        Returns:
            tasks.outliers.OutlierResult: `.items`, the most unusual first; openHit goes to one.
        """
        path, names = index or defaultIndexPath(), None if reference is None else list(reference)

        def answer(_prepared: object, _progress: Progress, _switch: Cancellation) -> OutlierResult:
            from ..search.index import EmbeddingIndex
            from ..tasks.outliers import find_outliers

            with EmbeddingIndex.open(path, create=False) as opened:
                usual = [study.series for study in opened.studies()] if names is None else names
                return find_outliers(opened, usual, by=by, neighbors=neighbors, map_method="pca")

        return self._start(self._asking, Job("Outliers", work=answer), callback, cancellation)

    def trainAdapter(
        self, labels: str, output: str, *, index: str = "", callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None, **options: Any,
    ) -> AdapterResult | Job:  # fmt: skip
        """Learn a small head on the vectors of an index, and test it on patients that it has not seen. Nothing is sent anywhere.

        Args:
            labels: the set of labels, see MedImageParseLib.index_label.
            output: .npz to write.
            index: the index file; "" for the one in the settings folder.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            options: as for MedImageParseLib.adapter_train (kind, by, patients, only, weights, seed, picture, …).

        Returns:
            tasks.adapters.AdapterResult: `.head`, `.figures`, `.report`.
        """
        path = index or defaultIndexPath()

        def work(_prepared: object, progress: Progress, switch: Cancellation) -> AdapterResult:
            from ..api.adapters import adapter_train

            return adapter_train(path, labels=labels, output=output, progress=progress, cancellation=switch, **options)

        return self._start(self._asking, Job("Train adapter", work=work), callback, cancellation)

    def evaluateAdapter(
        self, adapter: str, *, index: str = "", callback: Callable[[Job], object] | None = None, cancellation: Cancellation | None = None,
        **options: Any,
    ) -> AdapterResult | Job:  # fmt: skip
        """Measure an adapter on an index. Options as for MedImageParseLib.adapter_evaluate (labels, part, patients, picture)."""
        path = index or defaultIndexPath()

        def work(_prepared: object, _progress: Progress, _switch: Cancellation) -> AdapterResult:
            from ..api.adapters import adapter_evaluate

            return adapter_evaluate(adapter, path, **options)

        return self._start(self._asking, Job("Evaluate adapter", work=work), callback, cancellation)

    def applyAdapter(
        self, adapter: str, volumeNode: Any = None, *, index: str = "", write: str = "", callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None, **connection: Any,
    ) -> AppliedResult | Job:  # fmt: skip
        """Ask an adapter about everything in an index, where nothing is sent, or about a volume, of which all slices are sent.

        Args:
            adapter: a file of trainAdapter.
            volumeNode: a volume node; None for the index.
            index: the index file; "" for the one in the settings folder.
            write: of the index: a set of labels in which the answers are kept.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            connection: where to send the slices of a volume; not needed for an index.

        Returns:
            api.adapters.AppliedResult: `.answers` with `.record` and `.ranked(labels)`, `.labels`.
        """
        if volumeNode is None:
            job = Job("Apply adapter", work=askIndex(adapter, index or defaultIndexPath(), write))
        else:
            job = VolumeQuestion("Apply adapter", volumeNode, None, askVolume(adapter, Connecting.of(connection))).job
        return self._start(self._asking, job, callback, cancellation)

    # --- labels ------------------------------------------------------------------------------------------------------

    def listImages(
        self, *, series: str = "", start: int = 0, count: int = 24, labels: str = "", index: str = "",
        callback: Callable[[Job], object] | None = None, cancellation: Cancellation | None = None,
    ) -> ImagePage | Job:  # fmt: skip
        """Images of an index, some at a time, with their labels in a set.

        Args:
            series: only those of this series; "" for all.
            start: how many to pass over.
            count: how many to give at most.
            labels: the set of labels to tell of, "" for none.
            index: the index file; "" for the one in the settings folder.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.

        Returns:
            adapter_runs.ImagePage: `.images` with `.record`, `.labels` by number, `.total`.
        """
        path = index or defaultIndexPath()
        job = Job("Show images", work=lambda _prepared, _progress, _switch: pageOf(path, series, start, count, labels))
        return self._start(self._asking, job, callback, cancellation)

    def labelImages(
        self, ids: Iterable[int], label: str, *, labels: str, index: str = "", callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None,
    ) -> int | Job:  # fmt: skip
        """Give images of an index a label; it takes the place of what they had in this set.

        Args:
            ids: numbers of the images, as in listImages.
            label: what is said of them.
            labels: the set of labels.
            index: the index file; "" for the one in the settings folder.
            callback: called with the Job when it has ended; without it the call waits for the result.
            cancellation: turned from any thread, it stops the run, also one that is waited for.

        Returns:
            how many places have it that had not.
        """
        path, chosen = index or defaultIndexPath(), [int(number) for number in ids]
        job = Job("Label images", work=lambda _prepared, _progress, _switch: labelPlaces(path, chosen, labels, label))
        return self._start(self._storing, job, callback, cancellation)

    def openHit(self, hit: Any) -> OpenedImage:
        """Go to what was found: the slice views show that slice. A volume that is not in the scene is loaded from where it was.

        Args:
            hit: one of SearchResult.hits or of OutlierResult.items, or a Record.

        Raises:
            InputError: the volume is not in the scene and cannot be found again; the sentence says why.
        """
        from ..scene.session import ensureScene

        record = getattr(hit, "record", hit)
        opened = openRecord(record, ensureScene(), self._known)
        self._known[record.series] = opened.volumeNode.GetID()
        return opened

    def _index(
        self, title: str, gather: Any, nodes: list, index: str, options: IndexingOptions, connection: dict, callback: Any, cancellation: Any
    ) -> IndexingResult | Job:
        run = IndexingRun(title, gather, nodes, index or defaultIndexPath(), options, Connecting.of(connection), self._known.__setitem__)
        return self._start(self._storing, run.job, callback, cancellation)


def labelsFrom(labels: str | Sequence[str | Label], prefix: str = "") -> list[Label]:
    """Labels from lines, a list, or the name of a ready set.

    Raises:
        UsageError: none, an empty one, one given twice.
    """
    from ..search.label_sets import Label, ready_sets
    from ..tasks.classify import make_labels

    if isinstance(labels, str):
        sets = {each.name.lower(): each for each in ready_sets()}
        if labels.strip().lower() in sets:
            return list(sets[labels.strip().lower()].labels)
        labels = [line for line in labels.splitlines() if line.strip()]
    return [label if isinstance(label, Label) else make_labels([label], prefix)[0] for label in labels]


def _options(plane: str, every: int, onlyContent: bool, thumbnails: bool, paths: bool, slices: str = "all") -> IndexingOptions:
    from ..tasks.embed import Selection

    check_plane(plane)
    if every < 1:
        raise UsageError("Every n-th slice needs n of at least 1.")
    return IndexingOptions(selection=Selection(slices, every, onlyContent, plane), thumbnails=thumbnails, paths=paths)
