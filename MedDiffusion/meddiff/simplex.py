"""Fractal simplex noise: smooth at every scale, so that a lesion of any size looks like a part of the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .noises import seed_of

# Midpoints of the edges of a cube, the gradients of Perlin 2002, (3, 12).
_EDGES = torch.tensor(
    [edge for a in (-1, 1) for b in (-1, 1) for edge in ((a, b, 0), (a, 0, b), (0, a, b))], dtype=torch.float32
).T.contiguous()
_REACH = 0.5  # squared radius in which a vertex is felt: no further than the simplices around it, so there are no seams
# One octave's variance over a random position: the vertices have density 2 and independent gradients with mean square
# 2/3 along any axis, so it is 2 * 2/3 * integral of |d|^2 (reach - |d|^2)^8 over the ball.
_VARIANCE = 8 / 3 * math.pi * _REACH**10.5 * math.exp(math.lgamma(2.5) + math.lgamma(9) - math.lgamma(11.5))


class Simplex:
    """Simplex noise of unit variance, one generator for each image: `Simplex(seeds)(like)` is (B, ..., Y, X).

    Planes at a random place of three-dimensional simplex noise (Perlin 2002; lattice: Gustavson 2005), summed over
    octaves with wavelengths `period` / 2^k pixels and amplitudes `persistence`^k (Wyatt 2022, AnoDDPM, sec. 3.2).
    Each call is a fresh field; channels are independent. Mean 0 and variance 1 hold at each pixel over many fields;
    a single field, with few of its longest waves in view, has its own. Drawn as `Gaussian` is: on the CPU in float32,
    the same for an image in any batch.
    """

    def __init__(self, seeds: Sequence[int], octaves: int = 6, persistence: float = 0.8, period: float = 64.0):
        self.seeds = tuple(seeds)
        self._generators = [torch.Generator().manual_seed(seed_of(seed, "simplex")) for seed in seeds]
        total = math.sqrt(sum(persistence ** (2 * k) for k in range(octaves)) * _VARIANCE)
        self._octaves = [(period / 2**k, persistence**k / total) for k in range(octaves)]

    def __call__(self, like: Tensor) -> Tensor:
        if len(like) != len(self._generators):
            raise ValueError(f"this noise was made for a batch of {len(self._generators)}, got {len(like)}")
        *planes, height, width = like.shape[1:]
        rows = [
            torch.stack([_fractal(height, width, self._octaves, g) for _ in range(math.prod(planes))])
            for g in self._generators
        ]
        return torch.stack(rows).reshape(like.shape).to(like)


def _fractal(height: int, width: int, octaves: Sequence[tuple[float, float]], generator: torch.Generator) -> Tensor:
    """(height, width): one image at a time, whose arrays stay in the processor's cache."""
    out = torch.zeros(height, width, dtype=torch.float32)
    for period, amplitude in octaves:
        out += amplitude * _octave(height, width, period, generator)
    return out


def _octave(height: int, width: int, period: float, generator: torch.Generator) -> Tensor:
    """A plane of simplex noise of variance `_VARIANCE`, with independent gradients at all vertices in view."""
    # The lattice repeats after 3 along each axis: a uniform shift makes all pixels alike.
    x0, y0, z = (3 * torch.rand(3, generator=generator, dtype=torch.float32)).tolist()
    x = x0 + torch.arange(width, dtype=torch.float32)[None, :] / period
    y = y0 + torch.arange(height, dtype=torch.float32)[:, None] / period
    skew = (x + y + z) / 3
    i, j, k = (x + skew).floor(), (y + skew).floor(), (z + skew).floor()
    back = (i + j + k) / 6
    offset = x - (i - back), y - (j - back), z - (k - back)  # from the cell's first vertex
    return _corners(offset, (i.int(), j.int(), k.int()), _gradients(height, width, period, generator))


def _corners(offset: tuple[Tensor, Tensor, Tensor], cell: tuple[Tensor, Tensor, Tensor], gradients: Tensor) -> Tensor:
    """The sum over the four vertices of each pixel's simplex of (reach - |d|^2)^4 (g . d)."""
    (dx, dy, dz), (i, j, k) = offset, cell
    xy, yz, xz = dx >= dy, dy >= dz, dx >= dz  # in the order of the offsets one walks the cell's edges to its far end
    one, two = (xy & xz, ~xy & yz, ~xz & ~yz), (xy | xz, ~xy | yz, ~(xz & yz))
    out = torch.zeros_like(dx)
    for number, walked in enumerate((None, one, two, 1)):
        if isinstance(walked, tuple):
            a, b, c = (step.int() for step in walked)
        else:
            a = b = c = walked or 0
        d = [e - step + number / 6 for e, step in zip((dx, dy, dz), (a, b, c), strict=True)]
        weight = (_REACH - (d[0] * d[0] + d[1] * d[1] + d[2] * d[2])).clamp_min_(0)
        weight = weight * weight
        index = ((i + a) * gradients.shape[2] + (j + b)) * 2 + ((k + c) & 1)
        g = gradients.flatten(1).index_select(1, index.flatten()).reshape(3, *dx.shape)
        out += weight * weight * (g[0] * d[0] + g[1] * d[1] + g[2] * d[2])
    return out


def _gradients(height: int, width: int, period: float, generator: torch.Generator) -> Tensor:
    """(3, I, J, 2): one gradient for each vertex in view. Of the vertices with the same first two coordinates a plane
    feels no more than two neighbours, so the third counts modulo 2."""
    x, y, z = 3 + (width - 1) / period, 3 + (height - 1) / period, 3.0
    rows, columns = int((4 * x + y + z) / 3) + 2, int((x + 4 * y + z) / 3) + 2
    chosen = torch.randint(_EDGES.shape[1], (rows * columns * 2,), generator=generator)
    return _EDGES.index_select(1, chosen).reshape(3, rows, columns, 2)
