"""Masks with exact answers: voxels that are independent given the image, so that Bayes' rule is the denoiser."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meddiff.codes import encode
from meddiff.levels import Level, Schedule
from meddiff.prior import Condition, Prior

CLASSES = 3


@dataclass(frozen=True)
class Classes:
    """Class k of a voxel of brightness v has the chance softmax(k v)_k; written without the engine's own decoding."""

    code: str

    def chances(self, image: Tensor) -> Tensor:
        """(B, K, *spatial) of images (B, 1, *spatial)."""
        return torch.cat([k * image for k in range(CLASSES)], 1).softmax(1)

    def words(self, like: Tensor) -> Tensor:
        """(K, C): the code of each class."""
        return encode(torch.arange(CLASSES)[:, None], CLASSES, self.code)[:, :, 0].to(like)

    def denoise(self, x: Tensor, level: Level, cond: Condition | None) -> Tensor:
        """E[x0 | x_t, image]: the codes, weighed by chance and likelihood."""
        assert cond is not None and cond.concat is not None
        words = self.words(x)
        far = torch.stack(
            [(x - level.alpha * w.reshape(1, -1, *(1,) * (x.ndim - 2))).square().sum(1) for w in words], 1
        )
        posterior = (self.chances(cond.concat.to(x)).log() - far / (2 * level.sigma**2)).softmax(1)
        return torch.einsum("bk...,kc->bc...", posterior, words)

    def prior(self, schedule: Schedule) -> Prior:
        levels = {level.time: level for level in schedule.levels}
        return Prior(lambda x, time, cond=None: self.denoise(x, levels[time], cond), schedule, "x0")
