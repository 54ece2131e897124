"""Anomaly detection without a diffusion model, to be compared with, and several methods together."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from ..errors import BadInput
from ..levels import CLEAN
from ..noises import Gaussian
from ..prior import Prior
from ..registry import Between, find_recipe, recipe
from ..sampling import Progress, Run, stage
from .anomaly import TASK, Draws, Jitter, Levels, Steps, Subject, needed


@recipe(
    "denoising-autoencoder",
    title="Denoising autoencoder",
    task=TASK,
    part="denoiser",
    summary="One pass of a network that removes coarse noise from healthy images: fast, and hard to beat.",
    paper="Kascenas et al., Medical Image Analysis 2023 (The role of noise), arXiv:2301.08330",
    needs="a denoising autoencoder of the contrast",
    calls=((1,),),
    presets={"fast": {}, "balanced": {}, "best": {}},
)
def denoising_autoencoder(prior: Prior, data: Subject, *, noise: Gaussian, jitter: Jitter = 0.02) -> Run[Tensor]:
    """Kascenas 2023, sec. 3: the image itself goes in, no noise but the jitter; lesions are taken for coarse noise."""
    with torch.no_grad():
        twin = needed(data.denoise, "a denoising autoencoder")(data.seen(noise, jitter))
    yield Progress(1, 1, CLEAN, twin)
    return twin


@recipe(
    "intensity-threshold",
    title="Intensity threshold",
    task=TASK,
    summary="What is brighter or darker than healthy brain is. The honest baseline: hard to beat on FLAIR.",
    paper="Meissen et al., BrainLes 2021, arXiv:2109.06023",
    needs="nothing but the image",
    calls=((0,),),
    presets={"fast": {}, "balanced": {}, "best": {}},
)
def intensity_threshold(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    quantile: Annotated[
        float, Between(0.5, 1.0, "of the brain's own intensities, if no limits of healthy brains are known")
    ] = 0.95,
    jitter: Jitter = 0.0,
) -> Run[Tensor]:
    """Meissen 2021: a threshold on the intensity, on both sides; the twin is the image clipped to healthy limits."""
    seen = data.seen(noise, jitter)
    low, high = (
        torch.as_tensor(data.levels[name] if name in data.levels else data.quantile(seen, q)).to(seen)
        for name, q in (("low", 1 - quantile), ("high", quantile))
    )
    twin = data.image + seen.clamp(low, high) - seen
    yield Progress(1, 1, CLEAN, twin)
    return twin


@recipe(
    "ensemble",
    title="Ensemble",
    task=TASK,
    part="denoiser",
    summary="The mean of the twins of several methods, whose mistakes differ.",
    paper="After Lakshminarayanan et al., NeurIPS 2017 (deep ensembles), arXiv:1612.01474",
    needs="what its members need",
    calls=(
        (2, "levels", "draws", "restoration"),
        (2, "levels", "draws", "contrast"),
        (4, "steps", "counterfactual"),
        ("steps", "anoddpm"),
        ("autoencoder",),
    ),
    presets={
        "fast": {"levels": 3, "draws": 1},
        "balanced": {"levels": 6, "draws": 2},
        "best": {"levels": 8, "draws": 3, "steps": 20, "counterfactual": True},
    },
)
def ensemble(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    restoration: Annotated[bool, Between(0, 1, "restoration is a member")] = True,
    contrast: Annotated[bool, Between(0, 1, "diffusion contrast is a member")] = False,
    autoencoder: Annotated[bool, Between(0, 1, "the denoising autoencoder is a member")] = True,
    counterfactual: Annotated[bool, Between(0, 1, "the counterfactual is a member")] = False,
    anoddpm: Annotated[bool, Between(0, 1, "AnoDDPM is a member")] = False,
    levels: Levels = 6,
    draws: Draws = 2,
    steps: Steps = 10,
) -> Run[Tensor]:
    """The mean over the members, each with its other settings as they are by default."""
    given = {"levels": levels, "draws": draws, "steps": steps}
    lengths = {  # of each member's run
        "restoration": restoration * levels * draws,
        "diffusion-contrast": contrast * levels * draws,
        "denoising-autoencoder": int(autoencoder),
        "counterfactual": counterfactual * 3 * steps,
        "anoddpm": anoddpm * steps,
    }
    members = [find_recipe(name, TASK) for name, length in lengths.items() if length]
    if not members:
        raise BadInput("an ensemble without members came; choose one or more of its methods")
    total, before = torch.zeros_like(data.image), 0
    for member in members:
        run = member.run(prior, data, noise=noise, **{k: v for k, v in given.items() if k in member.parameters})
        total = total + (yield from stage(run, before, sum(lengths.values())))
        before += lengths[member.name]
    return total / len(members)
