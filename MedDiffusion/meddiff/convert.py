"""The four things that a network can predict, and the one place that converts between them."""

from __future__ import annotations

from torch import Tensor

from .errors import choose
from .levels import Level

PREDICTIONS = ("x0", "eps", "v", "score")


def to_x0(output: Tensor, x: Tensor, level: Level, predicts: str) -> Tensor:
    """The clean image from a network's output at `level`: eps (Ho 2020), v (Salimans 2022), score (Song 2021)."""
    a, s = level.alpha, level.sigma
    match choose(predicts, PREDICTIONS, "prediction"):
        case "x0":
            return output
        case "eps":
            return (x - s * output) / a
        case "v":  # v = a eps - s x0, for any a and s, not only on the unit circle
            return (a * x - s * output) / (a * a + s * s)
        case _:  # the score of p(x) is -eps / s
            return (x + s * s * output) / a


def from_x0(x0: Tensor, x: Tensor, level: Level, predicts: str) -> Tensor:
    """What a network of this kind would have said for the clean image `x0`; the inverse of `to_x0`. Needs sigma > 0."""
    a, s = level.alpha, level.sigma
    eps = (x - a * x0) / s
    match choose(predicts, PREDICTIONS, "prediction"):
        case "x0":
            return x0
        case "eps":
            return eps
        case "v":
            return a * eps - s * x0
        case _:
            return -eps / s
