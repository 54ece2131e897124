"""The four predictions say the same thing, on levels of any kind."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from gaussians import PREDICTIONS, SCHEDULES, exact_prior, scalar, white
from hypothesis import given
from hypothesis import strategies as st

from meddiff import convert
from meddiff.convert import from_x0, to_x0
from meddiff.errors import BadInput
from meddiff.levels import CLEAN, Level
from meddiff.noises import gaussian
from meddiff.prior import Condition
from meddiff.sampling import drain, sample


@given(
    predicts=st.sampled_from(PREDICTIONS),
    alpha=st.floats(0.01, 3.0),
    sigma=st.floats(0.01, 50.0),
)
def test_round_trip_on_any_level(predicts: str, alpha: float, sigma: float) -> None:
    level, x0, eps = Level(0.0, alpha, sigma), white(8, seed=1), white(8, seed=2)
    x = alpha * x0 + sigma * eps
    output = from_x0(x0, x, level, predicts)
    torch.testing.assert_close(to_x0(output, x, level, predicts), x0, rtol=1e-8, atol=1e-8)
    # and what the network would have said is the definition in its paper
    truth = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps / sigma}[predicts]
    torch.testing.assert_close(output, truth, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_score_is_the_gradient_of_log_p(name: str) -> None:
    problem, level = scalar(0.7, 0.3), SCHEDULES[name].levels[400]
    x = white(5).requires_grad_()
    log_p = -((x - level.alpha * 0.7) ** 2) / (2 * ((level.alpha * 0.3) ** 2 + level.sigma**2))
    (score,) = torch.autograd.grad(log_p.sum(), x)
    torch.testing.assert_close(to_x0(score, x.detach(), level, "score"), problem.denoise(x.detach(), level))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predicts", PREDICTIONS)
def test_every_prediction_gives_the_same_trajectory(name: str, predicts: str) -> None:
    problem, schedule = scalar(), SCHEDULES[name]
    path, x = schedule.path(20, spacing="log-snr"), schedule.levels[-1].sigma * white(1, 1, 64)
    result = drain(sample(problem.prior(schedule, predicts), x, path, noise=gaussian(0, 1)))
    reference = x
    for t, s in pairwise(path):  # DDIM, written out
        x0 = problem.denoise(reference, t)
        reference = s.alpha * x0 + s.sigma * (reference - t.alpha * x0) / t.sigma
    torch.testing.assert_close(result, reference, rtol=1e-7, atol=1e-9)


def test_an_unknown_prediction_is_refused() -> None:
    x = torch.zeros(1)
    for function in (to_x0, from_x0):
        with pytest.raises(BadInput, match="did you mean eps"):
            function(x, x, Level(0.0, 1.0, 1.0), "epss")
    assert convert.PREDICTIONS == PREDICTIONS


def test_a_clean_image_needs_no_network() -> None:
    def network(x: torch.Tensor, time: float, cond: Condition | None = None) -> torch.Tensor:
        raise AssertionError("called")

    prior = exact_prior(network, SCHEDULES["vp"])
    x = white(3)
    assert torch.equal(prior.denoise(x, CLEAN), x)
    assert torch.equal(prior.denoise(x, Level(-1.0, 2.0, 0.0)), x / 2)


def test_a_prior_lets_gradients_through() -> None:
    prior = scalar().prior(SCHEDULES["vp"])
    level = prior.schedule.levels[300]
    x = white(4).requires_grad_()
    (slope,) = torch.autograd.grad(prior.denoise(x, level).sum(), x)
    expected = level.alpha * 0.09 / (level.alpha**2 * 0.09 + level.sigma**2)
    torch.testing.assert_close(slope, torch.full_like(x, expected))


def test_null_takes_back_label_and_context_but_not_the_image() -> None:
    concat, context, label = white(2, 1, 4, 4), white(2, 3, 5), torch.tensor([0, 1])
    null = Condition(concat, context, label, null_label=9).null()
    assert null.concat is concat
    assert null.context is not None and not null.context.any() and null.context.shape == context.shape
    assert null.label is not None and null.label.tolist() == [9, 9]
    assert Condition(label=label).null().label is None
