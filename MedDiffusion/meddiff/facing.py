"""Two images face to face: from displacements on the grid of a network to transforms of the original images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .alignment import Matrix, frame
from .placing import Placed
from .vectors import Vectors
from .volume import Volume
from .warp import compose, identity, warp


@dataclass(frozen=True, eq=False)
class Facing:
    """Both images on the working grids of a model, and the map between the voxels of these."""

    fixed: Placed
    moving: Placed
    to_moving: Matrix
    fixed_volume: Volume
    moving_volume: Volume

    @property
    def affine(self) -> Matrix:
        """The map in LPS mm."""
        return frame(self.moving.grid) @ self.to_moving @ np.linalg.inv(frame(self.fixed.grid))

    def there(self, u: Tensor | None) -> Vectors:
        """Points of the fixed volume in the moving one, by displacements (1, 3, Z, Y, X) of the working grid."""
        grid = self.fixed_volume
        into = np.linalg.solve(frame(self.fixed.grid), frame(grid))
        return composed(grid, into, u, frame(self.moving.grid) @ self.to_moving)

    def back(self, w: Tensor) -> Vectors:
        """Points of the moving volume in the fixed one, by the inverse displacements of the working grid."""
        grid = self.moving_volume
        into = np.linalg.solve(frame(self.moving.grid) @ self.to_moving, frame(grid))
        return composed(grid, into, w, frame(self.fixed.grid))


def composed(grid: Volume, into: Matrix, u: Tensor | None, onto: Matrix) -> Vectors:
    """The transform of the voxels of `grid`, by `into` to places p of a working grid, there to p + u(p) (edges are held
    beyond it), and by `onto` to LPS mm. All matrices act on (z, y, x, 1); places are linear in the voxel, so in double
    precision they cost three sums."""
    whole = onto @ into - frame(grid)
    axes = np.ogrid[tuple(slice(0.0, n) for n in grid.shape)]
    array = np.empty((*grid.shape, 3), np.float32)
    for k in range(3):
        array[..., k] = whole[k, 3] + sum(whole[k, axis] * axes[axis] for axis in range(3))
    if u is not None:
        turn = torch.from_numpy(onto[:3, :3]).float()
        array += torch.einsum("ij,jzyx->zyxi", turn, sampled(u, into, grid)[0]).numpy()
    return Vectors(array, grid)


def sampled(u: Tensor, into: Matrix, grid: Volume) -> Tensor:
    """A field (1, C, *size) at the places of the voxels of another grid, (1, C, Z, Y, X)."""
    if np.allclose(into, np.eye(4), atol=1e-9) and u.shape[2:] == grid.shape:
        return u
    blank = torch.empty(1, 3, *grid.shape)
    here = identity(blank)
    step = torch.from_numpy(into[:3, :3] - np.eye(3)).float()
    shift = torch.from_numpy(into[:3, 3]).float().reshape(1, 3, 1, 1, 1)
    return warp(u, torch.einsum("ij,bj...->bi...", step, here) + shift)


def astray(u: Tensor, w: Tensor, spacing: Tensor) -> float:
    """How far from where it was the way there (u) and back (w) leads, mm: the mean over voxels that stay inside."""
    place = identity(w) + w
    last = torch.tensor(w.shape[2:]).reshape(1, 3, 1, 1, 1) - 1
    inside = ((place >= 0) & (place <= last)).all(1)
    miss = (compose(u, w) * spacing).square().sum(1).sqrt()
    return float(miss[inside].mean()) if bool(inside.any()) else 0.0
