"""Random windows of labelled 3D images: turned, scaled, bent, and recoloured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .case_plans import AugmentCrop, Pose


def window(array: Tensor, size: Sequence[int], corner: Sequence[int], fill: float = 0.0) -> Tensor:
    """The part of `array` (..., Z, Y, X) of `size` that begins at `corner`, which may lie outside: filled there."""
    out = array
    for axis, (n, start) in enumerate(zip(size, corner, strict=True), array.ndim - len(size)):
        length = array.shape[axis]
        first, last = max(start, 0), min(start + n, length)
        out = out.narrow(axis, min(first, length), max(last - first, 0))
        widths = [0, 0] * (array.ndim - 1 - axis) + [first - start, start + n - max(last, first)]
        out = functional.pad(out, widths, value=fill)
    return out


def place(
    image: Tensor, labels: Tensor, size: Sequence[int], change: AugmentCrop, g: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random window (C, *size) of an image and of its labels (*size), sometimes turned, scaled and bent."""
    shape, random = labels.shape, torch.rand(8, generator=g).tolist()
    room = [n - s for n, s in zip(shape, size, strict=True)]
    corner = [round(r * v) if r > 0 else r // 2 for r, v in zip(room, random[:3], strict=True)]
    if random[3] < change.affine:
        image, labels = _bend(image, labels, size, corner, change, g)
    else:
        image, labels = window(image, size, corner), window(labels, size, corner)
    for axis, (probability, draw) in enumerate(zip(change.flip, random[4:7], strict=True)):
        if draw < probability:
            image, labels = image.flip(axis + 1), labels.flip(axis)
    return image, labels


def _bend(
    image: Tensor, labels: Tensor, size: Sequence[int], corner: Sequence[int], change: AugmentCrop, g: torch.Generator
) -> tuple[Tensor, Tensor]:
    axes = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    position = torch.stack(axes[::-1], -1) @ random_matrix(change, g).T  # x, y, z about the centre of the window
    centre = torch.tensor([c + (n - 1) / 2 for c, n in zip(corner, size, strict=True)][::-1])
    position = position + centre + change.shift * (2 * torch.rand(3, generator=g) - 1)
    if change.elastic:
        coarse = change.elastic * torch.randn(1, 3, *(max(2, round(n / 12)) for n in size), generator=g)
        position = position + functional.interpolate(coarse, tuple(size), mode="trilinear")[0].movedim(0, -1)
    if labels.shape[0] == 1:
        position[..., 2] = 0  # a slice stays in its plane
    extent = torch.tensor(labels.shape[::-1])
    grid = ((2 * position + 1) / extent - 1)[None]
    image = functional.grid_sample(image[None], grid, "bilinear", "zeros", align_corners=False)[0]
    marks = functional.grid_sample(labels[None, None].float(), grid, "nearest", "zeros", align_corners=False)[0, 0]
    return image, marks.to(labels.dtype)


def random_matrix(change: Pose, g: torch.Generator) -> Tensor:
    """Rotations about all three axes, scales and shears."""
    r = (2 * torch.rand(9, generator=g) - 1).tolist()
    out = torch.diag(torch.tensor([math.exp(change.scale * v) for v in r[:3]]))
    for k, v in enumerate(r[3:6]):
        angle = math.radians(change.rotate_degrees) * v
        i, j = (k + 1) % 3, (k + 2) % 3
        turn = torch.eye(3)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        out = turn @ out
    shear = torch.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = (change.shear * v for v in r[6:9])
    return shear @ out


def recolour(image: Tensor, change: AugmentCrop, g: torch.Generator) -> Tensor:
    """Another contrast, brightness and noise for each channel of (C, Z, Y, X); padding, which is 0, stays so."""
    out = []
    for channel in image:
        gamma, gain, offset, noise = torch.rand(4, generator=g).tolist()
        inside = channel != 0
        low, high = channel.min(), channel.max()
        unit = ((channel - low) / (high - low).clamp_min(1e-6)) ** math.exp(change.gamma * (2 * gamma - 1))
        new = low + (high - low) * unit
        new = new * math.exp(change.gain * (2 * gain - 1)) + change.offset * (2 * offset - 1)
        new = new + change.noise * noise * torch.randn(channel.shape, generator=g)
        out.append(torch.where(inside, new, channel))
    return torch.stack(out)
