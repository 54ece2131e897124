"""Translation: samples of p(one contrast | others of the same place).

Each recipe is a generator and returns the wanted contrast (B, 1, *spatial) in network units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from ..codes import beside
from ..errors import BadInput
from ..levels import CLEAN
from ..noises import Noise
from ..prior import Condition, Prior
from ..registry import Between, OneOf, recipe
from ..sampling import Progress, Run, sample
from ..solvers import SOLVERS

TASK = "translate"
SOLVED = ("ancestral", "ddim", "dpm-solver-2m")

Steps = Annotated[int, Between(1, 1000, "network calls from noise to image")]
Solver = Annotated[str, OneOf(SOLVED, "how a step is made; ancestral samples spread most")]


@dataclass(frozen=True)
class Sources:
    """Contrasts (B, C, *spatial) in network units, which of them are there (B, C) bool, and the number (B,) of the one
    that is wanted; `regress(images, condition)` is a network of one pass."""

    images: Tensor
    given: Tensor
    wanted: Tensor
    regress: Callable[[Tensor, Condition], Tensor] | None = None

    @property
    def blank(self) -> Tensor:
        """(B, 1, *spatial) of zeros."""
        return torch.zeros_like(self.images[:, :1])

    @cached_property
    def told(self) -> Condition:
        """The sources and the code of which are there, and what is wanted."""
        return Condition(concat=beside(self.images, self.given), label=self.wanted)


@recipe(
    "translate",
    title="Translation (conditional diffusion)",
    task=TASK,
    summary="Draws the contrast that is wanted from noise, given the others: each sample is a sharp, plausible one.",
    paper="Lyu & Wang 2022, arXiv:2209.12104; Saharia et al. 2022 (Palette), arXiv:2111.05826; any of the contrasts "
    "missing: Meng et al. 2022, arXiv:2207.03430",
    needs="a diffusion model of several contrasts of one place",
    calls=(("steps",),),
    presets={"fast": {"steps": 4}, "balanced": {"steps": 10}, "best": {"steps": 50}},
)
def translate(
    prior: Prior, data: Sources, *, noise: Noise, steps: Steps = 10, solver: Solver = "ancestral"
) -> Run[Tensor]:
    """p(x0 | sources) by conditional diffusion (Saharia 2022, algorithm 2); samples of it have a mean and a spread."""
    path = prior.path(steps)
    x = path[0].sigma * noise(data.blank)
    return (yield from sample(prior, x, path, noise=noise, solver=SOLVERS[solver](), cond=data.told))


@recipe(
    "regression",
    title="Regression (one pass)",
    task=TASK,
    summary="One pass of a U-Net of the same size: the mean of what is plausible, smooth where that differs.",
    paper="Ronneberger et al., MICCAI 2015, arXiv:1505.04597",
    needs="a network of one pass of several contrasts of one place",
    part="baseline",
    calls=((1,),),
    presets={"fast": {}, "balanced": {}, "best": {}},
)
def regression(prior: Prior | None, data: Sources, *, noise: Noise) -> Run[Tensor]:
    """E[x0 | sources], as least squares find it; nothing is left to chance."""
    if data.regress is None:
        raise BadInput("regression came without a network of one pass; choose a model that has one, or translate")
    with torch.no_grad():
        found = data.regress(data.blank, data.told)
    yield Progress(1, 1, CLEAN, found)
    return found
