"""The affine map between two images: what is found before a deformation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .errors import BadInput
from .similarity import lncc
from .warp import identity, warp

RATE, STIFFNESS, WINDOW = 0.015, 0.02, 5
PULL = 20.0  # voxels of shift for one unit of the matrix: about the radius of what is registered


@dataclass(frozen=True)
class Affine:
    """The place of a voxel p of one grid in another: A (p - c) + shift + c', c and c' the centres of the two grids."""

    matrix: Tensor  # (D, D)
    shift: Tensor  # (D,) voxels

    def field(self, size: Sequence[int], moving: Sequence[int]) -> Tensor:
        """The displacements (1, D, *size) that `warp` moves an image of the size `moving` with."""
        return self.places(size, moving) - identity(self.matrix.new_empty(1, len(size), *size))

    def places(self, size: Sequence[int], moving: Sequence[int], step: int = 1) -> Tensor:
        """Where the centres of cubes of `step` voxels of a grid of `size` lie in the other grid, in its voxels."""
        dims, few = len(size), [n // step for n in size]
        centre, other = (self.matrix.new_tensor([(n - 1) / 2 for n in each]) for each in (size, moving))
        here = identity(self.matrix.new_empty(1, dims, *few)) * step + (step - 1) / 2
        shape = (1, dims, *(1,) * dims)
        turned = torch.einsum("ij,bj...->bi...", self.matrix, here - centre.reshape(shape))
        return turned + (self.shift + other).reshape(shape)


def fit_affine(moving: Tensor, fixed: Tensor, steps: int = 80, step: int = 2) -> Affine:
    """The affine map from `fixed` (1, 1, *spatial) to `moving` (1, 1, *spatial), voxels of one size, whose centres lie
    on each other, by local correlation of means over cubes of `step` voxels: Adam on the logarithm of the matrix and
    the shift, from the identity. Raises BadInput for images with too few voxels."""
    dims = fixed.ndim - 2
    if min(*fixed.shape[2:], *moving.shape[2:]) < 4 * step:
        raise BadInput(f"images of {tuple(fixed.shape[2:])} and {tuple(moving.shape[2:])} voxels came; expected more")
    pool = functional.avg_pool3d if dims == 3 else functional.avg_pool2d
    low, aim = (pool(x.float(), step) for x in (moving, fixed))
    here = identity(aim)
    log = torch.zeros(dims, dims, device=aim.device, requires_grad=True)
    shift = torch.zeros(dims, device=aim.device, requires_grad=True)
    optimiser = torch.optim.Adam([{"params": [log], "lr": RATE}, {"params": [shift], "lr": RATE * PULL}])
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.1, steps)
    with torch.enable_grad():
        for _ in range(steps):
            there = Affine(torch.matrix_exp(log), shift).places(fixed.shape[2:], moving.shape[2:], step)
            loss = lncc(warp(low, (there - (step - 1) / 2) / step - here), aim, WINDOW) + STIFFNESS * log.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
    return Affine(torch.matrix_exp(log.detach()), shift.detach())
