"""Noise belongs to the image that it is drawn for: not to the batch, the position or the precision."""

from __future__ import annotations

import pytest
import torch

from meddiff.noises import Gaussian, gaussian, seed_of


def test_an_image_gets_its_noise_in_any_batch_at_any_position() -> None:
    like = torch.zeros(4, 2, 5, 6)
    four = Gaussian([11, 12, 13, 14])
    rounds = [four(like), four(like)]
    for position, seed in enumerate([11, 12, 13, 14]):
        alone = Gaussian([seed])
        for both in rounds:
            assert torch.equal(alone(like[:1])[0], both[position])
    swapped = Gaussian([14, 11])
    assert torch.equal(swapped(like[:2]), rounds[0][[3, 0]])
    assert not torch.equal(*rounds)


def test_a_larger_batch_keeps_the_first_images() -> None:
    small, large = gaussian(5, 2)(torch.zeros(2, 1, 8)), gaussian(5, 6)(torch.zeros(6, 1, 8))
    assert torch.equal(small, large[:2])
    assert len(large.unique(dim=0)) == 6
    assert not torch.equal(gaussian(6, 2)(torch.zeros(2, 1, 8)), small)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_precision_only_rounds_the_same_numbers(dtype: torch.dtype) -> None:
    single = gaussian(0, 2)(torch.zeros(2, 3, 8, 8))
    other = gaussian(0, 2)(torch.zeros(2, 3, 8, 8, dtype=dtype))
    assert other.dtype == dtype and torch.equal(other, single.to(dtype))


def test_numbers_do_not_depend_on_global_settings() -> None:
    like = torch.zeros(1, 40)
    before, state = gaussian(3, 1)(like), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(gaussian(3, 1)(like), before)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)  # and they leave the global generator alone


def test_it_is_white_and_of_unit_variance() -> None:
    z = gaussian(1, 2)(torch.zeros(2, 1, 200, 200, dtype=torch.float64))
    assert z.mean().abs() < 0.01 and abs(z.std() - 1) < 0.01
    assert abs(z.pow(4).mean() - 3) < 0.1  # the kurtosis of a Gaussian
    assert (z[0] * z[1]).mean().abs() < 0.02
    assert (z[..., 1:] * z[..., :-1]).mean().abs() < 0.02


def test_a_wrong_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 2, got 3"):
        gaussian(0, 2)(torch.zeros(3, 1))


def test_seeds_depend_on_every_part_and_fit_a_generator() -> None:
    seeds = [seed_of(0, 1), seed_of(1, 0), seed_of(0, 1, 0), seed_of("0", "1"), seed_of(0, "measurement"), seed_of()]
    assert seeds[0] == seeds[3]  # numbers and their words are one
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(3, 7) == 3_125_682_599_988_136_808  # the same on every machine, in every version
