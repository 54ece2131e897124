"""Random augmented slices from a prepared cache; batch k is the same on every machine and after every resume."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..lesions import paint
from ..noises import seed_of
from .course import Augment
from .draws import stratified
from .plan import Fit, Plan
from .prepare import read_cache

NULL, UNKNOWN = "null", "unknown"
HEALTHY, DISEASED, RESTORED, SIMPLEX = "healthy", "diseased", "restored", "simplex"
FORGETTABLE = (HEALTHY, DISEASED)  # the kind of the noise is always told


class Batch(NamedTuple):
    """Slices (B, 1, Y, X), what the network is told of them (B,), stratified uniform numbers (B,) for the levels,
    where lesions are (B, 1, Y, X), the state of each slice ("" where there is none), what is to come out: the
    images themselves but for the state "restored", whose lesions are to be taken away; and covariates (B, K), each from
    0 to 1 in its range."""

    images: Tensor
    labels: Tensor
    uniform: Tensor
    masks: Tensor
    states: tuple[str, ...]
    targets: Tensor
    numbers: Tensor


class SliceCache:
    """The slices of one cache file, drawn image by image in proportion to the plan's weights."""

    def __init__(self, path: Path):
        with read_cache(path) as (file, metadata):
            self.images = json.loads(metadata["images"])
            self.plan = Plan.model_validate_json(metadata["plan"])
            names = sorted(file.keys())
            self._tensors = {name: file.get_tensor(name) for name in names}
        self._shapes = [self._tensors[name] for name in names if name.startswith("shapes.")]
        self._labels = [self.plan.labels.index(image["label"]) if self.plan.labels else 0 for image in self.images]
        self._weights = torch.tensor([float(image["weight"]) for image in self.images])

    def batch(self, step: int, size: int | None = None, states: Mapping[str, float] | None = None) -> Batch:
        """Batch number `step`; `states` are drawn as often as these weights say (by default, as the plan says)."""
        fit = self.plan.training
        size = size or fit.batch
        g = torch.Generator().manual_seed(seed_of(self.plan.seed, "batch", step))
        rows = torch.multinomial(self._weights, size, replacement=True, generator=g).tolist()
        shown = [self._state(self.plan.states if states is None else states, g) for _ in rows]
        which = [self._one(row, state, g, fit) for row, state in zip(rows, shown, strict=True)]
        labels = torch.tensor([self._label(row, state, g, fit) for row, state in zip(rows, shown, strict=True)])
        uniform = stratified(size, g)
        numbers = self._numbers([(row, each[0]) for row, each in zip(rows, which, strict=True)], g, fit)
        images, targets, masks = (torch.stack(each) for each in zip(*(each[1:] for each in which), strict=True))
        return Batch(images, labels, uniform, masks, tuple(shown), targets, numbers)

    def _numbers(self, places: Sequence[tuple[int, int]], g: torch.Generator, fit: Fit) -> Tensor:
        """The covariates of slices, (image, number) pairs, or for some of them what stands for not being told."""
        about = self.plan.covariates.values()
        if not about:
            return torch.zeros(len(places), 0)
        told = torch.stack([self._tensors[self._key(row, "covariates")][number] for row, number in places])
        low, high, null = torch.tensor([(each.min, each.max, each.null or 0.0) for each in about]).T
        told = torch.where(torch.rand(len(places), 1, generator=g) < fit.drop_covariates, null, told)
        return (told - low) / (high - low)

    def _key(self, row: int, what: str) -> str:
        return self.images[row]["key"].replace("images", what)

    def _state(self, states: Mapping[str, float], g: torch.Generator) -> str:
        if not states:
            return ""
        return list(states)[int(torch.multinomial(torch.tensor(list(states.values())), 1, generator=g))]

    def _one(self, row: int, state: str, g: torch.Generator, fit: Fit) -> tuple[int, Tensor, Tensor, Tensor]:
        """The number of a slice of an image, itself, what is to come out, and where its lesions are."""
        key = self.images[row]["key"]
        stack = self._tensors[key]
        number = int(torch.randint(len(stack), (), generator=g))
        target = image = stack[number].float()[None]
        mask = torch.zeros_like(image)
        if state in (DISEASED, RESTORED):
            image, mask = self._diseased(row, number, image, g)
        cut = crop(torch.cat([image, target, mask]), fit.crop, fit.augment, g)
        both = augment(cut[:2], fit.augment, g)
        return number, both[:1], both[1:] if state == RESTORED else both[:1], (cut[2:] > 0.5).float()

    def _diseased(self, row: int, number: int, image: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """The slice with the lesions that it came with, or painted ones, each half of the time where it had some."""
        about, seen = self.images[row], self._key(row, "seen")
        mask = self._tensors[self._key(row, "masks")][number][None] if seen in self._tensors else None
        if mask is not None and int(mask.sum()) >= 10 and float(torch.rand((), generator=g)) < 0.5:
            return self._tensors[seen][number].float()[None], mask.float()
        shape = random_shape(self._shapes, (image.shape[1], image.shape[2]), g)
        painted, where = paint(image, shape, about["label"], g, about["white"])
        return painted, where.float()

    def _label(self, row: int, state: str, g: torch.Generator, fit: Fit) -> int:
        labels, (draw, forget) = self.plan.labels, torch.rand(2, generator=g).tolist()
        if NULL in labels and draw < fit.drop_label:
            return self.plan.classes - 1
        if UNKNOWN in labels and draw < fit.drop_label + fit.unknown_label:
            return labels.index(UNKNOWN)
        forgotten = state not in self.plan.states or (forget < fit.drop_state and state in FORGETTABLE)
        told = 0 if forgotten else 1 + list(self.plan.states).index(state)
        return self._labels[row] + told * len(labels[:-1])


def random_shape(stacks: Sequence[Tensor], size: tuple[int, int], g: torch.Generator) -> Tensor:
    """The lesions of a slice of another person (1, *size) bool, shifted a little and sometimes mirrored; `stacks`
    (N, Y, X) of each person."""
    stack = stacks[int(torch.randint(len(stacks), (), generator=g))]
    mask = stack[int(torch.randint(len(stack), (), generator=g))].float()[None]
    change = Augment(affine=0.7, rotate_degrees=20, scale=0.2, shear=0.1)
    mask = crop(mask, size, change, g) > 0.5
    shift = torch.randint(-10, 11, (2,), generator=g).tolist()
    return mask.roll(shift, (1, 2))


def crop(image: Tensor, size: tuple[int, int], change: Augment, g: torch.Generator) -> Tensor:
    """A random window (C, *size) of image (C, Y, X), sometimes rotated, scaled and sheared about its centre.

    Only some windows are resampled, with cubic interpolation: a network that saw resampled images alone would learn
    that fine texture does not exist.
    """
    random = torch.rand(10, generator=g).tolist()
    height, width = image.shape[-2:]
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
    """Random contrast of images (C, Y, X): image^gamma with the bright end held, times a gain; zero stays zero."""
    gamma, gain = (2 * torch.rand(2, generator=g) - 1).tolist()
    top = image.amax().clamp_min(1e-6)
    return top * (image.clamp_min(0) / top) ** math.exp(change.gamma * gamma) * math.exp(change.gain * gain)
