"""Jobs in a process of their own: one JSON object per line on standard output, nothing else.

`python -m meddiff.worker job.json` prints events `progress`, `preview`, `warning`, `result` and `error`.

`python -m meddiff.worker --serve [SECONDS]` takes one JSON object per line on standard input: {"run": JOB},
{"cancel": true}, {"describe": true} (answered by an event `system`) and {"quit": true}. It prints `ready` at once,
keeps models loaded between runs, and quits at the end of its input, or after so many idle seconds.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import platform
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from . import __version__
from .errors import BadInput, Cancelled, hint, short_of_memory
from .pipes import read_some
from .stopping import stop_on

if TYPE_CHECKING:
    import torch

    from .job import Job
    from .models import Loader
    from .sampling import Progress

IDLE = 900.0  # seconds after which a server that nobody needs gives the memory of its models back
PATIENCE = 10.0  # seconds for the step in hand, once nobody waits for the result any more


class Reporter:
    """Writes events, one a line. Called with Progress: at most ten a second, and a preview every `every` seconds."""

    def __init__(self, out: TextIO, every: float = 1.0):
        self._out, self._every = out, every
        self._began = self._shown = time.monotonic()
        self._done, self._told = 0, 0.0

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event as one line."""
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < 0.1 and progress.step < progress.of:
            return
        first, self._told = not self._told, now
        rate = (progress.step - self._done) / max(now - self._began, 1e-9)
        left = (progress.of - progress.step) / max(rate, 1e-9)
        if first:  # until then a model was loaded, which says nothing of the steps to come
            self._done, self._began = progress.step, now
        told = {"steps_per_second": round(rate, 3), "seconds_left": round(left, 1)}
        self.emit("progress", step=progress.step, of=progress.of, **told)
        if progress.x0 is not None and now - self._shown >= self._every:
            self._shown = now
            self.emit("preview", **_picture(progress.x0))


def _picture(x0: torch.Tensor) -> dict[str, Any]:
    """The first image of a batch as 8-bit grey values: shape, and the bytes in base64."""
    image = x0[0].float().square().sum(0).sqrt().cpu()
    image = image[len(image) // 2] if image.ndim == 3 else image
    grey = (255 * image / image.amax().clamp_min(1e-6)).byte()
    return {"shape": list(grey.shape), "grey8": base64.b64encode(grey.numpy().tobytes()).decode()}


def main(arguments: list[str], out: TextIO) -> int:
    """Run the job in the file named; exit codes as on the command line: 0 done, 1 failed, 2 bad input, 130 stopped."""
    if arguments[:1] == ["--serve"]:
        return serve(own_input(), out, *map(float, arguments[1:2]))
    with stop_on(signal.SIGINT, signal.SIGTERM) as should_stop:
        from .job import read_job  # seconds, in which a signal is only noted
        from .models import load

        def job() -> Job:
            if len(arguments) != 1:
                raise BadInput("expected one argument: the job's JSON file")
            return read_job(arguments[0])

        return _run(job, Reporter(out), should_stop, load)


def _run(job: Callable[[], Job], report: Reporter, should_stop: Callable[[], bool], loader: Loader) -> int:
    """Run one job. Whatever comes of it is the last event, and an exit code."""
    from .errors import notices
    from .job import run

    try:
        with notices(lambda message: report.emit("warning", message=message)):
            result = run(job(), report, should_stop, loader)
    except Cancelled as error:
        report.emit("error", kind="cancelled", message=str(error), hint="")
        return 130
    except BadInput as error:
        report.emit("error", kind="bad-input", message=str(error), hint="")
        return 2
    except Exception as error:  # the last line of defence: whatever it was comes back as a sentence
        name, place = type(error).__name__, short_of_memory(error)
        told: dict[str, str] = {"kind": "out-of-memory", "place": place} if place else {"kind": name}
        report.emit("error", message=str(error) or name, hint=hint(error), **told)
        return 1
    outputs = {name: str(path) for name, path in result.outputs.items()}
    report.emit("result", outputs=outputs, figures=result.figures, provenance=result.provenance)
    return 0


class Command(NamedTuple):
    """One line of a server's input: run, describe, quit, or unknown with a complaint as its content."""

    name: str
    content: Any = None
    stop: threading.Event = threading.Event()


class Commands:
    """What comes in on a pipe, in order, read by a thread of its own: a cancel is heard in the middle of a step."""

    def __init__(self, pipe: int):
        self._pipe = pipe
        self._waiting: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._runs: list[threading.Event] = []
        self._finished = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self, seconds: float) -> Command:
        """The next command; quit where none comes for so many seconds."""
        try:
            return self._waiting.get(timeout=min(seconds, threading.TIMEOUT_MAX))
        except queue.Empty:
            return Command("quit")

    def finish(self) -> None:
        """Says that the process ends by itself."""
        self._finished.set()

    def _listen(self) -> None:
        for line in self._lines():
            command = self._parse(line)
            if command.name == "quit":
                break
            if command.name == "cancel":
                self._cancel()
            else:
                self._waiting.put(command)
        self._cancel()
        self._waiting.put(Command("quit"))
        if not self._finished.wait(PATIENCE):  # a step may take longer than anybody waits
            os._exit(130)

    def _cancel(self) -> None:
        """Stops each run that was asked for before: one that comes later is another matter."""
        for stop in self._runs:
            stop.set()
        self._runs.clear()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while (data := read_some(self._pipe)) != b"":
            if data is None:
                time.sleep(0.05)
                continue
            *lines, rest = (rest + data).split(b"\n")
            yield from filter(None, map(bytes.strip, lines))

    def _parse(self, line: bytes) -> Command:
        try:
            ((name, content),) = json.loads(line).items()
            if name not in ("run", "cancel", "describe", "quit"):
                raise ValueError(name)
        except (ValueError, AttributeError, RecursionError):
            expected = "expected one line of JSON with run, cancel, describe or quit"
            return Command("unknown", f"{line[:80].decode('utf-8', 'replace')!r} is no command; {expected}")
        stop = threading.Event()
        if name == "run":
            self._runs.append(stop)
        return Command(name, content, stop)


