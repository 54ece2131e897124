"""What can be run, with which models, on what, and at what cost: known before the engine is installed or loaded.

Needs neither torch nor pydantic: methods come from `Resources/recipes.json`, which `meddiff methods --json` makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from meddiff.counting import count
from meddiff.cuts import largest, seen
from meddiff.domain import PLANES, in_plane, spacing_complaint
from meddiff.errors import BadInput, choose
from meddiff.files import whole
from meddiff.places import home
from meddiff.volume import nearest_axes

from . import cards
from .cards import ModelInfo, broken_models, model

__all__ = [
    "PRESETS",
    "Cost",
    "ModelInfo",
    "ParameterInfo",
    "RecipeInfo",
    "TaskInfo",
    "broken_models",
    "domain_warning",
    "estimate",
    "model",
    "models",
    "recipe",
    "recipes",
    "remember_speed",
    "task",
    "tasks",
]

PRESETS = ("fast", "balanced", "best")
PILOT = {"reconstruct": 6 * 8}  # network calls of one image that find the scale of a volume
# Measured with the model brain-mr in single precision; other networks are scaled by their widths.
PROCESS_BYTES = 520e6  # Python, torch and MONAI
CALL_BYTES, GRADIENT_BYTES = 52.0, 270.0  # for each pixel and unit of `width`: a call, and a call with its gradient
GRADIENT_TIME = 2.0  # a call with its gradient takes as long as so many without
CPU_SECONDS = 1.8e-3  # for each megapixel and unit of `work`, on one core; measured speeds take its place
GPU_SECONDS = CPU_SECONDS / 50


@dataclass(frozen=True)
class ParameterInfo:
    """One setting: `kind` is int, float, bool or choice; a choice without `choices` is one of the model's labels."""

    name: str
    kind: str
    default: Any
    low: float | None
    high: float | None
    about: str
    choices: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # of a task's option: the main inputs (volume, kspace) that it goes with

    @property
    def title(self) -> str:
        """The name as it stands beside its editor."""
        return self.name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class RecipeInfo:
    """A method: what people need to know before they choose it. Each preset holds a value for every parameter."""

    name: str
    task: str
    title: str
    summary: str
    paper: str
    needs: str
    parameters: tuple[ParameterInfo, ...]
    presets: dict[str, dict[str, Any]]
    terms: tuple[tuple[Any, ...], ...]
    gradient: bool
    part: str = ""  # the companion of the model that it needs

    def calls(self, settings: Mapping[str, Any]) -> int:
        """Network calls a sample; what `settings` leave out is as in the preset balanced."""
        return count(self.terms, {**self.presets["balanced"], **settings})


@dataclass(frozen=True)
class TaskInfo:
    """The files that a task takes (name: what it is), the volumes that it makes, and its options."""

    name: str
    inputs: dict[str, str]
    outputs: tuple[str, ...]
    options: tuple[ParameterInfo, ...]

    def options_of(self, name: str) -> tuple[ParameterInfo, ...]:
        """The options that go with one of the main inputs."""
        return tuple(option for option in self.options if name in option.inputs)


@dataclass(frozen=True)
class Cost:
    """What a run will take; `seconds` is None where nothing is known."""

    seconds: float | None
    memory_bytes: int
    network_calls: int
    sentence: str


# --- methods ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "Resources" / "recipes.json").read_text(encoding="utf-8"))


def _parameter(data: Mapping[str, Any]) -> ParameterInfo:
    limits = {"low": None, "high": None}
    lists = {name: tuple(data.get(name, ())) for name in ("choices", "inputs")}
    return ParameterInfo(**{**limits, **data, **lists})


def tasks() -> tuple[str, ...]:
    """The tasks that have methods."""
    return tuple(_catalogue()["tasks"])


def task(name: str) -> TaskInfo:
    """The task of that name; raises BadInput for one without methods."""
    known = _catalogue()["tasks"]
    data = known[choose(name, known, "task")]
    options = tuple(map(_parameter, data["options"]))
    return TaskInfo(name, dict(data["inputs"]), tuple(data["outputs"]), options)


