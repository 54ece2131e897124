"""Sampling masks of k-space, (Y, X) bool tensors, with the zero frequency in the CENTRE, at index (Y // 2, X // 2).

All masks and all k-space of the engine are centred, as in fastMRI. The same seed gives the same mask everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import BadInput, choose

GOLDEN_ANGLE = pi * (sqrt(5) - 1) / 2  # 111.2 degrees (Winkelmann 2007)


def cartesian_random(
    shape: tuple[int, int], acceleration: float, centre_fraction: float = 0.08, seed: int = 0, axis: int = -1
) -> Tensor:
    """Whole lines, dropped along `axis`: the centre and a uniform choice of others, exactly round(N / acceleration)
    in all (Zbontar 2018, fastMRI, sec. 5); raises `BadInput`."""
    lines, keep = _centre_lines(shape, acceleration, centre_fraction, axis)
    missing = keep - np.count_nonzero(lines)
    lines[np.random.default_rng(seed).permutation(np.flatnonzero(~lines))[:missing]] = True
    return _spread(lines, shape, axis)


def cartesian_equispaced(
    shape: tuple[int, int], acceleration: float, centre_fraction: float = 0.08, seed: int = 0, axis: int = -1
) -> Tensor:
    """Whole lines: the calibration lines (ACS) of the centre and equally spaced others from a seeded offset, exactly
    round(N / acceleration) in all (Zbontar 2018, fastMRI, equispaced with corrected fraction); raises `BadInput`."""
    lines, keep = _centre_lines(shape, acceleration, centre_fraction, axis)
    others = np.flatnonzero(~lines)
    missing = keep - np.count_nonzero(lines)
    if missing:
        # Spacing the lines that are left, not all lines, keeps the total exact: the centre is never counted twice.
        spacing = others.size / missing
        start = np.random.default_rng(seed).uniform(0, spacing)
        lines[others[(start + spacing * np.arange(missing)).astype(int) % others.size]] = True
    return _spread(lines, shape, axis)


def poisson_disc(shape: tuple[int, int], acceleration: float, calibration: int = 16, seed: int = 0) -> Tensor:
    """Points no closer than a radius that grows from the centre, round(Y X / acceleration) in all, with a sampled
    `calibration` x `calibration` centre (Vasanawala 2011, sec. 2: variable-density Poisson disc); raises `BadInput`."""
    rows, columns = _check_shape(shape)
    keep = round(rows * columns / _check_acceleration(acceleration))
    centre = _centre_block((rows, columns), calibration)
    if np.count_nonzero(centre) > keep:
        raise BadInput(
            f"a {calibration} x {calibration} calibration centre came with acceleration {acceleration:g}, which leaves "
            f"{keep} of {rows * columns} points; choose at most {int(sqrt(keep))} or a lower acceleration"
        )
    random = np.random.default_rng(seed)
    order, surplus_order = random.permutation(rows * columns), random.permutation(rows * columns)
    dense, sparse, chosen = 0.0, 5.0 * max(rows, columns), np.ones((rows, columns), bool)
    for _ in range(14):  # bisection of the growth of the radius: the sparsest set that still has enough points
        growth = (dense + sparse) / 2
        points = _throw_darts(centre, order, growth)
        enough = np.count_nonzero(points) >= keep
        dense, sparse = (growth, sparse) if enough else (dense, growth)
        chosen = points if enough else chosen
    surplus = surplus_order[(chosen & ~centre).ravel()[surplus_order]][: np.count_nonzero(chosen) - keep]
    chosen.ravel()[surplus] = False
    return torch.from_numpy(chosen)


def radial(
    shape: tuple[int, int], acceleration: float | None = None, seed: int = 0, spokes: int | None = None
) -> Tensor:
    """Golden-angle spokes on the grid from a seeded first angle (Winkelmann 2007): `spokes` of them, or the fewest
    that sample Y X / acceleration points; raises `BadInput` unless exactly one of the two is given."""
    rows, columns = _check_shape(shape)
    if (acceleration is None) == (spokes is None):
        raise BadInput("a radial mask needs the acceleration or the number of spokes: give exactly one of the two")
    if spokes is not None and spokes < 1:
        raise BadInput(f"{spokes} spokes came; expected at least 1")
    wanted = rows * columns if acceleration is None else round(rows * columns / _check_acceleration(acceleration))
    mask = np.zeros((rows, columns), bool)
    radius = np.arange(-max(rows, columns), max(rows, columns) + 1) / (2 * max(rows, columns))  # cycles per voxel
    angle = np.random.default_rng(seed).uniform(0, pi)
    drawn = 0
    while np.count_nonzero(mask) < max(wanted, 1) and (spokes is None or drawn < spokes):
        y = np.rint(radius * np.sin(angle) * rows).astype(int) + rows // 2
        x = np.rint(radius * np.cos(angle) * columns).astype(int) + columns // 2
        inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
        mask[y[inside], x[inside]] = True
        angle, drawn = angle + GOLDEN_ANGLE, drawn + 1
        if drawn > 4 * (rows + columns):  # acceleration near 1: the last grid points may never be hit
            mask[:] = True
    return torch.from_numpy(mask)


PATTERNS: dict[str, Callable[..., Tensor]] = {
    "cartesian-random": cartesian_random,
    "cartesian-equispaced": cartesian_equispaced,
    "poisson-disc": poisson_disc,
    "radial": radial,
}


def make_mask(
    pattern: str,
    shape: tuple[int, int],
    acceleration: float,
    *,
    centre_fraction: float = 0.08,
    seed: int = 0,
    axis: int = -1,
) -> Tensor:
    """The mask of one of `PATTERNS` by name; `centre_fraction` is that of the lines, or of each side of a Poisson-disc
    mask's centre, and radial masks have none; raises `BadInput`."""
    pattern = choose(pattern, PATTERNS, "sampling pattern")
    if pattern == "radial":
        return radial(shape, acceleration, seed)
    if pattern == "poisson-disc":
        side = round(_check_fraction(centre_fraction) * min(_check_shape(shape)))
        return poisson_disc(shape, acceleration, side, seed)
    return PATTERNS[pattern](shape, acceleration, centre_fraction, seed, axis)


