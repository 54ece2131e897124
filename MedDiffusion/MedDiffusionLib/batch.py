"""Many volumes, one after the other, in one worker: what went wrong with one does not keep the others from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from .logic import DiffusionLogic, OnEvent
from .process import Worker
from .runner import Runner

Never = Callable[[], bool]


@dataclass(frozen=True)
class Done:
    """What became of one volume: the nodes that were made, by output name, or the sentence that says why there are
    none."""

    source: Any
    nodes: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def run_many(
    logic: DiffusionLogic,
    calls: Iterable[Mapping[str, Any]],
    *,
    onEvent: OnEvent | None = None,
    onDone: Callable[[Done], None] | None = None,
    shouldStop: Callable[[], bool] | None = None,
) -> list[Done]:
    """The jobs of these arguments of `process`, in their order; the model is loaded once.

    `shouldStop()` is asked all the time: when it turns true, the job that runs ends and leaves no trace, the results of
    those before it stay, and those after it are not begun. Each of the others is told by `onDone` when it has ended.
    """
    stop = shouldStop or (lambda: False)
    worker = logic.makeWorker(False) or Worker()
    found: list[Done] = []
    try:
        for arguments in calls:
            done = None if stop() else _one(logic, arguments, worker, onEvent, stop)
            if done is None:
                break
            found.append(done)
            if onDone is not None:
                onDone(done)
    finally:
        worker.stop()
    return found


def _one(
    logic: DiffusionLogic, arguments: Mapping[str, Any], worker: Worker, onEvent: OnEvent | None, stop: Never
) -> Done | None:
    """One job; None when it was stopped."""
    source, job = logic.source(arguments), None
    try:
        job = logic.makeJob(arguments)
        runner = Runner(job, worker=worker, keep_warm=True, on_event=onEvent or (lambda _event: None))
        result = runner.wait(lambda: runner.cancel() if stop() else None)
        if runner.failure is not None:
            stopped = runner.failure.kind == "cancelled"
            text = " ".join(part for part in (runner.failure.message, runner.failure.hint) if part)
            return None if stopped else Done(source, problem=text)
        made = logic.loadResults(result, source, arguments=arguments)
        logic.remember(result, arguments)
        return Done(source, made)
    except (OSError, ValueError, RuntimeError) as error:
        logging.exception(_("One volume of a batch was left out."))
        return Done(source, problem=str(error) or type(error).__name__)
    finally:
        if job is not None:
            logic.discard(job)
