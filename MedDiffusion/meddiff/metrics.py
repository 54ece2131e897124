"""Figures of quality against a reference: image error, rank correlation, calibration of uncertainty, overlap,
detection.

Images are real arrays or tensors of one shape, a slice (Y, X) or a volume (..., Y, X).
"""

from __future__ import annotations

from math import inf, log10
from typing import Any

import numpy as np
from scipy.ndimage import find_objects, label
from scipy.stats import norm, rankdata

from .errors import BadInput

SSIM_SIGMA = 1.5  # voxels
SSIM_WINDOW = 11  # voxels: 3.5 sigma to both sides
NO_LESION = "the reference marks nothing; expected at least one lesion: choose another image"


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


def auprc(truth: Any, score: Any) -> float:
    """Area under precision and recall: over the distinct scores from the highest down, the recall gained times the
    precision reached (average precision; no interpolation, ties count at once). Chance gives the prevalence of `truth`
    (nonzero is positive); raises `BadInput` without a positive."""
    hits, marked, _ = _ranked(truth, score)
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * hits / marked))


def auroc(truth: Any, score: Any) -> float:
    """Probability that a positive scores above a negative, ties counting half (Mann and Whitney 1947); chance gives
    0.5; raises `BadInput` unless there are both."""
    hits, marked, _ = _ranked(truth, score)
    false = marked - hits
    if not false[-1]:
        raise BadInput("the reference marks every voxel; expected some that are not: give a larger region")
    twice = 2 * hits - np.diff(hits, prepend=0)  # trapezoids, in whole numbers
    return int(np.sum(np.diff(false, prepend=0) * twice)) / int(2 * false[-1] * hits[-1])


def best_dice(truth: Any, score: Any) -> tuple[float, float]:
    """The highest Dice of score >= threshold, and the highest threshold that reaches it: chosen with the truth in
    sight, so an upper bound; raises `BadInput` without a positive."""
    hits, marked, values = _ranked(truth, score)
    found = 2 * hits / (marked + hits[-1])
    best = int(np.argmax(found))
    return float(found[best]), float(values[best])


def lesion_recall(truth: Any, found: Any, *, planar: bool = False) -> float:
    """Share of the lesions of `truth` (Z, Y, X) that `found` touches. Lesions are 26-connected; `planar`: 8-connected,
    each slice by itself. Raises `BadInput` without a lesion."""
    truth, found = (v != 0 for v in _pair(truth, found))
    lesions, count = _components(truth, planar)
    if not count:
        raise BadInput(NO_LESION)
    return int(np.count_nonzero(np.unique(lesions[found]))) / count


def lesion_recall_at(truth: Any, score: Any, false_positives_per_slice: float = 1.0, *, planar: bool = False) -> float:
    """`lesion_recall` of score >= threshold, at the lowest threshold down to which the components that touch no lesion
    are no more than `false_positives_per_slice` times the slices (free-response ROC, Bunch 1978).

    (Z, Y, X). What scores lowest of all is never found: a flat map finds nothing. Raises `BadInput` without a lesion.
    """
    truth, score = _pair(truth, score)
    truth, limit = truth != 0, false_positives_per_slice * len(truth)
    if not truth.any():
        raise BadInput(NO_LESION)
    region = next(iter(find_objects((score > score.min()).astype(np.int8))), None)
    if region is None:
        return 0.0
    values, counts = np.unique(score[score > score.min()], return_counts=True)
    values, marked = values[::-1], np.cumsum(counts[::-1])

    def false(i: int) -> int:
        found, count = _components(score[region] >= values[i], planar)
        touching = np.unique(found[truth[region]])
        return count - int(np.count_nonzero(touching))

    # Going down, components grow in number before they merge: steps of 10 % find where they first become too many,
    # and halving where exactly. There is nothing to count while fewer voxels are marked than may be false.
    good, bad = int(np.searchsorted(marked, limit, "right")) - 1, len(values)
    steps = np.searchsorted(marked, np.geomspace(max(limit, 1), marked[-1], int(25 * np.log(marked[-1])) + 2))
    for i in np.unique(steps.clip(max=len(values) - 1)):
        if i > good and false(i) > limit:
            bad = int(i)
            break
        good = max(good, int(i))
    while bad < len(values) and bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if false(middle) > limit else (middle, bad)
    return lesion_recall(truth, score >= values[good], planar=planar) if good >= 0 else 0.0


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


def _ranked(truth: Any, score: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each distinct score from the highest down: positives and voxels that score as high or higher, the score."""
    truth, score = _pair(truth, score)
    order = np.argsort(score, axis=None)[::-1]
    positive, score = (truth != 0).ravel()[order], score.ravel()[order]
    last = np.r_[np.flatnonzero(np.diff(score)), score.size - 1]
    hits = np.cumsum(positive)[last]
    if not hits[-1]:
        raise BadInput(NO_LESION)
    return hits, last + 1, score[last]


def _components(mask: np.ndarray, planar: bool) -> tuple[np.ndarray, int]:
    """Connected components of a mask (Z, Y, X): their label map and number."""
    if mask.ndim != 3:
        raise BadInput(f"a mask of shape {mask.shape} came; lesions are counted in volumes (Z, Y, X)")
    links = np.ones((3, 3, 3), bool)
    if planar:
        links[[0, 2]] = False
    found, count = label(mask, links)  # type: ignore[misc]
    return found, int(count)


def _range(reference: np.ndarray, given: float | None) -> float:
    limit = float(reference.max()) if given is None else given
    if not 0 < limit < inf:
        raise BadInput(f"the data range is {limit}; expected more than 0: give it, or a reference with positive values")
    return limit
