"""A job in the worker process, from its start to a result or to a sentence that says why there is none.

The caller asks `poll` now and then, from a timer of Qt; nothing here waits for the worker, except `wait`.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .process import Worker
from .words import _

Event = dict[str, Any]

BATCH = 8  # slices at a time, where the job does not say: the engine's default
POLITE = 0.8  # seconds in which a cancelled worker may end by itself
SURE = 2.0  # seconds after which nobody waits for a killed process any more
READY = 180.0  # seconds that Python may take to start: a virus scanner reads all of it first
LATEST = ("progress", "preview")  # of these, only the last one counts


@dataclass(frozen=True)
class Failure:
    """Why there is no result: a kind for programs, a sentence for people, and what they can do; maybe empty."""

    kind: str
    message: str
    hint: str = ""


class Runner:
    """One job in a worker. `state` is ready, running, then done, failed or cancelled; so long ask `poll`.

    Out of memory, it tries again with half as many slices at a time, down to one, then on the CPU, and says so by
    events `warning`. The worker ends with the job, unless it is to be kept warm; a cancelled one always ends.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        *,
        worker: Worker | None = None,
        keep_warm: bool = False,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.job = dict(job)
        self.worker = worker if worker is not None else shared_worker() if keep_warm else Worker()
        self.keep_warm = keep_warm
        self.state = "ready"
        self.result: Event | None = None
        self.failure: Failure | None = None
        self._on_event = on_event
        self._events: deque[Event] = deque()
        self._cancelled = self._closing = False
        self._killed: float | None = None
        self._since = 0.0
        self._heard = self._warm = False

    def start(self) -> None:
        """Start the worker, if it does not run yet, and the job. What goes wrong becomes the failure."""
        if self.state != "ready":
            raise RuntimeError("a runner runs once")
        if _is_busy(self.worker):
            self.worker, self.keep_warm = Worker(), False
        self.state, self.worker.owner = "running", self
        self.worker.poll()  # what it said before is not about this job
        self._launch()

    def poll(self) -> bool:
        """Hand on what the worker has said, and see after it; true so long as the job runs."""
        if self.state != "running":
            return False
        self._events.extend(_latest(self.worker.poll()))
        while self._events:  # one at a time: a callback that raises, or polls, loses none
            self._take(self._events.popleft())
        if self.state == "running":
            self._watch()
        return self.state == "running"

    def cancel(self) -> None:
        """Ask the worker to stop; `poll` kills it when it does not. It is gone within 2 s, and so are its children."""
        if self.state == "ready":
            self.state = "cancelled"
            self.failure = Failure("cancelled", _("Cancelled."))
        if self.state != "running" or self._cancelled:
            return
        self._cancelled, self._since = True, time.monotonic()
        self.result = self.failure = None
        self.worker.send({"cancel": True})
        self.worker.send({"quit": True})

    def wait(self, tick: Callable[[], None] | None = None) -> Event:
        """Run to the end, calling `tick` now and then: the result event, or an empty one beside a `failure`."""
        if self.state == "ready":
            self.start()
        try:
            while self.poll():
                if tick is not None:
                    tick()
                time.sleep(0.01)
        except BaseException:  # Ctrl-C, or the callback of somebody: nobody will poll any more
            self.worker.stop(0)
            self._end("cancelled")
            raise
        return self.result or {}

    # --- what the worker says

    def _launch(self) -> None:
        self._warm, self._heard, self._since = self.worker.running, False, time.monotonic()
        try:
            self.worker.start()
        except OSError as error:
            hint = _("Install Slicer again, or look into its folder for PythonSlicer.")
            message = _("Python could not be started: {error}").format(error=error)
            self._end("failed", Failure("no-python", message, hint))
            return
        self.worker.send({"run": self.job})

    def _take(self, event: Event) -> None:
        if self._cancelled or self._closing or self.state != "running":
            return
        kind = event["event"]
        self._heard |= kind not in ("log", "ready")
        if kind == "error":
            self._failed(event)
            return
        if kind == "result":
            if isinstance(event.get("outputs"), dict):
                self.result = event
            else:
                self.failure = self._unreadable()
            self._close()
        self._on_event(event)

    def _failed(self, event: Event) -> None:
        """An error of the job: try it again with less memory, or give up with what the worker says of it."""
        kind = str(event.get("kind") or "error")
        message, hint = str(event.get("message") or kind), str(event.get("hint") or "")
        if kind == "out-of-memory" and self._spare(str(event.get("place") or "")):
            return
        if kind in ("ModuleNotFoundError", "ImportError"):
            kind = "not-installed"
            message = _("The engine could not be loaded: {error}.").format(error=message.rstrip("."))
            hint = _("Press Set up in the module MedDiffusion, tab System.")
        elif kind not in ("bad-input", "cancelled", "out-of-memory"):
            message = f"{kind}: {message}" if message != kind else message
            hint = hint or _("This should not happen; please report it with the log.")
        self.failure = Failure(kind, message, hint)
        self._close()

    def _spare(self, place: str) -> bool:
        """Run the job again with less memory, and say so; false where nothing is left to try."""
        options = dict(self.job.get("options") or {})
        batch = options.get("batch", BATCH)
        ran_out = _("The computer ran out of memory") if place == "the computer" else _("The GPU ran out of memory")
        if isinstance(batch, int) and batch > 1:
            self.job["options"] = {**options, "batch": batch // 2}
            again = _("{ran_out} with {batch} slices at a time; trying again with {half}.")
        elif place != "the computer" and self.job.get("device") != "cpu":
            self.job["device"] = "cpu"
            again = _("{ran_out} even with one slice at a time; trying again on the CPU, which takes longer.")
        else:
            return False
        self._launch()
        self._on_event({"event": "warning", "message": again.format(ran_out=ran_out, batch=batch, half=batch // 2)})
        return True

    # --- what becomes of the worker

    def _watch(self) -> None:
        """Notice that the worker has ended, or does not want to."""
        waited = time.monotonic() - self._since
        if not self.worker.running:
            for event in self.worker.poll():  # its last words
                self._take(event)
            if self.worker.running:
                return  # started again with less memory
            if self._cancelled or self._closing:
                self._end(self._outcome())
            elif self._warm and not self._heard and self.worker.code == 0:
                self._launch()  # it was idle for too long, and quit while the job was on its way
            elif self.state == "running":
                self._end("failed", self._death())
        elif self._killed is not None:
            if time.monotonic() - self._killed > SURE:  # the system takes its time: the result does not
                self._end(self._outcome())
        elif self._cancelled and waited > POLITE:
            self._kill()
        elif self.worker.pid is None and not self._cancelled and waited > READY:
            message = _("The worker process gave no sign of life for {seconds:.0f} s.").format(seconds=waited)
            hint = _("Try again; if it stays so, look whether a virus scanner holds it up.")
            self.failure = Failure("no-answer", message, hint)
            self._closing = True
            self._kill()

    def _close(self) -> None:
        """The job is at its end; so is the worker, unless it is kept."""
        self._closing = True
        if self.keep_warm and self.worker.running:
            self._end(self._outcome())
        else:
            self._kill()  # the files are whole: there is nothing that it could still do

    def _kill(self) -> None:
        self._killed = time.monotonic()
        self.worker.kill()

    def _outcome(self) -> str:
        return "cancelled" if self._cancelled else "failed" if self.result is None else "done"

    def _end(self, state: str, failure: Failure | None = None) -> None:
        self.failure = failure or self.failure
        if state == "cancelled" or (self.failure and self.failure.kind == "cancelled"):
            state, self.result, self.failure = "cancelled", None, Failure("cancelled", _("Cancelled."))
        self.state = state
        if self.worker.owner is self:
            self.worker.owner = None

    def _death(self) -> Failure:
        """Why a worker that nobody stopped has ended."""
        code, last = self.worker.code or 0, next(reversed(self.worker.tail), "")
        if "ModuleNotFoundError" in last or "ImportError" in last:
            message = _("The worker process could not be started: {error}").format(error=last)
            return Failure("not-installed", message, _("Press Set up in the module MedDiffusion, tab System."))
        if code in (-9, -15, 137, 143) or "exit abnormally" in last:  # so says PythonSlicer of its child
            message = _("The worker process was ended by the system.")
            hint = _("Most often the computer ran out of memory: close other programs, or take fewer slices at a time.")
            return Failure("killed", message, hint)
        if code == 0:
            return self._unreadable()
        name = _crash(code)
        message = _("The worker process crashed ({name}).").format(name=name)
        if last:
            message += " " + _("Its last words: {last}").format(last=last)
        hint = _("Try again on the CPU; if that works, update the driver of the GPU. The log tells more.")
        return Failure("crashed", message, hint)

    def _unreadable(self) -> Failure:
        last = next(reversed(self.worker.tail), "")
        message = _("The worker process ended without a result that can be read.")
        if last:
            message += " " + _("Its last words: {last}").format(last=last)
        return Failure("unreadable", message, _("Press Set up again in the module MedDiffusion, tab System."))


def _latest(events: list[Event]) -> list[Event]:
    """The events without the progress and the pictures that newer ones have overtaken."""
    last = {event["event"]: number for number, event in enumerate(events)}
    return [e for n, e in enumerate(events) if e["event"] not in LATEST or last[e["event"]] == n]


def _crash(code: int) -> str:
    """An exit code as people look it up."""
    if code < 0:
        return _("signal {number}").format(number=-code)
    return hex(code) if sys.platform == "win32" and code > 255 else _("exit code {code}").format(code=code)


# --- a worker that stays loaded between runs

_shared: list[Worker] = []


def shared_worker() -> Worker:
    """The worker that is kept warm, which starts with its first job; after some idle minutes it ends by itself."""
    if not _shared:
        _shared.append(Worker())
        atexit.register(close_shared_worker)
    return _shared[0]


def close_shared_worker() -> None:
    """End the worker that is kept warm: at once, or, when it has a job in hand, after that."""
    while _shared:
        worker = _shared.pop()
        if _is_busy(worker):
            worker.owner.keep_warm = False
        else:
            worker.stop(0)


def _is_busy(worker: Worker) -> bool:
    return worker.owner is not None and worker.owner.state == "running"
