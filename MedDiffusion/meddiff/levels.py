"""Noise levels and the schedules that networks are trained on: `x = alpha * x0 + sigma * eps`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from .errors import BadInput, choose

SPACINGS = ("uniform", "log-snr", "karras", "native")


@dataclass(frozen=True)
class Level:
    """One noise level; `time` is what the network is told. Variance preserving, exploding and flow levels all fit."""

    time: float
    alpha: float
    sigma: float

    @property
    def ratio(self) -> float:
        """Noise-to-signal ratio sigma / alpha: the one number on which levels of all families are ordered."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    @property
    def log_snr(self) -> float:
        """lambda = log(alpha / sigma), half the log signal-to-noise ratio (Lu 2022, DPM-Solver)."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha / self.sigma) if self.alpha > 0 else -math.inf


CLEAN = Level(-1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Schedule:
    """The levels that a network was trained on, from nearly clean to pure noise. It holds no state."""

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        ratios = [level.ratio for level in self.levels]
        if not ratios or not all(a < b for a, b in pairwise([0.0, *ratios, math.inf])):
            raise BadInput(
                "a schedule needs at least one level, ordered from the least to the most noisy, each with some signal "
                "and some noise"
            )

    def path(self, steps: int, start: float = 1.0, spacing: str = "uniform", stop: float = 0.0) -> list[Level]:
        """`steps + 1` levels from the fraction `start` of the schedule down to the clean image.

        `stop` is the fraction of the schedule at which the last network call is made. Spacings: `uniform` in index,
        `log-snr` (Lu 2022), `karras` (Karras 2022, eq. 5, rho = 7), `native`: every level, `steps` is ignored.
        Raises BadInput for a start outside (0, 1], or more steps than there are levels.
        """
        choose(spacing, SPACINGS, "spacing")
        if not 0 <= stop < start <= 1:
            raise BadInput(f"a path starts in (0, 1] and stops below it; got start={start}, stop={stop}")
        top = max(round(start * len(self.levels)), 1) - 1
        bottom = min(round(stop * len(self.levels)), top)
        if spacing == "native":
            return [*(self.levels[i] for i in range(top, bottom - 1, -1)), CLEAN]
        room = top - bottom + 1
        if not 1 <= steps <= room:
            raise BadInput(f"this path has room for 1 to {room} steps, got {steps}")
        indices = _spread(self._targets(steps, top, bottom, spacing), top, bottom)
        return [*(self.levels[i] for i in indices), CLEAN]

    def nearest(self, ratio: float) -> int:
        """Index of the level whose noise-to-signal ratio is nearest to `ratio`, on a logarithmic scale."""
        wanted = math.log(max(ratio, 1e-12))
        above = bisect_right(self._log_ratios, wanted)
        neighbours = range(max(above - 1, 0), min(above + 1, len(self.levels)))
        return min(neighbours, key=lambda i: abs(self._log_ratios[i] - wanted))

    def fraction(self, ratio: float) -> float:
        """The `start` of a path that begins at the noise-to-signal ratio `ratio`."""
        return (self.nearest(ratio) + 1) / len(self.levels)

    @cached_property
    def _log_ratios(self) -> list[float]:
        return [math.log(level.ratio) for level in self.levels]

    def _targets(self, steps: int, top: int, bottom: int, spacing: str) -> list[int]:
        if spacing == "uniform" and bottom == 0:  # the clean level is one rung below index 0
            return [round(v) for v in _line(top, -1, steps + 1)[:-1]]
        if spacing == "uniform":
            return [round(v) for v in _line(top, bottom, steps)]
        hi, lo = self._log_ratios[top], self._log_ratios[bottom]
        if spacing == "log-snr":
            ratios = [math.exp(v) for v in _line(hi, lo, steps)]
        else:
            ratios = [v**7 for v in _line(math.exp(hi / 7), math.exp(lo / 7), steps)]
        return [self.nearest(r) for r in ratios]


def _line(a: float, b: float, count: int) -> list[float]:
    return [a] if count == 1 else [a + (b - a) * i / (count - 1) for i in range(count)]


def _spread(indices: Sequence[int], top: int, bottom: int) -> list[int]:
    """Make rounded indices strictly decreasing inside [bottom, top], moving each as little as possible."""
    count, out = len(indices), []
    for k, index in enumerate(indices):
        ceiling = out[-1] - 1 if out else top
        out.append(max(min(index, ceiling), bottom + count - 1 - k))
    return out


def vp_linear(steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 2e-2) -> Schedule:
    """Variance preserving, beta linear in time (Ho 2020, DDPM)."""
    return _from_betas([beta_start + (beta_end - beta_start) * i / (steps - 1) for i in range(steps)])


def vp_scaled_linear(steps: int = 1000, beta_start: float = 1.5e-3, beta_end: float = 1.95e-2) -> Schedule:
    """Variance preserving, sqrt(beta) linear in time (Rombach 2022, latent diffusion)."""
    a, b = math.sqrt(beta_start), math.sqrt(beta_end)
    return _from_betas([(a + (b - a) * i / (steps - 1)) ** 2 for i in range(steps)])


def vp_cosine(steps: int = 1000, shift: float = 1.0) -> Schedule:
    """Cosine schedule (Nichol 2021) whose noise-to-signal ratio tan(pi t / 2) is scaled by `shift` (Hoogeboom 2023)."""
    levels = []
    for i in range(steps):
        ratio = shift * math.tan(math.pi / 2 * (i + 0.5) / steps)
        alpha = 1 / math.sqrt(1 + ratio**2)
        levels.append(Level(float(i), alpha, alpha * ratio))
    return Schedule(tuple(levels))


def vp_cosine_betas(steps: int = 1000, offset: float = 8e-3) -> Schedule:
    """Cosine schedule as a chain of betas, none above 0.999 (Nichol 2021, eq. 17), as MONAI's `cosine` has it."""
    bars = [math.cos((i / steps + offset) / (1 + offset) * math.pi / 2) ** 2 for i in range(steps + 1)]
    return _from_betas([min(1 - after / before, 0.999) for before, after in pairwise(bars)])


