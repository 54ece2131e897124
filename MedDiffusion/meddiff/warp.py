"""Displacements and stationary velocities: how they move images, how they compose, and whether they fold.

A field u is (B, D, *spatial) in VOXELS of its grid, components in the order of the axes (z, y, x): the warped image at
p is image(p + u(p)). A velocity v has the same layout; its exponential is a diffeomorphism, and exp(-v) its inverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .errors import BadInput, choose

SQUARINGS = 7  # of an exponential: a step of 1/128 of the velocity
MODES = ("bilinear", "nearest")
OUTSIDE = ("border", "zeros")


def identity(like: Tensor) -> Tensor:
    """The place of each voxel of a field (B, D, *spatial): (1, D, *spatial)."""
    axes = [torch.arange(n, device=like.device, dtype=like.dtype) for n in like.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def warp(image: Tensor, u: Tensor, mode: str = "bilinear", outside: str = "border") -> Tensor:
    """image(p + u(p)) for an image (B, C, *spatial) and a field (B, D, *spatial), whose grid may have another size.

    `outside` of the image its edge holds, or zeros do. Raises BadInput for shapes that do not belong together.
    """
    choose(mode, MODES, "interpolation")
    choose(outside, OUTSIDE, "filling of the outside")
    dims = u.ndim - 2
    if dims not in (2, 3) or u.shape[1] != dims or image.ndim != u.ndim or len(image) != len(u):
        raise BadInput(
            f"an image of shape {tuple(image.shape)} and a field of shape {tuple(u.shape)} came; expected "
            "(B, C, *size) and (B, D, *size) with 2 or 3 axes in both"
        )
    kind = torch.promote_types(u.dtype, torch.float32)  # places are never in half precision
    place = identity(u.to(kind)) + u.to(kind)
    extent = torch.tensor(image.shape[2:], dtype=kind, device=u.device).reshape(1, -1, *(1,) * dims)
    grid = ((2 * place + 1) / extent - 1).movedim(1, -1).flip(-1)
    with torch.autocast(u.device.type, enabled=False):
        moved = functional.grid_sample(image.to(kind), grid, mode, outside, align_corners=False)
    return moved.to(image.dtype)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The field of (id + outer) o (id + inner): what is warped by `outer` and then by `inner`."""
    return inner + warp(outer, inner)


def exponential(v: Tensor, squarings: int = SQUARINGS) -> Tensor:
    """exp(v) by scaling and squaring (Arsigny 2006); with no squarings, v itself."""
    u = v / 2**squarings
    for _ in range(squarings):
        u = compose(u, u)
    return u


def resized(field: Tensor, size: Sequence[int]) -> Tensor:
    """A field on a grid of another size that covers the same box, its voxels rescaled with it."""
    if tuple(field.shape[2:]) == tuple(size):
        return field
    ratio = torch.tensor([n / m for n, m in zip(size, field.shape[2:], strict=True)], device=field.device)
    mode = "trilinear" if len(size) == 3 else "bilinear"
    fine = functional.interpolate(field, tuple(size), mode=mode, align_corners=False)
    return fine * ratio.to(field.dtype).reshape(1, -1, *(1,) * len(size))


def derivatives(u: Tensor) -> Tensor:
    """du_i / dp_j as (B, D, D, *spatial): central differences, one-sided at the edge, so exact for affine fields."""
    axes = range(2, u.ndim)
    if min(u.shape[2:]) < 2:
        raise BadInput(f"a field of {tuple(u.shape[2:])} voxels came; expected 2 or more along each axis")
    return torch.stack([torch.gradient(u, dim=axis)[0] for axis in axes], 2)


def jacobian_determinant(u: Tensor) -> Tensor:
    """det(I + du/dp) (B, *spatial): the local change of volume, negative or 0 where the map folds."""
    with torch.autocast(u.device.type, enabled=False):
        j = derivatives(u.to(torch.promote_types(u.dtype, torch.float32))).movedim((1, 2), (-2, -1))
        return torch.linalg.det(j + torch.eye(j.shape[-1], dtype=j.dtype, device=j.device))


def folds(u: Tensor, mask: Tensor | None = None) -> float:
    """Percentage of voxels (those of `mask` (B, *spatial), if one is given) where the Jacobian determinant is not
    above 0; one that is not a number counts, too."""
    return folded(jacobian_determinant(u), mask)


def folded(determinant: Tensor, mask: Tensor | None = None) -> float:
    """`folds` of a determinant (B, *spatial) that is known already."""
    bad = ~(determinant > 0)
    chosen = bad if mask is None else bad[mask]
    return 100 * float(chosen.double().mean()) if chosen.numel() else 0.0


def roughness(v: Tensor) -> Tensor:
    """Mean over voxels of |dv/dp|^2 (diffusion regularisation), from forward differences that see every mode."""
    squares = [v.diff(dim=axis).square().sum(1).mean() for axis in range(2, v.ndim)]
    return torch.stack(squares).sum()
