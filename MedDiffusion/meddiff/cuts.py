"""Where an image is cut into windows that a network can take, and how much it so sees: said once for the engine, which
cuts, and the panels, which tell what that will cost; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, prod

import numpy as np

from .errors import BadInput

Index = tuple[slice, ...]  # of the spatial axes: `x[(..., *index)]`
ROOM, OVERLAP = 1.5, 0.5  # an image is cut where it is so many times larger than a window; how far windows overlap


def cut(shape: Sequence[int], window: Sequence[int]) -> list[Index]:
    """The windows of an image of `shape`: one, if it is not much larger than `window` (empty: any size)."""
    if not window or all(n <= ROOM * w for n, w in zip(shape, window, strict=True)):
        return [tuple(slice(0, n) for n in shape)]
    sizes = [n if n <= ROOM * w else w for n, w in zip(shape, window, strict=True)]
    return patches(shape, sizes, OVERLAP)


def seen(shape: Sequence[int], window: Sequence[int], multiple: int) -> int:
    """How many voxels the network sees of an image of `shape`, padding and overlap counted."""
    return sum(_sizes(shape, window, multiple))


def largest(shape: Sequence[int], window: Sequence[int], multiple: int) -> int:
    """How many voxels of an image of `shape` the network sees at a time, padding counted."""
    return max(_sizes(shape, window, multiple))


def _sizes(shape: Sequence[int], window: Sequence[int], multiple: int) -> list[int]:
    sizes = ([part.stop - part.start for part in index] for index in cut(shape, window))
    return [prod(n + -n % multiple for n in size) for size in sizes]


def patches(shape: Sequence[int], size: int | Sequence[int], overlap: float = 0.5) -> list[Index]:
    """Windows of `size` that cover `shape`, evenly spread, overlapping by at least this fraction (0 to below 1).

    Along an axis that is shorter than `size` the window is the axis: pad first if the network needs more.
    """
    sizes = (size,) * len(shape) if isinstance(size, int) else tuple(size)
    if not shape or len(sizes) != len(shape) or min(*shape, *sizes) < 1:
        raise BadInput(f"patch size {size} and shape {tuple(shape)} came; expected one of 1 or more for each axis")
    if not 0 <= overlap < 1:
        raise BadInput(f"the overlap is {overlap}; expected a fraction from 0 to below 1")
    return list(product(*(_windows(n, min(p, n), overlap) for n, p in zip(shape, sizes, strict=True))))


def _windows(length: int, size: int, overlap: float) -> list[slice]:
    """Windows along one axis: as few as the overlap allows, the first and the last at the ends."""
    stride = max(1, int(size * (1 - overlap) + 1e-9))  # 10 at an overlap of 0.8 is 2, not 1.9999
    count = ceil((length - size) / stride) + 1
    return [slice(start, start + size) for start in np.linspace(0, length - size, count).round().astype(int).tolist()]
