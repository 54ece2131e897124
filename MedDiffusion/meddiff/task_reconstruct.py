"""The task "reconstruct": an image from a part of its k-space, simulated or recorded."""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from .errors import BadInput, choose
from .metrics import SSIM_WINDOW, nmse, psnr, ssim
from .models import Model
from .rawfiles import read_raw
from .reconstruction import Acquisition, magnitude, reconstruct
from .recorded import reconstruct_raw
from .registry import parameters_of
from .sampling import drain
from .task_types import Computed, OnProgress, ShouldStop, Task, check_options
from .tiling import slices
from .volume import Volume, canonical, read, require_usable, resample_like, same_grid

if TYPE_CHECKING:
    from .job import Job

INPUTS = {
    "volume": "a 3D image, undersampled in retrospect",
    "kspace": "raw k-space in the place of a volume: fastMRI or ISMRMRD (.h5), .npz or .npy",
    "mask": "which samples of each slice to use (Y, X), k = 0 in its centre",
    "reference": "an image to compare the result with",
}
OUTPUTS: tuple[str, ...] = ("reconstruction", "uncertainty", "residual", "zero-filled")


def _reconstruct(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    for name in job.inputs:
        choose(name, INPUTS, "input of this job")
    if ("volume" in job.inputs) == ("kspace" in job.inputs):
        came = "both an input 'volume' and an input 'kspace'" if "volume" in job.inputs else "no input 'volume'"
        raise BadInput(f"the job names {came}; add the path of a 3D image file, or of one of raw k-space as 'kspace'")
    main = "volume" if "volume" in job.inputs else "kspace"
    options = check_options(job.options, OPTION_KINDS[main])
    mask = read_mask(job.inputs["mask"]) if "mask" in job.inputs else None
    if mask is not None and (given := {"pattern", "acceleration", "centre"} & set(options)):
        raise BadInput(f"a mask came, and {', '.join(sorted(given))} with it; the mask says it all: leave that out")
    acquisition = {name: options.pop(name) for name in acquisition_kinds() if name in options}
    chosen = Acquisition(**acquisition, mask=mask)
    common: dict[str, Any] = {"method": job.recipe, "parameters": job.parameters, "seed": job.seed, **options}
    volume, reference = None, read(job.inputs["reference"]) if "reference" in job.inputs else None
    if main == "volume":
        volume = read(job.inputs["volume"])
        run = reconstruct(volume, model, acquisition=chosen, **common)
    else:
        undersampling = chosen if acquisition or mask is not None else None
        run = reconstruct_raw(read_raw(job.inputs["kspace"]), model, undersampling=undersampling, **common)
    began = time.monotonic()
    result = drain(run, on_progress, should_stop)
    seconds = time.monotonic() - began
    images = map(magnitude, (result.mean, result.spread, result.leftover, result.first))
    volumes = dict(zip(OUTPUTS, images, strict=True))
    figures = {"data_residual": result.residual, "network_calls": float(result.calls)}
    truth = result.reference if reference is None else place_reference(reference, result.mean, main == "kspace")
    truth = volume if truth is None else truth
    if truth is not None:
        for name in ("reconstruction", "zero-filled"):
            image = volumes[name]
            # raw k-space has units of its own
            image = _fitted(image, truth) if main == "kspace" and reference is not None else image
            found = compare(magnitude(truth), image, result.settings["plane"])
            figures |= {f"{figure}_{name}": value for figure, value in found.items()}
    return Computed(volumes, figures, result.settings, result.megapixels, seconds)


def place_reference(reference: Volume, image: Volume, loose: bool) -> Volume:
    """A reference on the grid of `image`, interpolated if need be; `loose` takes one of the same size as it is, since
    raw data seldom tell where they lie. Raises BadInput."""
    require_usable(reference, "the reference")
    if reference.shape == image.shape and (loose or same_grid(reference, image)):
        return image.with_array(magnitude(reference).array)
    placed = resample_like(magnitude(reference), image)
    if not placed.array.any():
        raise BadInput(
            f"the reference, {reference.shape} (Z, Y, X), lies elsewhere than the image, {image.shape}; "
            "expected one of the same size, or in the same place"
        )
    return placed


def _fitted(image: Volume, reference: Volume) -> Volume:
    """`image` times the number that brings it nearest to `reference`."""
    a, b = image.array.astype(np.float64), magnitude(reference).array
    return image.with_array((a * (np.sum(a * b) / max(np.sum(a * a), 1e-300))).astype(np.float32))


UNDERSAMPLING = ("pattern", "acceleration", "centre", "mask_seed")  # of an acquisition; recorded data may have less
SHARED = ("contrast", "samples", "batch", "preset")
_SIMULATED = parameters_of(Acquisition) | {name: parameters_of(reconstruct)[name] for name in ("plane", *SHARED)}
_RECORDED = parameters_of(reconstruct_raw)
_HINTS = get_type_hints(Acquisition)
OPTION_KINDS: dict[str, dict[str, Any]] = {
    "volume": {name: (_HINTS | get_type_hints(reconstruct))[name] for name in _SIMULATED},
    "kspace": {name: (_HINTS | get_type_hints(reconstruct_raw))[name] for name in (*UNDERSAMPLING, *_RECORDED)},
}
TASK = Task(INPUTS, OUTPUTS, _reconstruct, {"volume": tuple(_SIMULATED.values()), "kspace": tuple(_RECORDED.values())})


def acquisition_kinds() -> dict[str, Any]:
    """The options of an acquisition and their types; the mask is a file."""
    hints = get_type_hints(Acquisition)
    return {f.name: hints[f.name] for f in fields(Acquisition) if f.name != "mask"}


def compare(truth: Volume, image: Volume, plane: str) -> dict[str, float]:
    """PSNR (dB), SSIM of the slices across `plane`, NMSE; JSON has no infinity and tiny slices no SSIM: left out."""
    a, b = (slices(canonical(v)[0].array, plane)[:, 0].numpy() for v in (truth, image))
    measures = {"psnr": psnr, "ssim": ssim, "nmse": nmse}
    if min(a.shape[1:]) < SSIM_WINDOW:
        del measures["ssim"]
    figures = {name: measure(a, b) for name, measure in measures.items()}
    return {name: value for name, value in figures.items() if isfinite(value)}


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
