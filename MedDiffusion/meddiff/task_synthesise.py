"""The task "synthesise": images of what is asked for, many at once, or the way from one to another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import BadInput
from .models import Model
from .registry import parameters_of
from .sampling import drain
from .synthesis import Synthesis, synthesise
from .task_types import Computed, OnProgress, ShouldStop, Table, Task, check_inputs, check_options, kinds_of
from .volume import Volume, read

if TYPE_CHECKING:
    from .job import Job

INPUTS = {"labels": "a label map that the images are to show, for a model of labelled images"}
OUTPUTS: tuple[str, ...] = ("samples",)
_OPTIONS = parameters_of(synthesise)
MAPS = ("covariates", "covariates_to")  # options that hold a number for each covariate of the model
_KINDS = kinds_of(synthesise) | dict.fromkeys(MAPS, dict)


def _synthesise(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    check_inputs(job, INPUTS)
    options = check_options(job.options, _KINDS)
    labels = read(job.inputs["labels"]) if "labels" in job.inputs else None
    common: dict[str, Any] = {"method": job.recipe, "parameters": job.parameters, "seed": job.seed, "labels": labels}
    began = time.monotonic()
    made = drain(synthesise(model, **common, **options), on_progress, should_stop)
    seconds = time.monotonic() - began
    figures = {"network_calls": float(made.calls), "images": float(len(made.images))}
    frames = any(options.get(name) is not None for name in ("other_seed", "covariates_to"))
    told = _table(made, job, frames)
    return Computed(_volumes(made, frames), figures, made.settings, made.megapixels, seconds, {"table": told})


def _volumes(made: Synthesis, frames: bool) -> Mapping[str, Volume]:
    """Frames one by one, for a sequence; else slices in one stack, and volumes one by one."""
    if frames:
        return {f"frame-{k}": image for k, image in enumerate(made.images)}
    if made.dims == 2:
        return {"samples": made.stack}
    return {f"sample-{k}": image for k, image in enumerate(made.images, start=1)}


def _table(made: Synthesis, job: Job, frames: bool) -> Table:
    """What was asked of each image, and the seed that it came from."""
    names = tuple(made.asked[0].covariates)
    columns = ("image", "seed", "label", "state", *names)
    rows = (
        (k, job.seed, a.label or "", a.state or "", *(round(a.covariates[n], 6) for n in names))
        for k, a in enumerate(made.asked, start=0 if frames else 1)
    )
    return Table(columns, tuple(rows))


TASK = Task(INPUTS, OUTPUTS, _synthesise, {"labels": tuple(_OPTIONS.values())})


def parse_covariates(pairs: list[str]) -> dict[str, float]:
    """`name=number` pairs; raises BadInput."""
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise BadInput(f"the covariate {pair} came; expected NAME=NUMBER, such as age=60") from None
    return found
