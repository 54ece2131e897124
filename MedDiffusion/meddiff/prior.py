"""A prior is a network, the levels it was trained on, and what it predicts. `denoise` is its one interface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from .convert import to_x0
from .levels import Level, Schedule


@dataclass(frozen=True)
class Condition:
    """What a network is told besides the noisy image. Every part is optional, and `null()` is explicit.

    `concat` (B, C, *spatial) is stacked on the channels, `context` (B, tokens, features) goes to cross-attention,
    `label` (B,) holds class numbers; `null_label` is the number that means "nothing was said".
    """

    concat: Tensor | None = None
    context: Tensor | None = None
    label: Tensor | None = None
    null_label: int | None = None

    def null(self) -> Condition:
        """The same condition with the label and context taken back, for classifier-free guidance (Ho 2021)."""
        label = None
        if self.label is not None and self.null_label is not None:
            label = self.label.new_full(self.label.shape, self.null_label)
        context = None if self.context is None else self.context.new_zeros(self.context.shape)
        return replace(self, label=label, context=context)


class Network(Protocol):
    """(x, time, condition) -> prediction of the shape of x."""

    def __call__(self, x: Tensor, time: float, cond: Condition | None, /) -> Tensor: ...


@dataclass(frozen=True)
class Prior:
    """p(x0), known through its denoiser E[x0 | x_t]. Gradients pass through it; it holds no loop."""

    network: Network
    schedule: Schedule
    predicts: str = "eps"

    def denoise(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """E[x0 | x] at `level` by Tweedie's formula; x is (B, C, *spatial). A clean level returns x itself."""
        if level.sigma == 0:
            return x / level.alpha
        return to_x0(self.network(x, level.time, cond), x, level, self.predicts)

    def path(self, steps: int, start: float = 1.0, spacing: str = "uniform", stop: float = 0.0) -> list[Level]:
        """`Schedule.path` of this prior's schedule."""
        return self.schedule.path(steps, start, spacing, stop)
