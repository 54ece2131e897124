"""Reconstruction of a volume, slice by slice: measure it, sample the posterior, put mean and spread back in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from .coils import simulate_sensitivities
from .domain import PLANES, spacing_complaint
from .errors import BadInput
from .masks import PATTERNS, as_mask, make_mask
from .models import Model
from .multicoil import MultiCoil
from .noises import Gaussian, seed_of
from .operators import Fourier, from_complex, to_complex
from .phase import PHASE, NearlyReal, calibration_box, low_resolution
from .posterior import Scan, fit_scale, posterior
from .prior import Prior
from .recipes.reconstruct import TASK, Measured
from .registry import PRESETS, Between, OneOf, Recipe, find_recipe
from .sampling import Run
from .tiling import occupied, slices, stack
from .volume import Volume, canonical, require_usable

Preset = Annotated[str, OneOf(PRESETS, "settings behind one word")]
Contrast = Annotated[str | None, OneOf((), "what the image shows, a label of the model")]
Samples = Annotated[int, Between(1, 64, "posterior samples to take mean and spread of")]
Batch = Annotated[int, Between(1, 64, "slices at a time; more needs more memory")]


@dataclass(frozen=True)
class Acquisition:
    """How the data are undersampled: pattern, acceleration, fully sampled centre, coils, and noise relative to the
    brightest tissue (standard deviation of each k-space sample). A `mask` (Y, X) takes the place of the first three."""

    pattern: Annotated[str, OneOf(tuple(PATTERNS), "where k-space is sampled")] = "cartesian-random"
    acceleration: Annotated[float, Between(1.0, 100.0, "keep one part of k-space in so many")] = 4.0
    centre: Annotated[float | None, Between(0.0, 1.0, "fraction of k-space, in its centre, kept whole")] = None
    mask_seed: Annotated[int, Between(0, 2**31 - 1, "seed of the mask, the coils and the noise")] = 0
    coils: Annotated[int, Between(1, 64, "simulated receiver coils")] = 1
    noise: Annotated[float, Between(0.0, 0.99, "noise of k-space (SD), relative to the brightest tissue")] = 0.0
    mask: Any = field(default=None, compare=False)

    def operator(self, shape: tuple[int, int], channels: int, device: torch.device) -> Fourier | MultiCoil:
        """The measurement of slices (B, channels, *shape); raises BadInput for settings that no scanner could have."""
        if self.coils < 1:
            raise BadInput(f"the number of coils is {self.coils}; expected 1 or more")
        if not 0 <= self.noise < 1:
            raise BadInput(f"the noise is {self.noise}; expected 0 to below 1, relative to the brightest tissue")
        if self.mask_seed < 0:
            raise BadInput(f"the seed of the mask is {self.mask_seed}; expected 0 or more")
        mask = self.sampled(shape).to(device)
        if self.coils == 1:
            return Fourier(mask, channels)
        return MultiCoil(mask, simulate_sensitivities(self.coils, shape, self.mask_seed).to(device), channels)

    def sampled(self, shape: tuple[int, int]) -> Tensor:
        """The sampling mask (Y, X); raises BadInput for one that was given and has another shape."""
        if self.mask is not None:
            return as_mask(self.mask, shape)
        # 8 % of the lines at 4x and 4 % at 8x, as in the fastMRI challenge
        centre = 0.32 / max(self.acceleration, 1) if self.centre is None else self.centre
        return make_mask(self.pattern, shape, self.acceleration, centre_fraction=centre, seed=self.mask_seed)

    def settings(self) -> dict[str, Any]:
        """What provenance tells of it, as JSON values."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "mask"}
        if self.mask is None:
            return told
        mask = np.asarray(self.mask)
        return {**told, "pattern": "given", "acceleration": mask.size / np.count_nonzero(mask)}


@dataclass(frozen=True)
class Reconstruction:
    """Mean, spread, zero-filled image and what the data leave over (the magnitude of A^T (y - A mean)) on the grid of
    the input; the residual |A mean - y| / |y| over all slices; `megapixels` that the network saw. The reference is
    there when data were taken away that had been recorded."""

    mean: Volume
    spread: Volume
    first: Volume
    leftover: Volume
    residual: float
    calls: int
    megapixels: float
    settings: dict[str, Any] = field(default_factory=dict)
    reference: Volume | None = None


def reconstruct(
    volume: Volume,
    model: Model,
    *,
    method: str = "pnp",
    acquisition: Acquisition = Acquisition(),
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    contrast: Contrast = None,
    plane: Annotated[str, OneOf(tuple(PLANES), "the slices that are reconstructed, one by one")] = "axial",
    samples: Samples = 4,
    batch: Batch = 8,
    seed: int = 0,
) -> Run[Reconstruction]:
    """Undersample `volume` retrospectively, then reconstruct it; yields Progress over all slices and samples.

    The truth is used to make the measurement and for nothing else: intensities are scaled by the zero-filled image.
    Raises BadInput for a volume, an acquisition or settings that cannot be used.
    """
    require_usable(volume)
    if volume.array.dtype.kind != "c" and volume.array.max() <= 0:
        raise BadInput(f"the volume has no voxel above 0 (the highest is {volume.array.max()}); expected an MR image")
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    placed, restore = canonical(volume)
    check_domain(placed, model, plane)
    scan = Simulated.of(placed.array, plane, acquisition, model)
    found = yield from posterior(
        scan,
        model,
        recipe,
        settings,
        contrast=contrast,
        samples=samples,
        batch=batch,
        seed=seed,
        pilot_seed=acquisition.mask_seed,
    )
    used = {**settings, **acquisition.settings(), "contrast": contrast, "plane": plane, "samples": samples}

    def back(images: Tensor) -> Volume:
        return restore.volume(placed.with_array(_array(images, plane)))

    return Reconstruction(
        mean=back(scan.restored(found.mean)),
        spread=magnitude(back(found.spread)),
        first=back(scan.restored(found.first)),
        leftover=back(found.leftover),
        residual=found.residual,
        calls=recipe.calls(settings) * samples,
        megapixels=found.megapixels,
        settings={**used, **uncertainty_settings(model, recipe)},
    )


