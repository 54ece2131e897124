"""A child process that speaks JSON lines, asked now and then what is new.

No threads, since Python's do not run in Slicer while Qt idles, and no Qt: pipes that never block, and a clock.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from meddiff.pipes import read_some

from .words import _

ENGINE = Path(__file__).resolve().parents[1]  # the folder that the package `meddiff` lies in
WINDOWS = sys.platform == "win32"
CREATE_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
CREATE_NEW_PROCESS_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
BUDGET = 0.03  # seconds that one look at a talkative child may take
LINE = 2**26  # bytes; a picture has far fewer
SHOWN = 2000  # characters of a line that is no event
PIECE = 512  # bytes at a time into a pipe: Windows takes a piece whole or not at all
WAITS = (errno.EAGAIN, errno.ENOSPC)  # the pipe is full, as POSIX and as Windows says it

# What makes a Python behave as nobody expects of a child.
STRANGE = ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")


def default_command() -> list[str]:
    """The worker, which stays and takes one job after the other. Raises FileNotFoundError."""
    return python_command("-m", "meddiff.worker", "--serve")


def python_command(*arguments: str) -> list[str]:
    """Slicer's own Python with these arguments. Raises FileNotFoundError."""
    return [python(), *arguments]


def python() -> str:
    """PythonSlicer where Slicer runs, else the Python that runs this. Raises FileNotFoundError."""
    name = "PythonSlicer.exe" if WINDOWS else "PythonSlicer"
    home = _slicer_home()
    if home and Path(home, "bin", name).is_file():
        return str(Path(home, "bin", name))
    if home and (found := shutil.which("PythonSlicer")):
        return found
    if "python" in Path(sys.executable or "").name.lower():  # Slicer itself would start a second Slicer
        return sys.executable
    raise FileNotFoundError(_("Slicer's Python (PythonSlicer) was not found beside Slicer; install Slicer again."))


def environment(executable: str) -> dict[str, str]:
    """The environment of a child: that of Slicer, the engine to be found first, and nothing that changes a Python."""
    inherited = dict(os.environ)
    if "PYTHONHOME" in inherited and not _is_slicers(executable):  # another Python, which Slicer's libraries break
        slicer = sys.modules.get("slicer")
        inherited = dict(slicer.util.startupEnvironment()) if slicer is not None else inherited
        for name in ("PYTHONHOME", "PYTHONPATH"):
            inherited.pop(name, None)
    for name in STRANGE:
        inherited.pop(name, None)
    path = os.pathsep.join(filter(None, (str(ENGINE), inherited.get("PYTHONPATH", ""))))
    # safe path: a file random.py in the current folder is not the module random
    return {**inherited, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}


def _slicer_home() -> str:
    """The folder of the running Slicer; empty without one."""
    application = getattr(sys.modules.get("slicer"), "app", None)
    return str(getattr(application, "slicerHome", "") or "")


def _is_slicers(executable: str) -> bool:
    home = _slicer_home()
    return bool(home) and Path(home).resolve() in Path(executable).resolve().parents


class Lines:
    """Whole lines from pieces. A line beyond `LINE` bytes is cut: no child may fill the memory of Slicer."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._cut = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete."""
        first, *others = data.split(b"\n")
        if not others:
            self._keep(first)
            return []
        self._keep(first)
        *whole, last = others
        found = [bytes(self._rest), *whole]
        self._rest, self._cut = bytearray(), False
        self._keep(last)
        return found

    def end(self) -> list[bytes]:
        """The last line, when nobody ended it."""
        return [bytes(self._rest)] if self._rest else []

    def _keep(self, data: bytes) -> None:
        if self._cut:
            return
        self._rest += data
        if len(self._rest) > LINE:
            self._cut = True
            del self._rest[SHOWN:]


