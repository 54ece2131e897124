"""Sources of randomness that do not depend on how many images run at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Noise = Callable[[Tensor], Tensor]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from any numbers and words, so that (job seed, slice, member) are independent streams."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Gaussian:
    """Unit Gaussian noise, one generator for each image of the batch: `Gaussian(seeds)(like)` is (B, ...) like `like`.

    Numbers are drawn on the CPU in float32 and then moved, so that an image gets the same noise on any device, in any
    batch and at any position in it.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = tuple(seeds)
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        if len(like) != len(self._generators):
            raise ValueError(f"this noise was made for a batch of {len(self._generators)}, got {len(like)}")
        rows = [torch.randn(like.shape[1:], generator=g, dtype=torch.float32) for g in self._generators]
        return torch.stack(rows).to(like)


def gaussian(seed: int, batch: int) -> Gaussian:
    """Noise for `batch` images; image k is the same whatever the batch size."""
    return Gaussian([seed_of(seed, k) for k in range(batch)])
