"""`meddiff models ...` as a child process: checking and installing need packages that Slicer itself does not load."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from meddiff.errors import BadInput, Cancelled
from meddiff.places import installed

from ..process import Worker, python_command

TICK = 0.02  # seconds between two looks at the child


class Command:
    """One command that answers in JSON lines: call `poll()` until it is False, then see `result` and `failure`."""

    def __init__(self, *words: str, trace: str = "") -> None:
        self.words = words
        self._trace = trace  # what it leaves among the models when it is ended half-way, by its process id
        self.result: dict[str, Any] | None = None
        self.failure = ""
        self.done = 0  # bytes so far, of a download
        self.cancelled = False
        self._worker = Worker()

    def start(self) -> None:
        """Start the process; what keeps it from starting becomes the failure."""
        try:
            self._worker = Worker(python_command("-m", "meddiff", *self.words))
            self._worker.start()
        except OSError as error:
            self.failure = _("Python could not be started: {error}").format(error=error)

    def poll(self) -> bool:
        """Take in what the process has said since; whether it still runs."""
        if self.failure or self.cancelled:
            return False
        running = self._worker.running
        for event in self._worker.poll():
            self._take(event)
        if not running and self.result is None and not self.failure:
            said = next(iter(reversed(self._worker.tail)), "")
            self.failure = _("The command ended without an answer. {said}").format(said=said).strip()
        return running

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "progress":
            self.done = int(event.get("step", 0))
        elif kind == "result":
            self.result = event
        elif kind == "error":
            self.failure = " ".join(filter(None, (self.failure, event.get("message", ""), event.get("hint", ""))))

    def cancel(self) -> None:
        """End the process and its children, and what it was about to write."""
        self.cancelled = True
        self._worker.stop(grace=0)
        if self._trace and self._worker.pid:
            for folder in installed().glob(self._trace.format(pid=self._worker.pid)):
                shutil.rmtree(folder, ignore_errors=True)

    def wait(self, tick: Callable[[], None] | None = None) -> dict[str, Any]:
        """Start, wait and return the result; raises BadInput with the failure, or Cancelled."""
        self.start()
        while self.poll():
            if tick is not None:
                tick()
            time.sleep(TICK)
        if self.cancelled:
            raise Cancelled(_("The command was cancelled."))
        if self.failure or self.result is None:
            raise BadInput(self.failure)
        return self.result


def verify(folder: str | Path) -> Command:
    """Is every file of the model in this folder whole and unaltered?"""
    return Command("models", "verify", "--json", "--", str(folder))


def install(source: str | Path, sha256: str = "") -> Command:
    """Install a model from a folder, a zip file, or an https address with its sha256."""
    checksum = ("--sha256", sha256) if sha256 else ()
    return Command("models", "install", "--json", *checksum, "--", str(source), trace=".install-{pid}-*")


def ask_bundle(folder: str | Path) -> Command:
    """What does the MONAI bundle in this folder leave out?"""
    return Command("models", "import", "--ask", "--json", "--", str(folder))


def import_bundle(folder: str | Path, answers: dict[str, str]) -> Command:
    """Install the MONAI bundle in this folder, with these answers."""
    told = [f"--{name}={text}" for name, text in answers.items()]
    return Command("models", "import", "--json", *told, "--", str(folder), trace=".install-{pid}-*")


def remove(model: str) -> Command:
    """Remove an installed model."""
    return Command("models", "remove", "--json", "--", model)


def export(folder: str | Path, target: str | Path) -> Command:
    """Write the model in this folder to a zip file, once it is verified."""
    return Command("models", "export", "--json", "--", str(folder), str(target))
