"""A first segmentation to start from: any label map, wherever it lies and whatever its numbers, or a threshold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput, Notice
from .volume import Volume, canonical, resample_like, same_grid


def first_guess(given: Volume, grid: Volume, names: Sequence[str]) -> NDArray[np.float32]:
    """A label map as probabilities (K, Z, Y, X) of the background and of `names`, on the grid of a canonical volume.

    Raises BadInput for what is no label map, has more labels than there are names, or lies elsewhere; Notices tell
    what was done to it.
    """
    labels = as_labels(given, "the first segmentation")
    values = [int(v) for v in np.unique(labels.array) if v]
    if not values:
        raise BadInput("the first segmentation is empty: no voxel is above 0; draw one, or choose another")
    shares = _shares(values, names)
    labels, _ = canonical(labels)
    other = not same_grid(labels, grid, 0.01 * min(grid.spacing))
    found = np.zeros((len(names) + 1, *grid.shape), np.float32)
    for value, share in zip(values, shares, strict=True):
        mask = labels.with_array((labels.array == value).astype(np.float32))
        inside = resample_like(mask, grid).array if other else mask.array
        found[1:] += share[:, None, None, None] * inside
    if found[1:].sum() < 0.5:
        raise BadInput(
            "the first segmentation does not overlap the volume: no voxel of it lies inside; "
            "check that both belong to the same image and lie at the same place"
        )
    if other:
        _tell("the first segmentation lies on another grid than the volume; it was resampled")
    found[0] = np.clip(1 - found[1:].sum(0), 0, 1)
    if found[0].max() < 0.5:
        _tell("the first segmentation has no background: every voxel of the volume is in a segment; background is 0")
    return found / found.sum(0)


def threshold_guess(image: Volume, low: float, high: float, names: Sequence[str]) -> NDArray[np.float32]:
    """Voxels between two intensities as probabilities (K, Z, Y, X), every name alike; raises BadInput for none."""
    inside = ((image.array >= low) & (image.array <= high)).astype(np.float32)
    if not inside.any():
        span = f"{image.array.min():g} to {image.array.max():g}"
        raise BadInput(f"no voxel lies between {low:g} and {high:g}; the volume has {span}; choose other limits")
    return np.stack([1 - inside, *[inside / len(names)] * len(names)]).astype(np.float32)


def as_labels(volume: Volume, what: str) -> Volume:
    """`volume` with whole numbers of 0 and more; raises BadInput for an image that is no label map."""
    array = volume.array
    if np.iscomplexobj(array) or not np.isfinite(array).all() or (array != np.round(array)).any() or array.min() < 0:
        raise BadInput(f"{what} has values that are no labels; expected whole numbers, 0 for the background")
    if (count := len(np.unique(array))) > 256:
        raise BadInput(f"{what} has {count} different values; expected a label map, not an image")
    return volume.with_array(array.astype(np.int64))


def _shares(values: Sequence[int], names: Sequence[str]) -> list[NDArray[np.float32]]:
    """How each label of a first segmentation is shared out among the segments of the model."""
    each = np.eye(len(names), dtype=np.float32)
    if len(names) == 1:
        if len(values) > 1:
            _tell(
                f"the first segmentation has {len(values)} segments, the model has one ({names[0]}); they were merged"
            )
        return [each[0]] * len(values)
    if len(values) == 1:
        told = " and ".join(names) if len(names) < 4 else f"all {len(names)} segments of the model"
        _tell(f"the first segmentation has one segment; it was taken for {told} together")
        return [np.full(len(names), 1 / len(names), np.float32)]
    if len(values) > len(names):
        raise BadInput(
            f"the first segmentation has {len(values)} segments; the model knows {len(names)} ({', '.join(names)}); "
            "choose those alone"
        )
    if max(values) <= len(names):
        return [each[value - 1] for value in values]
    pairs = ", ".join(f"{value} as {name}" for value, name in zip(values, names, strict=False))
    _tell(f"the labels of the first segmentation are not 1 to {len(names)}; they were taken in their order: {pairs}")
    return [each[k] for k in range(len(values))]


def _tell(sentence: str) -> None:
    warnings.warn(sentence, Notice, stacklevel=3)
