"""Between the grid of an image and the one that a network segments on: axes, spacing, intensity, and back again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .brain import find_brain, shows_skull
from .counting import some
from .domain import FEWEST, FLAT, MUCH, knows_no_skull
from .errors import BadInput, Notice
from .intensity import Scaling
from .models import Model
from .volume import Restore, Volume, canonical, require_usable, resample, resample_like, same_grid


@dataclass(frozen=True, eq=False)
class Placed:
    """The channels of an image, `source` its canonical grid, `images` on the working grid of the model, `scalings`
    to network units. Networks of two dimensions see axial slices, with their neighbours if they have more channels."""

    source: Volume
    restore: Restore
    images: tuple[Volume, ...]
    scalings: tuple[Scaling, ...]
    dims: int
    slab: int

    @classmethod
    def of(cls, volumes: Sequence[Volume], model: Model, what: str = "the volume", *, fewer: bool = False) -> Placed:
        """Raises BadInput for volumes that the model cannot use; Notices tell what was done, and what looks odd.

        `fewer`: the model does with fewer channels than it has."""
        card = model.card
        if len(volumes) != len(card.channels) and not fewer:
            wanted = ", ".join(channel.name for channel in card.channels)
            raise BadInput(
                f"{some(len(volumes), 'volume')} came; {card.id} wants {len(card.channels)}, in this order: {wanted}"
            )
        for number, volume in enumerate(volumes, start=1):
            require_usable(volume, what if number == 1 else f"volume {number}")
            if np.iscomplexobj(volume.array):
                raise BadInput(f"{what} is complex; expected a real one: take its magnitude first")
        if not all(same_grid(volume, volumes[0], 0.01 * min(volumes[0].spacing)) for volume in volumes):
            told = "the contrasts lie on different grids; the others were resampled to that of the first"
            warnings.warn(f"{told}: are they registered?", Notice, stacklevel=3)
        source, restore = canonical(volumes[0])
        dims = _number(model, "spatial_dims", 2)
        grid = _working(source, card.spacing_mm, card.spacing_tolerance, what)
        images = [_on(canonical(volume)[0], grid, k) for k, volume in enumerate(volumes)]
        _check(images[0], model, dims, what)
        scalings = tuple(model.intensity.fit(image.array) for image in images)
        channels = _number(model, "images", 1)
        return cls(source, restore, tuple(images), scalings, dims, max(channels // len(volumes), 1))

    def scaled(self, model: Model) -> Placed:
        """The same images in the units of another model."""
        return replace(self, scalings=tuple(model.intensity.fit(image.array) for image in self.images))

    @property
    def grid(self) -> Volume:
        return self.images[0]

    @cached_property
    def stack(self) -> Tensor:
        """(C, Z, Y, X) in network units."""
        scaled = [s.forward(v.array.astype(np.float32)) for s, v in zip(self.scalings, self.images, strict=True)]
        return torch.from_numpy(np.stack(scaled).astype(np.float32))

    @cached_property
    def units(self) -> list[int]:
        """The numbers of what the network sees at a time: the volume, or each of its slices that shows anything."""
        return [0] if self.dims == 3 else (~self._blank).nonzero().flatten().tolist()

    @property
    def blank(self) -> list[int]:
        """The numbers of the slices that the network does not see: each channel is one value."""
        return [] if self.dims == 3 else self._blank.nonzero().flatten().tolist()

    @property
    def _blank(self) -> Tensor:
        return (self.stack == self.stack[:, :, :1, :1]).all(-1).all(-1).all(0)

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels of a unit."""
        return self.grid.shape if self.dims == 3 else self.grid.shape[1:]

    def unit(self, number: int) -> Tensor:
        """A unit (I, *spatial); slices come with their neighbours, those of the ends repeated."""
        if self.dims == 3:
            return self.stack
        rows = [min(max(number + k - self.slab // 2, 0), self.grid.shape[0] - 1) for k in range(self.slab)]
        return self.stack[:, rows].flatten(0, 1)

    def where(self, number: int) -> tuple[slice | int, ...]:
        """The place of a unit in (Z, Y, X)."""
        return (slice(None),) * 3 if self.dims == 3 else (number,)

    def interpolated(self, arrays: np.ndarray) -> np.ndarray:
        """Arrays (N, Z, Y, X) of the working grid on that of the source."""
        if self._same:
            return arrays
        # the working grid ends where the source does, to half a voxel: its edge holds beyond
        padded = [_grown(self.grid.with_array(array)) for array in arrays]
        return np.stack([resample_like(volume, self.source).array for volume in padded]).astype(np.float32)

    def chosen(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Labels (Z, Y, X) of the working grid on that of the source: the class with the largest share wins."""
        if self._same:
            return labels
        shares = self.interpolated(np.stack([(labels == k).astype(np.float32) for k in range(classes)]))
        return shares.argmax(0).astype(np.uint8)

    def back(self, array: np.ndarray) -> Volume:
        """An array on the grid of the source as a volume on that of the input."""
        return self.restore.volume(self.source.with_array(array))

    @cached_property
    def _same(self) -> bool:
        return same_grid(self.grid, self.source, 1e-6)


def _number(model: Model, argument: str, default: int) -> int:
    """An argument of the model's network."""
    value = model.card.network.arguments.get(argument, default)
    return value if isinstance(value, int) else default


def _working(source: Volume, spacing: Sequence[float], tolerance: float, what: str) -> Volume:
    """The grid that the network works on: the source's own, or one of the spacing that it was trained at."""
    wanted = (*spacing, source.spacing[2])[:3]
    if all(1 / (1 + tolerance) <= s / w <= 1 + tolerance for s, w in zip(source.spacing, wanted, strict=True)):
        return source
    told = " x ".join(f"{s:g}" for s in source.spacing)
    aim = " x ".join(f"{s:g}" for s in wanted)
    warnings.warn(f"{what} was resampled from {told} mm to {aim} mm for the model, and back", Notice, stacklevel=4)
    return resample(source, wanted)


def _on(volume: Volume, grid: Volume, number: int) -> Volume:
    """A channel on the working grid; raises BadInput for one that lies elsewhere."""
    if same_grid(volume, grid, 0.01 * min(grid.spacing)):
        return grid.with_array(volume.array)
    placed = resample_like(volume, grid)
    if number and not placed.array.any():
        raise BadInput(f"volume {number + 1} lies elsewhere than the first; expected images of one place")
    return placed


def _grown(volume: Volume) -> Volume:
    """One voxel more on every side, as the edge is."""
    origin = volume.affine[:3, :3] @ np.full(3, -1.0) + volume.origin
    return Volume(np.pad(volume.array, 1, mode="edge"), volume.spacing, tuple(origin), volume.direction)


def _check(image: Volume, model: Model, dims: int, what: str) -> None:
    """Raises BadInput for images in which there is nothing to see; a Notice tells of those that look unlike."""
    card, shape = model.card, image.shape
    if min(shape[3 - dims :]) < FEWEST:
        size = " x ".join(str(n) for n in shape[::-1])
        raise BadInput(f"{what} has {size} voxels at the model's spacing; expected {FEWEST} or more along each axis")
    odd = []
    if card.window and any(n > MUCH * w for n, w in zip(shape[3 - dims :], card.window, strict=True)):
        mm = " x ".join(f"{w * s:g}" for w, s in zip(card.window[::-1], image.spacing, strict=False))
        odd.append(f"it is much larger than what {card.id} was trained on ({mm} mm): crop it to the {card.anatomy}")
    if len(np.unique(image.array)) <= FLAT:
        odd.append("it has hardly any different values: is it a label map?")
    if card.modality == "MR" and (image.array < -500).mean() > 0.01:
        odd.append("it has strongly negative values, as CT does, and the model is for MR")
    if card.modality == "CT" and image.array.min() >= 0:
        odd.append("it has no negative values, as MR does not, and the model is for CT")
    if knows_no_skull(card.anatomy, card.task, dims) and (image.array > 0).any():
        odd += _not_a_bare_brain(image)
    for words in odd:
        warnings.warn(f"{what} may not be what the model expects: {words}", Notice, stacklevel=4)


def _not_a_bare_brain(image: Volume) -> list[str]:
    """What a model of brains without skulls was never shown."""
    try:
        head = shows_skull(image, find_brain(image, 0), 0)
    except BadInput as error:
        return [str(error)]
    return ["it shows the head, and the model knows brains without a skull: strip it"] if head else []
