"""Doubles of further CTK and MRML widgets: enough that modules which use them load, show and keep values."""

from __future__ import annotations

from typing import Any

from .ctk_module import ctkDoubleSpinBox, held, qt, setters
from .ctk_values import ctkRangeWidget, ctkSliderWidget
from .qmrml import qMRMLWidget
from .qt_module import registerDouble
from .signals import HostSignal, state


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


@registerDouble
class qMRMLSegmentationShow3DButton(qt.QPushButton, cxx=True):
    """Makes or removes the closed surfaces of a segmentation."""

    def __init__(self, parent: Any = None):
        super().__init__("Show 3D", parent)
        self.checkable = True
        self.enabled = False
        self.connect("clicked(bool)", self._show)

    def segmentationNode(self) -> Any:
        return state(self).get("node")

    def setSegmentationNode(self, node: Any) -> None:
        state(self)["node"] = node
        self.enabled = node is not None
        self.checked = node is not None and node.GetSegmentation().ContainsRepresentation("Closed surface")

    def setMRMLScene(self, scene: Any) -> None:
        state(self)["scene"] = scene

    def _show(self, visible: bool) -> None:
        node = self.segmentationNode()
        node.CreateClosedSurfaceRepresentation() if visible else node.RemoveClosedSurfaceRepresentation()


setters(ctkDirectoryButton, "directory")
setters(ctkDoubleSlider, "value", "minimum", "maximum", "singleStep", "orientation")
setters(ctkDoubleRangeSlider, "minimumValue", "maximumValue", "minimum", "maximum", "singleStep")
