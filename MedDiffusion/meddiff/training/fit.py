"""Training: one loop for every lesson, with a time budget, checkpoints and exact resumption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ..devices import channels_last
from ..errors import BadInput
from ..files import whole
from .course import Course
from .lessons import Lesson


@dataclass(frozen=True)
class Report:
    """Where a training run stands: step, planned steps, smoothed loss, seconds spent in all its sessions."""

    step: int
    of: int
    loss: float
    seconds: float


@dataclass
class _State:
    network: nn.Module
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan


def fit(
    lesson: Lesson,
    checkpoint: Path,
    *,
    device: str = "cpu",
    minutes: float | None = None,
    save_every: float = 120.0,
    precision: torch.dtype | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train until the plan's steps or the time budget end; yields a `Report` per step and resumes from `checkpoint`.

    The learning rate decays to zero along whichever of the two budgets is nearer its end. Raises BadInput when the
    checkpoint belongs to another plan.
    """
    plan = lesson.plan
    state = _start(lesson, checkpoint, torch.device(device))
    last_save = tick = time.monotonic()
    while state.step < plan.training.steps and not should_stop():
        done = max(state.step / plan.training.steps, state.seconds / (60 * minutes) if minutes is not None else 0.0)
        if done >= 1:
            break
        loss = _train_step(state, lesson, done, torch.device(device), precision)
        state.loss = loss if math.isnan(state.loss) else 0.99 * state.loss + 0.01 * loss
        now = time.monotonic()
        state.step, state.seconds, tick = state.step + 1, state.seconds + now - tick, now
        if now - last_save > save_every:
            _save(state, plan, checkpoint)
            last_save = now
        yield Report(state.step, plan.training.steps, state.loss, state.seconds)
    _save(state, plan, checkpoint)


def averaged_weights(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The averaged weights of a run (float32) and what its checkpoint says of step, seconds, loss and plan."""
    if not checkpoint.is_file():
        raise BadInput(f"there is no checkpoint at {checkpoint}; run `meddiff train fit` first")
    saved = _read(checkpoint, torch.device("cpu"))
    return saved["average"], {key: saved[key] for key in ("step", "seconds", "loss", "plan")}


def _read(checkpoint: Path, device: torch.device) -> dict[str, Any]:
    try:
        saved = torch.load(checkpoint, map_location=device, weights_only=True)  # noqa: TID251 - our own run, no code
        if {"network", "average", "optimiser", "step", "seconds", "loss", "plan"} <= saved.keys():
            return saved
    except Exception as error:  # torch raises many kinds for a file that is cut short or of another program
        raise BadInput(f"{checkpoint} cannot be read ({type(error).__name__}); remove it to start again") from None
    raise BadInput(f"{checkpoint} is no checkpoint of `meddiff train fit`; choose another output folder")


def _start(lesson: Lesson, checkpoint: Path, device: torch.device) -> _State:
    plan = lesson.plan
    torch.manual_seed(plan.seed)
    network = channels_last(lesson.build().to(device))
    optimiser = torch.optim.AdamW(lesson.groups(network), plan.training.learning_rate, (0.9, 0.99), weight_decay=1e-3)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state = _State(network, average, optimiser)
    if checkpoint.is_file():
        saved = _read(checkpoint, device)
        if not _same(plan, saved["plan"]):
            raise BadInput(f"{checkpoint} belongs to another plan; choose another output folder or remove it")
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        state.average = saved["average"]
        state.step, state.seconds, state.loss = saved["step"], saved["seconds"], saved["loss"]
    return state


def _same(plan: Course, text: str) -> bool:
    """Whether a checkpoint's plan is this one: read, not compared as text, since a key may have come with a default."""
    try:
        return type(plan).model_validate_json(text) == plan
    except ValidationError:
        return False


def _train_step(
    state: _State, lesson: Lesson, done: float, device: torch.device, precision: torch.dtype | None
) -> float:
    plan = lesson.plan
    _set_rate(state.optimiser, plan, state.step, done)
    with torch.autocast(device.type, precision, enabled=precision is not None):
        loss = lesson.loss(state.network, state.step, device)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for group in state.optimiser.param_groups:
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    state.optimiser.step()
    _update_average(state, plan.training.ema)
    return float(loss.detach())


def _set_rate(optimiser: torch.optim.Optimizer, plan: Course, step: int, done: float) -> None:
    warm = min(1.0, (step + 1) / max(plan.training.warmup, 1))
    for group in optimiser.param_groups:
        share = group.get("share", 1.0)
        group["lr"] = share * plan.training.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _update_average(state: _State, decay: float) -> None:
    decay = min(decay, (1 + state.step) / (10 + state.step))  # a young average forgets its random start
    for name, value in state.network.state_dict().items():
        if value.is_floating_point():
            state.average[name].lerp_(value, 1 - decay)
        else:  # a counter, say, has no average
            state.average[name].copy_(value)


def _save(state: _State, plan: Course, checkpoint: Path) -> None:
    saved = {
        "network": state.network.state_dict(),
        "average": state.average,
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "loss": state.loss,
        "plan": plan.model_dump_json(),
    }
    with whole(checkpoint) as part:
        torch.save(saved, part)
