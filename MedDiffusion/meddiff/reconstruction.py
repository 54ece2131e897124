"""Reconstruction of a volume, slice by slice: measure it, sample the posterior, put mean and spread back in place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from .coils import simulate_sensitivities
from .domain import PLANES, spacing_complaint
from .ensemble import Moments, ensemble
from .errors import BadInput, Notice
from .intensity import Scaling
from .masks import PATTERNS, as_mask, make_mask
from .models import Model
from .multicoil import MultiCoil
from .noises import Gaussian, gaussian, seed_of
from .operators import Fourier, Operator
from .prior import Condition
from .recipes.reconstruct import TASK, Measured, pnp
from .registry import PRESETS, Between, OneOf, find_recipe
from .sampling import Run, drain
from .tiling import batches, occupied, slices, stack
from .uncertainty import calibrated
from .volume import Volume, canonical, require_usable

PILOT = 6  # slices


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
    """Mean, spread and zero-filled image on the grid of the input; the residual |A x - y| / |y| over all slices."""

    mean: Volume
    spread: Volume
    first: Volume
    residual: float
    calls: int
    settings: dict[str, Any] = field(default_factory=dict)


def reconstruct(
    volume: Volume,
    model: Model,
    *,
    method: str = "pnp",
    acquisition: Acquisition = Acquisition(),
    parameters: Mapping[str, Any] | None = None,
    preset: Annotated[str, OneOf(PRESETS, "settings behind one word")] = "balanced",
    contrast: Annotated[str | None, OneOf((), "what the image shows, a label of the model")] = None,
    plane: Annotated[str, OneOf(tuple(PLANES), "the slices that are reconstructed, one by one")] = "axial",
    samples: Annotated[int, Between(1, 64, "posterior samples to take mean and spread of")] = 4,
    batch: Annotated[int, Between(1, 64, "slices at a time; more needs more memory")] = 8,
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
    calibration = model.card.uncertainty.get(recipe.name)
    settings = recipe.settings(parameters or {}, preset)
    placed, restore = canonical(volume)
    check_domain(placed, model, plane)
    truth = _channels(placed.array, plane)
    operator = acquisition.operator((truth.shape[2], truth.shape[3]), truth.shape[1], model.device)
    kept = occupied(truth)
    groups = [kept[rows] for rows in batches(len(kept), batch)]
    # the simulated scanner knows how bright the truth is; the reconstruction does not
    sigma = acquisition.noise * model.intensity.target[1] / fit_scale(truth, model).gain
    first = torch.zeros_like(truth)
    for rows in groups:
        y = measure(truth, rows, operator, sigma, acquisition.mask_seed)
        first[rows] = Measured(operator, y, sigma).initial.cpu()
    scaling = pilot_scale(truth, first, kept, operator, model, sigma, acquisition.mask_seed)
    scaling.check(placed.array)  # a complex image would be turned in its phase by an offset
    if samples == 1:
        warnings.warn("one sample has no spread: the uncertainty is 0 everywhere; take 2 or more", Notice, stacklevel=2)
    mean, spread, misfit, power = torch.zeros_like(truth), torch.zeros_like(truth), 0.0, 0.0
    for number, rows in enumerate(groups):
        y = measure(truth, rows, operator, sigma, acquisition.mask_seed)
        data = Measured(operator, _scaled(y, operator, first[rows].to(y.device), scaling), sigma * scaling.gain)
        cond = model.condition(contrast, len(rows))

        def member(k: int, rows: Tensor = rows, data: Measured = data, cond: Condition | None = cond) -> Run[Tensor]:
            noise = Gaussian([seed_of(seed, int(row), k) for row in rows])
            return recipe.run(model.prior, data, noise=noise, cond=cond, **settings)

        moments = yield from _shift(ensemble(member, samples), number, len(groups))
        mean[rows] = scaling.inverse(moments.mean.cpu())
        spread[rows] = scaling.inverse_spread(calibrated(moments.spread.cpu(), calibration))
        misfit += float((operator(moments.mean) - data.y).abs().square().sum())
        power += float(data.y.abs().square().sum())
    used = {**settings, **acquisition.settings(), "contrast": contrast, "plane": plane, "samples": samples}
    used["uncertainty_scale"] = calibration.scale if calibration else 1.0
    return Reconstruction(
        mean=restore.volume(placed.with_array(_array(mean, plane))),
        spread=restore.volume(placed.with_array(_magnitude(_array(spread, plane)))),
        first=restore.volume(placed.with_array(_array(first, plane))),
        residual=(misfit / max(power, 1e-30)) ** 0.5,
        calls=recipe.calls(settings) * samples,
        settings=used,
    )


def check_domain(volume: Volume, model: Model, plane: str) -> None:
    """Raises BadInput when the in-plane spacing of a canonical volume is too far from what the model was trained at."""
    card = model.card
    if complaint := spacing_complaint(volume.spacing, plane, card.id, card.spacing_mm, card.spacing_tolerance):
        raise BadInput(complaint)


def fit_scale(first: Tensor, model: Model) -> Scaling:
    """The intensity scale of the model, read off the zero-filled image (N, C, H, W): the truth is not known.

    Aliasing fills the background, so the foreground is what exceeds a tenth of the maximum.
    """
    size = first.square().sum(1).sqrt().numpy()
    return model.intensity.fit(np.where(size > 0.1 * size.max(), size, 0.0))


def pilot_scale(
    truth: Tensor, first: Tensor, kept: Tensor, operator: Fourier | MultiCoil, model: Model, sigma: float, seed: int
) -> Scaling:
    """`fit_scale`, corrected by a quick reconstruction of a few slices: undersampling dims bright vessels by half."""
    rough = fit_scale(first, model)
    if rough.offset:
        return rough
    rows = kept[torch.linspace(0, len(kept) - 1, min(PILOT, len(kept))).long()]
    y = measure(truth, rows, operator, sigma, seed) * rough.gain
    data = Measured(operator, y, sigma * rough.gain)
    noise, cond = gaussian(seed, len(rows)), model.condition(None, len(rows))
    image = drain(pnp(model.prior, data, noise=noise, cond=cond, steps=8))
    correction = fit_scale(image.cpu(), model).gain / fit_scale(rough.gain * first[rows], model).gain
    return Scaling(rough.gain * correction, 0.0)


def measure(truth: Tensor, rows: Tensor, operator: Fourier | MultiCoil, sigma: float, seed: int) -> Tensor:
    """k-space of some slices of (N, C, H, W), with complex Gaussian noise drawn for each slice by its number."""
    y = operator(truth[rows].to(operator.mask.device))
    if not sigma:
        return y
    noise = Gaussian([seed_of(seed, int(row), "measurement") for row in rows])
    return y + sigma * torch.complex(noise(y.real), noise(y.real)) * operator.mask


def _scaled(y: Tensor, operator: Operator, like: Tensor, scaling: Scaling) -> Tensor:
    """k-space in the units of the model: an offset of the image is one of k-space too."""
    y = scaling.gain * y
    return y + operator(torch.full_like(like, scaling.offset)) if scaling.offset else y


def _channels(array: np.ndarray, plane: str) -> Tensor:
    """(Z, Y, X) real or complex as float32 slices (N, C, H, W), C = 2 holding (re, im)."""
    parts = (np.real(array), np.imag(array)) if np.iscomplexobj(array) else (array,)
    return torch.cat([slices(np.asarray(part, np.float32), plane) for part in parts], dim=1).contiguous()


def _array(images: Tensor, plane: str) -> np.ndarray:
    """The inverse of `_channels`."""
    parts = [stack(images[:, [c]], plane).numpy() for c in range(images.shape[1])]
    return parts[0] + 1j * parts[1] if len(parts) == 2 else parts[0]


def _magnitude(array: np.ndarray) -> np.ndarray:
    return np.abs(array).astype(np.float32)


def _shift(run: Run[Moments], number: int, count: int) -> Run[Moments]:
    """Progress of one group of slices as progress of the whole volume."""
    while True:
        try:
            p = next(run)
        except StopIteration as end:
            return end.value
        yield replace(p, step=number * p.of + p.step, of=count * p.of)