class Worker:
    """A child process and all its children. `send` to it, `poll` what it says, `stop` it; can be started again.

    `env` is set on top of `environment()`. What the child prints that is no event comes as {"event": "log", "text"}.
    """

    def __init__(self, command: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> None:
        self._command, self._env = command, dict(env or {})
        self._process: subprocess.Popen[Any] | None = None
        self._files: dict[str, IO[bytes]] = {}
        self._events: list[dict[str, Any]] = []
        self.pid: int | None = None  # as the child announced it: PythonSlicer starts another process and waits for it
        self.code: int | None = None  # exit code, or minus the signal that ended it
        self.tail: deque[str] = deque(maxlen=40)  # the last lines that were no events
        self.owner: Any = None  # whoever has it work

    def start(self) -> None:
        """Start the child. Raises OSError where that cannot be."""
        if self.running:
            return
        command = list(self._command) if self._command is not None else default_command()
        flags = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP
        alone: dict[str, Any] = {"creationflags": flags} if WINDOWS else {"start_new_session": True}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**environment(command[0]), **self._env},
            **alone,
        )
        self.pid = self.code = None
        self.tail.clear()
        self._out = bytearray()
        self._lines = {"stdout": Lines(), "stderr": Lines()}
        self._files = {name: getattr(self._process, name) for name in ("stdin", "stdout", "stderr")}
        for file in self._files.values():
            with suppress(AttributeError, OSError):  # Windows before Python 3.12; there reading never blocks anyway
                os.set_blocking(file.fileno(), False)

    @property
    def running(self) -> bool:
        """Whether the child lives. What it said last is still to be polled."""
        self._look()
        return self._process is not None

    def send(self, message: Mapping[str, Any]) -> None:
        """One line to the child; forgotten when it lives no more."""
        if self._process is not None:
            self._out += json.dumps(message).encode() + b"\n"
            self._write()

    def poll(self) -> list[dict[str, Any]]:
        """What the child has said since the last time. Returns at once."""
        self._look()
        events, self._events = self._events, []
        return events

    def kill(self) -> None:
        """End the child and all its children, without waiting: `running` tells when they are gone."""
        if self._process is None:
            return
        pids = dict.fromkeys(filter(None, (self._process.pid, self.pid)))
        if WINDOWS:
            _kill_trees(pids, self._process)
            return
        for pid in pids:
            with suppress(OSError):  # gone already
                _kill_group(os.getpgid(pid))

    def stop(self, grace: float = 0.5) -> None:
        """Ask the child to quit, end it and all its children after `grace` seconds, and wait until they are gone."""
        if self.running and grace > 0:
            self.send({"quit": True})
            self._wait(grace)
        if self.running:
            self.kill()
            self._wait(1.5)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            time.sleep(0.002)

    def _look(self) -> None:
        """Write what waits, read what is there, and notice the end."""
        if self._process is None:
            return
        code = self._process.poll()
        if code is not None and not WINDOWS:
            with suppress(OSError):  # its children would live on, and hold its pipes
                _kill_group(self._process.pid)
        until = time.monotonic() + BUDGET
        self._write()
        for name in self._lines:
            while self._read(name) and time.monotonic() < until:
                pass
        if code is not None:
            self._close(code)

    def _write(self) -> None:
        try:
            while self._out:
                done = os.write(self._files["stdin"].fileno(), self._out[:PIECE])
                if not done:
                    return
                del self._out[:done]
        except OSError as error:
            if error.errno not in WAITS:  # it has closed its input, and will end or has ended
                self._out.clear()

    def _read(self, name: str) -> bool:
        """Read a piece of one pipe; true where there may be more."""
        try:
            data = read_some(self._files[name].fileno())
        except OSError:
            return False
        for line in self._lines[name].feed(data or b""):
            self._take(name, line)
        return bool(data)

    def _take(self, name: str, line: bytes) -> None:
        """A line is an event when it comes on standard output and is one; anything else is for the log."""
        text = line.decode("utf-8", "replace").rstrip()
        event = None
        if name == "stdout" and text.startswith("{"):
            with suppress(ValueError, RecursionError):
                event = json.loads(text)
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            if event["event"] == "ready" and isinstance(event.get("pid"), int):
                self.pid = event["pid"]
            self._events.append(event)
        elif text:
            self.tail.append(text[:SHOWN])
            self._events.append({"event": "log", "stream": name, "text": text[:SHOWN]})

    def _close(self, code: int) -> None:
        self._process, self.code = None, code
        for name, lines in self._lines.items():
            for line in lines.end():
                self._take(name, line)
        for file in self._files.values():
            with suppress(OSError):
                file.close()


def _kill_group(group: int) -> None:
    """End a process and all that it started, unless that is all that we are."""
    if group != os.getpgrp():
        os.killpg(group, signal.SIGKILL)


def _kill_trees(pids: Iterable[int], first: subprocess.Popen[Any]) -> None:
    """The same on Windows, which knows no groups but keeps the parent of each process."""
    named = [word for pid in pids for word in ("/PID", str(pid))]
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    try:
        subprocess.Popen(["taskkill", "/F", "/T", *named], creationflags=CREATE_NO_WINDOW, **quiet)
    except OSError:
        first.kill()
