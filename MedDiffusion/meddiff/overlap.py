"""Figures of a segmentation against a truth: distance of the borders, and whether its probabilities are right."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import BadInput


def hd95(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """The 95th percentile, in mm, of the distances from each border to the other, both ways pooled (Taha 2015); borders
    are the voxels with a neighbour outside, face to face; `spacing` (x, y, z). Infinite if one of the masks (Z, Y, X)
    is empty, 0 if both are. Raises BadInput for other shapes."""
    if a.shape != b.shape or a.ndim != len(spacing):
        raise BadInput(f"masks of shape {a.shape} and {b.shape}, spacing {tuple(spacing)}; expected the same sizes")
    if not a.any() and not b.any():
        return 0.0
    if not a.any() or not b.any():
        return inf
    edges = [mask & np.logical_not(ndimage.binary_erosion(mask)) for mask in (a, b)]
    step = tuple(reversed(spacing))
    far: Any = [ndimage.distance_transform_edt(np.logical_not(edge), sampling=step) for edge in edges]
    return float(np.percentile(np.concatenate([far[1][edges[0]], far[0][edges[1]]]), 95))


def calibration_error(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    where: NDArray[np.bool_] | None = None,
    bins: int = 15,
) -> float:
    """Expected calibration error (Guo 2017, eq. 3) of probabilities (K, ...) and the true classes (...): how far the
    confidence of the most probable class is from how often it is right, in bins of equal width."""
    if probabilities.shape[1:] != truth.shape:
        raise BadInput(
            f"probabilities {probabilities.shape} and labels {truth.shape} came; expected (K, ...) and (...)"
        )
    confidence, right = probabilities.max(0), probabilities.argmax(0) == truth
    if where is not None:
        confidence, right = confidence[where], right[where]
    confidence, right = confidence.ravel(), right.ravel()
    if not len(confidence):
        raise BadInput("no voxel came to judge the probabilities by; expected one at least")
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(number, confidence, bins) - np.bincount(number, right, bins)
    return float(np.abs(gaps).sum() / len(confidence))
