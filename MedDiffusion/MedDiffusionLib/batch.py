"""Many volumes, one after the other, in one worker: what went wrong with one does not keep the others from it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from meddiff.errors import BadInput

from .choices import call_arguments
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


class BatchLogic(DiffusionLogic):
    """The logic of a task that is done for many volumes, too."""

    EACH: Mapping[str, str] = {}  # the argument of `process` by that of `processMany` which holds one for each volume

    def processMany(
        self,
        inputVolumes: Sequence[Any],
        *,
        onEvent: OnEvent | None = None,
        onDone: Callable[[Done], None] | None = None,
        shouldStop: Callable[[], bool] | None = None,
        **settings: Any,
    ) -> list[Done]:
        """
        The same as `process` for many volumes, one after the other; the model is loaded once. Blocks until all is done.

        What goes wrong with one volume does not keep the others from it: look at `problem` of its result. Results are
        named after their volume, and stand beside it.
        :param inputVolumes: the volumes
        :param onEvent: called with the worker's events
        :param onDone: called after each volume with its `source`, its `nodes` by name, and its `problem`, if any
        :param shouldStop: asked all the time; once it answers True, the volume at hand is left as it was and the rest
            are not begun, while the results of those before it stay
        :param settings: all other arguments of `process` but its outputs, for every volume; those named in `EACH` are
            lists of one for each volume, or None for a volume without
        :return: what became of the volumes, in their order; fewer than there are when it was stopped
        :raises TypeError: a setting is none of `process`
        :raises BadInput: the number of what is given for each is not that of the volumes
        """
        others = {name: settings.pop(plural, None) for plural, name in self.EACH.items()}
        calls = calls_of(self, inputVolumes, others, settings)
        return run_many(self, calls, onEvent=onEvent, onDone=onDone, shouldStop=shouldStop)


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


def calls_of(
    logic: Any, volumes: Sequence[Any], others: Mapping[str, Sequence[Any] | None], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The arguments of `process` for each volume, its own of the `others`, and the same settings.

    Raises TypeError for a setting that is none, or that names one output for all, and BadInput for `others` of another
    number.
    """
    rows = {name: _one_each(given, len(volumes)) for name, given in others.items()}
    if taken := {"showResult", *(role.parameter for role in logic.outputs())} & set(settings):
        raise TypeError(f"{', '.join(sorted(taken))} cannot be set for many volumes")
    signature, calls = inspect.signature(logic.process), []
    for number, volume in enumerate(volumes):
        call = signature.bind(volume, **{name: row[number] for name, row in rows.items()}, **settings)
        call.apply_defaults()
        calls.append(logic.withDefaults(call_arguments(call.arguments)))
    return calls


def _one_each(given: Sequence[Any] | None, count: int) -> list[Any]:
    """One for each volume; none of all where nothing was given. Raises BadInput."""
    found = [None] * count if given is None else list(given)
    if len(found) != count:
        raise BadInput(f"{len(found)} masks or references came for {count} volumes; expected one for each")
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
