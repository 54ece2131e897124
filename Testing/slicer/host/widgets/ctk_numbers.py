"""CTK's editors of numbers: ctkSliderWidget, ctkDoubleSlider, ctkDoubleSpinBox."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .. import signals
from ..classes import stand_in
from .numbers import STEPS, Inner, Limits, Scale, finite, spin_box

Qt = QtCore.Qt


@stand_in
class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider over real numbers."""

    minimum, maximum = Limits("minimum"), Limits("maximum")

    def __init__(self, *args: Any) -> None:
        orientation = args[0] if args and isinstance(args[0], Qt.Orientation) else Qt.Orientation.Horizontal
        super().__init__(args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None)
        self._scale, self._value, self._single = Scale(), 0.0, 1.0
        self._slider = QtWidgets.QSlider(orientation, self)
        self._slider.setRange(0, STEPS)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        self._slider.connect("valueChanged(int)", self._on_place)
        self._slider.connect("sliderPressed()", lambda: signals.emit(self, "sliderPressed"))
        self._slider.connect("sliderReleased()", lambda: signals.emit(self, "sliderReleased"))

    def _limits_changed(self) -> None:
        signals.emit(self, "rangeChanged", self._scale.minimum, self._scale.maximum)
        self.value = self._value
        self._show()

    def _on_place(self, place: int) -> None:
        self._set(self._scale.value(place))

    def _show(self) -> None:
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(self._scale.place(self._value))
        self._slider.blockSignals(blocked)

    def _set(self, value: float) -> None:
        value = self._scale.clamp(value)
        if value != self._value:
            self._value = value
            self._show()
            signals.emit(self, "valueChanged", value)

    @property
    def value(self) -> float:
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        self._set(value)

    @property
    def orientation(self) -> Qt.Orientation:
        return self._slider.orientation

    @orientation.setter
    def orientation(self, orientation: Qt.Orientation) -> None:
        self._slider.setOrientation(orientation)