def as_mask(values: Any, shape: tuple[int, int]) -> Tensor:
    """A mask that was read from a file, as (Y, X) bool; a single line of N values is spread over the other axis.

    Raises `BadInput` unless it has the `shape` of k-space, holds zeros and ones only, and samples something.
    """
    mask = np.asarray(values)
    rows, columns = _check_shape(shape)
    if mask.size == columns and mask.shape in ((columns,), (1, columns)):
        mask = np.broadcast_to(mask.reshape(1, columns), (rows, columns))
    if mask.shape != (rows, columns):
        raise BadInput(
            f"the mask has shape {mask.shape}; the k-space has shape {(rows, columns)} (Y, X); "
            "choose the mask of this acquisition, or make one here"
        )
    if not np.isin(mask, (0, 1)).all():
        raise BadInput("the mask holds other values than 0 and 1; expected 1 where k-space was sampled: threshold it")
    if not mask.any():
        raise BadInput("the mask is empty: it samples no point; expected 1 where k-space was sampled")
    return torch.from_numpy(mask.astype(bool))


def to_fft_order(mask: Tensor) -> Tensor:
    """From the centred order of this engine to that of `torch.fft.fft2`, zero frequency at index (0, 0)."""
    return torch.fft.ifftshift(mask, dim=(-2, -1))


def _throw_darts(centre: np.ndarray, order: np.ndarray, growth: float) -> np.ndarray:
    """Accept grid points in `order`, each of which forbids all closer than its radius `growth` (0.2 + |k|), in points.

    Where that is below 1 everything is sampled; 0.2 makes the centre about ten times as dense as the edge, |k| = 1/2.
    """
    rows, columns = centre.shape
    y, x = np.arange(rows), np.arange(columns)
    frequency = np.hypot((y[:, None] - rows // 2) / rows, (x[None] - columns // 2) / columns)
    radius = growth * (0.2 + frequency)
    points, forbidden = centre.copy(), centre.copy()
    for index in order:
        row, column = divmod(int(index), columns)
        if forbidden[row, column]:
            continue
        points[row, column] = True
        r = radius[row, column]
        reach = int(r)
        top, left = max(row - reach, 0), max(column - reach, 0)
        near_y, near_x = y[top : row + reach + 1] - row, x[left : column + reach + 1] - column
        disc = near_y[:, None] ** 2 + near_x[None] ** 2 < r * r
        forbidden[top : row + reach + 1, left : column + reach + 1] |= disc
    return points


def _centre_lines(
    shape: tuple[int, int], acceleration: float, centre_fraction: float, axis: int
) -> tuple[np.ndarray, int]:
    """The lines with the sampled centre, and how many are to be sampled in all."""
    if axis not in (-2, -1, 0, 1):
        raise BadInput(f"axis {axis} came; expected 0 or -2 (drop lines along Y), or 1 or -1 (along X)")
    number = _check_shape(shape)[axis]
    keep = max(round(number / _check_acceleration(acceleration)), 1)
    if _check_fraction(centre_fraction) > 1 / acceleration:
        raise BadInput(
            f"the centre fraction {centre_fraction:g} is more than 1 / acceleration = {1 / acceleration:.3g}: "
            "the centre alone would exceed the lines to sample; lower one of the two"
        )
    centre = min(round(number * centre_fraction), keep)
    lines = np.zeros(number, bool)
    start = number // 2 - centre // 2
    lines[start : start + centre] = True
    return lines, keep


def _centre_block(shape: tuple[int, int], side: int) -> np.ndarray:
    """True in the `side` x `side` centre; raises `BadInput` unless it fits."""
    if not 0 <= side <= min(shape):
        raise BadInput(f"a calibration centre of {side} points came; expected 0 to {min(shape)} in each direction")
    block = np.zeros(shape, bool)
    top, left = (n // 2 - side // 2 for n in shape)
    block[top : top + side, left : left + side] = True
    return block


def _spread(lines: np.ndarray, shape: tuple[int, int], axis: int) -> Tensor:
    across = lines[None] if axis in (-1, 1) else lines[:, None]
    return torch.from_numpy(np.broadcast_to(across, tuple(shape)).copy())


def _check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise BadInput(f"shape {tuple(shape)} of a mask came; expected two positive sizes (Y, X), those of one slice")
    return int(shape[0]), int(shape[1])


def _check_acceleration(acceleration: float) -> float:
    if not 1 <= acceleration < float("inf"):
        raise BadInput(f"acceleration {acceleration} came; expected at least 1 (1 samples everything)")
    return acceleration


def _check_fraction(fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise BadInput(f"centre fraction {fraction} came; expected 0 to 1, such as 0.08 at acceleration 4")
    return fraction
