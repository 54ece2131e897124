"""Children for the tests of the worker process: a few lines of Python each, and nobody may be left of them."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from MedDiffusionLib.process import Worker

PROC = Path("/proc")
sees_processes = pytest.mark.skipif(not PROC.is_dir(), reason="needs /proc to see every process")
HEAD = """
import json, os, select, signal, subprocess, sys, time
def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)
def hear():
    return json.loads(sys.stdin.readline() or '{"quit": true}')
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600; sleep 600"])
RESULT = {"outputs": {"reconstruction": "r.nrrd"}, "figures": {}, "provenance": {}}
"""
READY = 'emit("ready", pid=os.getpid(), version="0")\n'
# Steps as fast as they come, until it is told to stop; then it may have to be asked twice.
STEPPING = """
job = hear()["run"]
child = stubborn() if job.get("child") else None
for step in range(1, job["steps"] + 1):
    emit("progress", step=step, of=job["steps"], steps_per_second=1.0, seconds_left=0.0)
    time.sleep(0.002)
    if not job.get("deaf") and select.select([sys.stdin], [], [], 0)[0]:
        emit("error", kind="cancelled", message="stopped", hint="")
        sys.exit(130)
emit("result", **RESULT)
hear()
"""

Make = Callable[..., Worker]


def alive(mark: str) -> list[str]:
    """The command lines of all processes that were started with this mark, however far down."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def zombies() -> list[str]:
    """Children of ours that ended and that nobody asked for their exit code."""
    found = []
    for file in PROC.glob("[0-9]*/stat"):
        try:
            name, _, rest = file.read_text().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state == "Z" and int(parent) == os.getpid():
            found.append(name)
    return found


def gone(mark: str, seconds: float = 2.0) -> bool:
    """Whether all of them are, before so many seconds have passed: the system takes a moment to bury a process."""
    until = time.monotonic() + seconds
    while alive(mark) and time.monotonic() < until:
        time.sleep(0.005)
    return not alive(mark)


@contextmanager
def nursery(folder: Path, mark: str) -> Iterator[Make]:
    """Makes workers of a few lines of Python; at the end none of them may be left, and nobody that they started."""

    def make(body: str, ready: bool = True) -> Worker:
        script = folder / f"fake-{uuid.uuid4().hex}.py"
        script.write_text(HEAD + (READY if ready else "") + body, encoding="utf-8")
        made.append(Worker([sys.executable, "-IS", str(script)], {"MEDDIFF_TEST": mark}))
        return made[-1]

    made: list[Worker] = []
    yield make
    for worker in made:
        worker.stop(0)
    assert gone(mark), alive(mark)
    assert zombies() == []


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.002)
    raise AssertionError("it never came")


def all_of(worker: Worker) -> list[dict[str, Any]]:
    """Everything that a worker says until it ends."""
    events: list[dict[str, Any]] = []
    while worker.running:
        events += worker.poll()
        time.sleep(0.001)
    return events + worker.poll()
