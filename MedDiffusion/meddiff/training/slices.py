"""Random augmented slices from a prepared cache; batch k is the same on every machine and after every resume."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from ..errors import BadInput
from ..noises import seed_of
from .plan import Augment, Fit, Plan

NULL, UNKNOWN = "null", "unknown"


class SliceCache:
    """The slices of one cache file, drawn image by image in proportion to the plan's weights."""

    def __init__(self, path: Path):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                self.images = json.loads(metadata["images"])
                self.plan = Plan.model_validate_json(metadata["plan"])
                self._stacks = [file.get_tensor(image["key"]) for image in self.images]
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise BadInput(f"{path} is not a cache made by `meddiff train prepare`: {error}") from None
        self._labels = [self.plan.labels.index(image["label"]) if self.plan.labels else 0 for image in self.images]
        self._weights = torch.tensor([float(image["weight"]) for image in self.images])

    def batch(self, step: int, size: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Batch number `step`: slices (B, 1, Y, X), labels (B,), and stratified uniform numbers (B,) for the levels."""
        fit = self.plan.training
        size = size or fit.batch
        g = torch.Generator().manual_seed(seed_of(self.plan.seed, "batch", step))
        rows = torch.multinomial(self._weights, size, replacement=True, generator=g).tolist()
        images = [self._one(row, g, fit) for row in rows]
        labels = torch.tensor([self._label(row, g, fit) for row in rows])
        # one uniform number in each of B equal bins: the loss of a batch then varies far less (Kingma 2021, VDM)
        levels = (torch.arange(size) + torch.rand(size, generator=g)) / size
        return torch.stack(images), labels, levels[torch.randperm(size, generator=g)]

    def _one(self, row: int, g: torch.Generator, fit: Fit) -> Tensor:
        stack = self._stacks[row]
        image = stack[int(torch.randint(len(stack), (), generator=g))].float()[None]
        return augment(crop(image, fit.crop, fit.augment, g), fit.augment, g)

    def _label(self, row: int, g: torch.Generator, fit: Fit) -> int:
        labels, draw = self.plan.labels, float(torch.rand((), generator=g))
        if NULL in labels and draw < fit.drop_label:
            return labels.index(NULL)
        if UNKNOWN in labels and draw < fit.drop_label + fit.unknown_label:
            return labels.index(UNKNOWN)
        return self._labels[row]


def crop(image: Tensor, size: tuple[int, int], change: Augment, g: torch.Generator) -> Tensor:
    """A random window (1, *size) of image (1, Y, X), sometimes rotated, scaled and sheared about its centre.

    Only some windows are resampled, with cubic interpolation: a network that saw resampled images alone would learn
    that fine texture does not exist.
    """
    random = torch.rand(10, generator=g).tolist()
    _, height, width = image.shape
    room = (height - size[0], width - size[1])
    top, left = (round(r * v) if r > 0 else r // 2 for r, v in zip(room, random[:2], strict=True))
    if random[2] >= change.affine:
        pad = (max(-left, 0), max(size[1] - width + left, 0), max(-top, 0), max(size[0] - height + top, 0))
        out = functional.pad(image, pad)
        y, x = max(top, 0), max(left, 0)
        out = out[:, y : y + size[0], x : x + size[1]]
    else:
        out = _affine(image, size, (top, left), change, random[3:8])
    return out.flip(-1) if random[8] < change.flip else out


def _affine(image: Tensor, size: tuple[int, int], corner: tuple[int, int], change: Augment, r: list[float]) -> Tensor:
    angle = math.radians(change.rotate_degrees) * (2 * r[0] - 1)
    zoom = [math.exp(change.scale * (2 * v - 1)) for v in r[1:3]]
    shear = change.shear * (2 * r[3] - 1)
    c, s = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[c * zoom[0], -s + shear], [s, c * zoom[1]]])
    y, x = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    centre = torch.tensor([corner[1] + (size[1] - 1) / 2, corner[0] + (size[0] - 1) / 2])
    position = torch.stack([x, y], -1) @ matrix.T + centre
    extent = torch.tensor([image.shape[-1], image.shape[-2]])
    grid = (2 * position + 1) / extent - 1
    return functional.grid_sample(image[None], grid[None], mode="bicubic", align_corners=False)[0].clamp_min(0)


def augment(image: Tensor, change: Augment, g: torch.Generator) -> Tensor:
    """Random contrast: image^gamma with the bright end held, times a gain; background stays at zero."""
    gamma, gain = (2 * torch.rand(2, generator=g) - 1).tolist()
    top = image.amax().clamp_min(1e-6)
    return top * (image.clamp_min(0) / top) ** math.exp(change.gamma * gamma) * math.exp(change.gain * gain)
