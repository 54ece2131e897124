"""Lesions of multiple sclerosis, made and unmade: to train and to test where real ones are few.

A lesion is a region of white matter that is brighter (FLAIR, T2) or darker (T1) than what surrounds it, with a soft
edge and a texture of its own. In the patient of the train split the median ratio is 1.4 (FLAIR), 1.8 (T2) and 0.73
(T1); the ranges below are wide around it, for scanners and lesions differ.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from .errors import BadInput, choose

# lesion / white matter: the range that the painted ones are drawn from
RATIOS = {"FLAIR": (1.15, 1.65), "T1": (0.55, 0.92), "T2": (1.25, 2.3)}
# where white matter lies among the voxels of a brain, in percent: grey matter is darker on T1, brighter on T2
WHITE = {"FLAIR": 50.0, "T1": 72.0, "T2": 40.0}
BRIGHT = 1.3  # FLAIR voxels above this multiple of what surrounds them are taken for lesions where nobody drew them
DEEP = 0.15  # on T1, which tells grey from white, deep white matter is no darker than this below its typical intensity
TISSUE = 0.3  # white matter is within this of its typical intensity: what is not, no lesion is painted on


def white_matter(array: np.ndarray | Tensor, contrast: str) -> float:
    """The typical intensity of white matter in a brain image (any shape); raises BadInput for an empty image or a
    contrast without a rule."""
    values = np.asarray(array, np.float32)
    values = values[values > 0.05 * float(np.percentile(values, 99.9))] if values.size else values
    if not values.size:
        raise BadInput("the image has no voxel above 0; expected a brain")
    return float(np.percentile(values, WHITE[choose(contrast, WHITE, "contrast")]))


def bright_lesions(flair: np.ndarray, smallest: int = 5) -> np.ndarray:
    """A rough mask (bool) of the lesions of a FLAIR volume (Z, Y, X): components of `smallest` voxels or more, inside
    of the brain, that are much brighter than what surrounds them. It errs on the side of too much: what it marks is
    not trained on as healthy."""
    brain = np.asarray(ndimage.binary_fill_holes(flair > 0.05 * np.percentile(flair, 99.9)))
    # the rim of a skull-stripped brain is bright, too
    inner = np.asarray(ndimage.binary_erosion(brain, np.ones((1, 7, 7))))
    around, weight = (ndimage.gaussian_filter(a, (1, 12, 12)) for a in (flair * brain, brain.astype(np.float32)))
    components: np.ndarray = ndimage.label(inner & (flair * weight > BRIGHT * around))[0]  # type: ignore[index]
    keep = np.bincount(components.ravel()) >= smallest
    keep[0] = False
    return keep[components]


def fill(array: np.ndarray, lesions: np.ndarray, seed: int = 0) -> np.ndarray:
    """A volume (Z, Y, X) whose `lesions` show the white matter around them: its local mean, with its noise.

    As lesion filling does before brains are measured (Chard 2010). Only intensities like those around the lesions
    take part, so that the ventricles do not flow in.
    """
    hole = np.asarray(ndimage.binary_dilation(lesions, iterations=2), dtype=bool)
    ring = np.asarray(ndimage.binary_dilation(hole, iterations=5), dtype=bool) & ~hole & (array > 0)
    if not lesions.any() or not ring.any():
        return array.copy()
    centre = float(np.median(array[ring]))
    spread = 1.4826 * float(np.median(np.abs(array[ring] - centre))) + 1e-6
    like = ((np.abs(array - centre) < 2.5 * spread) & ~hole).astype(np.float32)
    total, weight = (ndimage.gaussian_filter(a, 4.0) for a in (like * array, like))
    local = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), centre)
    fine = array - ndimage.gaussian_filter(array, 1.0)
    size = 1.4826 * float(np.median(np.abs(fine[ring & (like > 0)]))) if (ring & (like > 0)).any() else 0.0
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(array.shape), 0.6)
    local = local + size * grain / max(float(grain.std()), 1e-6)
    soft = np.clip(ndimage.gaussian_filter(ndimage.binary_dilation(lesions).astype(np.float32), 0.8) * 1.6, 0, 1)
    return np.where((soft > 0.01) & (array > 0), array + soft * (local - array), array).astype(np.float32)


def deep_white(t1: Tensor, white: float) -> Tensor:
    """Where a T1 slice (1, Y, X) shows white matter (bool), which is at `white`: where raters look for lesions."""
    return blur(t1, 1.0) > (1 - DEEP) * white


def paint(
    image: Tensor, mask: Tensor, contrast: str, generator: torch.Generator, white: float, faintest: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Paint lesions on a slice: image (1, Y, X) with white matter at `white`, mask (1, Y, X) bool of where.

    Returns the image and the mask of what was painted: only white matter takes a lesion, so that ventricles and cortex
    keep theirs. Strength, softness and texture are drawn from `generator`, for each call; of bright lesions the share
    `faintest` of the strengths, from below, is left out.
    """
    low, high = RATIOS[choose(contrast, RATIOS, "contrast")]
    low = low + faintest * (high - low)
    strength, softness, rough = torch.rand(3, generator=generator).tolist()
    ratio = low + (high - low) * strength
    smooth = blur(image, 1.0)
    tissue = ((smooth - white).abs() < TISSUE * white).float()
    inside = mask.float() * (blur(tissue, 1.0) > 0.5).float()
    soft = blur(inside, 0.4 + 0.8 * softness)
    soft = soft * (inside.amax() / soft.amax().clamp_min(1e-6)) if inside.any() else soft
    texture = blur(torch.randn(image.shape, generator=generator), 1.2)
    texture = 1 + (0.04 + 0.08 * rough) * texture / texture.std().clamp_min(1e-6)
    lesion = ratio * texture * (0.5 * white + 0.5 * smooth)  # half of the tissue below shows through
    out = image + soft * (lesion - image)
    return torch.where(image > 0, out, image).clamp_min(0), inside > 0


def blur(image: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` voxels over (1, Y, X), edges repeated."""
    radius = max(math.ceil(3 * sigma), 1)
    x = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[None], (radius,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[0]