def serve(pipe: int, out: TextIO, idle: float = IDLE) -> int:
    """Do what comes in on `pipe`, one command after the other, until it ends or nothing came for `idle` seconds."""
    commands, keeper = Commands(pipe), None
    try:
        Reporter(out).emit("ready", pid=os.getpid(), version=__version__)
        while (command := commands.next(idle)).name != "quit":
            report = Reporter(out)
            if command.name == "unknown":
                report.emit("error", kind="bad-input", message=command.content, hint="")
            elif command.name == "describe":
                report.emit("system", **_system())
            else:
                keeper = keeper or _keeper(report)
                if keeper and _serve_run(command, report, keeper):
                    return 130
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError:  # nobody reads the events any more
        return 1
    finally:
        commands.finish()


def _keeper(report: Reporter) -> Loader | None:
    """A loader that keeps models; None, and an error event, where the engine itself cannot be loaded."""
    try:
        from . import job  # noqa: F401 - so that whatever is not installed is missed here
        from .models import Keeper
    except Exception as error:  # a wheel for another computer fails in many ways
        report.emit("error", kind=type(error).__name__, message=str(error) or type(error).__name__, hint="")
        return None
    return Keeper()


def _serve_run(command: Command, report: Reporter, loader: Loader) -> bool:
    """Run one job of a server; true when a signal says that this was the last."""
    from .job import Job

    with stop_on(signal.SIGINT, signal.SIGTERM) as signalled:
        _run(
            lambda: Job.from_json(json.dumps(command.content)),
            report,
            lambda: command.stop.is_set() or signalled(),
            loader,
        )
    gc.collect()
    torch = sys.modules["torch"]
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # Slicer draws with the same memory
    return signalled()


def _system() -> dict[str, Any]:
    """What this process has to compute with, for people; torch is None where it cannot be loaded."""
    told: dict[str, Any] = {"python": platform.python_version(), "meddiff": __version__, "torch": None}
    try:
        import torch

        from .devices import survey
    except Exception as error:  # ImportError, or OSError for a library that does not fit
        nothing = {"devices": [], "threads": os.cpu_count() or 1, "memory": 0, "free": 0}
        return {**told, **nothing, "advice": f"PyTorch cannot be loaded: {_first_line(error)}"}
    told |= {"torch": torch.__version__, **survey()}
    try:
        from . import job  # noqa: F401 - all that a run needs
    except Exception as error:
        told["advice"] = f"the engine cannot be loaded: {_first_line(error)}"
    return told


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def own_input() -> int:
    """Standard input for commands alone: whatever else the process runs finds it empty."""
    pipe, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def own_output() -> TextIO:
    """Standard output for events alone: whatever else the process prints, a C library too, goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_output()))
