"""Problems with exact answers: Gaussian images, whose denoiser and probability flow are closed formulas.

Nothing here uses the engine's own conversions or solvers, so that a test compares two independent derivations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from meddiff.levels import Level, Schedule, flow, ve, vp_cosine, vp_linear
from meddiff.noises import Noise, gaussian
from meddiff.prior import Condition, Prior

SCHEDULES = {"vp": vp_linear(), "ve": ve(sigma_max=20.0), "cosine": vp_cosine(), "flow": flow()}
PREDICTIONS = ("x0", "eps", "v", "score")

Denoiser = Callable[[Tensor, Level, Condition | None], Tensor]


def white(*shape: int, seed: int = 0) -> Tensor:
    """Unit Gaussian numbers in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mirrored(seed: int, batch: int) -> Noise:
    """Noise whose second half is minus the first. What is affine in the noise, as sampling with a Gaussian prior mostly
    is, then has exactly its expectation as the mean over the batch: biases show without chance."""
    half = gaussian(seed, batch // 2)

    def noise(like: Tensor) -> Tensor:
        z = half(like[: batch // 2])
        return torch.cat([z, -z])

    return noise


def _same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Normal:
    """x0 ~ N(mean, Q diag(variance) Q^T); `to` is Q^T and `back` is Q, both orthogonal."""

    mean: Tensor
    variance: Tensor
    to: Callable[[Tensor], Tensor] = _same
    back: Callable[[Tensor], Tensor] = _same

    def denoise(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """E[x0 | x] at `level`."""
        a, s, v = level.alpha, level.sigma, self.variance
        return self.mean + self.back(a * v / (a**2 * v + s**2) * self.to(x - a * self.mean))

    def variance_left(self, level: Level) -> Tensor:
        """Var[x0 | x] at `level`, mode by mode."""
        return self.variance * level.sigma**2 / (level.alpha**2 * self.variance + level.sigma**2)

    def marginal(self, z: Tensor, level: Level) -> Tensor:
        """A draw of x at `level` from unit noise z; one z lies on one probability-flow trajectory at all levels."""
        scale = (level.alpha**2 * self.variance + level.sigma**2).sqrt()
        return level.alpha * self.mean + self.back(scale * self.to(z))

    def draw(self, z: Tensor) -> Tensor:
        """A draw of x0 from unit noise z."""
        return self.mean + self.back(self.variance.sqrt() * self.to(z))

    def flow(self, x: Tensor, t: Level, s: Level) -> Tensor:
        """The exact probability-flow map from level t to level s."""
        ratio = (s.alpha**2 * self.variance + s.sigma**2) / (t.alpha**2 * self.variance + t.sigma**2)
        return s.alpha * self.mean + self.back(ratio.sqrt() * self.to(x - t.alpha * self.mean))

    def prior(self, schedule: Schedule, predicts: str = "eps") -> Prior:
        return exact_prior(self.denoise, schedule, predicts)


def exact_prior(denoise: Denoiser, schedule: Schedule, predicts: str = "eps") -> Prior:
    """A prior whose network knows the truth, and answers in the terms of `predicts`."""
    levels = {level.time: level for level in schedule.levels}

    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        level = levels[time]
        x0 = denoise(x, level, cond)
        eps = (x - level.alpha * x0) / level.sigma
        v = level.alpha * eps - level.sigma * x0
        return {"x0": x0, "eps": eps, "v": v, "score": -eps / level.sigma}[predicts]

    return Prior(network, schedule, predicts)


def scalar(mean: float = 0.7, std: float = 0.3) -> Normal:
    """Every pixel is N(mean, std^2) on its own: one image of many pixels is a sample of many scalars."""
    return Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std**2, dtype=torch.float64))


def correlated(covariance: Tensor) -> Normal:
    """The pixels along the last axis have this covariance, and mean zero."""
    variance, basis = torch.linalg.eigh(covariance)
    return Normal(covariance.new_zeros(()), variance, lambda x: x @ basis, lambda y: y @ basis.T)


def wiener(height: int = 16, width: int = 16, power: float = 0.1) -> Normal:
    """Stationary images with a falling power spectrum and mean square `power`; the denoiser is Wiener's filter."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in (height, width))
    spectrum = 1 / (0.02 + fy[:, None] ** 2 + fx**2)
    return Normal(torch.zeros((), dtype=torch.float64), power * spectrum / spectrum.mean(), _hartley, _hartley)


def _hartley(x: Tensor) -> Tensor:
    """The discrete Hartley transform of the last two axes: real, orthogonal, and its own inverse."""
    y = torch.fft.fft2(x, norm="ortho")
    return y.real - y.imag


@dataclass
class Counter:
    """Counts the calls that a prior makes to its network."""

    calls: int = 0
    times: list[float] = field(default_factory=list)

    def watch(self, prior: Prior) -> Prior:
        """The same prior, its network calls counted here."""

        def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
            self.calls += 1
            self.times.append(time)
            return prior.network(x, time, cond)

        return replace(prior, network=network)
