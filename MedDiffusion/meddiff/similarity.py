"""How alike two images are, as losses: 0 where they agree as well as they can."""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

FLAT = 1e-4  # variance below which a neighbourhood has nothing to compare, in network units squared


def box(x: Tensor, width: int) -> Tensor:
    """Means over cubes of `width` voxels, an odd number; the edge counts what there is. Differences of running sums,
    axis by axis, so that wide windows take no longer than narrow ones."""
    for axis in range(2, x.ndim):
        n, places = x.shape[axis], torch.arange(x.shape[axis], device=x.device)
        sums = functional.pad(x.cumsum(axis), [0, 0] * (x.ndim - 1 - axis) + [1, 0])
        last, first = (places + width // 2 + 1).clamp_max(n), (places - width // 2).clamp_min(0)
        count = (last - first).to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis))
        x = (sums.index_select(axis, last) - sums.index_select(axis, first)) / count
    return x


def lncc(a: Tensor, b: Tensor, width: int = 5) -> Tensor:
    """1 - the mean squared local correlation of two images (B, C, *spatial) in windows of `width` (Avants 2008)."""
    mean_a, mean_b, square_a, square_b, product = box(torch.cat([a, b, a * a, b * b, a * b], 1), width).chunk(5, 1)
    var_a, var_b = ((m2 - m * m).clamp_min(0) + FLAT for m, m2 in ((mean_a, square_a), (mean_b, square_b)))
    return 1 - ((product - mean_a * mean_b) ** 2 / (var_a * var_b)).mean()


@cache
def _pairs(dims: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """The pairs of face neighbours of a voxel that are sqrt(2) apart: 12 in three dimensions, 4 in two."""
    faces = [p for p in product((-1, 0, 1), repeat=dims) if sum(map(abs, p)) == 1]
    apart = [(p, q) for i, p in enumerate(faces) for q in faces[i + 1 :]]
    return tuple((p, q) for p, q in apart if sum((m - n) ** 2 for m, n in zip(p, q, strict=True)) == 2)


def mind(x: Tensor, width: int = 3, step: int = 1) -> Tensor:
    """MIND-SSC (Heinrich 2013): how alike the neighbours of each voxel of (B, 1, *spatial) are to each other, as
    (B, 12, *spatial) between 0 and 1 (4 in two dimensions); it does not know the scale of intensities."""
    dims = x.ndim - 2
    padded = functional.pad(x, (step,) * 2 * dims, mode="replicate")

    def moved(by: tuple[int, ...]) -> Tensor:
        return padded[
            (..., *(slice(step + step * b, step + step * b + n) for b, n in zip(by, x.shape[2:], strict=True)))
        ]

    distance = torch.cat([box((moved(p) - moved(q)).square(), width) for p, q in _pairs(dims)], 1)
    distance = distance - distance.amin(1, keepdim=True)
    spread = distance.mean(1, keepdim=True)
    typical = spread.mean(tuple(range(1, x.ndim)), keepdim=True)
    return torch.exp(-distance / spread.clamp(1e-3 * typical, 1e3 * typical).clamp_min(1e-8))
