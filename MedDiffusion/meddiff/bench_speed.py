"""What a whole volume costs in time and memory, and what half precision changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .bench import TEST, Case, Row, bar, central_slices, quality
from .devices import has_fast_bf16, pick_device
from .job import Job
from .models import Model, load
from .reconstruction import reconstruct
from .sampling import drain
from .volume import Volume, read

CASE = Case("T1", 4, 1)
SLICES = 160


def whole_volume(data: Path, model: str, device: str, preset: str = "fast") -> Row:
    """A row for a volume of 160 slices, reconstructed by `meddiff run` in a process of its own, from file to file."""
    path = data / f"{TEST}_{CASE.contrast}.nii.gz"
    truth = read(path)
    with tempfile.TemporaryDirectory() as folder:
        options = {"acceleration": CASE.acceleration, "contrast": CASE.contrast, "preset": preset}
        job = Job("pnp", model, {"volume": str(path)}, f"{folder}/out", options, device=device)
        Path(folder, "job.json").write_text(job.to_json(), encoding="utf-8")
        seconds, peak = measured([sys.executable, "-m", "meddiff", "run", f"{folder}/job.json", "--json"])
        told = json.loads(Path(folder, "out", "provenance.json").read_text(encoding="utf-8"))
        image = read(Path(folder, "out", "reconstruction.nrrd"))
    row: Row = {"recipe": "pnp", "case": f"{CASE}, whole volume, {preset}", "slices": truth.shape[0]}
    row |= {"samples": told["settings"]["samples"], "calls": told["figures"]["network_calls"]}
    row |= quality(truth.array, image.array) | {"seconds": seconds, "seconds_per_slice": seconds / truth.shape[0]}
    return row | ({"peak_gib": peak / 2**30} if peak else {})


def precision(data: Path, model: str, device: str, slices: int = 6) -> list[Row]:
    """A row in float32 and one in bfloat16: the same job, its time, and the relative L2 difference of the two means;
    none where bfloat16 is no faster."""
    if not has_fast_bf16(pick_device(device)):
        return []
    volume = central_slices(data, TEST, CASE.contrast, 60, 60 // slices)
    rows, images = [], []
    for name in ("fp32", "bf16"):
        image, seconds = _timed(volume, load(model, device, name))
        images.append(image)
        row = {"recipe": "pnp", "case": f"{CASE}, {name}", "slices": volume.shape[0]}
        rows.append(row | quality(volume.array, image) | {"seconds_per_slice": seconds / volume.shape[0]})
    difference = float(np.linalg.norm(images[1] - images[0]) / np.linalg.norm(images[0]))
    rows[1] |= {"relative_l2": difference, "times_faster": rows[0]["seconds_per_slice"] / rows[1]["seconds_per_slice"]}
    return rows


def bars(rows: Sequence[Row]) -> list[Row]:
    """What was promised of speed, against what the rows say."""
    found = []
    for row in rows:
        if "seconds" in row:
            found.append(bar("seconds for 160 slices, fast preset", row["seconds"], "< 240", row["seconds"] < 240))
        if "peak_gib" in row:
            found.append(bar("peak memory of that, GiB", row["peak_gib"], "< 3", row["peak_gib"] < 3))
    return found


def _timed(volume: Volume, model: Model) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    run = reconstruct(volume, model, acquisition=CASE.acquisition, contrast=CASE.contrast, samples=2)
    return drain(run).mean.array, time.perf_counter() - began


def measured(command: list[str]) -> tuple[float, float | None]:
    """Seconds and peak memory (bytes; None where the system does not tell) of a command."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        if not hasattr(os, "wait4"):
            process.wait()
            return time.perf_counter() - began, None
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS tells bytes, Linux KiB
    return time.perf_counter() - began, float(usage.ru_maxrss * unit)
