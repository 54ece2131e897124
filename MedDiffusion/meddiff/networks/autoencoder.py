"""MONAI's autoencoders behind one signature: images to codes and back, in two and three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.vqvae import VQVAE
from torch import Tensor, nn
from torch.nn import functional

from ..spaces import Autoencoder, Latent


class VQAutoencoder(nn.Module):
    """Codes from a learnt book (van den Oord 2017, VQ-VAE), kept by moving averages; distances in full precision."""

    def __init__(self, vqvae: VQVAE, *, channels: int, code_channels: int, downsample: int):
        super().__init__()
        self.vqvae = vqvae
        self.channels, self.code_channels = channels, code_channels
        self.downsample = self.multiple = downsample

    @property
    def book(self) -> Tensor:
        """The codes that the decoder knows, (number of codes, code channels)."""
        return self.vqvae.quantizer.quantizer.embedding.weight

    def encode(self, x: Tensor) -> Tensor:
        return self.vqvae.encode(x)

    def nearest(self, z: Tensor) -> Tensor:
        """The number of the nearest code at each position, (B, *)."""
        with torch.autocast(z.device.type, enabled=False):
            rows, book = z.movedim(1, -1).float(), self.book.float()
            return ((book**2).sum(1) - 2 * rows @ book.T).argmin(-1)  # |z|^2 is the same for all codes

    def quantise(self, z: Tensor) -> Tensor:
        """The nearest codes; gradients pass straight through, as in training."""
        codes = functional.embedding(self.nearest(z), self.book).movedim(-1, 1).to(z)
        return z + (codes - z).detach()

    def decode(self, z: Tensor) -> Tensor:
        return self.vqvae.decode(z)

    def forward(self, x: Tensor, time: float = 0.0, cond: object = None) -> Tensor:
        return _round_trip(self, x)


class KLAutoencoder(nn.Module):
    """Gaussian codes near N(0, 1) (Kingma 2014; Rombach 2022, KL-reg); `encode` gives their mean."""

    def __init__(self, kl: AutoencoderKL, *, channels: int, code_channels: int, downsample: int):
        super().__init__()
        self.kl = kl
        self.channels, self.code_channels = channels, code_channels
        self.downsample = self.multiple = downsample

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the code."""
        return self.kl.encode(x)

    def encode(self, x: Tensor) -> Tensor:
        return self.kl.encode(x)[0]

    def quantise(self, z: Tensor) -> Tensor:
        return z

    def decode(self, z: Tensor) -> Tensor:
        return self.kl.decode(z)

    def forward(self, x: Tensor, time: float = 0.0, cond: object = None) -> Tensor:
        return _round_trip(self, x)


def _round_trip(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    space = Latent(autoencoder)
    return space.decode(space.encode(x), x.shape[2:])


@dataclass(frozen=True)
class AutoencoderInPrecision:
    """An autoencoder run under autocast; images and codes go in and come out in their own type."""

    network: Autoencoder
    dtype: torch.dtype

    @property
    def channels(self) -> int:
        return self.network.channels

    @property
    def code_channels(self) -> int:
        return self.network.code_channels

    @property
    def downsample(self) -> int:
        return self.network.downsample

    def encode(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return self.network.encode(x).to(x.dtype)

    def quantise(self, z: Tensor) -> Tensor:
        return self.network.quantise(z)

    def decode(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return self.network.decode(z).to(z.dtype)


def vq_arguments(
    *,
    spatial_dims: int = 2,
    channels: int = 1,
    widths: tuple[int, ...] = (48, 96),
    blocks: int = 2,
    codes: int = 512,
    code_channels: int = 4,
    commitment: float = 0.25,
    decay: float = 0.99,
) -> dict[str, Any]:
    """Those of MONAI's VQVAE (Tudosiu 2022): each of the `widths` halves the image, `codes` have `code_channels`."""
    levels = len(widths)
    return {
        "spatial_dims": spatial_dims,
        "in_channels": channels,
        "out_channels": channels,
        "channels": tuple(widths),
        "num_res_channels": tuple(widths),
        "num_res_layers": blocks,
        "downsample_parameters": ((2, 4, 1, 1),) * levels,
        "upsample_parameters": ((2, 4, 1, 1, 0),) * levels,
        "num_embeddings": codes,
        "embedding_dim": code_channels,
        "commitment_cost": commitment,
        "decay": decay,
    }


def vqvae(**arguments: Any) -> VQAutoencoder:
    """The autoencoder of these arguments, which are those of `vq_arguments`."""
    known = vq_arguments(**arguments)
    return VQAutoencoder(
        VQVAE(**known),
        channels=known["in_channels"],
        code_channels=known["embedding_dim"],
        downsample=2 ** len(known["channels"]),
    )


def kl_arguments(
    *,
    spatial_dims: int = 2,
    channels: int = 1,
    widths: tuple[int, ...] = (32, 64, 64),
    blocks: int = 1,
    code_channels: int = 4,
    attention: tuple[bool, ...] | None = None,
    groups: int = 16,
) -> dict[str, Any]:
    """Those of MONAI's AutoencoderKL (Rombach 2022; Pinaya 2022): all `widths` but the last halve the image."""
    return {
        "spatial_dims": spatial_dims,
        "in_channels": channels,
        "out_channels": channels,
        "channels": tuple(widths),
        "num_res_blocks": blocks,
        "attention_levels": tuple(attention or [False] * len(widths)),
        "latent_channels": code_channels,
        "norm_num_groups": groups,
        "with_encoder_nonlocal_attn": attention is not None,
        "with_decoder_nonlocal_attn": attention is not None,
    }


def autoencoder_kl(**arguments: Any) -> KLAutoencoder:
    """The autoencoder of these arguments, which are those of `kl_arguments`."""
    known = kl_arguments(**arguments)
    return KLAutoencoder(
        AutoencoderKL(**known),
        channels=known["in_channels"],
        code_channels=known["latent_channels"],
        downsample=2 ** (len(known["channels"]) - 1),
    )
