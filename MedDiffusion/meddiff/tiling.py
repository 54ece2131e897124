"""Tiling: slices, batches, padding and overlapping patches of volumes that a network cannot take whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import pi

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .cuts import Index
from .domain import PLANES
from .errors import BadInput, choose


def slices(array: Tensor | np.ndarray, plane: str) -> Tensor:
    """(Z, Y, X) as slices (N, 1, H, W) across `plane`, without a copy; H, W keep the order of the other two axes."""
    if array.ndim != 3:
        raise BadInput(f"the array has shape {tuple(array.shape)}; expected a volume (Z, Y, X)")
    return torch.as_tensor(array).movedim(PLANES[choose(plane, PLANES, "plane")], 0).unsqueeze(1)


def stack(images: Tensor, plane: str) -> Tensor:
    """Slices (N, 1, H, W) back as (Z, Y, X), without a copy: the inverse of `slices`."""
    if images.ndim != 4 or images.shape[1] != 1:
        raise BadInput(f"the slices have shape {tuple(images.shape)}; expected one channel (N, 1, H, W)")
    return images.squeeze(1).movedim(0, PLANES[choose(plane, PLANES, "plane")])


def occupied(images: Tensor) -> Tensor:
    """Indexes (int64, ascending) of the slices of (N, C, H, W) that are not one constant value."""
    flat = images.flatten(1)
    return (flat != flat[:, :1]).any(1).nonzero().flatten()


def batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover `range(count)` once; raises `BadInput` for a size below 1."""
    if size < 1:
        raise BadInput(f"the batch size is {size}; expected 1 or more")
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def pad_to_multiple(x: Tensor, multiple: int | Sequence[int], value: float = 0.0) -> tuple[Tensor, Index]:
    """(B, C, *spatial) padded on both sides to `multiple` (one, or one an axis); `padded[(..., *crop)]` undoes it."""
    spatial = x.shape[2:]
    multiples = (multiple,) * len(spatial) if isinstance(multiple, int) else tuple(multiple)
    if not spatial or len(multiples) != len(spatial) or min(multiples) < 1:
        raise BadInput(f"multiple {multiple} and shape {tuple(x.shape)} came; expected one of 1 or more for each axis")
    extra = [-size % step for size, step in zip(spatial, multiples, strict=True)]
    crop = tuple(slice(e // 2, e // 2 + size) for e, size in zip(extra, spatial, strict=True))
    widths = [width for e in reversed(extra) for width in (e // 2, e - e // 2)]  # torch wants the last axis first
    return functional.pad(x, widths, value=value), crop


def blend(pieces: Iterable[tuple[Index, Tensor]], shape: Sequence[int]) -> Tensor:
    """The average of patches (..., *patch) at their windows as (..., *shape), weighted by raised cosines.

    Pieces are taken one at a time, so that a generator keeps one patch in memory; half precision is summed as float32.
    Raises `BadInput` if a piece does not fit its window, or if some voxels have none.
    """
    total = weights = None
    for window, piece in pieces:
        want = tuple(part.stop - part.start for part in window)
        lead = piece.shape[: piece.ndim - len(shape)]
        if piece.shape != (*lead, *want):
            raise BadInput(f"a patch of shape {tuple(piece.shape)} came for a window of {want}; they must agree")
        if total is None or weights is None:
            kind = torch.promote_types(piece.dtype, torch.float32)
            total = piece.new_zeros((*lead, *shape), dtype=kind)
            weights = torch.zeros(tuple(shape), dtype=total.real.dtype, device=piece.device)
        taper = _taper(want, weights)
        total[(..., *window)] += taper * piece
        weights[window] += taper
    if total is None or weights is None or not bool((weights > 0).all()):
        missing = "every voxel" if weights is None else f"{int((weights <= 0).sum())} of {weights.numel()} voxels"
        raise BadInput(f"{missing} of {tuple(shape)} came without a patch; expected windows that cover it")
    return total / weights


def _taper(size: Sequence[int], like: Tensor) -> Tensor:
    """sin^2 along every axis: smooth, and above 0 everywhere, so that an edge that one patch covers is kept."""
    taper = like.new_ones(())
    for n in size:
        centres = (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / n
        taper = taper.unsqueeze(-1) * torch.sin(pi * centres) ** 2
    return taper
