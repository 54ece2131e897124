"""Optimisation of the velocity of one pair (Balakrishnan 2019, sec. V-D): what a network said, made better."""

from __future__ import annotations

import torch
from torch import Tensor

from .levels import CLEAN
from .sampling import Progress, Run
from .similarity import lncc
from .warp import exponential, resized, roughness, warp

RATE, WINDOW, SMOOTH, SQUARINGS = 0.1, 5, 0.05, 5


def misalignment(v: Tensor, moving: Tensor, fixed: Tensor) -> Tensor:
    """What is left of the difference after exp(v), and how rough v is."""
    return lncc(warp(moving, exponential(v, SQUARINGS)), fixed, WINDOW) + SMOOTH * roughness(v)


def refined(path: Tensor, moving: Tensor, fixed: Tensor, steps: int) -> Run[Tensor]:
    """Velocities (B, F, D, *spatial) of a path whose last one was moved by `steps` of Adam on a half-size grid; the
    others go along in proportion, so that the first stays the identity."""
    last = path[:, -1]
    half = [max(2, -(-n // 2)) for n in last.shape[2:]]
    change = torch.zeros_like(resized(last, half)).requires_grad_()
    optimiser = torch.optim.Adam([change], RATE)
    for step in range(steps):
        with torch.enable_grad():
            loss = len(last) * misalignment(last + resized(change, last.shape[2:]), moving, fixed)  # each pair its own
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        yield Progress(step + 1, steps, CLEAN, None)
    eta = torch.linspace(0, 1, path.shape[1], device=path.device, dtype=path.dtype)
    whole = resized(change.detach(), last.shape[2:])
    return path + eta.reshape(1, -1, *(1,) * (path.ndim - 2)) * whole[:, None] if steps else path
