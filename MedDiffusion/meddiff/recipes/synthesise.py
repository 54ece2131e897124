"""Synthesis: samples of p(image | what is asked for). One network, pixels or codes, 2D and 3D.

Each recipe is a generator over the one loop of `sampling.sample` and returns images (B, C, *spatial) in network units.
The rows of a batch are samples, or frames on the way from one sample to another: which, only the noise says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from ..guides import Clip, FreeGuidance, Guide
from ..noises import Noise
from ..prior import Condition, Prior
from ..registry import Between, OneOf, recipe
from ..sampling import Run, sample
from ..solvers import SOLVERS
from ..spaces import Pixel, Space

TASK = "synthesise"
SOLVED = ("dpm-solver-2m", "ddim", "ancestral")

Steps = Annotated[int, Between(1, 1000, "steps from noise to image")]
Solver = Annotated[str, OneOf(SOLVED, "how a step is made; ancestral adds noise on the way")]


@dataclass(frozen=True)
class Wanted:
    """What is to be made: `blank` (B, C, *spatial) zeros of the image's shape, what the network is told, and what it
    is told where nothing is asked for; where it lives, and the range of its images, if they have one."""

    blank: Tensor
    told: Condition | None = None
    untold: Condition | None = None
    space: Space = Pixel()  # noqa: RUF009 - frozen, holds no state
    limits: tuple[float, float] | None = None


def _from_noise(
    prior: Prior, data: Wanted, noise: Noise, steps: int, solver: str, guides: tuple[Guide, ...] = ()
) -> Run[Tensor]:
    path = prior.path(steps)
    x = path[0].sigma * noise(data.blank.new_zeros(data.space.shape(data.blank.shape)))
    x = yield from sample(prior, x, path, noise=noise, solver=SOLVERS[solver](), guides=guides, cond=data.told)
    return data.space.decode(x, data.blank.shape[2:])


@recipe(
    "synthesise",
    title="Synthesis",
    task=TASK,
    summary="Draws images from noise: any, or of the class, the covariates or the label map that are asked for.",
    paper="Ho et al. 2020 (DDPM), arXiv:2006.11239; Song et al. 2021 (DDIM), arXiv:2010.02502; in few steps: Lu et al. "
    "2022 (DPM-Solver++), arXiv:2211.01095; of codes: Pinaya et al. 2022, arXiv:2209.07162",
    needs="a diffusion model of the images",
    calls=(("steps",),),
    presets={"fast": {"steps": 10}, "balanced": {"steps": 25}, "best": {"steps": 100}},
)
def synthesise(
    prior: Prior, data: Wanted, *, noise: Noise, steps: Steps = 25, solver: Solver = "dpm-solver-2m"
) -> Run[Tensor]:
    """p(x0 | condition) by ancestral sampling, or by its probability flow (Song 2021, score SDE, eq. 13)."""
    return (yield from _from_noise(prior, data, noise, steps, solver))


@recipe(
    "guided-synthesis",
    title="Synthesis with classifier-free guidance",
    task=TASK,
    summary="Exaggerates what is asked for: samples are surer of their class, and more alike. Twice the time.",
    paper="Ho & Salimans 2021, arXiv:2207.12598; clipping: Saharia et al. 2022 (Imagen), arXiv:2205.11487",
    needs="a diffusion model of the images that is used to not being told",
    calls=((2, "steps"),),
    presets={"fast": {"steps": 10}, "balanced": {"steps": 25}, "best": {"steps": 100}},
)
def guided_synthesis(
    prior: Prior,
    data: Wanted,
    *,
    noise: Noise,
    steps: Steps = 25,
    solver: Solver = "dpm-solver-2m",
    guidance: Annotated[float, Between(0.0, 30.0, "0: as if nothing were asked for, 1: as asked, more: surer")] = 2.0,
    clip: Annotated[bool, Between(0, 1, "keep estimates in the range of the images (dynamic thresholding)")] = True,
) -> Run[Tensor]:
    """x0 = x0_null + guidance (x0_told - x0_null) (Ho & Salimans 2021, eq. 6, in terms of x0), and dynamic
    thresholding at the 99.5 % quantile (Saharia 2022, sec. 2.3)."""
    guides: tuple[Guide, ...] = (FreeGuidance(guidance, data.untold),)
    if clip and data.limits is not None:
        guides += (Clip(*data.limits, quantile=0.995),)
    return (yield from _from_noise(prior, data, noise, steps, solver, guides))
