"""Drawn vessels: fractal masks to learn from without labels, and grown trees, another family, for phantoms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage import measure

from .errors import BadInput
from .noises import seed_of

Array = NDArray[np.float64]
COVERED = (0.05, 0.25)  # share of a fractal mask that is vessel
THINNEST = 0.8  # pixels: with a smaller radius a tube falls between pixel centres
STEP = 0.5  # pixels between the points of a centre line


class Tube(NamedTuple):
    """A vessel: points (P, 2) of its centre line (y, x) in pixels, and its radius (P,) at each."""

    points: Array
    radii: Array


def depth(tubes: Sequence[Tube], size: tuple[int, int]) -> Array:
    """How far a ray through each pixel of (Y, X) runs in the tubes, in pixels: 2 sqrt(r^2 - d^2) at the distance d from
    the centre line of a round vessel; those of crossing vessels add up, as in a projection."""
    out = np.zeros(size)
    for points, radii in tubes:
        margin = radii.max() + 1
        low = np.maximum(np.floor(points.min(0) - margin).astype(int), 0)
        high = np.minimum(np.ceil(points.max(0) + margin).astype(int) + 1, size)
        if (low >= high).any():
            continue
        box = np.moveaxis(np.mgrid[low[0] : high[0], low[1] : high[1]], 0, -1)
        far, nearest = KDTree(points).query(box.reshape(-1, 2), distance_upper_bound=margin)
        r = np.append(radii, 0.0)[nearest]  # what is too far off has the number P
        chord = 2 * np.sqrt(np.maximum(r**2 - np.minimum(far, margin) ** 2, 0))
        out[low[0] : high[0], low[1] : high[1]] += chord.reshape(box.shape[:2])
    return out


def fractal(size: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """A fractal mask (Y, X): a tree whose branches fork again and again, each bent at ever finer scales, as in Koch's
    curve. It is connected (8 neighbours) and covers 5 to 25 %: what does not is drawn anew."""
    if min(size) < 16:
        raise BadInput(f"a fractal mask of {size[0]} x {size[1]} pixels was asked for; expected 16 or more each way")
    for attempt in range(1000):
        random = np.random.default_rng(seed_of("fractal", seed, attempt))
        marks = depth(_forked(size, random), size) > 0
        parts = np.asarray(measure.label(marks, connectivity=2))
        if marks.any():
            marks = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
        if COVERED[0] <= marks.mean() <= COVERED[1]:
            return marks
    raise BadInput(f"no fractal of {size[0]} x {size[1]} pixels covers 5 to 25 %; choose a larger size")


def _forked(size: tuple[int, int], random: np.random.Generator) -> list[Tube]:
    """All branches of one generation at once: where they start (N, 2), headings, lengths and radii (N,)."""
    scale = min(size)
    root = _border(size, random)
    start, heading = root[None], np.array([_inwards(root, size, random)])
    length, radius = np.array([random.uniform(0.3, 0.6) * scale]), np.array([random.uniform(2.0, 6.0)])
    spread, shrink = random.uniform(0.35, 0.8), random.uniform(0.65, 0.85)
    found: list[Tube] = []
    for _ in range(random.integers(4, 7)):
        lines = _bent(start, heading, length, random)
        ends = np.maximum(radius * random.uniform(0.75, 0.95, len(radius)), THINNEST)
        for line, first, last in zip(lines, radius, ends, strict=True):
            found.append(_tube(line, first, last))
        # two branches go on from every end, and one leaves from somewhere on the way
        leave = lines[np.arange(len(lines)), random.integers(3, lines.shape[1] - 3, len(lines))]
        start = np.concatenate([lines[:, -1], lines[:, -1], leave])
        side = random.choice([-1.0, 1.0], len(lines))
        turn = spread * random.uniform(0.5, 1.5, (3, len(lines)))
        heading = np.concatenate([heading + turn[0], heading - turn[1], heading + 1.5 * side * turn[2]])
        length = np.tile(length, 3) * shrink * random.uniform(0.7, 1.2, 3 * len(lines))
        radius = np.maximum(np.concatenate([ends, ends, 0.8 * ends]) * random.uniform(0.65, 0.9), THINNEST)
        keep = (length > 4) & (random.random(len(length)) < 0.85)
        start, heading, length, radius = start[keep], heading[keep], length[keep], radius[keep]
        if not len(start):
            break
    return found


def _bent(start: Array, heading: Array, length: Array, random: np.random.Generator) -> Array:
    """Centre lines (N, 17, 2): the middle of every piece is moved aside, again and again, by a share of its length."""
    towards = np.stack([np.sin(heading), np.cos(heading)], -1)
    lines = np.stack([start, start + length[:, None] * towards], 1)
    for _ in range(4):
        piece = np.diff(lines, axis=1)
        aside = np.stack([-piece[..., 1], piece[..., 0]], -1) * random.normal(0, 0.1, (*piece.shape[:2], 1))
        middle = (lines[:, :-1] + lines[:, 1:]) / 2 + aside
        wider = np.empty((len(lines), 2 * lines.shape[1] - 1, 2))
        wider[:, ::2], wider[:, 1::2] = lines, middle
        lines = wider
    return lines


def grown(size: tuple[int, int], seed: int) -> list[Tube]:
    """Trees that grow point by point: trunks wander with a curvature that drifts, side branches leave them, and the
    cubes of the radii add up at each fork (Murray 1926)."""
    random = np.random.default_rng(seed_of("grown", seed))
    found: list[Tube] = []
    for _ in range(random.integers(1, 4)):
        start = _border(size, random)
        _grow(start, _inwards(start, size, random), random.uniform(1.8, 4.5), 0, size, random, found)
    return found


def _grow(
    start: Array,
    heading: float,
    radius: float,
    order: int,
    size: tuple[int, int],
    random: np.random.Generator,
    found: list[Tube],
) -> None:
    """One vessel and its side branches, added to `found`."""
    steps = int(random.uniform(0.6, 1.4) * min(size) / STEP / (1 + 0.8 * order))
    curvature = _drift(steps, random.uniform(0.006, 0.02), 60.0, random)
    angles = heading + np.cumsum(curvature * STEP)
    points = start + STEP * np.cumsum(np.stack([np.sin(angles), np.cos(angles)], -1), 0)
    radii = np.empty(steps)
    gap = random.exponential(20.0) + 8.0
    for k in range(steps):
        radii[k] = radius
        radius = max(radius * (1 - 0.0015), THINNEST)
        gap -= STEP
        if gap > 0:
            continue
        gap = random.exponential(20.0) + 12.0
        share = random.uniform(0.08, 0.5)  # of the flow, that is of the cube of the radius
        child = radius * share ** (1 / 3)
        if order < 3 and child > THINNEST:
            side = random.choice([-1.0, 1.0]) * random.uniform(0.5, 1.2)
            _grow(points[k], angles[k] + side, child, order + 1, size, random, found)
            radius = max(radius * (1 - share) ** (1 / 3), THINNEST)
    found.append(Tube(points, radii))


def _drift(steps: int, spread: float, memory: float, random: np.random.Generator) -> Array:
    """A curvature (1/pixel) of this standard deviation that forgets itself within `memory` steps."""
    white = random.normal(0, 1, steps + int(4 * memory))
    smooth = ndimage.gaussian_filter1d(white, memory / 2)[-steps:] if steps else white[:0]
    return spread * smooth * np.sqrt(2 * np.sqrt(np.pi) * memory / 2)


def wire(size: tuple[int, int], random: np.random.Generator) -> Tube:
    """A catheter: it enters from the border, bends slowly and keeps its width."""
    start = _border(size, random)
    steps = int(random.uniform(0.6, 1.3) * max(size) / STEP)
    angles = _inwards(start, size, random) + np.cumsum(_drift(steps, 0.012, 160.0, random) * STEP)
    points = start + STEP * np.cumsum(np.stack([np.sin(angles), np.cos(angles)], -1), 0)
    return Tube(points, np.full(steps, random.uniform(0.9, 2.0)))


def _tube(line: Array, first: float, last: float) -> Tube:
    """A centre line in steps of half a pixel, its radius going from the first to the last."""
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, way[-1], max(int(way[-1] / STEP), 1) + 1)
    points = np.stack([np.interp(at, way, line[:, axis]) for axis in (0, 1)], -1)
    return Tube(points, np.linspace(first, last, len(at)))


def _border(size: tuple[int, int], random: np.random.Generator) -> Array:
    """A place on the border of (Y, X), away from the corners."""
    along, edge = random.uniform(0.15, 0.85), random.integers(4)
    y, x = ((0.0, along), (1.0, along), (along, 0.0), (along, 1.0))[edge]
    return np.array([y * (size[0] - 1), x * (size[1] - 1)])


def _inwards(start: Array, size: tuple[int, int], random: np.random.Generator) -> float:
    """The heading (radians from x to y) of the middle of the image, more or less."""
    middle = (np.array(size) - 1) / 2 - start
    return float(np.arctan2(middle[0], middle[1]) + random.normal(0, 0.35))
