"""Inpainting: samples of p(what is hidden | what is seen), by a model that was never told of holes.

Each recipe is a generator over the one loop of `sampling.sample` and returns images (B, 1, *spatial) in network units,
in which what is seen is as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from ..guides import FreeGuidance, Guide, Replace
from ..noises import Noise
from ..prior import Condition, Prior
from ..registry import Between, recipe
from ..sampling import Run, repaint_path, sample
from ..solvers import DDIM

TASK = "inpaint"
CALLS = (("steps", "passes"), (-1, "passes"), (1,))  # to the clean image one goes only once

Steps = Annotated[int, Between(2, 1000, "levels from noise to image")]
Passes = Annotated[int, Between(1, 50, "times that each stretch is walked; once leaves seams and biases")]
Jump = Annotated[int, Between(1, 100, "levels of a stretch")]


@dataclass(frozen=True)
class Hole:
    """Images (B, 1, *spatial), where they are hidden (1) or seen (0), what the network is told of what belongs there,
    and what it is told where nothing is asked for."""

    image: Tensor
    hidden: Tensor
    told: Condition | None = None
    untold: Condition | None = None


def _repaint(
    prior: Prior, data: Hole, noise: Noise, steps: int, passes: int, jump: int, guides: tuple[Guide, ...] = ()
) -> Run[Tensor]:
    path, seen = repaint_path(prior.path(steps), jump, passes), 1 - data.hidden
    guides += (Replace(data.image * seen, seen),)  # what is hidden does not enter
    x = path[0].sigma * noise(data.image)
    return (yield from sample(prior, x, path, solver=DDIM(eta=1.0), guides=guides, cond=data.told, noise=noise))


@recipe(
    "repaint",
    title="RePaint",
    task=TASK,
    summary="Draws what is hidden anew, at each noise level beside what is seen, going back up until both agree.",
    paper="Lugmayr et al., CVPR 2022, arXiv:2201.09865",
    needs="a diffusion model of the images; told of healthy and diseased ones, to say which is put there",
    calls=CALLS,
    presets={
        "fast": {"steps": 10, "passes": 2},
        "balanced": {"steps": 20, "passes": 4},
        "best": {"steps": 50, "passes": 8},
    },
)
def repaint(
    prior: Prior, data: Hole, *, noise: Noise, steps: Steps = 20, passes: Passes = 4, jump: Jump = 5
) -> Run[Tensor]:
    """RePaint (Lugmayr 2022, algorithm 1): ancestral steps, what is seen replaced at every level by its noised self,
    and each stretch of `jump` levels walked `passes` times (sec. 4.2)."""
    return (yield from _repaint(prior, data, noise, steps, passes, jump))


@recipe(
    "guided-repaint",
    title="RePaint with classifier-free guidance",
    task=TASK,
    summary="The same, what is asked for exaggerated: a lesion that is surely one. Twice the time.",
    paper="Rouzrokh et al., 2022, arXiv:2210.12113 (its conditioning weight); Lugmayr et al., CVPR 2022, "
    "arXiv:2201.09865",
    needs="a diffusion model that was told of healthy and diseased images, and is used to not being told",
    calls=tuple((2, *term) for term in CALLS),
    presets={
        "fast": {"steps": 10, "passes": 2},
        "balanced": {"steps": 20, "passes": 4},
        "best": {"steps": 50, "passes": 8},
    },
)
def guided_repaint(
    prior: Prior,
    data: Hole,
    *,
    noise: Noise,
    steps: Steps = 20,
    passes: Passes = 4,
    jump: Jump = 5,
    guidance: Annotated[float, Between(0.0, 30.0, "0: as if nothing were asked for, 1: as asked, more: surer")] = 3.0,
) -> Run[Tensor]:
    """RePaint with x0 = x0_null + guidance (x0_told - x0_null) (Ho & Salimans 2021, eq. 6)."""
    return (yield from _repaint(prior, data, noise, steps, passes, jump, (FreeGuidance(guidance, data.untold),)))
