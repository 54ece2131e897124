"""The one loop that every method of this package runs, its inverse, and the plain functions around them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from .errors import BadInput, Cancelled
from .guides import Guide
from .levels import Level
from .noises import Noise
from .prior import Condition, Prior
from .solvers import DDIM, Solver, Step, kernel

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """One step of a run: `step` of `of` is done, x is at `level`, `x0` is the estimate (None on the way back up)."""

    step: int
    of: int
    level: Level
    x0: Tensor | None


Run = Generator[Progress, None, T]  # yields progress, returns the result; stop pulling to cancel


@torch.no_grad()  # as a decorator: a `with` block inside a generator would leak to the caller between two steps
def sample(
    prior: Prior,
    x: Tensor,
    path: Sequence[Level],
    *,
    noise: Noise,
    solver: Solver = DDIM(),  # noqa: B008 - frozen, holds no state
    guides: Sequence[Guide] = (),
    cond: Condition | None = None,
) -> Run[Tensor]:
    """Carry x (B, C, *spatial) along `path`; a path may climb back up (RePaint). Returns x at the path's last level."""

    def denoise(x: Tensor, level: Level, other: Condition | None = cond) -> Tensor:
        return prior.denoise(x, level, other)

    def estimate(step: Step, x: Tensor, level: Level) -> Tensor:
        """E[x0 | x] at `level`, corrected by the guides."""
        with torch.set_grad_enabled(grad):
            step = replace(step, x=x.detach().requires_grad_(grad), t=level)
            x0 = denoise(step.x, level)
            for guide in guides:
                x0 = guide.estimate(x0, step)
        return x0.detach()

    grad = any(guide.needs_grad for guide in guides)
    memory = None
    for i, (t, s) in enumerate(pairwise(path)):
        if s.ratio > t.ratio:
            x, x0, memory = renoise(x, t, s, noise), None, None
        else:
            step = Step(x, t, s, solver.coeffs(t, s), denoise, noise, cond)
            x0 = estimate(step, x, t)
            x, memory = solver.step(replace(step, denoise=partial(estimate, step)), x0, memory)
            for guide in guides:
                x = guide.state(x, step)
        yield Progress(i + 1, len(path) - 1, s, x0)
    return x


@torch.no_grad()
def invert(prior: Prior, x: Tensor, path: Sequence[Level], *, cond: Condition | None = None) -> Run[Tensor]:
    """DDIM encoding (Song 2021, sec. 4.3): the deterministic kernel walked up; `path` runs from clean to noisy."""
    if any(s.ratio <= t.ratio for t, s in pairwise(path)):
        raise BadInput("inversion needs a path from the clean level to a noisy one; reverse the sampling path")
    for i, (t, s) in enumerate(pairwise(path)):
        if t.sigma > 0:
            coeffs = kernel(t, s, 0.0)
            x0 = prior.denoise(x, t, cond)
            x = coeffs.x * x + coeffs.x0 * x0
        else:  # off the clean level there is no eps to read yet: the estimate at s, of the image itself, supplies it
            x = s.alpha / t.alpha * x
            x0 = prior.denoise(x, s, cond)
            x = x + (x - s.alpha * x0)
        yield Progress(i + 1, len(path) - 1, s, x0)
    return x


def diffuse(x0: Tensor, level: Level, noise: Noise) -> Tensor:
    """q(x_t | x0): alpha x0 + sigma z."""
    return level.alpha * x0 + level.sigma * noise(x0)


def renoise(x: Tensor, t: Level, s: Level, noise: Noise) -> Tensor:
    """q(x_s | x_t) for a noisier level s: the way back up."""
    ratio = s.alpha / t.alpha
    return ratio * x + max(s.sigma**2 - (ratio * t.sigma) ** 2, 0.0) ** 0.5 * noise(x)


def repaint_path(path: Sequence[Level], jump: int = 10, times: int = 10) -> list[Level]:
    """A path that climbs back `jump` steps and comes down again until each stretch was walked `times` times
    (Lugmayr 2022, RePaint, sec. 4.2). One pass (`times=1`) is plain sampling, and visibly biased for inpainting."""
    if jump < 1 or times < 1:
        raise BadInput(f"a RePaint path needs jump >= 1 and times >= 1, got jump={jump}, times={times}")
    out = [path[0]]
    for i in range(0, len(path) - 1, jump):
        stretch = list(path[i + 1 : i + 1 + jump])
        noisy = [level for level in stretch if level.sigma > 0]  # to the clean level one goes once, at the very end
        if noisy:
            out += [*noisy, path[i]] * (times - 1)
        out += stretch
    return out


def stage(run: Run[T], before: int, of: int) -> Run[T]:
    """`run` as the steps `before` + 1, ... of a longer run of `of` steps."""
    try:
        while True:
            try:
                progress = next(run)
            except StopIteration as end:
                return end.value
            yield replace(progress, step=before + progress.step, of=of)
    finally:
        run.close()


def drain(
    run: Run[T],
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> T:
    """Run to the end and return the result; raises Cancelled as soon as `should_stop()` says so."""
    while True:
        try:
            progress = next(run)
        except StopIteration as end:
            return end.value
        if on_progress is not None:
            on_progress(progress)
        if should_stop is not None and should_stop():
            run.close()
            raise Cancelled("stopped on request; nothing was written")
