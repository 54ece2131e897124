"""Solvers reproduce the textbook, converge at their order, and sample the Gaussian that the prior stands for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from gaussians import SCHEDULES, Counter, Normal, scalar, white
from torch import Tensor

from meddiff.errors import BadInput
from meddiff.levels import CLEAN, Level, Schedule
from meddiff.noises import gaussian
from meddiff.sampling import drain, invert, sample
from meddiff.solvers import DDIM, SOLVERS, DPMSolver2M, Heun, Refresh, ReverseDiffusion, Solver, Step, apply, kernel


def normalised(count: int, seed: int = 0) -> Tensor:
    """Gaussian numbers of exactly zero mean and unit variance, as one image: deterministic solvers owe us no error."""
    z = white(1, 1, count, seed=seed)
    return (z - z.mean()) / z.std()


def even_levels(family: str, count: int, noisy: float = -3.0, clean: float = 4.0) -> Schedule:
    """`count + 1` levels exactly uniform in log-SNR."""
    levels = []
    for i in range(count + 1):
        ratio = math.exp(-clean + (clean - noisy) * i / count)
        alpha = {"vp": 1 / math.hypot(1, ratio), "ve": 1.0, "flow": 1 / (1 + ratio)}[family]
        levels.append(Level(float(i), alpha, alpha * ratio))
    return Schedule(tuple(levels))


@pytest.mark.parametrize("i", [1, 10, 500, 999])
def test_ancestral_kernel_is_the_ddpm_posterior(i: int) -> None:
    t, s = SCHEDULES["vp"].levels[i], SCHEDULES["vp"].levels[i - 1]
    bar_t, bar_s = t.alpha**2, s.alpha**2
    beta = 1 - bar_t / bar_s
    mean_x = math.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t)  # Ho 2020, eq. 7
    mean_x0 = math.sqrt(bar_s) * beta / (1 - bar_t)
    assert kernel(t, s, 1.0) == pytest.approx((mean_x, mean_x0, math.sqrt(beta * (1 - bar_s) / (1 - bar_t))), abs=1e-9)


def test_ancestral_kernel_is_the_ve_posterior() -> None:
    t, s = SCHEDULES["ve"].levels[700], SCHEDULES["ve"].levels[600]
    keep = s.sigma**2 / t.sigma**2  # Song 2021, eq. 47
    noise = math.sqrt(s.sigma**2 * (t.sigma**2 - s.sigma**2)) / t.sigma
    assert kernel(t, s, 1.0) == pytest.approx((keep, 1 - keep, noise))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", SCHEDULES)
def test_kernel_carries_one_marginal_to_the_other(name: str, eta: float) -> None:
    levels = SCHEDULES[name].levels
    for t, s in [(levels[1], levels[0]), (levels[999], levels[500]), (levels[300], CLEAN)]:
        c = kernel(t, s, eta)  # x_t = alpha_t x0 + sigma_t eps must become alpha_s x0 + sigma_s eps
        assert c.x * t.alpha + c.x0 == pytest.approx(s.alpha)
        assert math.hypot(c.x * t.sigma, c.noise) == pytest.approx(s.sigma)


def test_deterministic_kernel_is_the_euler_step() -> None:
    t, s = SCHEDULES["ve"].levels[800], SCHEDULES["ve"].levels[700]
    x, x0 = white(5, seed=1), white(5, seed=2)
    euler = x + (s.sigma - t.sigma) * (x - x0) / t.sigma  # of dx/dsigma = (x - x0) / sigma
    torch.testing.assert_close(apply(kernel(t, s, 0.0), x, x0, noise=_no_noise), euler)


@pytest.mark.parametrize("name", SCHEDULES)
def test_deterministic_kernel_is_ddim(name: str) -> None:
    t, s = SCHEDULES[name].levels[800], SCHEDULES[name].levels[700]
    x, x0 = white(5, seed=1), white(5, seed=2)
    ddim = s.alpha * x0 + s.sigma * (x - t.alpha * x0) / t.sigma  # Song 2021, eq. 12
    torch.testing.assert_close(apply(kernel(t, s, 0.0), x, x0, noise=_no_noise), ddim)


@pytest.mark.parametrize("name", SCHEDULES)
def test_reverse_diffusion_is_the_predictor_of_the_paper(name: str) -> None:
    t, s = SCHEDULES[name].levels[800], SCHEDULES[name].levels[700]
    x, x0, z = white(5, seed=1), white(5, seed=2), white(5, seed=3)
    drop = t.ratio**2 - s.ratio**2  # Song 2021, algorithm 2, on the variance-exploding image x / alpha
    paper = x / t.alpha + drop * (x0 - x / t.alpha) / t.ratio**2 + math.sqrt(drop) * z
    solver = ReverseDiffusion()
    step = Step(x, t, s, solver.coeffs(t, s), denoise=_no_noise, noise=lambda _: z)
    torch.testing.assert_close(solver.step(step, x0, None)[0], s.alpha * paper)
    last = Step(x, s, CLEAN, solver.coeffs(s, CLEAN), denoise=_no_noise, noise=_no_noise)
    torch.testing.assert_close(solver.step(last, x0, None)[0], x0)


@pytest.mark.parametrize("zeta", [0.0, 0.3, 1.0])
def test_refreshed_noise_forgets_where_the_step_began(zeta: float) -> None:
    t, s = SCHEDULES["vp"].levels[800], SCHEDULES["vp"].levels[700]
    x0, z, solver = white(5, seed=2), white(5, seed=3), Refresh(zeta)
    for seed in (0, 1):
        step = Step(white(5, seed=seed), t, s, solver.coeffs(t, s), denoise=_no_noise, noise=lambda _: z)
        torch.testing.assert_close(solver.step(step, x0, None)[0], s.alpha * x0 + zeta * s.sigma * z)
    last = Step(white(5), s, CLEAN, solver.coeffs(s, CLEAN), denoise=_no_noise, noise=_no_noise)
    assert torch.equal(solver.step(last, x0, None)[0], x0)


def _no_noise(*_: object) -> Tensor:
    raise AssertionError("a deterministic step drew noise, or called the network")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("solver", "steps"),
    [
        (DDIM(), 300),
        (DDIM(eta=0.5), 300),
        (DDIM(eta=1.0), 400),
        (ReverseDiffusion(), 500),
        (DPMSolver2M(), 60),
        (Heun(), 60),
    ],
)
def test_every_solver_recovers_the_gaussian(solver: Solver, steps: int, schedule: str) -> None:
    problem, levels = scalar(0.7, 0.3), SCHEDULES[schedule]
    path = levels.path(steps, spacing="log-snr")
    x = problem.marginal(normalised(5_000), path[0])
    result = drain(sample(problem.prior(levels), x, path, solver=solver, noise=gaussian(1, 1)))
    assert result.mean() == pytest.approx(0.7, abs=0.012)
    assert result.std() == pytest.approx(0.3, abs=0.012)


@pytest.mark.parametrize("family", ["vp", "ve", "flow"])
@pytest.mark.parametrize(("solver", "order"), [(DDIM(), 1), (DPMSolver2M(), 2), (Heun(), 2)])
def test_order_of_convergence(solver: Solver, order: int, family: str) -> None:
    problem, schedule = scalar(), even_levels(family, 128)
    errors = []
    for every in (4, 2, 1):
        path = schedule.levels[::-1][::every]
        x = problem.marginal(normalised(50), path[0])
        result = drain(sample(problem.prior(schedule), x, path, solver=solver, noise=_no_noise))
        errors.append(float((result - problem.flow(x, path[0], path[-1])).abs().max()))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_by_name_are_exact_where_the_answer_is_one_image(name: str) -> None:
    point = Normal(white(1, 1, 4), torch.zeros((), dtype=torch.float64))  # p(x0) is a delta: any path leads there
    schedule = SCHEDULES["vp"]
    x = white(1, 1, 4, seed=1)
    result = drain(sample(point.prior(schedule), x, schedule.path(7), solver=SOLVERS[name](), noise=gaussian(0, 1)))
    torch.testing.assert_close(result, point.mean)


@pytest.mark.parametrize(
    ("solver", "calls"),
    [(DDIM(), 12), (DDIM(1.0), 12), (Refresh(0.5), 12), (ReverseDiffusion(), 12), (DPMSolver2M(), 12), (Heun(), 23)],
)
def test_network_calls_of_a_solver(solver: Solver, calls: int) -> None:
    counter, schedule = Counter(), SCHEDULES["vp"]
    prior = counter.watch(scalar().prior(schedule))
    drain(sample(prior, white(1, 1, 2), schedule.path(12), solver=solver, noise=gaussian(0, 1)))
    assert counter.calls == calls


def test_second_order_solver_forgets_what_lies_beyond_a_climb() -> None:
    problem, schedule = scalar(), even_levels("vp", 16)
    prior, (t, s, *rest) = problem.prior(schedule), schedule.levels[::-1][4:]
    x = problem.marginal(normalised(50), t)

    def carry(x: Tensor, path: list[Level], seed: int) -> Tensor:
        return drain(sample(prior, x, path, solver=DPMSolver2M(), noise=gaussian(seed, 1)))

    whole = carry(x, [t, s, t, s, *rest], seed=1)
    torch.testing.assert_close(whole, carry(carry(x, [t, s, t], seed=1), [t, s, *rest], seed=2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_inversion_then_decoding_is_the_identity_as_steps_grow(name: str) -> None:
    problem, schedule = scalar(), SCHEDULES[name]
    image, prior, errors = problem.draw(normalised(500)), problem.prior(schedule), []
    for steps in (25, 100, 400):
        path = schedule.path(steps, spacing="log-snr")
        code = drain(invert(prior, image, path[::-1]))
        back = drain(sample(prior, code, path, noise=_no_noise))
        errors.append(float((back - image).square().mean().sqrt()))
    assert errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3 and errors[2] < 0.005
    # and the code of an image is the one on its probability-flow trajectory
    torch.testing.assert_close(code, problem.marginal(normalised(500), path[0]), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_first_rung_of_an_inversion_keeps_the_image_to_second_order(name: str) -> None:
    problem, schedule = scalar(0.7, 0.3), SCHEDULES[name]
    image, prior = problem.draw(normalised(50)), problem.prior(schedule)
    level = schedule.levels[schedule.nearest(0.1)]
    back = drain(sample(prior, drain(invert(prior, image, [CLEAN, level])), [level, CLEAN], noise=_no_noise))
    lost = (level.ratio**2 / (0.3**2 + level.ratio**2)) ** 2  # 1 %; an image that took no noise up would lose 10 %
    torch.testing.assert_close(back, 0.7 + (1 - lost) * (image - 0.7))


def test_inversion_goes_up_only() -> None:
    schedule = SCHEDULES["vp"]
    prior, path = scalar().prior(schedule), schedule.path(5)
    with pytest.raises(BadInput, match="reverse the sampling path"):
        drain(invert(prior, white(1, 1, 2), path))
    counter = Counter()
    progress = list(invert(counter.watch(prior), white(1, 1, 2), path[::-1]))
    assert [p.step for p in progress] == [1, 2, 3, 4, 5] and {p.of for p in progress} == {5}
    assert progress[-1].level == path[0] and counter.calls == 5
