"""Random numbers that every kind of batch wants, and the noise of its levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..convert import from_x0
from ..levels import Level
from ..noises import Gaussian, seed_of


def stratified(size: int, g: torch.Generator) -> Tensor:
    """One uniform number in each of `size` equal bins, shuffled: the loss of a batch of levels then varies far less
    than with independent ones (Kingma 2021, VDM)."""
    levels = (torch.arange(size) + torch.rand(size, generator=g)) / size
    return levels[torch.randperm(size, generator=g)]


def noised(
    x0: Tensor, levels: Sequence[Level], uniform: Tensor, seed: int, step: int, name: str = "noise"
) -> tuple[Tensor, Tensor, Tensor]:
    """x_t = alpha x0 + sigma eps at one of the `levels` for each of `uniform` (B,), the times (B,), and eps."""
    chosen = [levels[min(int(u * len(levels)), len(levels) - 1)] for u in uniform.tolist()]
    eps = Gaussian([seed_of(seed, name, step, k) for k in range(len(x0))])(x0)
    pairs = zip(x0, eps, chosen, strict=True)
    x = torch.stack([level.alpha * clean + level.sigma * noise for clean, noise, level in pairs])
    return x, torch.tensor([level.time for level in chosen]), eps


def aims(clean: Tensor, noisy: Tensor, times: Tensor, levels: Sequence[Level], predicts: str) -> Tensor:
    """What a network that `predicts` so is to say of noisy images (B, ...) at these times (B,)."""
    at = {level.time: level for level in levels}
    rows = zip(clean, noisy, times.tolist(), strict=True)
    return torch.stack([from_x0(x0, x, at[time], predicts) for x0, x, time in rows])
