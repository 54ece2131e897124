"""The task "inpaint": a segment of an image drawn anew, healthy or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadInput
from .inpainting import inpaint
from .models import Model
from .registry import parameters_of
from .sampling import drain
from .task_types import Computed, OnProgress, ShouldStop, Task, check_inputs, check_options, kinds_of
from .volume import read

if TYPE_CHECKING:
    from .job import Job

INPUTS = {
    "volume": "a 3D image",
    "mask": "what is painted over: an image, or a segment, that is not 0 there",
}
OUTPUTS: tuple[str, ...] = ("inpainted", "uncertainty")
_OPTIONS = parameters_of(inpaint)
_KINDS = kinds_of(inpaint)


def _inpaint(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    check_inputs(job, INPUTS)
    options = check_options(job.options, _KINDS)
    if "mask" not in job.inputs:
        raise BadInput("the job names no input 'mask'; add the path of an image that is not 0 where to paint")
    volume, mask = read(job.inputs["volume"]), read(job.inputs["mask"])
    common: dict[str, Any] = {"method": job.recipe, "parameters": job.parameters, "seed": job.seed}
    began = time.monotonic()
    found = drain(inpaint(volume, mask, model, **common, **options), on_progress, should_stop)
    seconds = time.monotonic() - began
    first, *more = found.images
    volumes = {"inpainted": first} | {f"inpainted-{k}": image for k, image in enumerate(more, start=2)}
    volumes |= {"uncertainty": found.spread} if found.spread is not None else {}
    inside = found.hidden.array
    change = np.abs(first.array[inside].astype(np.float64) - volume.array[inside]).mean()
    voxels = float(np.count_nonzero(inside))
    figures = {"volume_mm3": voxels * float(np.prod(volume.spacing)), "mean_change": float(change)}
    figures |= {"network_calls": float(found.calls)}
    return Computed(volumes, figures, found.settings, found.megapixels, seconds)


TASK = Task(INPUTS, OUTPUTS, _inpaint, {"volume": tuple(_OPTIONS.values())})
