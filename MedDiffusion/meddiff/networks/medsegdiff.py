"""MedSegDiff (Wu 2023, arXiv:2211.00611): the image is encoded beside the noisy mask, and parsed in frequency space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import UpSample
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, get_timestep_embedding
from torch import Tensor, nn

from ..codes import CODES, channels, encode_soft
from ..errors import BadInput, choose
from ..prior import Condition
from ..tiling import pad_to_multiple
from .patches import to_depth, to_space


class FrequencyParser(nn.Module):
    """FF-Parser (Wu 2023, sec. 2.3): F^-1(A * F(x)) with a learnt complex map A, that fits spectra of any size.

    A is kept on a small grid of signed frequencies and interpolated to those of the image at hand, so that a filter
    means the same in every image: the paper's map belongs to one image size. It starts as the identity.
    """

    def __init__(self, channels: int, spatial_dims: int, grid: int = 9):
        super().__init__()
        self.axes = tuple(range(-spatial_dims, 0))
        half = grid // 2 + 1  # of the last axis, a real signal has no negative frequencies
        shape = (*(grid,) * (spatial_dims - 1), half)
        self.real = nn.Parameter(torch.ones(1, channels, *shape))
        self.imaginary = nn.Parameter(torch.zeros(1, channels, *shape))

    def filter(self, size: Sequence[int]) -> Tensor:
        """A (1, C, *spectrum) for images of `size`: linear between the frequencies -1/2 to 1/2 (0 to 1/2 on the last
        axis) cycles a voxel of the grid."""
        parts = torch.stack([self.real[0], self.imaginary[0]]).float()
        for axis, n in zip(self.axes, size, strict=True):
            if axis == -1:
                at = torch.fft.rfftfreq(n, device=parts.device) * 2
            else:
                at = torch.fft.fftfreq(n, device=parts.device) + 0.5
            at = at * (parts.shape[axis] - 1)
            low = at.floor().clamp(0, max(parts.shape[axis] - 2, 0)).long()
            weight = (at - low).reshape(-1, *(1,) * (-axis - 1))
            high = (low + 1).clamp_max(parts.shape[axis] - 1)
            parts = (1 - weight) * parts.index_select(axis, low) + weight * parts.index_select(axis, high)
        return torch.complex(parts[0], parts[1])[None]

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-len(self.axes) :]
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfftn(x.float(), dim=self.axes) * self.filter(size)
            return torch.fft.irfftn(spectrum, s=size, dim=self.axes).to(x.dtype)


class _Fusion(nn.Module):
    """Dynamic conditional encoding (Wu 2023, eq. 4): the parsed mask features m and image features c weigh each other,
    c' = (n(c) * n(m)) * c, and m + conv(c') goes on."""

    def __init__(self, channels: int, spatial_dims: int, groups: int):
        super().__init__()
        self.parser = FrequencyParser(channels, spatial_dims)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(2))
        self.mix = Convolution(spatial_dims, channels, channels, kernel_size=1, conv_only=True)

    def forward(self, m: Tensor, c: Tensor) -> Tensor:
        m = self.parser(m)
        return m + self.mix(c * (1 + self.norms[0](c) * self.norms[1](m)))


class MedSegDiff(nn.Module):
    """`forward(x, time, cond)` -> E[x0 | x_t, image] of a coded mask (B, C, *spatial) of any size; `coarse(image)` ->
    logits of the map that the condition's own U-Net makes, which the training teaches it beside the noise."""

    def __init__(
        self, spatial_dims: int, classes: int, code: str, images: int, widths: Sequence[int], groups: int, patch: int
    ):
        super().__init__()
        self.classes, self.code, self.patch = classes, choose(code, CODES, "code of classes"), patch
        self.channels, self.multiple, self.base = channels(classes, code), patch * 2 ** (len(widths) - 1), widths[0]
        depth, first, top = patch**spatial_dims, widths[0], 4 * widths[0]

        def conv(a: int, b: int, strides: int = 1) -> nn.Module:
            return Convolution(spatial_dims, a, b, strides=strides, kernel_size=3, conv_only=True)

        def block(a: int, b: int) -> nn.Module:
            return DiffusionUNetResnetBlock(spatial_dims, a, top, b, norm_num_groups=groups)

        def up(a: int, b: int) -> nn.Module:
            return UpSample(
                spatial_dims, a, b, scale_factor=2, mode="nontrainable", interp_mode="nearest", align_corners=None
            )

        def exit(a: int) -> nn.Module:
            return nn.Sequential(nn.GroupNorm(groups, a), nn.SiLU(), conv(a, classes * depth))

        below = list(zip(widths[1:], widths[:-1], strict=True))
        self.time = nn.Sequential(nn.Linear(first, top), nn.SiLU(), nn.Linear(top, top))
        self.enter = nn.ModuleList([conv(self.channels * depth, first), conv(images * depth, first)])
        # of each list: the mask's, then the image's
        self.down = nn.ModuleList(nn.ModuleList(block(w, w) for w in widths) for _ in range(2))
        self.shrink = nn.ModuleList(nn.ModuleList(conv(b, a, 2) for a, b in below) for _ in range(2))
        self.middle = nn.ModuleList(block(widths[-1], widths[-1]) for _ in range(2))
        self.grow = nn.ModuleList(nn.ModuleList(up(a, b) for a, b in reversed(below)) for _ in range(2))
        self.up = nn.ModuleList(nn.ModuleList(block(2 * b, b) for _, b in reversed(below)) for _ in range(2))
        self.exit = nn.ModuleList(exit(first) for _ in range(2))
        self.fusions = nn.ModuleList(_Fusion(w, spatial_dims, groups) for w in widths)

    def logits(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, K, *spatial) of the clean classes and of the coarse map."""
        if cond is None or cond.concat is None:
            raise BadInput("this network segments an image, and none came with the mask; give it as `concat`")
        padded, crop = pad_to_multiple(torch.cat([x, cond.concat.to(x)], 1), self.multiple)
        mask, image = padded[:, : self.channels], padded[:, self.channels :]
        times = torch.as_tensor(time, dtype=torch.float32, device=x.device).expand(len(x))
        told = self.time(get_timestep_embedding(times, self.base).to(x.dtype))
        features, rough = self._encode(image)
        h, skips = self.enter[0](to_depth(mask, self.patch)), []
        for i, fusion in enumerate(self.fusions):
            h = fusion(_list(self.down, 0)[i](h, told), features[i])
            skips.append(h)
            h = _list(self.shrink, 0)[i](h) if i + 1 < len(self.fusions) else h
        return self._decode(0, self.middle[0](h, told), skips, told)[(..., *crop)], rough[(..., *crop)]

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        return encode_soft(self.logits(x, time, cond)[0].float().softmax(1), self.code).to(x.dtype)

    def coarse(self, image: Tensor) -> Tensor:
        """Logits (B, K, *spatial) of the coarse map of images (B, I, *spatial)."""
        padded, crop = pad_to_multiple(image, self.multiple)
        return self._encode(padded)[1][(..., *crop)]

    def _encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """The features of the image at every scale, and the logits of the coarse map."""
        still = image.new_zeros(len(image), 4 * self.base)  # the image has no noise level
        h, skips = self.enter[1](to_depth(image, self.patch)), []
        for i, block in enumerate(_list(self.down, 1)):
            h = block(h, still)
            skips.append(h)
            h = _list(self.shrink, 1)[i](h) if i + 1 < len(_list(self.down, 1)) else h
        return skips, self._decode(1, self.middle[1](h, still), skips, still)

    def _decode(self, which: int, h: Tensor, skips: Sequence[Tensor], told: Tensor) -> Tensor:
        for grow, block, skip in zip(_list(self.grow, which), _list(self.up, which), reversed(skips[:-1]), strict=True):
            h = block(torch.cat([grow(h), skip], 1), told)
        return to_space(self.exit[which](h), self.patch)


def medsegdiff(
    *,
    classes: int,
    images: int = 1,
    code: str = "one-hot",
    spatial_dims: int = 2,
    widths: tuple[int, ...] = (32, 64, 64),
    groups: int = 8,
    patch: int = 1,
) -> MedSegDiff:
    """A MedSegDiff of `classes` classes beside `images` image channels."""
    return MedSegDiff(spatial_dims, classes, code, images, tuple(widths), groups, patch)


def _list(lists: nn.ModuleList, which: int) -> nn.ModuleList:
    """One of the two lists: the mask's or the image's."""
    return cast(nn.ModuleList, lists[which])
