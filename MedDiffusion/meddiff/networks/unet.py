"""MONAI's DiffusionModelUNet behind one signature: any image size, any noise level, any condition."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from ..errors import BadInput
from ..prior import Condition
from ..tiling import pad_to_multiple
from .patches import to_depth, to_space


class DiffusionUNet(nn.Module):
    """`forward(x, time, cond)` for x (B, C, *spatial) of any size.

    `patch` > 1 is a space-to-depth stem: p x p neighbours become channels, so that no layer runs at full resolution,
    where few channels leave a processor idle (Shi 2016, sub-pixel convolution). An image with more channels than the
    network knows is denoised channel by channel: real and imaginary parts with a magnitude prior, as in Chung & Ye
    2022 (score-MRI), algorithm 3.
    """

    def __init__(self, unet: DiffusionModelUNet, *, channels: int, patch: int, multiple: int, labels: int | None):
        super().__init__()
        self.unet, self.channels, self.patch, self.multiple, self.labels = unet, channels, patch, multiple, labels

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        cond = cond or Condition()
        batch, folds = len(x), self._folds(x)
        x = x.reshape(batch * folds, self.channels, *x.shape[2:])
        times = torch.as_tensor(time, dtype=torch.float32, device=x.device).expand(batch).repeat_interleave(folds)
        label = self._label(cond, batch, x.device)
        padded, crop = pad_to_multiple(x if cond.concat is None else _stack(x, cond.concat, folds), self.multiple)
        out = self.unet(
            to_depth(padded, self.patch),
            times,
            context=None if cond.context is None else cond.context.repeat_interleave(folds, 0),
            class_labels=None if label is None else label.repeat_interleave(folds),
        )
        return to_space(out, self.patch)[(..., *crop)].reshape(batch, -1, *x.shape[2:]).to(x.dtype)

    def _folds(self, x: Tensor) -> int:
        folds, rest = divmod(x.shape[1], self.channels)
        if rest or not folds:
            raise BadInput(f"this network takes images of {self.channels} channel(s), got {x.shape[1]}")
        return folds

    def _label(self, cond: Condition, batch: int, device: torch.device) -> Tensor | None:
        if self.labels is None:
            return None
        if cond.label is None:  # the last class of every conditional network is the null label
            return torch.full((batch,), self.labels - 1, device=device)
        return cond.label.to(device)


def _stack(x: Tensor, concat: Tensor, folds: int) -> Tensor:
    return torch.cat([x, concat.repeat_interleave(folds, 0).to(x)], dim=1)


def unet_arguments(
    *,
    spatial_dims: int = 2,
    channels: int = 1,
    concat_channels: int = 0,
    widths: tuple[int, ...] = (32, 64, 128),
    blocks: tuple[int, ...] | int = 2,
    attention: tuple[bool, ...] | None = None,
    head_channels: int = 32,
    groups: int = 16,
    patch: int = 1,
    labels: int | None = None,
    context_features: int | None = None,
) -> dict[str, Any]:
    """Those of MONAI's UNet (Pinaya 2023), attention by `scaled_dot_product_attention`; `labels` counts the null."""
    depth = patch**spatial_dims
    return {
        "spatial_dims": spatial_dims,
        "in_channels": (channels + concat_channels) * depth,
        "out_channels": channels * depth,
        "num_res_blocks": blocks if isinstance(blocks, int) else tuple(blocks),
        "channels": tuple(widths),
        "attention_levels": tuple(attention or [False] * len(widths)),
        "norm_num_groups": groups,
        "num_head_channels": head_channels,
        "with_conditioning": context_features is not None,
        "cross_attention_dim": context_features,
        "num_class_embeds": labels,
        "use_flash_attention": True,
    }


def diffusion_unet(**arguments: Any) -> DiffusionUNet:
    """The network of these arguments, which are those of `unet_arguments`."""
    known = unet_arguments(**arguments)
    patch = arguments.get("patch", 1)
    return DiffusionUNet(
        DiffusionModelUNet(**known),
        channels=known["out_channels"] // patch ** known["spatial_dims"],
        patch=patch,
        multiple=patch * 2 ** (len(known["channels"]) - 1),
        labels=known["num_class_embeds"],
    )
