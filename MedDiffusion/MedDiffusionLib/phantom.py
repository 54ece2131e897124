"""A brain made by code: for trying things out without a network, and for tests that need a truth.

All lengths are mm in a frame of the head: x to the left, y to the back, z up, the origin in the middle of the brain.
A surface is a function of the place that is about the distance to it, so that tissues meet softly, as in a real scan.
Folds are sheets that go inwards along the radii of the brain, and the cortex is all that lies near to the surface or
to a sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meddiff.errors import BadInput
from meddiff.volume import Volume

Field = NDArray[np.float32]

SHAPE = (144, 184, 152)
TISSUES = ("cerebrospinal fluid", "grey matter", "white matter", "deep nuclei", "oedema", "lesion")
# Brightness of TISSUES in a spin-echo like image, white matter of T1 being 1
CONTRASTS = {
    "T1": (0.20, 0.66, 1.00, 0.76, 0.72, 0.48),
    "T1POST": (0.20, 0.68, 1.00, 0.78, 0.70, 1.25),
    "T2": (1.00, 0.52, 0.34, 0.44, 0.74, 0.82),
    "FLAIR": (0.12, 0.66, 0.52, 0.58, 0.95, 0.86),
    "PD": (0.92, 0.82, 0.66, 0.74, 0.86, 0.90),
}
TILT = (7.0, -4.0, 3.0)  # how the head lies in the scanner: degrees about x, y, z
CORTEX = 2.7  # thickness
HULL = (64.0, 82.0, 62.0)  # half the width, length and height of the cerebrum
FOLDS = ((41.0, 20.0, 0.9), (25.0, 14.0, 0.6))  # distance between them, depth, half the width


@dataclass(frozen=True)
class _Head:
    """Places in the frame of the head, those of some voxels, one after the other."""

    x: Field
    y: Field
    z: Field
    voxel: float

    def where(self, mask: NDArray[np.bool_]) -> _Head:
        return _Head(self.x[mask], self.y[mask], self.z[mask], self.voxel)


def phantom(
    contrast: str = "T1",
    shape: tuple[int, int, int] = SHAPE,
    seed: int = 0,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    lesion: bool = False,
    noise: float = 0.015,
    tilt: tuple[float, float, float] = TILT,
) -> Volume:
    """A brain of `contrast` without skull: float32, 0 outside, white matter of T1 near 1000; `seed` folds it.

    `shape` (Z, Y, X) and `spacing` (x, y, z) mm are the field of view, the brain in its middle in its own size;
    `noise` is the standard deviation as a part of white matter; `tilt` in degrees makes the volume oblique.
    """
    if contrast not in CONTRASTS:
        raise BadInput(f"contrast is {contrast!r}; expected one of {', '.join(CONTRASTS)}")
    head, near = _head(shape, spacing)
    parts = _tissues(head, seed, lesion)
    rng = np.random.default_rng([seed, 1])
    image = sum(np.float32(brightness) * part for part, brightness in zip(parts, CONTRASTS[contrast], strict=True))
    # Matter is not uniform, and a coil sees near tissue brighter
    image = image * (1 + 0.03 * _waves(head, rng, 9.0, 16)[0] + 0.04 * _waves(head, rng, 90.0, 6)[0])
    if noise:
        real, imaginary = rng.standard_normal((2, image.size), np.float32) * np.float32(noise)
        image = np.where(sum(parts) > 0.5, np.hypot(image + real, imaginary), image)
    array = np.zeros(near.shape, np.float32)
    array[near] = 1000 * image
    return _volume(array, spacing, tilt)


def phantom_labels(
    shape: tuple[int, int, int] = SHAPE,
    seed: int = 0,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    lesion: bool = False,
    tilt: tuple[float, float, float] = TILT,
) -> Volume:
    """The truth of `phantom`: uint8, 0 outside and i + 1 where TISSUES[i] has most of the voxel."""
    head, near = _head(shape, spacing)
    parts = np.stack(_tissues(head, seed, lesion))
    array = np.zeros(near.shape, np.uint8)
    array[near] = np.where(parts.sum(0) > 0.5, parts.argmax(0) + 1, 0)
    return _volume(array, spacing, tilt)


def _head(shape, spacing) -> tuple[_Head, NDArray[np.bool_]]:
    """The places near the brain, and which voxels (Z, Y, X) they are."""
    sizes = [int(size) for size in shape]
    if len(sizes) != 3 or min(sizes) < 2 or min(spacing) <= 0:
        raise BadInput(f"shape is {shape}, spacing {spacing}; expected (Z, Y, X) of 2 or more, and positive mm")
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(sizes, spacing[::-1], strict=True)]
    z, y, x = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij")
    z = z - 2
    a, b, c = HULL
    near = ((x / (1.2 * a)) ** 2 + (y / (1.15 * b)) ** 2 + (z / (1.15 * c)) ** 2 < 1) | (z < -30)
    near &= (np.abs(x) < 1.2 * a) & (np.abs(y) < 1.15 * b)
    return _Head(x, y, z, float(np.mean(spacing))).where(near), near


def _volume(array, spacing, tilt) -> Volume:
    """`array` with the middle of the head in the middle of the scanner, turned by `tilt`."""
    a, b, c = np.radians(tilt)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    direction = about_z @ about_y @ about_x
    middle = (np.array(array.shape[::-1]) - 1) / 2 * spacing
    return Volume(array, tuple(spacing), tuple(-direction @ middle), tuple(direction.ravel()))


def _tissues(head: _Head, seed: int, lesion: bool) -> list[Field]:
    """The part of each of TISSUES in every voxel; together 1 inside, 0 outside."""
    rng = np.random.default_rng([seed, 0])
    cerebrum, depth = _cerebrum(head, rng)
    cerebellum, folia = _cerebellum(head)
    stem = _tube(head, [(0, 6, -22, 15), (0, 14, -44, 12), (0, 22, -78, 8)], mirrored=False)
    hull = np.maximum.reduce([cerebrum, cerebellum, stem])
    inside = _soft(hull + 1.2, head)
    # How deep below the nearest pial surface; the stem has none
    pial = np.where(cerebrum > cerebellum, depth, folia)
    pial = np.maximum(pial, np.where(stem > 0, 6, -9).astype(np.float32))
    tissue = _soft(pial, head)
    thickness = np.where(cerebrum > cerebellum, CORTEX, 1.4).astype(np.float32)
    white = _soft(pial - thickness, head)
    nuclei = _soft(_nuclei(head), head)
    water = _soft(_ventricles(head), head)
    parts = [np.zeros_like(white)] * len(TISSUES)
    rest = inside
    sick = [_soft(field, head, 2.5) for field in _lesion(head, rng)] if lesion else [np.zeros_like(white)] * 2
    parts[0] = rest * np.maximum(1 - tissue, water)
    rest = rest - parts[0]
    parts[5], rest = rest * sick[1], rest * (1 - sick[1])
    parts[4], rest = rest * sick[0] * white, rest * (1 - sick[0] * white)
    parts[3], rest = rest * nuclei, rest * (1 - nuclei)
    parts[2], parts[1] = rest * white, rest * (1 - white)
    return parts


def _soft(field: Field, head: _Head, width: float = 1.0) -> Field:
    """1 where `field` is above 0 and 0 below, with a ramp as wide as a voxel."""
    return np.clip(field / np.float32(max(head.voxel, 0.8) * width) + 0.5, 0, 1).astype(np.float32)


def _waves(
    head: _Head, rng: np.random.Generator, length: float, count: int, around: Field | None = None
) -> tuple[Field, Field]:
    """Smooth noise of standard deviation 1 that changes over about `length` mm, and its slope a mm.

    `around` stretches the places, and changes little along them."""
    x, y, z = (axis if around is None else axis * around for axis in (head.x, head.y, head.z))
    total = np.zeros_like(x)
    slopes = [np.zeros_like(x) for _ in range(3)] if around is not None else []
    for _ in range(count):
        direction = rng.standard_normal(3)
        direction *= 2 * np.pi / (length * rng.uniform(0.75, 1.35) * np.linalg.norm(direction))
        wave = direction.astype(np.float32)
        phase = wave[0] * x + wave[1] * y + wave[2] * z + np.float32(rng.uniform(0, 2 * np.pi))
        total += np.cos(phase)
        if slopes:
            np.sin(phase, out=phase)
            for slope, along in zip(slopes, wave, strict=True):
                slope += along * phase
    scale = np.float32(np.sqrt(2 / count))
    slope = np.sqrt(sum(s * s for s in slopes)) * around * scale if slopes else total
    return total * scale, slope


def _cerebrum(head: _Head, rng: np.random.Generator) -> tuple[Field, Field]:
    """(depth below the hull, depth below the nearest pial surface, sulci included)."""
    a, b, c = HULL
    side = np.abs(head.x)
    width = a * (1 + 0.10 * np.tanh(head.y / 40) - 0.08 * np.clip(-head.z / c, 0, 1))
    # Below, the base is flat, the temporal lobes hang down and the cerebellum needs room at the back
    back = 1 / (1 + np.exp(-(head.y - 22) / 6))
    temporal = np.exp(-(((side - 38) / 17) ** 2)) * np.exp(-(((head.y + 4) / 32) ** 4))
    base = 33 - 11 * back + 15 * temporal
    height = np.where(head.z > 0, np.float32(c), base).astype(np.float32)
    radius = ((side / width) ** 2.3 + np.abs(head.y / b) ** 2.2 + np.abs(head.z / height) ** 2.4) ** np.float32(1 / 2.3)
    hull = (1 - radius) * np.float32(0.88 * a)
    hull = hull + 0.8 * _waves(head, rng, 40.0, 8)[0]
    depth = np.minimum(hull, _midline(head, rng))
    depth = np.minimum(depth, _sylvian(head, rng))
    # Folds follow the radii: places are drawn out to the hull before the noise is asked
    shell = (hull > -3) & (hull < FOLDS[0][1] + CORTEX + 2)
    outer, outward = head.where(shell), np.maximum(radius[shell], 0.25) ** np.float32(-0.85)
    for length, bottom, wide in FOLDS:
        sheets = _sheets(*_waves(outer, rng, length, 20, outward), hull[shell], bottom, wide)
        depth[shell] = np.minimum(depth[shell], sheets)
    return hull, depth.astype(np.float32)


def _sheets(noise: Field, slope: Field, hull: Field, bottom: float, wide: float) -> Field:
    """Distance to the sheets on which `noise` is 0, `wide` at the hull, that end at the depth `bottom`."""
    aside = np.abs(noise) / np.maximum(slope, np.float32(0.03))
    opening = np.float32(wide) * np.clip(1 - hull / np.float32(bottom), 0.25, 1)
    below = np.maximum(hull - np.float32(bottom), 0)
    return np.hypot(aside, below) - opening


def _midline(head: _Head, rng: np.random.Generator) -> Field:
    """Distance to the gap between the hemispheres, which ends at the corpus callosum."""
    wavy = head.x - 0.8 * _waves(head, rng, 45.0, 4)[0]
    inner = 1 - np.sqrt((head.y / 42) ** 2 + ((head.z - 4) / 27) ** 2)
    return np.hypot(wavy, np.maximum(inner, 0) * np.float32(27)) - np.float32(0.9)


def _sylvian(head: _Head, rng: np.random.Generator) -> Field:
    """Distance to the cleft above the temporal lobe."""
    off = head.z + 4 + 0.7 * (head.y + 6) + 4 * _waves(head, rng, 26.0, 8)[0]
    off = off / np.float32(1.5)  # the sheet is steep: so far are its points from their neighbours above
    ahead = np.maximum(np.abs(head.y + 4) - 24, 0)
    deep = np.maximum(38 - np.abs(head.x), 0)
    return np.sqrt(off**2 + ahead**2 + deep**2).astype(np.float32) - np.float32(1.0)


def _cerebellum(head: _Head) -> tuple[Field, Field]:
    """(depth below its hull, depth below its nearest surface): thin leaves around its stalk."""
    x, y, z = head.x / 50, (head.y - 42) / 30, (head.z + 43) / 24
    radius = np.sqrt(x**2 + y**2 + z**2)
    hull = (1 - radius) * np.float32(27)
    angle = np.arctan2(z, y + 1.25) * np.float32(50)
    leaves = np.abs((angle / np.float32(5.5)) % 1 - np.float32(0.5)) * np.float32(5.5)
    below = np.maximum(hull - 9, 0)
    return hull, np.minimum(hull, np.hypot(leaves, below) - np.float32(0.35)).astype(np.float32)


def _tube(head: _Head, points, mirrored: bool = True) -> Field:
    """Depth inside a tube through `points` (x, y, z, radius), on both sides if `mirrored`."""
    x = np.abs(head.x) if mirrored else head.x
    best = np.full(head.x.shape, -99, np.float32)
    for (ax, ay, az, ar), (bx, by, bz, br) in pairwise(points):
        dx, dy, dz = bx - ax, by - ay, bz - az
        along = ((x - ax) * dx + (head.y - ay) * dy + (head.z - az) * dz) / (dx * dx + dy * dy + dz * dz)
        along = np.clip(along, 0, 1)
        far = np.sqrt((x - ax - along * dx) ** 2 + (head.y - ay - along * dy) ** 2 + (head.z - az - along * dz) ** 2)
        best = np.maximum(best, (ar + along * (br - ar) - far).astype(np.float32))
    return best


def _ball(head: _Head, centre, half) -> Field:
    """Depth inside two mirrored ellipsoids."""
    cx, cy, cz = centre
    a, b, c = half
    radius = np.sqrt(((np.abs(head.x) - cx) / a) ** 2 + ((head.y - cy) / b) ** 2 + ((head.z - cz) / c) ** 2)
    return ((1 - radius) * min(half)).astype(np.float32)


def _ventricles(head: _Head) -> Field:
    """Depth inside the lateral ventricles with their horns, the third and the fourth."""
    body = [(11, -38, 4, 4.0), (9, -26, 10, 6.0), (9, -8, 15, 6.5), (11, 12, 17, 6.0), (18, 32, 12, 7.0)]
    back = [(18, 32, 12, 6.5), (21, 38, 3, 6.5), (19, 58, 3, 2.5)]
    temple = [(21, 38, 3, 5.5), (29, 26, -10, 4.0), (32, 4, -17, 2.6)]
    third = np.minimum(1.8 - np.abs(head.x), np.minimum(13 - np.abs(head.y - 2), 10 - np.abs(head.z + 2)))
    fourth = _tube(head, [(0, 27, -36, 3.0), (0, 29, -46, 4.5), (0, 28, -54, 2.0)], mirrored=False)
    horns = [_tube(head, part) for part in (body, back, temple)]
    return np.maximum.reduce([*horns, third.astype(np.float32), fourth])


def _nuclei(head: _Head) -> Field:
    """Depth inside the thalami, the caudate nuclei, the putamina and pallida."""
    caudate = _tube(head, [(15, -28, 6, 7.0), (17, -10, 13, 4.5), (19, 12, 18, 2.5)])
    lentiform = _ball(head, (25, -4, 0), (7, 20, 11))
    thalamus = _ball(head, (11, 10, 3), (9, 15, 9))
    return np.maximum.reduce([caudate, lentiform, thalamus])


def _lesion(head: _Head, rng: np.random.Generator) -> tuple[Field, Field]:
    """Depth inside the oedema, and inside the ragged lesion in it: left, in front of the central sulcus."""
    off = np.sqrt((head.x - 30) ** 2 + (head.y + 24) ** 2 + (head.z - 24) ** 2)
    ragged = 2.2 * _waves(head, rng, 18.0, 12)[0]
    return (20 - off + 2 * ragged).astype(np.float32), (10 - off + ragged).astype(np.float32)
