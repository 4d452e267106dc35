"""Doubles of CTK's value editors: slider with spin box, range, path."""

from __future__ import annotations

from typing import Any

from .ctk_module import held, passed, qt, setters
from .qt_module import registerDouble
from .signals import HostSignal, state

_SLIDER_STEPS = 10000


@registerDouble
class ctkSliderWidget(qt.QWidget, cxx=True):
    """A slider and a spin box that show the same real number."""

    valueChanged = HostSignal("valueChanged(double)")
    valueIsChanging = HostSignal("valueIsChanging(double)")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        slider, spin = qt.QSlider(qt.Qt.Horizontal), qt.QDoubleSpinBox()
        slider.maximum = _SLIDER_STEPS
        spin.maximum = 100.0
        layout.addWidget(slider)
        layout.addWidget(spin)
        state(self).update(slider=slider, spin=spin, layout=layout)
        slider.connect("sliderMoved(int)", self._fromSlider)
        spin.connect("valueChanged(double)", self._fromSpin)

    minimum, maximum = passed("spin", "minimum"), passed("spin", "maximum")
    value, decimals = passed("spin", "value"), passed("spin", "decimals")
    singleStep, suffix, prefix = passed("spin", "singleStep"), passed("spin", "suffix"), passed("spin", "prefix")
    pageStep, tickInterval, tracking = held("pageStep", 10.0), held("tickInterval", 0.0), held("tracking", True)
    spinBoxVisible = property(
        lambda self: not state(self)["spin"].isHidden(), lambda self, visible: state(self)["spin"].setVisible(bool(visible))
    )

    def setRange(self, low: float, high: float) -> None:
        state(self)["spin"].setRange(low, high)

    def _fromSlider(self, step: int) -> None:
        self.value = self.minimum + (self.maximum - self.minimum) * step / _SLIDER_STEPS

    def _fromSpin(self, value: float) -> None:
        span = self.maximum - self.minimum
        state(self)["slider"].value = int(_SLIDER_STEPS * (value - self.minimum) / span) if span else 0
        self.valueChanged.emit(value)


@registerDouble
class ctkRangeWidget(qt.QWidget, cxx=True):
    """Two spin boxes, the lower never above the upper."""

    valuesChanged = HostSignal("valuesChanged(double,double)")
    minimumValueChanged = HostSignal("minimumValueChanged(double)")
    maximumValueChanged = HostSignal("maximumValueChanged(double)")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        low, high, slider = qt.QDoubleSpinBox(), qt.QDoubleSpinBox(), qt.QSlider(qt.Qt.Horizontal)
        for each in (low, slider, high):
            layout.addWidget(each)
        state(self).update(low=low, high=high, layout=layout)
        for each in (low, high):
            each.setRange(0.0, 99.0)
        high.value = 99.0
        low.connect("valueChanged(double)", lambda value: self._changed(self.minimumValueChanged, "low"))
        high.connect("valueChanged(double)", lambda value: self._changed(self.maximumValueChanged, "high"))

    minimumValue, maximumValue = passed("low", "value"), passed("high", "value")
    minimum = property(lambda self: state(self)["low"].minimum, lambda self, value: self.setRange(value, self.maximum))
    maximum = property(lambda self: state(self)["low"].maximum, lambda self, value: self.setRange(self.minimum, value))
    decimals = property(lambda self: state(self)["low"].decimals, lambda self, value: self._both("decimals", value))
    singleStep = property(lambda self: state(self)["low"].singleStep, lambda self, value: self._both("singleStep", value))
    suffix = property(lambda self: state(self)["low"].suffix, lambda self, value: self._both("suffix", value))

    def setRange(self, low: float, high: float) -> None:
        for each in ("low", "high"):
            state(self)[each].setRange(low, high)

    def setValues(self, low: float, high: float) -> None:
        low, high = min(low, high), max(low, high)
        if high >= self.minimumValue:
            self.maximumValue, self.minimumValue = high, low
        else:
            self.minimumValue, self.maximumValue = low, high

    def _both(self, name: str, value: Any) -> None:
        for each in ("low", "high"):
            setattr(state(self)[each], name, value)

    def _changed(self, signal: Any, moved: str) -> None:
        low, high = state(self)["low"], state(self)["high"]
        if low.value > high.value:
            (high if moved == "low" else low).value = (low if moved == "low" else high).value
        signal.emit(low.value if moved == "low" else high.value)
        self.valuesChanged.emit(low.value, high.value)


@registerDouble
class ctkPathLineEdit(qt.QWidget, cxx=True):
    """A path with a button that opens a file dialog; the button does nothing here: tests set `currentPath`."""

    Dirs, Drives, Files, Executable = 0x001, 0x004, 0x002, 0x400
    Readable, Writable, Hidden, NoDot, NoDotDot = 0x010, 0x020, 0x100, 0x2000, 0x4000
    currentPathChanged = HostSignal("currentPathChanged(QString)")
    validInputChanged = HostSignal("validInputChanged(bool)")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        combo, button = qt.QComboBox(), qt.QToolButton()
        combo.editable = True
        combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        button.text = "..."
        layout.addWidget(combo)
        layout.addWidget(button)
        state(self).update(combo=combo, button=button, layout=layout)
        combo.connect("editTextChanged(QString)", lambda text: self.currentPathChanged.emit(text))

    currentPath = property(lambda self: state(self)["combo"].currentText, lambda self, path: self.setCurrentPath(path))
    filters, nameFilters, settingKey = held("filters", 0), held("nameFilters", ()), held("settingKey", "")
    showBrowseButton = property(
        lambda self: not state(self)["button"].isHidden(), lambda self, visible: state(self)["button"].setVisible(bool(visible))
    )
    showHistoryButton = held("showHistoryButton", True)
    sizeAdjustPolicy, minimumContentsLength = held("sizeAdjustPolicy", 0), held("minimumContentsLength", 0)

    def setCurrentPath(self, path: str) -> None:
        state(self)["combo"].setEditText(str(path or ""))

    def comboBox(self) -> Any:
        return state(self)["combo"]

    def addCurrentPathToHistory(self) -> None:
        combo = state(self)["combo"]
        if self.currentPath and combo.findText(self.currentPath) < 0:
            combo.insertItem(0, self.currentPath)


setters(ctkSliderWidget, "minimum", "maximum", "value", "decimals", "singleStep", "suffix", "prefix", "spinBoxVisible", "tracking")
setters(ctkRangeWidget, "minimum", "maximum", "minimumValue", "maximumValue", "decimals", "singleStep", "suffix")
setters(ctkPathLineEdit, "filters", "nameFilters", "settingKey", "showBrowseButton", "showHistoryButton")
