"""MedSegDiff (Wu 2023, arXiv:2211.00611): the image is encoded beside the noisy mask, and parsed in frequency space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import UpSample
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional

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