@stand_in
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box beside it.

    As in CTK the spin box has the say: value and limits are rounded to its decimals (two, unless set), and sliders
    under the same parent share their decimals unless `synchronizeSiblings` says otherwise.
    """

    prefix, suffix = Inner("_spin", "prefix"), Inner("_spin", "suffix")
    spinBoxAlignment, singleStep = Inner("_spin", "alignment"), Inner("_spin", "singleStep")
    NoSynchronize, SynchronizeWidth, SynchronizeDecimals = 0, 1, 2

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scale, self._tracking, self._page, self._spin_shown, self._before = Scale(), True, 10.0, True, 0.0
        self._synchronise = self.SynchronizeWidth | self.SynchronizeDecimals
        self._slider, self._spin = QtWidgets.QSlider(Qt.Orientation.Horizontal, self), spin_box(self)
        self._slider.setRange(0, STEPS)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._slider.connect("valueChanged(int)", self._on_place)
        self._slider.connect("sliderReleased()", self._on_release)
        self._spin.connect("valueChanged(double)", self._on_value)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.MinimumExpanding, QtWidgets.QSizePolicy.Policy.Fixed)

    # --- the slider follows the spin box, and moves it in steps

    def _show(self) -> None:
        self._scale.minimum, self._scale.maximum = self._spin.minimum, self._spin.maximum
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(self._scale.place(self._spin.value))
        self._slider.blockSignals(blocked)

    def _on_value(self, value: float) -> None:
        if not self._slider.isSliderDown():
            self._show()
        if not self._tracking:
            signals.emit(self, "valueIsChanging", value)
        if self._tracking or not self._slider.isSliderDown():
            self._before = value
            signals.emit(self, "valueChanged", value)

    def _on_place(self, place: int) -> None:
        low, step = self._scale.minimum, self._spin.singleStep
        value = self._scale.value(place)
        self._spin.setValue(low + step * round((value - low) / step) if step > 0 else value)

    def _on_release(self) -> None:
        self._show()
        if not self._tracking and self._spin.value != self._before:
            self._before = self._spin.value
            signals.emit(self, "valueChanged", self._before)

    # --- properties

    @property
    def value(self) -> float:
        held = self._slider.isSliderDown() and not self._tracking
        return self._before if held else self._spin.value

    @value.setter
    def value(self, value: float) -> None:
        self._spin.setValue(finite(value))

    @property
    def minimum(self) -> float:
        return self._spin.minimum

    @minimum.setter
    def minimum(self, limit: float) -> None:
        self._limit(self._spin.setMinimum, limit)

    @property
    def maximum(self) -> float:
        return self._spin.maximum

    @maximum.setter
    def maximum(self, limit: float) -> None:
        self._limit(self._spin.setMaximum, limit)

    def _limit(self, put: Any, limit: float) -> None:
        before, blocked = self._spin.value, self._spin.blockSignals(True)
        put(finite(limit))
        self._spin.blockSignals(blocked)
        self._show()
        if self._spin.value != before:
            self._on_value(self._spin.value)

    @property
    def decimals(self) -> int:
        return self._spin.decimals

    @decimals.setter
    def decimals(self, decimals: int) -> None:
        self._set_decimals(decimals)
        if self._synchronise & self.SynchronizeDecimals and self.parent() is not None:
            for other in self.parent().findChildren("ctkSliderWidget"):
                if other is not self and other._synchronise & self.SynchronizeDecimals:
                    other._set_decimals(decimals)

    def _set_decimals(self, decimals: int) -> None:
        if decimals != self._spin.decimals:
            self._spin.setDecimals(decimals)
            self._show()
            signals.emit(self, "decimalsChanged", decimals)

    @property
    def synchronizeSiblings(self) -> int:
        return self._synchronise

    @synchronizeSiblings.setter
    def synchronizeSiblings(self, flags: int) -> None:
        self._synchronise = int(flags)

    @property
    def pageStep(self) -> float:
        return self._page

    @pageStep.setter
    def pageStep(self, step: float) -> None:
        self._page = float(step)

    @property
    def tracking(self) -> bool:
        return self._tracking

    @tracking.setter
    def tracking(self, tracking: bool) -> None:
        self._tracking = bool(tracking)

    @property
    def spinBoxVisible(self) -> bool:
        return self._spin_shown

    @spinBoxVisible.setter
    def spinBoxVisible(self, visible: bool) -> None:
        self._spin_shown = bool(visible)
        self._spin.setVisible(self._spin_shown)

    def reset(self) -> None:
        self.value = 0.0


@stand_in
class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box over real numbers (a widget around one: it is no QDoubleSpinBox)."""

    prefix, suffix, alignment = Inner("_spin", "prefix"), Inner("_spin", "suffix"), Inner("_spin", "alignment")
    readOnly, frame = Inner("_spin", "readOnly"), Inner("_spin", "frame")
    singleStep, cleanText = Inner("_spin", "singleStep"), Inner("_spin", "cleanText")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin = spin_box(self)
        self._spin.setRange(0.0, 99.99)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._spin)
        self._spin.connect("valueChanged(double)", lambda value: signals.emit(self, "valueChanged", value))
        self._spin.connect("editingFinished()", lambda: signals.emit(self, "editingFinished"))

    @property
    def value(self) -> float:
        return self._spin.value

    @value.setter
    def value(self, value: float) -> None:
        self._spin.setValue(finite(value))

    @property
    def minimum(self) -> float:
        return self._spin.minimum

    @minimum.setter
    def minimum(self, limit: float) -> None:
        self._spin.setMinimum(finite(limit))

    @property
    def maximum(self) -> float:
        return self._spin.maximum

    @maximum.setter
    def maximum(self, limit: float) -> None:
        self._spin.setMaximum(finite(limit))

    @property
    def decimals(self) -> int:
        return self._spin.decimals

    @decimals.setter
    def decimals(self, decimals: int) -> None:
        if decimals != self._spin.decimals:
            self._spin.setDecimals(decimals)
            signals.emit(self, "decimalsChanged", decimals)

    def setValueIfDifferent(self, value: float) -> None:
        self._spin.setValue(finite(value))

    def setValueAlways(self, value: float) -> None:
        before = self._spin.value
        self._spin.setValue(finite(value))
        if self._spin.value == before:
            signals.emit(self, "valueChanged", before)

    def stepUp(self) -> None:
        self._spin.stepUp()

    def stepDown(self) -> None:
        self._spin.stepDown()
