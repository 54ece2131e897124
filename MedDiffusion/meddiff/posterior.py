"""From a scan to its posterior, slice by slice: scale, sample, keep mean and spread, and what the data leave over."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .ensemble import Moments, ensemble
from .errors import Notice
from .intensity import Scaling
from .levels import CLEAN
from .models import Model
from .noises import Gaussian, gaussian, seed_of
from .operators import Operator
from .prior import Condition, Prior
from .recipes.reconstruct import Measured, pnp
from .registry import Recipe
from .sampling import Progress, Run, drain
from .tiling import batches
from .uncertainty import calibrated

PILOT, PILOT_STEPS = 6, 8  # slices, and network calls for each


class Scan(ABC):
    """Slices that were measured, and what is known of them."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of their image."""

    @property
    @abstractmethod
    def kept(self) -> Tensor:
        """The numbers of the slices with an image in them."""

    @property
    @abstractmethod
    def folds(self) -> int:
        """How many images a network of one channel sees for each slice."""

    @abstractmethod
    def measured(self, rows: Tensor) -> Measured:
        """What was measured of some slices, in the units of the scanner, on the device."""

    def prior(self, prior: Prior, rows: Tensor, gain: float) -> Prior:
        """What the prior, in units that are `gain` times those of the scanner, knows of these slices."""
        return prior


@dataclass(frozen=True)
class Found:
    """Images (N, C, H, W) in the units of the scanner: mean and spread of the samples, the zero-filled image; and
    (N, 1, H, W) the magnitude of A^T (y - A mean). The residual is |A mean - y| / |y| over all slices, `megapixels`
    how much the network saw."""

    mean: Tensor
    spread: Tensor
    first: Tensor
    leftover: Tensor
    residual: float
    megapixels: float


def posterior(
    scan: Scan,
    model: Model,
    recipe: Recipe,
    settings: Mapping[str, Any],
    *,
    contrast: str | None,
    samples: int,
    batch: int,
    seed: int,
    pilot_seed: int = 0,
    before: int = 0,
) -> Run[Found]:
    """Samples of all slices of `scan`; yields Progress, of which `before` steps were made already."""
    groups = [scan.kept[rows] for rows in batches(len(scan.kept), batch)]
    first = torch.zeros(scan.shape)
    for rows in groups:
        first[rows] = scan.measured(rows).initial.cpu()
    scaling = pilot_scale(scan, first, model, pilot_seed)
    if samples == 1:
        warnings.warn("one sample has no spread: the uncertainty is 0 everywhere; take 2 or more", Notice, stacklevel=2)
    mean, spread, leftover = torch.zeros(scan.shape), torch.zeros(scan.shape), torch.zeros_like(first[:, :1])
    calibration, misfit, power = model.card.uncertainty.get(recipe.name), 0.0, 0.0
    for number, rows in enumerate(groups):
        data = in_model_units(scan.measured(rows), scaling)
        prior, cond = scan.prior(model.prior, rows, scaling.gain), model.condition(contrast, len(rows))

        def member(
            k: int, rows: Tensor = rows, prior: Prior = prior, data: Measured = data, cond: Condition | None = cond
        ) -> Run[Tensor]:
            noise = Gaussian([seed_of(seed, int(row), k) for row in rows])
            return recipe.run(prior, data, noise=noise, cond=cond, **settings)

        moments = yield from in_turn(ensemble(member, samples), number, len(groups), before)
        mean[rows] = scaling.inverse(moments.mean.cpu())
        spread[rows] = scaling.inverse_spread(calibrated(moments.spread.cpu(), calibration))
        rest = data.y - data.operator(moments.mean)
        left = data.operator.adjoint(rest).square().sum(1, keepdim=True).sqrt()
        leftover[rows] = scaling.inverse_spread(left.cpu())
        misfit += float(rest.abs().square().sum())
        power += float(data.y.abs().square().sum())
    seen = recipe.calls(settings) * samples * len(scan.kept) + _pilot_calls(scan, scaling)
    pixels = prod(size + -size % model.card.shape_multiple for size in scan.shape[2:])
    residual = (misfit / max(power, 1e-30)) ** 0.5
    return Found(mean, spread, first, leftover, residual, seen * pixels * scan.folds / 1e6)


def fit_scale(first: Tensor, model: Model) -> Scaling:
    """The intensity scale of the model, read off the zero-filled image (N, C, H, W): the truth is not known.

    Aliasing fills the background, so the foreground is what exceeds a tenth of the maximum.
    """
    size = first.square().sum(1).sqrt().numpy()
    return model.intensity.fit(np.where(size > 0.1 * size.max(), size, 0.0))


def pilot_scale(scan: Scan, first: Tensor, model: Model, seed: int) -> Scaling:
    """`fit_scale`, corrected by a quick reconstruction of a few slices: undersampling dims bright vessels by half."""
    rough = fit_scale(first, model)
    if rough.offset:
        return rough
    rows = _pilot(scan)
    data = in_model_units(scan.measured(rows), rough)
    prior = scan.prior(model.prior, rows, rough.gain)
    noise, cond = gaussian(seed, len(rows)), model.condition(None, len(rows))
    image = drain(pnp(prior, data, noise=noise, cond=cond, steps=PILOT_STEPS))
    correction = fit_scale(image.cpu(), model).gain / fit_scale(rough.gain * first[rows], model).gain
    return Scaling(rough.gain * correction, 0.0)


def _pilot(scan: Scan) -> Tensor:
    return scan.kept[torch.linspace(0, len(scan.kept) - 1, min(PILOT, len(scan.kept))).long()]


def _pilot_calls(scan: Scan, scaling: Scaling) -> int:
    return 0 if scaling.offset else PILOT_STEPS * len(_pilot(scan))


def in_model_units(data: Measured, scaling: Scaling) -> Measured:
    """The same measurement in the units of the model: an offset of the image is one of k-space too."""
    y = scaling.gain * data.y
    if scaling.offset:
        y = y + _constant(data.operator, data.y, scaling.offset)
    return Measured(data.operator, y, data.sigma * scaling.gain)


def _constant(operator: Operator, y: Tensor, value: float) -> Tensor:
    """What `operator` sees of an image that is `value` everywhere."""
    return operator(torch.full_like(operator.adjoint(y), value))


def expected(settings: Mapping[str, Any], samples: int, groups: int) -> int:
    """How many times a run of so many groups of slices will yield Progress."""
    return int(settings.get("steps", 1)) * samples * groups


def waiting(step: int, of: int) -> Progress:
    """Progress of what comes before the first image."""
    return Progress(step, of, CLEAN, None)


def in_turn(run: Run[Moments], number: int, count: int, before: int) -> Run[Moments]:
    """Progress of one group of slices as progress of the whole volume."""
    while True:
        try:
            p = next(run)
        except StopIteration as end:
            return end.value
        yield replace(p, step=before + number * p.of + p.step, of=before + count * p.of)
