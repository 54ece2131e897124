"""Segmentation of a volume: several plausible answers, what they agree on, and where they do not."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any

import numpy as np
import torch

from .cuts import seen
from .errors import BadInput, BadModel, Notice
from .fusion import FUSIONS, agreement, entropy, expected_dice, fuse, tidy
from .models import Model
from .noises import Gaussian, seed_of
from .placing import Placed
from .players import coarse, denoiser, one_pass, reader
from .posterior import in_turn
from .presegment import first_guess, threshold_guess
from .recipes.segment import TASK, Pictured
from .reconstruction import Preset
from .registry import Between, OneOf, Recipe, find_recipe, parameters_of
from .sampling import Run
from .tiling import batches
from .volume import Volume

UNCERTAINTIES = ("entropy", "variance")
ROOM = 2**26  # numbers in the noisy masks of a batch: a quarter of a gigabyte, a few times over


@dataclass(frozen=True)
class Segmentation:
    """On the grid of the input: the labels (0 is background), the probability of any segment and of each, and the
    uncertainty; the Dice that the agreement of the members foretells, for each segment that was found, and the mean;
    the volume of each in mm3."""

    labels: Volume
    probability: Volume
    uncertainty: Volume
    each: dict[str, Volume]
    names: tuple[str, ...]
    predicted_dice: dict[str, float]
    volumes_mm3: dict[str, float]
    calls: int = 0
    megapixels: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def quality(self) -> float | None:
        """The mean of the foretold Dice; None where nothing was found."""
        return float(np.mean(list(self.predicted_dice.values()))) if self.predicted_dice else None


def segment(
    volume: Volume,
    model: Model,
    *,
    method: str = "implicit-ensemble",
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    samples: Annotated[int, Between(1, 64, "segmentations to draw")] = 8,
    fusion: Annotated[str, OneOf(FUSIONS, "how they become one")] = "mean",
    uncertainty: Annotated[
        str, OneOf(UNCERTAINTIES, "of the mean probabilities (0 to 1), or between the segmentations")
    ] = "entropy",
    low: Annotated[float | None, Between(-1e6, 1e6, "pd-ddpm starts from voxels of this intensity and more")] = None,
    high: Annotated[float | None, Between(-1e6, 1e6, "and from no brighter ones")] = None,
    minimum_volume: Annotated[float, Between(0.0, 1e6, "islands below so many mm3 are removed; 0 keeps all")] = 0.0,
    smoothing: Annotated[float, Between(0.0, 20.0, "smooths the borders (SD, mm); 0 leaves them")] = 0.0,
    batch: Annotated[int, Between(1, 64, "segmentations at a time; more need more memory")] = 8,
    seed: int = 0,
    others: Sequence[Volume] = (),
    first: Volume | None = None,
) -> Run[Segmentation]:
    """Segment `volume`; yields Progress over all members.

    `others` are further channels of the model, on any grid; `first` is a segmentation for pd-ddpm to start from, which
    without one starts from voxels between `low` and `high`, or from what the model's baseline finds. Raises BadInput.
    """
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    given = {"samples": samples, "fusion": fusion, "uncertainty": uncertainty, "batch": batch}
    given |= {"minimum_volume": minimum_volume, "smoothing": smoothing}
    known = parameters_of(segment)
    told = {name: known[name].check(value) for name, value in given.items()}
    player = played(model, recipe)
    names = segment_names(player)
    placed = Placed.of((volume, *others), player)
    limits = _limits(low, high)
    start, extra = _start(recipe, model, placed, names, first, limits)
    tally = Tally.empty(samples, len(names) + 1, placed.grid.shape, placed.blank)
    pairs = [(unit, k) for k in range(samples) for unit in placed.units]
    at_once = max(1, min(batch, ROOM // ((len(names) + 1) * prod(placed.size))))
    groups = [pairs[part] for part in batches(len(pairs), at_once)]
    if samples == 1:
        warnings.warn(
            "one sample shows no disagreement: how sure it is, only its own probabilities tell", Notice, stacklevel=2
        )
    for number, group in enumerate(groups):
        data = _pictured(placed, group, player, names, start)
        noise = Gaussian([seed_of(seed, unit, k) for unit, k in group])
        run = recipe.run(denoiser(player), data, noise=noise, **settings)
        found: Any = yield from in_turn(run, number, len(groups), 0)
        for (unit, k), p in zip(group, found.float().cpu().numpy(), strict=True):
            tally.add(k, placed.where(unit), p)
    told["first"] = _origin(recipe, first, limits)
    del told["batch"]  # which never changes a voxel
    calls = recipe.calls(settings) * samples + extra
    pixels = seen(placed.size, player.card.window, player.card.shape_multiple) * len(placed.units)
    made = finish(tally, placed, names, fusion, uncertainty, minimum_volume, smoothing)
    return Segmentation(
        **made, names=names, calls=calls, megapixels=calls * pixels / 1e6, settings={**settings, **told}
    )


def played(model: Model, recipe: Recipe) -> Model:
    """The model whose network a recipe runs: this one, or its companion of that part; raises BadInput."""
    if recipe.part and recipe.part in model.card.companions:
        return model.companion(recipe.part)
    itself = {"": True, "baseline": one_pass(model), "medsegdiff": coarse(model), "reader": reader(model)}
    if not itself[recipe.part]:
        return model.companion(recipe.part)  # which says that there is none
    if itself["baseline"] and recipe.part != "baseline":
        raise BadInput(f"{model.card.id} is a network of one pass; choose the method unet, or a diffusion model")
    if itself["reader"] and recipe.part != "reader":
        raise BadInput(f"{model.card.id} has no diffusion of masks; choose the method darl, or another model")
    return model


def segment_names(model: Model) -> tuple[str, ...]:
    """What a model segments; raises BadInput for one that segments nothing."""
    names = tuple(each.name for each in model.card.segments)
    if not names:
        raise BadInput(f"{model.card.id} segments nothing (its task is {model.card.task}); choose another model")
    classes = model.card.network.arguments.get("classes")
    if classes != len(names) + 1:
        raise BadModel(
            f"{model.card.id} has {len(names)} segments, and a network of {classes} classes; expected one more"
        )
    if model.card.window and len(model.card.window) != len(model.card.spacing_mm):
        raise BadModel(f"{model.card.id} has a window {model.card.window}; expected {len(model.card.spacing_mm)} sizes")
    return names


@dataclass
class Tally:
    """What the members said so far: labels (S, Z, Y, X), the sum of their probabilities (K, Z, Y, X) and of their
    squares, over all classes (Z, Y, X)."""

    members: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def empty(cls, samples: int, classes: int, shape: tuple[int, ...], blank: Sequence[int] = ()) -> Tally:
        """Of `blank` slices it is known that they are background."""
        members, total = np.zeros((samples, *shape), np.uint8), np.zeros((classes, *shape), np.float32)
        squares = np.zeros(shape, np.float32)
        total[0, list(blank)] = squares[list(blank)] = samples
        return cls(members, total, squares)

    def add(self, member: int, where: tuple[slice | int, ...], p: np.ndarray) -> None:
        """The probabilities (K, ...) that a member gives to a part of the volume."""
        self.members[(member, *where)] = p.argmax(0)
        self.total[(slice(None), *where)] += p
        self.squares[where] += np.square(p).sum(0)

    @property
    def mean(self) -> np.ndarray:
        return self.total / len(self.members)

    @property
    def variance(self) -> np.ndarray:
        """The unbiased variance between members, summed over the classes; 0 for one member."""
        count = len(self.members)
        return np.maximum(self.squares - count * np.square(self.mean).sum(0), 0) / max(count - 1, 1)


def finish(
    tally: Tally,
    placed: Placed,
    names: Sequence[str],
    fusion: str,
    uncertainty: str,
    minimum_volume: float,
    smoothing: float,
) -> dict[str, Any]:
    """The volumes and figures of a `Segmentation`."""
    mean = tally.mean
    labels = fuse(fusion, tally.members, mean)
    found = agreement(tally.members, len(mean)) if len(tally.members) > 1 else expected_dice(mean, labels)
    mean = placed.interpolated(mean)
    mean /= mean.sum(0).clip(1e-6)
    labels = mean.argmax(0).astype(np.uint8) if fusion == "mean" else placed.chosen(labels, len(mean))
    labels = tidy(labels, placed.source.spacing, minimum_volume, smoothing)
    if not labels.any():
        sentence = "nothing was found: no voxel is more likely in a segment than not; is it the right image and model?"
        warnings.warn(sentence, Notice, stacklevel=3)
    spread = entropy(mean) if uncertainty == "entropy" else placed.interpolated(tally.variance[None])[0]
    voxel = float(np.prod(placed.source.spacing))
    return {
        "labels": placed.back(labels),
        "probability": placed.back(1 - mean[0]),
        "uncertainty": placed.back(spread),
        "each": {name: placed.back(p) for name, p in zip(names, mean[1:], strict=True)},
        "predicted_dice": {names[k - 1]: dice for k, dice in found.items()},
        "volumes_mm3": {name: voxel * int((labels == k).sum()) for k, name in enumerate(names, start=1)},
    }


def _start(
    recipe: Recipe,
    model: Model,
    placed: Placed,
    names: tuple[str, ...],
    first: Volume | None,
    limits: tuple[float, float] | None,
) -> tuple[np.ndarray | None, int]:
    """The first guess (K, Z, Y, X) on the working grid that a recipe wants, and the network calls it took."""
    if recipe.name != "pd-ddpm":
        if first is not None or limits is not None:
            raise BadInput(
                f"a first segmentation came, and {recipe.name} starts from none; leave it out, or choose pd-ddpm"
            )
        return None, 0
    if first is not None and limits is not None:
        raise BadInput("a first segmentation and a threshold came; expected one of them")
    if first is not None:
        return first_guess(first, placed.grid, names), 0
    if limits is not None:
        return threshold_guess(placed.images[0], *limits, names), 0
    baseline = model.companion("baseline")
    if segment_names(baseline) != names:
        raise BadModel(f"{baseline.card.id} does not segment what {model.card.id} does; expected {', '.join(names)}")
    guess = np.zeros((len(names) + 1, *placed.grid.shape), np.float32)
    answer, scaled = one_pass(baseline), Placed.scaled(placed, baseline)
    if answer is None:
        raise BadModel(f"{baseline.card.id} is no network of one pass; expected one beside {model.card.id}")
    with torch.no_grad():
        for unit in placed.units:
            p = answer(scaled.unit(unit)[None].to(model.device)).float().softmax(1)[0]
            guess[(slice(None), *placed.where(unit))] = p.cpu().numpy()
    return guess, 1


def _limits(low: float | None, high: float | None) -> tuple[float, float] | None:
    """The intensities that a threshold lies between; None if neither was given."""
    if low is None and high is None:
        return None
    return -np.inf if low is None else low, np.inf if high is None else high


def _origin(recipe: Recipe, first: Volume | None, limits: tuple[float, float] | None) -> str:
    if recipe.name != "pd-ddpm":
        return "none"
    return "given" if first is not None else "threshold" if limits is not None else "baseline"


def _pictured(
    placed: Placed, group: Sequence[tuple[int, int]], player: Model, names: Sequence[str], start: np.ndarray | None
) -> Pictured:
    """What the recipe is told of the members in one batch: (unit, number) pairs."""
    device = player.device
    guess = None
    if start is not None:
        rows = [torch.from_numpy(np.ascontiguousarray(start[(slice(None), *placed.where(unit))])) for unit, _ in group]
        guess = torch.stack(rows).to(device)
    return Pictured(
        image=torch.stack([placed.unit(unit) for unit, _ in group]).to(device),
        members=torch.tensor([k for _, k in group]),
        classes=len(names) + 1,
        code=str(player.card.network.arguments.get("code", "one-hot")),
        first=guess,
        one_pass=one_pass(player),
        coarse=coarse(player),
        reader=reader(player),
    )
