"""Registration: stationary velocities that carry a moving image to a fixed one, along a continuous path.

Each recipe returns the velocities of its frames (B, F, D, *spatial) in voxels, components (z, y, x), as `warp.py` has
them: frame k is at eta = k / (F - 1), its displacement is `exponential(v[:, k])`, frame 0 is the identity, and the last
one is the registration. Moving images are on the grid of the fixed ones, affinely aligned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from ..levels import CLEAN
from ..noises import Noise
from ..prior import Condition, Prior
from ..refinement import Features, refined
from ..registry import Between, recipe
from ..sampling import Progress, Run, diffuse, sample, stage
from ..solvers import SOLVERS
from ..warp import SQUARINGS, exponential, warp

TASK = "register"

Frames = Annotated[int, Between(2, 64, "images on the path, the first and the last counted")]
Again = Annotated[int, Between(0, 8, "more looks at what is left, both ways; 0: one look, as published")]
Refine = Annotated[int, Between(0, 500, "steps of optimisation of this pair alone; 0: the network's word")]

Look = Callable[[Tensor, Tensor], Tensor]  # a velocity (B, D, *spatial) of a moving and a fixed image


@dataclass(frozen=True)
class Pair:
    """Images in network units (B, 1, *spatial) on one grid, affinely aligned, and `deform`, which makes velocities
    (B, D, *spatial) of the moving image and another one: a latent of the diffusion network, or the fixed image.

    Refinement compares the `features` of both images, if any, in place of the images.
    """

    moving: Tensor
    fixed: Tensor
    deform: Callable[[Tensor, Tensor], Tensor]
    features: Features | None = None

    @cached_property
    def condition(self) -> Condition:
        """Both images, beside the noisy one."""
        return Condition(concat=torch.cat([self.moving, self.fixed], 1))

    def along(self, velocities: Sequence[Tensor], look: Look, again: int, refine: int) -> Run[Tensor]:
        """A path from the identity over the `velocities` of eta > 0: the last one gets (look(m, f) - look(f, m)) / 2, m
        as far as it is, `again` and again, and is then refined; the others go along in proportion."""
        of, eta = again + refine, torch.linspace(0, 1, len(velocities) + 1).tolist()
        path = torch.stack([torch.zeros_like(velocities[0]), *velocities], 1)
        for k in range(again):
            with torch.no_grad():
                moved = warp(self.moving, exponential(path[:, -1], SQUARINGS))
                left = (look(moved, self.fixed) - look(self.fixed, moved)) / 2
            path = torch.stack([v + share * left for v, share in zip(path.unbind(1), eta, strict=True)], 1)
            yield Progress(k + 1, of, CLEAN, moved)
        run = refined(path, self.moving, self.fixed, refine, features=self.features)
        return (yield from stage(run, again, of))


def _deformed(prior: Prior, data: Pair, frames: int, again: int, refine: int) -> Run[Tensor]:
    """v_eta = eta M(m, eta c) with c = G(m, f, f, t = 0): zero at eta = 0, whatever the biases of M, where the
    published M(m, eta c) leaves what M makes of nothing."""
    level, of, path = prior.schedule.levels[0], frames + again + refine, list[Tensor]()

    def look(moving: Tensor, fixed: Tensor) -> Tensor:
        both = Condition(concat=torch.cat([moving, fixed], 1))
        return data.deform(moving, prior.network(fixed, level.time, both))

    with torch.no_grad():
        latent = prior.network(data.fixed, level.time, data.condition)
    yield Progress(1, of, CLEAN, None)
    for k in range(1, frames):
        eta = k / (frames - 1)
        with torch.no_grad():
            path.append(eta * data.deform(data.moving, eta * latent))
        yield Progress(k + 1, of, CLEAN, None)
    run = data.along(path, look, again, refine)
    return (yield from stage(run, frames, of))


@recipe(
    "diffusemorph",
    title="DiffuseMorph (a path to the fixed image)",
    task=TASK,
    summary="A diffusion network makes a latent of both images; scaled from 0 to 1, it deforms one into the other.",
    paper="Kim et al., ECCV 2022, arXiv:2112.05149",
    needs="a registration model of the anatomy, and images that lie on each other but for what is to be found",
    calls=(("frames",), (4, "again")),
    presets={
        "fast": {"frames": 2, "again": 0},
        "balanced": {"frames": 7},
        "best": {"frames": 13, "again": 2, "refine": 50},
    },
)
def diffusemorph(
    prior: Prior,
    data: Pair,
    *,
    noise: Noise,
    cond: Condition | None = None,
    frames: Frames = 7,
    again: Again = 1,
    refine: Refine = 0,
) -> Run[Tensor]:
    """DiffuseMorph (Kim 2022, algorithm 1): one latent, a deformation for each eta."""
    return (yield from _deformed(prior, data, frames, again, refine))


@recipe(
    "ddm-4d",
    title="DDM 4D (the frames between two phases)",
    task=TASK,
    summary="Makes the frames between two phases of a series, as a continuous deformation of the first one.",
    paper="Kim and Ye, MICCAI 2022, arXiv:2206.13295",
    needs="a registration model of the anatomy, and two frames of one series",
    calls=(("frames",), (4, "again")),
    presets={
        "fast": {"frames": 4, "again": 0},
        "balanced": {"frames": 10},
        "best": {"frames": 20, "again": 2, "refine": 50},
    },
)
def ddm_4d(
    prior: Prior,
    data: Pair,
    *,
    noise: Noise,
    cond: Condition | None = None,
    frames: Frames = 10,
    again: Again = 1,
    refine: Refine = 0,
) -> Run[Tensor]:
    """DDM (Kim 2022, sec. 2.3): the moving image is the first phase, the fixed one the last, the latent is scaled by
    the time between them."""
    return (yield from _deformed(prior, data, frames, again, refine))


@recipe(
    "diffusemorph-synthetic",
    title="DiffuseMorph, algorithm 2 (synthetic images)",
    task=TASK,
    summary="Draws an image between the two from the noised moving image, and deforms the moving image to it.",
    paper="Kim et al., ECCV 2022, arXiv:2112.05149",
    needs="a registration model of the anatomy, and images that lie on each other but for what is to be found",
    calls=(("steps",), ("frames",), (4, "again")),
    presets={
        "fast": {"steps": 5, "frames": 2, "again": 0},
        "balanced": {"steps": 20, "frames": 7},
        "best": {"steps": 100, "frames": 7},
    },
)
def diffusemorph_synthetic(
    prior: Prior,
    data: Pair,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Annotated[int, Between(1, 1000, "network calls from the noised moving image")] = 20,
    start: Annotated[float, Between(0.01, 1.0, "how much noise the moving image gets; less keeps more of it")] = 0.1,
    frames: Frames = 7,
    again: Again = 1,
    refine: Refine = 0,
) -> Run[Tensor]:
    """DiffuseMorph (Kim 2022, algorithm 2): ancestral steps from q(x_t | m) with both images as the condition; the
    moving image is then registered to what was drawn, so that a deformation comes with it."""
    path, of = prior.path(steps, start), steps + frames + again + refine
    x = diffuse(data.moving, path[0], noise)
    run = sample(prior, x, path, noise=noise, solver=SOLVERS["ancestral"](), cond=data.condition)
    drawn = yield from stage(run, 0, of)
    return (yield from stage(_deformed(prior, replace(data, fixed=drawn), frames, again, refine), steps, of))


@recipe(
    "voxelmorph",
    title="VoxelMorph (one pass)",
    task=TASK,
    summary="The same deformation network, shown the fixed image itself: the baseline, in one pass.",
    paper="Balakrishnan et al., TMI 2019, arXiv:1809.05231; diffeomorphic: Dalca et al. 2019, arXiv:1903.03545",
    needs="a one-pass registration network of the anatomy",
    part="baseline",
    calls=((1,), (2, "again")),
    presets={
        "fast": {"frames": 2, "again": 0},
        "balanced": {"frames": 7},
        "best": {"frames": 13, "again": 2, "refine": 50},
    },
)
def voxelmorph(
    prior: Prior | None,
    data: Pair,
    *,
    noise: Noise,
    cond: Condition | None = None,
    frames: Frames = 7,
    again: Again = 1,
    refine: Refine = 0,
) -> Run[Tensor]:
    """VoxelMorph (Dalca 2019): a stationary velocity of both images; the path is exp(eta v)."""
    with torch.no_grad():
        v = data.deform(data.moving, data.fixed)
    of = 1 + again + refine
    yield Progress(1, of, CLEAN, None)
    path = [k / (frames - 1) * v for k in range(1, frames)]
    return (yield from stage(data.along(path, data.deform, again, refine), 1, of))
