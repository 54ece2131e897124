"""Annotations that describe widgets; the connectors themselves are not stood in for."""

from dataclasses import dataclass

__all__ = ["Decimals", "SingleStep"]


@dataclass
class Decimals:
    """Digits after the point in a spin box or slider."""

    value: int


@dataclass
class SingleStep:
    """The step of a spin box or slider."""

    value: float
