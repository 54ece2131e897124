"""Vessels without a label: one estimate of the noise in an image, and what a generator reads off it."""

from __future__ import annotations

from math import log
from typing import Annotated

import torch
from torch import Tensor

from ..convert import from_x0
from ..errors import BadInput
from ..levels import CLEAN
from ..noises import Noise
from ..prior import Condition, Prior
from ..registry import Between, recipe
from ..sampling import Progress, Run, diffuse
from .segment import TASK, Pictured


@recipe(
    "darl",
    title="DARL (vessels, unsupervised)",
    task=TASK,
    summary="Dark vessels in angiograms, in one pass; learnt from fractal masks and unlabelled images alone.",
    paper="Kim et al., ICLR 2023 (DARL), arXiv:2209.14566",
    needs="a model of vessels that was trained so",
    part="reader",
    calls=((1,),),
    presets={"fast": {"level": 0.0}, "balanced": {"level": 0.02}, "best": {"level": 0.02}},
)
def darl(
    prior: Prior,
    data: Pictured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    level: Annotated[
        float, Between(0.0, 0.1, "how much noise the image gets first: a fraction of the schedule")
    ] = 0.01,
    threshold: Annotated[float, Between(0.02, 0.98, "probability from which a voxel counts as vessel")] = 0.5,
) -> Run[Tensor]:
    """DARL at test time (Kim 2023, sec. 3.3): the noise in x_t is estimated once, the generator (SPADE off) makes a
    mask of both. `threshold` shifts the logits, so that what is vessel has a probability of 0.5 and more."""
    if data.reader is None:
        raise BadInput("darl came without a generator that reads vessels; choose a model that has one")
    levels = prior.schedule.levels
    t = levels[min(int(level * len(levels)), len(levels) - 1)]
    x = diffuse(data.image, t, noise)
    with torch.no_grad():
        eps = from_x0(prior.denoise(x, t, cond), x, t, "eps")
        logits = data.reader(x, eps).float() - log(threshold / (1 - threshold))
    yield Progress(1, 1, CLEAN, None)
    return torch.cat([-logits, logits], 1).sigmoid()
