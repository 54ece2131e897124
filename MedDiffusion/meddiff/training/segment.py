"""Lessons of segmentation: a denoiser of masks, its one-pass baseline, and MedSegDiff; and the way back, from a label
map to an image."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..codes import encode
from ..networks.medsegdiff import MedSegDiff
from ..networks.segmenter import MaskDenoiser
from ..noises import Gaussian, seed_of
from ..prior import Condition
from .case_plans import SegmentPlan
from .cases import CaseCache, CropBatch
from .draws import aims, noised
from .lessons import Planned


class Cases(Planned):
    """The base of the lessons on labelled images."""

    plan: SegmentPlan

    def __init__(self, cache: CaseCache):
        self.cache, self.plan = cache, cache.plan

    def noised(self, batch: CropBatch, code: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Coded masks (B, C, *spatial) as x_t, and their times (B,)."""
        x, times, _ = noised(code, self.schedule.levels, batch.uniform, self.plan.seed, step)
        return x, times

    def wrong(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy and, as the plan weighs it, 1 - soft Dice of the segments (Milletari 2016), in float32."""
        logits, weight = logits.float(), self.plan.training.dice_weight
        return functional.cross_entropy(logits, labels) + (weight * soft_dice_loss(logits, labels) if weight else 0)


class UNetLesson(Cases):
    """One pass, image to mask (Ronneberger 2015; Isensee 2021 for the loss)."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch = self.cache.batch(step)
        return self.wrong(network(batch.images.to(device)), batch.labels.to(device))


class SegmenterLesson(Cases):
    """Mask diffusion (Wolleb 2022) with the clean mask as its target: the loss of the baseline, for every noise level
    alike, on the classes that the network sees in the noisy mask and the image.

    Taught by true masks alone it trusts the noisy one, and a mistake that it makes early grows with every step. So some
    noisy masks are made of what it answers to pure noise (Fu 2023, recycling, arXiv:2308.16355).
    """

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        network, batch = cast(MaskDenoiser, network), self.cache.batch(step)
        cond = Condition(concat=batch.images.to(device))
        code = self.recycled(network, encode(batch.labels, network.classes, network.code).to(device), cond, step)
        x, times = self.noised(batch, code, step)
        return self.wrong(network.logits(x, times.to(device), cond), batch.labels.to(device))

    @torch.no_grad()
    def recycled(self, network: MaskDenoiser, code: Tensor, cond: Condition, step: int) -> Tensor:
        """The coded masks (B, C, *spatial), as many as the plan says replaced by the network's answer to noise."""
        seed, share, top = self.plan.seed, self.plan.training.recycled, self.schedule.levels[-1]
        if not share:
            return code
        g = torch.Generator().manual_seed(seed_of(seed, "recycled", step))
        rows = (torch.rand(len(code), generator=g) < share).to(code.device).reshape(-1, *(1,) * (code.ndim - 1))
        noise = Gaussian([seed_of(seed, "answered", step, k) for k in range(len(code))])(code)
        return torch.where(rows, network(top.sigma * noise, top.time, cond), code)


class MedSegDiffLesson(Cases):
    """MedSegDiff (Wu 2023, eq. 6): the loss of the sample, and ten times the squared error of the coarse map."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        network, batch = cast(MedSegDiff, network), self.cache.batch(step)
        x, times = self.noised(batch, encode(batch.labels, network.classes, network.code), step)
        labels = batch.labels.to(device)
        logits, coarse = network.logits(x.to(device), times.to(device), Condition(concat=batch.images.to(device)))
        error = coarse.float().softmax(1) - one_hot(labels, network.classes)
        return self.wrong(logits, labels) + self.plan.training.coarse_weight * error.square().mean()


class ImagerLesson(Cases):
    """Diffusion of images with the coded label map beside them (Ho 2020, eq. 14; Dorjsembe 2023, Med-DDPM,
    arXiv:2305.18453), which is 0 where it is not told."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch, levels, seed = self.cache.batch(step), self.schedule.levels, self.plan.seed
        x, times, _ = noised(batch.images, levels, batch.uniform, seed, step)
        code = encode(batch.labels, len(self.plan.segments) + 1, "one-hot")
        g = torch.Generator().manual_seed(seed_of(seed, "drop", step))
        told = torch.rand(len(code), generator=g) >= self.plan.training.drop_labels
        cond = Condition(concat=(code * told.reshape(-1, *(1,) * (code.ndim - 1))).to(device))
        out = network(x.to(device), times.to(device), cond).float()
        return (out - aims(batch.images, x, times, levels, self.plan.predicts).to(device)).square().mean()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, *spatial) as (B, K, *spatial) of 0 and 1."""
    return functional.one_hot(labels, classes).movedim(-1, 1).float()


def soft_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """`dice_loss` of the segments, the background left out."""
    return dice_loss(logits.softmax(1)[:, 1:], one_hot(labels, logits.shape[1])[:, 1:])


def dice_loss(p: Tensor, t: Tensor) -> Tensor:
    """1 - the mean over images and segments of 2 sum(p t) / (sum p + sum t), p and t (B, K, *spatial) (Milletari 2016,
    V-Net, with sums of p instead of squares); one voxel more in both, so that nothing found of nothing is 1."""
    p, t = p.flatten(2), t.flatten(2)
    return 1 - ((2 * (p * t).sum(2) + 1) / (p.sum(2) + t.sum(2) + 1)).mean()
