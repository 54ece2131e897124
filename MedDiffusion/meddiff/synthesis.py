"""Synthesis of images: many samples at once, or frames on the way from one sample to another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from .asking import Asked, beside_image, may_be_untold, tell
from .cuts import seen
from .errors import BadInput, BadModel, Notice
from .intensity import Intensity, Scaling
from .models import Model
from .noises import Blend, Gaussian, Noise, seed_of
from .posterior import in_turn
from .presegment import as_labels
from .prior import Prior
from .recipes.synthesise import TASK, Wanted
from .reconstruction import Preset
from .registry import Between, OneOf, find_recipe, parameters_of
from .sampling import Run
from .spaces import Pixel
from .tiling import batches
from .volume import IDENTITY, Volume, canonical, resample
from .windows import Windowed

Size = Annotated[int | None, Between(4, 1024, "voxels along this axis; left out, as the model was trained")]
ROOM = 2**24  # voxels of a batch
SIZES = ("size_x", "size_y", "size_z")
BRIGHT = 1000.0  # what the brightest tissue becomes where images have no unit


@dataclass(frozen=True)
class Synthesis:
    """The samples, a volume each; those of a model of slices are one slice thick."""

    images: tuple[Volume, ...]
    asked: tuple[Asked, ...]
    dims: Literal[2, 3]
    calls: int
    megapixels: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def stack(self) -> Volume:
        """The slices of a model of two dimensions one upon the other: independent images, no body."""
        first = self.images[0]
        array = np.concatenate([image.array for image in self.images])
        return Volume(array, first.spacing, first.origin, first.direction)


def synthesise(
    model: Model,
    *,
    method: str = "synthesise",
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    label: Annotated[str | None, OneOf((), "what is shown, a class of the model; left out, anything")] = None,
    state: Annotated[str | None, OneOf((), "of the class, such as healthy")] = None,
    samples: Annotated[int, Between(1, 1024, "images to make, or frames on the way from one to another")] = 4,
    other_seed: Annotated[
        int | None, Between(0, 2**31 - 1, "frames: the last one is the first image of this seed")
    ] = None,
    size_x: Size = None,
    size_y: Size = None,
    size_z: Size = None,
    batch: Annotated[int, Between(1, 256, "images at a time; more need more memory")] = 16,
    seed: int = 0,
    covariates: Mapping[str, float] | None = None,
    covariates_to: Mapping[str, float] | None = None,
    labels: Volume | None = None,
) -> Run[Synthesis]:
    """Make images of what is asked for; yields Progress over all of them.

    Image k of a seed is the same whatever else is made. With `other_seed` or `covariates_to` the images are frames:
    the first is image 0 of `seed` with `covariates`, the last is image 0 of `other_seed` with `covariates_to`. A
    model of labelled images makes what `labels` shows, on its grid. Raises BadInput.
    """
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    known = parameters_of(synthesise)
    samples, at_once = known["samples"].check(samples), known["batch"].check(batch)
    if settings.get("guidance", 1) != 1 and not may_be_untold(model.card):
        raise BadInput(
            f"{recipe.title} compares with an image of which nothing is told, and {model.card.id} has learnt none; "
            "choose the method synthesise, or guidance 1"
        )
    shares = _shares(samples, other_seed is not None or covariates_to is not None)
    asked = _asked(model, Asked(label, state, covariates or {}), covariates_to, shares or (0.0,) * samples)
    grid, marks = _grid(model, (size_x, size_y, size_z), labels)
    shape, scaling = grid.shape[3 - len(model.card.spacing_mm) :], units(model.intensity)
    groups = [range(samples)[rows] for rows in batches(samples, max(1, min(at_once, ROOM // prod(shape))))]
    made = np.zeros((samples, *shape), np.float32)
    for number, group in enumerate(groups):
        rows = [asked[k] for k in group]
        noise = _noise(seed, other_seed, group, shares)
        run = recipe.run(_prior(model), _wanted(model, rows, shape, marks), noise=noise, **settings)
        found: Any = yield from in_turn(run, number, len(groups), 0)
        made[list(group)] = scaling.inverse(found[:, 0].float().cpu().numpy())
    images = tuple(grid.with_array(array.reshape(grid.shape)) for array in made)
    calls = recipe.calls(settings) * samples
    pixels = seen(shape, model.card.window, model.card.shape_multiple)
    used = {**settings, "label": label, "state": state, "samples": samples, "other_seed": other_seed}
    used |= {"covariates": dict(covariates or {}), "covariates_to": dict(covariates_to or {}), "size": list(shape)}
    dims: Literal[2, 3] = 3 if len(shape) == 3 else 2
    return Synthesis(images, tuple(asked), dims, calls, calls * pixels / 1e6, used)


def units(intensity: Intensity) -> Scaling:
    """What network units are worth without an image to fit: those of a window, or 1000 for the brightest tissue."""
    if intensity.kind != "percentile":
        return intensity.fit(np.zeros(1, np.float32))
    low, high = intensity.target
    return Scaling((high - low) / BRIGHT, low)


def _shares(samples: int, between: bool) -> tuple[float, ...]:
    """How far each frame is on the way; empty where there is none."""
    if not between:
        return ()
    if samples < 2:
        raise BadInput(f"{samples} frame came for a way from one image to another; expected 2 or more samples")
    return tuple(k / (samples - 1) for k in range(samples))


def _asked(model: Model, first: Asked, to: Mapping[str, float] | None, shares: Sequence[float]) -> list[Asked]:
    """What is asked of every image; raises BadInput for what the model does not know, before anything is computed."""
    last = Asked(first.label, first.state, first.covariates if to is None else to)
    for each in (first, last):
        each.check(model.card)
    if first.covariates.keys() != last.covariates.keys():
        raise BadInput(
            f"the way goes from {', '.join(first.covariates) or 'no covariate'} to {', '.join(last.covariates)}; "
            "expected the same covariates at both ends"
        )
    return [first.towards(last, share) for share in shares]


def _grid(model: Model, size: Sequence[int | None], labels: Volume | None) -> tuple[Volume, Tensor | None]:
    """The grid (Z, Y, X) of one image, centred on the origin of space or that of the label map, and the label map."""
    card, dims = model.card, len(model.card.spacing_mm)
    if labels is not None:
        if any(size):
            raise BadInput("a label map came, and a size with it; expected one of them: leave the size out")
        return _of_labels(model, labels)
    if beside_image(card)[0]:
        told = f"no label map came; {card.id} then makes any image of its kind"
        warnings.warn(f"{told}: give one to say where what is", Notice, stacklevel=4)
    given = size[:dims]
    if dims == 2 and size[2] not in (None, 1):
        raise BadInput(f"size_z {size[2]} came, and {card.id} makes slices; leave it out")
    trained = card.window[::-1] or (None,) * dims
    voxels = [n or usual for n, usual in zip(given, trained, strict=True)]
    if None in voxels:
        raise BadInput(
            f"{card.id} does not say how large its images are; give size_x, size_y{', size_z'[: 8 * dims - 16]}"
        )
    shape = [int(n or 0) for n in voxels] + [1] * (3 - dims)
    spacing, (x, y, z) = (*card.spacing_mm, 1.0)[:3], shape
    origin = tuple(-(n - 1) * s / 2 for n, s in zip(shape, spacing, strict=True))
    return Volume(np.broadcast_to(np.float32(0), (z, y, x)), _three(spacing), _three(origin), IDENTITY), None


def _three(numbers: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = numbers
    return first, second, third


def _of_labels(model: Model, labels: Volume) -> tuple[Volume, Tensor]:
    """The grid of a label map at the model's spacing, and what it shows there."""
    card = model.card
    if not beside_image(card)[0]:
        raise BadInput(f"a label map came, and {card.id} cannot be told of one; leave it out, or choose another model")
    if len(card.spacing_mm) != 3:
        raise BadModel(f"{card.id} makes slices of label maps, which this version does not; expected 3D")
    placed, _ = canonical(as_labels(labels, "the label map"))
    most = 1 + card.spacing_tolerance
    if not all(1 / most <= s / w <= most for s, w in zip(placed.spacing, card.spacing_mm, strict=True)):
        told = "the label map was resampled to the spacing of the model, at which the image is made"
        warnings.warn(told, Notice, stacklevel=5)
        placed = resample(placed, card.spacing_mm, "nearest")
    extra = sorted(set(np.unique(placed.array).astype(int).tolist()) - {*range(len(card.segments) + 1)})
    if extra or not placed.array.any():
        names = ", ".join(f"{k} {each.name}" for k, each in enumerate(card.segments, start=1))
        came = f"has the labels {extra}, which {card.id} does not know" if extra else "is empty"
        raise BadInput(f"the label map {came}; expected {names}")
    return placed, torch.from_numpy(placed.array.astype(np.int64))


