"""Simplex noise: the sum over a lattice that it is by definition, seamless, of unit variance, long waves first."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from torch import Tensor

from meddiff.noises import Gaussian
from meddiff.simplex import _VARIANCE, Simplex, _gradients, _octave


def by_definition(height: int, width: int, period: float, seed: int) -> Tensor:
    """The octave as a sum over all vertices of the lattice, each felt by every pixel within sqrt(1/2) of it."""
    g = torch.Generator().manual_seed(seed)
    x0, y0, z = (3 * torch.rand(3, generator=g)).double()
    gradients = _gradients(height, width, period, g).double()
    x = x0 + torch.arange(width).double() / period
    y = y0 + torch.arange(height).double()[:, None] / period
    out = torch.zeros(height, width, dtype=torch.float64)
    for i, j, k in itertools.product(range(gradients.shape[1]), range(gradients.shape[2]), range(-1, 30)):
        back = (i + j + k) / 6
        d = x - (i - back), y - (j - back), z - (k - back)
        weight = (0.5 - d[0] ** 2 - d[1] ** 2 - d[2] ** 2).clamp_min(0) ** 4
        out += weight * sum(gradients[n, i, j, k % 2] * d[n] for n in range(3))
    return out


@pytest.mark.parametrize(("height", "width", "period"), [(24, 20, 8.0), (9, 14, 2.0), (30, 30, 64.0), (12, 1, 3.0)])
def test_an_octave_is_the_sum_over_its_lattice(height: int, width: int, period: float) -> None:
    """So it has no seams either, and no pixel misses a vertex."""
    for seed in range(4):
        ours = _octave(height, width, period, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(ours.double(), by_definition(height, width, period, seed), rtol=0, atol=2e-7)


def test_each_pixel_has_mean_zero_and_unit_variance_over_many_fields() -> None:
    z = Simplex(range(1200))(torch.zeros(1200, 1, 64, 48))
    assert z.mean().abs() < 0.03 and z.square().mean() == pytest.approx(1, abs=0.04)
    blocks = z.reshape(1200, 8, 8, 6, 8).square().mean((0, 2, 4))  # no place is quieter than another
    assert blocks.min() > 0.9 and blocks.max() < 1.1


@pytest.mark.parametrize("period", [2.0, 5.0, 16.0])
def test_the_variance_of_an_octave_is_its_closed_form(period: float) -> None:
    g = torch.Generator().manual_seed(0)
    power = torch.stack([_octave(64, 64, period, g) for _ in range(400)]).square().mean()
    assert power / _VARIANCE == pytest.approx(1, abs=0.02)


def test_long_waves_dominate() -> None:
    power = torch.fft.fft2(Simplex(range(200))(torch.zeros(200, 1, 128, 128))).abs().square().mean((0, 1))
    f = torch.fft.fftfreq(128)
    waves = (f[:, None] ** 2 + f**2).sqrt()
    bands = [
        power[(waves > low) & (waves <= 2 * low)].mean() for low in (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
    ]
    assert all(a > 2 * b for a, b in itertools.pairwise(bands))
    assert power[(waves > 0) & (waves <= 1 / 16)].sum() > 0.6 * power.sum()


def test_an_image_gets_its_noise_in_any_batch_at_any_position() -> None:
    like = torch.zeros(3, 2, 20, 24)
    three = Simplex([11, 12, 13])
    rounds = [three(like), three(like)]
    for position, seed in enumerate([11, 12, 13]):
        alone = Simplex([seed])
        for both in rounds:
            assert torch.equal(alone(like[:1])[0], both[position])
    assert not torch.equal(*rounds) and not torch.equal(rounds[0][:, 0], rounds[0][:, 1])


def test_it_is_independent_of_precision_global_settings_and_gaussian_noise_of_its_seed() -> None:
    like, state = torch.zeros(1, 1, 16, 16), torch.get_rng_state()
    first = Simplex([3])(like)
    torch.set_default_dtype(torch.float64)
    try:
        again = Simplex([3])(like.double())
    finally:
        torch.set_default_dtype(torch.float32)
    assert again.dtype == torch.float64 and torch.equal(again, first.double())
    assert torch.equal(torch.get_rng_state(), state)
    assert Simplex(Gaussian([3]).seeds).seeds == (3,)


def test_a_wrong_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 2, got 3"):
        Simplex([0, 1])(torch.zeros(3, 1, 8, 8))


def test_a_slice_takes_milliseconds() -> None:
    noise, like = Simplex([0]), torch.zeros(1, 1, 160, 192)
    best = min(_seconds(noise, like) for _ in range(5))
    assert best < 0.1  # 8 ms on one core of 2022; a loop over pixels would take seconds


def _seconds(noise: Simplex, like: Tensor) -> float:
    start = time.perf_counter()
    noise(like)
    return time.perf_counter() - start