@dataclass(frozen=True, eq=False)
class Simulated(Scan):
    """Slices (N, C, H, W) of a volume, measured by `operator` with noise of standard deviation `sigma`."""

    truth: Tensor
    operator: Fourier | MultiCoil
    sigma: float
    seed: int

    @classmethod
    def of(cls, array: np.ndarray, plane: str, acquisition: Acquisition, model: Model) -> Simulated:
        """The scan of a canonical volume (Z, Y, X); raises BadInput."""
        truth = _channels(array, plane)
        operator = acquisition.operator((truth.shape[2], truth.shape[3]), truth.shape[1], model.device)
        # the simulated scanner knows how bright the truth is; the reconstruction does not
        scaling = fit_scale(truth, model)
        scaling.check(array)  # a complex image would be turned in its phase by an offset
        kind = cls if truth.shape[1] == 1 else SimulatedComplex
        sigma = acquisition.noise * model.intensity.target[1] / scaling.gain
        return kind(truth, operator, sigma, acquisition.mask_seed)

    @cached_property
    def kept(self) -> Tensor:
        return occupied(self.truth)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        slices, channels, rows, columns = self.truth.shape
        return slices, channels, rows, columns

    @property
    def folds(self) -> int:
        return self.truth.shape[1]

    def measured(self, rows: Tensor) -> Measured:
        return Measured(self.operator, measure(self.truth, rows, self.operator, self.sigma, self.seed), self.sigma)

    def restored(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) with all that was taken off before they were reconstructed."""
        return images


@dataclass(frozen=True, eq=False)
class SimulatedComplex(Simulated):
    """Slices of complex images (C = 2), whose smooth phase goes into the coils, as that of recorded k-space does: a
    prior of magnitudes has never seen negative images."""

    @cached_property
    def low(self) -> Tensor:
        """The complex images (N, H, W) that the centre of what was measured shows."""
        box = calibration_box(self.operator.mask.cpu().numpy())
        low = torch.zeros(len(self.truth), *self.truth.shape[2:], dtype=torch.complex64)
        for row in self.kept:
            y = measure(self.truth, row[None], self.operator, self.sigma, self.seed)[0]
            low[row] = low_resolution(y, self._maps, box).cpu()
        return low

    @property
    def _maps(self) -> Tensor:
        if isinstance(self.operator, MultiCoil):
            return self.operator.sensitivities
        return torch.ones(1, *self.truth.shape[2:], dtype=torch.complex64, device=self.operator.mask.device)

    @property
    def folds(self) -> int:
        return 1

    def measured(self, rows: Tensor) -> Measured:
        phase = torch.exp(1j * self.low[rows].angle()).to(self.operator.mask.device)
        return replace(super().measured(rows), operator=MultiCoil(self.operator.mask, self._maps * phase[:, None], 2))

    def prior(self, prior: Prior, rows: Tensor, gain: float) -> Prior:
        return NearlyReal.of(prior, gain * PHASE * self.low[rows].abs()[:, None].to(self.operator.mask.device))

    def restored(self, images: Tensor) -> Tensor:
        return from_complex(to_complex(images) * torch.exp(1j * self.low.angle())[:, None], 2)


def check_domain(volume: Volume, model: Model, plane: str) -> None:
    """Raises BadInput when the in-plane spacing of a canonical volume is too far from what the model was trained at."""
    card = model.card
    if complaint := spacing_complaint(volume.spacing, plane, card.id, card.spacing_mm, card.spacing_tolerance):
        raise BadInput(complaint)


def measure(truth: Tensor, rows: Tensor, operator: Fourier | MultiCoil, sigma: float, seed: int) -> Tensor:
    """k-space of some slices of (N, C, H, W), with complex Gaussian noise drawn for each slice by its number."""
    y = operator(truth[rows].to(operator.mask.device))
    if not sigma:
        return y
    noise = Gaussian([seed_of(seed, int(row), "measurement") for row in rows])
    return y + sigma * torch.complex(noise(y.real), noise(y.real)) * operator.mask


def _channels(array: np.ndarray, plane: str) -> Tensor:
    """(Z, Y, X) real or complex as float32 slices (N, C, H, W), C = 2 holding (re, im)."""
    parts = (np.real(array), np.imag(array)) if np.iscomplexobj(array) else (array,)
    return torch.cat([slices(np.asarray(part, np.float32), plane) for part in parts], dim=1).contiguous()


def _array(images: Tensor, plane: str) -> np.ndarray:
    """The inverse of `_channels`."""
    parts = [stack(images[:, [c]], plane).numpy() for c in range(images.shape[1])]
    return parts[0] + 1j * parts[1] if len(parts) == 2 else parts[0]


def magnitude(volume: Volume) -> Volume:
    """The magnitude of a complex volume, a real one as it is."""
    return volume.with_array(np.abs(volume.array)) if np.iscomplexobj(volume.array) else volume


def uncertainty_settings(model: Model, recipe: Recipe) -> dict[str, float]:
    """What the spread of samples was multiplied by, for provenance."""
    calibration = model.card.uncertainty.get(recipe.name)
    return {"uncertainty_scale": calibration.scale if calibration else 1.0}
