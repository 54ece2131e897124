"""What a job computes, task by task: from its input files and options to volumes, figures and settings."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np

from .errors import BadInput, choose
from .metrics import SSIM_WINDOW, nmse, psnr, ssim
from .models import Model
from .reconstruction import Acquisition, reconstruct
from .registry import Parameter, parameters_of, recipes
from .sampling import Progress, drain
from .tiling import slices
from .volume import Volume, canonical, read

if TYPE_CHECKING:
    from .job import Job

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]
Computed = tuple[dict[str, Volume], dict[str, float], dict[str, Any]]  # volumes, figures, settings
WORDS = {str: "text", int: "a whole number", float: "a number", NoneType: "null"}


@dataclass(frozen=True)
class Task:
    """The files that a task takes, the volumes that it makes, the function that makes them, and its options."""

    inputs: Mapping[str, str]  # name: what it is
    outputs: tuple[str, ...]
    compute: Callable[[Job, Model, OnProgress | None, ShouldStop | None], Computed]
    options: tuple[Parameter, ...]

    def to_dict(self) -> dict[str, Any]:
        """All but the function, as plain JSON values."""
        options = [option.to_dict() for option in self.options]
        return {"inputs": dict(self.inputs), "outputs": list(self.outputs), "options": options}


def _reconstruct(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    kinds = acquisition_kinds() | {name: get_type_hints(reconstruct)[name] for name in OPTIONS}
    options = check_options(job.options, kinds)
    volume, mask = _inputs(job.inputs)
    if mask is not None and (given := {"pattern", "acceleration", "centre"} & set(options)):
        raise BadInput(f"a mask came, and {', '.join(sorted(given))} with it; the mask says it all: leave that out")
    acquisition = {name: options.pop(name) for name in acquisition_kinds() if name in options}
    run = reconstruct(
        volume,
        model,
        method=job.recipe,
        acquisition=Acquisition(**acquisition, mask=mask),
        parameters=job.parameters,
        seed=job.seed,
        **options,
    )
    result = drain(run, on_progress, should_stop)
    images = map(_magnitude, (result.mean, result.spread, result.first))
    volumes = dict(zip(TASKS["reconstruct"].outputs, images, strict=True))
    figures = {"data_residual": result.residual, "network_calls": float(result.calls)}
    for name in ("reconstruction", "zero-filled"):
        found = compare(_magnitude(volume), volumes[name], result.settings["plane"])
        figures |= {f"{figure}_{name}": value for figure, value in found.items()}
    return volumes, figures, result.settings


OPTIONS = ("contrast", "plane", "samples", "batch", "preset")  # of `reconstruct`, beside those of the acquisition
_KNOWN = parameters_of(Acquisition) | {name: parameters_of(reconstruct)[name] for name in OPTIONS}
TASKS = {
    "reconstruct": Task(
        {
            "volume": "a 3D image, undersampled in retrospect",
            "mask": "the sampling mask of a slice, k = 0 in its centre",
        },
        ("reconstruction", "uncertainty", "zero-filled"),
        _reconstruct,
        tuple(_KNOWN.values()),
    )
}


def catalogue() -> dict[str, Any]:
    """All tasks and recipes as plain JSON values: what a panel knows without loading the engine."""
    return {"tasks": {n: t.to_dict() for n, t in TASKS.items()}, "recipes": [recipe.to_dict() for recipe in recipes()]}


def acquisition_kinds() -> dict[str, Any]:
    """The options of an acquisition and their types; the mask is a file."""
    hints = get_type_hints(Acquisition)
    return {f.name: hints[f.name] for f in fields(Acquisition) if f.name != "mask"}


def check_options(options: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `options`, each known and of its type; raises BadInput."""
    for name, value in options.items():
        kind = kinds[choose(name, kinds, "option")]
        allowed = get_args(kind) or (kind,)
        whole = (int,) if float in allowed else ()  # 4 is a number as good as 4.0
        if not isinstance(value, (*allowed, *whole)) or isinstance(value, bool):
            raise BadInput(f"the option {name} must be {' or '.join(WORDS[k] for k in allowed)}, got {value!r}")
    return dict(options)


def compare(truth: Volume, image: Volume, plane: str) -> dict[str, float]:
    """PSNR (dB), SSIM of the slices across `plane`, NMSE; JSON has no infinity and tiny slices no SSIM: left out."""
    a, b = (slices(canonical(v)[0].array, plane)[:, 0].numpy() for v in (truth, image))
    measures = {"psnr": psnr, "ssim": ssim, "nmse": nmse}
    if min(a.shape[1:]) < SSIM_WINDOW:
        del measures["ssim"]
    figures = {name: measure(a, b) for name, measure in measures.items()}
    return {name: value for name, value in figures.items() if isfinite(value)}


def _magnitude(volume: Volume) -> Volume:
    """The magnitude of a complex volume, a real one as it is."""
    return volume.with_array(np.abs(volume.array)) if np.iscomplexobj(volume.array) else volume


def _inputs(inputs: Mapping[str, str]) -> tuple[Volume, np.ndarray | None]:
    """The volume and, if one is named, the sampling mask."""
    for name in inputs:
        choose(name, ("volume", "mask"), "input of this job")
    if "volume" not in inputs:
        raise BadInput("the job names no input 'volume'; add the path of a 3D image file")
    return read(inputs["volume"]), read_mask(inputs["mask"]) if "mask" in inputs else None


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """The array (Y, X) in a .npy or .npz file, or in an image file of one slice; raises BadInput."""
    import SimpleITK as sitk

    path = Path(path)
    if not path.is_file():
        raise BadInput(f"the mask {path} does not exist; check the path")
    try:
        if path.suffix not in (".npy", ".npz"):
            return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
        data = np.load(path, allow_pickle=False)
        if isinstance(data, np.ndarray):
            return data
        with data:
            arrays = {name: data[name] for name in data}
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[-1]
        expected = "expected .npy, .npz or an image of one slice"
        raise BadInput(f"the mask {path} cannot be read: {reason}; {expected}") from None
    if len(arrays) != 1:
        raise BadInput(f"the mask {path} holds {len(arrays)} arrays ({', '.join(arrays)}); expected one")
    return next(iter(arrays.values()))
