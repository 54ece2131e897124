"""A world of two states with exact answers: healthy images are Gaussian, diseased ones have something added."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from gaussians import Counter, Normal, exact_prior, white, wiener
from torch import Tensor

from meddiff.levels import Level, Schedule
from meddiff.prior import Condition, Prior
from meddiff.recipes.anomaly import Subject

STATES = ("null", "healthy", "diseased", "simplex", "restored")  # by class number


@dataclass(frozen=True)
class World:
    """Half of the images are N(healthy), half N(diseased), and `region` is where their means differ."""

    healthy: Normal
    diseased: Normal
    region: Tensor = field(repr=False)

    def log_densities(self, x: Tensor, level: Level) -> Tensor:
        """log p(x_t | state) of healthy and diseased up to a constant, (B, 2)."""

        def log_density(truth: Normal) -> Tensor:
            variance = level.alpha**2 * truth.variance + level.sigma**2
            squares = truth.to(x - level.alpha * truth.mean).square() / variance
            return -0.5 * (squares + (variance * torch.ones_like(x)).log()).flatten(1).sum(1)

        return torch.stack([log_density(self.healthy), log_density(self.diseased)], 1)

    def log_prob(self, x: Tensor, level: Level, state: str) -> Tensor:
        """log p(state | x_t), (B,)."""
        return self.log_densities(x, level).log_softmax(1)[:, STATES.index(state) - 1]

    def denoise(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """E[x0 | x_t] in the state that each image is told to be in, or over both; restored, a diseased image is what
        it was before."""
        share = self.log_densities(x, level).softmax(1)
        if cond is not None and cond.label is not None:
            told = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 0], [0, 1]], dtype=x.dtype)[cond.label]
            share = torch.where(cond.label[:, None] == 0, share, told)
        h, d = (share[:, n].reshape(-1, 1, 1, 1) for n in (0, 1))
        restored = 0 if cond is None or cond.label is None else (cond.label == 4).reshape(-1, 1, 1, 1)
        added = restored * (self.diseased.mean - self.healthy.mean)
        return h * self.healthy.denoise(x, level) + d * self.diseased.denoise(x, level) - added

    def prior(self, schedule: Schedule) -> Prior:
        return exact_prior(self.denoise, schedule)

    def image(self, state: str, batch: int = 1, seed: int = 5) -> Tensor:
        """One image of that state, `batch` times."""
        truth = {"healthy": self.healthy, "diseased": self.diseased}[state]
        return truth.draw(white(1, 1, *self.region.shape, seed=seed)).expand(batch, -1, -1, -1)

    def subject(self, image: Tensor, counter: Counter | None = None, **others: Any) -> Subject:
        """What recipes are given of these images; the autoencoder's calls are counted, too."""
        count = counter or Counter()

        def autoencoder(x: Tensor) -> Tensor:
            count.calls += 1
            return 0.5 * x + 0.4

        parts: dict[str, Any] = {"log_prob": self.log_prob, "denoise": autoencoder}
        brain = torch.ones_like(image, dtype=torch.bool)
        return Subject(image, brain, told(len(image)), **(parts | others))


def told(batch: int) -> dict[str, Condition | None]:
    """Each state as a condition for a batch."""
    return {state: Condition(label=torch.full((batch,), n), null_label=0) for n, state in enumerate(STATES)}


def world(size: int = 12, power: float = 0.004, added: float = 0.5, spread: float = 1.0) -> World:
    """Grey images of 0.8 with a smooth texture; disease adds to a rectangle, and scales the variance by `spread`."""
    region = torch.zeros(size, size, dtype=torch.bool)
    region[size // 4 : size // 4 + 4, size // 2 : size // 2 + 3] = True
    healthy = torch.full((size, size), 0.8, dtype=torch.float64)
    texture = replace(wiener(size, size, power), mean=healthy)
    return World(texture, replace(texture, mean=healthy + added * region, variance=spread * texture.variance), region)
