"""Whatever happens to the segments of a segmentation, by whomever: added, removed, renamed, undone or redone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from .widgets import Timer


class SegmentsFollower(VTKObservationMixin):
    """Follows one segmentation at a time.

    Args:
        onChange: called once after many changes, as soon as Slicer is idle.
    """

    def __init__(self, onChange: Callable[[], object]):
        VTKObservationMixin.__init__(self)
        self._node: Any = None
        self._timer = Timer(onChange, 0)

    def follow(self, segmentationNode: Any) -> None:
        """Follow this one from now on, None for none."""
        if segmentationNode is self._node:
            return
        self.removeObservers()
        self._node = segmentationNode
        if segmentationNode is not None:
            kinds = slicer.vtkSegmentation
            for event in (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified):
                self.addObserver(segmentationNode.GetSegmentation(), event, self._changed)

    def tell(self) -> None:
        """Call onChange soon, as after a change."""
        if not self._timer.isActive():
            self._timer.start()

    def stop(self) -> None:
        """Follow no more, and tell nobody."""
        self.follow(None)
        self._timer.stop()

    def _changed(self, _caller: object, _event: object) -> None:
        self.tell()
