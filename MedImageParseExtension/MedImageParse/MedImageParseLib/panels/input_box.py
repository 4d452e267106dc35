"""Which volume, and the whole of it or which slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..errors import InputError
from ..scene.volumes import volumeFromNode
from .parameters import PanelParameters
from .sentences import words
from .slice_follower import SeenSlice, SliceFollower, sliceCount
from .widgets import Choice, setPlain, signalsBlocked

VOLUME, THIS_SLICE, RANGE, ALL = "volume", "this", "range", "all"


class InputBox:
    """The volume selector, the mode, and the slices.

    Args:
        ui: the panel's widgets.
        parameters: where choices are kept.
        follower: knows which slice is looked at.
        chooseNode: what a node selector tells.
    """

    def __init__(self, ui: Any, parameters: PanelParameters, follower: SliceFollower, chooseNode: Callable[[str, Any], object]):
        self._ui, self._parameters, self._follower = ui, parameters, follower
        self._mode = Choice(
            ui.modeComboBox,
            (
                (VOLUME, _("Volume (3D)")),
                (THIS_SLICE, _("This slice (2D)")),
                (RANGE, _("Slices from–to (2D)")),
                (ALL, _("All slices (2D)")),
            ),
            lambda key: self._choose("Mode", key),
        )
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: chooseNode("InputVolume", node))
        ui.firstSliceSpinBox.connect("valueChanged(int)", lambda value: self._choose("FirstSlice", str(value)))
        ui.lastSliceSpinBox.connect("valueChanged(int)", lambda value: self._choose("LastSlice", str(value)))

    @property
    def mode(self) -> str:
        return self._parameters["Mode"]

    @property
    def volumeNode(self) -> Any:
        return self._parameters.nodeFor("InputVolume")

    def show(self) -> None:
        """Show the choices as they are in the scene."""
        ui = self._ui
        with signalsBlocked(ui.volumeSelector):
            ui.volumeSelector.setCurrentNode(self.volumeNode)
        ui.sampleButton.setVisible(self.volumeNode is None)
        self._mode.set(self.mode)
        for widget in (ui.slicesLabel, ui.firstSliceSpinBox, ui.toLabel, ui.lastSliceSpinBox):
            widget.setVisible(self.mode == RANGE)
        seen = self.seenSlice()
        ui.planeLabel.setVisible(self.mode != VOLUME and seen is not None)
        if seen is not None and self.mode != VOLUME:
            self._showPlane(seen)

    def seenSlice(self) -> SeenSlice | None:
        """The slice of the volume that is looked at, None where there is no volume to speak of."""
        return self._follower.seenOf(self.volumeNode)

    @property
    def isPicture(self) -> bool:
        """Whether the volume is a 2D picture, which has no third dimension to send."""
        return not self.fault() and volumeFromNode(self.volumeNode, copy=False).is_picture

    def fault(self) -> str:
        """Why the volume cannot be sent, "" where it can."""
        if self.volumeNode is None:
            return _("Select a volume, or load the sample.")
        image = self.volumeNode.GetImageData()
        if image is None or not image.GetNumberOfPoints():
            return _("This volume is empty. Select another.")
        try:
            volumeFromNode(self.volumeNode, copy=False)
        except InputError as error:
            return words(error)
        return ""

    def slices(self) -> tuple[str, str]:
        """(plane, slices) for Logic.segmentSlices, the slices as the command line has them."""
        seen = self.seenSlice()
        if seen is None:
            raise InputError(_("There is no volume to read. Load a volume and select it."))
        if self.mode == THIS_SLICE:
            return seen.plane, str(seen.index)
        if self.mode == ALL:
            return seen.plane, "all"
        first, last = sorted((self._parameters.wholeNumber("FirstSlice"), self._parameters.wholeNumber("LastSlice")))
        return seen.plane, f"{first}:{last + 1}"

    def _showPlane(self, seen: SeenSlice) -> None:
        ui = self._ui
        count = sliceCount(self.volumeNode, seen.plane)
        with signalsBlocked(ui.firstSliceSpinBox, ui.lastSliceSpinBox):
            for spinBox, name in ((ui.firstSliceSpinBox, "FirstSlice"), (ui.lastSliceSpinBox, "LastSlice")):
                spinBox.setMaximum(count - 1)
                spinBox.setValue(self._parameters.wholeNumber(name))
        plane = {"axial": _("Axial"), "coronal": _("Coronal"), "sagittal": _("Sagittal")}[seen.plane]
        view = _("as in the {view} view").format(view=seen.view) if seen.view else ""
        if self.mode == THIS_SLICE:
            text = _("{plane} slice {index} of 0 to {last}").format(plane=plane, index=seen.index, last=count - 1)
        else:
            text = _("{plane} slices, 0 to {last}").format(plane=plane, last=count - 1)
        setPlain(ui.planeLabel, f"{text}, {view}" if view else text)

    def _choose(self, name: str, value: str) -> None:
        self._parameters[name] = value
