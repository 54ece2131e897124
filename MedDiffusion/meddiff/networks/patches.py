"""Space to depth and back: p^d neighbours become channels, so that no layer runs at full resolution."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def to_depth(x: Tensor, p: int) -> Tensor:
    """(B, C, *spatial) as (B, C p^d, *spatial / p) (Shi 2016, sub-pixel convolution, backwards)."""
    if p == 1:
        return x
    if x.ndim == 4:
        return functional.pixel_unshuffle(x, p)
    b, c, *size = x.shape
    x = x.reshape(b, c, size[0] // p, p, size[1] // p, p, size[2] // p, p)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def to_space(x: Tensor, p: int) -> Tensor:
    """The inverse of `to_depth`."""
    if p == 1:
        return x
    if x.ndim == 4:
        return functional.pixel_shuffle(x, p)
    b, _, z, h, w = x.shape
    x = x.reshape(b, -1, p, p, p, z, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, -1, z * p, h * p, w * p)
