"""A classifier that is told how noisy its image is: what guides sampling towards a class (Dhariwal 2021, sec. 4)."""

from __future__ import annotations

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional

from ..prior import Condition
from ..tiling import pad_to_multiple


class NoisedClassifier(nn.Module):
    """`forward(x, time, cond)` of x (B, C, Y, X), of any size -> logits (B, 2): healthy, diseased.

    Every place votes, and a slice is healthy where all of its places are, each by itself (the noisy or of multiple
    instances): a lesion of a few voxels decides, as one would read it. `labels` counts the contrasts that
    `cond.label` may name, the null one with them.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        widths: tuple[int, ...] = (32, 48, 64, 64),
        groups: int = 16,
        patch: int = 2,
        labels: int = 1,
        levels: int = 3,
    ):
        super().__init__()
        levels = min(levels, len(widths))
        self.patch, self.multiple = patch, patch * 2 ** (levels - 1)
        self.features, told = widths[0], 4 * widths[0]
        self.stem = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        self.time = nn.Sequential(nn.Linear(widths[0], told), nn.SiLU(), nn.Linear(told, told))
        self.label = nn.Embedding(labels, told)
        self.blocks = nn.ModuleList(
            DiffusionUNetResnetBlock(2, before, told, after, down=0 < i < levels, norm_num_groups=groups)
            for i, (before, after) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        last = nn.Conv2d(widths[-1], 1, 1)
        self.vote = nn.Sequential(nn.GroupNorm(groups, widths[-1]), nn.SiLU(), last)
        if last.bias is not None:
            nn.init.constant_(last.bias, -5.0)  # few places have lesions

    def votes(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        """The log odds that there is a lesion at each place, (B, 1, Y / `multiple`, X / `multiple`) of padded x."""
        times = torch.as_tensor(time, dtype=torch.float32, device=x.device).expand(len(x))
        told = self.time(get_timestep_embedding(times, self.features).to(self.stem.weight.dtype))
        if cond is not None and cond.label is not None:
            told = told + self.label(cond.label.to(x.device))
        padded, _ = pad_to_multiple(x, self.multiple)
        h = self.stem(functional.pixel_unshuffle(padded, self.patch))
        for block in self.blocks:
            h = block(h, told)
        return self.vote(h).float()

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        return self.join(self.votes(x, time, cond))

    def join(self, votes: Tensor) -> Tensor:
        """Logits (B, 2) of a slice from the votes of its places: it is healthy only where all of them are."""
        healthy = -functional.softplus(votes).flatten(1).sum(1)  # log of the product of all chances to be healthy
        return torch.stack([healthy, torch.log(-torch.expm1(healthy.clamp_max(-1e-6)))], dim=1)
