"""Spaces: where diffusion happens. The image as it is, or the codes of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from .errors import BadInput
from .tiling import Index, pad_to_multiple


class Autoencoder(Protocol):
    """Images (B, channels, *spatial) to codes (B, code_channels, *spatial / downsample), and back.

    `quantise` moves a code to the nearest one that the decoder knows; where codes are continuous it changes nothing.
    """

    @property
    def channels(self) -> int: ...
    @property
    def code_channels(self) -> int: ...
    @property
    def downsample(self) -> int: ...

    def encode(self, x: Tensor) -> Tensor: ...
    def quantise(self, z: Tensor) -> Tensor: ...
    def decode(self, z: Tensor) -> Tensor: ...


class Space(Protocol):
    """decode(encode(x), size of x) = x for every x that the space can hold; both leave gradients alone."""

    def encode(self, x: Tensor) -> Tensor: ...
    def decode(self, z: Tensor, size: Sequence[int]) -> Tensor: ...
    def shape(self, shape: Sequence[int]) -> tuple[int, ...]: ...
    def enlarge(self, values: Tensor, size: Sequence[int]) -> Tensor: ...


@dataclass(frozen=True)
class Pixel:
    """The image itself."""

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor, size: Sequence[int]) -> Tensor:
        if tuple(z.shape[2:]) != tuple(size):
            raise BadInput(f"an image of {tuple(z.shape[2:])} pixels came; expected {tuple(size)}")
        return z

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape that an image (B, C, *spatial) has in this space."""
        return tuple(shape)

    def enlarge(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """Values at the positions of this space (B, C, *), at the image's pixels."""
        return self.decode(values, size)


@dataclass(frozen=True)
class Latent:
    """z = scale * E(x), x = D(z / scale), with the scale that gives z unit variance (Rombach 2022, app. G).

    Images of any size are padded with zeros, the background of network units, until their codes come in a `multiple`
    that the prior's network divides by; `decode` cuts that off. `quantise`: the decoder is given its nearest codes.
    """

    autoencoder: Autoencoder
    scale: float = 1.0
    multiple: int = 1
    quantise: bool = True

    def encode(self, x: Tensor) -> Tensor:
        """Codes before quantisation: those a diffusion prior is trained on, since they are continuous."""
        if x.ndim < 3 or x.shape[1] != self.autoencoder.channels:
            want = self.autoencoder.channels
            raise BadInput(f"an image of shape {tuple(x.shape)} came; this autoencoder takes (B, {want}, *spatial)")
        padded, _ = pad_to_multiple(x, self.autoencoder.downsample * self.multiple)
        return self.scale * self.autoencoder.encode(padded)

    def decode(self, z: Tensor, size: Sequence[int]) -> Tensor:
        """The image (B, C, *size) of codes (B, code channels, *)."""
        self._check(z, size)
        z = z / self.scale
        out = self.autoencoder.decode(self.autoencoder.quantise(z) if self.quantise else z)
        return out[(..., *self._crop(size))]

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the codes of an image (B, C, *spatial)."""
        step = self.autoencoder.downsample * self.multiple
        return (shape[0], self.autoencoder.code_channels, *(-(-n // step) * self.multiple for n in shape[2:]))

    def enlarge(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """Values at the positions of codes (B, C, *), at the image's pixels, linear in between."""
        self._check(values, size)
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[values.ndim - 2]
        large = functional.interpolate(
            values, scale_factor=float(self.autoencoder.downsample), mode=mode, align_corners=False
        )
        return large[(..., *self._crop(size))]

    def _check(self, z: Tensor, size: Sequence[int]) -> None:
        want = self.shape((0, 0, *size))[2:]
        if tuple(z.shape[2:]) != want:
            raise BadInput(f"codes of {tuple(z.shape[2:])} positions came; an image of {tuple(size)} pixels has {want}")

    def _crop(self, size: Sequence[int]) -> Index:
        """Where the image lies in its padded self, as `pad_to_multiple` puts it."""
        step = self.autoencoder.downsample * self.multiple
        return tuple(slice((-n % step) // 2, (-n % step) // 2 + n) for n in size)
