"""A brain as a network for slices sees it: in its place, in network units, with nothing around it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .brain import check_image, find_brain, shows_skull
from .domain import PLANES, in_plane
from .errors import BadInput, Notice
from .intensity import Scaling
from .models import Model
from .reconstruction import check_domain, magnitude
from .tiling import slices
from .volume import Restore, Volume, canonical, marked_on, require_usable

THICK = 3.5  # times the spacing within a slice
MARGIN = 8  # voxels of background around the brain that the network sees


@dataclass(frozen=True, eq=False)
class View:
    """A brain as a network sees it: `placed` (canonical), which of its voxels are `brain`, what turns canonical arrays
    back, the scale of intensities, and slices across `plane`."""

    volume: Volume
    placed: Volume
    restore: Restore
    brain: np.ndarray
    scaling: Scaling
    plane: str

    @classmethod
    def of(cls, volume: Volume, model: Model, plane: str, mask: Volume | None) -> View:
        """Raises BadInput for what is no brain, or is none that the model can see; warns of what will go wrong."""
        require_usable(volume)
        volume = magnitude(volume)
        volume = volume.with_array(volume.array.astype(np.float32))
        check_image(volume, model.card.id)
        placed, restore = canonical(volume)
        check_domain(placed, model, plane)
        axis = PLANES[plane]
        if mask is None:
            brain = find_brain(placed, axis)
            if shows_skull(placed, brain, axis):
                told = "the skull seems to be in view: scalp and bone will be taken for anomalies, and intensities"
                warnings.warn(f"{told} scaled by them; give a mask of the brain", Notice, stacklevel=3)
        else:
            brain = canonical(_brain(mask, volume))[0].array
        thick, fine = placed.spacing[2 - axis], max(in_plane(placed.spacing, plane))
        if thick > THICK * fine and placed.shape[axis] > 1:
            told = f"the slices are {thick:.3g} mm apart and judged one by one: lesions that are smaller will be missed"
            warnings.warn(f"{told}, and volumes are coarse", Notice, stacklevel=3)
        scaling = model.intensity.fit(np.where(brain, placed.array, 0))
        return cls(volume, placed, restore, brain, scaling, plane)

    @cached_property
    def images(self) -> Tensor:
        """Slices (N, 1, H, W) in network units, nothing but the brain in them."""
        shown = self.scaling.forward(np.where(self.brain, self.placed.array, np.float32(0)))
        return slices(shown.astype(np.float32), self.plane).contiguous()

    @cached_property
    def inside(self) -> Tensor:
        """Where the brain is (N, 1, H, W)."""
        return slices(self.brain, self.plane).contiguous()

    @cached_property
    def kept(self) -> Tensor:
        """The numbers of the slices with a brain in them."""
        return self.inside.flatten(1).any(1).nonzero().flatten()

    @cached_property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns that hold the brain in all slices, and some background around it."""
        seen = self.inside.any(0)[0]
        ends = [seen.any(1 - k).nonzero().flatten()[[0, -1]].tolist() for k in range(2)]
        first, second = (
            slice(max(a - MARGIN, 0), min(b + 1 + MARGIN, n)) for (a, b), n in zip(ends, seen.shape, strict=True)
        )
        return first, second

    def part(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images and brains of some slices, within the window."""
        index = (rows, slice(None), *self.window)
        return self.images[index].to(device), self.inside[index].to(device)

    def back(self, array: np.ndarray) -> Volume:
        """A canonical array on the grid of the input."""
        return self.volume.with_array(self.restore.array(array))


def _brain(mask: Volume, volume: Volume) -> Volume:
    """Where `mask` is not 0, on the grid of `volume`; raises BadInput for an empty one, or one that lies elsewhere."""
    empty = "the brain mask is 0 everywhere; expected other values in the brain; leave it out to find one"
    inside = marked_on(mask, volume, "the brain mask", empty)
    if not (volume.array[inside] > 0).any():
        raise BadInput("the volume has no voxel above 0 within the brain mask; expected one drawn on this volume")
    return volume.with_array(inside)
