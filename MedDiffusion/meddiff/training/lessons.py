"""What there is to learn: each lesson builds a network and says how wrong it is on batch number `step`."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..codes import spread
from ..convert import from_x0
from ..errors import BadInput
from ..levels import Schedule, make_schedule
from ..networks import build
from ..networks.classifier import NoisedClassifier
from ..noises import Gaussian, seed_of
from ..prior import Condition
from ..simplex import Simplex
from ..store import find, load_weights
from ..tiling import pad_to_multiple
from .course import Course
from .plan import Plan
from .slices import DISEASED, HEALTHY, RESTORED, SIMPLEX, Batch, SliceCache

RESTORING = 0.2  # noise-to-signal ratio from which lesions can be taken away


class Lesson(Protocol):
    """What `fit` trains. Batch `step` is the same on every machine and after every resumption."""

    @property
    def plan(self) -> Course: ...

    def build(self) -> nn.Module:
        """The untrained network; random weights come from torch's global generator, which `fit` seeds."""
        ...

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """What of it is learnt, in groups as an optimiser of torch takes them; `share` is a relative learning rate."""
        ...

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        """The loss of batch number `step`, on `device`."""
        ...


class Planned:
    """The base of all lessons: the network and the schedule of a plan, started from another model if it says so."""

    plan: Course

    @cached_property
    def schedule(self) -> Schedule:
        if self.plan.schedule is None:
            raise BadInput(f"the plan {self.plan.id} has no schedule; expected one, for a network that is told a level")
        return make_schedule(self.plan.schedule["name"], **self.plan.schedule["arguments"])

    def build(self) -> nn.Module:
        network = build(self.plan.network["name"], self.plan.network["arguments"])
        if self.plan.start_from:
            start_from(network, self.plan)
        return network

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        return [{"params": [parameter for parameter in network.parameters() if parameter.requires_grad]}]


