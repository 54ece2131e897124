"""How well a prior explains an image, place by place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .errors import BadInput
from .levels import Level
from .noises import Noise
from .prior import Condition, Prior
from .sampling import Progress, Run, diffuse
from .solvers import kernel


@torch.no_grad()
def latent_kl(
    prior: Prior, z0: Tensor, levels: Sequence[Level], noise: Noise, cond: Condition | None = None
) -> Run[Tensor]:
    """KL(q(z_s | z_t, z0) || p(z_s | z_t)) in nats, the mean over the steps t -> s of `levels`, as (B, 1, *spatial).

    Both are Gaussians of one variance (the ancestral step), so that with its coefficients c the divergence at a place
    is the sum over channels of (c_x0 (z0 - E[z0 | z_t]) / c_noise)^2 / 2, which is half the growth of the
    signal-to-noise ratio times the squared error (Kingma 2021, VDM, eq. 13). Pinaya 2022 (MICCAI), sec. 2.3: places
    where it is high are improbable. `levels` runs from noisy to less noisy; one network call a step.
    """
    if len(levels) < 2 or any(s.ratio >= t.ratio or s.sigma == 0 for t, s in pairwise(levels)):
        raise BadInput("the step-wise divergence needs two or more levels, each less noisy than the last, none clean")
    total = z0.new_zeros((len(z0), 1, *z0.shape[2:]))
    for i, (t, s) in enumerate(pairwise(levels)):
        estimate = prior.denoise(diffuse(z0, t, noise), t, cond)
        c = kernel(t, s, 1.0)
        total = total + 0.5 * (c.x0 / c.noise * (z0 - estimate)).square().sum(1, keepdim=True)
        yield Progress(i + 1, len(levels) - 1, s, estimate)
    return total / (len(levels) - 1)


def band(prior: Prior, steps: int, start: float, stop: float) -> list[Level]:
    """`steps + 1` levels evenly down from the fraction `start` of the prior's schedule to `stop`, for `latent_kl`."""
    return prior.path(steps + 1, start, stop=stop)[:-1]