def _noise(seed: int, other: int | None, group: Sequence[int], shares: Sequence[float]) -> Noise:
    """Noise of the images of a batch by their numbers; of frames, on the way from one seed to another."""
    if not shares:
        return Gaussian([seed_of(seed, k) for k in group])
    ends = [Gaussian([seed_of(end, 0)] * len(group)) for end in (seed, seed if other is None else other)]
    return Blend(ends[0], ends[1], [shares[k] for k in group])


def _wanted(model: Model, rows: Sequence[Asked], shape: Sequence[int], marks: Tensor | None) -> Wanted:
    """What the recipe is given of a batch."""
    card = model.card
    blank = torch.zeros(len(rows), 1, *shape, device=model.device)
    inner = model.space.shape(blank.shape)[2:]
    told = tell(card, rows, inner, model.device, marks)
    untold = tell(card, [Asked()] * len(rows), inner, model.device)
    bounded = card.intensity.get("kind") != "none" and card.latent is None
    low, high = model.intensity.target
    return Wanted(blank, told, untold, model.space, (low, high) if bounded else None)


def _prior(model: Model) -> Prior:
    """The prior, window by window where images are larger than what it was trained on."""
    prior = model.prior
    if not isinstance(model.space, Pixel) or not model.card.window:
        return prior
    return Prior(Windowed(prior.network, model.card.window), prior.schedule, prior.predicts)
