"""Doubles of further CTK and MRML widgets: enough that modules which use them load, show and keep values."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from .ctk_module import ctkDoubleSpinBox, held, qt, setters
from .ctk_values import ctkRangeWidget, ctkSliderWidget
from .qmrml import qMRMLWidget
from .qt_module import registerDouble
from .signals import HostSignal, call, state


@registerDouble
class ctkCheckablePushButton(qt.QPushButton, cxx=True):
    """A button with a check box in it."""

    checkBoxToggled = HostSignal("checkBoxToggled(bool)")
    checkBoxControlsButton, checkBoxControlsButtonToggleState = held("controls", True), held("toggles", True)
    checkBoxUserCheckable, checkState = held("userCheckable", True), held("checkState", 0)


@registerDouble
class ctkDirectoryButton(qt.QPushButton, cxx=True):
    """A folder; the dialog does not open here: tests set `directory`."""

    directoryChanged = HostSignal("directoryChanged(QString)")
    directorySelected = HostSignal("directorySelected(QString)")
    directory = held("directory", "", "_tell")

    def _tell(self) -> None:
        self.text = self.directory
        self.directoryChanged.emit(self.directory)


@registerDouble
class ctkDoubleSlider(qt.QWidget, cxx=True):
    """A slider of real numbers."""

    valueChanged = HostSignal("valueChanged(double)")
    value = held("value", 0.0, "_tell")
    minimum, maximum, singleStep, orientation = held("minimum", 0.0), held("maximum", 99.0), held("singleStep", 1.0), held("orientation", 1)

    def _tell(self) -> None:
        self.valueChanged.emit(self.value)


@registerDouble
class ctkDoubleRangeSlider(qt.QWidget, cxx=True):
    """A slider with two handles."""

    valuesChanged = HostSignal("valuesChanged(double,double)")
    minimumValue, maximumValue = held("minimumValue", 0.0, "_tell"), held("maximumValue", 99.0, "_tell")
    minimum, maximum, singleStep = held("minimum", 0.0), held("maximum", 99.0), held("singleStep", 1.0)

    def _tell(self) -> None:
        self.valuesChanged.emit(self.minimumValue, self.maximumValue)


@registerDouble
class ctkFittedTextBrowser(qt.QTextBrowser, cxx=True):
    """A text as high as it needs."""

    collapsible = held("collapsible", False)


@registerDouble
class qSlicerWidget(qMRMLWidget, cxx=True):
    """The base of C++ modules' widgets."""


@registerDouble
class qMRMLSliderWidget(ctkSliderWidget, cxx=True):
    """A slider in the scene's units; the units are not shown here."""

    quantity, unitAwareProperties = held("quantity", ""), held("unitAwareProperties", 0)

    def setMRMLScene(self, scene: Any) -> None:
        state(self)["scene"] = scene


@registerDouble
class qMRMLRangeWidget(ctkRangeWidget, cxx=True):
    """A range in the scene's units; the units are not shown here."""

    quantity, unitAwareProperties = held("quantity", ""), held("unitAwareProperties", 0)

    def setMRMLScene(self, scene: Any) -> None:
        state(self)["scene"] = scene


@registerDouble
class qMRMLSpinBox(ctkDoubleSpinBox, cxx=True):
    """A number in the scene's units; the units are not shown here."""

    quantity, unitAwareProperties = held("quantity", ""), held("unitAwareProperties", 0)

    def setMRMLScene(self, scene: Any) -> None:
        state(self)["scene"] = scene


_SMOOTHING = "Smoothing factor"  # of the conversion to closed surfaces; a negative one is switched off


