"""Measurements y = A x of one slice: real-linear maps from images to k-space or to smaller images.

Images are REAL tensors (B, C, Y, X): C = 1 is a real-valued image, C = 2 the real and imaginary part of a complex one.
K-space is complex, (B, coils, Y, X), CENTRED (zero frequency at (Y // 2, X // 2)) with the unitary FFT, as in fastMRI.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import BadInput

AXES = (-2, -1)


class Operator(ABC):
    """A measurement; inner products are real: <A x, y> = Re sum conj(A x) y = <x, A^T y>."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A x; raises `BadInput` for images of another shape."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y."""

    @abstractmethod
    def pinv(self, y: Tensor) -> Tensor:
        """A^+ y, the image of least norm among those that fit y best."""

    @abstractmethod
    def solve(self, x0: Tensor, y: Tensor, weight: float | Tensor) -> Tensor:
        """argmin_x weight |A x - y|^2 + |x - x0|^2, for weight >= 0."""


def fft2c(x: Tensor) -> Tensor:
    """Centred unitary 2D FFT of the last two axes."""
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, dim=AXES), norm="ortho"), dim=AXES)


def ifft2c(y: Tensor) -> Tensor:
    """Inverse, and adjoint, of `fft2c`."""
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(y, dim=AXES), norm="ortho"), dim=AXES)


def reflect(y: Tensor) -> Tensor:
    """y(k) -> y(-k) in centred order; with an even size the Nyquist line (index 0) is its own mirror image."""
    rolls = tuple(1 - y.shape[axis] % 2 for axis in AXES)
    return y.flip(AXES).roll(rolls, AXES)


def to_complex(x: Tensor) -> Tensor:
    """(B, 1, Y, X) or (B, 2, Y, X) real to (B, 1, Y, X) complex."""
    return torch.complex(x[:, :1], torch.zeros_like(x[:, :1]) if x.shape[1] == 1 else x[:, 1:])


def from_complex(z: Tensor, channels: int) -> Tensor:
    """(B, 1, Y, X) complex to (B, channels, Y, X) real, the adjoint of `to_complex`: one channel is the real part."""
    return z.real if channels == 1 else torch.cat([z.real, z.imag], 1)


class _Tight(Operator):
    """An operator with A A^T A = gain A: its inverses need no iterations. A subclass gives A and A^T."""

    @property
    def gain(self) -> float:
        return 1.0

    def pinv(self, y: Tensor) -> Tensor:
        return self.adjoint(y) / self.gain

    def solve(self, x0: Tensor, y: Tensor, weight: float | Tensor) -> Tensor:
        return x0 + weight / (1 + weight * self.gain) * self.adjoint(y - self(x0))


@dataclass(frozen=True)
class Identity(_Tight):
    """A = 1: denoising."""

    def __call__(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


@dataclass(frozen=True, eq=False)
class Inpaint(_Tight):
    """A x = mask x: images with unknown voxels. `mask` is true (1) where x is known, shape (..., Y, X)."""

    mask: Tensor

    def __post_init__(self) -> None:
        check_binary(self.mask, "inpainting mask")

    def __call__(self, x: Tensor) -> Tensor:
        check_shape(x, self.mask)
        return x * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.mask


@dataclass(frozen=True)
class Downsample(_Tight):
    """A x = mean of each block of `factor` voxels (Y, X): thick or coarse voxels, images (B, C, Y, X)."""

    factor: int | tuple[int, int]

    @property
    def factors(self) -> tuple[int, int]:
        return (self.factor, self.factor) if isinstance(self.factor, int) else self.factor

    @property
    def gain(self) -> float:
        return 1 / (self.factors[0] * self.factors[1])

    def __post_init__(self) -> None:
        if len(self.factors) != 2 or min(self.factors) < 1:
            raise BadInput(f"downsampling factor {self.factor} came; expected one or two (Y, X) whole numbers from 1")

    def __call__(self, x: Tensor) -> Tensor:
        fy, fx = self.factors
        rows, columns = x.shape[-2:]
        if rows % fy or columns % fx:
            raise BadInput(
                f"the image is {rows} x {columns} voxels, no multiple of the downsampling factor {fy} x {fx}; "
                f"crop it to {rows // fy * fy} x {columns // fx * fx}, or pad it"
            )
        return x.reshape(*x.shape[:-2], rows // fy, fy, columns // fx, fx).mean((-3, -1))

    def adjoint(self, y: Tensor) -> Tensor:
        fy, fx = self.factors
        return y.repeat_interleave(fy, -2).repeat_interleave(fx, -1) * self.gain


@dataclass(frozen=True)
class LowPass(_Tight):
    """A x = x without its high frequencies: the projection on |k| <= `fraction` of the Nyquist frequency, each axis."""

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise BadInput(f"low-pass fraction {self.fraction} came; expected more than 0 and at most 1 (keeps all)")

    def __call__(self, x: Tensor) -> Tensor:
        # |k| is even in k, so the projection of a real image is real and the imaginary part is rounding only.
        keep_y, keep_x = (torch.fft.fftfreq(n, device=x.device).abs() <= self.fraction / 2 for n in x.shape[-2:])
        return torch.fft.ifft2(torch.fft.fft2(x) * (keep_y[:, None] & keep_x)).real

    def adjoint(self, y: Tensor) -> Tensor:
        return self(y)


@dataclass(frozen=True, eq=False)
class Fourier(Operator):
    """A x = mask F x: single-coil Cartesian k-space (B, 1, Y, X) of images (B, `channels`, Y, X).

    A real image's k-space is Hermitian, so a sampled point tells its mirror image; the inverses make use of it.
    """

    mask: Tensor
    channels: int = 1

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_binary(self.mask, "sampling mask")

    def __call__(self, x: Tensor) -> Tensor:
        check_shape(x, self.mask, self.channels)
        return self.mask * fft2c(to_complex(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return from_complex(ifft2c(self.mask * y), self.channels)

    def pinv(self, y: Tensor) -> Tensor:
        total, count = self._gather(y)
        return from_complex(ifft2c(total / count.clamp_min(1)), self.channels)

    def solve(self, x0: Tensor, y: Tensor, weight: float | Tensor) -> Tensor:
        total, count = self._gather(y - self(x0))
        return x0 + from_complex(ifft2c(weight * total / (weight * count + 2)), self.channels)

    def _gather(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of what was measured of F x at k and at -k, and how many of the two were; for complex images, which
        have no such symmetry, k counts twice."""
        check_shape(y, self.mask, 1)
        y, mask = self.mask * y, self.mask.to(y.real.dtype)
        if self.channels == 2:
            return 2 * y, 2 * mask
        return y + reflect(y).conj(), mask + reflect(mask)


def check_shape(x: Tensor, mask: Tensor, channels: int | None = None) -> None:
    if x.shape[-2:] != mask.shape[-2:]:
        raise BadInput(
            f"the data are {tuple(x.shape[-2:])} (Y, X) in size, the mask {tuple(mask.shape[-2:])}; expected the same: "
            "choose the mask of these data, or resample"
        )
    if channels is not None and (x.ndim != 4 or x.shape[1] != channels):
        raise BadInput(f"data of shape {tuple(x.shape)} came; expected (B, {channels}, Y, X)")


def check_channels(channels: int) -> None:
    if channels not in (1, 2):
        raise BadInput(f"{channels} image channels came; expected 1 (real-valued) or 2 (real and imaginary part)")


def check_binary(mask: Tensor, what: str) -> None:
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise BadInput(f"the {what} holds other values than 0 and 1; expected 1 where data were measured: threshold it")
    if not mask.any():
        raise BadInput(f"the {what} is empty; expected 1 where data were measured")
