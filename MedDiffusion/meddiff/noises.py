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


class Blend:
    """Noise on the way from one seed's to another's: each row is `slerp` of what both give it, wherever noise is drawn,
    so that the ends are what the seeds make, with any solver."""

    def __init__(self, first: Noise, last: Noise, shares: Sequence[float]):
        self._first, self._last, self._shares = first, last, tuple(shares)

    def __call__(self, like: Tensor) -> Tensor:
        return slerp(self._first(like), self._last(like), self._shares)


def slerp(a: Tensor, b: Tensor, shares: Sequence[float]) -> Tensor:
    """Rows of a (B, ...) turned towards those of b by these shares of the angle between them (Shoemake 1985), the norm
    linear in between: a straight line between two noises would lead through grey, where no noise is."""
    far = (slice(None), *(None,) * (a.ndim - 1))
    share = torch.tensor(shares, dtype=a.dtype, device=a.device)
    p, q = (torch.linalg.vector_norm(x.flatten(1), dim=1) for x in (a, b))
    angle = torch.arccos(((a.flatten(1) * b.flatten(1)).sum(1) / (p * q)).clamp(-1 + 1e-7, 1 - 1e-7))
    norm = (1 - share) * p + share * q
    first, last = (torch.sin(part * angle) / torch.sin(angle) * norm for part in (1 - share, share))
    return (first / p)[far] * a + (last / q)[far] * b
