"""How alike two images are, as losses: 0 where they agree as well as they can."""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

FLAT = 1e-4  # variance below which a neighbourhood has nothing to compare, in network units squared


def box(x: Tensor, width: int) -> Tensor:
    """Means over cubes of `width` voxels, an odd number; the edge counts what there is."""
    pool = functional.avg_pool3d if x.ndim == 5 else functional.avg_pool2d
    return pool(x, width, 1, width // 2, count_include_pad=False)


def lncc(a: Tensor, b: Tensor, width: int = 5) -> Tensor:
    """1 - the mean squared local correlation of two images (B, C, *spatial) in windows of `width` (Avants 2008)."""
    mean_a, mean_b = box(a, width), box(b, width)
    cross = box(a * b, width) - mean_a * mean_b
    var_a = (box(a * a, width) - mean_a**2).clamp_min(0)
    var_b = (box(b * b, width) - mean_b**2).clamp_min(0)
    return 1 - (cross**2 / ((var_a + FLAT) * (var_b + FLAT))).mean()


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
