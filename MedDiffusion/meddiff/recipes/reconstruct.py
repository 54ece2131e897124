"""Reconstruction from incomplete measurements y = A x: one prior, any sampling pattern, any coils.

Each recipe is a generator over the one loop of `sampling.sample` and returns one posterior sample (B, C, Y, X) in the
units that the prior was trained in. C = 1 is a real-valued image, C = 2 a complex one (re, im).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ..guides import Gradient, Langevin, Project, ProjectState, Proximal
from ..levels import Level
from ..noises import Noise
from ..operators import Operator
from ..prior import Condition, Prior
from ..registry import Between, recipe
from ..sampling import Run, diffuse, sample
from ..solvers import DDIM, DPMSolver2M, Refresh, ReverseDiffusion

TASK = "reconstruct"
Steps = Annotated[int, Between(1, 2000, "steps from noise to image")]


@dataclass(frozen=True)
class Measured:
    """What was measured: `y` = `operator`(x) + noise of standard deviation `sigma`, and a first image to start from."""

    operator: Operator
    y: Tensor
    sigma: float = 0.0
    first: Tensor | None = None

    @property
    def initial(self) -> Tensor:
        """The first image (B, C, Y, X): A^+ y by default, and from noisy data, whose noise A^+ would amplify without
        bound, the minimum of |A x - y|^2 / sigma^2 + |x|^2 / s^2 with s the size of A^T y (Tikhonov)."""
        if self.first is not None:
            return self.first
        if self.sigma == 0:
            return self.operator.pinv(self.y)
        back = self.operator.adjoint(self.y)
        return self.operator.solve(torch.zeros_like(back), self.y, float(back.square().mean()) / self.sigma**2)

    def consistency(self) -> Project | Proximal:
        """Agreement with the data: exact where they are free of noise, weighed against the noise otherwise."""
        if self.sigma > 0:
            return Proximal(self.operator, self.y, self.sigma)
        return Project(self.operator, self.y)


def _pure_noise(data: Measured, level: Level, noise: Noise) -> Tensor:
    return level.sigma * noise(torch.zeros_like(data.initial))


@recipe(
    "pnp",
    title="PnP (plug-and-play)",
    task=TASK,
    summary="Plug-and-play: denoise, agree with the data, repeat at falling noise levels. The fast default.",
    paper="Zhang et al., TPAMI 2021 (DPIR), arXiv:2008.13751; Zhu et al., CVPRW 2023 (DiffPIR), arXiv:2305.08995",
    needs="a prior of the contrast; any operator",
    calls=(("steps",),),
    presets={"fast": {"steps": 10}, "balanced": {"steps": 16}, "best": {"steps": 25}},
)
def pnp(
    prior: Prior,
    data: Measured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 16,
    begin: Annotated[float, Between(0.02, 20.0, "noise-to-signal ratio of the first call; more for worse data")] = 0.5,
    end: Annotated[float, Between(0.005, 1.0, "noise-to-signal ratio of the last call")] = 0.05,
    zeta: Annotated[float, Between(0.0, 1.0, "fresh noise at each step; 0 is deterministic, 1 spreads most")] = 0.3,
) -> Run[Tensor]:
    """DPIR (Zhang 2021, algorithm 1) with a diffusion prior as its denoiser, zeta of each level's noise put back.

    Unlike DDIM it carries no stale noise from step to step: aliasing that the data explain is forgotten at once.
    """
    levels = prior.schedule
    path = prior.path(steps, levels.fraction(begin), "log-snr", levels.fraction(min(end, begin / 2)))
    x = path[0].alpha * data.initial + zeta * path[0].sigma * noise(data.initial)
    solver, guides = Refresh(zeta), (data.consistency(),)
    return (yield from sample(prior, x, path, solver=solver, guides=guides, cond=cond, noise=noise))


@recipe(
    "ddnm",
    title="DDNM (second order)",
    task=TASK,
    summary="Deterministic DPM-Solver++(2M) with every estimate made consistent with the data.",
    paper="Wang et al., ICLR 2023 (DDNM), arXiv:2212.00490; solver: Lu et al. 2022, arXiv:2211.01095",
    needs="a prior of the contrast; any operator",
    calls=(("steps",),),
    presets={"fast": {"steps": 10}, "balanced": {"steps": 15}, "best": {"steps": 25}},
)
def ddnm(
    prior: Prior,
    data: Measured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 15,
    start: Annotated[float, Between(0.05, 1.0, "fraction of the noise schedule to start from")] = 0.9,
    stop: Annotated[float, Between(0.0, 0.5, "fraction of the noise schedule of the last network call")] = 0.05,
) -> Run[Tensor]:
    """DDNM (Wang 2023, algorithm 1) with a second-order solver: x0 <- x0 + A^+(y - A x0) at every step."""
    path = prior.path(steps, start, "log-snr", stop)
    x = diffuse(data.initial, path[0], noise)
    guides = (data.consistency(),)
    return (yield from sample(prior, x, path, solver=DPMSolver2M(), guides=guides, cond=cond, noise=noise))


@recipe(
    "score-mri",
    title="Score-MRI (predictor-corrector)",
    task=TASK,
    summary="Predictor-corrector sampling, measured k-space put back after every half step: slow, thorough.",
    paper="Chung & Ye, Medical Image Analysis 2022, arXiv:2110.05243",
    needs="a prior of the contrast; complex images are sampled as real and imaginary parts",
    # steps + (steps - 1) corrections: there is nothing to correct in the clean image
    calls=(("steps",), ("steps", "corrections"), (-1, "corrections")),
    presets={"fast": {"steps": 100}, "balanced": {"steps": 500}, "best": {"steps": 1000}},
)
def score_mri(
    prior: Prior,
    data: Measured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 500,
    snr: Annotated[float, Between(0.0, 1.0, "signal-to-noise ratio of the Langevin corrector")] = 0.16,
    corrections: Annotated[int, Between(0, 10, "Langevin corrections per step")] = 1,
) -> Run[Tensor]:
    """Score-MRI (Chung & Ye 2022): algorithm 2 for real images, 3 for complex ones (C = 2, denoised part by part)."""
    path = prior.path(steps, 1.0, "log-snr")
    merge = ProjectState(data.operator, data.y, noisy=False)
    guides = (merge, Langevin(snr, corrections), merge) if corrections else (merge,)
    x = _pure_noise(data, path[0], noise)
    return (yield from sample(prior, x, path, solver=ReverseDiffusion(), guides=guides, cond=cond, noise=noise))


@recipe(
    "ccdf",
    title="CCDF (come closer, diffuse faster)",
    task=TASK,
    summary="Come closer, diffuse faster: start from a noised first image instead of pure noise.",
    paper="Chung et al., CVPR 2022 (CCDF), arXiv:2112.05146",
    needs="a prior of the contrast; a first image (zero-filled by default)",
    calls=(("steps",),),
    presets={"fast": {"steps": 15}, "balanced": {"steps": 40}, "best": {"steps": 200}},
)
def ccdf(
    prior: Prior,
    data: Measured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 40,
    start: Annotated[float, Between(0.02, 1.0, "how much noise the first image gets; less for a better image")] = 0.5,
) -> Run[Tensor]:
    """CCDF (Chung 2022, algorithm 3): q(x_t0 | first image), then ancestral steps, each projected on the data."""
    path = prior.path(steps, start, "log-snr")
    x = diffuse(data.initial, path[0], noise)
    guides = (ProjectState(data.operator, data.y),)
    return (yield from sample(prior, x, path, solver=DDIM(eta=1.0), guides=guides, cond=cond, noise=noise))


@recipe(
    "dps",
    title="DPS (diffusion posterior sampling)",
    gradient=True,
    task=TASK,
    summary="Follows the gradient of the data misfit through the network: any differentiable measurement, slow.",
    paper="Chung et al., ICLR 2023 (DPS), arXiv:2209.14687",
    needs="a prior of the contrast; about twice the time and five times the memory of a plain step",
    calls=(("steps",),),
    presets={"fast": {"steps": 100}, "balanced": {"steps": 500}, "best": {"steps": 1000}},
)
def dps(
    prior: Prior,
    data: Measured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 500,
    zeta: Annotated[float, Between(0.0, 10.0, "step length of the gradient")] = 1.0,
) -> Run[Tensor]:
    """DPS (Chung 2023, algorithm 1): ancestral steps, each followed by -zeta grad |y - A x0(x_t)|."""
    path = prior.path(steps, 1.0, "log-snr")
    guides = (Gradient(data.operator, data.y, zeta),)
    x = _pure_noise(data, path[0], noise)
    return (yield from sample(prior, x, path, solver=DDIM(eta=1.0), guides=guides, cond=cond, noise=noise))


@recipe(
    "mcg",
    title="MCG (manifold-constrained gradient)",
    gradient=True,
    task=TASK,
    summary="Manifold-constrained gradient and projection: DPS's gradient where nothing was measured, data elsewhere.",
    paper="Chung et al., NeurIPS 2022 (MCG), arXiv:2206.00941",
    needs="a prior of the contrast; about twice the time and five times the memory of a plain step",
    calls=(("steps",),),
    presets={"fast": {"steps": 100}, "balanced": {"steps": 500}, "best": {"steps": 1000}},
)
def mcg(
    prior: Prior,
    data: Measured,
    *,
    noise: Noise,
    cond: Condition | None = None,
    steps: Steps = 500,
    zeta: Annotated[float, Between(0.0, 10.0, "step length of the gradient")] = 1.0,
) -> Run[Tensor]:
    """MCG (Chung 2022, algorithm 1): the gradient's unmeasured part, then the re-noised measurement put back."""
    path = prior.path(steps, 1.0, "log-snr")
    guides = (Gradient(data.operator, data.y, zeta, project=True), ProjectState(data.operator, data.y))
    x = _pure_noise(data, path[0], noise)
    return (yield from sample(prior, x, path, solver=DDIM(eta=1.0), guides=guides, cond=cond, noise=noise))
