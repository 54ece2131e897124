"""What is still healthy: limits that methods need, and levels that maps stay below, found on the train split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from . import __version__, anomaly_cases
from .anomaly import anomaly_map, find_lesions
from .anomaly_cases import CONTRASTS, PERSONS, Case
from .bench_anomaly import MINIMUM, look
from .brain_view import View
from .card import Card, Healthy
from .detection import Detection, gather
from .errors import Notice
from .likelihood import band, latent_kl
from .metrics import auprc, dice
from .models import Model
from .noises import Gaussian, seed_of
from .registry import Recipe
from .sampling import drain
from .store import find, seal
from .tiling import batches

# Of healthy tissue; beyond the last, what one person shows is chance.
QUANTILES = (0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)
TAILS = (0.9, 0.95, 0.98, 0.99, 0.995)  # quantiles of healthy intensities, compared for their limits
CODES = 0.975  # of healthy codes (Pinaya 2022)
SLICES, SHAPES = 30, 16  # in which the person's lesions are looked for, and into which others are painted
Say = Callable[[str], None]
Pair = tuple[Case, Detection]


def train_cases(data: Path, slices: int = SLICES) -> list[Case]:
    """Of every contrast the lesions of the person of the train split, and those painted on him."""
    found = []
    for contrast in CONTRASTS:
        found.append(anomaly_cases.patient(data, contrast, "train", count=slices))
        found.append(anomaly_cases.simulated(data, contrast, "train", SHAPES))
    return found


def measure(model: Model, recipe: Recipe, cases: Sequence[Case], preset: str, say: Say) -> Healthy:
    """The limits and levels of a recipe; `command` and `dataset` say where they come from."""
    about = {"dataset": f"{PERSONS['train']} away from lesions, and painted lesions (train split)"}
    limits = find_limits(model, recipe, cases, preset)
    empty = Healthy(quantile=0.5, levels={}, smoothing_mm=1.0, limits=limits, **about, command="-", code_version="-")
    card = model.card.model_copy(update={"healthy": {**model.card.healthy, recipe.name: empty}})
    pairs: list[Pair] = []
    for case in cases:
        found, seconds = look(case, replace(model, card=card), recipe.name, preset, samples=1)
        pairs.append((case, found))
        say(f"{recipe.name}, {case}: {seconds:.0f} s")
    quantile, levels = choose_levels(pairs)
    smoothing = float(pairs[0][1].settings["smoothing"])
    command = f"meddiff train thresholds --method {recipe.name} --preset {preset}"
    return Healthy(
        quantile=quantile,
        levels={name: float(f"{level:.4g}") for name, level in levels.items()},
        smoothing_mm=smoothing,
        limits=limits,
        **about,
        command=command,
        code_version=__version__,
    )


def choose_levels(pairs: Sequence[Pair]) -> tuple[float, dict[str, float]]:
    """The quantile of healthy tissue whose levels give the highest Dice, the mean of all cases, and these levels: of
    each contrast what the map of real tissue, away from lesions, stays below."""
    healthy = {case.contrast: found.anomaly.array[case.healthy] for case, found in pairs if not case.planar}

    def levels(quantile: float) -> dict[str, float]:
        return {contrast: float(np.quantile(values, quantile)) for contrast, values in healthy.items()}

    def merit(quantile: float) -> float:
        at = levels(quantile)
        return fmean(overlap(case, found, at[case.contrast]) for case, found in pairs)

    best = max(QUANTILES, key=merit)
    return best, levels(best)


def overlap(case: Case, found: Detection, level: float) -> float:
    """Dice of the lesions that a level finds."""
    least = MINIMUM * (case.volume.spacing[2] if case.planar else 1.0)
    labels, _ = find_lesions(found.anomaly, level, least)
    return dice(case.truth[case.counted], labels.array[case.counted])


def find_limits(model: Model, recipe: Recipe, cases: Sequence[Case], preset: str) -> dict[str, dict[str, float]]:
    """What the recipe itself needs to know of healthy images, by contrast."""
    if recipe.name == "intensity-threshold":
        return intensity_limits(model, cases)
    if recipe.part == "latent":
        return {case.contrast: {"kl": code_limit(model, recipe, case, preset)} for case in cases if not case.planar}
    return {}


def intensity_limits(model: Model, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """The darkest and the brightest healthy tissue by contrast, in network units: quantiles of it, those with the
    highest AUPRC (mean of all cases), for a baseline deserves to be as good as it can be."""
    views = [view_of(case, model) for case in cases]

    def limits(tail: float) -> dict[str, dict[str, float]]:
        found = {}
        for case, view in zip(cases, views, strict=True):
            if not case.planar:
                low, high = np.quantile(view.images[:, 0].numpy()[case.healthy], [1 - tail, tail])
                found[case.contrast] = {"low": float(f"{low:.4g}"), "high": float(f"{high:.4g}")}
        return found

    def merit(found: Mapping[str, Mapping[str, float]]) -> float:
        figures = []
        for case, view in zip(cases, views, strict=True):
            image, at = view.images[:, 0].numpy(), found[case.contrast]
            shown = anomaly_map(image, image.clip(at["low"], at["high"]), view.brain, case.volume.spacing)
            figures.append(auprc(case.truth[case.counted], shown[case.counted]))
        return fmean(figures)

    return max((limits(tail) for tail in TAILS), key=merit)


def view_of(case: Case, model: Model) -> View:
    """A case as the network sees it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # painted slices lie far apart
        return View.of(case.volume, model, "axial", case.brain)


def code_limit(model: Model, recipe: Recipe, case: Case, preset: str, batch: int = 8) -> float:
    """The step-wise divergence (nats) that the codes of healthy tissue stay below, with the levels of this preset."""
    view, settings = view_of(case, model), recipe.settings({}, preset)
    healthy = torch.from_numpy(case.healthy)[:, None]
    found = []
    for part in batches(len(view.kept), batch):
        rows = view.kept[part]
        prior, subject = gather(view, rows, model, recipe, case.contrast)
        if subject.space is None:
            continue
        levels = band(prior, settings["levels"], settings["high"], min(settings["low"], 0.9 * settings["high"]))
        noise = Gaussian([seed_of(0, int(row), "codes") for row in rows])
        codes = subject.space.encode(subject.image)
        kl = drain(latent_kl(prior, codes, levels, noise, subject.tell("healthy", "null")))
        index = (rows, slice(None), *view.window)
        found.append(subject.space.enlarge(kl, subject.image.shape[2:]).cpu()[healthy[index]])
    return float(f"{float(np.quantile(torch.cat(found).numpy(), CODES)):.4g}")


def write_healthy(folder: Path, recipe: str, found: Healthy) -> Card:
    """Seal the levels of `recipe` into the card of the model in `folder`."""
    card = find(folder).card
    seal(card.model_copy(update={"healthy": {**card.healthy, recipe: found}}), folder)
    return find(folder).card
