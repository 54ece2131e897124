"""Registration: stationary velocities that carry a moving image to a fixed one, along a continuous path.

Each recipe returns the velocities of its frames (B, F, D, *spatial) in voxels, components (z, y, x), as `warp.py` has
them: frame k is at eta = k / (F - 1), its displacement is `exponential(v[:, k])`, frame 0 is the identity, and the last
one is the registration. Moving images are on the grid of the fixed ones, affinely aligned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from ..levels import CLEAN
from ..noises import Noise
from ..prior import Condition, Prior
from ..refinement import refined
from ..registry import Between, recipe
from ..sampling import Progress, Run, stage

TASK = "register"

Frames = Annotated[int, Between(2, 64, "images on the path, the first and the last counted")]
Refine = Annotated[int, Between(0, 500, "steps of optimisation of this pair alone; 0: the network's word")]


@dataclass(frozen=True)
class Pair:
    """Images in network units (B, 1, *spatial) on one grid, affinely aligned, and `deform`, which makes velocities
    (B, D, *spatial) of the moving image and another one: a latent of the diffusion network, or the fixed image."""

    moving: Tensor
    fixed: Tensor
    deform: Callable[[Tensor, Tensor], Tensor]

    @cached_property
    def condition(self) -> Condition:
        """Both images, beside the noisy one."""
        return Condition(concat=torch.cat([self.moving, self.fixed], 1))


@recipe(
    "diffusemorph",
    title="DiffuseMorph (a path to the fixed image)",
    task=TASK,
    summary="A diffusion network makes a latent of both images; scaled from 0 to 1, it deforms one into the other.",
    paper="Kim et al., ECCV 2022, arXiv:2112.05149",
    needs="a registration model of the anatomy, and images that lie on each other but for what is to be found",
    calls=(("frames",),),
    presets={"fast": {"frames": 2}, "balanced": {"frames": 7}, "best": {"frames": 13, "refine": 50}},
)
def diffusemorph(
    prior: Prior,
    data: Pair,
    *,
    noise: Noise,
    cond: Condition | None = None,
    frames: Frames = 7,
    refine: Refine = 0,
) -> Run[Tensor]:
    """DiffuseMorph (Kim 2022, algorithm 1): v_eta = eta M(m, eta eps), eps = G(m, f, f, t = 0), so v_0 = 0 whatever
    the biases of M."""
    level, of = prior.schedule.levels[0], frames + refine
    with torch.no_grad():
        latent = prior.network(data.fixed, level.time, data.condition)
    yield Progress(1, of, CLEAN, None)
    path = [torch.zeros_like(data.fixed).repeat(1, data.fixed.ndim - 2, *(1,) * (data.fixed.ndim - 2))]
    for k in range(1, frames):
        eta = k / (frames - 1)
        with torch.no_grad():
            path.append(eta * data.deform(data.moving, eta * latent))
        yield Progress(k + 1, of, CLEAN, None)
    return (yield from stage(refined(torch.stack(path, 1), data.moving, data.fixed, refine), frames, of))


@recipe(
    "voxelmorph",
    title="VoxelMorph (one pass)",
    task=TASK,
    summary="The same deformation network, shown the fixed image itself: the baseline, in one pass.",
    paper="Balakrishnan et al., TMI 2019, arXiv:1809.05231; diffeomorphic: Dalca et al. 2019, arXiv:1903.03545",
    needs="a one-pass registration network of the anatomy",
    part="baseline",
    calls=((1,),),
    presets={"fast": {"frames": 2}, "balanced": {"frames": 7}, "best": {"frames": 13, "refine": 50}},
)
def voxelmorph(
    prior: Prior | None,
    data: Pair,
    *,
    noise: Noise,
    cond: Condition | None = None,
    frames: Frames = 7,
    refine: Refine = 0,
) -> Run[Tensor]:
    """VoxelMorph (Dalca 2019): a stationary velocity of both images; the path is exp(eta v)."""
    with torch.no_grad():
        v = data.deform(data.moving, data.fixed)
    yield Progress(1, 1 + refine, CLEAN, None)
    path = torch.stack([k / (frames - 1) * v for k in range(frames)], 1)
    return (yield from stage(refined(path, data.moving, data.fixed, refine), 1, 1 + refine))
