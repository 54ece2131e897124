"""A job is data: the same one gives the same voxels in the panel, the console, the command line and on a cluster."""

from __future__ import annotations

import csv
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .devices import describe
from .errors import BadInput, choose
from .models import Loader, Model, load
from .registry import find_recipe
from .tasks import TASKS, Computed, OnProgress, ShouldStop
from .vectors import Vectors, write_vectors
from .volume import write

WORDS = {str: "text", int: "a whole number", dict: "an object"}


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
        """This job as JSON; raises BadInput when it holds what JSON has no word for."""
        try:
            return json.dumps(asdict(self), indent=2, default=os.fspath)
        except TypeError as error:
            raise BadInput(f"a job holds numbers, text and paths only: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`; raises BadInput for what is not a job."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadInput(f"the job is not JSON: {error}") from None
        if not isinstance(data, dict):
            raise BadInput(f"a job is a JSON object, got {type(data).__name__}")
        kinds = {"inputs": dict, "options": dict, "parameters": dict, "seed": int}  # the others are text
        for key, value in data.items():
            choose(key, (f.name for f in fields(cls)), "key of a job")
            _check_kind(f"{key} of the job", value, kinds.get(key, str))
        if missing := [name for name in ("recipe", "model", "inputs", "output") if name not in data]:
            raise BadInput(f"the job lacks {', '.join(missing)}")
        for name, path in data["inputs"].items():
            _check_kind(f"input {name} of the job", path, str)
        return cls(**data)


def read_job(path: str | os.PathLike[str]) -> Job:
    """The job in a JSON file; raises BadInput."""
    try:
        return Job.from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the job {path}: {error}") from None


@dataclass(frozen=True)
class Result:
    """Files that a job wrote, figures that it measured, and the provenance of both."""

    outputs: dict[str, Path]
    figures: dict[str, float]
    provenance: dict[str, Any]


def run(
    job: Job,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    loader: Loader = load,
) -> Result:
    """Run a job to its end. Raises BadInput before anything is written, Cancelled when `should_stop()` turns true.

    Files appear in `job.output` whole, and only after the last step: a run that stops early leaves nothing behind.
    A `loader` that keeps models between runs saves their loading.
    """
    job = Job.from_json(job.to_json())  # from Python, too, a job is what its JSON says
    began = time.monotonic()
    task = TASKS[find_recipe(job.recipe).task]
    _spare_inputs(job, task.outputs)
    with output_folder(job.output) as folder:
        model = loader(job.model, job.device, job.precision)
        made = task.compute(job, model, on_progress, should_stop)
        provenance = {
            "job": asdict(job),
            "settings": made.settings,
            "figures": made.figures,
            "model": _identity(model),
            "companions": {part: _identity(each) for part, each in model.companions.items()},
            "device": describe(model.device),
            "precision": str(model.dtype).removeprefix("torch."),
            "seconds": round(time.monotonic() - began, 3),
            # what the next run will take: the network calls of all images, in megapixels, and how long they took
            "speed": {
                "device": str(model.device),
                "megapixels": round(made.megapixels, 6),
                "seconds": round(made.seconds, 3),
            },
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": {"meddiff": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }
        return Result(_write_all(made, provenance, folder), made.figures, provenance)


def _identity(model: Model) -> dict[str, str]:
    return {"id": model.card.id, "version": model.card.version, "sha256": model.sha256}


@contextmanager
def output_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The folder, made if need be and found writable before an hour of computing; raises BadInput where it is not.

    When the run fails, the folders that were made for it go again.
    """
    folder = Path(path)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise BadInput(f"cannot write to the output folder {folder}: {reason}; choose another folder") from None
        yield folder
    except BaseException:
        with suppress(OSError):
            for each in made:
                each.rmdir()
        raise


def _spare_inputs(job: Job, outputs: tuple[str, ...]) -> None:
    """Raises BadInput when a result would take the place of an input."""
    for path in job.inputs.values():
        for name in outputs:
            if Path(path).resolve() == Path(job.output, f"{name}.nrrd").resolve():
                raise BadInput(f"the result {name}.nrrd would replace the input {path}; choose another output folder")


def _check_kind(what: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInput(f"{what} must be {WORDS[kind]}, got {value!r}")


def _write_all(made: Computed, provenance: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write every file into a hidden folder beside its place, then move them in: all or, on a full disk, none.

    An output is named as its file is, without the extension.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".meddiff-", dir=folder) as temporary:
            names = {name: f"{name}.nrrd" for name in made.volumes} | {name: f"{name}.csv" for name in made.tables}
            names["provenance"] = "provenance.json"
            for name, volume in made.volumes.items():
                file, about = Path(temporary, names[name]), {"provenance": json.dumps(provenance)}
                write_vectors(volume, file, about) if isinstance(volume, Vectors) else write(volume, file, about)
            for name, table in made.tables.items():
                with Path(temporary, names[name]).open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([table.columns, *table.rows])
            text = json.dumps(provenance, indent=2)
            Path(temporary, names["provenance"]).write_text(text + "\n", encoding="utf-8")
            for name in names.values():
                os.replace(Path(temporary, name), folder / name)
    except OSError as error:
        raise BadInput(f"cannot write the results to {folder}: {error.strerror or error}") from None
    return {name: folder / file for name, file in names.items()}