@registerDouble
class qMRMLSegmentationShow3DButton(qt.QPushButton, cxx=True):
    """Makes or removes the closed surfaces of a segmentation, and follows it. As in Slicer:

    - it acts when it is toggled, by whomever: setChecked() makes surfaces, too, unless signals are blocked;
    - it is enabled by itself, whenever the node or its segments change: with at least one segment, and unless the surfaces are the source;
    - surfaces that somebody else makes or removes press or release it, without its acting;
    - its menu switches smoothing by the sign of the factor, which belongs to the segmentation and makes surfaces anew that are there.
    The menu is not that of QPushButton, which would open at every click: CTK's button has an arrow of its own for it.
    """

    def __init__(self, parent: Any = None):
        super().__init__("Show 3D", parent)
        self.checkable = True
        self.enabled = False
        menu = qt.QMenu("Show 3D")
        smoothing = qt.QAction("Surface smoothing", menu)
        smoothing.checkable = True
        smoothing.connect("toggled(bool)", self._smooth)
        menu.addAction(smoothing)
        menu.addMenu(qt.QMenu("Smoothing factor", menu))
        state(self).update(menu=menu, smoothing=smoothing, tags=[])
        self.connect("toggled(bool)", self._show)
        self.connect("destroyed()", self._stop)

    locked = held("locked", False, "_update")

    def menu(self) -> Any:
        return state(self)["menu"]

    def segmentationNode(self) -> Any:
        return state(self).get("node")

    def setSegmentationNode(self, node: Any) -> None:
        if node is self.segmentationNode():
            return
        self._stop()
        state(self)["node"] = node
        if node is not None:
            kinds = slicer.vtkSegmentation
            events = (vtk.vtkCommand.ModifiedEvent, kinds.SegmentAdded, kinds.SegmentRemoved, kinds.ContainedRepresentationNamesModified)
            state(self)["tags"] = [(node, node.AddObserver(event, lambda *_: call(self._update, ()))) for event in events]
            gone = node.AddObserver(vtk.vtkCommand.DeleteEvent, lambda *_: self.setSegmentationNode(None))
            state(self)["tags"].append((node, gone))
        self._update()

    def setMRMLScene(self, scene: Any) -> None:
        state(self)["scene"] = scene

    def _stop(self) -> None:
        for subject, tag in state(self)["tags"]:
            subject.RemoveObserver(tag)
        state(self)["tags"] = []

    def _update(self) -> None:
        segmentation = self._segmentation()
        if segmentation is None:
            self.enabled = False
            return
        isSource = segmentation.GetSourceRepresentationName() == "Closed surface"
        self.enabled = not self.locked and segmentation.GetNumberOfSegments() > 0 and not isSource
        for widget, isOn in (
            (self, segmentation.ContainsRepresentation("Closed surface")),
            (state(self)["smoothing"], _factor(segmentation) >= 0),
        ):
            was = widget.blockSignals(True)
            widget.setChecked(isOn)
            widget.blockSignals(was)

    def _segmentation(self) -> Any:
        node = self.segmentationNode()
        return node.GetSegmentation() if node is not None else None

    def _show(self, visible: bool) -> None:
        segmentation = self._segmentation()
        if segmentation is None:
            return
        if not visible:
            if segmentation.GetSourceRepresentationName() != "Closed surface":
                segmentation.RemoveRepresentation("Closed surface")
            return
        displayNode = self.segmentationNode().GetDisplayNode()
        if segmentation.CreateRepresentation("Closed surface") and displayNode is not None:
            displayNode.SetPreferredDisplayRepresentationName3D("Closed surface")
            if segmentation.ContainsRepresentation("Binary labelmap"):
                displayNode.SetPreferredDisplayRepresentationName2D("Binary labelmap")

    def _smooth(self, isOn: bool) -> None:
        segmentation = self._segmentation()
        if segmentation is None:
            return
        size = abs(_factor(segmentation)) or 0.5
        segmentation.SetConversionParameter(_SMOOTHING, str(size if isOn else -size))
        if segmentation.ContainsRepresentation("Closed surface"):
            segmentation.CreateRepresentation("Closed surface", True)
        self._update()


def _factor(segmentation: Any) -> float:
    return float(segmentation.GetConversionParameter(_SMOOTHING) or 0.5)


setters(ctkDirectoryButton, "directory")
setters(ctkDoubleSlider, "value", "minimum", "maximum", "singleStep", "orientation")
setters(ctkDoubleRangeSlider, "minimumValue", "maximumValue", "minimum", "maximum", "singleStep")
