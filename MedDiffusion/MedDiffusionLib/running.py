"""A job between Apply and its end: a timer asks the worker what is new, and the window is never kept waiting."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from meddiff.errors import BadInput, notices

from .logic import DiffusionLogic
from .runner import Failure, Runner

INTERVAL = 50  # ms between two questions

OnEnd = Callable[[dict[str, Any], "dict[str, Any] | None", "Failure | None"], None]


class RunningJob:
    """Starts a job, hands its events on, loads its results once, and ends without a trace when it is cancelled.

    `onEnd(nodes, result, failure)` is called once, unless the job was abandoned: then nobody wants to know.
    """

    def __init__(
        self,
        logic: DiffusionLogic,
        arguments: Mapping[str, Any],
        onEvent: Callable[[dict[str, Any]], None],
        onEnd: OnEnd,
        keepWarm: bool = False,
    ) -> None:
        self.logic, self.arguments = logic, dict(arguments)
        self.cancelling = False
        self._onEvent, self._onEnd, self._keepWarm = onEvent, onEnd, keepWarm
        self._abandoned = False
        self._job: dict[str, Any] = {}
        self._runner: Runner | None = None
        self.began = time.monotonic()
        self.longest = 0.0  # s that one turn took of the window's time, the loading of the results apart
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self._tick)

    def start(self) -> None:
        """Export the input and start the worker. Raises BadInput."""
        with busy(), notices(lambda text: self._onEvent({"event": "warning", "message": text}), others=True):
            self._job = self.logic.makeJob(self.arguments)
        try:
            self._runner = self.logic.startJob(self._job, self._handOn, self._keepWarm)
        except BaseException:
            self.logic.discard(self._job)
            raise
        self._timer.start()

    def cancel(self) -> None:
        """Ask the worker to stop; `onEnd` tells when it has."""
        self.cancelling = True
        if self._runner is not None:
            self._runner.cancel()

    def abandon(self) -> None:
        """Stop at once and tell nobody: the scene, or the panel, is going away."""
        self._abandoned = True
        self._stopTimer()
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            runner.worker.stop(0)
            runner.poll()
        if self._job:
            self.logic.discard(self._job)

    def _handOn(self, event: dict[str, Any]) -> None:
        if not self._abandoned:
            self._onEvent(event)

    def _tick(self) -> None:
        if self._runner is None:
            return
        began = time.thread_time()
        going = self._runner.poll()
        self.longest = max(self.longest, time.thread_time() - began)
        if not going:
            self._stopTimer()
            self._end(self._runner)

    def _stopTimer(self) -> None:
        """A timer that is connected to this object would keep it alive."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)

    def _end(self, runner: Runner) -> None:
        made: dict[str, Any] = {}
        result, failure = runner.result, runner.failure
        self._runner = None
        try:
            if self.cancelling:
                result, failure = None, failure or Failure("cancelled", _("Cancelled."), "")
            elif result is not None:
                made = self._load(result)
        except BadInput as error:
            result, failure = None, Failure("bad-input", str(error), "")
        except Exception as error:  # whatever it was, the panel must come back to life and say so
            logging.exception("The results could not be loaded.")
            result, failure = None, Failure(type(error).__name__, str(error) or type(error).__name__, "")
        finally:
            self.logic.discard(self._job)
        self._onEnd(made, result, failure)

    def _load(self, result: Mapping[str, Any]) -> dict[str, Any]:
        with busy():
            made = self.logic.loadResults(result, self.logic.source(self.arguments), arguments=self.arguments)
        self.logic.remember(result, self.arguments)
        return made


@contextmanager
def busy() -> Iterator[None]:
    """The cursor says that the window is kept waiting for a moment."""
    slicer.app.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        yield
    finally:
        slicer.app.restoreOverrideCursor()
