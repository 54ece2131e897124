"""From several segmentations of one image to one: mean, vote and STAPLE; how far they agree; what to clean up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import BadInput, choose

FUSIONS = ("mean", "vote", "staple")
Labels = NDArray[np.uint8]


def fuse(how: str, members: Labels, mean: NDArray[np.float32]) -> Labels:
    """One label map (Z, Y, X) of those of the members (S, Z, Y, X) and the mean (K, Z, Y, X) of their probabilities."""
    match choose(how, FUSIONS, "fusion"):
        case "mean":
            return mean.argmax(0).astype(np.uint8)
        case "vote":
            return vote(members, mean)
        case _:
            return staple(members, mean)


def vote(members: Labels, mean: NDArray[np.float32]) -> Labels:
    """What most members say; where as many say one as another, the more probable."""
    votes = np.stack([np.count_nonzero(members == k, axis=0) for k in range(len(mean))])
    return (votes + 0.5 * mean).argmax(0).astype(np.uint8)  # a mean probability is at most 1: it only breaks ties


def staple(members: Labels, mean: NDArray[np.float32]) -> Labels:
    """Simultaneous truth and performance level estimation (Warfield 2004; Rohlfing 2004 for several labels), that of
    ITK: each member counts as far as it agrees with the truth that is estimated with it. Two members or fewer, and
    voxels that it leaves undecided, are left to the mean."""
    import SimpleITK as sitk

    fallback = mean.argmax(0).astype(np.uint8)
    if len(members) < 3 or not members.any():
        return fallback
    images = [sitk.GetImageFromArray(np.ascontiguousarray(member)) for member in members]
    if len(mean) == 2:
        share = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
        return np.where(share == 0.5, fallback, share > 0.5).astype(np.uint8)
    undecided = len(mean)
    fused = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images, undecided))
    return np.where(fused == undecided, fallback, fused).astype(np.uint8)


def entropy(mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """-sum p log p / log K of probabilities (K, ...): 0 where one class is certain, 1 where all are alike."""
    p = np.clip(mean, 1e-7, 1)
    return (-(p * np.log(p)).sum(0) / np.log(len(mean))).clip(0, 1).astype(np.float32)


def agreement(members: Labels, classes: int) -> dict[int, float]:
    """The mean Dice of all pairs of members (S, ...), segment by segment; those that no member has are left out. It
    foretells the Dice of their fusion and the truth (Roy 2019, Bayesian QuickNAT, eq. 5)."""
    if len(members) < 2:
        raise BadInput("the agreement of one member came; expected two or more")
    found, flat = {}, members.reshape(len(members), -1)
    pairs = np.triu_indices(len(members), 1)
    for k in range(1, classes):
        inside = (flat == k).astype(np.float32)
        if not inside.any():
            continue
        shared = inside @ inside.T
        sizes = shared.diagonal()
        total = sizes[:, None] + sizes[None]
        dice = np.where(total > 0, 2 * shared / np.maximum(total, 1), 1.0)  # two empty ones agree
        found[k] = float(dice[pairs].mean())
    return found


def expected_dice(mean: NDArray[np.float32], labels: Labels) -> dict[int, float]:
    """The Dice of labels (Z, Y, X) and a truth drawn from probabilities (K, Z, Y, X), nearly: the ratio of the expected
    overlap and sizes. What is left to ask one member alone."""
    found = {}
    for k in range(1, len(mean)):
        mine = labels == k
        total = float(mean[k].sum() + mine.sum())
        if total > 0.5:
            found[k] = 2 * float(mean[k][mine].sum()) / total
    return found


def tidy(labels: Labels, spacing: Sequence[float], minimum_mm3: float, smoothing_mm: float) -> Labels:
    """Labels (Z, Y, X) of voxels of `spacing` (x, y, z) mm, smoothed by a Gaussian of `smoothing_mm` (standard
    deviation; the class with the largest share wins), without the islands that are smaller than `minimum_mm3`."""
    classes = int(labels.max()) + 1
    if smoothing_mm > 0:
        sigma = [smoothing_mm / s for s in reversed(spacing)]
        shares = [
            ndimage.gaussian_filter((labels == k).astype(np.float32), sigma, mode="nearest") for k in range(classes)
        ]
        labels = np.argmax(shares, axis=0).astype(np.uint8)
    if minimum_mm3 > 0:
        labels = labels.copy()
        for k in range(1, classes):
            parts, count = _islands(labels == k)
            sizes = np.bincount(parts.ravel(), minlength=count + 1) * float(np.prod(spacing))
            small = sizes < minimum_mm3
            small[0] = False
            labels[small[parts]] = 0
    return labels


def _islands(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """The connected parts of a mask by number, and how many; voxels that share a corner are connected."""
    parts: Any = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    return parts
