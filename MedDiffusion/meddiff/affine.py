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

RATE, STIFFNESS, WINDOW = 0.03, 0.02, 5
FEWEST = 4  # cubes along an axis


@dataclass(frozen=True)
class Affine:
    """The place of a voxel p of one grid in another: A (p - c) + shift + c', c and c' the centres of the two grids."""

    matrix: Tensor  # (D, D)
    shift: Tensor  # (D,) voxels

    def after(self, inner: Affine) -> Affine:
        """The map that is `inner` first and then this one."""
        return Affine(self.matrix @ inner.matrix, self.matrix @ inner.shift + self.shift)

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


def fit_affine(
    moving: Tensor,
    fixed: Tensor,
    steps: int = 50,
    step: int = 2,
    *,
    start: Affine | None = None,
    rigid: bool = False,
) -> Affine:
    """The affine (or rigid) map from `fixed` (1, C, *spatial) to `moving` (1, C, *spatial) by local correlation of
    means over cubes of `step` voxels: Adam on the logarithm of a matrix and a shift that come before `start`.

    Without a start both have voxels of one size, and their centres lie on each other. Raises BadInput for images with
    too few voxels.
    """
    dims = fixed.ndim - 2
    if min(*fixed.shape[2:], *moving.shape[2:]) < FEWEST * step:
        raise BadInput(f"images of {tuple(fixed.shape[2:])} and {tuple(moving.shape[2:])} voxels came; expected more")
    pool = functional.avg_pool3d if dims == 3 else functional.avg_pool2d
    low, aim = (pool(x.float(), step) for x in (moving, fixed))
    here = identity(aim)
    log = torch.zeros(dims, dims, device=aim.device, requires_grad=True)
    shift = torch.zeros(dims, device=aim.device, requires_grad=True)
    radius = sum(fixed.shape[2:]) / (2 * dims)  # voxels of shift for one unit of the matrix
    optimiser = torch.optim.Adam([{"params": [log], "lr": RATE}, {"params": [shift], "lr": RATE * radius}])
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)

    def now() -> Affine:
        change = Affine(torch.matrix_exp((log - log.T) / 2 if rigid else log), shift)
        return change if start is None else start.after(change)

    with torch.enable_grad():
        for _ in range(steps):
            there = now().places(fixed.shape[2:], moving.shape[2:], step)
            loss = lncc(warp(low, (there - (step - 1) / 2) / step - here), aim, WINDOW) + STIFFNESS * log.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
    found = now()
    return Affine(found.matrix.detach(), found.shift.detach())
