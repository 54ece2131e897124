"""What a moving image has in common with a fixed one before anything bends: headers, centres, an affine map.

Maps are 4x4 matrices from voxels (z, y, x, 1) of the fixed grid to those of the moving one; images in network units.
"""

from __future__ import annotations

import warnings
from math import ceil, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .affine import FEWEST, Affine, fit_affine
from .errors import BadInput, Notice
from .similarity import lncc
from .volume import Volume
from .warp import identity, warp

ALIGN = ("auto", "affine", "rigid", "centres", "none")
ENOUGH = 60_000  # cubes of voxels at the finest level of the fit: with more it takes longer, and is not better
COARSEST = 12  # cubes along the shortest axis, below which there is nothing to see
APART = 0.05  # of the fixed image that lies in the moving one: less is no overlap
SIZES = (0.3, 3.0)  # how much smaller or larger anatomy may be

Matrix = NDArray[np.floating]


def frame(grid: Volume) -> Matrix:
    """From voxels (z, y, x, 1) of a grid to LPS mm (x, y, z, 1)."""
    return grid.affine[:, [2, 1, 0, 3]]


def to_matrix(affine: Affine, fixed: Volume, moving: Volume) -> Matrix:
    """An affine map about the centres of two grids as a matrix."""
    matrix, centre, other = np.eye(4), *map(_centre, (fixed, moving))
    matrix[:3, :3] = affine.matrix.double().numpy()
    matrix[:3, 3] = affine.shift.double().numpy() + other - matrix[:3, :3] @ centre
    return matrix


def to_affine(matrix: Matrix, fixed: Volume, moving: Volume) -> Affine:
    """The inverse of `to_matrix`."""
    shift = matrix[:3, :3] @ _centre(fixed) + matrix[:3, 3] - _centre(moving)
    return Affine(torch.from_numpy(matrix[:3, :3].copy()).float(), torch.from_numpy(shift).float())


def placed(image: Tensor, matrix: Matrix, fixed: Volume, moving: Volume) -> Tensor:
    """A moving image (1, C, Z, Y, X) on the fixed grid, its edge held outside."""
    return warp(image, to_affine(matrix, fixed, moving).field(fixed.shape, moving.shape))


def overlap(matrix: Matrix, fixed: Volume, moving: Volume) -> float:
    """The share of the fixed grid that lies in the moving one."""
    field = to_affine(matrix, fixed, moving).field(fixed.shape, moving.shape)
    place = field + identity(field)
    last = torch.tensor(moving.shape).reshape(1, 3, 1, 1, 1) - 0.5
    return float(((place >= -0.5) & (place <= last)).all(1).float().mean())


def begin(fixed: tuple[Volume, Tensor], moving: tuple[Volume, Tensor], given: Matrix | None, how: str) -> Matrix:
    """Where the headers, or a `given` transform (LPS mm, fixed to moving), place the moving image; or, if that is no
    overlap, or worse, and `how` allows it, both centres on each other. Raises BadInput for images that are apart."""
    (grid, image), (its_grid, its_image) = fixed, moving
    headers = np.linalg.solve(frame(its_grid), (np.eye(4) if given is None else given) @ frame(grid))
    apart = overlap(headers, grid, its_grid) < APART
    if apart and given is not None:
        raise BadInput("the initial transform takes the fixed image out of the moving one; expected them to overlap")
    if apart and how == "none":
        raise BadInput("the images do not overlap where their headers place them; choose an alignment, or correct them")
    if given is not None or how == "none":
        return headers
    linear = Affine(to_affine(headers, grid, its_grid).matrix, torch.zeros(3))
    centres = to_matrix(linear, grid, its_grid)
    if apart:
        warnings.warn("the headers place the images apart; their centres were put on each other", Notice, stacklevel=3)
    if apart or how == "centres":
        return centres
    step = finest(grid)
    scores = [likeness(placed(its_image, m, grid, its_grid), image, step) for m in (headers, centres)]
    return headers if scores[0] >= scores[1] else centres


def align(
    fixed: tuple[Volume, Tensor], moving: tuple[Volume, Tensor], start: Matrix, rigid: bool
) -> tuple[Matrix, bool]:
    """The map after a fit from coarse to fine, and whether it is better than the `start`, which is kept otherwise."""
    (grid, image), (its_grid, its_image) = fixed, moving
    step, now = finest(grid), to_affine(start, grid, its_grid)
    steps = [step]
    while min(grid.shape) // (2 * steps[0]) >= COARSEST and min(its_grid.shape) // (2 * steps[0]) >= FEWEST:
        steps.insert(0, 2 * steps[0])
    for each in steps:
        now = fit_affine(its_image, image, step=each, start=now, rigid=rigid)
    found = to_matrix(now, grid, its_grid)
    size = float(np.linalg.det(found[:3, :3]) / np.linalg.det(start[:3, :3]))
    before, after = (likeness(placed(its_image, m, grid, its_grid), image, step) for m in (start, found))
    better = after > before and SIZES[0] < size < SIZES[1] and overlap(found, grid, its_grid) >= APART
    return (found, True) if better else (start, False)


def finest(grid: Volume) -> int:
    """The cubes of voxels that the fit ends with."""
    return max(1 if min(grid.shape) < 2 * FEWEST else 2, ceil((prod(grid.shape) / ENOUGH) ** (1 / 3)))


def likeness(a: Tensor, b: Tensor, step: int = 1) -> float:
    """The mean squared local correlation, 0 to 1, of two images on one grid, of means over cubes of `step` voxels."""
    if step > 1:
        a, b = functional.avg_pool3d(a, step), functional.avg_pool3d(b, step)
    return float(1 - lncc(a, b))


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of the intensities of two images on one grid; 0 where one is constant."""
    a, b = (x.flatten().double() - x.double().mean() for x in (a, b))
    return float((a @ b) / (a.norm() * b.norm()).clamp_min(1e-12))


def _centre(grid: Volume) -> Matrix:
    return (np.array(grid.shape, float) - 1) / 2
