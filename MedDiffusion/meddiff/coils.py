"""Coil sensitivities S: smooth complex maps (coils, Y, X) with sum |S|^2 = 1, so that the combined image is sum S* x_c.

Needs sigpy for the estimation alone, imported when it is asked for.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import BadInput

KERNEL = 6  # ESPIRiT's k-space kernel, in points


def simulate_sensitivities(coils: int, shape: tuple[int, int], seed: int = 0) -> Tensor:
    """Loops on an ellipse around the field of view, fading with the squared distance, each with a smooth phase of its
    own; complex64 (coils, Y, X), sum |S|^2 = 1 everywhere; raises `BadInput`."""
    if coils < 1 or len(shape) != 2 or min(shape) < 1:
        raise BadInput(f"{coils} coils of shape {tuple(shape)} came; expected at least one coil and a size (Y, X)")
    random = np.random.default_rng(seed)
    y, x = (np.linspace(-1, 1, n) for n in shape)
    y, x = y[None, :, None], x[None, None, :]
    angle = (2 * pi * (np.arange(coils) + random.uniform(0, 1, coils) / 4) / coils)[:, None, None]
    distance2 = (y - 1.2 * np.sin(angle)) ** 2 + (x - 1.2 * np.cos(angle)) ** 2
    slope_y, slope_x, offset = random.uniform(-1, 1, (3, coils, 1, 1)) * np.array([1, 1, pi])[:, None, None, None]
    maps = np.exp(1j * (slope_y * y + slope_x * x + offset)) / (0.3 + distance2)
    maps /= np.linalg.norm(maps, axis=0)
    return torch.from_numpy(maps.astype(np.complex64))


def calibration_width(kspace: Any) -> int:
    """Side of the largest fully sampled square in the centre of k-space (coils, Y, X), in points."""
    sampled = np.any(np.abs(np.asarray(kspace)) > 0, axis=0)
    centre = tuple(n // 2 for n in sampled.shape)
    width = 0
    for side in range(1, min(sampled.shape) + 1):
        block = tuple(slice(c - side // 2, c - side // 2 + side) for c in centre)
        if not sampled[block].all():
            break
        width = side
    return width


def estimate_sensitivities(kspace: Any, width: int | None = None, crop: float = 0.9, threshold: float = 0.02) -> Tensor:
    """ESPIRiT maps (Uecker 2014) from the `width` (at most 24 by default) calibration points of k-space (coils, Y, X).

    Complex64 (coils, Y, X); zero where the eigenvalue is below `crop`: there is no signal. Their phase is relative to
    the first coil, so the image is complex: reconstruct two channels. Raises `BadInput` without enough calibration
    points, `ImportError` without sigpy.
    """
    data = np.asarray(kspace, np.complex64)
    if data.ndim != 3 or data.shape[0] < 2:
        raise BadInput(f"k-space of shape {data.shape} came; expected (coils, Y, X) with at least 2 coils")
    there = calibration_width(data)
    width = min(there, 24) if width is None else width
    if not KERNEL + 2 <= width <= there:
        raise BadInput(
            f"the fully sampled centre of k-space is {there} points wide and {width} were asked for; expected at least "
            f"{KERNEL + 2} and no more than there are: give the sensitivities, or acquire calibration lines"
        )
    from sigpy.mri.app import EspiritCalib

    # Points without signal have no phase: sigpy divides 0 by 0 there, and crops them.
    with np.errstate(divide="ignore", invalid="ignore"):
        app: Any = EspiritCalib(data, width, threshold, KERNEL, crop, show_pbar=False)
        maps = np.nan_to_num(app.run(), nan=0.0, posinf=0.0, neginf=0.0)
    return torch.from_numpy(np.ascontiguousarray(maps, np.complex64))
