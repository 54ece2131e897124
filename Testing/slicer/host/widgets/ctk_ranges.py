"""CTK's editors of a lower and an upper number: ctkDoubleRangeSlider, ctkRangeWidget."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import signals
from ..classes import stand_in
from .numbers import Inner, Limits, Scale, finite, spin_box

Qt = QtCore.Qt


class Bar(QtWidgets.QWidget):
    """The groove with two handles; calls `moved(low, high)` with places from 0 to 1."""

    def __init__(self, parent: QtWidgets.QWidget, moved: Any) -> None:
        super().__init__(parent)
        self._low, self._high, self._moved, self._grip = 0.0, 1.0, moved, 0
        self.setMinimumSize(60, 22)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)

    def show_places(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self.update()

    def _x(self, place: float) -> float:
        return 7 + place * (self.width - 14)

    def _place(self, x: float) -> float:
        return min(max((x - 7) / max(self.width - 14, 1), 0.0), 1.0)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        x = event.position().x()
        self._grip = 1 if abs(x - self._x(self._low)) > abs(x - self._x(self._high)) else -1

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        place = self._place(event.position().x())
        if self._grip < 0:
            self._moved(min(place, self._high), self._high)
        else:
            self._moved(self._low, max(place, self._low))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        middle = self.height / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.palette.mid())
        painter.drawRoundedRect(QtCore.QRectF(7, middle - 2, self.width - 14, 4), 2, 2)
        painter.setBrush(self.palette.highlight())
        low, high = self._x(self._low), self._x(self._high)
        painter.drawRoundedRect(QtCore.QRectF(low, middle - 2, high - low, 4), 2, 2)
        painter.setBrush(self.palette.button())
        painter.setPen(QtGui.QPen(self.palette.color(QtGui.QPalette.ColorRole.Dark)))
        for x in (low, high):
            painter.drawEllipse(QtCore.QPointF(x, middle), 6, 6)
        painter.end()


class RangeMixin:
    """Two values within two limits; the widget has `_scale`, `_values` and `_show`."""

    _scale: Scale
    _values: tuple[float, float]

    def _set(self, low: float, high: float) -> None:
        low, high = self._scale.clamp(min(low, high)), self._scale.clamp(max(low, high))
        before = self._values
        if (low, high) == before:
            return
        self._values = (low, high)
        self._show()
        if low != before[0]:
            signals.emit(self, "minimumValueChanged", low)
        if high != before[1]:
            signals.emit(self, "maximumValueChanged", high)
        signals.emit(self, "valuesChanged", low, high)

    def _show(self) -> None:
        raise NotImplementedError

    def _range(self, minimum: float, maximum: float) -> None:
        self._scale.minimum, self._scale.maximum = float(minimum), float(maximum)
        self._limits_changed()

    def _limits_changed(self) -> None:
        signals.emit(self, "rangeChanged", self._scale.minimum, self._scale.maximum)
        self._set(*self._values)
        self._show()

    def _places(self) -> tuple[float, float]:
        span = self._scale.maximum - self._scale.minimum
        return tuple((value - self._scale.minimum) / span if span > 0 else 0.0 for value in self._values)

    def _moved(self, low: float, high: float) -> None:
        span = self._scale.maximum - self._scale.minimum
        self._set(self._scale.minimum + low * span, self._scale.minimum + high * span)


class Value:
    """Property `minimumValue` or `maximumValue`."""

    def __init__(self, place: int) -> None:
        self.place = place

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else owner._values[self.place]

    def __set__(self, owner: Any, value: float) -> None:
        low, high = owner._values
        if self.place == 0:
            owner._set(min(value, high), high)
        else:
            owner._set(low, max(value, low))


@stand_in
class ctkDoubleRangeSlider(RangeMixin, QtWidgets.QWidget):
    """A slider with two handles."""

    minimum, maximum = Limits("minimum"), Limits("maximum")
    minimumValue, maximumValue = Value(0), Value(1)

    def __init__(self, *args: Any) -> None:
        super().__init__(args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None)
        self._scale, self._values = Scale(0.0, 99.0), (0.0, 99.0)
        self._bar = Bar(self, self._moved)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar)

    def _show(self) -> None:
        self._bar.show_places(*self._places())

    def setMinimumValue(self, value: float) -> None:
        self.minimumValue = value

    def setMaximumValue(self, value: float) -> None:
        self.maximumValue = value

    def setValues(self, low: float, high: float) -> None:
        self._set(low, high)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._range(minimum, maximum)


@stand_in
class ctkRangeWidget(RangeMixin, QtWidgets.QWidget):
    """A slider with two handles between two spin boxes."""

    minimum, maximum = Limits("minimum"), Limits("maximum")
    minimumValue, maximumValue = Value(0), Value(1)
    prefix, suffix = Inner("_low_spin", "prefix"), Inner("_low_spin", "suffix")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scale, self._values = Scale(0.0, 99.0), (0.0, 99.0)
        self._low_spin, self._high_spin, self._bar = spin_box(self), spin_box(self), Bar(self, self._moved)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._low_spin)
        layout.addWidget(self._bar, 1)
        layout.addWidget(self._high_spin)
        self._low_spin.connect("valueChanged(double)", lambda value: self._set(value, max(value, self._values[1])))
        self._high_spin.connect("valueChanged(double)", lambda value: self._set(min(value, self._values[0]), value))
        self._show()

    def _show(self) -> None:
        self._bar.show_places(*self._places())
        for spin, value in zip((self._low_spin, self._high_spin), self._values, strict=True):
            blocked = spin.blockSignals(True)
            spin.setRange(finite(self._scale.minimum), finite(self._scale.maximum))
            spin.setValue(finite(value))
            spin.blockSignals(blocked)

    @property
    def decimals(self) -> int:
        return self._low_spin.decimals

    @decimals.setter
    def decimals(self, decimals: int) -> None:
        self._low_spin.setDecimals(decimals)
        self._high_spin.setDecimals(decimals)
        self._show()

    @property
    def singleStep(self) -> float:
        return self._low_spin.singleStep

    @singleStep.setter
    def singleStep(self, step: float) -> None:
        self._low_spin.setSingleStep(step)
        self._high_spin.setSingleStep(step)

    def setMinimumValue(self, value: float) -> None:
        self.minimumValue = value

    def setMaximumValue(self, value: float) -> None:
        self.maximumValue = value

    def setValues(self, low: float, high: float) -> None:
        self._set(low, high)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._range(minimum, maximum)

    def reset(self) -> None:
        self._set(self._scale.minimum, self._scale.maximum)
