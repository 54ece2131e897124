"""Where the brain is, and whether an image is one of a brain at all: what can be told without a network."""

from __future__ import annotations

import numpy as np

from .errors import BadInput
from .volume import Volume

BRIGHT = 0.05  # of the 99th percentile: above that is the head or the brain, below it air and noise
LEAST, MOST = 1.0, 400.0  # cm2: a brain or head covers this much of its largest axial slice
AIR = -500  # HU
FEW, FLAT = 12, 0.6  # of a label map: its classes, or how often a voxel has the value of the one before it
RIM = 1.3  # the scalp is so much brighter than the bone below it; a brain of its own has nothing like that


def check_image(volume: Volume, model: str) -> None:
    """Raises BadInput for a real image that is no MR image with a background of 0: CT, a label map, a z-score."""
    array = volume.array
    low, high = float(array.min()), float(array.max())
    wanted = f"model {model!r} is for MR images of brains, whose background is 0"
    if high <= 0:
        raise BadInput(f"the volume has no voxel above 0 (the highest is {high:g}); {wanted}")
    if (array <= AIR).mean() > 0.01:
        raise BadInput(
            f"the volume has values down to {low:g}, as CT in Hounsfield units has; {wanted}; give an MR image"
        )
    if (share := float((array < -BRIGHT * high).mean())) > 0.01:
        come = f"{share:.0%} of the voxels are below 0, down to {low:g}"
        raise BadInput(f"{come}; {wanted}; give the image as it was before its mean was taken off")
    if (kinds := _labels(array)) is not None:
        raise BadInput(f"the volume holds {kinds} whole numbers in flat regions, as a label map does; {wanted}")


def _labels(array: np.ndarray) -> int | None:
    """How many classes a label map has; None for an image, whose neighbours are hardly ever the same."""
    if array.dtype.kind == "f" and (array != np.round(array)).any():
        return None
    kinds = len(np.unique(array))
    inside, same = array[..., 1:] != 0, array[..., 1:] == array[..., :-1]
    return kinds if kinds <= FEW or (inside.any() and same[inside].mean() > FLAT) else None


def find_brain(volume: Volume, axis: int) -> np.ndarray:
    """The brain (Z, Y, X), or the head where that is in view: the largest connected region of bright voxels, its
    holes filled in the slices across `axis`. Raises BadInput where there is none."""
    import SimpleITK as sitk

    array = np.moveaxis(volume.array, axis, 0)
    spacing = [volume.spacing[2 - k] for k in range(3) if k != axis]
    bright = array > BRIGHT * np.percentile(array[array > 0], 99)
    image = sitk.GetImageFromArray(bright.astype(np.uint8))
    around = [1, 1, 0]
    # thin bridges and specks of noise are opened away; what was lost of the region's own edge comes back
    regions = sitk.ConnectedComponent(sitk.BinaryMorphologicalOpening(image, around), True)
    largest = sitk.Equal(sitk.RelabelComponent(regions), 1)
    region = sitk.GetArrayFromImage(sitk.And(sitk.BinaryDilate(largest, around), image))
    brain = np.stack([_filled(each) for each in region])
    area = float(brain.sum((1, 2)).max()) * spacing[0] * spacing[1] / 100
    if not LEAST <= area <= MOST:
        seen = f"the largest bright region covers {area:.1f} cm2 of a slice"
        raise BadInput(f"no brain is in view: {seen}; expected {LEAST:g} to {MOST:g}; crop the image, or give a mask")
    return np.moveaxis(brain, 0, axis)


def _filled(mask: np.ndarray) -> np.ndarray:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask))).astype(bool)


def shows_skull(volume: Volume, brain: np.ndarray, axis: int) -> bool:
    """Whether `brain` is a whole head: its rim, 2 to 8 mm deep, is bright as scalp is, and what lies 6 to 16 mm deep
    dark as bone is. Median intensities by depth; false for small images."""
    deep = _depth(volume, brain, axis)
    middle = [_median(volume.array[brain & (deep >= d) & (deep < d + 2)]) for d in range(2, 16, 2)]
    rim, below = max(middle[:3]), min(middle[2:])
    return below > 0 and rim > RIM * below


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else 0.0


def _depth(volume: Volume, brain: np.ndarray, axis: int) -> np.ndarray:
    """How many mm each voxel of the brain lies below its outline, in the slices across `axis`; 0 outside."""
    import SimpleITK as sitk

    rows, columns = (volume.spacing[2 - k] for k in range(3) if k != axis)
    found = np.zeros(brain.shape, np.float32)
    for mask, depth in zip(np.moveaxis(brain, axis, 0), np.moveaxis(found, axis, 0), strict=True):
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing((columns, rows))
        distance = sitk.SignedMaurerDistanceMap(
            image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
        )
        depth[:] = sitk.GetArrayFromImage(distance)[1:-1, 1:-1].clip(0)
    return found
