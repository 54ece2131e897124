"""Several samples of one question: their mean, their spread, and each the same whatever the number asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import BadInput
from .sampling import Progress, Run


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation (unbiased; zero for one member) over `count` members, shaped like one member."""

    mean: Tensor
    spread: Tensor
    count: int


def ensemble(member: Callable[[int], Run[Tensor]], count: int) -> Run[Moments]:
    """Run member(0) ... member(count - 1) and keep only their running moments (Welford 1962).

    A member takes its randomness from its own number, so adding members never changes the earlier ones.
    """
    if count < 1:
        raise BadInput(f"an ensemble needs at least one sample, got {count}")
    mean, squares = torch.zeros(()), torch.zeros(())
    for k in range(count):
        run = member(k)
        while True:
            try:
                progress = next(run)
            except StopIteration as end:
                value: Tensor = end.value
                break
            done = k * progress.of + progress.step
            yield Progress(done, count * progress.of, progress.level, progress.x0)
        delta = value - mean
        mean = mean + delta / (k + 1)
        squares = squares + delta * (value - mean)
    spread = (squares / max(count - 1, 1)).clamp_min(0).sqrt()
    return Moments(mean, spread, count)
