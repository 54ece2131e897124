"""Raw k-space as a scanner measured it, and what is done to it before any image is made: noise, coils, field of view.

K-space is complex (slices, coils, Y, X), CENTRED, with the unitary FFT of `operators`; zero where nothing was measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .domain import PLANES, fits
from .errors import BadInput, Notice, choose
from .volume import IDENTITY, Volume, nearest_axes

Array = NDArray[Any]
VIRTUAL_COILS = 10
KEPT = 0.999  # of the energy of the calibration data, in the virtual coils
TURNS = {"none": 0, "left": 1, "half": 2, "right": 3}  # quarter turns anticlockwise, Y downwards


@dataclass(frozen=True, eq=False)
class Raw:
    """Slices of k-space and where they lie; what a file does not say is None.

    `mask` (slices, Y, X) is true where k-space was sampled; `spacing` (x, y, z) mm, `direction` and `centre` (LPS mm)
    are those of the image's array, the centre that of voxel (X // 2, Y // 2) of the first slice; `noise` is the
    standard deviation of the real and of the imaginary part of each sample; `calibration` is k-space of its own, for
    the coils alone; `maps` are known coil sensitivities.
    """

    kspace: Array
    mask: Array
    kind: str
    spacing: tuple[float, float, float] | None = None
    direction: tuple[float, ...] = IDENTITY
    centre: tuple[float, ...] | None = None
    noise: float | None = None
    calibration: Array | None = None
    maps: Array | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # what provenance tells of it

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, Y, X)."""
        slices, _, rows, columns = self.kspace.shape
        return slices, rows, columns

    @property
    def plane(self) -> str:
        """The plane of the slices, by the direction that they are stacked in."""
        canonical = nearest_axes(self.direction).index(2)
        return next(plane for plane, axis in PLANES.items() if axis == 2 - canonical)

    def grid(self) -> Volume:
        """The grid of the image, empty; raises BadInput when the spacing is not known."""
        if self.spacing is None:
            raise BadInput(
                f"this {self.kind} file does not tell the size of its voxels; give it by the options spacing_x, "
                "spacing_y and spacing_z, in mm"
            )
        slices, rows, columns = self.shape
        made = Volume(np.broadcast_to(np.float32(0), self.shape), self.spacing, (0.0, 0.0, 0.0), self.direction)
        index = (columns // 2, rows // 2, slices // 2 if self.centre is None else 0)
        offset = made.affine[:3, :3] @ index
        return replace(made, origin=tuple(np.subtract(self.centre or (0.0, 0.0, 0.0), offset)))


def fft1c(x: Array, axis: int) -> Array:
    """Centred unitary FFT along one axis, complex64."""
    y = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(x, axes=axis), axis=axis, norm="ortho"), axes=axis)
    return y.astype(np.complex64)


def ifft1c(y: Array, axis: int) -> Array:
    """Inverse of `fft1c`."""
    x = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(y, axes=axis), axis=axis, norm="ortho"), axes=axis)
    return x.astype(np.complex64)


def middle(size: int, kept: int) -> slice:
    """The `kept` entries about the centre `size // 2`, which comes to lie at `kept // 2`."""
    start = size // 2 - kept // 2
    return slice(start, start + kept)


def changed(raw: Raw, of_kspace: Callable[[Array], Array], of_mask: Callable[[Array], Array], **more: Any) -> Raw:
    """`raw` with its k-space, calibration and mask changed."""
    calibration = None if raw.calibration is None else of_kspace(raw.calibration)
    kspace, mask = of_kspace(raw.kspace), of_mask(raw.mask)
    return replace(raw, **{"kspace": kspace, "calibration": calibration, "mask": mask, **more})


def _same(mask: Array) -> Array:
    return mask


# --- what readers do --------------------------------------------------------------------------------------------------


