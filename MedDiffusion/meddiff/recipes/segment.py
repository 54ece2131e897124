"""Segmentation: samples of p(mask | image). One network, any size, 2D and 3D; every sample is a plausible answer.

Each recipe is a generator over the one loop of `sampling.sample` and returns, for each member of an ensemble, the
probabilities (B, K, *spatial) of the classes, the background first. The rows of a batch are members, not images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from ..codes import channels, decode, encode_soft
from ..errors import BadInput
from ..levels import CLEAN
from ..noises import Noise
from ..prior import Condition, Prior
from ..registry import Between, OneOf, recipe
from ..sampling import Progress, Run, diffuse, sample
from ..solvers import SOLVERS

TASK = "segment"
SOLVED = ("ancestral", "ddim", "dpm-solver-2m")
SHIFT, GAIN, OFFSET, NOISE = 1.0, 0.1, 0.05, 0.04  # of a view at strength 1: voxels, relative, and network units

Steps = Annotated[int, Between(1, 1000, "network calls from noise to mask")]
Solver = Annotated[str, OneOf(SOLVED, "how a step is made; ancestral samples spread most")]
Stop = Annotated[float, Between(0.0, 0.9, "fraction of the noise schedule of the last network call")]


@dataclass(frozen=True)
class Pictured:
    """What is to be segmented: the image (B, I, *spatial) in network units, once for every member, the number of each
    member (B,), how the classes are coded, and perhaps a `first` guess of their probabilities (1 or B, K, *spatial).

    `one_pass` makes logits (B, K, *spatial) of images, `coarse` those of the map beside a MedSegDiff network, `reader`
    those of the one segment (B, 1, *spatial) of noisy images and the noise in them.
    """

    image: Tensor
    members: Tensor
    classes: int
    code: str = "one-hot"
    first: Tensor | None = None
    one_pass: Callable[[Tensor], Tensor] | None = None
    coarse: Callable[[Tensor], Tensor] | None = None
    reader: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def blank(self) -> Tensor:
        """A coded mask (B, C, *spatial) of zeros."""
        return self.image.new_zeros(len(self.image), channels(self.classes, self.code), *self.image.shape[2:])

    @cached_property
    def condition(self) -> Condition:
        """The image, beside the noisy mask."""
        return Condition(concat=self.image)

    def told(self, cond: Condition | None) -> Condition:
        """What else is known, with the image."""
        return self.condition if cond is None else replace(cond, concat=self.image)


def _from_noise(
    prior: Prior, data: Pictured, noise: Noise, cond: Condition | None, steps: int, solver: str, stop: float
) -> Run[Tensor]:
    path = prior.path(steps, 1.0, "uniform", stop)
    x = path[0].sigma * noise(data.blank)
    x = yield from sample(prior, x, path, noise=noise, solver=SOLVERS[solver](), cond=data.told(cond))
    return decode(x, data.classes, data.code)


@recipe(
    "implicit-ensemble",
    title="Implicit ensemble (mask diffusion)",
    task=TASK,
    summary="Draws plausible segmentations from noise, given the image; their agreement is the certainty.",
    paper="Wolleb et al., MIDL 2022, arXiv:2112.03145; few steps: Lu et al. 2022, arXiv:2211.01095",
    needs="a mask diffusion model of the anatomy",
    calls=(("steps",),),
    presets={"fast": {"steps": 2}, "balanced": {"steps": 4}, "best": {"steps": 10}},
)
def implicit_ensemble(
    prior: Prior,
    data: Pictured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 4,
    solver: Solver = "ancestral",
    stop: Stop = 0.0,
) -> Run[Tensor]:
    """p(mask | image) sampled by mask diffusion (Wolleb 2022, algorithm 1); the solver need not be DDPM's."""
    return (yield from _from_noise(prior, data, noise, cond, steps, solver, stop))


@recipe(
    "pd-ddpm",
    title="PD-DDPM (from a pre-segmentation)",
    task=TASK,
    summary="Starts from a noised first segmentation, yours or a one-pass network's: few steps are left to walk.",
    paper="Guo et al., ISBI 2023, arXiv:2210.17408",
    needs="a mask diffusion model, and a first segmentation: yours, a threshold, or that of its companion network",
    calls=(("steps",),),
    presets={"fast": {"steps": 1}, "balanced": {"steps": 2}, "best": {"steps": 5}},
)
def pd_ddpm(
    prior: Prior,
    data: Pictured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 2,
    start: Annotated[float, Between(0.02, 1.0, "how much noise the first segmentation gets; less if it is good")] = 0.5,
    solver: Solver = "ancestral",
) -> Run[Tensor]:
    """PD-DDPM (Guo 2023, sec. 2.2): q(x_T' | pre-segmentation), then the reverse steps from T' alone."""
    if data.first is None:
        raise BadInput("pd-ddpm came without a first segmentation; give one, a threshold, or a companion network")
    path = prior.path(steps, start)
    x = diffuse(encode_soft(data.first, data.code).expand_as(data.blank), path[0], noise)
    x = yield from sample(prior, x, path, noise=noise, solver=SOLVERS[solver](), cond=data.told(cond))
    return decode(x, data.classes, data.code)


