"""Detection of what should not be in a brain: a healthy twin of it, slice by slice, and a map of where they differ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, log, prod
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from .anomaly import POLARITIES, WIDTH, Lesion, anomaly_map, find_lesions, otsu
from .brain_view import View
from .domain import PLANES
from .ensemble import ensemble
from .errors import BadInput, Notice, choose
from .levels import Level
from .models import Model
from .noises import Gaussian, seed_of
from .posterior import in_turn, waiting
from .prior import Prior
from .recipes.anomaly import TASK, Subject
from .reconstruction import Batch, Contrast, Preset
from .registry import Between, OneOf, Recipe, find_recipe, parameters_of, recipes
from .sampling import Run, diffuse
from .tiling import batches, stack
from .volume import Volume

THRESHOLDS = ("healthy", "otsu", "fixed")
STATES = ("healthy", "diseased")  # the classes of a classifier
# Slices, and noise-to-signal ratios, that tell the contrast. With less noise or more, some of 8 images of the train
# split are taken for another one; with these none is, nor any of 6 of the test split.
PROBES, PROBE_RATIOS = 4, (0.5, 1.0)


@dataclass(frozen=True)
class Detection:
    """On the grid of the input: the healthy twin (in its units), the anomaly map and the standard deviation over the
    samples of the twin (in network units), the lesions as a label map, the brain, and a list of the lesions."""

    healthy: Volume
    anomaly: Volume
    lesions: Volume
    spread: Volume
    brain: Volume
    table: tuple[Lesion, ...]
    threshold: float
    calls: int = 0
    megapixels: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)


def detect(
    volume: Volume,
    model: Model,
    *,
    method: str = "restoration",
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    contrast: Contrast = None,
    plane: Annotated[str, OneOf(tuple(PLANES), "the slices that are judged, one by one")] = "axial",
    polarity: Annotated[str, OneOf(POLARITIES, "which differences count: brighter or darker than healthy")] = "any",
    threshold: Annotated[
        str, OneOf(THRESHOLDS, "what is a lesion: above healthy tissue, Otsu's, or a level")
    ] = "healthy",
    level: Annotated[float | None, Between(0.0, 10.0, "the fixed threshold, in the units of the map")] = None,
    minimum_volume: Annotated[float, Between(0.0, 1e6, "smallest lesion in mm3")] = 10.0,
    smoothing: Annotated[float | None, Between(0.0, 20.0, "Gaussian smoothing of the map (SD, mm)")] = None,
    structural: Annotated[float, Between(0.0, 1.0, "how much the structure must differ, too (1 - SSIM)")] = 0.0,
    samples: Annotated[int, Between(1, 64, "healthy twins to take mean and spread of")] = 2,
    batch: Batch = 8,
    seed: int = 0,
    mask: Volume | None = None,
) -> Run[Detection]:
    """Find what should not be in a brain; yields Progress over all slices and samples.

    `mask` is where the brain is, on any grid. A contrast that is not told is found by the model. Without `smoothing`
    the map is smoothed as it was for the model's healthy levels. Raises BadInput for what cannot be used.
    """
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    look = {"polarity": polarity, "structural": structural, "smoothing": smoothing}
    limits = {"threshold": threshold, "level": level, "minimum_volume": minimum_volume}
    _check({**look, **limits, "plane": plane, "samples": samples})
    _check_part(model, recipe)
    model.condition(contrast, 1)  # refuses what it cannot be told
    view = View.of(volume, model, plane, mask)
    if recipe.part:
        model.companion(recipe.part)  # what is not installed, or altered, is told before anything is computed
    if samples == 1:
        warnings.warn("one sample has no spread: the uncertainty is 0 everywhere; take 2 or more", Notice, stacklevel=2)
    groups, before = [view.kept[rows] for rows in batches(len(view.kept), batch)], 0
    calls = recipe.calls(settings) * samples
    if contrast is None and (names := labels_of(model)):
        before = len(PROBE_RATIOS) * len(names)
        contrast = yield from find_contrast(view, model, seed, before + calls * len(groups))
    look["smoothing"] = width = _width(model, recipe, smoothing)
    limit = _limit(model, recipe, contrast, threshold, level, width, structural)
    twin, spread = view.images.clone(), torch.zeros_like(view.images)
    for number, rows in enumerate(groups):
        prior, subject = gather(view, rows, model, recipe, contrast)

        def member(k: int, rows: Tensor = rows, prior: Prior = prior, subject: Subject = subject) -> Run[Tensor]:
            return recipe.run(prior, subject, noise=Gaussian([seed_of(seed, int(r), k) for r in rows]), **settings)

        moments = yield from in_turn(ensemble(member, samples), number, len(groups), before)
        twin[(rows, slice(None), *view.window)] = moments.mean.cpu()
        spread[(rows, slice(None), *view.window)] = moments.spread.cpu()
    pixels = prod(s.stop - s.start + -(s.stop - s.start) % model.card.shape_multiple for s in view.window)
    found = judge(view, twin, spread, limit, minimum_volume, look)
    told = {"contrast": contrast, "plane": plane, "samples": samples, "mask": "given" if mask is not None else "found"}
    told |= {"threshold": threshold, "minimum_volume": minimum_volume, **look}
    seen = calls * len(view.kept) + before * min(PROBES, len(view.kept))
    # some methods have a setting of the same name, such as `contrast`
    own = {f"{recipe.name}.{name}" if name in told else name: value for name, value in settings.items()}
    return replace(found, calls=calls, megapixels=seen * pixels / 1e6, settings={**own, **told})


def _check(options: Mapping[str, Any]) -> None:
    """Raises BadInput for what would only be refused after all the computing."""
    known = parameters_of(detect)
    for name, value in options.items():
        if value is not None:
            known[name].check(value)
    threshold, level = options["threshold"], options["level"]
    if (threshold == "fixed") != (level is not None):
        came = f"threshold {threshold!r} came {'without a level' if level is None else f'with the level {level:g}'}"
        raise BadInput(f"{came}; a level goes with the threshold 'fixed', and with no other")


def _check_part(model: Model, recipe: Recipe) -> None:
    """Raises BadInput where the model lacks what the recipe needs: the methods that it has are told."""
    has = model.card.companions
    if recipe.part and recipe.part not in has:
        able = ", ".join(r.name for r in recipes(TASK) if not r.part or r.part in has) or "none"
        raise BadInput(
            f"{recipe.name} needs a {recipe.part}, and model {model.card.id!r} comes without; it can do: {able}"
        )


def gather(view: View, rows: Tensor, model: Model, recipe: Recipe, contrast: str | None) -> tuple[Prior, Subject]:
    """What a recipe is given of some slices: the prior, and what it knows of them."""
    image, brain = view.part(rows, model.device)
    latent = model.companion(recipe.part) if recipe.part == "latent" else None
    main, has, count = latent or model, model.card.companions, len(rows)
    labels = main.card.labels
    told = {"null": main.condition(contrast, count)}
    told |= {state: main.condition(contrast, count, state) for state in (labels.states if labels else ())}
    known = model.card.healthy.get(recipe.name)

    def log_prob(x: Tensor, level: Level, state: str) -> Tensor:
        judge = model.companion("classifier")
        schedule = judge.prior.schedule
        own = schedule.levels[schedule.nearest(level.ratio)]  # the same noise, as the classifier was trained with it
        logits = judge.network(x * (own.alpha / level.alpha), own.time, judge.condition(contrast, len(x)))
        return logits.log_softmax(1)[:, STATES.index(choose(state, STATES, "state"))]

    def denoise(x: Tensor) -> Tensor:
        other = model.companion("denoiser")
        return other.network(x, 0.0, other.condition(contrast, len(x)))

    return main.prior, Subject(
        image=image,
        brain=brain,
        told=told,
        log_prob=log_prob if "classifier" in has else None,
        denoise=denoise if "denoiser" in has else None,
        space=main.space if latent else None,
        levels=known.limits.get(contrast or "", {}) if known else {},
    )


def labels_of(model: Model) -> tuple[str, ...]:
    """The contrasts that a model can be told."""
    return tuple(name for name in (model.card.labels.names if model.card.labels else ()) if name != "unknown")


@torch.no_grad()
def find_contrast(view: View, model: Model, seed: int, of: int) -> Run[str]:
    """The label under which the prior denoises the brain best (Li 2023, Diffusion Classifier, arXiv:2303.16203): the
    least product of squared errors over two levels. Yields Progress, of `of` steps in all."""
    names = labels_of(model)
    most = view.inside.sum((1, 2, 3)) >= 0.5 * view.inside.sum((1, 2, 3)).max()  # the ends of a brain tell little
    rows = most.nonzero().flatten()
    rows = rows[torch.linspace(0, len(rows) - 1, min(PROBES, len(rows))).round().long()]
    image, brain = view.part(rows, model.device)
    schedule, errors, step = model.prior.schedule, dict.fromkeys(names, 0.0), 0
    for ratio in PROBE_RATIOS:
        level = schedule.levels[schedule.nearest(ratio)]
        noised = diffuse(image, level, Gaussian([seed_of(seed, int(r), "contrast") for r in rows]))
        for name in names:
            x0 = model.prior.denoise(noised, level, model.condition(name, len(rows)))
            errors[name] += log(float((x0 - image)[brain].square().mean()) + 1e-12) / len(PROBE_RATIOS)
            step += 1
            yield waiting(step, of)
    best, *others = sorted(names, key=errors.__getitem__)
    told = f"the contrast was not told; the model takes the image for {best}"
    if others:
        more = exp(errors[others[0]] - errors[best]) - 1
        told += f" (taken for {others[0]}, it is denoised with an error {more:.1%} larger)"
    warnings.warn(f"{told}; tell it if that is wrong", Notice, stacklevel=2)
    return best


def _width(model: Model, recipe: Recipe, smoothing: float | None) -> float:
    """The smoothing of the map in mm: as asked, or as for the healthy levels of the recipe."""
    known = model.card.healthy.get(recipe.name)
    if smoothing is not None:
        return smoothing
    return known.smoothing_mm if known else WIDTH


def _limit(
    model: Model,
    recipe: Recipe,
    contrast: str | None,
    threshold: str,
    level: float | None,
    width: float,
    structural: float,
) -> float | None:
    """The threshold in network units; None for Otsu's, also where nobody knows what is healthy."""
    if threshold != "healthy":
        return level
    known = model.card.healthy.get(recipe.name)
    if known is None or contrast not in known.levels:
        told = f"model {model.card.id!r} knows no healthy level of {recipe.name} on {contrast or 'an unknown contrast'}"
        warnings.warn(f"{told}; Otsu's threshold is taken in its place", Notice, stacklevel=3)
        return None
    if structural:
        told = "the healthy level is one of maps that no weight of structure makes smaller, as this one is made"
        warnings.warn(f"{told}: lesions will be missed; take a fixed threshold or Otsu's", Notice, stacklevel=3)
    if width < known.smoothing_mm:
        told = (
            f"the healthy level is one of maps smoothed by {known.smoothing_mm:g} mm, and this one is by {width:g} mm"
        )
        warnings.warn(f"{told}: more healthy tissue will be above it", Notice, stacklevel=3)
    return known.levels[contrast]


def judge(
    view: View, twin: Tensor, spread: Tensor, limit: float | None, minimum_volume: float, look: Mapping[str, Any]
) -> Detection:
    """The map and the lesions of a healthy twin (N, 1, H, W) in network units; no `limit` takes Otsu's."""
    axis, brain, placed = PLANES[view.plane], view.brain, view.placed
    image, other, deviation = (stack(each, view.plane).numpy() for each in (view.images, twin, spread))
    shown = anomaly_map(image, other, brain, placed.spacing, axis=axis, **look)
    limit = otsu(shown[brain]) if limit is None else limit
    labels, table = find_lesions(placed.with_array(shown), limit, minimum_volume, axis)
    return Detection(
        healthy=view.back(np.where(brain, view.scaling.inverse(other), placed.array).astype(np.float32)),
        anomaly=view.back(shown),
        lesions=view.back(labels.array),
        spread=view.back(np.where(brain, deviation, 0).astype(np.float32)),
        brain=view.back(brain),
        table=table,
        threshold=limit,
    )
