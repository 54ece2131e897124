"""Figures of quality against a reference: image error, rank correlation, calibration of uncertainty, overlap.

Images are real arrays or tensors of one shape, a slice (Y, X) or a volume (..., Y, X).
"""

from __future__ import annotations

from math import inf, log10
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from .errors import BadInput

SSIM_SIGMA = 1.5  # voxels
SSIM_WINDOW = 11  # voxels: 3.5 sigma to both sides


def psnr(reference: Any, image: Any, data_range: float | None = None) -> float:
    """10 log10(range^2 / mean squared error) in dB, infinite for identical images. The range is the maximum of the
    reference VOLUME unless given (fastMRI); raises `BadInput`."""
    reference, image = _pair(reference, image)
    error = float(np.mean((reference - image) ** 2))
    return 10 * log10(_range(reference, data_range) ** 2 / error) if error else inf


def ssim(reference: Any, image: Any, data_range: float | None = None) -> float:
    """Structural similarity (Wang 2004) with its Gaussian window of 1.5 voxels, slice by slice (Y, X), averaged; the
    range as for `psnr`; raises `BadInput`."""
    from skimage.metrics import structural_similarity

    reference, image = _pair(reference, image)
    limit = _range(reference, data_range)
    if reference.ndim < 2 or min(reference.shape[-2:]) < SSIM_WINDOW:
        raise BadInput(f"images of shape {reference.shape} came; SSIM needs slices of at least {SSIM_WINDOW}^2 voxels")
    slices = zip(*(a.reshape(-1, *a.shape[-2:]) for a in (reference, image)), strict=True)
    window = {"gaussian_weights": True, "sigma": SSIM_SIGMA, "use_sample_covariance": False}
    return float(np.mean([structural_similarity(a, b, data_range=limit, **window) for a, b in slices]))


def nmse(reference: Any, image: Any) -> float:
    """|image - reference|^2 / |reference|^2; raises `BadInput`."""
    reference, image = _pair(reference, image)
    energy = float(np.sum(reference**2))
    if not energy:
        raise BadInput("the reference is zero everywhere: an error relative to it has no meaning; choose another")
    return float(np.sum((reference - image) ** 2)) / energy


def spearman(a: Any, b: Any) -> float:
    """Correlation of the ranks, -1 to 1 (Spearman 1904), ties sharing their mean rank: does the uncertainty grow where
    the error does? Raises `BadInput`."""
    a, b = _pair(a, b)
    ranks = [rankdata(v, axis=None) for v in (a, b)]
    ranks = [r - r.mean() for r in ranks]
    spread = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    if not spread:
        raise BadInput("one of the two images is constant: it has no order to compare; expected two that vary")
    return float(ranks[0] @ ranks[1]) / spread


def coverage(truth: Any, mean: Any, sd: Any, level: float = 0.9) -> float:
    """Fraction of voxels whose truth lies in the central Gaussian interval of probability `level` around `mean`;
    equal to `level` if the standard deviation `sd` is calibrated; raises `BadInput`."""
    if not 0 < level < 1:
        raise BadInput(f"level {level} came; expected a probability between 0 and 1, such as 0.9")
    truth, mean = _pair(truth, mean)
    _, sd = _pair(truth, sd)
    if (sd < 0).any():
        raise BadInput("a standard deviation below 0 came; expected none: is this an uncertainty image?")
    return float(np.mean(np.abs(truth - mean) <= norm.ppf((1 + level) / 2) * sd))


def dice(a: Any, b: Any) -> float:
    """2 |a and b| / (|a| + |b|) of two masks (nonzero is inside), 1 if both are empty; raises `BadInput`."""
    a, b = (v != 0 for v in _pair(a, b))
    total = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; raises `BadInput` unless they are real, finite, nonempty and of one shape."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise BadInput(f"images of shape {a.shape} and {b.shape} came; expected the same: resample one to the other")
    if not a.size:
        raise BadInput("empty images came; expected at least one voxel")
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        raise BadInput("a complex image came; expected a real one: take its magnitude first")
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("an image holds values that are not finite; expected numbers: mask or replace them first")
    return a, b


def _range(reference: np.ndarray, given: float | None) -> float:
    limit = float(reference.max()) if given is None else given
    if not 0 < limit < inf:
        raise BadInput(f"the data range is {limit}; expected more than 0: give it, or a reference with positive values")
    return limit
