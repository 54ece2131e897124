"""The divergence of counterfactuals: of a closed form, and least for the change that is just large enough."""

from __future__ import annotations

import math

import pytest
import torch
from gaussians import white
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from meddiff.counterfactuals import Diagonal, counterfactual_divergence, kl
from meddiff.errors import BadInput


def diagonal(batch: int, seed: int, axes: int = 5) -> Diagonal:
    return Diagonal(white(batch, axes, seed=seed), white(batch, axes, seed=seed + 1))


def bell(given: Diagonal) -> Normal:
    return Normal(given.mean, (0.5 * given.log_variance).exp())


def test_the_divergence_of_two_normals_is_that_of_torch() -> None:
    p, q = diagonal(4, 0), diagonal(4, 2)
    torch.testing.assert_close(kl(p, q), kl_divergence(bell(p), bell(q)).sum(1))
    assert kl(p, p).abs().max() < 1e-12


def test_the_mean_and_the_variance_have_their_places() -> None:
    """KL(N(0, 1) || N(m, v)) = (log v + (1 + m^2) / v - 1) / 2; with the mean read as a log-variance it differs."""
    m, v = 0.7, 3.0
    p = Diagonal(torch.zeros(1, 1), torch.zeros(1, 1))
    q = Diagonal(torch.full((1, 1), m), torch.full((1, 1), math.log(v)))
    assert float(kl(p, q)) == pytest.approx(0.5 * (math.log(v) + (1 + m**2) / v - 1))
    assert float(kl(q, p)) == pytest.approx(0.5 * (-math.log(v) + v + m**2 - 1))


def on_a_line(*places: float) -> Diagonal:
    """Unit normals: their divergence is half the squared distance."""
    return Diagonal(torch.tensor(places)[:, None], torch.zeros(len(places), 1))


def divergence(place: float, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Originals at 0 among their kind within 1, and another kind from 2 on."""
    target, source = on_a_line(2.0, 3.0, 4.0, 5.0), on_a_line(-0.5, 0.5, 0.8, 1.0)
    return counterfactual_divergence(on_a_line(place), on_a_line(0.0), target, source, weights)


@pytest.mark.parametrize(
    ("place", "near", "far"),
    [(0.1, 0, 1), (0.6, 0, 0.5), (1.5, 0, 0), (2.5, 0.25, 0), (3.5, 0.5, 0), (9.0, 1, 0), (-1.5, 0, 0)],
)
def test_shares_of_real_images_are_counted(place: float, near: float, far: float) -> None:
    assert float(divergence(place)) == pytest.approx(math.log(math.exp(near) + math.exp(far)))
    assert float(divergence(place, (0.8, 0.2))) == pytest.approx(math.log(0.8 * math.exp(near) + 0.2 * math.exp(far)))


def test_each_counterfactual_has_its_own_original() -> None:
    target, source = diagonal(7, 4), diagonal(6, 6)
    counterfactual, original = diagonal(3, 8), diagonal(3, 10)
    together = counterfactual_divergence(counterfactual, original, target, source)
    for k in range(3):
        one, its = (Diagonal(d.mean[k : k + 1], d.log_variance[k : k + 1]) for d in (counterfactual, original))
        torch.testing.assert_close(together[k : k + 1], counterfactual_divergence(one, its, target, source))


def test_nothing_to_compare_with_is_refused() -> None:
    one, none = on_a_line(1.0), on_a_line()
    with pytest.raises(BadInput, match="1 target and 0 source images came"):
        counterfactual_divergence(one, one, one, none)
    with pytest.raises(BadInput, match="none is negative"):
        counterfactual_divergence(one, one, one, one, (-1.0, 2.0))
