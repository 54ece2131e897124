"""The step-wise divergence of a prior, against closed forms on Gaussian images."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from gaussians import SCHEDULES, Normal, scalar, white
from torch import Tensor
from torch.distributions import Normal as Bell
from torch.distributions import kl_divergence

from meddiff.errors import BadInput
from meddiff.levels import CLEAN, Level
from meddiff.likelihood import band, latent_kl
from meddiff.noises import Noise, gaussian
from meddiff.sampling import drain


def reverse(z: Tensor, z0: Tensor, t: Level, s: Level) -> Bell:
    """q(z_s | z_t, z0) by Bayes' rule: N(z_s; a_s z0, s_s^2) times N(z_t; r z_s, s_t^2 - r^2 s_s^2), r = a_t / a_s."""
    ratio = t.alpha / s.alpha
    forward = t.sigma**2 - ratio**2 * s.sigma**2
    precision = 1 / s.sigma**2 + ratio**2 / forward
    mean = (s.alpha * z0 / s.sigma**2 + ratio * z / forward) / precision
    return Bell(mean, torch.full_like(mean, precision**-0.5))


def repeated(seed: int) -> Noise:
    """Noise that starts anew with each call."""
    return lambda like: gaussian(seed, len(like))(like)


@pytest.mark.parametrize("predicts", ["v", "eps"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_the_divergence_of_the_two_gaussians(name: str, predicts: str) -> None:
    truth = scalar()
    prior = truth.prior(SCHEDULES[name], predicts)
    z0, levels = white(2, 3, 4, 5), band(prior, 4, 0.6, 0.3)
    found = drain(latent_kl(prior, z0, levels, repeated(1)))
    expected = torch.zeros(2, 1, 4, 5, dtype=z0.dtype)
    for t, s in pairwise(levels):
        z = t.alpha * z0 + t.sigma * repeated(1)(z0)
        told, learnt = reverse(z, z0, t, s), reverse(z, truth.denoise(z, t), t, s)
        expected += kl_divergence(told, learnt).sum(1, keepdim=True)
    torch.testing.assert_close(found, expected / 4)


def test_its_mean_over_the_noise_is_a_closed_form() -> None:
    truth = Normal(torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.09, dtype=torch.float64))
    prior = truth.prior(SCHEDULES["vp"])
    t, s = band(prior, 1, 0.5, 0.45)
    z0 = torch.full((1, 1, 400, 400), 1.9, dtype=torch.float64)
    found = drain(latent_kl(prior, z0, [t, s], gaussian(0, 1))).mean()
    a, v, total = t.alpha, 0.09, t.alpha**2 * 0.09 + t.sigma**2
    # z0 - E[z0 | z_t] = sigma^2 (z0 - m) / total - a v sigma eps / total
    error = (t.sigma**2 * (1.9 - 0.7) / total) ** 2 + (a * v * t.sigma / total) ** 2
    growth = (s.alpha / s.sigma) ** 2 - (t.alpha / t.sigma) ** 2
    assert float(found) == pytest.approx(growth / 2 * error, rel=0.01)


def test_what_the_prior_does_not_expect_stands_out() -> None:
    prior = scalar(0.7, 0.3).prior(SCHEDULES["cosine"], "v")
    z0 = torch.full((1, 2, 8, 8), 0.7, dtype=torch.float64)
    z0[..., 2:4, 5:7] += 1.5
    found = drain(latent_kl(prior, z0, band(prior, 8, 0.6, 0.4), gaussian(0, 1)))[0, 0]
    assert found[2:4, 5:7].min() > 3 * found[5:, :4].max()


def test_the_band_runs_from_start_to_stop() -> None:
    schedule = SCHEDULES["vp"]
    levels = band(scalar().prior(schedule), 10, 0.6, 0.4)
    assert [level.time for level in levels] == [float(round(599 - 19.9 * k)) for k in range(11)]


@pytest.mark.parametrize("pick", [(500,), (300, 500), (500, 500), (500, -1)])
def test_levels_that_do_not_go_down_are_refused(pick: tuple[int, ...]) -> None:
    prior = scalar().prior(SCHEDULES["vp"])
    levels = [CLEAN if i < 0 else prior.schedule.levels[i] for i in pick]
    with pytest.raises(BadInput, match="less noisy"):
        drain(latent_kl(prior, white(1, 1, 2, 2), levels, gaussian(0, 1)))
