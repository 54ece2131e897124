"""A network over images that are larger than what it was trained on: window by window, blended at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor

from .prior import Condition, Network
from .tiling import Index, blend, patches

ROOM, OVERLAP = 1.5, 0.5  # an image is cut where it is so many times larger than a window; how far windows overlap


def cut(shape: Sequence[int], window: Sequence[int]) -> list[Index]:
    """The windows of an image of `shape`: one, if it is not much larger than `window` (empty: any size)."""
    if not window or all(n <= ROOM * w for n, w in zip(shape, window, strict=True)):
        return [tuple(slice(0, n) for n in shape)]
    sizes = [n if n <= ROOM * w else w for n, w in zip(shape, window, strict=True)]
    return patches(shape, sizes, OVERLAP)


def seen(shape: Sequence[int], window: Sequence[int], multiple: int) -> int:
    """How many voxels the network sees of an image of `shape`, padding and overlap counted."""
    sizes = ([part.stop - part.start for part in index] for index in cut(shape, window))
    return sum(prod(n + -n % multiple for n in size) for size in sizes)


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
