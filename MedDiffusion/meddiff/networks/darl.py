"""DARL (Kim 2023, arXiv:2209.14566): a network that estimates noise, and a generator that reads vessels off it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import UpSample
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BadInput
from ..prior import Condition
from ..tiling import pad_to_multiple
from .patches import to_depth, to_space
from .unet import DiffusionUNet, diffusion_unet

EPS = 1e-3  # of the normalisation: a flat image stays flat


class SwitchableNorm(nn.Module):
    """Switchable SPADE (Kim 2023, eq. 7): without a mask, instance normalisation with a learnt scale and shift; with
    one, both are made of the mask, at every place (Park 2019, SPADE). `masks` 0 leaves the second half out."""

    def __init__(self, channels: int, masks: int, hidden: int):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.spade = nn.Sequential(_conv(masks, hidden), nn.SiLU(), _conv(hidden, 2 * channels)) if masks else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # one group for each channel: instance normalisation that keeps channels-last memory as it is
        if mask is None:
            return functional.group_norm(x, x.shape[1], self.scale, self.shift, EPS)
        if self.spade is None:
            raise BadInput("this generator was built without SPADE layers: it makes masks of images, not the reverse")
        scale, shift = self.spade(functional.adaptive_avg_pool2d(mask, (x.shape[2], x.shape[3]))).chunk(2, 1)
        return functional.group_norm(x, x.shape[1], eps=EPS) * (1 + scale) + shift


class _Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, a: int, b: int, masks: int, hidden: int):
        super().__init__()
        self.norms = nn.ModuleList(SwitchableNorm(c, masks, hidden) for c in (a, b))
        self.convs = nn.ModuleList(_conv(c, b) for c in (a, b))
        self.skip = nn.Identity() if a == b else _conv(a, b, kernel=1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        out = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            out = conv(functional.silu(norm(out, mask)))
        return self.skip(x) + out


class Generator(nn.Module):
    """`forward(x, mask)` for x (B, I, Y, X) of sizes that `multiple` divides. Without a mask it makes logits of vessels
    (B, 1, Y, X); with one (B, 1, Y, X), what vessels there do to the image."""

    def __init__(self, images: int, widths: Sequence[int], patch: int, spade: bool, hidden: int):
        super().__init__()
        masks, first = patch**2 if spade else 0, widths[0]
        below = list(zip(widths[1:], widths[:-1], strict=True))
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        self.enter = _conv(images * patch**2, first)
        self.down = nn.ModuleList(_Block(w, w, masks, hidden) for w in widths)
        self.shrink = nn.ModuleList(_conv(b, a, strides=2) for a, b in below)
        self.grow = nn.ModuleList(
            UpSample(2, a, b, scale_factor=2, mode="nontrainable", interp_mode="nearest", align_corners=None)
            for a, b in reversed(below)
        )
        self.up = nn.ModuleList(_Block(2 * b, b, masks, hidden) for _, b in reversed(below))
        self.last = SwitchableNorm(first, masks, hidden)
        self.exit = _conv(first, patch**2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x, mask = to_depth(x, self.patch), None if mask is None else to_depth(mask, self.patch)
        x = self.enter(x)
        kept = []
        for k, block in enumerate(self.down):
            x = block(x, mask)
            if k < len(self.shrink):
                kept.append(x)
                x = self.shrink[k](x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([grow(x), kept.pop()], 1), mask)
        return to_space(self.exit(functional.silu(self.last(x, mask))), self.patch)


class Darl(nn.Module):
    """`forward(x, time, cond)` is the estimate of the noise; `read(x, eps, mask)` is the generator, switched by `mask`:
    both at any size (B, 1, Y, X)."""

    def __init__(self, unet: DiffusionUNet, generator: Generator):
        super().__init__()
        self.unet, self.generator = unet, generator
        self.channels, self.multiple = 1, max(unet.multiple, generator.multiple)

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        return self.unet(x, time, cond)

    def read(self, x: Tensor, eps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of vessels in x (without a mask), or the change that vessels in the mask make to x."""
        padded, crop = pad_to_multiple(torch.cat([x, eps], 1), self.generator.multiple)
        if mask is not None:
            mask, _ = pad_to_multiple(mask, self.generator.multiple)
        return self.generator(padded, mask)[(..., *crop)].to(x.dtype)


def two(logits: Tensor) -> Tensor:
    """Logits (B, 1, ...) of vessels as those (B, 2, ...) of background and vessels."""
    return torch.cat([torch.zeros_like(logits), logits], 1)


def _conv(a: int, b: int, strides: int = 1, kernel: int = 3) -> nn.Module:
    return Convolution(2, a, b, strides=strides, kernel_size=kernel, conv_only=True)


def darl(
    *,
    classes: int = 2,
    widths: Sequence[int] = (32, 48, 64),
    generator_widths: Sequence[int] = (32, 48, 64),
    groups: int = 8,
    head_channels: int = 32,
    patch: int = 2,
    spade: bool = False,
    hidden: int = 16,
) -> Darl:
    """Both modules, without the layers that only the training needs unless `spade`; raises ValueError for classes other
    than vessels and background."""
    if classes != 2:
        raise ValueError(f"{classes} classes; expected 2, vessels and background")
    unet = diffusion_unet(widths=tuple(widths), blocks=1, groups=groups, head_channels=head_channels, patch=patch)
    return Darl(unet, Generator(2, widths=generator_widths, patch=patch, spade=spade, hidden=hidden))
