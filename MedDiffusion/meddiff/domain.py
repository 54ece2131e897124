"""Which images a model was made for, said once for the engine, which refuses others, and the panels, which warn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import choose

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # the axis of (Z, Y, X) in a canonical volume that slices lie across

FEWEST = 4  # voxels along an axis, in which nothing can be told from its surroundings
MUCH = 2.0  # times as large as a window: the network never saw what is there
CONTEXT, LEAST = 32, 96  # voxels around what is painted over that a network sees, and the smallest window that it gets
FLAT = 3  # different values, of which a label map has no more and an image does

HEIGHT = "height"  # the covariate that can be seen in a slice: 0 in the first one of a body, 1 in the last
BARE = ("segment", "translate", "anomaly")  # tasks whose models of brain slices were shown no skull


def knows_no_skull(anatomy: str, task: str, dims: int) -> bool:
    """Whether a model was shown brains alone, without the head around them."""
    return anatomy == "brain" and task in BARE and dims == 2


def heights_of(inside: np.ndarray) -> np.ndarray:
    """How high up each slice of `inside` (N, Y, X; bool) lies: 0 is the first that shows a hundredth of it, 1 the last;
    those beyond are below 0 or above 1."""
    body = np.flatnonzero(inside.mean(axis=(1, 2)) > 0.01)
    first, last = (body[0], body[-1]) if len(body) else (0, 0)
    return (np.arange(len(inside)) - first) / max(last - first, 1)


def in_plane(values: Sequence[float], plane: str) -> tuple[float, float]:
    """Those of `values` (x, y, z), along canonical axes, that lie within a slice."""
    axis = 2 - PLANES[choose(plane, PLANES, "plane")]
    first, second = (value for k, value in enumerate(values) if k != axis)
    return first, second


def fits(found: Sequence[float], trained: Sequence[float], tolerance: float) -> bool:
    """Whether the spacing of a slice is near enough to the one that a model was trained at."""
    return all(1 / (1 + tolerance) <= s / t <= 1 + tolerance for s, t in zip(found, trained[:2], strict=True))


def spacing_complaint(
    spacing: Sequence[float], plane: str, model: str, trained: Sequence[float], tolerance: float
) -> str | None:
    """What is wrong with the in-plane part of a canonical `spacing` (x, y, z) mm for a model; None if nothing is."""
    found = in_plane(spacing, plane)
    if fits(found, trained, tolerance):
        return None
    return (
        f"the {plane} slices have a spacing of {found[0]:g} x {found[1]:g} mm; model {model!r} was "
        f"trained at {trained[0]:g} x {trained[1]:g} mm; resample the volume to that spacing, or choose another "
        "model or plane"
    )
