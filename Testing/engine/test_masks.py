"""Truths of the sampling masks: exact rates, sampled centres, seeds, spacing, and errors one can act on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from meddiff.errors import BadInput
from meddiff.masks import (
    PATTERNS,
    as_mask,
    cartesian_equispaced,
    cartesian_random,
    make_mask,
    poisson_disc,
    radial,
    to_fft_order,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.floats(1, 20), st.floats(0, 1), st.integers(0, 9), st.booleans())
def test_lines_are_whole_and_their_number_exact(
    rows: int, columns: int, acceleration: float, share: float, seed: int, along_x: bool
) -> None:
    for cartesian in (cartesian_random, cartesian_equispaced):
        axis = -1 if along_x else -2
        mask = cartesian((rows, columns), acceleration, share / acceleration, seed, axis)
        lines = mask.any(0) if along_x else mask.any(1)
        assert torch.equal(mask, lines.expand_as(mask) if along_x else lines[:, None].expand_as(mask))
        size = columns if along_x else rows
        assert int(lines.sum()) == max(round(size / acceleration), 1)


@pytest.mark.parametrize("name", sorted(PATTERNS))
@pytest.mark.parametrize("shape", [(48, 40), (41, 47)])
def test_rate_centre_and_seed(name: str, shape: tuple[int, int]) -> None:
    mask = make_mask(name, shape, 4, centre_fraction=0.1, seed=7)
    assert mask.shape == shape and mask.dtype == torch.bool
    assert mask[shape[0] // 2, shape[1] // 2]
    assert mask.numel() / mask.sum() == pytest.approx(4, rel=0.1)
    assert torch.equal(mask, make_mask(name, shape, 4, centre_fraction=0.1, seed=7))
    assert not torch.equal(mask, make_mask(name, shape, 4, centre_fraction=0.1, seed=8))
    assert make_mask(name, shape, 1, centre_fraction=0.1).all()
    assert to_fft_order(mask)[0, 0]


def test_calibration_lines_are_centred() -> None:
    lines = cartesian_random((3, 100), 8, 0.1)[0]
    assert lines[45:55].all()
    assert cartesian_random((100, 3), 8, 0.1, axis=0)[45:55].all()


def test_random_lines_are_uniform() -> None:
    counts = sum(cartesian_random((1, 60), 3, 0.1, seed).int()[0] for seed in range(400))
    assert isinstance(counts, torch.Tensor)
    outside = torch.cat([counts[:27], counts[33:]]).double()
    # 14 of 54 lines, 400 times: mean 103.7 and standard deviation 8.8; five of those are never passed by chance.
    assert (outside - 400 * 14 / 54).abs().max() < 44


def test_equispaced_lines_are_equispaced() -> None:
    mask = cartesian_equispaced((1, 160), 4, 0.05, seed=2)[0].clone()
    gaps = torch.from_numpy(np.diff(np.flatnonzero(mask[:76].numpy())))
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("acceleration", [4, 8])
def test_poisson_disc_points_keep_their_distance_and_thin_out(acceleration: float) -> None:
    shape = (96, 80)
    mask = poisson_disc(shape, acceleration, 8, seed=1)
    assert int(mask.sum()) == round(96 * 80 / acceleration)
    assert mask[44:52, 36:44].all()
    points = np.argwhere(mask.numpy())
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    frequency = np.hypot((points[:, 0] - 48) / 96, (points[:, 1] - 40) / 80)
    assert nearest[frequency > 0.45].min() >= 1.4  # uniformly random points touch (distance 1) all the time
    assert nearest[frequency > 0.45].mean() > 1.3 * nearest[frequency < 0.15].mean()


def test_radial_spokes_pass_the_centre() -> None:
    one = radial((33, 33), spokes=1, seed=4)
    assert one[16, 16] and 33 <= int(one.sum()) <= 47
    assert int(radial((33, 33), spokes=8, seed=4).sum()) > 3 * int(one.sum())
    assert (one & ~radial((33, 33), spokes=8, seed=4)).sum() == 0


def test_a_mask_from_a_file() -> None:
    line = np.array([0, 1, 1, 0])
    assert torch.equal(as_mask(line, (3, 4)), torch.tensor(line, dtype=torch.bool).expand(3, 4))
    assert as_mask(np.eye(3, dtype=np.float32), (3, 3)).dtype == torch.bool


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: make_mask("cartesian", (8, 8), 2), "did you mean cartesian-"),
        (lambda: make_mask("radial", (8, 8), 0.5), "acceleration 0.5"),
        (lambda: make_mask("poisson-disc", (8, 8), float("nan")), "acceleration nan"),
        (lambda: make_mask("cartesian-random", (8, 8), 4, centre_fraction=0.5), "more than 1 / acceleration"),
        (lambda: make_mask("cartesian-equispaced", (8, 8), 4, centre_fraction=-1), "centre fraction -1"),
        (lambda: make_mask("poisson-disc", (20, 20), 8, centre_fraction=0.5), "at most 7"),
        (lambda: make_mask("cartesian-random", (8, 8, 8), 4), "one slice"),  # type: ignore[arg-type]
        (lambda: cartesian_random((8, 8), 2, axis=3), "axis 3"),
        (lambda: poisson_disc((8, 8), 2, 9), "0 to 8"),
        (lambda: radial((8, 8)), "exactly one"),
        (lambda: radial((8, 8), spokes=0), "0 spokes"),
        (lambda: as_mask(np.ones((4, 5)), (5, 4)), r"\(4, 5\).*\(5, 4\)"),
        (lambda: as_mask(np.zeros((4, 4)), (4, 4)), "empty"),
        (lambda: as_mask(np.full((4, 4), 0.3), (4, 4)), "threshold"),
    ],
)
def test_wrong_input_is_explained(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        wrong()
