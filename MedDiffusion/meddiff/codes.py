"""Classes as numbers that can be noised: one channel a class, or one a bit, both -1 and 1; and back. Images of which
some are missing, beside a code that says which."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import BadInput, choose

CODES = ("one-hot", "bits")


def channels(classes: int, code: str) -> int:
    """How many channels `classes` classes (the background is one) take."""
    choose(code, CODES, "code of classes")
    return classes if code == "one-hot" else max(1, (classes - 1).bit_length())


def encode(labels: Tensor, classes: int, code: str) -> Tensor:
    """Labels (B, *spatial), 0 to classes - 1, as (B, C, *spatial) of -1 and 1: one-hot, or the bits of the number,
    lowest first (Chen 2023, analog bits, sec. 3.1). Raises BadInput for labels that are no class."""
    low, high = (int(v) for v in torch.aminmax(labels)) if labels.numel() else (0, 0)
    if low < 0 or high >= classes:
        raise BadInput(f"labels from {low} to {high} came; expected 0 to {classes - 1}")
    return 2 * _book(classes, code).to(labels.device)[labels.long()].movedim(-1, 1) - 1


def encode_soft(probabilities: Tensor, code: str) -> Tensor:
    """Probabilities (B, K, *spatial) of the classes as the mean of their codes (B, C, *spatial)."""
    book = _book(probabilities.shape[1], code).to(probabilities)
    return 2 * torch.einsum("bk...,kc->bc...", probabilities, book) - 1


def decode(x: Tensor, classes: int, code: str) -> Tensor:
    """Codes (B, C, *spatial), noisy or soft ones, as probabilities (B, K, *spatial) of the classes.

    Each channel c is one when its number is 1, with the probability (x_c + 1) / 2 cut to [0, 1]; one-hot channels are
    made to sum to 1, bits count as independent, and numbers that are no class count as never meant.
    """
    share = ((x + 1) / 2).clamp(0, 1)
    if code == "bits":
        book = _book(classes, code).to(x).reshape(1, classes, -1, *(1,) * (x.ndim - 2))
        share = (book * share[:, None] + (1 - book) * (1 - share[:, None])).prod(2)
    total = share.sum(1, keepdim=True)
    return torch.where(total > 1e-6, share / total.clamp_min(1e-6), torch.full_like(share, 1 / classes))


def beside(images: Tensor, given: Tensor) -> Tensor:
    """Images (B, C, *spatial), those that are not `given` (B, C) bool made 0, and as many constant ones of 1 where
    they are and 0 where not (B, 2 C, *spatial) (Meng 2022, arXiv:2207.03430)."""
    code = given.to(images).reshape(*given.shape, *(1,) * (images.ndim - 2)).expand_as(images)
    return torch.cat([images * code, code], 1)


def _book(classes: int, code: str) -> Tensor:
    """(K, C) of 0 and 1: the code of every class."""
    if choose(code, CODES, "code of classes") == "one-hot":
        return torch.eye(classes)
    numbers = torch.arange(classes)[:, None]
    return ((numbers >> torch.arange(channels(classes, code))) & 1).float()


def spread(numbers: Tensor, size: Sequence[int]) -> Tensor:
    """Covariates (B, K) as constant channels (B, K, *size) (Pinaya 2022)."""
    return numbers[(..., *(None,) * len(size))].expand(-1, -1, *size)
