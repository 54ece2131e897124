"""A network over images that are larger than what it was trained on: window by window, blended at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from .cuts import Index, cut
from .prior import Condition, Network
from .tiling import blend


def in_windows(call: Callable[[Index], Tensor], shape: Sequence[int], window: Sequence[int]) -> Tensor:
    """`call` of every window of an image of `shape`, blended: what it returns is averaged, so it must be a mean."""
    found = cut(shape, window)
    return call(found[0]) if len(found) == 1 else blend(((index, call(index)) for index in found), shape)


@dataclass(frozen=True)
class Windowed:
    """A denoiser, at every step on windows of the whole noisy image (Bar-Tal 2023, MultiDiffusion, eq. 5): neighbours
    share their noise and agree, where images sampled one by one would show seams."""

    network: Network
    window: tuple[int, ...]

    def __call__(self, x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        def call(index: Index) -> Tensor:
            part = cond
            if cond is not None and cond.concat is not None:
                part = replace(cond, concat=cond.concat[(..., *index)])
            return self.network(x[(..., *index)], time, part)

        return in_windows(call, x.shape[2:], self.window)
