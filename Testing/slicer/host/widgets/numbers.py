"""What the editors of numbers share: a number as a place on a slider, properties of inner widgets."""

from __future__ import annotations

import math
from typing import Any

from PySide6 import QtWidgets

STEPS = 10_000
HUGE = 1e300


def finite(value: float) -> float:
    return min(max(float(value), -HUGE), HUGE)


class Scale:
    """A number between two others, as a place on an integer slider."""

    def __init__(self, minimum: float = 0.0, maximum: float = 100.0) -> None:
        self.minimum, self.maximum = minimum, maximum

    def clamp(self, value: float) -> float:
        return min(max(float(value), self.minimum), self.maximum)

    def place(self, value: float) -> int:
        span = self.maximum - self.minimum
        return round(STEPS * (value - self.minimum) / span) if span > 0 and math.isfinite(span) else 0

    def value(self, place: int) -> float:
        return self.minimum + (self.maximum - self.minimum) * place / STEPS


class Limits:
    """Property `minimum` or `maximum` of a widget with `_scale`; the value follows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else getattr(owner._scale, self.name)

    def __set__(self, owner: Any, limit: float) -> None:
        setattr(owner._scale, self.name, float(limit))
        if owner._scale.minimum > owner._scale.maximum:
            setattr(owner._scale, "maximum" if self.name == "minimum" else "minimum", float(limit))
        owner._limits_changed()


def spin_box(parent: QtWidgets.QWidget) -> QtWidgets.QDoubleSpinBox:
    box = QtWidgets.QDoubleSpinBox(parent)
    box.setRange(0.0, 100.0)
    box.setKeyboardTracking(False)
    return box


class Inner:
    """A property that is one of an inner widget: `prefix` of the spin box."""

    def __init__(self, inner: str, name: str, after: str = "") -> None:
        self.inner, self.name, self.after = inner, name, after

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else getattr(getattr(owner, self.inner), self.name)

    def __set__(self, owner: Any, value: Any) -> None:
        setattr(getattr(owner, self.inner), self.name, value)
        if self.after:
            getattr(owner, self.after)()
