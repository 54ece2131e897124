"""Parallel imaging: several coils see one image, each through its own sensitivity (SENSE)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .errors import BadInput
from .operators import Operator, check_binary, check_channels, check_shape, fft2c, from_complex, ifft2c, to_complex

LARGEST = 2**25  # numbers in the eigenvectors of all lines, 0.5 GiB while they are found


@dataclass(frozen=True, eq=False)
class MultiCoil(Operator):
    """A x = mask F S x (Pruessmann 1999, SENSE): k-space (B, coils, Y, X) of images (B, `channels`, Y, X).

    `sensitivities` is complex, (coils, Y, X) or (B, coils, Y, X); its inverses are conjugate gradients, `iterations`
    of them or until the normal equations' residual is below `tolerance` of the first one.
    """

    mask: Tensor
    sensitivities: Tensor
    channels: int = 1
    iterations: int = 30
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_binary(self.mask, "sampling mask")
        if not self.sensitivities.is_complex() or self.sensitivities.ndim not in (3, 4):
            raise BadInput(
                f"the coil sensitivities are {self.sensitivities.dtype} of shape {tuple(self.sensitivities.shape)}; "
                "expected complex (coils, Y, X): estimate them from the calibration lines"
            )
        check_shape(self.sensitivities, self.mask)

    def __call__(self, x: Tensor) -> Tensor:
        check_shape(x, self.mask, self.channels)
        z = to_complex(x)
        return self.mask * fft2c(self.sensitivities.to(z.dtype) * z)

    def adjoint(self, y: Tensor) -> Tensor:
        check_shape(y, self.mask, self.sensitivities.shape[-3])
        coils = self.sensitivities.to(y.dtype).conj() * ifft2c(self.mask * y)
        return from_complex(coils.sum(1, keepdim=True), self.channels)

    def pinv(self, y: Tensor) -> Tensor:
        if self._lines is None:
            return self._cg(lambda p: self.adjoint(self(p)), self.adjoint(y))
        values, vectors = self._lines
        inverse = torch.where(values > 1e-6, 1 / values.clamp_min(1e-6), 0)
        return self._spectral(vectors, inverse, self.adjoint(y))

    def solve(self, x0: Tensor, y: Tensor, weight: float | Tensor) -> Tensor:
        right = weight * self.adjoint(y - self(x0))
        if self._lines is None or not isinstance(weight, (int, float)):
            return x0 + self._cg(lambda p: p + weight * self.adjoint(self(p)), right)
        values, vectors = self._lines
        return x0 + self._spectral(vectors, 1 / (1 + weight * values), right)

    @cached_property
    def _lines(self) -> tuple[Tensor, Tensor] | None:
        """Eigenvalues (Y, X) and eigenvectors (Y, X, X) of A^T A line by line, where whole lines along Y are sampled:
        A^T A then never mixes two rows, and on a row it is the circulant F^H M F times the coils' Gram matrix."""
        rows, columns = self.mask.shape[-2:]
        if self.sensitivities.ndim != 3 or rows * columns**2 > LARGEST or not bool((self.mask == self.mask[:1]).all()):
            return None
        eye = torch.eye(columns, dtype=torch.complex128)
        sampled = self.mask[0].cpu().to(torch.float64)
        spectrum = torch.fft.fft(torch.fft.ifftshift(eye, dim=0), dim=0, norm="ortho")
        spectrum = torch.fft.fftshift(spectrum, dim=0) * sampled[:, None]
        maps = self.sensitivities.cpu().to(torch.complex128)
        normal = (spectrum.mH @ spectrum) * torch.einsum("cyi,cyj->yij", maps.conj(), maps)
        values, vectors = torch.linalg.eigh(normal.real if self.channels == 1 else normal)
        kind = self.sensitivities.real.dtype if self.channels == 1 else self.sensitivities.dtype
        device = self.sensitivities.device
        return values.to(self.sensitivities.real.dtype).to(device), vectors.to(kind).to(device)

    def _spectral(self, vectors: Tensor, gains: Tensor, x: Tensor) -> Tensor:
        """sum_k gains_k v_k v_k^H x on every row of x (B, C, Y, X)."""
        z = (x if self.channels == 1 else to_complex(x))[:, 0]
        codes = torch.einsum("yij,byi->byj", vectors.conj(), z.to(vectors.dtype)) * gains
        out = torch.einsum("yij,byj->byi", vectors, codes)[:, None]
        return out.to(x.dtype) if self.channels == 1 else from_complex(out, 2).to(x.dtype)

    def _cg(self, normal: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
        """`normal`^+ `right` (Hestenes & Stiefel 1952), each image of the batch with steps of its own.

        Starting at zero, no iterate leaves the range of A^T: what the data cannot tell stays zero (least norm).
        """
        x, residual = torch.zeros_like(right), right
        direction, square = right, _dot(right, right)
        # The goal is at least the smallest normal number, so that an image whose residual is zero needs no division.
        goal = (square.detach() * self.tolerance**2).clamp_min(torch.finfo(right.dtype).tiny)
        for _ in range(self.iterations):
            running = square.detach() > goal
            if not running.any():
                break
            image = normal(direction)
            length = _dot(direction, image)
            step = torch.where(running, square / torch.where(running, length, 1), 0)
            x, residual = x + step * direction, residual - step * image
            last, square = square, _dot(residual, residual)
            direction = residual + torch.where(running, square / torch.where(running, last, 1), 0) * direction
        return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each image of the batch, (B, 1, 1, 1)."""
    return (a * b).sum((1, 2, 3), keepdim=True)
