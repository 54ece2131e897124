"""Complex images under a prior of magnitudes: take the smooth phase off, and what is left is nearly real and positive.

The phase of an MR image varies slowly but for vessels and interfaces (Noll 1991, IEEE TMI 10:154: homodyne detection).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .kspace import middle
from .levels import Level
from .operators import ifft2c
from .prior import Condition, Prior

PHASE = 0.1  # rad: how far the phase strays from a smooth one, where nothing else is told
FLOOR = 1e-3  # spread of the imaginary part where there is no image, in the units of the model


def low_resolution(kspace: Tensor, maps: Tensor, box: tuple[int, int]) -> Tensor:
    """The complex image (Y, X) of the centre `box` (rows, columns) of k-space (coils, Y, X), Hann-weighted."""
    window = torch.zeros(kspace.shape[-2:], dtype=kspace.real.dtype)
    sizes = kspace.shape[-2:]
    rows, columns = (middle(n, b) for n, b in zip(sizes, box, strict=True))
    # cos^2(pi k / b), even in k: the image of a real one stays real
    hann = [torch.cos(torch.pi * (torch.arange(b, dtype=window.dtype) - b // 2) / b).square() for b in box]
    window[rows, columns] = hann[0][:, None] * hann[1]
    return (maps.conj() * ifft2c(window * kspace)).sum(0)


def calibration_box(sampled: np.ndarray, least: int = 16, most: int = 48) -> tuple[int, int]:
    """Rows and columns of a fully sampled box in the centre of `sampled` (Y, X): a square, grown where lines are whole;
    `least` where there is none."""
    rows, columns = sampled.shape
    box = [0, 0]
    growing = [True, True]
    while any(growing):
        for axis, limit in enumerate((min(rows, most), min(columns, most))):
            wider = [b + (k == axis) for k, b in enumerate(box)] if min(box) else [1, 1]
            inside = sampled[tuple(middle(n, b) for n, b in zip(sampled.shape, wider, strict=True))]
            growing[axis] = box[axis] < limit and bool(inside.all())
            box = wider if growing[axis] else box
    return min(rows, max(box[0], least)), min(columns, max(box[1], least))


@dataclass(frozen=True, eq=False)
class NearlyReal(Prior):
    """A prior of magnitudes for images (B, 2, Y, X) whose smooth phase was taken off: it knows the real part, and the
    imaginary part is Gaussian noise of standard deviation `spread` (B, 1, Y, X), in the units of the model."""

    spread: Tensor = field(kw_only=True)

    @classmethod
    def of(cls, prior: Prior, spread: Tensor) -> NearlyReal:
        """The same network; `spread` may be 0."""
        return cls(prior.network, prior.schedule, prior.predicts, spread=spread + FLOOR)

    def denoise(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """The network's E[x0 | x] of the real part, Wiener's of the imaginary part."""
        real = super().denoise(x[:, :1], level, cond)
        variance = (level.alpha * self.spread).square()
        keep = variance / (variance + level.sigma**2) / level.alpha if level.sigma else 1 / level.alpha
        return torch.cat([real, x[:, 1:] * keep], 1)
