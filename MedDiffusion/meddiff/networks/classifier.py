"""A classifier that is told how noisy its image is: what guides sampling towards a class (Dhariwal 2021, sec. 4)."""

from __future__ import annotations

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional

from ..prior import Condition
from ..tiling import pad_to_multiple


class NoisedClassifier(nn.Module):
    """`forward(x, time, cond)` of x (B, C, Y, X), of any size -> logits (B, classes).

    Every place votes, and the votes are joined by a soft maximum, log mean exp: a lesion of a few voxels decides
    for a whole slice, as one would read it. `labels` counts the contrasts that `cond.label` may name.
    """

    def __init__(
        self,
        *,
        classes: int = 2,
        channels: int = 1,
        widths: tuple[int, ...] = (32, 48, 64, 64),
        groups: int = 16,
        patch: int = 2,
        labels: int = 1,
    ):
        super().__init__()
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        self.features, told = widths[0], 4 * widths[0]
        self.stem = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        self.time = nn.Sequential(nn.Linear(widths[0], told), nn.SiLU(), nn.Linear(told, told))
        self.label = nn.Embedding(labels, told)
        self.blocks = nn.ModuleList(
            DiffusionUNetResnetBlock(2, before, told, after, down=i > 0, norm_num_groups=groups)
            for i, (before, after) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.votes = nn.Sequential(
            nn.GroupNorm(groups, widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], classes, 1)
        )

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        times = torch.as_tensor(time, dtype=torch.float32, device=x.device).expand(len(x))
        told = self.time(get_timestep_embedding(times, self.features).to(self.stem.weight.dtype))
        if cond is not None and cond.label is not None:
            told = told + self.label(cond.label.to(x.device))
        padded, _ = pad_to_multiple(x, self.multiple)
        h = self.stem(functional.pixel_unshuffle(padded, self.patch))
        for block in self.blocks:
            h = block(h, told)
        votes = self.votes(h).float().flatten(2)
        return torch.logsumexp(votes, dim=2) - torch.tensor(float(votes.shape[2]), device=x.device).log()