class Slices(Planned):
    """The base of the lessons on slices."""

    plan: Plan

    def __init__(self, cache: SliceCache):
        self.cache, self.plan = cache, cache.plan

    def noise(self, batch: Batch, step: int) -> Tensor:
        """Gaussian noise, simplex noise where the state says so; as large as the images."""
        seeds = [seed_of(self.plan.seed, "noise", step, k) for k in range(len(batch.images))]
        eps = Gaussian(seeds)(batch.images)
        rows = [k for k, state in enumerate(batch.states) if state == SIMPLEX]
        if rows:
            eps[rows] = Simplex([seeds[k] for k in rows])(batch.images[rows])
        return eps

    def told(self, batch: Batch, size: torch.Size, device: torch.device) -> Condition:
        """Classes and covariates, these beside images of `size` and in cross-attention, as the network has room."""
        room, numbers = self.plan.network["arguments"], batch.numbers.to(device)
        return Condition(
            concat=spread(numbers, size) if self.plan.covariates and room.get("concat_channels") else None,
            context=numbers[:, None] if self.plan.covariates and room.get("context_features") else None,
            label=batch.labels.to(device) if self.plan.labels else None,
        )

    def noised(self, batch: Batch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """x_t, the times (B,) and what the network is to say of them."""
        levels = self.schedule.levels
        # what takes lesions away needs some noise: of a clean image the network may change nothing (eq. of v and eps)
        lowest = self.schedule.fraction(RESTORING)
        start = torch.tensor([lowest if state == RESTORED else 0.0 for state in batch.states])
        uniform = start + (1 - start) * batch.uniform
        index = (uniform * len(levels)).long().clamp_max(len(levels) - 1).tolist()
        pairs = []
        for image, x0, eps, i in zip(batch.images, batch.targets, self.noise(batch, step), index, strict=True):
            x = levels[i].alpha * image + levels[i].sigma * eps
            diffusion = self.plan.predicts not in ("image", "label")
            pairs.append((x, from_x0(x0, x, levels[i], self.plan.predicts) if diffusion else x0))
        x, target = (torch.stack(each) for each in zip(*pairs, strict=True))
        return x, torch.tensor([levels[i].time for i in index]), target


class PriorLesson(Slices):
    """|network(alpha x0 + sigma eps, t) - target|^2 with the target that `plan.predicts` names (Ho 2020, eq. 14;
    Salimans 2022 for v), levels stratified over the schedule. Voxels of lesions may count more than others. Told
    "restored", the network gets a slice with lesions and is to say what it was without (Naval Marimont 2024, DISYRE,
    arXiv:2311.15453)."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch = self.cache.batch(step)
        x, times, target = self.noised(batch, step)
        cond = self.told(batch, x.shape[2:], device)
        out = network(x.to(device), times.to(device), cond).float()
        weight = 1 + (self.plan.training.lesion_weight - 1) * batch.masks.to(device)
        return (weight * (out - target.to(device)).square()).mean()


class ClassifierLesson(Slices):
    """Cross-entropy of healthy or diseased from the noised image (Dhariwal 2021, sec. 4; Wolleb 2022), for the slice
    and for each of its places, since it is known where the lesions are. The contrast is told."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch = self.cache.batch(step, states={HEALTHY: 1.0, DISEASED: 1.0})
        x, times, _ = self.noised(batch, step)
        network = cast(NoisedClassifier, network)
        votes = network.votes(x.to(device), times.to(device), Condition(label=batch.labels.to(device)))
        masks = pad_to_multiple(batch.masks.to(device), network.multiple)[0]
        places = functional.max_pool2d(masks, network.multiple)
        diseased = (batch.masks.flatten(1).sum(1) > 0).long()
        slices = functional.nll_loss(network.join(votes), diseased.to(device))
        # each place by itself, and the slice as one place more: in its own size it drowns what the places have to say
        return functional.binary_cross_entropy_with_logits(votes, places) + slices / votes[0].numel()


class DenoiserLesson(Slices):
    """|network(x0 + coarse noise) - x0|^2 on healthy images, in one pass (Kascenas 2022, denoising autoencoders)."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch = self.cache.batch(step, states={HEALTHY: 1.0})
        noise = coarse_noise(batch.images, seed_of(self.plan.seed, "coarse", step))
        x = torch.where(batch.images > 0.02, batch.images + noise, batch.images)
        cond = self.told(batch, x.shape[2:], device)
        out = network(x.to(device), torch.zeros(len(x), device=device), cond).float()
        return (out - batch.images.to(device)).square().mean()


def coarse_noise(images: Tensor, seed: int, cells: int = 16, size: float = 0.4) -> Tensor:
    """Noise of `cells` voxels a cell, interpolated and shifted at random (Kascenas 2022, sec. 2): as large as lesions
    are, so that undoing it is undoing them; `size` is its standard deviation in a range of 2."""
    g = torch.Generator().manual_seed(seed)
    rows, columns = (max(n // cells, 2) + 1 for n in images.shape[2:])
    noise = size * torch.randn(len(images), 1, rows, columns, generator=g)
    noise = functional.interpolate(noise, scale_factor=float(cells), mode="bilinear", align_corners=False)
    top, left = torch.randint(0, cells, (2,), generator=g).tolist()
    return noise[..., top : top + images.shape[2], left : left + images.shape[3]]


@torch.no_grad()
def start_from(network: nn.Module, plan: Course) -> None:
    """Give `network` the weights of the model that the plan names; classes start as the class of the same name, in
    any state, and the null class as the null class; images beside the noisy one are not looked at in the beginning
    (Brooks 2023, InstructPix2Pix, sec. 3.2), covariates at random. Raises BadInput where other shapes differ."""
    found = find(plan.start_from)
    weights = {name: value.float() for name, value in load_weights(found.folder).items()}
    labels, names = found.card.labels, plan.labels[:-1]
    for name, value in network.state_dict().items():
        given = weights.get(name)
        if given is not None and given.shape != value.shape and given.ndim == 2 and labels is not None:
            rows = [labels.index(each) for each in names] * (1 + len(plan.states)) + [labels.null]
            given = given[rows]
            given[len(names) : -1] += 0.5 * given.std() * torch.randn_like(given[len(names) : -1])  # states differ
        if given is not None and given.ndim > 2 and given.shape[1] < value.shape[1]:
            # one number for a whole image says little in any step: from zero, it is not found among the noise
            more = value[:, given.shape[1] :]
            given = torch.cat([given, more if plan.covariates else torch.zeros_like(more)], 1)
        if given is None or given.shape != value.shape:
            came = "nothing" if given is None else tuple(given.shape)
            raise BadInput(
                f"{plan.start_from} has {came} for {name}, expected {tuple(value.shape)}; train from scratch"
            )
        value.copy_(given)
