"""Solvers: one step from level t to the less noisy level s, given the estimate of the clean image.

One coefficient kernel gives DDPM, DDIM, the Euler method and DPM-Solver++(1); the others reuse it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from .levels import Level
from .noises import Noise
from .prior import Condition


class Coeffs(NamedTuple):
    """x_s = x * x_t + x0 * x0_hat + noise * z."""

    x: float
    x0: float
    noise: float


@dataclass(frozen=True)
class Step:
    """What solvers and guides may know of the step at hand: x at level t (it requires grad where `estimate` needs it),
    the two levels, the solver's coefficients, the denoiser, the noise source and the condition. The denoiser that a
    solver sees has the guides' corrections in it; the one that a guide sees is bare."""

    x: Tensor
    t: Level
    s: Level
    coeffs: Coeffs
    denoise: Callable[..., Tensor]
    noise: Noise
    cond: Condition | None = None


class Solver(Protocol):
    """`memory` is what the solver handed back after its last step; it is None at the start and after going back up."""

    def coeffs(self, t: Level, s: Level) -> Coeffs: ...

    def step(self, step: Step, x0: Tensor, memory: Any) -> tuple[Tensor, Any]: ...


def kernel(t: Level, s: Level, eta: float) -> Coeffs:
    """q(x_s | x_t, x0): eta = 0 is DDIM (Song 2021, eq. 12), the probability-flow Euler step in sigma / alpha and
    DPM-Solver++(1); eta = 1 is the ancestral step of DDPM (Ho 2020, eq. 7), on any levels, VP or VE."""
    variance = t.sigma**2 - (t.alpha / s.alpha) ** 2 * s.sigma**2
    noise = eta * math.sqrt(max(variance, 0.0)) * s.sigma / t.sigma
    x = math.sqrt(max(s.sigma**2 - noise**2, 0.0)) / t.sigma
    return Coeffs(x, s.alpha - t.alpha * x, noise)


def apply(coeffs: Coeffs, x: Tensor, x0: Tensor, noise: Noise) -> Tensor:
    """One affine step; noise is drawn only where it has weight, so deterministic solvers draw none."""
    out = coeffs.x * x + coeffs.x0 * x0
    return out + coeffs.noise * noise(x) if coeffs.noise else out


@dataclass(frozen=True)
class DDIM:
    """Song 2021 (DDIM), eq. 12: eta = 0 is deterministic, eta = 1 is DDPM's ancestral sampling. Order 1."""

    eta: float = 0.0

    def coeffs(self, t: Level, s: Level) -> Coeffs:
        return kernel(t, s, self.eta)

    def step(self, step: Step, x0: Tensor, memory: Any) -> tuple[Tensor, None]:
        return apply(step.coeffs, step.x, x0, step.noise), None


@dataclass(frozen=True)
class Refresh:
    """x_s = alpha_s x0 + zeta sigma_s z: forget x_t, keep the estimate. zeta = 0 is the half-quadratic splitting of
    plug-and-play restoration (Zhang 2021, DPIR, algorithm 1), zeta = 1 is DiffPIR with all noise fresh (Zhu 2023)."""

    zeta: float = 0.0

    def coeffs(self, t: Level, s: Level) -> Coeffs:
        return Coeffs(0.0, s.alpha, self.zeta * s.sigma)

    def step(self, step: Step, x0: Tensor, memory: Any) -> tuple[Tensor, None]:
        return apply(step.coeffs, step.x, x0, step.noise), None


@dataclass(frozen=True)
class ReverseDiffusion:
    """The predictor of Song 2021 (score SDE), algorithm 2: x + (sigma_t^2 - sigma_s^2) score + their root times z."""

    def coeffs(self, t: Level, s: Level) -> Coeffs:
        ratio = s.alpha / t.alpha
        drop = (t.sigma**2 - (s.sigma / ratio) ** 2) / t.sigma**2
        return Coeffs(ratio * (1 - drop), ratio * drop * t.alpha, ratio * t.sigma * math.sqrt(max(drop, 0.0)))

    def step(self, step: Step, x0: Tensor, memory: Any) -> tuple[Tensor, None]:
        c = step.coeffs if step.s.sigma > 0 else step.coeffs._replace(noise=0.0)  # the last step only denoises
        return apply(c, step.x, x0, step.noise), None


@dataclass(frozen=True)
class DPMSolver2M:
    """DPM-Solver++(2M) (Lu 2022, algorithm 2): the kernel fed with x0 extrapolated from the last two calls. Order 2."""

    def coeffs(self, t: Level, s: Level) -> Coeffs:
        return kernel(t, s, 0.0)

    def step(self, step: Step, x0: Tensor, memory: tuple[Tensor, Level] | None) -> tuple[Tensor, tuple[Tensor, Level]]:
        estimate = x0
        if memory is not None and step.s.sigma > 0:
            previous, level = memory
            ratio = (step.t.log_snr - level.log_snr) / (step.s.log_snr - step.t.log_snr)
            estimate = x0 + (x0 - previous) / (2 * ratio)
        return apply(step.coeffs, step.x, estimate, step.noise), (x0, step.t)


@dataclass(frozen=True)
class Heun:
    """The second-order method of Karras 2022 (EDM), algorithm 1, without churn; two network calls a step. Order 2."""

    def coeffs(self, t: Level, s: Level) -> Coeffs:
        return kernel(t, s, 0.0)

    def step(self, step: Step, x0: Tensor, memory: Any) -> tuple[Tensor, None]:
        t, s = step.t, step.s
        euler = apply(step.coeffs, step.x, x0, step.noise)
        if s.sigma == 0:
            return euler, None
        # in the variance-exploding frame y = x / alpha the flow is dy/dr = (y - x0) / r, r = sigma / alpha
        y, y_s = step.x / t.alpha, euler / s.alpha
        slope = ((y - x0) / t.ratio + (y_s - step.denoise(euler, s)) / s.ratio) / 2
        return s.alpha * (y + (s.ratio - t.ratio) * slope), None


SOLVERS: dict[str, Callable[[], Solver]] = {
    "ddim": DDIM,
    "ancestral": lambda: DDIM(eta=1.0),
    "dpm-solver-2m": DPMSolver2M,
    "heun": Heun,
    "reverse-diffusion": ReverseDiffusion,
}
