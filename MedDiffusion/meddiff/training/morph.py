"""Lessons of registration: pairs of cases that no label is needed for, DiffuseMorph, and VoxelMorph beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..affine import Affine, fit_affine
from ..networks.morpher import Deformer, Morpher, OnePassMorpher
from ..noises import seed_of
from ..prior import Condition
from ..similarity import lncc
from ..warp import exponential, resized, roughness, warp
from .case_plans import PairPlan, Pose
from .cases import CaseFile, prepare_cases
from .crops import random_matrix
from .draws import noised, stratified
from .lessons import Planned
from .segment import dice_loss, one_hot

SQUARINGS, ROUNDS = 5, 2


def prepare_pairs(plan: PairPlan, data: Path, cache: Path, say: Callable[[str], None], *, split: str = "train") -> int:
    """The cache of `prepare_cases`, and for each case the affine map from a frame that all share; count cases."""

    def common_frame(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        keys = sorted(name.split(".")[1] for name in tensors if name.startswith("images."))
        images = [tensors[f"images.{key}"][None, :1].float() for key in keys]
        size = torch.tensor([image.shape[2:] for image in images]).double().mean(0).round().int().tolist()
        maps = [Affine(torch.eye(3), torch.zeros(3))] * len(images)
        for turn in range(ROUNDS):
            mean = torch.stack([_seen(i, m, size) for i, m in zip(images, maps, strict=True)]).mean(0)
            maps = [fit_affine(image, mean) for image in images]
            say(f"aligned to the mean of all, round {turn + 1} of {ROUNDS}")
        each = {f"matrix.{key}": found.matrix for key, found in zip(keys, maps, strict=True)}
        return each | {f"shift.{key}": found.shift for key, found in zip(keys, maps, strict=True)}

    return prepare_cases(plan, data, cache, say, split=split, more=common_frame)


def _seen(image: Tensor, where: Affine, size: tuple[int, ...] | list[int]) -> Tensor:
    """An image (1, C, *spatial) on a grid of `size`, its edge held outside."""
    return warp(image, where.field(size, image.shape[2:]).to(image.dtype))


class PairBatch(NamedTuple):
    """Images (B, 1, Z, Y, X), shares of their segments (B, K, Z, Y, X), and stratified uniform numbers (B,)."""

    moving: Tensor
    fixed: Tensor
    moving_segments: Tensor
    fixed_segments: Tensor
    uniform: Tensor


class PairCache(CaseFile):
    """Pairs of cases in one random pose, but for what an affine registration leaves."""

    def __init__(self, path: Path, chosen: slice = slice(None)):
        super().__init__(path, PairPlan, chosen)
        self.plan = cast(PairPlan, self.told)
        self.maps = [Affine(self.more[f"matrix.{row['key']}"], self.more[f"shift.{row['key']}"]) for row in self.rows]

    def batch(self, step: int, size: int | None = None) -> PairBatch:
        """Batch number `step` of random pairs."""
        fit, g = self.plan.training, torch.Generator().manual_seed(seed_of(self.plan.seed, "pair", step))
        size = size or fit.batch
        drawn = []
        for _ in range(size):
            pose, apart = _random(fit.pose, g), _random(fit.apart, g)
            moving, fixed = torch.multinomial(self.weights, 2, generator=g).tolist()
            drawn.append((*self._case(moving, pose.after(apart)), *self._case(fixed, pose)))
        moving, a, fixed, b = (torch.cat(each) for each in zip(*drawn, strict=True))
        return PairBatch(moving, fixed, a, b, stratified(size, g))

    def _case(self, row: int, pose: Affine) -> tuple[Tensor, Tensor]:
        """A case in a pose: its image (1, 1, *crop), and the shares of its segments (1, K, *crop)."""
        where, crop = self.maps[row].after(pose), self.plan.training.crop
        image = _seen(self.images[row][None], where, crop)
        if not self.plan.training.dice_weight:
            return image, image[:, :0]
        segments = one_hot(self.labels[row][None], len(self.plan.segments) + 1)[:, 1:]
        return image, _seen(segments, where, crop)


def _random(pose: Pose, g: torch.Generator) -> Affine:
    return Affine(random_matrix(pose, g), pose.shift * (2 * torch.rand(3, generator=g) - 1))


class Pairs(Planned):
    """The base of both lessons: what is wrong with a velocity, of either direction."""

    plan: PairPlan

    def __init__(self, cache: PairCache):
        self.cache, self.plan = cache, cache.plan

    def wrong(self, deform: Deformer, moving: Tensor, other: Tensor, batch: PairBatch, device: torch.device) -> Tensor:
        """1 - local correlation and, as the plan weighs it, 1 - soft Dice, both ways (exp(v) and exp(-v)), and the
        roughness of v on its own coarse grid (Dalca 2019, eq. 7, with local correlation)."""
        told = self.plan.training
        v = deform.coarse(moving, other)
        total = told.smooth_weight * roughness(v)
        ways = ((1, moving, batch.fixed), (-1, batch.fixed, moving))
        segments = (batch.moving_segments.to(device), batch.fixed_segments.to(device))
        for sign, start, aim in ways:
            u = resized(exponential(sign * v, SQUARINGS), moving.shape[2:])
            total = total + 0.5 * lncc(warp(start, u), aim.to(device), told.window)
            if told.dice_weight:
                p, t = (warp(segments[0], u), segments[1]) if sign > 0 else (warp(segments[1], u), segments[0])
                total = total + 0.5 * told.dice_weight * dice_loss(p, t)
        return total


class VoxelMorphLesson(Pairs):
    """VoxelMorph (Balakrishnan 2019): the deformation network sees both images."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        network, batch = cast(OnePassMorpher, network), self.cache.batch(step)
        moving, fixed = batch.moving.to(device), batch.fixed.to(device)
        return self.wrong(network.deform, moving, fixed, batch, device)


class MorphLesson(Pairs):
    """DiffuseMorph (Kim 2022, eq. 8): |G(x_t, t; m, f) - eps|^2 for noised fixed images x_t, and the registration with
    what G says of the fixed image itself at the least noise.

    The published code registers with the latents of all noise levels, though only that of the least is ever used
    afterwards; here each part of the loss is taught where it is used.
    """

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        network, batch = cast(Morpher, network), self.cache.batch(step)
        levels, size = self.schedule.levels, len(batch.uniform)
        noisy, times, eps = noised(batch.fixed, levels, batch.uniform, self.plan.seed, step)
        times = torch.cat([times, torch.full((size,), levels[0].time)])
        moving, fixed = batch.moving.to(device), batch.fixed.to(device)
        both = Condition(concat=torch.cat([moving, fixed], 1).repeat(2, 1, 1, 1, 1))
        said = network(torch.cat([noisy.to(device), fixed]), times.to(device), both)
        noise_error = functional.mse_loss(said[:size].float(), eps.to(device))
        return self.plan.training.noise_weight * noise_error + self.wrong(
            network.deform, moving, said[size:], batch, device
        )