def centred(raw: Raw) -> Raw:
    """`raw` with k = 0 in the centre: some files have it at index 0, as an FFT leaves it."""
    power = np.square(np.abs(raw.kspace)).sum((0, 1))
    astray = []
    for axis, n in enumerate(power.shape):
        along = power.sum(1 - axis)
        here = middle(n, max(n // 8, 1))
        if np.fft.fftshift(along)[here].sum() > 4 * along[here].sum():
            astray.append(axis - 2)
    if not astray:
        return raw
    note = "k-space has its zero frequency at the edge instead of in the centre; it was shifted"
    warnings.warn(note, Notice, stacklevel=2)
    return changed(raw, lambda y: np.fft.fftshift(y, astray), lambda m: np.fft.fftshift(m, astray))


def crop_readout(raw: Raw, axis: int, kept: int) -> Raw:
    """`raw` without readout oversampling: the middle `kept` voxels along `axis`, along which lines were sampled."""
    size = raw.kspace.shape[axis]
    if not 0 < kept < size:
        return raw

    def crop(y: Array) -> Array:
        return fft1c(np.take(ifft1c(y, axis), range(size)[middle(size, kept)], axis), axis)

    # each sample stands for more than one of before; what an asymmetric echo leaves out stays left out
    places = np.round((np.arange(kept) - kept // 2) * size / kept).astype(int) + size // 2
    made = changed(raw, crop, lambda mask: np.take(mask, places.clip(0, size - 1), axis))
    return replace(made, kspace=made.kspace * made.mask[:, None])


def whiten(raw: Raw, noise: Array, scale: float = 1.0) -> Raw:
    """`raw` with coils of independent noise of standard deviation 1, after a noise scan (coils, samples) in which its
    variance is `1 / scale` of that in the data (Pruessmann 2001, Magn Reson Med 46:638, noise decorrelation)."""
    samples = noise - noise.mean(1, keepdims=True)
    if samples.shape[1] < 4 * samples.shape[0]:
        return raw  # too few to tell; the noise level is then estimated from the data
    covariance = scale * (samples @ samples.conj().T) / (2 * samples.shape[1])
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.complex64)
    except np.linalg.LinAlgError:
        return raw  # a dead coil
    return changed(raw, lambda y: np.einsum("ij,sjyx->siyx", inverse, y), _same, noise=1.0)


# --- what a reconstruction does ---------------------------------------------------------------------------------------


def compress(raw: Raw, coils: int = VIRTUAL_COILS) -> Raw:
    """`raw` with at most `coils` virtual coils, the principal components of its centre (Buehrer 2007, Magn Reson Med
    57:1131); white noise stays white."""
    if raw.maps is not None or raw.kspace.shape[1] <= coils:
        return raw
    source = raw.kspace if raw.calibration is None else raw.calibration
    rows, columns = (middle(n, min(n, 32)) for n in source.shape[-2:])
    block = np.moveaxis(source[:, :, rows, columns], 1, 0).reshape(source.shape[1], -1)
    values, vectors = np.linalg.eigh(block @ block.conj().T)
    share = np.cumsum(values[::-1]) / values.sum()
    base = vectors[:, ::-1][:, : min(coils, int(np.searchsorted(share, KEPT)) + 1)].conj().T.astype(np.complex64)
    return changed(raw, lambda y: np.einsum("ij,sjyx->siyx", base, y), _same)


def noise_level(raw: Raw) -> float:
    """The standard deviation of the real and of the imaginary part of a sample: known, or from the median magnitude of
    the outermost tenth of what was sampled, where hardly any signal is left (Rayleigh distribution)."""
    if raw.noise is not None:
        return raw.noise
    rows, columns = raw.shape[1:]
    y, x = np.ogrid[-(rows // 2) : rows - rows // 2, -(columns // 2) : columns - columns // 2]
    radius = np.hypot(y / (rows / 2), x / (columns / 2))
    outer = raw.mask & (radius >= np.quantile(radius[raw.mask.any(0)], 0.9))
    size = np.abs(np.moveaxis(raw.kspace, 1, 0)[:, outer])
    return float(np.median(size[size > 0])) / sqrt(2 * log(2)) if size.any() else 0.0


def coarser(raw: Raw, resolution: float) -> Raw:
    """`raw` at in-plane voxels of `resolution` mm where they are finer: the centre of k-space, the same field of
    view."""
    spacing = raw.grid().spacing
    sizes = raw.shape[2], raw.shape[1]  # along x, y
    kept = [min(n, round(n * s / resolution)) for n, s in zip(sizes, spacing[:2], strict=True)]
    if min(kept) < 16:
        raise BadInput(f"voxels of {resolution:g} mm leave {kept[0]} x {kept[1]} of them; choose a finer resolution")
    columns, rows = (middle(n, k) for n, k in zip(sizes, kept, strict=True))
    size = [s * n / k for s, n, k in zip(spacing[:2], sizes, kept, strict=True)]
    if raw.maps is not None and kept != list(sizes):
        raise BadInput("the file holds coil sensitivities, which cannot be made coarser; leave the resolution out")
    return changed(raw, lambda y: y[..., rows, columns], lambda m: m[..., rows, columns], spacing=(*size, spacing[2]))


def oriented(raw: Raw, turn: str = "none") -> Raw:
    """`raw` with the axes of its slices running as those that priors learn from, as far as its directions tell; before
    that, the image is turned on its grid, which sets right what the file says wrong or not at all."""
    for _ in range(TURNS[choose(turn, TURNS, "turn")]):
        raw = replace(_reflect(_transpose(raw), -2), direction=raw.direction)
    axes = nearest_axes(raw.direction)
    if axes.index(0) > axes.index(1):
        raw = _transpose(raw)
    for column, canonical in enumerate(sorted(k for k in range(3) if nearest_axes(raw.direction)[k] != 2)):
        if np.reshape(raw.direction, (3, 3))[canonical, column] < 0:
            raw = _reflect(raw, -1 - column)
    return raw


def _transpose(raw: Raw) -> Raw:
    """X and Y of the image exchanged; every voxel keeps its place in the patient."""

    def swap(y: Array) -> Array:
        return np.ascontiguousarray(y.swapaxes(-2, -1))

    spacing = None if raw.spacing is None else (raw.spacing[1], raw.spacing[0], raw.spacing[2])
    direction = tuple(np.reshape(raw.direction, (3, 3))[:, [1, 0, 2]].ravel())
    maps = None if raw.maps is None else swap(raw.maps)
    return changed(raw, swap, swap, spacing=spacing, direction=direction, maps=maps)


def _reflect(raw: Raw, axis: int) -> Raw:
    """The image reflected in its centre along `axis`, and so is k-space; every voxel keeps its place in the patient,
    but for the first one of an even size, which is its own mirror image."""

    def back(y: Array) -> Array:
        return np.roll(np.flip(y, axis), 1 - y.shape[axis] % 2, axis)

    directions = np.reshape(raw.direction, (3, 3)).copy()
    directions[:, -1 - axis] *= -1
    maps = None if raw.maps is None else back(raw.maps)
    return changed(raw, back, back, direction=tuple(directions.ravel()), maps=maps)


def check_resolution(raw: Raw, model: str, trained: tuple[float, ...], tolerance: float) -> None:
    """Raises BadInput when the in-plane spacing is too far from what a model was trained at."""
    found = raw.grid().spacing[:2]
    if fits(found, trained, tolerance):
        return
    finer = min(s / t for s, t in zip(found, trained[:2], strict=True)) < 1
    advice = f"set the option resolution to {max(trained[:2]):g}" if finer else "choose another model"
    raise BadInput(
        f"the slices have a spacing of {found[0]:g} x {found[1]:g} mm; model {model!r} was trained at "
        f"{trained[0]:g} x {trained[1]:g} mm; {advice}"
    )
