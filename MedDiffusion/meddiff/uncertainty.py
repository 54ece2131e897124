"""From the spread of a few samples to a standard deviation that people can count on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import norm
from torch import Tensor, from_numpy

from .card import Calibration

SMOOTHING = 2.0  # voxels


def pooled(spread: Tensor, smoothing: float) -> Tensor:
    """The spread (N, C, Y, X) with its variance averaged over neighbours of a slice: four samples tell little of one
    voxel, their neighbours much (standard deviation of the Gaussian window: `smoothing` voxels)."""
    if not smoothing:
        return spread
    variance = gaussian_filter(spread.square().numpy(), (0, 0, smoothing, smoothing), truncate=3.0)
    return from_numpy(np.sqrt(np.maximum(variance, 0)).astype(np.float32))


def calibrated(spread: Tensor, calibration: Calibration | None) -> Tensor:
    """The standard deviation (N, C, Y, X) that `calibration` makes of a spread; without one the spread itself."""
    return spread if calibration is None else calibration.scale * pooled(spread, calibration.smoothing)


def fit_scale(errors: Sequence[np.ndarray], spreads: Sequence[np.ndarray], level: float = 0.9) -> float:
    """The factor by which `spreads` cover `errors` at the rate `level`, each case counting the same whatever its size:
    split-conformal scaling (Angelopoulos 2021, arXiv:2107.07511, sec. 2.3) of a Gaussian interval."""
    share = [np.abs(e).ravel() / np.maximum(s.ravel(), 1e-12) for e, s in zip(errors, spreads, strict=True)]
    weights = np.concatenate([np.full(len(s), 1 / len(s)) for s in share])
    ratios = np.concatenate(share)
    order = np.argsort(ratios)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(ratios[order][np.searchsorted(reached, level)] / norm.ppf((1 + level) / 2))
