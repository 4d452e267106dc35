"""Options of a run, and a small picture of what will be sent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from ..errors import MedImageParseError
from ..imaging.png import encode_png
from ..imaging.volume import Volume
from ..imaging.windows import CT_WINDOWS, FOR_ENGINE, Window
from ..logic.jobs import megabytes
from ..models import SLICES, VOLUMES
from ..scene.geometry import regionFromRoi
from ..scene.volumes import volumeFromNode
from . import preview
from .input_box import RANGE, VOLUME, InputBox
from .parameters import PanelParameters
from .sentences import words
from .widgets import Choice, Timer, setPlain, signalsBlocked

_DELAY_MS = 150  # typing and turning a wheel make many changes; the picture follows when they pause
_OWN = "own"
_SMALLEST_ML = ("0", "0.1", "1", "10")  # of separate structures


class OptionsBox:
    """Window, region, slabs, turn of slices, requests, overlap, names; and the preview.

    Args:
        ui: the panel's widgets.
        parameters: where choices are kept.
        inputs: knows volume, mode and slice.
        chooseNode: what a node selector tells.
        takesRaw: whether the endpoint's engine is known to want Hounsfield units.
    """

    def __init__(
        self, ui: Any, parameters: PanelParameters, inputs: InputBox, chooseNode: Callable[[str, Any], object],
        takesRaw: Callable[[], bool] = lambda: False,
    ):  # fmt: skip
        self._ui, self._parameters, self._inputs, self._takesRaw = ui, parameters, inputs, takesRaw
        self._windows: dict[tuple, Window] = {}
        self._choices = _choices(ui, self._choose)
        self._window = Choice(ui.windowComboBox, _windowOptions(), self._windowChosen)
        for spinBox in (ui.windowLowSpinBox, ui.windowHighSpinBox):
            spinBox.connect("valueChanged(double)", self._rangeChanged)
        ui.regionSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: chooseNode("Region", node))
        ui.optionsButton.connect("contentsCollapsed(bool)", self._opened)
        self._timer = Timer(self.drawPreview, _DELAY_MS)

    def close(self) -> None:
        """Draw nothing any more."""
        self._timer.stop()

    def show(self) -> None:
        """Show the choices as they are in the scene."""
        ui, is3d = self._ui, self._inputs.mode == VOLUME
        for name, choice in self._choices.items():
            choice.set(self._parameters[name])
        window = self._parameters["Window"]
        isOwn = "," in window
        self._window.set(_OWN if isOwn else window)
        if isOwn:
            self._showRange(window)
        for widget in (ui.rangeLabel, ui.windowLowSpinBox, ui.windowHighSpinBox):
            widget.setVisible(isOwn)
        for widget in (ui.regionLabel, ui.regionSelector, ui.slabsLabel, ui.slabsComboBox):
            widget.setVisible(is3d)
        for widget in (ui.orientLabel, ui.orientComboBox):
            widget.setVisible(not is3d)
        with signalsBlocked(ui.regionSelector):
            ui.regionSelector.setCurrentNode(self._parameters.nodeFor("Region"))
        if not ui.optionsButton.collapsed:
            self._timer.start()

    def common(self) -> dict[str, Any]:
        """Options of both models, by the names of Logic's arguments."""
        names = {"window": "Window", "group": "Group", "overlap": "Overlap", "onExisting": "Existing"}
        options: dict[str, Any] = {argument: self._parameters[name] for argument, name in names.items()}
        separate = self._parameters["Instances"]
        return options | ({"instances": float(separate)} if separate in _SMALLEST_ML else {})

    def ofModel(self) -> dict[str, Any]:
        """Options of the model that the mode stands for."""
        if self._inputs.mode == VOLUME:
            return {"slabs": self._parameters["Slabs"], "region": self._parameters.nodeFor("Region") or ""}
        plane, slices = self._inputs.slices()
        return {"plane": plane, "slices": slices, "orient": self._parameters["Orient"]}

    def ofAllSlices(self) -> dict[str, Any]:
        """Options of MedImageParse for every slice of whatever volume comes, along the plane that is looked at."""
        seen = self._inputs.seenSlice()
        return {"plane": seen.plane if seen is not None else "axial", "slices": "all", "orient": self._parameters["Orient"]}

    def drawPreview(self) -> None:
        """Show a slice as it will be sent, and say in words what is done to it."""
        ui = self._ui
        try:
            made = self._preview()
            window = _windowText(made.window)
            if made.window.why == FOR_ENGINE:
                window = _("{window}, because the engine takes Hounsfield units").format(window=window)
            text = _("{window}; {size} MB before compression.").format(window=window, size=megabytes(made.bytes_raw))
            if made.isTurned:
                text += " " + _("The slice is rotated to the orientation of the model's training images for this target.")
        except MedImageParseError as error:
            ui.previewImage.setPixmap(qt.QPixmap())
            setPlain(ui.previewText, words(error))
            return
        pixmap = qt.QPixmap()
        pixmap.loadFromData(encode_png(np.ascontiguousarray(made.pixels)))
        ui.previewImage.setPixmap(pixmap)
        setPlain(ui.previewText, text)

    def _preview(self) -> preview.Preview:
        volumeNode = self._inputs.volumeNode
        volume = volumeFromNode(volumeNode, copy=False)
        window, prompts = self._windowOf(volume, self._parameters["Window"]), self._parameters["Prompts"]
        seen = self._inputs.seenSlice()
        if self._inputs.mode == VOLUME:
            roi = self._parameters.nodeFor("Region")
            region = regionFromRoi(roi, volumeNode, volume) if roi is not None else ""
            return preview.volumePreview(volume, window, region, seen.index if seen and seen.plane == "axial" else None)
        plane, slices = self._inputs.slices()
        index = int(slices.split(":")[0]) if seen is None or self._inputs.mode == RANGE else seen.index
        return preview.slicePreview(volume, window, plane, index, self._parameters["Orient"], prompts)

    def _windowOf(self, volume: Volume, setting: str) -> Window:
        """The window of a setting. Finding it looks at millions of voxels, so it is done once for each state of the volume."""
        volumeNode, prompts = self._inputs.volumeNode, self._parameters["Prompts"]
        model = (VOLUMES if self._inputs.mode == VOLUME else SLICES).name
        takesRaw = model == VOLUMES.name and self._takesRaw()
        key = (
            volumeNode.GetID(),
            volumeNode.GetImageData().GetMTime(),
            volume.modality,
            setting,
            model,
            takesRaw,
            *preview.sitesOf(prompts),
        )
        if key not in self._windows:
            window = preview.windowFor(volume, setting, prompts, model, takesRaw)
            if not np.isfinite([window.low, window.high]).all():
                volume.check()  # which says how many voxels are no numbers
            self._windows = {key: window}
        return self._windows[key]

    def _choose(self, name: str, value: str) -> None:
        self._parameters[name] = value

    def _windowChosen(self, key: str) -> None:
        if key == _OWN:
            self._showRange(self._startOfRange())
        self._choose("Window", self._range() if key == _OWN else key)

    def _startOfRange(self) -> str:
        """Where an own range begins: at the limits of the window so far."""
        setting = self._parameters["Window"]
        try:
            window = self._windowOf(volumeFromNode(self._inputs.volumeNode, copy=False), setting)
        except MedImageParseError:
            window = Window("range", *CT_WINDOWS["soft"])
        return f"{window.low:g},{window.high:g}" if window.low < window.high else "0,255"

    def _rangeChanged(self, _value: float) -> None:
        if self._window.key == _OWN:
            self._choose("Window", self._range())

    def _range(self) -> str:
        low, high = self._ui.windowLowSpinBox.value, self._ui.windowHighSpinBox.value
        return f"{low:g},{max(high, low + 1):g}"

    def _showRange(self, window: str) -> None:
        low, _comma, high = window.partition(",")
        with signalsBlocked(self._ui.windowLowSpinBox, self._ui.windowHighSpinBox):
            try:
                self._ui.windowLowSpinBox.setValue(float(low))
                self._ui.windowHighSpinBox.setValue(float(high))
            except ValueError:
                self._parameters["Window"] = "auto"  # somebody else's scene

    def _opened(self, collapsed: bool) -> None:
        if not collapsed:
            self.drawPreview()


