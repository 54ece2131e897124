"""The classical way to find vessels: Frangi's filter of dark tubes, and a threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .metrics import dice

SCALES = ((1.0, 2.0, 3.0), (1.5, 2.5), (2.0, 3.0), (2.0, 3.0, 4.0), (1.5, 2.0, 3.0, 4.0))  # pixels
BETAS = (0.5, 1.0, 2.0)
THRESHOLDS = np.geomspace(1e-4, 0.9, 60)


@dataclass(frozen=True)
class Frangi:
    """The filter (Frangi 1998, eq. 15) at some scales (pixels), how much it minds blobs (beta), and its threshold."""

    scales: tuple[float, ...] = (2.0, 3.0)
    beta: float = 1.0
    threshold: float = 0.05

    def response(self, image: NDArray[Any]) -> NDArray[np.floating]:
        """How much each pixel of (Y, X) looks like a dark tube, 0 to 1. Vessels are the same on bright and on dark
        ground where the logarithm is taken first, as attenuation adds up there. Raises BadInput for negative values."""
        from skimage.filters import frangi

        if image.ndim != 2 or not np.isfinite(image).all() or image.min() < 0:
            raise BadInput(f"an image of shape {image.shape} came; expected (Y, X) of finite intensities, 0 or more")
        floor = max(1e-3 * float(image.max()), 1e-12)
        scales: Any = self.scales  # which the library's own annotation takes for a range
        return frangi(np.log(image.astype(np.float64) + floor), scales, beta=self.beta, black_ridges=True)

    def __call__(self, image: NDArray[Any]) -> NDArray[np.bool_]:
        """The vessels (Y, X)."""
        return self.response(image) > self.threshold


def tuned(
    pairs: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]], scales: Sequence[tuple[float, ...]] = SCALES
) -> Frangi:
    """The filter with the highest mean Dice on images (Y, X) and their vessels: of the train split, which DARL never
    gets."""
    pairs, best = list(pairs), (-1.0, Frangi())
    for sizes, beta in product(scales, BETAS):
        found = [Frangi(sizes, beta).response(image) for image, _ in pairs]
        for threshold in THRESHOLDS:
            score = fmean(dice(truth, r > threshold) for r, (_, truth) in zip(found, pairs, strict=True))
            if score > best[0]:
                best = score, Frangi(sizes, beta, float(f"{threshold:.3g}"))
    return best[1]
