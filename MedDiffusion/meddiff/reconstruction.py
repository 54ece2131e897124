"""Reconstruction of a volume, slice by slice: measure it, sample the posterior, put mean and spread back in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .coils import simulate_sensitivities
from .ensemble import Moments, ensemble
from .errors import BadInput, choose
from .intensity import Scaling
from .masks import make_mask
from .models import Model
from .noises import Gaussian, seed_of
from .operators import Fourier, MultiCoil, Operator
from .prior import Condition
from .recipes.reconstruct import TASK, Measured
from .registry import find_recipe
from .sampling import Run
from .tiling import AXES, batches, occupied, slices, stack
from .volume import Volume, canonical, require_usable


@dataclass(frozen=True)
class Acquisition:
    """How the data are undersampled: pattern, acceleration, fully sampled centre, coils, and noise relative to the
    brightest tissue (standard deviation of each k-space sample)."""

    pattern: str = "cartesian-random"
    acceleration: float = 4.0
    centre: float | None = None
    mask_seed: int = 0
    coils: int = 1
    noise: float = 0.0

    def operator(self, shape: tuple[int, int], channels: int, device: torch.device) -> Operator:
        """The measurement of slices (B, channels, *shape); raises BadInput for settings that no scanner could have."""
        if self.coils < 1:
            raise BadInput(f"the number of coils is {self.coils}; expected 1 or more")
        if not 0 <= self.noise < 1:
            raise BadInput(f"the noise is {self.noise}; expected 0 to below 1, relative to the brightest tissue")
        # 8 % of the lines at 4x and 4 % at 8x, as in the fastMRI challenge
        centre = 0.32 / max(self.acceleration, 1) if self.centre is None else self.centre
        mask = make_mask(self.pattern, shape, self.acceleration, centre_fraction=centre, seed=self.mask_seed).to(device)
        if self.coils == 1:
            return Fourier(mask, channels)
        return MultiCoil(mask, simulate_sensitivities(self.coils, shape, self.mask_seed).to(device), channels)


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
    method: str = "ddnm",
    acquisition: Acquisition = Acquisition(),  # noqa: B008 - frozen
    parameters: Mapping[str, Any] | None = None,
    preset: str = "balanced",
    contrast: str | None = None,
    plane: str = "axial",
    samples: int = 4,
    batch: int = 8,
    seed: int = 0,
) -> Run[Reconstruction]:
    """Undersample `volume` retrospectively, then reconstruct it; yields Progress over all slices and samples.

    The truth is used to make the measurement and for nothing else: intensities are scaled by the zero-filled image.
    Raises BadInput for a volume, an acquisition or settings that cannot be used.
    """
    require_usable(volume)
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    placed, restore = canonical(volume)
    check_domain(placed, model, plane)
    truth = _channels(placed.array, plane)
    operator = acquisition.operator((truth.shape[2], truth.shape[3]), truth.shape[1], model.device)
    kept = occupied(truth)
    groups = [kept[rows] for rows in batches(len(kept), batch)]
    first = torch.zeros_like(truth)
    for rows in groups:
        first[rows] = operator.pinv(operator(truth[rows].to(model.device))).cpu()
    scaling = fit_scale(first, model)
    mean, spread, misfit, power = torch.zeros_like(truth), torch.zeros_like(truth), 0.0, 0.0
    for number, rows in enumerate(groups):
        data = _measure(truth[rows].to(model.device), operator, scaling, model, acquisition, rows)
        cond = model.condition(contrast, len(rows))

        def member(k: int, rows: Tensor = rows, data: Measured = data, cond: Condition | None = cond) -> Run[Tensor]:
            noise = Gaussian([seed_of(seed, int(row), k) for row in rows])
            return recipe.run(model.prior, data, noise=noise, cond=cond, **settings)

        moments = yield from _shift(ensemble(member, samples), number, len(groups))
        mean[rows] = scaling.inverse(moments.mean.cpu())
        spread[rows] = scaling.inverse_spread(moments.spread.cpu())
        misfit += float((operator(moments.mean) - data.y).abs().square().sum())
        power += float(data.y.abs().square().sum())
    used = {**settings, **asdict(acquisition), "contrast": contrast, "plane": plane, "samples": samples}
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
    axis = AXES[choose(plane, AXES, "plane")]
    spacing = [s for k, s in enumerate(reversed(volume.spacing)) if k != axis][::-1]
    trained, tolerance = model.card.spacing_mm[:2], model.card.spacing_tolerance
    if any(not 1 / (1 + tolerance) <= s / t <= 1 + tolerance for s, t in zip(spacing, trained, strict=True)):
        raise BadInput(
            f"the {plane} slices have a spacing of {spacing[0]:g} x {spacing[1]:g} mm; model {model.card.id!r} was trained "
            f"at {trained[0]:g} x {trained[1]:g} mm; resample the volume to that spacing, or choose another model or plane"
        )


def fit_scale(first: Tensor, model: Model) -> Scaling:
    """The intensity scale of the model, read off the zero-filled image (N, C, H, W): the truth is not known.

    Aliasing fills the background, so the foreground is what exceeds a tenth of the maximum.
    """
    size = first.square().sum(1).sqrt().numpy()
    return model.intensity.fit(np.where(size > 0.1 * size.max(), size, 0.0))


def _measure(
    truth: Tensor, operator: Operator, scaling: Scaling, model: Model, acquisition: Acquisition, rows: Tensor
) -> Measured:
    """k-space of slices in the model's units, with complex Gaussian noise drawn for each slice by its number."""
    y = operator(scaling.forward(truth))
    sigma = acquisition.noise * model.intensity.target[1]
    if sigma:
        noise = Gaussian([seed_of(acquisition.mask_seed, int(row), "measurement") for row in rows])
        y = y + sigma * torch.complex(noise(y.real), noise(y.real)) * (y != 0)
    return Measured(operator, y, sigma)


def _channels(array: np.ndarray, plane: str) -> Tensor:
    """(Z, Y, X) real or complex as float32 slices (N, C, H, W), C = 2 holding (re, im)."""
    parts = (array.real, array.imag) if np.iscomplexobj(array) else (array,)
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
