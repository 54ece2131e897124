"""From an image and its healthy twin to a map of what should not be there, and from the map to a list of lesions."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from math import ceil

import numpy as np
from scipy.ndimage import gaussian_filter

from .errors import BadInput, choose
from .metrics import SSIM_SIGMA
from .volume import Volume, to_image

POLARITIES = ("any", "brighter", "darker")
WIDTH = 1.5  # mm: the best of 0 to 2 for the methods that find most in the patient of the train split


@dataclass(frozen=True)
class Lesion:
    """One connected region: its value in the label map, its volume, the highest and the mean value of the map in it,
    where its centre lies (RAS, mm), and how many slices it touches."""

    lesion: int
    volume_mm3: float
    peak: float
    mean: float
    r_mm: float
    a_mm: float
    s_mm: float
    slices: int

    def row(self) -> tuple[float, ...]:
        """One row of a table with the columns `COLUMNS`."""
        return astuple(self)


COLUMNS = tuple(field.name for field in fields(Lesion))


def anomaly_map(
    image: np.ndarray,
    twin: np.ndarray,
    brain: np.ndarray,
    spacing: tuple[float, float, float],
    *,
    polarity: str = "any",
    smoothing: float = WIDTH,
    structural: float = 0.0,
    axis: int = 0,
    data_range: float = 2.0,
) -> np.ndarray:
    """How far the image (Z, Y, X) lies from its healthy twin, 0 or more, in their units, 0 outside of the brain.

    The difference is smoothed (`smooth`) before its sign is dropped, so that texture and shifted edges cancel. The
    part `structural` of it counts only as far as the structure differs, too (the product of Bercea 2023,
    arXiv:2305.19643, sec. 3, with SSIM in the place of LPIPS).
    """
    choose(polarity, POLARITIES, "polarity")
    if not 0 <= structural <= 1:
        raise BadInput(f"the weight of structure is {structural}; expected 0 (differences alone) to 1")
    difference = smooth(image - twin, brain, spacing, smoothing)
    size = {"any": np.abs(difference), "brighter": difference.clip(0), "darker": (-difference).clip(0)}[polarity]
    if structural:
        size = size * (1 - structural + structural * dissimilarity(image, twin, axis, data_range))
    return np.where(brain, size, 0).astype(np.float32)


def smooth(array: np.ndarray, brain: np.ndarray, spacing: tuple[float, float, float], width: float) -> np.ndarray:
    """The Gaussian average (standard deviation `width` mm, 3D) of what lies in the brain, 0 outside: the weights of
    each voxel sum to 1 within the brain, so that its rim is not dimmed."""
    if not 0 <= width < 100:
        raise BadInput(f"the smoothing is {width} mm; expected 0 (none) to below 100")
    inside = np.where(brain, array, 0).astype(np.float32)
    if not width:
        return inside
    weight = _blur(brain.astype(np.float32), spacing, width)
    return np.where(brain, _blur(inside, spacing, width) / np.maximum(weight, 1e-6), 0)


def _blur(array: np.ndarray, spacing: tuple[float, float, float], width: float) -> np.ndarray:
    """ITK's discrete Gaussian (Lindeberg 1990), whose variance is the asked one also where voxels are coarser."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    blur = sitk.DiscreteGaussianImageFilter()
    blur.SetVariance(width**2)
    blur.SetMaximumKernelWidth(1024)
    blur.SetMaximumError(1e-5)
    return sitk.GetArrayFromImage(blur.Execute(image))


def dissimilarity(image: np.ndarray, twin: np.ndarray, axis: int = 0, data_range: float = 2.0) -> np.ndarray:
    """1 - SSIM (Wang 2004, eq. 13) at every voxel (Z, Y, X), cut to 0..1, with the Gaussian window of 1.5 voxels in
    the slices across `axis`."""
    width = [0.0 if k == axis else SSIM_SIGMA for k in range(3)]

    def mean(a: np.ndarray) -> np.ndarray:
        return gaussian_filter(a, width, truncate=3.5)

    a, b = image.astype(np.float64), twin.astype(np.float64)
    first, second = mean(a), mean(b)
    covariance, variances = mean(a * b) - first * second, mean(a * a) - first**2 + mean(b * b) - second**2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    same = (2 * first * second + c1) * (2 * covariance + c2)
    ssim = same / ((first**2 + second**2 + c1) * (variances + c2))
    return (1 - ssim).clip(0, 1)


def otsu(values: np.ndarray) -> float:
    """The threshold that parts values best into two classes (Otsu 1979, by ITK, of 128 bins); raises BadInput for
    values that are all the same."""
    import SimpleITK as sitk

    values = np.ravel(values)
    if not values.size or values.min() == values.max():
        raise BadInput("the anomaly map is the same everywhere; expected some variation to find a threshold in")
    parted = sitk.OtsuThresholdImageFilter()
    parted.Execute(sitk.GetImageFromArray(values[None].astype(np.float32)))
    return float(parted.GetThreshold())


def find_lesions(
    anomaly: Volume, threshold: float, minimum_volume: float = 0.0, axis: int = 0
) -> tuple[Volume, tuple[Lesion, ...]]:
    """The connected regions (26 neighbours) of the map above `threshold` that have `minimum_volume` mm3 or more, as a
    label map, the largest one 1, and as a list. `axis` (of Z, Y, X) is the one that slices lie across."""
    import SimpleITK as sitk

    if not (minimum_volume >= 0 and threshold >= 0):
        raise BadInput(f"threshold {threshold} and minimum volume {minimum_volume} mm3 came; expected 0 or more")
    above = to_image(anomaly.with_array((anomaly.array > threshold).astype(np.uint8)))
    least = max(1, ceil(minimum_volume / voxel_volume(anomaly) - 1e-6))
    regions = sitk.RelabelComponent(sitk.ConnectedComponent(above, True), minimumObjectSize=least)
    labels = sitk.GetArrayFromImage(regions)
    kind = np.uint16 if labels.max() < 2**16 else np.uint32
    return anomaly.with_array(labels.astype(kind)), _measure(anomaly, labels, axis)


def voxel_volume(volume: Volume) -> float:
    """In mm3."""
    return abs(float(np.linalg.det(volume.affine[:3, :3])))


def _measure(anomaly: Volume, labels: np.ndarray, axis: int) -> tuple[Lesion, ...]:
    """One `Lesion` for each region of a label map (Z, Y, X) of 1, 2, ..."""
    where = np.nonzero(labels)
    region, value = labels[where].astype(np.int64) - 1, anomaly.array[where].astype(np.float64)
    count = np.bincount(region)
    peak, last, first = np.full(len(count), -np.inf), np.full(len(count), -1), np.full(len(count), labels.shape[axis])
    np.maximum.at(peak, region, value)
    np.maximum.at(last, region, where[axis])
    np.minimum.at(first, region, where[axis])
    sums = [np.bincount(region, weights) for weights in (value, *where[::-1])]  # of the map, then of x, y, z
    mean, *centre = (each / count for each in sums)
    left, back, up = (anomaly.affine @ np.stack([*centre, np.ones(len(count))]))[:3]
    numbers, volume, extent = range(1, len(count) + 1), count * voxel_volume(anomaly), last - first + 1
    columns = (numbers, volume.tolist(), peak.tolist(), mean.tolist(), *(c.tolist() for c in (-left, -back, up)))
    return tuple(map(Lesion, *columns, extent.tolist()))
