"""Guides: what a method adds to the bare loop. `estimate` corrects x0 before the solver, `state` corrects x after it.

A guide holds no denoiser and no loop over levels; both hooks see the `Step`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .levels import Level
from .operators import Operator
from .prior import Condition
from .solvers import Step


class Guide:
    """Does nothing; the base of all guides. `needs_grad`: x0 must be differentiable with respect to `step.x`."""

    needs_grad = False

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        return x0

    def state(self, x: Tensor, step: Step) -> Tensor:
        return x


def _norm(x: Tensor) -> Tensor:
    """L2 norm of each image of the batch, shape (B, 1, ..., 1), real also for complex x."""
    norm = torch.linalg.vector_norm(x.flatten(1), dim=1)  # unlike a square root it has a gradient at 0: 0
    return norm.reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class Project(Guide):
    """x0 <- x0 + A^+ (y - A x0): hard data consistency of the estimate (Wang 2023, DDNM, eq. 13)."""

    operator: Operator
    y: Tensor

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        return x0 + self.operator.pinv(self.y - self.operator(x0))


@dataclass(frozen=True)
class Proximal(Guide):
    """x0 <- argmin_x |A x - y|^2 / sigma_y^2 + |x - x0|^2 / r_t^2 with r = sigma / alpha (Zhu 2023, DiffPIR, eq. 13):
    data consistency for noisy measurements; `strength` scales 1 / sigma_y^2."""

    operator: Operator
    y: Tensor
    sigma_y: float
    strength: float = 1.0

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        return self.operator.solve(x0, self.y, self.strength * (step.t.ratio / self.sigma_y) ** 2)


@dataclass(frozen=True)
class ProjectState(Guide):
    """x_s <- x_s + weight A^+ (y_s - A x_s), y_s = alpha y + sigma A z (Song 2022, eq. 8) or, not `noisy`, alpha y
    (Chung & Ye 2022, score-MRI, algorithm 2)."""

    operator: Operator
    y: Tensor
    weight: float = 1.0
    noisy: bool = True

    def state(self, x: Tensor, step: Step) -> Tensor:
        target = step.s.alpha * self.y
        if self.noisy and step.s.sigma > 0:
            target = target + step.s.sigma * self.operator(step.noise(x))
        return x + self.weight * self.operator.pinv(target - self.operator(x))


@dataclass(frozen=True)
class Gradient(Guide):
    """x_s <- x_s - zeta grad_{x_t} |y - A x0(x_t)| (Chung 2023, DPS, algorithm 1), written as a shift of x0 by the
    solver's own coefficient: the same for every single-step solver. `project` keeps the gradient's unmeasured part
    only (Chung 2022, MCG)."""

    operator: Operator
    y: Tensor
    zeta: float = 1.0
    project: bool = False
    needs_grad = True

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        if step.coeffs.x0 == 0:
            return x0
        distance = _norm(self.y - self.operator(x0)).sum()
        (gradient,) = torch.autograd.grad(distance, step.x, retain_graph=True)
        if self.project:
            gradient = gradient - self.operator.pinv(self.operator(gradient))
        return x0 - self.zeta / step.coeffs.x0 * gradient


@dataclass(frozen=True)
class Langevin(Guide):
    """The corrector of Song 2021 (score SDE), algorithms 4 and 5: x + h score + sqrt(2 h) z with
    h = 2 alpha^2 (snr |z| / |score|)^2, one h for each image."""

    snr: float = 0.16
    steps: int = 1

    def state(self, x: Tensor, step: Step) -> Tensor:
        s = step.s
        for _ in range(self.steps if s.sigma > 0 else 0):
            score = (s.alpha * step.denoise(x, s) - x) / s.sigma**2
            z = step.noise(x)
            h = 2 * s.alpha**2 * (self.snr * _norm(z) / _norm(score).clamp_min(1e-12)) ** 2
            x = x + h * score + (2 * h).sqrt() * z
        return x


@dataclass(frozen=True)
class LowFrequency(Guide):
    """x_s <- x_s + weight P (x_ref,s - x_s), P a low-pass projection: ILVR (Choi 2021, eq. 8), R2D2+ (Chung 2022)."""

    operator: Operator
    reference: Tensor
    weight: float = 1.0
    noisy: bool = True

    def state(self, x: Tensor, step: Step) -> Tensor:
        target = step.s.alpha * self.reference
        if self.noisy and step.s.sigma > 0:
            target = target + step.s.sigma * step.noise(x)
        return x + self.weight * self.operator.pinv(self.operator(target - x))


@dataclass(frozen=True)
class Replace(Guide):
    """Where mask is 1, x_s is the known image at that noise level (Lugmayr 2022, RePaint, eq. 8)."""

    known: Tensor
    mask: Tensor

    def state(self, x: Tensor, step: Step) -> Tensor:
        known = step.s.alpha * self.known
        if step.s.sigma > 0:
            known = known + step.s.sigma * step.noise(x)
        return self.mask * known + (1 - self.mask) * x


@dataclass(frozen=True)
class Classifier(Guide):
    """eps' = eps - scale sigma grad log p(label | x_t) (Dhariwal 2021, algorithm 2), as a shift of x0 by
    scale sigma^2 / alpha times the gradient. `log_prob(x, level)` is (B,)."""

    log_prob: Callable[[Tensor, Level], Tensor]
    scale: float = 1.0

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        with torch.enable_grad():
            x = step.x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(x, step.t).sum(), x)
        return x0 + self.scale * step.t.sigma**2 / step.t.alpha * gradient


@dataclass(frozen=True)
class FreeGuidance(Guide):
    """x0 <- x0_null + scale (x0_cond - x0_null) (Ho 2021, classifier-free guidance); the first guide in the tuple."""

    scale: float
    null: Condition | None

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        unconditional = step.denoise(step.x, step.t, self.null)
        return unconditional + self.scale * (x0 - unconditional)


@dataclass(frozen=True)
class Clip(Guide):
    """Keep x0 in [low, high]. With `quantile` the bound is dynamic (Saharia 2022, Imagen, sec. 2.3): that quantile of
    |x0 - centre|, never below the static bound, and x0 is scaled back into the range."""

    low: float
    high: float
    quantile: float | None = None

    def estimate(self, x0: Tensor, step: Step) -> Tensor:
        if self.quantile is None:
            return x0.clamp(self.low, self.high)
        centre, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        shifted = x0 - centre
        bound = torch.quantile(shifted.flatten(1).abs(), self.quantile, dim=1).clamp_min(half)
        bound = bound.reshape(-1, *[1] * (x0.ndim - 1))
        return centre + torch.maximum(torch.minimum(shifted, bound), -bound) * (half / bound)
