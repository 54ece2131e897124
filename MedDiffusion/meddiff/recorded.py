"""Reconstruction of what a scanner recorded: coils and phase from the centre of k-space, then the posterior."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from .coils import estimate_sensitivities
from .errors import BadInput, Notice
from .kspace import TURNS, Raw, check_resolution, coarser, compress, noise_level, oriented
from .models import Model
from .multicoil import MultiCoil
from .operators import ifft2c
from .phase import PHASE, NearlyReal, calibration_box, low_resolution
from .posterior import Scan, expected, posterior, waiting
from .prior import Prior
from .recipes.reconstruct import TASK, Measured
from .reconstruction import Acquisition, Batch, Contrast, Preset, Reconstruction, Samples, uncertainty_settings
from .registry import Between, OneOf, find_recipe
from .sampling import Run

UNSEEN = 0.1  # of the energy of a slice outside of the coil maps: more is a sign that they are wrong
SAMPLED = 0.8  # the part of k-space that must be there to make a reference of it

Millimetres = Annotated[float | None, Between(0.01, 100.0, "size of a voxel in mm, where the file does not tell it")]


@dataclass(frozen=True, eq=False)
class Recorded(Scan):
    """Recorded k-space (N, coils, Y, X), its `mask` (N, 1, Y, X), coil `maps` with the smooth phase of the image in
    them, and the `spread` (N, 1, Y, X) of the phase that is left, times the image; None for images held to be real."""

    kspace: Tensor
    mask: Tensor
    maps: Tensor
    sigma: float
    device: torch.device
    spread: Tensor | None

    @cached_property
    def kept(self) -> Tensor:
        return self.maps.abs().amax((1, 2, 3)).nonzero().flatten()  # there are none of empty slices

    @property
    def seen(self) -> Tensor:
        """Where any coil sees something (N, Y, X)."""
        return (self.maps != 0).any(1)

    @property
    def folds(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        slices, _, rows, columns = self.kspace.shape
        return slices, 1 if self.spread is None else 2, rows, columns

    def measured(self, rows: Tensor) -> Measured:
        """The recorded samples of these slices; each slice has coil maps of its own."""
        mask = self.mask[rows].to(self.device)
        operator = MultiCoil(mask, self.maps[rows].to(self.device), self.shape[1])
        return Measured(operator, self.kspace[rows].to(self.device), self.sigma)

    def prior(self, prior: Prior, rows: Tensor, gain: float) -> Prior:
        if self.spread is None:
            return prior
        return NearlyReal.of(prior, gain * self.spread[rows].to(self.device))

    def combined(self) -> Tensor:
        """The zero-filled images of the coils combined (N, Y, X), complex."""
        return (self.maps.conj() * ifft2c(self.kspace)).sum(1)


def reconstruct_raw(
    raw: Raw,
    model: Model,
    *,
    method: str = "pnp",
    undersampling: Acquisition | None = None,
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    contrast: Contrast = None,
    phase: Annotated[float, Between(0.0, 3.2, "how far the phase strays from a smooth one (SD, rad)")] = PHASE,
    resolution: Annotated[
        float | None, Between(0.1, 10.0, "in-plane voxels of this many mm, where finer ones came")
    ] = None,
    turn: Annotated[str, OneOf(tuple(TURNS), "turns the image upright: a quarter left, right, or half")] = "none",
    spacing_x: Millimetres = None,
    spacing_y: Millimetres = None,
    spacing_z: Millimetres = None,
    samples: Samples = 4,
    batch: Batch = 8,
    seed: int = 0,
) -> Run[Reconstruction]:
    """Reconstruct recorded k-space; yields Progress. `undersampling` takes samples away, to see what is lost: what all
    of them show is then the reference. Raises BadInput for data, a model or settings that cannot be used."""
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    if model.intensity.to_dict()["linear"] is False:
        raise BadInput(
            f"model {model.card.id!r} is for values in known units; raw k-space needs a scale-only intensity"
        )
    raw = _prepared(raw, (spacing_x, spacing_y, spacing_z), turn, resolution)
    check_resolution(raw, model.card.id, model.card.spacing_mm, model.card.spacing_tolerance)
    sigma, coils, whole = noise_level(raw), raw.kspace.shape[1], compress(raw)
    raw = whole if undersampling is None else _undersampled(whole, undersampling)
    count = len(raw.kspace) * (1 if undersampling is None else 2)
    groups = -(-int((raw.kspace != 0).any((1, 2, 3)).sum()) // batch) if batch > 0 else 0
    of, reference = count + expected(settings, samples, groups), None
    if undersampling is not None:
        full = yield from calibrate(whole, sigma, phase, model.device, of)
        if whole.mask.mean() >= SAMPLED:
            reference = raw.grid().with_array(full.combined().abs().numpy())
    scan = yield from calibrate(raw, sigma, phase, model.device, of, count - len(raw.kspace))
    found = yield from posterior(
        scan, model, recipe, settings, contrast=contrast, samples=samples, batch=batch, seed=seed, before=count
    )
    told = {"source": raw.kind, **raw.facts, "coils": coils, "virtual_coils": raw.kspace.shape[1], "noise_sd": sigma}
    told |= {"acceleration": raw.mask.size / np.count_nonzero(raw.mask), "phase": phase, "turn": turn}
    told |= {"resolution": resolution, "plane": raw.plane, "contrast": contrast, "samples": samples}
    grid = raw.grid()
    seen = scan.seen.numpy()  # elsewhere there is nothing but the prior's guess
    return Reconstruction(
        mean=grid.with_array(_array(found.mean) * seen),
        spread=grid.with_array(found.spread.square().sum(1).sqrt().numpy() * seen),
        first=grid.with_array(_array(found.first)),
        leftover=grid.with_array(found.leftover[:, 0].numpy()),
        residual=found.residual,
        calls=recipe.calls(settings) * samples,
        megapixels=found.megapixels,
        settings={**settings, **told, **uncertainty_settings(model, recipe)},
        reference=reference,
    )


def calibrate(raw: Raw, sigma: float, phase: float, device: torch.device, of: int, before: int = 0) -> Run[Recorded]:
    """Coil maps and smooth phase of every slice, by what is sampled in the centre of k-space; yields Progress for each,
    of `of` steps in all, after `before`. Raises BadInput where the centre does not tell."""
    kspace = torch.from_numpy(raw.kspace)
    source = raw.kspace if raw.calibration is None else raw.calibration
    maps, low = torch.zeros_like(kspace), torch.zeros_like(kspace[:, 0])
    unseen = 0.0
    for k, centre in enumerate(source):
        if centre.any() and raw.kspace[k].any():
            maps[k] = _maps(raw, k, centre)
            low[k] = low_resolution(torch.from_numpy(centre), maps[k], calibration_box((centre != 0).any(0)))
            maps[k] *= torch.exp(1j * low[k].angle())
            unseen = max(unseen, _unseen(torch.from_numpy(centre), maps[k]))
        yield waiting(before + k + 1, of)
    if unseen > UNSEEN:
        told = f"the coil maps leave out up to {unseen:.0%} of the signal of a slice; what lies there becomes 0"
        warnings.warn(f"{told}; a wider fully sampled centre of k-space helps", Notice, stacklevel=2)
    spread = (phase * low.abs())[:, None] if phase else None
    mask = torch.from_numpy(np.array(raw.mask))[:, None]  # a copy: it may be read-only
    return Recorded(kspace, mask, maps, sigma, device, spread)


def _unseen(centre: Tensor, maps: Tensor) -> float:
    """The part of the energy of a low-resolution image that lies where no coil is said to see anything."""
    energy = ifft2c(centre).abs().square().sum(0)
    return float(energy[maps.abs().sum(0) == 0].sum() / energy.sum())


def _maps(raw: Raw, k: int, centre: np.ndarray) -> Tensor:
    """Coil sensitivities of slice `k`: known, 1 for one coil, else estimated from its `centre` of k-space."""
    if raw.maps is not None:
        return torch.from_numpy(raw.maps[k])
    if len(centre) == 1:
        return torch.ones(centre.shape, dtype=torch.complex64)
    try:
        return estimate_sensitivities(centre)
    except ImportError:
        advice = "install with: python -m pip install sigpy"
        raise BadInput(f"sigpy is needed to find the sensitivities of {len(centre)} coils; {advice}") from None


def _prepared(raw: Raw, spacing: tuple[float | None, ...], turn: str, resolution: float | None) -> Raw:
    """`raw` with its image upright, with voxels of the size that is told or wanted."""
    if any(spacing):
        known = raw.spacing or (None, None, None)
        sizes = tuple(given or there for given, there in zip(spacing, known, strict=True))
        if None in sizes or min(s for s in sizes if s) <= 0:
            raise BadInput(f"the spacing is {sizes} mm; expected three positive numbers: spacing_x, _y and _z")
        raw = replace(raw, spacing=sizes)
    raw = oriented(raw, turn)
    return raw if resolution is None else coarser(raw, resolution)


def _undersampled(raw: Raw, how: Acquisition) -> Raw:
    """`raw` without the samples that a faster scan would not have taken."""
    if how.coils != 1 or how.noise:
        raise BadInput("recorded k-space has coils and noise of its own; leave coils and noise out")
    keep = how.sampled(raw.shape[1:]).numpy()
    mask = raw.mask & keep
    if not mask.any():
        raise BadInput("the mask leaves nothing of what was sampled; choose another")
    return replace(raw, mask=mask, kspace=raw.kspace * mask[:, None])


def _array(images: Tensor) -> np.ndarray:
    """(N, 1 or 2, Y, X) as real or complex (N, Y, X)."""
    return images[:, 0].numpy() if images.shape[1] == 1 else torch.complex(images[:, 0], images[:, 1]).numpy()
