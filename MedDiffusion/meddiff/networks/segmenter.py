"""Networks that segment: one that cleans noisy masks beside an image, and the same one made to do it in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..codes import CODES, channels, encode_soft
from ..errors import choose
from ..prior import Condition
from .unet import DiffusionUNet, diffusion_unet


class MaskDenoiser(nn.Module):
    """E[x0 | x_t, image] of a coded mask: x (B, C, *spatial), the image (B, I, *spatial) as `cond.concat`.

    The U-Net's outputs are logits of the classes, so that what comes out is the mean of codes that exist: with the
    softmax p of one-hot classes it is 2 p - 1, which is exact where p is calibrated (as Austin 2021, D3PM, sec. 3.3,
    has it for discrete noise). Cross-entropy on `logits` is then the likelihood of the clean mask.
    """

    def __init__(self, unet: DiffusionUNet, classes: int, code: str):
        super().__init__()
        self.unet, self.classes, self.code = unet, classes, choose(code, CODES, "code of classes")
        self.channels, self.multiple = channels(classes, code), unet.multiple

    def logits(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        """Logits (B, K, *spatial) of the clean classes."""
        spare = self.classes - self.channels  # bits are fewer than classes; the U-Net has one channel for each class
        x = torch.cat([x, x.new_zeros(len(x), spare, *x.shape[2:])], 1) if spare else x
        return self.unet(x, time, cond)

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        return encode_soft(self.logits(x, time, cond).float().softmax(1), self.code).to(x.dtype)


class OnePass(nn.Module):
    """The same U-Net, of the same size, without noise: image (B, I, *spatial) to logits (B, K, *spatial)."""

    def __init__(self, unet: DiffusionUNet, classes: int):
        super().__init__()
        self.unet, self.classes, self.multiple = unet, classes, unet.multiple

    def forward(self, x: Tensor, time: float | Tensor = 0.0, cond: Condition | None = None) -> Tensor:
        blank = x.new_zeros(len(x), self.classes, *x.shape[2:])
        return self.unet(blank, 0.0, Condition(concat=x))


def mask_denoiser(*, classes: int, images: int = 1, code: str = "one-hot", **arguments: Any) -> MaskDenoiser:
    """A denoiser of masks of `classes` classes beside `images` image channels; the rest is for `diffusion_unet`."""
    return MaskDenoiser(diffusion_unet(channels=classes, concat_channels=images, **arguments), classes, code)


def one_pass(*, classes: int, images: int = 1, **arguments: Any) -> OnePass:
    """The baseline that `mask_denoiser` has to beat: same layers, one pass."""
    return OnePass(diffusion_unet(channels=classes, concat_channels=images, **arguments), classes)
