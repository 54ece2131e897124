"""A job in a process of its own: one JSON object per line on standard output, nothing else.

`python -m meddiff.worker job.json` prints events `progress`, `preview`, `warning`, `result` and `error`.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from .errors import BadInput, Cancelled, hint
from .stopping import stop_on

if TYPE_CHECKING:
    import torch

    from .sampling import Progress


class Reporter:
    """Writes events, one a line. Called with Progress: at most ten a second, and a preview every `every` seconds."""

    def __init__(self, out: TextIO, every: float = 1.0):
        self._out, self._every = out, every
        self._began = self._shown = time.monotonic()
        self._told = 0.0

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event as one line."""
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < 0.1 and progress.step < progress.of:
            return
        self._told = now
        rate = progress.step / max(now - self._began, 1e-9)
        left = (progress.of - progress.step) / rate
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
    with stop_on(signal.SIGINT, signal.SIGTERM) as should_stop:
        from .job import notices, read_job, run  # seconds, in which a signal is only noted

        report = Reporter(out)
        try:
            if len(arguments) != 1:
                raise BadInput("expected one argument: the job's JSON file")
            with notices(lambda message: report.emit("warning", message=message)):
                result = run(read_job(arguments[0]), report, should_stop)
        except Cancelled as error:
            report.emit("error", kind="cancelled", message=str(error), hint="")
            return 130
        except BadInput as error:
            report.emit("error", kind="bad-input", message=str(error), hint="")
            return 2
        except Exception as error:  # the last line of defence: whatever it was comes back as a sentence
            kind = type(error).__name__
            report.emit("error", kind=kind, message=str(error) or kind, hint=hint(error))
            return 1
        outputs = {name: str(path) for name, path in result.outputs.items()}
        report.emit("result", outputs=outputs, figures=result.figures)
        return 0


def own_output() -> TextIO:
    """Standard output for events alone: whatever else the process prints, a C library too, goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_output()))
