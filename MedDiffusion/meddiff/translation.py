"""Translation of one contrast to another: several plausible answers, their mean, and where they differ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from .counting import some
from .cuts import seen
from .errors import BadInput, BadModel, Notice, choose
from .models import Model
from .noises import Gaussian, seed_of
from .placing import Placed
from .players import of_two_kinds
from .posterior import in_turn
from .prior import Condition
from .recipes.translate import TASK, Sources
from .reconstruction import Preset
from .registry import Between, OneOf, Recipe, find_recipe, parameters_of
from .sampling import Run
from .tiling import batches
from .volume import Volume

Shown = Annotated[str | None, OneOf((), "what the image shows, a contrast of the model")]


@dataclass(frozen=True)
class Translation:
    """On the grid of the first source, in its units (its brightest tissue is as bright in the result): the mean of the
    samples, their standard deviation, and the first of them, which is as sharp as an image is."""

    mean: Volume
    spread: Volume
    sample: Volume
    calls: int
    megapixels: float
    settings: dict[str, Any] = field(default_factory=dict)


def translate(
    volume: Volume,
    model: Model,
    *,
    method: str = "translate",
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    target: Annotated[str | None, OneOf((), "the contrast that is wanted")] = None,
    contrast: Shown = None,
    contrast2: Shown = None,
    contrast3: Shown = None,
    samples: Annotated[int, Between(1, 64, "images to draw, of which the mean is taken")] = 4,
    batch: Annotated[int, Between(1, 64, "slices at a time; more need more memory")] = 8,
    seed: int = 0,
    others: Sequence[Volume] = (),
) -> Run[Translation]:
    """The contrast `target` of what `volume` shows, slice by slice; yields Progress over all slices and samples.

    `others` are further contrasts of the same body, on any grid. Raises BadInput.
    """
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    known = parameters_of(translate)
    samples, batch = known["samples"].check(samples), known["batch"].check(batch)
    shown = _shown(model, target, (contrast, contrast2, contrast3), 1 + len(others))
    player = _player(model, recipe)
    if recipe.part == "baseline":
        samples = 1  # all are the same
    elif samples == 1:
        warnings.warn("one sample has no spread: the uncertainty is 0 everywhere; take 2 or more", Notice, stacklevel=2)
    placed = Placed.of((volume, *others), model, fewer=True)
    pairs = [(unit, k) for k in range(samples) for unit in placed.units]
    groups = [pairs[part] for part in batches(len(pairs), batch)]
    total, squares, first = (np.zeros(placed.grid.shape, np.float32) for _ in range(3))
    for number, group in enumerate(groups):
        data = _sources(placed, group, model, player, shown)
        noise = Gaussian([seed_of(seed, unit, k) for unit, k in group])
        prior = None if recipe.part else player.prior
        found: Any = yield from in_turn(recipe.run(prior, data, noise=noise, **settings), number, len(groups), 0)
        for (unit, k), image in zip(group, found[:, 0].float().cpu().numpy(), strict=True):
            where = placed.where(unit)
            total[where] += image
            squares[where] += np.square(image)
            if k == 0:
                first[where] = image
    mean = total / samples
    spread = np.sqrt(np.maximum(squares - samples * np.square(mean), 0) / max(samples - 1, 1))
    calls = recipe.calls(settings) * samples
    pixels = seen(placed.size, model.card.window, model.card.shape_multiple) * len(placed.units)
    used = {**settings, "target": target, "sources": list(shown.sources), "samples": samples}
    return Translation(*_back(placed, mean, spread, first), calls, calls * pixels / 1e6, used)


@dataclass(frozen=True)
class _Shown:
    """The contrasts by their names: the channels of the model, those that came, and the one that is wanted."""

    channels: tuple[str, ...]
    sources: tuple[str, ...]
    target: str


def _shown(model: Model, target: str | None, given: Sequence[str | None], count: int) -> _Shown:
    """Raises BadInput where it is not told what each image shows, or told what cannot be."""
    channels, labels = tuple(channel.name for channel in model.card.channels), model.card.labels
    if labels is None or len(channels) < 2 or {*labels.names} != {*channels}:
        raise BadInput(f"{model.card.id} translates nothing (its task is {model.card.task}); choose another model")
    names = given[:count]
    if target is None or None in names or any(given[count:]):
        raise BadInput(
            f"{some(count, 'image')} came; say of each what it shows, and which contrast is wanted: "
            f"{', '.join(channels)}"
        )
    sources = tuple(choose(str(name), channels, "contrast") for name in names)
    if len({*sources, choose(target, channels, "contrast")}) < count + 1:
        raise BadInput(f"{', '.join(sources)} came, and {target} is wanted; expected each contrast once")
    return _Shown(channels, sources, target)


def _player(model: Model, recipe: Recipe) -> Model:
    """The model whose network a recipe runs; raises BadInput where it is of the other kind."""
    player = of_two_kinds(model, recipe, model.card.predicts == "image", "regression")
    if [c.name for c in player.card.channels] != [c.name for c in model.card.channels]:
        raise BadModel(f"{player.card.id} does not translate what {model.card.id} does; expected the same channels")
    return player


def _sources(placed: Placed, group: Sequence[tuple[int, int]], model: Model, player: Model, shown: _Shown) -> Sources:
    """What the recipe is given of the slices in one batch: (unit, number) pairs."""
    size, slots = len(group), [shown.channels.index(name) for name in shown.sources]
    images = torch.zeros(size, len(shown.channels), *placed.size)
    images[:, slots] = torch.stack([placed.unit(unit) for unit, _ in group])
    given = torch.zeros(size, len(shown.channels), dtype=torch.bool)
    given[:, slots] = True
    labels = model.card.labels
    index = 0 if labels is None else labels.index(shown.target)
    wanted, device = torch.full((size,), index), model.device

    def regress(blank: Tensor, told: Condition) -> Tensor:
        return player.network(blank, 0.0, told)

    one_pass = regress if player.card.predicts == "image" else None
    return Sources(images.to(device), given.to(device), wanted.to(device), one_pass)


def _back(placed: Placed, mean: np.ndarray, spread: np.ndarray, first: np.ndarray) -> tuple[Volume, Volume, Volume]:
    """The volumes of a `Translation`; where no source shows anything (a skull taken away), nothing is made."""
    scaling, nothing = placed.scalings[0], ~np.any([image.array != 0 for image in placed.images], 0)
    arrays = [scaling.inverse(mean), scaling.inverse_spread(spread), scaling.inverse(first)]
    kept = placed.interpolated(np.stack([np.where(nothing, 0, array) for array in arrays]).astype(np.float32))
    a, b, c = (placed.back(np.ascontiguousarray(array)) for array in kept)
    return a, b, c