def recipes(task: str | None = None) -> tuple[RecipeInfo, ...]:
    """All methods, or those of one task, best known first; none for a task that is still to come."""
    found = []
    for data in _catalogue()["recipes"]:
        if task in (None, data["task"]):
            data, calls = dict(data), data["calls"]
            del data["calls"]
            data["parameters"] = tuple(map(_parameter, data["parameters"]))
            found.append(RecipeInfo(**data, terms=tuple(map(tuple, calls))))
    return tuple(found)


def recipe(name: str) -> RecipeInfo:
    """The method of that name; raises BadInput with the near names."""
    known = {each.name: each for each in recipes()}
    return known[choose(name, known, "method")]


def models(task: str | None = None) -> tuple[ModelInfo, ...]:
    """The models on this machine, or those that are made for a method of one task.

    A model without recipes is the companion of another one and does no task by itself.
    """
    return cards.models() if task is None else made_for(task, cards.models())


def made_for(task: str, known: Iterable[ModelInfo]) -> tuple[ModelInfo, ...]:
    """Those of some models that are made for a method of a task."""
    methods = {recipe.name for recipe in recipes(task)}
    return tuple(model for model in known if methods & {*model.recipes})


# --- whether it suits, and what it costs ------------------------------------------------------------------------------


def domain_warning(
    model: ModelInfo,
    spacing: Sequence[float],
    shape: Sequence[int],
    plane: str = "axial",
    *,
    direction: Sequence[float] | None = None,
    values: np.ndarray | None = None,
) -> str | None:
    """Why this volume lies outside what the model was made for; None if nothing is known to be wrong.

    `spacing` (x, y, z) mm and `shape` (Z, Y, X) run along the volume's own axes, `direction` (LPS, row-major) tells
    where those point (None: left, posterior, superior), `values` are its voxels, or some of them.
    """
    along = spacing if direction is None else [spacing[axis] for axis in nearest_axes(direction)]
    found = [spacing_complaint(along, plane, model.id, model.spacing_mm, model.spacing_tolerance)]
    if model.plane not in (None, plane):
        found.append(f"model {model.id!r} was trained on {model.plane} slices, not on {plane} ones")
    if min(in_plane(_canonical(shape, direction), plane)) < 2 * model.shape_multiple:
        found.append(f"the {plane} slices have fewer than {2 * model.shape_multiple} voxels in one direction")
    if values is not None and values.size:
        found.append(about_values(model, values))
    return "; ".join(filter(None, found)) or None


def about_values(model: ModelInfo, values: np.ndarray) -> str | None:
    """Which of the voxels are none that images of the model's modality have; None if nothing is known to be wrong."""
    size = np.abs(values) if np.iscomplexobj(values) else values
    low, high = float(size.min()), float(size.max())
    if not np.isfinite([low, high]).all():
        return "the volume has voxels that are not finite"
    if low == high:
        return f"the volume is {low:g} in every voxel"
    if model.modality == "MR" and low < -0.05 * abs(high):
        guess = ": is it CT, in HU?" if -1100 <= low <= -800 or low <= -2000 else ""
        return f"the lowest voxel is {low:g}, and MR images have none below 0{guess}"
    if model.modality == "CT" and low >= 0:
        return f"the lowest voxel is {low:g}, and CT has air far below 0, in HU: is it MR?"
    return None


def working(model: ModelInfo, spacing: Sequence[float], sizes: Sequence[int]) -> tuple[tuple[float, int], ...]:
    """Spacing (mm) and voxels along the canonical x, y and z of what a network sees that images are resampled for."""
    trained, most = (*model.spacing_mm, spacing[2])[:3], 1 + model.spacing_tolerance
    if all(1 / most <= s / t <= most for s, t in zip(spacing, trained, strict=True)):
        return tuple(zip(spacing, sizes, strict=True))
    return tuple((t, max(1, round(n * s / t))) for n, s, t in zip(sizes, spacing, trained, strict=True))