@recipe(
    "medsegdiff",
    title="MedSegDiff (frequency-parsed conditions)",
    task=TASK,
    summary="The image enters through filters learnt in the frequency domain; a coarse map beside it is fused in.",
    paper="Wu et al., MIDL 2023 (MedSegDiff), arXiv:2211.00611",
    needs="a MedSegDiff model of the anatomy",
    part="medsegdiff",
    calls=(("steps",),),
    presets={"fast": {"steps": 2}, "balanced": {"steps": 4}, "best": {"steps": 10}},
)
def medsegdiff(
    prior: Prior,
    data: Pictured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 4,
    solver: Solver = "ancestral",
    stop: Stop = 0.0,
    coarse: Annotated[float, Between(0.0, 0.9, "weight of the coarse map in the fused probabilities")] = 0.25,
) -> Run[Tensor]:
    """MedSegDiff (Wu 2023, algorithm 2): mask diffusion with a dynamic encoding, its coarse map fused with each sample
    as a mixture of both probabilities (members are fused afterwards, by STAPLE itself if asked for)."""
    found = yield from _from_noise(prior, data, noise, cond, steps, solver, stop)
    if data.coarse is None or not coarse:
        return found
    with torch.no_grad():
        rough = data.coarse(data.image[:1]).float().softmax(1)
    return (1 - coarse) * found + coarse * rough


@recipe(
    "unet",
    title="U-Net (one pass)",
    task=TASK,
    summary="One pass of a U-Net of the same size: the baseline. Other views of the image give its uncertainty.",
    paper="Ronneberger et al., MICCAI 2015, arXiv:1505.04597; views of it: Wang et al. 2019, arXiv:1807.07356",
    needs="a one-pass network of the anatomy",
    part="baseline",
    calls=((1,),),
    presets={"fast": {"strength": 0.5}, "balanced": {"strength": 1.0}, "best": {"strength": 1.0}},
)
def unet(
    prior: Prior | None,
    data: Pictured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    strength: Annotated[float, Between(0.0, 3.0, "how much the other views differ in place, contrast and noise")] = 1.0,
    mirror: Annotated[int, Between(0, 1, "1: every second view is mirrored left to right")] = 1,
) -> Run[Tensor]:
    """Test-time augmentation (Wang 2019, eq. 5): member 0 sees the image, each other one a view of it, moved back."""
    if data.one_pass is None:
        raise BadInput("unet came without a one-pass network; choose a model that has one, or another method")
    axes = tuple(range(2, data.image.ndim))
    draws = noise(data.image.new_zeros(len(data.image), len(axes) + 2)).tolist()
    grain = noise(data.image)
    views, moves = [], []
    for row, number in enumerate(data.members.tolist()):
        s = strength if number else 0.0
        *shift, gain, offset = draws[row]
        view = data.image[row] * (1 + s * GAIN * gain) + s * OFFSET * offset + s * NOISE * grain[row]
        move = [max(-3, min(3, round(s * SHIFT * v))) for v in shift]
        flip = bool(mirror and number % 2)
        views.append(_moved(view.flip(-1) if flip else view, move))
        moves.append((move, flip))
    with torch.no_grad():
        seen = data.one_pass(torch.stack(views)).float().softmax(1)
    yield Progress(1, 1, CLEAN, None)
    back = [_moved(p, [-v for v in move]) for p, (move, _) in zip(seen, moves, strict=True)]
    return torch.stack([p.flip(-1) if flip else p for p, (_, flip) in zip(back, moves, strict=True)])


def _moved(x: Tensor, by: list[int]) -> Tensor:
    """(C, *spatial) moved by whole voxels, the voxels of the edge repeated behind it."""
    for axis, step in enumerate(by, start=1):
        where = (torch.arange(x.shape[axis], device=x.device) - step).clamp(0, x.shape[axis] - 1)
        x = x.index_select(axis, where)
    return x
