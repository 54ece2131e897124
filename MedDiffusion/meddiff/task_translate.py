"""The task "translate": one contrast of a body from others, with where it is unsure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadInput
from .models import Model
from .registry import parameters_of
from .sampling import drain
from .task_reconstruct import compare, place_reference
from .task_types import Computed, OnProgress, ShouldStop, Task, check_inputs, check_options, kinds_of
from .translation import translate
from .volume import Volume, read

if TYPE_CHECKING:
    from .job import Job

CHANNELS = ("volume", "volume2", "volume3")
INPUTS = {
    "volume": "a 3D image in one contrast",
    "volume2": "the same body in a second contrast",
    "volume3": "and in a third",
    "reference": "an image in the wanted contrast, to compare the result with",
}
OUTPUTS: tuple[str, ...] = ("translated", "uncertainty", "sample")
_OPTIONS = parameters_of(translate)
_KINDS = kinds_of(translate)


def _translate(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    check_inputs(job, INPUTS)
    options = check_options(job.options, _KINDS)
    if "volume3" in job.inputs and "volume2" not in job.inputs:
        raise BadInput("the job names an input 'volume3' and no 'volume2'; expected them in this order")
    files = {name: read(path) for name, path in job.inputs.items()}
    volume, others = files["volume"], [files[name] for name in CHANNELS[1:] if name in files]
    common: dict[str, Any] = {"method": job.recipe, "parameters": job.parameters, "seed": job.seed, "others": others}
    began = time.monotonic()
    found = drain(translate(volume, model, **common, **options), on_progress, should_stop)
    seconds = time.monotonic() - began
    volumes = dict(zip(OUTPUTS, (found.mean, found.spread, found.sample), strict=True))
    figures = {"network_calls": float(found.calls)}
    if "reference" in files:
        scale = model.intensity.fit(volume.array)
        for name in ("translated", "sample"):
            figures |= measured(files["reference"], volumes[name], model, scale, name)
    return Computed(volumes, figures, found.settings, found.megapixels, seconds)


def measured(reference: Volume, image: Volume, model: Model, scale: Any, name: str) -> dict[str, float]:
    """PSNR (dB), SSIM and NMSE against a reference, each scaled by its own brightest tissue."""
    placed = place_reference(reference, image, False)
    truth = placed.with_array(np.asarray(model.intensity.fit(placed.array).forward(placed.array), np.float32))
    mine = image.with_array(np.asarray(scale.forward(image.array), np.float32))
    return {f"{figure}_{name}": value for figure, value in compare(truth, mine, "axial").items()}


TASK = Task(INPUTS, OUTPUTS, _translate, {"volume": tuple(_OPTIONS.values())})
