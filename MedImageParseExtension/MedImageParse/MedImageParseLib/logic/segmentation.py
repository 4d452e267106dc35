"""MedImageParseLogic: what a person calls in Slicer's Python console, and what the panel calls behind its buttons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import UsageError
from ..imaging.geometry import PLANES, check_plane
from ..models import SLICES, VOLUMES
from ..progress import Cancellation
from ..prompts import grammar
from ..scene.editing import EditorTarget
from ..scene.undo import redoLastImport, undoLastImport
from .base import JobLogic
from .jobs import YIELD_S, Job, JobQueue, nothing
from .many import Case, ManyRuns
from .runs import Connecting, RunResult, SegmentationRun, Target
from .saving import SavedFiles, evaluationTable, saveResults, statisticsTable

_WAIT_S = 0.002  # between two looks at a run that is waited for


class MedImageParseLogic(JobLogic):
    """Segments volume nodes with text prompts. Use it on the main thread.

    Every method that asks an endpoint waits for the answer, and raises a MedImageParseError with one sentence where there is none. Given
    a `callback`, it returns a Job at once instead; then something has to call `poll()` every few milliseconds (the module's panel does, a
    script may), and `callback(job)` is called when the job has ended, in whatever way: look at job.state, job.result and job.sentence.

    Options have the names and meanings of the command line's, and `connection` takes those of transport.connection.connect: auth, key_file,
    timeout, retries, ca_bundle, deployment, dialect, consent.

    Args:
        onChange: called with a Job whenever something about it has changed.
        yieldSeconds: how long a poll sleeps while the worker is busy, see jobs.queue.

    Example (a whole volume, waiting for it):
        >>> logic = MedImageParseLogic()
        >>> result = logic.segmentVolume(volumeNode, "lungs & bones & unicorn", endpoint=url)
        >>> [(row.name, row.state) for row in result.rows]
        [('lungs', 'found'), ('bones', 'found'), ('unicorn', 'absent')]
        >>> result.segmentationNode.GetSegmentation().GetNumberOfSegments()
        2

    Example (one slice, into the same segmentation, taken back again):
        >>> more = logic.segmentSlices(volumeNode, "body", slices="16", endpoint=url, segmentationNode=result.segmentationNode)
        >>> more.rows[0].state, more.segmentationNode.GetSegmentation().GetNumberOfSegments()
        ('found', 3)
        >>> logic.undoLastRun(result.segmentationNode)
        True

    Example (going on while the model works):
        >>> job = logic.segmentVolume(volumeNode, "liver", endpoint=url, callback=lambda job: print(job.state, job.result.rows[0].state))
        >>> while not logic.isIdle:
        ...     logic.poll()
        done found
        >>> logic.close()
    """

    def __init__(self, *, onChange: Callable[[Job], object] | None = None, yieldSeconds: float = YIELD_S):
        self._queue = JobQueue(onChange, yieldSeconds)
        super().__init__(self._queue)
        self._runs: dict[Job, SegmentationRun] = {}

    # --- segmenting --------------------------------------------------------------------------------------------------

    def segmentVolume(
        self,
        volumeNode: Any,
        prompts: str | Iterable[str],
        *,
        endpoint: str | None = None,
        profile: Any = None,
        client: Any = None,
        segmentationNode: Any = None,
        overlap: str = "allow",
        onExisting: str = "add",
        window: str = "auto",
        slabs: str | int = "auto",
        region: Any = "",
        group: str = "auto",
        instances: float | None = None,
        beforeChange: Callable[[], object] | None = None,
        editing: EditorTarget | None = None,
        callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None,
        **connection: Any,
    ) -> RunResult | Job:
        """Find each prompt's structure in a whole volume, with MedImageParse 3D.

        Args:
            volumeNode: scalar or color volume, of any orientation, under any transform.
            prompts: "A & B", lines, or a list of such.
            endpoint: scoring URL.
            profile: a stored profile's name, in place of `endpoint`.
            client: a connection to use in place of both; it is not closed.
            segmentationNode: where to put the segments; None makes a new segmentation when the result is there.
            overlap: "allow", "keep" or "overwrite".
            onExisting: "add" or "replace"; see there as well.
            window: "auto", "raw", "percentile", a site or "LOW,HIGH".
            slabs: "none", "auto" or a number.
            region: a region of interest (ROI) node, or "I0:I1,J0:J1,K0:K1" in voxels; only that part is sent.
            group: "auto" for as few requests as keep nested targets apart, "together" for one request, "each" for one request a prompt.
            instances: millilitres; separate structures of at least that size become segments of their own, "liver tumor 1" the largest.
            beforeChange: called once before the segmentation changes, for instance a Segment Editor's saveStateForUndo.
            editing: a Segment Editor's scene.editing.EditorTarget: the masks go into the segments that it edits, under its masking;
                segmentationNode, overlap, onExisting and beforeChange do not count then.
            callback: called with the Job when it has ended; see the class.
            cancellation: turned from any thread, it stops the run, also one that is waited for.
            connection: further options of `connect` (auth, key_file, timeout, retries, …).

        Returns:
            RunResult; with a callback the Job, whose `result` that will be.

        Raises:
            UsageError, InputError: at once, also with a callback, where nothing needs to be sent to know.
            MedImageParseError: why there is no result; nothing was imported then. Cancelled. Dropped.
        """
        options = {"window": window, "slabs": str(slabs), "region": region, "group": group, "instances": instances}
        target = Target(segmentationNode, overlap, onExisting, beforeChange, editing)
        connecting = Connecting(client, endpoint, profile, connection)
        return self._segment(volumeNode, prompts, VOLUMES.name, options, connecting, target, callback, cancellation)

    def segmentSlices(
        self,
        volumeNode: Any,
        prompts: str | Iterable[str],
        *,
        plane: str = "axial",
        slices: str | list[int] | None = None,
        orient: str = "trained",
        endpoint: str | None = None,
        profile: Any = None,
        client: Any = None,
        segmentationNode: Any = None,
        overlap: str = "allow",
        onExisting: str = "add",
        window: str = "auto",
        group: str = "auto",
        instances: float | None = None,
        beforeChange: Callable[[], object] | None = None,
        editing: EditorTarget | None = None,
        callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None,
        **connection: Any,
    ) -> RunResult | Job:
        """Find each prompt's structure in slices of a volume or in a picture, with MedImageParse.

        Segments grow while the slices' answers come. When the run ends they become one segment a prompt and one undo step; a run
        that is cancelled or fails altogether takes them back.

        Args:
            volumeNode: a volume of any orientation, or a 2D picture.
            prompts: as for segmentVolume.
            plane: "axial", "coronal" or "sagittal".
            slices: indices along that axis of the volume's own array: "15", "10:20" (end not included), "all" or a list; None for
                the only slice of a picture.
            orient: "trained", "radiological" or "vote".
            The others, the return value and the errors are those of segmentVolume.
            endpoint: as for segmentVolume.
            profile: as for segmentVolume.
            client: as for segmentVolume.
            segmentationNode: as for segmentVolume.
            overlap: as for segmentVolume.
            onExisting: as for segmentVolume.
            window: as for segmentVolume.
            group: "auto" or "together" for all prompts in one request, "each" for one request a prompt.
            instances: as for segmentVolume.
            beforeChange: as for segmentVolume.
            editing: as for segmentVolume.
            callback: as for segmentVolume.
            cancellation: as for segmentVolume.
            connection: as for segmentVolume.
        """
        check_plane(plane, PLANES)
        options = {"plane": plane, "slices": slices, "orient": orient, "window": window, "group": group, "instances": instances}
        target = Target(segmentationNode, overlap, onExisting, beforeChange, editing)
        connecting = Connecting(client, endpoint, profile, connection)
        return self._segment(volumeNode, prompts, SLICES.name, options, connecting, target, callback, cancellation)

    def segmentMany(
        self,
        cases: Iterable[Case],
        prompts: str | Iterable[str],
        *,
        how: str = "segmentVolume",
        onChange: Callable[[ManyRuns], object] | None = None,
        **options: Any,
    ) -> ManyRuns:
        """Run on several images, one after the other; each gets a segmentation of its own, in its own study.

        Args:
            cases: from logic.many: volumeCases(nodes), sequenceCases(sequenceNode) or databaseCases(database, scene).
            prompts: as of segmentVolume.
            how: "segmentVolume" or "segmentSlices".
            onChange: called with the ManyRuns whenever a case has changed; then the call returns at once, and something has to call
                `poll()`. Without it the call waits for all of them.
            options: of segmentVolume or segmentSlices.

        Returns:
            ManyRuns: `.cases` with state, result and sentence. A case that fails does not stop the others; five failures of the endpoint
            in a row do.

        Raises:
            UsageError, InputError: no case, or no prompt.

        Examples:
            >>> runs = logic.segmentMany(sequenceCases(sequenceNode), "left ventricle & myocardium", profile="Ward 3")  # doctest: +SKIP
            >>> [case.state for case in runs.cases]                                                                    # doctest: +SKIP
            ['done', 'done', 'done']
        """
        if how not in ("segmentVolume", "segmentSlices"):
            raise UsageError("Several images are run on with segmentVolume or segmentSlices.")
        parsed = grammar.parse_prompts(prompts)

        def start(volumeNode: Any, callback: Callable[[Job], object]) -> Job:
            return getattr(self, how)(volumeNode, parsed, callback=callback, **options)

        runs = ManyRuns(list(cases), start, self.cancel, onChange or nothing)
        runs.begin()
        try:
            while onChange is None and runs.isRunning:
                self.poll()
                time.sleep(_WAIT_S)
        except BaseException:  # such as an interrupt
            runs.cancel()
            raise
        return runs

    def undoLastRun(self, segmentationNode: Any, *, editor: Any = None) -> bool:
        """Take the last run into a segmentation back; call again for the one before.

        Args:
            segmentationNode: where the run's segments are.
            editor: a Segment Editor widget that edits this segmentation: the run is taken back in its history, and its Redo knows of it.

        Returns:
            False where there is no run to take back.

        Raises:
            UsageError: a run is at work in this segmentation, or segments that the run changed have been edited since.
        """
        self._checkNoPreview(segmentationNode)
        return undoLastImport(segmentationNode, editor)

    def redoLastRun(self, segmentationNode: Any, *, editor: Any = None) -> bool:
        """Bring the run back that was taken back last.

        Args:
            segmentationNode: the one whose run was taken back.
            editor: a Segment Editor widget that edits it, as for undoLastRun.

        Returns:
            False where there is none, or segments have been edited since.

        Raises:
            UsageError: a run is at work in this segmentation.
        """
        self._checkNoPreview(segmentationNode)
        return redoLastImport(segmentationNode, editor)

    def _checkNoPreview(self, segmentationNode: Any) -> None:
        if segmentationNode is not None and any(run.hasPreviewIn(segmentationNode) for run in self._runs.values()):
            raise UsageError("A run is still in progress in this segmentation; cancel it, or wait until it is done.")

    # --- using what is there -----------------------------------------------------------------------------------------

    def saveResults(self, segmentationNode: Any, volumeNode: Any, **files: str) -> SavedFiles:
        """Write a segmentation in forms that other programs read. Corrections made in the Segment Editor are in it.

        Args:
            segmentationNode: any; of the volume.
            volumeNode: its grid is used, and for DICOM the series that it was loaded from.
            files: dicomSeg, rtstruct: .dcm; labels: .nii.gz or .nrrd; statistics: .csv or .json; masks: a folder for one labelmap a segment.

        Returns:
            SavedFiles: the paths, and warnings.

        Raises:
            UsageError, InputError: nothing was written; a name that cannot be written, no segment, or no DICOM series behind the volume.
        """
        return saveResults(segmentationNode, volumeNode, **files)

    def statistics(self, segmentationNode: Any, volumeNode: Any) -> Any:
        """Measure each segment: voxels, ml, mean, SD, minimum, maximum, median, centroid and box in mm, slices.

        Args:
            segmentationNode: any.
            volumeNode: whose voxels are measured.

        Returns:
            a new vtkMRMLTableNode, one row a segment.
        """
        return statisticsTable(segmentationNode, volumeNode)

    def evaluate(
        self, referenceNode: Any, predictionNode: Any, *, volumeNode: Any = None, protocol: str = "plain", tolerance: float = 2.0
    ) -> Any:
        """Measure how well a segmentation fits a reference, structure by structure.

        Args:
            referenceNode: the segmentation that is right.
            predictionNode: the one that is measured; structures are paired by name ("Right kidney" is "kidney_right").
            volumeNode: on whose grid they are compared; default: the one that they were made on.
            protocol: "plain", "cvpr25" or "amos".
            tolerance: mm, for the surface Dice.

        Returns:
            a new vtkMRMLTableNode with Dice, surface Dice, Hausdorff distance, volumes, sensitivity and precision.

        Raises:
            UsageError, InputError: no structure in common, no volume, an unknown protocol.
        """
        return evaluationTable(referenceNode, predictionNode, volumeNode, protocol, tolerance)

    def _segment(
        self,
        volumeNode: Any,
        prompts: Any,
        model: str,
        options: dict,
        connecting: Connecting,
        target: Target,
        callback: Any,
        cancellation: Any,
    ) -> RunResult | Job:
        run = SegmentationRun(volumeNode, grammar.parse_prompts(prompts), model, options, connecting, target)
        self._runs[run.job] = run
        return self._start(self._queue, run.job, callback, cancellation)

    def _forgotten(self, job: Job) -> None:
        self._runs.pop(job, None)
