"""Optimisation of the velocity of one pair (Balakrishnan 2019, sec. V-D): what a network said, made better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod

import torch
from torch import Tensor
from torch.nn import functional

from .levels import CLEAN
from .sampling import Progress, Run
from .similarity import lncc
from .warp import exponential, resized, roughness, warp

RATE, WINDOW, SMOOTH, SQUARINGS = 0.1, 5, 0.1, 5
BUDGET = 2**21  # voxels at which images are compared; larger ones are averaged to it

Features = Callable[[Tensor], Tensor]  # an image (B, 1, *spatial) as what is compared (B, C, *spatial)


def compared_at(size: Sequence[int], budget: int = BUDGET) -> tuple[int, ...]:
    """The grid on which images of `size` are compared: the whole one, or one of no more than `budget` voxels."""
    ratio = max(1.0, (prod(size) / budget) ** (1 / len(size)))
    return tuple(max(2, int(n / ratio)) for n in size)


def refined(
    path: Tensor, moving: Tensor, fixed: Tensor, steps: int, *, features: Features | None = None, budget: int = BUDGET
) -> Run[Tensor]:
    """Velocities (B, F, D, *spatial) of a path whose last one was moved by `steps` of Adam; the others go along in
    proportion, so that the first stays the identity.

    The velocity lives on a grid of half the size of that on which the images are compared.
    """
    if not steps:
        return path
    size = compared_at(fixed.shape[2:], budget)
    m, f = (functional.interpolate(x, size, mode="area") for x in (moving, fixed))
    shown = features is None and size == tuple(fixed.shape[2:])  # else what is compared is not the image
    if features is not None:
        m, f = features(m), features(f)
    start = resized(path[:, -1], [max(2, ceil(n / 2)) for n in size])
    v = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([v], RATE)
    for step in range(steps):
        with torch.enable_grad():
            moved = warp(m, resized(exponential(v, SQUARINGS), size))
            loss = len(v) * (lncc(moved, f, WINDOW) + SMOOTH * roughness(v))  # each pair its own
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        yield Progress(step + 1, steps, CLEAN, moved.detach() if shown else None)
    eta = torch.linspace(0, 1, path.shape[1], device=path.device, dtype=path.dtype)
    change = resized(v.detach() - start, path.shape[3:])
    return path + eta.reshape(1, -1, *(1,) * (path.ndim - 2)) * change[:, None]
