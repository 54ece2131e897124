"""A worker that computes nothing: it speaks the protocol, takes its time, and fails in the way that it is told to.

`python fake_worker.py MODE [SECONDS] [OUTPUT,OUTPUT,...]`; every output is a copy of the first input. With a folder in
the place of the outputs, its files are the results, and figures.json their figures.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

STEPS = 10
COMMANDS: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
CANCELLED = threading.Event()


def emit(event: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def listen() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if "cancel" in command:
            CANCELLED.set()
        COMMANDS.put(command)
    COMMANDS.put({"quit": True})
    if MODE != "deaf":
        os._exit(0)


def run(job: dict[str, Any]) -> None:
    if MODE == "bad-input":
        return emit("error", kind="bad-input", message="the volume is of no use; choose another", hint="")
    if MODE == "memory":
        return emit("error", kind="out-of-memory", place="the GPU", message="out of memory", hint="smaller batch")
    for step in range(1, STEPS + 1):
        if CANCELLED.is_set() and MODE != "deaf":
            CANCELLED.clear()
            return emit("error", kind="cancelled", message="stopped by the user", hint="")
        emit("progress", step=step, of=STEPS, steps_per_second=STEPS / SECONDS, seconds_left=SECONDS)
        if step == 1:
            emit("preview", shape=[2, 3], grey8="AECA/4BA")
            emit("warning", message="a word from the worker")
        if step == 4 and MODE == "crash":
            os._exit(3)
        if step == 4 and MODE == "kill":
            os.kill(os.getpid(), 9)
        if step == 4 and MODE == "noise":
            sys.stdout.write("not JSON\n")
            sys.stdout.flush()
        time.sleep(SECONDS / STEPS)
    folder = Path(job["output"])
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(job["inputs"].values()))
    if PREPARED.is_dir():
        outputs = {file.stem: str(shutil.copy(file, folder)) for file in PREPARED.iterdir() if file.suffix != ".json"}
        figures = json.loads((PREPARED / "figures.json").read_text())
        return emit("result", outputs=outputs, figures=figures, provenance={"job": job, "figures": figures})
    outputs = {name: str(folder / f"{name}.nrrd") for name in OUTPUTS}
    for path in outputs.values():
        shutil.copy(first, path)
    if MODE == "broken-file":
        Path(outputs[OUTPUTS[-1]]).write_text("this is no image")
    figures = {f"{m}_{o}": v for m, v in (("psnr", 30.0), ("ssim", 0.9)) for o in ("reconstruction", "zero-filled")}
    emit("result", outputs=outputs, figures=figures, provenance={"job": job, "seconds": SECONDS, "figures": figures})


def main() -> None:
    emit("ready", pid=os.getpid(), version="fake")
    threading.Thread(target=listen, daemon=True).start()
    while "quit" not in (command := COMMANDS.get()):
        if "run" in command:
            CANCELLED.clear()
            run(command["run"])
        elif "describe" in command:
            device = {
                "name": "cuda:7",
                "title": "Fake GPU",
                "memory": 8_000_000_000,
                "free": 1,
                "works": True,
                "why": "",
            }
            cpu = {"name": "cpu", "title": "Fake CPU", "memory": 0, "free": 0, "works": True, "why": ""}
            emit("system", python="3", torch=None, meddiff="fake", devices=[device, cpu], threads=1, memory=0)


if __name__ == "__main__":
    MODE = sys.argv[1]
    PREPARED = Path(sys.argv[3] if len(sys.argv) > 3 else "no such folder")
    SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 0.2
    OUTPUTS = sys.argv[3].split(",") if len(sys.argv) > 3 else ["reconstruction", "uncertainty", "zero-filled"]
    main()
