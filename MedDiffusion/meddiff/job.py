"""A job is data: the same one runs from the panel, the console, the command line and a cluster, with the same voxels."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import __version__
from .devices import describe
from .errors import BadInput, choose
from .metrics import nmse, psnr, ssim
from .models import Model, load
from .reconstruction import Acquisition, reconstruct
from .registry import find_recipe
from .sampling import Progress, drain
from .volume import Volume, read, write

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Job:
    """What to run, on what, how, and where the results go. `options` belong to the task, `parameters` to the recipe."""

    recipe: str
    model: str
    inputs: Mapping[str, str]
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def to_json(self) -> str:
        """This job as JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`; raises BadInput for what is not a job."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadInput(f"the job is not JSON: {error}") from None
        if not isinstance(data, dict):
            raise BadInput(f"a job is a JSON object, got {type(data).__name__}")
        known = {f.name: f for f in fields(cls)}
        for key in data:
            choose(key, known, "key of a job")
        if missing := [name for name in ("recipe", "model", "inputs", "output") if name not in data]:
            raise BadInput(f"the job lacks {', '.join(missing)}")
        for name, kind in {"inputs": dict, "options": dict, "parameters": dict, "seed": int, "output": str}.items():
            if name in data and (not isinstance(data[name], kind) or isinstance(data[name], bool)):
                raise BadInput(f"{name} of a job must be {kind.__name__}, got {data[name]!r}")
        return cls(**data)


@dataclass(frozen=True)
class Result:
    """Files that a job wrote, figures that it measured, and the provenance of both."""

    outputs: dict[str, Path]
    figures: dict[str, float]
    provenance: dict[str, Any]


def run(job: Job, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> Result:
    """Run a job to its end. Raises BadInput before anything is written, Cancelled when `should_stop()` turns true.

    Files appear in `job.output` whole, and only after the last step: a run that stops early leaves nothing behind.
    """
    task = find_recipe(job.recipe).task
    volume = read(_input(job, "volume"))
    folder = _writable(Path(job.output))
    model = load(job.model, job.device, job.precision)
    began = time.monotonic()
    volumes, figures, used = _TASKS[task](job, volume, model, on_progress, should_stop)
    provenance = {
        "job": asdict(job),
        "settings": used,
        "figures": figures,
        "model": {"id": model.card.id, "version": model.card.version, "sha256": model.sha256},
        "device": describe(model.device),
        "precision": str(model.dtype).removeprefix("torch."),
        "seconds": round(time.monotonic() - began, 3),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"meddiff": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    return Result(_write_all(volumes, provenance, folder), figures, provenance)


def _reconstruct(
    job: Job, volume: Volume, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None
) -> tuple[dict[str, Volume], dict[str, float], dict[str, Any]]:
    acquired = {f.name for f in fields(Acquisition)}
    extra = {"contrast", "plane", "samples", "batch", "preset"}
    for name in job.options:
        choose(name, acquired | extra, "option of reconstruct")
    acquisition = Acquisition(**{k: v for k, v in job.options.items() if k in acquired})
    result = drain(
        reconstruct(
            volume,
            model,
            method=job.recipe,
            acquisition=acquisition,
            parameters=job.parameters,
            seed=job.seed,
            **{k: v for k, v in job.options.items() if k in extra},
        ),
        on_progress,
        should_stop,
    )
    volumes = {"reconstruction": result.mean, "uncertainty": result.spread, "zero-filled": result.first}
    figures = {"data_residual": result.residual, "network_calls": float(result.calls)}
    for name in ("reconstruction", "zero-filled"):
        for figure, measure in {"psnr": psnr, "ssim": ssim, "nmse": nmse}.items():
            figures[f"{figure}_{name}"] = measure(volume.array, volumes[name].array)
    real = {name: v.with_array(np.abs(v.array)) if np.iscomplexobj(v.array) else v for name, v in volumes.items()}
    return real, figures, result.settings


_TASKS = {"reconstruct": _reconstruct}


def _input(job: Job, name: str) -> str:
    for key in job.inputs:
        choose(key, {name}, "input of this job")
    if name not in job.inputs:
        raise BadInput(f"the job names no input {name!r}; add the path of a 3D image file")
    return job.inputs[name]


def _writable(folder: Path) -> Path:
    """`folder`, made if need be; raises BadInput when nothing can be written there, before an hour of computing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"cannot write to the output folder {folder}: {reason}; choose another folder") from None
    return folder


def _write_all(volumes: Mapping[str, Volume], provenance: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write every file into a hidden folder beside its place, then move them in: all or, on a full disk, none."""
    text = json.dumps(provenance, indent=2)
    try:
        with tempfile.TemporaryDirectory(prefix=".meddiff-", dir=folder) as temporary:
            names = {name: f"{name}.nrrd" for name in volumes} | {"provenance": "provenance.json"}
            for name, volume in volumes.items():
                write(volume, Path(temporary, names[name]), {"provenance": json.dumps(provenance["job"])})
            Path(temporary, names["provenance"]).write_text(text + "\n", encoding="utf-8")
            for name in names.values():
                os.replace(Path(temporary, name), folder / name)
    except OSError as error:
        raise BadInput(f"cannot write the results to {folder}: {error.strerror or error}") from None
    return {name: folder / file for name, file in names.items()}