def vp_sigmoid(steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 2e-2, sharpness: float = 6.0) -> Schedule:
    """Variance preserving, beta a logistic curve of time (Xu 2022, GeoDiff), as MONAI's `sigmoid_beta` has it."""
    times = [2 * sharpness * i / (steps - 1) - sharpness for i in range(steps)]
    return _from_betas([beta_start + (beta_end - beta_start) / (1 + math.exp(-time)) for time in times])


def ve(steps: int = 1000, sigma_min: float = 0.01, sigma_max: float = 50.0) -> Schedule:
    """Variance exploding, sigma geometric in time (Song 2021, score SDE)."""
    growth = math.log(sigma_max / sigma_min) / (steps - 1)
    return Schedule(tuple(Level(float(i), 1.0, sigma_min * math.exp(growth * i)) for i in range(steps)))


def flow(steps: int = 1000) -> Schedule:
    """Flow matching on a straight line, x = (1 - t) x0 + t eps (Lipman 2023; Liu 2023, rectified flow)."""
    return Schedule(tuple(Level(float(i), 1 - (i + 0.5) / steps, (i + 0.5) / steps) for i in range(steps)))


def _from_betas(betas: Sequence[float]) -> Schedule:
    levels, alpha_bar = [], 1.0
    for i, beta in enumerate(betas):
        alpha_bar *= 1 - beta
        levels.append(Level(float(i), math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)))
    return Schedule(tuple(levels))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "vp-linear": vp_linear,
    "vp-scaled-linear": vp_scaled_linear,
    "vp-cosine": vp_cosine,
    "vp-cosine-betas": vp_cosine_betas,
    "vp-sigmoid": vp_sigmoid,
    "ve": ve,
    "flow": flow,
}


def make_schedule(name: str, **arguments: Any) -> Schedule:
    """The schedule that a model card names; raises BadInput for an unknown name or argument, or an impossible value."""
    builder = SCHEDULES[choose(name, SCHEDULES, "schedule")]
    try:
        return builder(**arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise BadInput(f"schedule {name!r} does not take these arguments: {arguments} ({error})") from None
