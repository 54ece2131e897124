"""The task "segment": a label map of an image, with how probable and how sure it is."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from .errors import BadInput, Notice
from .metrics import dice
from .models import Model
from .overlap import hd95
from .presegment import as_labels
from .recipes.segment import TASK as TASK_NAME
from .registry import find_recipe, parameters_of
from .sampling import drain
from .segmentation import Segmentation, played, segment, segment_names
from .task_types import Computed, OnProgress, ShouldStop, Table, Task, check_inputs, check_options, kinds_of
from .volume import Volume, read, resample_like, same_grid

if TYPE_CHECKING:
    from .job import Job

CHANNELS = ("volume", "volume2", "volume3", "volume4")
INPUTS = {
    "volume": "a 3D image",
    "volume2": "the second channel of a model that wants several",
    "volume3": "the third channel",
    "volume4": "the fourth channel",
    "first": "a segmentation that pd-ddpm starts from: a label map on any grid",
    "reference": "a label map to compare the result with",
}
OUTPUTS: tuple[str, ...] = ("labels", "probability", "uncertainty")
_OPTIONS = parameters_of(segment)
_KINDS = kinds_of(segment)


def _segment(job: Job, model: Model, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Computed:
    check_inputs(job, INPUTS)
    options = check_options(job.options, _KINDS)
    files = {name: read(path) for name, path in job.inputs.items()}
    names = segment_names(played(model, find_recipe(job.recipe, TASK_NAME)))
    truth = reference_on(files["volume"], files["reference"], names) if "reference" in files else None
    run = segment(
        files["volume"],
        model,
        method=job.recipe,
        parameters=job.parameters,
        seed=job.seed,
        others=[files[name] for name in CHANNELS[1:] if name in files],
        first=files.get("first"),
        **options,
    )
    began = time.monotonic()
    result = drain(run, on_progress, should_stop)
    seconds = time.monotonic() - began
    each = {f"probability-{k}": result.each[name] for k, name in enumerate(names, start=1)} if len(names) > 1 else {}
    volumes = {"labels": result.labels, "probability": result.probability, "uncertainty": result.uncertainty, **each}
    figures: dict[str, float] = {"network_calls": float(result.calls)}
    if result.quality is not None:
        figures["predicted_dice"] = result.quality
    rows = measures(result)
    if truth is not None:
        compared = compare_labels(truth, result)
        rows = {name: {**row, **compared.get(name, {})} for name, row in rows.items()}
        for figure in ("dice", "hd95_mm"):
            values = [row[figure] for row in compared.values() if figure in row]
            if values and all(map(isfinite, values)):
                figures[figure] = float(np.mean(values))
    columns = ("segment", "label", *dict.fromkeys(key for row in rows.values() for key in row))
    table = [(name, k, *(row.get(c, "") for c in columns[2:])) for k, (name, row) in enumerate(rows.items(), start=1)]
    tables = {"segments": Table(columns, tuple(table))}
    return Computed(volumes, figures, result.settings, result.megapixels, seconds, tables)


def measures(result: Segmentation) -> dict[str, dict[str, float]]:
    """What is known of each segment: its volume, the probable range of it, and the Dice that is foretold."""
    found = {}
    for name in result.names:
        row = {"volume_mm3": result.volumes_mm3[name]}
        expected = float(result.each[name].array.sum(dtype=np.float64)) * float(np.prod(result.labels.spacing))
        row["expected_volume_mm3"] = round(expected, 3)
        if name in result.predicted_dice:
            row["predicted_dice"] = round(result.predicted_dice[name], 4)
        found[name] = row
    return found


def reference_on(grid: Volume, reference: Volume, names: Sequence[str]) -> Volume:
    """A reference label map, on any grid, on that of the volume; raises BadInput for what cannot be compared with."""
    reference = as_labels(reference, "the reference")
    if not same_grid(reference, grid, 0.01 * min(grid.spacing)):
        warnings.warn("the reference lies on another grid than the volume; it was resampled", Notice, stacklevel=2)
        reference = resample_like(reference, grid, "nearest")
    if not reference.array.any():
        raise BadInput("the reference has no label inside of the volume; expected one of the same place")
    extra = sorted(set(np.unique(reference.array).astype(int).tolist()) - {*range(len(names) + 1)})
    if extra:
        known = ", ".join(f"{k} {name}" for k, name in enumerate(names, start=1))
        raise BadInput(f"the reference has the labels {extra}, which the model does not know; expected {known}")
    return reference


def compare_labels(reference: Volume, result: Segmentation) -> dict[str, dict[str, float]]:
    """Dice and HD95 (mm) of each segment and a reference on the same grid."""
    found, grid = {}, result.labels
    for k, name in enumerate(result.names, start=1):
        truth, mine = reference.array == k, grid.array == k
        distance = hd95(truth, mine, grid.spacing)
        found[name] = {"dice": dice(truth, mine)} | ({"hd95_mm": distance} if isfinite(distance) else {})
    return found


TASK = Task(INPUTS, OUTPUTS, _segment, {"volume": tuple(_OPTIONS.values())})
