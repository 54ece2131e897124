"""The task "register": a moving image on a fixed one, the transform between them, and the way there."""

from __future__ import annotations

import time
import warnings
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .alignment import Matrix, frame
from .errors import BadInput, Notice
from .facing import composed
from .metrics import dice
from .models import Model
from .overlap import hd95
from .presegment import as_labels
from .recipes.register import TASK as TASK_NAME
from .registration import SAME, Frame, Registration, register
from .registry import find_recipe, parameters_of
from .sampling import drain
from .task_types import Computed, OnProgress, ShouldStop, Table, Task, check_inputs, check_options, kinds_of
from .vectors import Vectors, read_linear
from .volume import Volume, read, resample_like, same_grid

if TYPE_CHECKING:
    from .job import Job

INPUTS = {
    "volume": "the 3D image that moves",
    "fixed": "the 3D image that it is brought onto, on any grid",
    "moving_labels": "a label map of the moving image, to be brought along",
    "fixed_labels": "a label map of the fixed image, to compare that with",
    "initial": "a linear transform (.tfm, .txt, .h5, .mat) from points of the fixed image to points of the moving one",
}
OUTPUTS: tuple[str, ...] = ("warped", "displacement", "inverse", "jacobian", "labels")
_OPTIONS = parameters_of(register)
_KINDS = kinds_of(register)


def _register(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    check_inputs(job, INPUTS)
    options = check_options(job.options, _KINDS)
    find_recipe(job.recipe, TASK_NAME)
    if "fixed" not in job.inputs:
        raise BadInput("the job names no input 'fixed'; add the path of the 3D image that the other is brought onto")
    if Path(job.inputs["fixed"]).resolve() == Path(job.inputs["volume"]).resolve():
        raise BadInput(SAME)
    files = {name: read(path) for name, path in job.inputs.items() if name != "initial"}
    initial = read_linear(job.inputs["initial"]) if "initial" in job.inputs else None
    moving, fixed = files["volume"], files["fixed"]
    if same_grid(moving, fixed) and np.array_equal(moving.array, fixed.array):
        warnings.warn("both files hold the same image: there is nothing to register", Notice, stacklevel=2)
    carried = labels_of(files["moving_labels"], moving, "moving") if "moving_labels" in files else None
    truth = labels_of(files["fixed_labels"], fixed, "fixed") if "fixed_labels" in files else None
    about: dict[str, Any] = {"method": job.recipe, "parameters": job.parameters, "seed": job.seed, "initial": initial}
    began = time.monotonic()
    found = drain(register(moving, fixed, model, **about, **options), on_progress, should_stop)
    seconds = time.monotonic() - began
    volumes: dict[str, Volume | Vectors] = {"warped": found.warped, "displacement": found.displacement}
    volumes |= {"inverse": found.inverse} if found.inverse is not None else {}
    volumes["jacobian"] = found.jacobian
    figures = measures(found)
    if carried is not None:
        volumes["labels"] = carry(carried, found.displacement)
        if truth is not None:
            before = carry(carried, linear(found.before, fixed))
            figures |= overlaps(truth, before, volumes["labels"])
    figures["seconds"] = round(seconds, 3)
    volumes |= {f"frame-{k}": each for k, each in enumerate(found.frames)}
    tables = {"registration": Table(tuple(figures), (tuple(round(value, 6) for value in figures.values()),))}
    rows = tuple(tuple(round(value, 6) for value in frame) for frame in found.path)
    tables["path"] = Table(Frame._fields, rows)
    figures |= {"network_calls": float(found.calls)}
    return Computed(volumes, figures, found.settings, found.megapixels, seconds, tables)


def measures(found: Registration) -> dict[str, float]:
    """What a registration is worth without labels."""
    names = ("similarity_before", "similarity_affine", "similarity_after")
    figures = dict(zip(names, found.similarity, strict=True)) | {"folds_percent": found.folds}
    if found.consistency_mm is not None:
        figures["inverse_consistency_mm"] = found.consistency_mm
    return figures | {"displacement_mm": found.bent_mm}


def labels_of(labels: Volume, volume: Volume, word: str) -> Volume:
    """A label map that lies on an image; raises BadInput for one that does not."""
    labels = as_labels(labels, f"the label map of the {word} image")
    if not labels.array.any():
        raise BadInput(f"the label map of the {word} image is empty; draw one, or leave it out")
    if not same_grid(labels, volume, 0.01 * min(volume.spacing)):
        if not resample_like(labels, volume, "nearest").array.any():
            raise BadInput(f"the label map of the {word} image lies elsewhere than the image; expected one of it")
        warnings.warn(f"the label map of the {word} image lies on another grid than the image", Notice, stacklevel=2)
        labels = resample_like(labels, volume, "nearest") if word == "fixed" else labels
    return labels


def carry(labels: Volume, displacement: Vectors) -> Volume:
    """A label map on the grid of a displacement: of every voxel, the label with the largest share."""
    most, found = np.full(displacement.grid.shape, 0.5, np.float32), np.zeros(displacement.grid.shape, np.int64)
    present = [int(value) for value in np.unique(labels.array) if value]
    if len(present) > 1:  # where two labels share a voxel with the background, the largest share may be below a half
        whole = labels.with_array((labels.array == 0).astype(np.float32))
        most = displacement.resample(whole, outside=1.0).array
    for value in present:
        share = displacement.resample(labels.with_array((labels.array == value).astype(np.float32))).array
        found[share > most] = value
        most = np.maximum(most, share)
    kind = np.uint8 if max(present) < 256 else np.int32
    return displacement.grid.with_array(found.astype(kind))


def overlaps(truth: Volume, before: Volume, after: Volume) -> dict[str, float]:
    """Dice before and after, the mean over the labels of the truth, and that of each of them; HD95 (mm) after."""
    values = [int(value) for value in np.unique(truth.array) if value]
    each = [[dice(truth.array == k, made.array == k) for k in values] for made in (before, after)]
    figures = {"dice_before": float(np.mean(each[0])), "dice_after": float(np.mean(each[1]))}
    if len(values) > 1:
        figures |= {f"dice_{k}_after": value for k, value in zip(values, each[1], strict=True)}
    far = [hd95(truth.array == k, after.array == k, truth.spacing) for k in values]
    return figures | ({"hd95_mm": float(np.mean(far))} if all(map(isfinite, far)) else {})


def linear(matrix: Matrix, grid: Volume) -> Vectors:
    """A linear transform (LPS mm) as displacements on a grid."""
    return composed(grid, np.eye(4), None, matrix @ frame(grid))


TASK = Task(INPUTS, OUTPUTS, _register, {"volume": tuple(_OPTIONS.values())})
