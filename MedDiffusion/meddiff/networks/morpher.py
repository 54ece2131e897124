"""Networks that register: what deforms a moving image, and beside it the diffusion network whose latent it is told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from ..prior import Condition
from ..tiling import pad_to_multiple
from ..warp import resized
from .patches import to_depth
from .unet import DiffusionUNet, diffusion_unet


class Deformer(nn.Module):
    """M(moving, other): a stationary velocity (B, D, *spatial) in voxels, of two images (B, 1, *spatial).

    The U-Net works on cubes of `patch` voxels as channels and answers once for each cube: a smooth velocity needs no
    more, and no layer runs at full resolution. Its last layer begins at zero, so an untrained network moves nothing.
    """

    def __init__(self, dims: int, widths: Sequence[int], blocks: int, groups: int, patch: int):
        super().__init__()
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        self.unet = DiffusionModelUNet(
            spatial_dims=dims,
            in_channels=2 * patch**dims,
            out_channels=dims,
            num_res_blocks=blocks,
            channels=tuple(widths),
            attention_levels=(False,) * len(widths),
            norm_num_groups=groups,
        )

    def coarse(self, moving: Tensor, other: Tensor) -> Tensor:
        """The velocity of the images padded to a multiple, one vector for each cube, in voxels of that coarse grid."""
        padded, _ = pad_to_multiple(torch.cat([moving, other], 1), self.multiple)
        return self.unet(to_depth(padded, self.patch), padded.new_zeros(len(padded))).float()

    def forward(self, moving: Tensor, other: Tensor) -> Tensor:
        padded, crop = pad_to_multiple(moving, self.multiple)
        return resized(self.coarse(moving, other), padded.shape[2:])[(..., *crop)].to(moving.dtype)


class OnePassMorpher(nn.Module):
    """VoxelMorph (Balakrishnan 2019): the deformer is shown the fixed image itself."""

    def __init__(self, deform: Deformer):
        super().__init__()
        self.deform, self.multiple = deform, deform.multiple

    def forward(self, x: Tensor, time: float | Tensor = 0.0, cond: Condition | None = None) -> Tensor:
        """The velocity of the moving image x (B, 1, *spatial) and the fixed image `cond.concat`."""
        return self.deform(x, x if cond is None or cond.concat is None else cond.concat)


class Morpher(nn.Module):
    """DiffuseMorph (Kim 2022): G(x_t, t; moving, fixed) says which noise is in x_t, and what it says of the fixed image
    itself, at the least noise, is the latent that `deform` is told in place of the fixed image."""

    def __init__(self, denoiser: DiffusionUNet, deform: Deformer):
        super().__init__()
        self.denoiser, self.deform = denoiser, deform
        self.multiple = max(denoiser.multiple, deform.multiple)

    def forward(self, x: Tensor, time: float | Tensor, cond: Condition | None = None) -> Tensor:
        """eps (B, 1, *spatial); the moving and the fixed image are the channels of `cond.concat`."""
        return self.denoiser(x, time, cond)


def one_pass_morpher(
    *, spatial_dims: int = 3, widths: Sequence[int] = (16, 32, 32), blocks: int = 1, groups: int = 8, patch: int = 2
) -> OnePassMorpher:
    """The baseline that `morpher` has to beat: the same deformation network, without the diffusion network."""
    return OnePassMorpher(Deformer(spatial_dims, widths, blocks, groups, patch))


def morpher(
    *,
    spatial_dims: int = 3,
    widths: Sequence[int] = (16, 32, 32),
    denoiser_widths: Sequence[int] = (16, 32, 32),
    blocks: int = 1,
    groups: int = 8,
    patch: int = 2,
) -> Morpher:
    """Both networks of DiffuseMorph, each a U-Net of MONAI on cubes of `patch` voxels."""
    denoiser = diffusion_unet(
        spatial_dims=spatial_dims,
        concat_channels=2,
        widths=tuple(denoiser_widths),
        blocks=blocks,
        groups=groups,
        head_channels=8,
        patch=patch,
    )
    return Morpher(denoiser, Deformer(spatial_dims, widths, blocks, groups, patch))