def _choices(ui: Any, choose: Any) -> dict[str, Choice]:
    """The combo boxes whose keys are the values of the options."""
    table = {
        "Slabs": (ui.slabsComboBox, (("auto", _("Automatic")), ("none", _("Never")), *((str(n), str(n)) for n in range(2, 9)))),
        "Orient": (
            ui.orientComboBox,
            (
                ("trained", _("As in training")),
                ("radiological", _("Radiological")),
                ("vote", _("All four rotations, majority vote")),
            ),
        ),
        "Group": (ui.groupComboBox, (("auto", _("Automatic")), ("together", _("All together")), ("each", _("One")))),
        "Instances": (
            ui.instancesComboBox,
            (
                ("", _("One per prompt")),
                ("0", _("Separate structures")),
                *((size, _("Separate, from {size} ml").format(size=size)) for size in _SMALLEST_ML[1:]),
            ),
        ),
        "Overlap": (
            ui.overlapComboBox,
            (("allow", _("Allow overlap")), ("keep", _("Keep existing segments")), ("overwrite", _("Overwrite existing segments"))),
        ),
        "Existing": (ui.existingComboBox, (("add", _("Add a new segment")), ("replace", _("Replace the segment")))),
    }
    return {name: Choice(comboBox, options, partial(choose, name)) for name, (comboBox, options) in table.items()}


def _siteText(site: str) -> str:
    names = {
        "abdomen": _("Abdomen"), "lung": _("Lung"), "pelvis": _("Pelvis"), "liver": _("Liver"), "colon": _("Colon"),
        "pancreas": _("Pancreas"), "soft": _("Soft tissue"), "brain": _("Brain"), "bone": _("Bone"),
        "lung-3d": _("Lung, 3D model"),
    }  # fmt: skip
    return names.get(site, site.replace("-", " ").capitalize())


def _windowOptions() -> list[tuple[str, str]]:
    sites = [
        (site, _("{site} ({low} to {high})").format(site=_siteText(site), low=f"{low:g}", high=f"{high:g}"))
        for site, (low, high) in CT_WINDOWS.items()
    ]
    return [
        ("auto", _("Automatic")),
        *sites,
        ("percentile", _("Percentiles 0.5 to 99.5")),
        ("raw", _("None (raw values)")),
        (_OWN, _("Custom range")),
    ]


def _windowText(window: Window) -> str:
    """What a window does to the values."""
    if not window.changes_values:
        return _("8-bit input, sent as it is") if window.kind == "untouched" else _("Raw values")
    name = {"range": _("Range as given"), "percentile": _("Percentiles 0.5 to 99.5")}.get(window.kind) or _siteText(window.site)
    return _("{window}: {low} to {high}").format(window=name, low=f"{window.low:g}", high=f"{window.high:g}")
