"""A hippocampus made by code, with what lies around it: for trying segmentation out without a network or a scan.

All lengths are mm from the middle of the crop: x to the left, which is away from the midline of the head, y to the
back, z up. It is a left hippocampus: a curved, flattened tube that rises to the back, below it white matter and the
cortex of the temporal lobe, beside it the water of the cistern and the brain stem.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meddiff.volume import IDENTITY, Volume

Field = NDArray[np.float32]

SHAPE = (36, 52, 36)
NAMES = ("Anterior hippocampus", "Posterior hippocampus")
WATER, GREY, WHITE = 0.2, 0.64, 1.0  # brightness in T1
# Along the axis: x, y, z, half the height; it is `FLAT` times as wide
AXIS = ((-4, -13, -9, 3.6), (-2, -7, -9.5, 4.4), (1, 0, -7, 3.9), (3.5, 8, -1.5, 3.2), (3.5, 16, 5.5, 2.6))
FLAT = 1.75
# Another person: turned (degrees about x, y, z), of another size (part along x, y, z), and bent by so many mm
TURNED, SIZES, BENT = (-6.0, -4.0, 5.0), (1.04, 0.92, 0.96), 0.9
BORDER = 1.0  # y between the anterior and the posterior part
BLUR, NOISE = 0.15, 0.025  # part of each neighbour that a voxel gets along an axis; part of white matter


def hippocampus(seed: int = 0, person: int = 0) -> Volume:
    """A crop of a T1-weighted image at 1 mm, float32, white matter near 1000; `seed` draws its noise, each `person` has
    another shape."""
    x, y, z = _places(person)
    outside, below, beside = _around(x, y, z)
    rng = np.random.default_rng(seed)
    image = np.full(x.shape, WHITE, np.float32)

    def paint(depth: Field, brightness: float, width: float = 1.6) -> None:
        image[:] += np.clip(depth / width + 0.5, 0, 1) * (brightness - image)

    paint(_ball(x, y, z, (-7, 10, 15), (11, 14, 11)), 0.84, 5.0)  # thalamus
    paint(_ball(x, y, z, (11, -2, 15), (4, 26, 4)), GREY + 0.08, 4.0)  # tail of the caudate nucleus
    paint(_ball(x, y, z, (-1, -23, -2), (9, 8, 8)), GREY + 0.06, 2.0)  # amygdala
    paint(np.minimum(below, outside - 2.6), GREY + 0.04)  # cortex below the white matter below the hippocampus
    paint(np.minimum(below, outside - 6.6), WATER, 2.5)
    paint(np.minimum(below, outside - 8.0), GREY, 3.0)  # cerebellum
    stem = _ball(x, y, z, (-21, 1, -2), (12, 15, 26))
    paint(np.minimum(stem + 3.0, 9 - z), WATER + 0.1)  # cistern
    paint(stem, 0.92)
    paint(np.minimum(0.9 - np.abs(outside - 0.9), np.maximum(beside - 4.0, -2.0 - below)), 0.36)  # horn and fissure
    paint(-outside, GREY)
    image *= 1 + 0.02 * _waves(rng, 9.0, x, y, z)
    image = _blurred(image)
    real, imaginary = rng.normal(0, NOISE, (2, *x.shape))
    return _volume((1000 * np.hypot(image + real, imaginary)).astype(np.float32))


def hippocampus_labels(person: int = 0) -> Volume:
    """The truth of `hippocampus`: uint8, 1 and 2 as in `NAMES`."""
    x, y, z = _places(person)
    inside = _around(x, y, z)[0] < 0
    return _volume(np.where(inside, np.where(y < BORDER, 1, 2), 0).astype(np.uint8))


def _places(person: int = 0) -> tuple[Field, Field, Field]:
    """x, y and z of every voxel, bent a little: nothing in a head is round."""
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in SHAPE]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    if person:
        x, y, z = _other(person, x, y, z)
    rng = np.random.default_rng(SHAPE)
    fine, coarse = ([_waves(rng, length, x, y, z) for _ in range(3)] for length in (8.0, 18.0))
    return tuple(axis + 0.35 * f + 0.8 * c for axis, f, c in zip((x, y, z), fine, coarse, strict=True))


def _other(person: int, x: Field, y: Field, z: Field) -> tuple[Field, ...]:
    """The same places in somebody else, in whom they lie elsewhere."""
    rng = np.random.default_rng([person])
    for angle, (a, b) in zip(np.radians(TURNED), ((1, 2), (2, 0), (0, 1)), strict=True):
        axes, cos, sin = [x, y, z], np.float32(np.cos(angle)), np.float32(np.sin(angle))
        axes[a], axes[b] = cos * axes[a] - sin * axes[b], sin * axes[a] + cos * axes[b]
        x, y, z = axes
    bends = [BENT * _waves(rng, 30.0, x, y, z) for _ in range(3)]
    return tuple(size * axis + bend for size, axis, bend in zip(np.float32(SIZES), (x, y, z), bends, strict=True))


def _waves(rng: np.random.Generator, length: float, x: Field, y: Field, z: Field) -> Field:
    """Smooth noise of standard deviation 1 that changes over about `length` mm."""
    total = np.zeros_like(x)
    for _ in range(12):
        wave = rng.standard_normal(3)
        wave *= 2 * np.pi / (length * np.linalg.norm(wave))
        total += np.cos(wave[0] * x + wave[1] * y + wave[2] * z + rng.uniform(0, 2 * np.pi))
    return total / np.float32(np.sqrt(6))


def _blurred(image: Field) -> Field:
    """What a scan mixes up: each voxel with its neighbours."""
    for axis in range(3):
        last = image.shape[axis] - 1
        before, after = (image.take(np.clip(np.arange(last + 1) + step, 0, last), axis) for step in (-1, 1))
        image = (1 - 2 * BLUR) * image + BLUR * (before + after)
    return image


def _around(x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
    """How far outside of the hippocampus, how far below its axis, and how far at its outer side."""
    best = np.full(x.shape, np.inf, np.float32)
    below, beside = np.zeros_like(best), np.zeros_like(best)
    for (ax, ay, az, ar), (bx, by, bz, br) in pairwise(AXIS):
        dx, dy, dz = bx - ax, by - ay, bz - az
        along = np.clip(((x - ax) * dx + (y - ay) * dy + (z - az) * dz) / (dx * dx + dy * dy + dz * dz), 0, 1)
        off = (x - ax - along * dx, y - ay - along * dy, z - az - along * dz)
        away = np.sqrt((off[0] / FLAT) ** 2 + off[1] ** 2 + off[2] ** 2) - (ar + along * (br - ar))
        nearer = away < best
        best = np.where(nearer, away, best)
        below, beside = np.where(nearer, -off[2], below), np.where(nearer, off[0], beside)
    return best, below, beside


def _ball(x: Field, y: Field, z: Field, centre: tuple[float, ...], half: tuple[float, ...]) -> Field:
    """Depth inside an ellipsoid."""
    parts = zip((x, y, z), centre, half, strict=True)
    return (1 - np.sqrt(sum(((axis - c) / h) ** 2 for axis, c, h in parts))) * min(half)


def _volume(array: NDArray) -> Volume:
    return Volume(array, (1.0, 1.0, 1.0), tuple(-(n - 1) / 2 for n in array.shape[::-1]), IDENTITY)
