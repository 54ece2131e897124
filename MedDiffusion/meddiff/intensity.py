"""Intensities: how a model card says that values were scaled for a network, with the exact inverse.

Nothing is clipped, so that what comes out of a network goes back to the units that came in (HU, arbitrary units).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np

from .errors import BadInput, choose

KINDS = ("none", "percentile", "window")


@dataclass(frozen=True)
class Scaling:
    """`y = gain * x + offset`, for numpy arrays and torch tensors alike; complex ones need `offset == 0`."""

    gain: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Raises `BadInput` unless it can be inverted and keeps the order of intensities."""
        if not (0 < self.gain < float("inf") and isfinite(self.offset)):
            raise BadInput(f"gain {self.gain} and offset {self.offset} came; expected a positive and a finite number")

    def forward(self, x: Any) -> Any:
        """Image units to network units; raises `BadInput` for complex `x` and a nonzero offset."""
        self.check(x)
        return x * self.gain + self.offset if self.offset else x * self.gain

    def inverse(self, y: Any) -> Any:
        """Network units to image units; raises `BadInput` for complex `y` and a nonzero offset."""
        self.check(y)
        return (y - self.offset) / self.gain if self.offset else y / self.gain

    def inverse_spread(self, spread: Any) -> Any:
        """A standard deviation or a difference, from network to image units: the offset does not count."""
        return spread / self.gain

    def check(self, x: Any) -> None:
        """Raises `BadInput` if `x` is complex and would be shifted, which would turn its phase."""
        if self.offset and "complex" in str(x.dtype):
            raise BadInput(f"complex data came with an offset of {self.offset}; choose a scale-only (linear) intensity")


@dataclass(frozen=True)
class Intensity:
    """Maps `lower`, `upper` (percentiles in %, or values of a window) to `target`; the choice that a card stores.

    `foreground` takes the percentiles of voxels above 0 alone; `linear` keeps 0 at 0 and has no offset.
    """

    kind: str
    lower: float = 0.0
    upper: float = 100.0
    target: tuple[float, float] = (0.0, 1.0)
    foreground: bool = False
    linear: bool = False

    def __post_init__(self) -> None:
        """Raises `BadInput` for an unknown kind, or for limits that are not ordered, finite and consistent."""
        choose(self.kind, KINDS, "intensity kind")
        for name, pair in {"lower, upper": (self.lower, self.upper), "target": self.target}.items():
            if not (_two_numbers(pair) and pair[0] < pair[1]):
                raise BadInput(f"intensity {name} is {pair}; expected two finite numbers, the smaller first")
        object.__setattr__(self, "target", (float(self.target[0]), float(self.target[1])))
        for name in ("foreground", "linear"):
            if not isinstance(getattr(self, name), bool):
                raise BadInput(f"intensity {name} is {getattr(self, name)!r}; expected true or false")
        if self.kind == "percentile" and not (self.lower >= 0 and self.upper <= 100):
            raise BadInput(f"percentiles {self.lower} and {self.upper} came; expected 0 to 100 %")
        if self.linear and (self.lower != 0 or self.target[0] != 0):
            came = f"lower {self.lower} and target {self.target}"
            raise BadInput(f"a linear intensity has {came}; it keeps 0 at 0: set both lower ends to 0")

    def fit(self, array: Any) -> Scaling:
        """The scaling of `array` (any shape; magnitude if complex); raises `BadInput` if it has no contrast."""
        if self.kind == "none":
            return Scaling()
        low, high = (self.lower, self.upper) if self.kind == "window" else self._percentiles(np.asarray(array))
        if self.linear:
            low = 0.0
        if not low < high:
            raise BadInput(f"the intensities go from {low} to {high}; expected contrast; choose wider limits")
        a, b = self.target
        gain = (b - a) / (high - low)
        scaling = Scaling(gain, a - low * gain)
        scaling.check(array)
        return scaling

    def _percentiles(self, array: np.ndarray) -> tuple[float, float]:
        """The values at both percentiles; raises `BadInput` for NaN, constant or (if asked for) no foreground."""
        values = np.abs(array) if np.iscomplexobj(array) else array
        bad = values.size - np.count_nonzero(np.isfinite(values))
        if bad or not values.size:
            raise BadInput(f"{bad} of {values.size} intensities are NaN or infinite; expected finite numbers")
        if values.min() == values.max():
            raise BadInput(f"all intensities are {values.min()}; expected an image with contrast")
        chosen = values[values > 0] if self.foreground else values
        if not chosen.size:
            raise BadInput(f"no intensity is above 0 (the highest is {values.max()}); expected a positive foreground")
        low, high = np.percentile(chosen, [self.lower, self.upper])
        return float(low), float(high)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"target": list(self.target)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Intensity:
        """The inverse of `to_dict`; raises `BadInput` for unknown keys, a missing kind and wrong values."""
        if not isinstance(data, Mapping):
            raise BadInput(f"intensity is {data!r}; expected an object with a kind ({', '.join(KINDS)})")
        for key in data:
            choose(str(key), [field.name for field in fields(cls)], "intensity key")
        if "kind" not in data:
            raise BadInput(f"intensity has no kind; add one of: {', '.join(KINDS)}")
        return cls(**data)


def _two_numbers(pair: Any) -> bool:
    """Whether `pair` is a sequence of two finite real numbers."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        return False
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) for value in pair)
