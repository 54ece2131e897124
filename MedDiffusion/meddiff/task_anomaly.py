"""The task "anomaly": what should not be in a brain, found by comparison with its healthy twin."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .anomaly import COLUMNS
from .detection import Detection, detect
from .errors import BadInput, Notice
from .metrics import auprc, auroc, dice, lesion_recall
from .models import Model
from .registry import parameters_of
from .sampling import drain
from .task_types import Computed, OnProgress, ShouldStop, Table, Task, check_inputs, check_options, kinds_of
from .volume import Volume, read, resample_like, same_grid

if TYPE_CHECKING:
    from .job import Job

INPUTS = {
    "volume": "a 3D MR image of a brain without its skull",
    "mask": "where the brain is: an image that is not 0 there; found in the volume where it is left out",
    "reference": "the lesions that are there, as an image that is not 0 in them, to compare the result with",
}
OUTPUTS: tuple[str, ...] = ("healthy", "anomaly", "lesions", "uncertainty")
_OPTIONS = parameters_of(detect)
OPTION_KINDS = kinds_of(detect)


def _anomaly(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    check_inputs(job, INPUTS)
    options = check_options(job.options, OPTION_KINDS)
    volume = read(job.inputs["volume"])
    mask, reference = (read(job.inputs[name]) if name in job.inputs else None for name in ("mask", "reference"))
    truth = None if reference is None else _placed(reference, volume)
    common: dict[str, Any] = {"method": job.recipe, "parameters": job.parameters, "seed": job.seed, **options}
    began = time.monotonic()
    found = drain(detect(volume, model, mask=mask, **common), on_progress, should_stop)
    seconds = time.monotonic() - began
    volumes = dict(zip(OUTPUTS, (found.healthy, found.anomaly, found.lesions, found.spread), strict=True))
    figures = {
        "lesions": float(len(found.table)),
        "lesion_volume_mm3": sum(lesion.volume_mm3 for lesion in found.table),
        "threshold": found.threshold,
        "network_calls": float(found.calls),
    }
    if truth is not None:
        figures |= compare(truth, found)
    rows = tuple(tuple(round(value, 4) for value in lesion.row()) for lesion in found.table)
    tables = {"table": Table(COLUMNS, rows)}
    return Computed(volumes, figures, found.settings, found.megapixels, seconds, tables)


def compare(truth: np.ndarray, found: Detection) -> dict[str, float]:
    """How well lesions (Z, Y, X) were found: overlap, areas under the curves within the brain, the share of them that
    is touched, and how many regions touch none. Without a lesion in the reference only the last has a meaning."""
    labels, brain = found.lesions.array, found.brain.array
    touched = np.unique(labels[truth])
    figures = {"false_positives": float(len(found.table) - np.count_nonzero(touched))}
    if not (truth & brain).any():
        warnings.warn("the reference marks nothing within the brain: nothing to compare with", Notice, stacklevel=2)
        return figures
    figures |= {"dice": dice(truth, labels), "lesion_recall": lesion_recall(truth, labels)}
    inside, score = truth[brain], found.anomaly.array[brain]
    if inside.all():
        warnings.warn("the reference marks the whole brain: there are no areas under curves", Notice, stacklevel=2)
        return figures
    return figures | {"auprc": auprc(inside, score), "auroc": auroc(inside, score)}


def _placed(reference: Volume, volume: Volume) -> np.ndarray:
    """Where the reference is not 0, on the grid of `volume`."""
    marked = reference.with_array((np.nan_to_num(np.abs(reference.array)) > 0).astype(np.uint8))
    if same_grid(marked, volume):
        return marked.array > 0
    told = f"the reference {marked.shape} is of another grid than the volume {volume.shape}"
    warnings.warn(f"{told}: its nearest voxels were taken", Notice, stacklevel=3)
    placed = resample_like(marked, volume, "nearest").array > 0
    if marked.array.any() and not placed.any():
        raise BadInput("the reference lies elsewhere than the volume; expected lesions drawn on this volume")
    return placed


TASK = Task(INPUTS, OUTPUTS, _anomaly, {"volume": tuple(_OPTIONS.values())})
