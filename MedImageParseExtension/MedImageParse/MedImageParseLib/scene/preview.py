"""Segments that grow while results arrive slice by slice: a preview beside everything else, which changes nothing that is there.

The preview ends with the run. Either the run's result is imported in its place (`importSegments`, with its overlap rule and its one
undo step), or it is taken back and the scene is as it was before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..imaging.layers import union
from ..imaging.volume import CroppedMask
from .geometry import binaryLabelmap, orientedImage, volumeGrid
from .segments import freeName, newSegmentation, usedNames
from .session import importSlicer, removeNode, renderingPaused
from .undo import ImportStep, beginStep, takeBack

# Updates may take this share of the main thread's time: each waits nine times as long as the last one took.
_SHARE = 0.1


class PreviewSegments:
    """One segment a name, made when its first voxel arrives. Main thread only.

    Args:
        volumeNode: the masks' grid.
        segmentationNode: where to show them, None for a new one, which is made with the first voxel.
        colors: red, green, blue (0..1) by name.
        beforeChange: called once, before the first change.
        onCreate: called with the new segmentation.
    """

    def __init__(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        colors: dict[str, tuple[float, float, float]],
        *,
        beforeChange: Callable[[], object] | None = None,
        onCreate: Callable[[Any], object] | None = None,
    ):
        self.segmentationNode = segmentationNode
        self.hasChanged = False
        self._isOurs = segmentationNode is None
        self._volumeNode, self._colors = volumeNode, colors
        self._beforeChange, self._onCreate = beforeChange, onCreate
        self._step: ImportStep | None = None
        self._ids: dict[str, str] = {}
        self._masks: dict[str, CroppedMask] = {}
        self._pending: dict[str, list[CroppedMask]] = {}
        self._notBefore = 0.0

    def add(self, parts: list[tuple[str, CroppedMask]]) -> bool:
        """Add voxels by name. They are shown at once, or a little later where showing has become slow (large structures).

        Returns:
            whether some are not shown yet; add nothing after a while to have them shown.
        """
        for name, mask in parts:
            if mask.count:
                self._pending.setdefault(name, []).append(mask)
        began = time.monotonic()
        if not self._pending or began < self._notBefore:
            return bool(self._pending)
        with renderingPaused():
            self._show()
        took = time.monotonic() - began
        self._notBefore = began + took / _SHARE
        return False

    def takeBack(self, *, keepNode: bool = False) -> None:
        """Remove the preview. A segmentation that was made for it goes too, unless it is kept for the result."""
        step, self._step = self._step, None
        self._ids, self._masks, self._pending = {}, {}, {}
        node = self.segmentationNode
        if node is None or node.GetScene() is None:
            return
        with renderingPaused():
            if step is not None:
                takeBack(node, step)
            if self._isOurs and not keepNode:
                if node.GetSegmentation().GetNumberOfSegments() == 0:  # else somebody has put own work there
                    removeNode(node)
                self.segmentationNode = None

    def _show(self) -> None:
        if self.segmentationNode is None:
            self.segmentationNode = newSegmentation(self._volumeNode)
            if self._onCreate is not None:
                self._onCreate(self.segmentationNode)
        if self._step is None:
            if self._beforeChange is not None:
                self._beforeChange()
            self.hasChanged = True
            self._step = beginStep(self.segmentationNode, changesExisting=False)
        grid = volumeGrid(self._volumeNode, self.segmentationNode)
        wasModifying = self.segmentationNode.StartModify()
        try:
            for name, masks in self._pending.items():
                before = [self._masks[name]] if name in self._masks else []
                self._masks[name] = union(before + masks)
                self._put(self._step, name, orientedImage(self._masks[name], *grid))
        finally:
            self._pending = {}
            self.segmentationNode.EndModify(wasModifying)

    def _put(self, step: ImportStep, name: str, image: Any) -> None:
        segmentation = self.segmentationNode.GetSegmentation()
        segment = segmentation.GetSegment(self._ids[name]) if name in self._ids else None
        if segment is not None:
            # Out of a layer that somebody has merged it into: writing there would erase the others.
            segmentation.SeparateSegmentLabelmap(self._ids[name])
            segment.AddRepresentation(binaryLabelmap(), image)
            segment.SetLabelValue(1)
            return
        segment = importSlicer().vtkSegment()
        segment.AddRepresentation(binaryLabelmap(), image)
        segment.SetName(freeName(name, usedNames(segmentation)))
        segment.SetNameAutoGenerated(False)
        segment.SetColorAutoGenerated(False)
        self._ids[name] = segmentation.GenerateUniqueSegmentID("")
        step.addedIds.append(self._ids[name])
        if not segmentation.AddSegment(segment, self._ids[name]):
            raise RuntimeError("a segment could not be added")
        segment.SetColor(*self._colors[name])