def _canonical(shape: Sequence[int], direction: Sequence[float] | None) -> tuple[int, ...]:
    """`shape` (Z, Y, X) of the volume's own axes as (x, y, z) of canonical ones."""
    own = tuple(reversed(tuple(shape)))
    return own if direction is None else tuple(own[axis] for axis in nearest_axes(direction))


def estimate(
    model: ModelInfo,
    recipe: RecipeInfo,
    settings: Mapping[str, Any],
    samples: int,
    shape: Sequence[int],
    plane: str,
    device: str = "auto",
    *,
    direction: Sequence[float] | None = None,
    batch: int = 8,
    coils: int = 1,
    channels: int = 1,
    more: float = 0.0,
) -> Cost:
    """What a run on a volume of `shape` (Z, Y, X) takes at most: slices without an image in them are skipped.

    `channels` is 2 for complex images. Seconds come from what runs here took, or from what is typical. For a network of
    volumes the shape is the one that it works on, and members, not slices, are computed at a time. What is done beside
    the network takes `more` seconds.
    """
    sizes = _canonical(shape, direction)
    number = sizes[2 - PLANES[choose(plane, PLANES, "plane")]] if model.dims == 2 else 1
    unit = (in_plane(sizes, plane) if model.dims == 2 else sizes)[::-1]
    rows, at_once = seen(unit, model.window, model.shape_multiple), largest(unit, model.window, model.shape_multiple)
    calls = recipe.calls(settings) * samples
    factor = GRADIENT_TIME if recipe.gradient else 1.0
    megapixels = (factor * calls * number + min(PILOT.get(recipe.task, 0), 8 * number)) * rows * channels / 1e6
    known = _speeds().get(_worker(model.id, recipe), {}).get(device)
    typical = (GPU_SECONDS if device.startswith(("cuda", "mps")) else CPU_SECONDS) * model.work
    seconds = megapixels * (known or typical) + more
    pixel = model.width * (GRADIENT_BYTES if recipe.gradient else CALL_BYTES)
    group = min(batch, number if model.dims == 2 else samples) * at_once
    memory = PROCESS_BYTES + channels * group * pixel + 8 * channels * prod(sizes) * 4 + 6 * coils * group * 8
    about = "About" if known else "Roughly"
    place = "the GPU" if device.startswith(("cuda", "mps")) else "the CPU" if device == "cpu" else "this computer"
    sentence = f"{about} {_time(seconds)} on {place} and {memory / 1e9:.1f} GB of memory: {calls} network calls"
    each = f" for each of {number} slices." if model.dims == 2 else "."
    return Cost(seconds, int(memory), calls, sentence + each)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def remember_speed(provenance: Mapping[str, Any]) -> None:
    """Keeps how fast a run was, so that the next estimate is right; a folder that cannot be written is no matter."""
    speed, job = provenance.get("speed") or {}, provenance.get("job") or {}
    seconds, megapixels = speed.get("seconds", 0.0), speed.get("megapixels", 0.0)
    if not (seconds > 0.5 and megapixels > 0):
        return  # too short to tell
    with suppress(BadInput):
        method = recipe(job.get("recipe", ""))
        slow = GRADIENT_TIME if method.gradient else 1.0
        known = _speeds()
        of_model = known.setdefault(_worker(provenance["model"]["id"], method), {})
        for device in {speed.get("device", ""), job.get("device", "")} - {""}:
            of_model[device] = seconds / megapixels / slow
        with whole(home() / "speed.json") as part:
            part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _worker(model: str, recipe: RecipeInfo) -> str:
    """Which network's speed it is: that of a model, or that of its companion for a recipe that needs one."""
    return f"{model}/{recipe.part}" if recipe.part else model


def _speeds() -> dict[str, dict[str, float]]:
    """Seconds for each megapixel and network call, by model and device; what cannot be read is not known."""
    try:
        data = json.loads((home() / "speed.json").read_text(encoding="utf-8"))
        return {str(m): {str(d): float(s) for d, s in of.items() if float(s) > 0} for m, of in data.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
