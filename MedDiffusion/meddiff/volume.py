"""Volumes: voxels with their place in the patient, read, written, reoriented and resampled.

Index (x, y, z) lies at `origin + direction @ (spacing * index)` in LPS mm, the convention of SimpleITK and DICOM;
the array is indexed `[z, y, x]`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput, Notice, choose
from .imagefiles import read_image, write_image

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Volume:
    """Real or complex `array` (Z, Y, X); `spacing` (x, y, z) mm, `origin` LPS mm, `direction` row-major LPS."""

    array: NDArray[Any]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises `BadInput` unless 3D, numeric, not empty, of positive finite spacing and of orthonormal direction."""
        array = np.asarray(self.array)
        if array.ndim != 3 or not array.size or array.dtype.kind not in "biufc":
            raise BadInput(f"the array has shape {array.shape} of {array.dtype}; expected numbers (Z, Y, X), not empty")
        spacing, origin = _numbers(self.spacing, 3, "spacing"), _numbers(self.origin, 3, "origin")
        direction = _numbers(self.direction, 9, "direction")
        if min(spacing) <= 0:
            raise BadInput(f"spacing is {spacing} mm; expected three positive numbers; correct the image header")
        matrix = np.reshape(direction, (3, 3))
        # Headers written with few decimals are off by 1e-4; a gantry tilt, which is a shear, is off by 1e-2.
        if np.abs(matrix.T @ matrix - np.eye(3)).max() > 1e-3:
            raise BadInput(f"direction is {direction}; expected orthonormal axes; resample the sheared image first")
        self.__dict__.update(array=array, spacing=spacing, origin=origin, direction=direction)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (Z, Y, X)."""
        return self.array.shape

    @property
    def affine(self) -> NDArray[np.float64]:
        """The 4x4 matrix from voxel index (x, y, z, 1) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) * self.spacing
        affine[:3, 3] = self.origin
        return affine

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Other voxels on this grid; raises `BadInput` if their shape differs."""
        if np.shape(array) != self.shape:
            raise BadInput(f"the array has shape {np.shape(array)}; this grid has {self.shape} (Z, Y, X)")
        return replace(self, array=array)


def _numbers(values: Sequence[float], count: int, what: str) -> tuple[Any, ...]:
    """`values` as a flat tuple of finite floats; raises `BadInput`."""
    try:
        numbers = tuple(float(value) for value in np.ravel(values))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise BadInput(f"{what} is {values}; expected {count} finite numbers")
    return numbers


def same_grid(a: Volume, b: Volume, tolerance: float = 1e-3) -> bool:
    """Whether the voxels of both lie at the same places, to `tolerance` mm at every corner."""
    if a.shape != b.shape:
        return False
    corners = np.array([(x, y, z, 1) for x in (0, a.shape[2]) for y in (0, a.shape[1]) for z in (0, a.shape[0])])
    return bool(np.abs((a.affine - b.affine) @ corners.T).max() <= tolerance)


def require_usable(volume: Volume, what: str = "the volume") -> None:
    """Raises `BadInput` if `volume` has NaN or infinite voxels, or is constant."""
    array = volume.array
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise BadInput(f"{what} has {bad} NaN or infinite voxels of {array.size}; replace them, for example by 0")
    if (array == array.flat[0]).all():
        raise BadInput(f"{what} is {array.flat[0]} in every voxel; choose a volume with an image in it")


def read(path: str | Path) -> Volume:
    """The 3D image at `path` as float32 or complex64; raises `BadInput` if it is missing, unreadable or not 3D."""
    import SimpleITK as sitk

    image = read_image(path)
    array = sitk.GetArrayFromImage(image)
    array = array.astype(np.complex64 if np.iscomplexobj(array) else np.float32, copy=False)
    return Volume(array, image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def write(
    volume: Volume, path: str | Path, metadata: Mapping[str, str] | None = None, *, compress: bool = True
) -> None:
    """Writes whole or not at all; `metadata` goes into NRRD alone; without `compress` 70 times faster and larger.

    Raises `BadInput`.
    """
    if np.iscomplexobj(volume.array) and str(path).lower().endswith(".mha"):
        raise BadInput(f"{Path(path).name} cannot hold complex voxels; write a .nrrd or .nii.gz file")
    write_image(to_image(volume), path, metadata, compress=compress)


def to_image(volume: Volume) -> Any:
    """The SimpleITK image; bool and half precision, which ITK lacks, are widened."""
    import SimpleITK as sitk

    wider = {"bool": np.uint8, "float16": np.float32}.get(volume.array.dtype.name, volume.array.dtype)
    image = sitk.GetImageFromArray(volume.array.astype(wider, copy=False))
    return put(image, volume)


def put(image: Any, grid: Volume) -> Any:
    """A SimpleITK image of the size of `grid`, at its place."""
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


@dataclass(frozen=True)
class Restore:
    """Brings canonical axes back: axis i (x, y, z) is axis `axes[i]` of what comes, reversed where `flips[i]`."""

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """(..., Z, Y, X) with its last three axes restored, bit for bit, as a contiguous copy."""
        lead = array.ndim - 3
        order = [*range(lead), *(lead + 2 - self.axes[i] for i in (2, 1, 0))]
        flipped = tuple(lead + 2 - i for i in range(3) if self.flips[i])
        return np.ascontiguousarray(np.flip(np.transpose(array, order), flipped))

    def volume(self, volume: Volume) -> Volume:
        """`volume` with its axes restored; every voxel keeps its place in the patient."""
        affine = volume.affine
        ends = [volume.shape[2 - axis] - 1 if flip else 0 for axis, flip in zip(self.axes, self.flips, strict=True)]
        corner = np.zeros(3)
        corner[list(self.axes)] = ends
        columns = np.reshape(volume.direction, (3, 3))[:, self.axes] * np.where(self.flips, -1.0, 1.0)
        spacing = np.take(volume.spacing, self.axes)
        origin = affine[:3, :3] @ corner + affine[:3, 3]
        return Volume(self.array(volume.array), tuple(spacing), tuple(origin), tuple(columns.ravel()))


def nearest_axes(direction: Sequence[float]) -> tuple[int, ...]:
    """Which axis (x, y, z) of a volume runs nearest to left, to posterior and to superior, whichever its sign."""
    matrix = np.reshape(direction, (3, 3))
    return max(permutations(range(3)), key=lambda order: sum(abs(matrix[i, order[i]]) for i in range(3)))


def canonical(volume: Volume) -> tuple[Volume, Restore]:
    """`volume` with x, y, z running nearest to left, posterior, superior, not interpolated, and what undoes it."""
    matrix = np.reshape(volume.direction, (3, 3))
    axes = nearest_axes(volume.direction)
    # The largest sum of cosines is above 1, so that the result is always right-handed, also for a left-handed volume.
    flips = tuple(bool(matrix[i, axes[i]] < 0) for i in range(3))
    back = tuple(axes.index(i) for i in range(3))
    return Restore(axes, flips).volume(volume), Restore(back, tuple(flips[i] for i in back))


def resample(volume: Volume, spacing: Sequence[float], interpolation: str = "linear") -> Volume:
    """`volume` at `spacing` (x, y, z) mm about the same centre and extent (to half a voxel)."""
    spacing = _numbers(spacing, 3, "spacing")
    if min(spacing) <= 0:
        raise BadInput(f"spacing is {spacing} mm; expected three positive numbers")
    old = np.array(volume.shape[::-1])
    new = np.maximum(1, np.round(old * volume.spacing / spacing)).astype(int)
    shift = ((old - 1) * volume.spacing - (new - 1) * np.array(spacing)) / 2
    origin = np.array(volume.origin) + np.reshape(volume.direction, (3, 3)) @ shift
    # No new voxel lies outside: the extent grows by half a voxel at most, a quarter at each end.
    blank = np.broadcast_to(np.float32(0), tuple(new[::-1]))
    return _sample(volume, Volume(blank, spacing, tuple(origin), volume.direction), interpolation, 0.0)


def resample_like(volume: Volume, reference: Volume, interpolation: str = "linear", outside: float = 0.0) -> Volume:
    """`volume` on the grid of `reference`; where it does not reach, `outside` (-1000 for CT in HU)."""
    return _sample(volume, reference, interpolation, outside)


def marked_on(mask: Volume, volume: Volume, what: str, empty: str) -> NDArray[np.bool_]:
    """Where `mask` is not 0, at the voxels (Z, Y, X) of `volume`; a Notice tells of another grid. Raises BadInput, with
    the words `empty` for a mask of nothing, and for one that lies elsewhere."""
    marked = mask.with_array((np.nan_to_num(np.abs(mask.array)) > 0).astype(np.uint8))
    if not marked.array.any():
        raise BadInput(empty)
    if not same_grid(marked, volume):
        told = f"{what} {marked.shape} is of another grid than the volume {volume.shape}"
        warnings.warn(f"{told}: its nearest voxels were taken", Notice, stacklevel=4)
        marked = resample_like(marked, volume, "nearest")
        if not marked.array.any():
            raise BadInput(f"{what} lies elsewhere than the volume; expected one drawn on this volume")
    return marked.array > 0


def _sample(volume: Volume, grid: Volume, interpolation: str, outside: float) -> Volume:
    """Interpolates on `grid`, smoothing first where that is coarser."""
    import SimpleITK as sitk

    sampler = sampler_on(grid, interpolation, outside)
    if same_grid(volume, grid, 1e-6):
        return grid.with_array(volume.array)
    if np.iscomplexobj(volume.array):
        real = _sample(volume.with_array(np.real(volume.array)), grid, interpolation, outside)
        imag = _sample(volume.with_array(np.imag(volume.array)), grid, interpolation, 0.0)
        return grid.with_array((real.array + 1j * imag.array).astype(volume.array.dtype))
    kind = volume.array.dtype if interpolation == "nearest" else np.result_type(volume.array, np.float32)
    image = to_image(volume.with_array(volume.array.astype(kind, copy=False)))
    # Row i holds how many old voxels along axis i one new voxel spans; the variance is Cardoso's (MICCAI 2015).
    span = np.abs(np.linalg.solve(volume.affine[:3, :3], grid.affine[:3, :3])).max(axis=1)
    variance = np.maximum(span**2 - 1, 0) / (8 * np.log(2))
    if interpolation != "nearest" and variance.max() > 1e-3:
        smoother = sitk.DiscreteGaussianImageFilter()
        smoother.SetVariance(variance.tolist())
        smoother.SetUseImageSpacing(False)
        smoother.SetMaximumKernelWidth(256)
        image = smoother.Execute(image)
    return grid.with_array(sitk.GetArrayFromImage(sampler.Execute(image)).astype(kind, copy=False))


def sampler_on(grid: Volume, interpolation: str, outside: float) -> Any:
    """The SimpleITK filter that interpolates on `grid`; raises BadInput for an unknown interpolation."""
    import SimpleITK as sitk

    methods = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor, "bspline": sitk.sitkBSpline}
    sampler = sitk.ResampleImageFilter()
    sampler.SetInterpolator(methods[choose(interpolation, methods, "interpolation")])
    sampler.SetSize(grid.shape[::-1])
    sampler.SetOutputOrigin(grid.origin)
    sampler.SetOutputSpacing(grid.spacing)
    sampler.SetOutputDirection(grid.direction)
    sampler.SetDefaultPixelValue(outside)
    return sampler


def crop_or_pad(volume: Volume, shape: Sequence[int], fill: float = 0.0) -> Volume:
    """`volume` cut or filled about its centre to `shape` (Z, Y, X), in place; padding is undone by its old shape."""
    if len(shape) != 3 or min(shape) < 1:
        raise BadInput(f"shape is {tuple(shape)}; expected three sizes (Z, Y, X) of 1 or more")
    grow = [max(new - old, 0) for new, old in zip(shape, volume.shape, strict=True)]
    cut = [max(old - new, 0) // 2 for new, old in zip(shape, volume.shape, strict=True)]
    padded = np.pad(volume.array, [(g // 2, g - g // 2) for g in grow], constant_values=fill)
    array = padded[tuple(slice(c, c + new) for c, new in zip(cut, shape, strict=True))]
    start = np.array([c - g // 2 for c, g in zip(cut, grow, strict=True)])[::-1]
    origin = volume.affine[:3, :3] @ start + volume.origin
    return replace(volume, array=np.ascontiguousarray(array), origin=tuple(origin))
