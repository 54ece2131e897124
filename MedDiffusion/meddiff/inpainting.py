"""Inpainting of a segment: what else could be there, healthy or not, without a seam and with nothing else touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any

import numpy as np
import torch
from scipy import ndimage

from .cuts import Index
from .domain import CONTEXT, LEAST
from .errors import BadInput
from .models import Model
from .noises import Gaussian, seed_of
from .placing import Placed
from .posterior import in_turn
from .prior import Condition
from .recipes.inpaint import TASK, Hole
from .reconstruction import Contrast, Preset
from .registry import Between, OneOf, find_recipe, parameters_of
from .sampling import Run
from .tiling import batches
from .volume import Volume, marked_on, resample_like

PUT: dict[str, str | None] = {"healthy": "healthy", "lesion": "diseased", "anything": None}


@dataclass(frozen=True)
class Inpainting:
    """Images on the grid of the input, which they are outside of the segment, voxel for voxel; the standard deviation
    of the samples within (image units), if there are several; and what was painted over."""

    images: tuple[Volume, ...]
    spread: Volume | None
    hidden: Volume
    calls: int
    megapixels: float
    settings: dict[str, Any] = field(default_factory=dict)


def inpaint(
    volume: Volume,
    mask: Volume,
    model: Model,
    *,
    method: str = "repaint",
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    put: Annotated[str, OneOf(tuple(PUT), "what is put into the segment")] = "healthy",
    contrast: Contrast = None,
    grow: Annotated[float, Between(0.0, 20.0, "mm by which the segment is grown before")] = 0.0,
    samples: Annotated[int, Between(1, 64, "different answers")] = 1,
    batch: Annotated[int, Between(1, 64, "slices at a time; more need more memory")] = 8,
    seed: int = 0,
) -> Run[Inpainting]:
    """Paint over what is not 0 in `mask`, slice by slice; yields Progress over all slices and samples.

    Raises BadInput for an empty mask, one of everything, and for what the model cannot be asked for.
    """
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    given = {"put": put, "grow": grow, "samples": samples, "batch": batch}
    known = parameters_of(inpaint)
    told = {name: known[name].check(value) for name, value in given.items()}
    condition(model, contrast, put, 1)
    hidden = segment(mask, volume, grow)
    placed = Placed.of((volume,), model)
    hole = np.asarray(resample_like(hidden, placed.grid, "nearest").array > 0)
    units = [unit for unit in placed.units if hole[placed.where(unit)].any()]
    if not units:
        raise BadInput("the segment is smaller than a voxel of the model; grow it, or draw a larger one")
    box, scaling = window(hole, placed), model.intensity.fit(placed.grid.array[~hole])
    shown = scaling.forward(placed.grid.array.astype(np.float32))
    pairs = [(unit, k) for k in range(samples) for unit in units]
    groups = [pairs[part] for part in batches(len(pairs), batch)]
    made = np.repeat(placed.grid.array[None].astype(np.float32), samples, 0)
    for number, group in enumerate(groups):
        data = _hole(placed, shown, hole, box, group, model, contrast, put)
        noise = Gaussian([seed_of(seed, unit, k) for unit, k in group])
        found: Any = yield from in_turn(recipe.run(model.prior, data, noise=noise, **settings), number, len(groups), 0)
        for (unit, k), image in zip(group, scaling.inverse(found[:, 0].float().cpu().numpy()), strict=True):
            made[(k, *placed.where(unit))][box] = image
    images = _back(placed, made, volume, hidden)
    calls = recipe.calls(settings) * samples
    size = [part.stop - part.start for part in box]
    pixels = prod(n + -n % model.card.shape_multiple for n in size) * len(units)
    used = {**settings, **told, "contrast": contrast}
    del used["batch"]  # which never changes a voxel
    return Inpainting(images, _spread(images), hidden, calls, calls * pixels / 1e6, used)


def condition(model: Model, contrast: str | None, put: str, count: int) -> Condition | None:
    """What the network is told of `count` images; raises BadInput for what it does not know."""
    state, labels = PUT[put], model.card.labels
    if state is not None and (labels is None or state not in labels.states):
        raise BadInput(
            f"{model.card.id} does not know what is healthy and what a lesion is, and {put!r} was asked for; "
            "choose anything, or another model, such as brain-anomaly"
        )
    if state is not None and labels is not None and contrast is None:
        raise BadInput(f"what does the image show? expected a contrast: {', '.join(labels.names)}")
    return model.condition(contrast, count, state)


def segment(mask: Volume, volume: Volume, grow: float) -> Volume:
    """What is painted over (bool), on the grid of the volume; raises BadInput for nothing, or everything."""
    inside = marked_on(mask, volume, "the segment", "the segment is empty; draw what is to be painted over")
    if grow:
        inside = np.asarray(ndimage.distance_transform_edt(~inside, volume.spacing[::-1])) <= grow
    if inside.all():
        raise BadInput("the segment is the whole volume: nothing is left to go by; draw a smaller one")
    return volume.with_array(inside)


def window(hole: np.ndarray, placed: Placed) -> Index:
    """Where the network looks, in each unit alike: the segment and what is around it."""
    seen = hole if placed.dims == 3 else hole.any(0)
    found = []
    for axis, n in enumerate(seen.shape):
        inside = np.unique(np.nonzero(seen)[axis])
        first, last = int(inside[0]) - CONTEXT, int(inside[-1]) + 1 + CONTEXT
        more = max(LEAST - (last - first), 0)
        first, last = first - more // 2, last + more - more // 2
        first, last = max(first - max(last - n, 0), 0), min(last + max(-first, 0), n)
        found.append(slice(first, last))
    return tuple(found)


def _hole(
    placed: Placed,
    shown: np.ndarray,
    hole: np.ndarray,
    box: Index,
    group: Sequence[tuple[int, int]],
    model: Model,
    contrast: str | None,
    put: str,
) -> Hole:
    """What the recipe is given of the slices in one batch, (unit, number) pairs; `shown` is in network units."""

    def cut(array: np.ndarray) -> torch.Tensor:
        rows = [array[placed.where(unit)][box] for unit, _ in group]
        return torch.from_numpy(np.stack(rows)[:, None].astype(np.float32)).to(model.device)

    told, untold = condition(model, contrast, put, len(group)), model.condition(contrast, len(group))
    return Hole(cut(shown), cut(hole), told, untold)


def _back(placed: Placed, made: np.ndarray, volume: Volume, hidden: Volume) -> tuple[Volume, ...]:
    """The images on the grid of the input, its own voxels outside of the segment."""
    found = (placed.back(np.ascontiguousarray(array)).array for array in placed.interpolated(made))
    kept = volume.array.astype(np.float32)
    return tuple(volume.with_array(np.where(hidden.array, array, kept)) for array in found)


def _spread(images: Sequence[Volume]) -> Volume | None:
    if len(images) < 2:
        return None
    return images[0].with_array(np.std([image.array for image in images], 0, ddof=1, dtype=np.float32))
