"""Phantoms of angiograms: anatomy-like backgrounds, and vessels that attenuate them by the law of Beer and Lambert."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .noises import seed_of
from .vessels import Array, depth, grown, wire

FULL = 1000.0  # detector units of a ray that nothing attenuates


@dataclass(frozen=True, eq=False)
class Angiogram:
    """An image (Y, X) in detector units (dark vessels), the vessels in it, and its noise-free parts: the background,
    and the attenuation mu * depth of the vessels, which is 0 outside of them."""

    image: NDArray[np.float32]
    vessels: NDArray[np.bool_]
    background: Array
    attenuation: Array


def background(size: tuple[int, int], seed: int) -> Array:
    """What is there before the contrast agent comes, without noise, in (0, 1]: soft tissue, a heart or a diaphragm,
    ribs, fine texture, and in two of three images a catheter."""
    random = np.random.default_rng(seed_of("background", seed))
    soft = sum(a * _smooth(size, s, random) for a, s in ((0.22, 40.0), (0.1, 15.0), (0.035, 5.0), (0.012, 1.8)))
    total = soft + _shadow(size, random) + _ribs(size, random)
    for _ in range(random.choice([0, 1, 2], p=[0.35, 0.5, 0.15])):
        total = total + random.uniform(0.06, 0.2) * depth([wire(size, random)], size)
    return np.exp(-(total - total.min()) - random.uniform(0.0, 0.4))


def angiogram(size: tuple[int, int], seed: int, *, vessels: bool = True) -> Angiogram:
    """A phantom of (Y, X): I = B exp(-mu d) with d the depth of grown trees, then a slight blur and photon noise. How
    much contrast agent there is (mu) differs from image to image, and along the vessels. `vessels` False leaves them
    out: a background as a detector sees it. Other seeds have other backgrounds, too."""
    random = np.random.default_rng(seed_of("angiogram", seed))
    behind = background(size, seed)
    tubes = grown(size, seed) if vessels else []
    chord = depth(tubes, size)
    widest = 2 * max((float(tube.radii.max()) for tube in tubes), default=1.0)
    mu = random.uniform(0.3, 1.0) / widest  # the widest vessel lets 37 to 74 % of the light through
    mixing = np.exp(0.15 * _smooth(size, 25.0, random))
    attenuation = mu * mixing * chord
    seen = ndimage.gaussian_filter(behind * np.exp(-attenuation), random.uniform(0.5, 0.8))
    photons = random.uniform(300, 2000)
    grain = ndimage.gaussian_filter(random.normal(0, 1, size), 0.4)
    seen = seen + np.sqrt(seen / photons) * grain / grain.std()
    return Angiogram((FULL * np.maximum(seen, 0)).astype(np.float32), chord > 0, behind, attenuation)


def _smooth(size: tuple[int, int], scale: float, random: np.random.Generator) -> Array:
    """Gaussian noise of unit variance whose structures are about `scale` pixels wide."""
    pad = int(3 * scale)
    white = random.normal(0, 1, (size[0] + 2 * pad, size[1] + 2 * pad))
    field = ndimage.gaussian_filter(white, scale)[pad : pad + size[0], pad : pad + size[1]]
    return field * 2 * np.sqrt(np.pi) * scale


def _shadow(size: tuple[int, int], random: np.random.Generator) -> Array:
    """One side of a curved edge absorbs more: the heart, or the diaphragm."""
    y, x = np.mgrid[: size[0], : size[1]] / min(size) - 0.5
    turn = random.uniform(0, 2 * np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    edge = v - random.uniform(-0.3, 0.3) - random.uniform(-0.8, 0.8) * u**2
    return random.uniform(0, 0.5) / (1 + np.exp(-edge / random.uniform(0.01, 0.06)))


def _ribs(size: tuple[int, int], random: np.random.Generator) -> Array:
    """Curved bands, nearly parallel, whose rims absorb more than their middle; sometimes none."""
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    turn, bow = random.uniform(-0.6, 0.6), random.uniform(-0.004, 0.004)
    gap, wide = random.uniform(22, 45), random.uniform(3.5, 8.0)
    v = np.cos(turn) * y - np.sin(turn) * x + bow * (np.cos(turn) * x + np.sin(turn) * y - size[1] / 2) ** 2
    from_middle = np.abs((v + random.uniform(0, gap)) % gap - gap / 2)
    band = 1 / (1 + np.exp((from_middle - wide) / 0.8))
    rim = np.exp(-(((from_middle - wide) / 1.3) ** 2))
    return random.choice([0.0, 1.0], p=[0.3, 0.7]) * random.uniform(0.05, 0.25) * (band + 0.5 * rim)
