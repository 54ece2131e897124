"""A job in a process of its own: one JSON object per line on standard output, nothing else.

`python -m meddiff.worker job.json` prints events `progress`, `preview`, `warning`, `result` and `error`.
"""

from __future__ import annotations

import base64
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from .errors import BadInput, Cancelled
from .job import Job, run
from .sampling import Progress

HINTS = {
    MemoryError: "there was not enough memory; close other programs, use fewer samples or a smaller batch",
    torch.OutOfMemoryError: "the GPU ran out of memory; use a smaller batch, or the device cpu",
}


def emit(event: str, **fields: Any) -> None:
    """Print one event as one line."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


class Reporter:
    """Turns Progress into events: at most ten a second, and a preview of the first image every `every` seconds."""

    def __init__(self, every: float = 1.0):
        self._began = self._shown = time.monotonic()
        self._told, self._every = 0.0, every

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < 0.1 and progress.step < progress.of:
            return
        self._told = now
        rate = progress.step / max(now - self._began, 1e-9)
        left = (progress.of - progress.step) / rate
        emit("progress", step=progress.step, of=progress.of, steps_per_second=round(rate, 3), seconds_left=round(left, 1))
        if progress.x0 is not None and now - self._shown >= self._every:
            self._shown = now
            emit("preview", **_picture(progress.x0))


def _picture(x0: torch.Tensor) -> dict[str, Any]:
    """The first image of a batch as 8-bit grey values: shape, and the bytes in base64."""
    image = x0[0].float().square().sum(0).sqrt().cpu()
    image = image[len(image) // 2] if image.ndim == 3 else image
    grey = (255 * image / image.amax().clamp_min(1e-6)).to(torch.uint8)
    return {"shape": list(grey.shape), "grey8": base64.b64encode(grey.numpy().tobytes()).decode()}


def main(arguments: list[str] | None = None) -> int:
    """Run the job in the file named; exit codes as on the command line: 0 done, 1 failed, 2 bad input, 130 cancelled."""
    names = sys.argv[1:] if arguments is None else arguments
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        if len(names) != 1:
            raise BadInput("expected one argument: the job's JSON file")
        result = run(Job.from_json(_read(Path(names[0]))), Reporter(), stop.is_set)
    except Cancelled as error:
        emit("error", kind="cancelled", message=str(error), hint="")
        return 130
    except BadInput as error:
        emit("error", kind="bad-input", message=str(error), hint="")
        return 2
    except Exception as error:  # the last line of defence: whatever it was comes back as a sentence
        hint = next((text for kind, text in HINTS.items() if isinstance(error, kind)), "")
        emit("error", kind=type(error).__name__, message=str(error) or type(error).__name__, hint=hint)
        return 1
    emit("result", outputs={k: str(v) for k, v in result.outputs.items()}, figures=result.figures)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the job {path}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
