"""Guides do what their papers say, and reach the exact posterior where there is one."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from gaussians import SCHEDULES, Counter, correlated, exact_prior, scalar, white, wiener
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from meddiff.guides import (
    Classifier,
    Clip,
    FreeGuidance,
    Gradient,
    Guide,
    Langevin,
    LowFrequency,
    Project,
    ProjectState,
    Proximal,
    Replace,
)
from meddiff.levels import CLEAN, Level
from meddiff.masks import cartesian_random
from meddiff.noises import gaussian
from meddiff.operators import Downsample, Fourier, LowPass, Operator
from meddiff.prior import Condition, Prior
from meddiff.sampling import drain, repaint_path, sample
from meddiff.solvers import DDIM, SOLVERS, DPMSolver2M, Heun, Refresh, ReverseDiffusion, Solver, Step, apply

VP = SCHEDULES["vp"]
SIZE = (8, 8)
OPERATORS = {
    "fourier": Fourier(cartesian_random(SIZE, 2.0, 0.3)),
    "coarse": Downsample(2),
    "low-pass": LowPass(0.5),
}


def measured(operator: Operator, batch: int = 3) -> Tensor:
    """The measurement of some images of the stationary prior."""
    return operator(wiener(*SIZE).draw(white(batch, 1, *SIZE, seed=9)))


def at(x: Tensor, t: Level, s: Level, prior: Prior, solver: Solver = DDIM(), z: Tensor | None = None) -> Step:  # noqa: B008
    """The step from t to s, with noise z."""
    return Step(x, t, s, solver.coeffs(t, s), prior.denoise, lambda like: z if z is not None else torch.ones_like(like))


def run(prior: Prior, x: Tensor, steps: int, *guides: Guide, solver: Solver = DDIM(), seed: int = 0) -> Tensor:  # noqa: B008
    """Sample along a path that is uniform in log-SNR."""
    path = prior.path(steps, spacing="log-snr")
    return drain(sample(prior, x, path, solver=solver, guides=guides, noise=gaussian(seed, len(x))))


# ---------------------------------------------------------------- the exact posterior


@pytest.mark.parametrize("name", ["vp", "ve", "flow"])
@pytest.mark.parametrize(("solver", "steps"), [(DDIM(eta=1.0), 250), (DDIM(), 250), (DPMSolver2M(), 60), (Heun(), 60)])
def test_exact_likelihood_gives_the_closed_form_posterior(solver: Solver, steps: int, name: str) -> None:
    problem, schedule, y, spread = scalar(0.7, 0.3), SCHEDULES[name], 1.3, 0.2
    variance = 1 / (1 / 0.3**2 + 1 / spread**2)
    mean = variance * (0.7 / 0.3**2 + y / spread**2)

    def log_likelihood(x: Tensor, level: Level) -> Tensor:  # y = x0 + noise, x0 | x_t is Gaussian
        uncertain = spread**2 + problem.variance_left(level)
        return -((y - problem.denoise(x, level)) ** 2 / (2 * uncertain)).flatten(1).sum(1)

    prior, top = problem.prior(schedule), schedule.levels[-1]
    z = white(1, 1, 4_000)
    x = top.sigma * (z - z.mean()) / z.std() + top.alpha * mean
    result = run(prior, x, steps, Classifier(log_likelihood), solver=solver)
    assert result.mean() == pytest.approx(mean, abs=0.012)
    assert result.std() == pytest.approx(math.sqrt(variance), abs=0.008)


def test_classifier_scale_sharpens_the_likelihood() -> None:
    prior, x = scalar().prior(VP), white(1, 1, 4)
    step = at(x, VP.levels[300], VP.levels[250], prior)
    plain = prior.denoise(x, step.t)
    guided = Classifier(lambda x, level: (3 * x).flatten(1).sum(1), scale=2.0).estimate(plain, step)
    # Dhariwal 2021, algorithm 2: eps' = eps - scale sigma grad, here with the gradient 3 everywhere
    eps = (x - step.t.alpha * plain) / step.t.sigma - 2.0 * step.t.sigma * 3
    torch.testing.assert_close(guided, (x - step.t.sigma * eps) / step.t.alpha)


# ---------------------------------------------------------------- gradients: DPS and MCG

SINGLE_STEP: dict[str, Solver] = {
    "ddim": DDIM(),
    "half": DDIM(0.5),
    "ancestral": DDIM(1.0),
    "refresh": Refresh(0.5),
    "reverse-diffusion": ReverseDiffusion(),
}


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", SINGLE_STEP)
def test_gradient_guide_is_the_form_of_the_paper(solver: str, schedule: str, project: bool) -> None:
    levels, operator, zeta, rule = SCHEDULES[schedule], OPERATORS["fourier"], 0.4, SINGLE_STEP[solver]
    y, prior = measured(operator), wiener(*SIZE).prior(levels)
    path = levels.path(6, 0.9, "log-snr", 0.1)
    start = levels.levels[899].sigma * white(3, 1, *SIZE)
    guide = Gradient(operator, y, zeta, project=project)
    ours = drain(sample(prior, start, path, solver=rule, guides=(guide,), noise=gaussian(4, 3)))

    theirs, noise = start, gaussian(4, 3)
    for t, s in pairwise(path):  # Chung 2023, algorithm 1: the plain step, then minus the gradient of the distance
        x = theirs.clone().requires_grad_()
        x0 = prior.denoise(x, t)
        distance = (y - operator(x0)).abs().square().sum((1, 2, 3)).sqrt()
        (gradient,) = torch.autograd.grad(distance.sum(), x)
        if project:  # Chung 2022, MCG, eq. 14: only what was not measured
            gradient = gradient - operator.pinv(operator(gradient))
        coeffs = rule.coeffs(t, s) if s.sigma > 0 else rule.coeffs(t, s)._replace(noise=0.0)
        theirs = apply(coeffs, theirs, x0.detach(), noise) - zeta * gradient
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_gradient_of_each_image_knows_nothing_of_the_others() -> None:
    operator = OPERATORS["coarse"]
    y, prior, x = measured(operator), wiener(*SIZE).prior(VP), white(3, 1, *SIZE)
    path = VP.path(4)
    together = drain(sample(prior, x, path, guides=(Gradient(operator, y, 0.5),), noise=gaussian(0, 3)))
    alone = drain(sample(prior, x[1:2], path, guides=(Gradient(operator, y[1:2], 0.5),), noise=gaussian(0, 1)))
    torch.testing.assert_close(together[1:2], alone)


def test_gradient_of_a_perfect_fit_is_zero() -> None:
    operator = OPERATORS["fourier"]
    prior = wiener(*SIZE).prior(VP)
    x = torch.zeros(1, 1, *SIZE, dtype=torch.float64)
    result = run(prior, x, 3, Gradient(operator, operator(x), 1.0))
    assert not result.any()  # and not NaN, the slope of a square root at zero


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_manifold_constrained_gradient_leaves_the_measured_part_alone(operator: Operator) -> None:
    prior, y, x = wiener(*SIZE).prior(VP), measured(operator), white(3, 1, *SIZE).requires_grad_()
    step = at(x, VP.levels[300], VP.levels[200], prior)
    x0 = prior.denoise(x, step.t)
    shift = Gradient(operator, y, 1.0).estimate(x0, step) - x0
    projected = Gradient(operator, y, 1.0, project=True).estimate(x0, step) - x0
    torch.testing.assert_close(operator(projected), torch.zeros_like(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(projected, shift - operator.pinv(operator(shift)))
    assert operator(shift).abs().max() > 1e-3


# ---------------------------------------------------------------- data consistency


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_projection_makes_every_estimate_fit(operator: Operator, solver: str) -> None:
    prior, y = wiener(*SIZE).prior(VP), measured(operator)
    path = VP.path(5)
    inner = sample(
        prior, white(3, 1, *SIZE), path, solver=SOLVERS[solver](), guides=(Project(operator, y),), noise=gaussian(0, 3)
    )
    result = drain(inner, lambda p: torch.testing.assert_close(operator(p.x0), y))
    torch.testing.assert_close(operator(result), y)


def test_projection_moves_an_estimate_as_little_as_possible() -> None:
    operator = OPERATORS["fourier"]
    prior, y, x0 = wiener(*SIZE).prior(VP), measured(operator), white(3, 1, *SIZE)
    guided = Project(operator, y).estimate(x0, at(x0, VP.levels[9], VP.levels[8], prior))
    move, fitting = guided - x0, operator.pinv(y) + (x0 - operator.pinv(operator(x0)))
    torch.testing.assert_close(guided, fitting)
    torch.testing.assert_close(operator.pinv(operator(move)), move)  # nothing changes where nothing was measured


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_proximal_estimate_minimises_its_objective(operator: Operator, strength: float) -> None:
    prior, y, x0 = wiener(*SIZE).prior(VP), measured(operator), white(3, 1, *SIZE)
    step, spread = at(x0, VP.levels[250], VP.levels[200], prior), 0.6
    x = Proximal(operator, y, spread, strength).estimate(x0, step).requires_grad_()
    misfit = (operator(x) - y).abs().square().sum() / spread**2
    (slope,) = torch.autograd.grad(strength * misfit + (x - x0).square().sum() / step.t.ratio**2, x)
    torch.testing.assert_close(slope, torch.zeros_like(x), rtol=0, atol=1e-9)


def test_proximal_estimate_lies_between_the_projection_and_the_prior() -> None:
    operator = OPERATORS["fourier"]
    prior, y, x0 = wiener(*SIZE).prior(VP), measured(operator), white(3, 1, *SIZE)
    step = at(x0, VP.levels[250], VP.levels[200], prior)
    projected = Project(operator, y).estimate(x0, step)
    torch.testing.assert_close(Proximal(operator, y, 1e-6).estimate(x0, step), projected)
    torch.testing.assert_close(Proximal(operator, y, 1e6).estimate(x0, step), x0)


def test_proximal_with_an_uninformative_prior_gives_the_posterior_of_the_noise() -> None:
    operator, spread = Fourier(torch.ones(SIZE, dtype=torch.bool), channels=2), 0.1
    prior = wiener(*SIZE, power=100.0).prior(SCHEDULES["ve"])
    y = torch.complex(white(1, 1, *SIZE, seed=1), white(1, 1, *SIZE, seed=2))
    x = SCHEDULES["ve"].levels[-1].sigma * white(1, 2, *SIZE)
    result = run(prior, x, 60, Proximal(operator, y, spread), solver=DDIM(eta=1.0))
    rest = (operator(result) - y).abs().square().mean().sqrt()
    assert rest < 2 * spread  # of re and im each: sqrt(2) spread, whatever the prior


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_state_projection_fits_the_data_at_every_level_and_exactly_at_the_end(operator: Operator, noisy: bool) -> None:
    prior, y, z = wiener(*SIZE).prior(VP), measured(operator), white(3, 1, *SIZE, seed=3)
    guide, x = ProjectState(operator, y, noisy=noisy), white(3, 1, *SIZE)
    step = at(x, VP.levels[500], VP.levels[400], prior, z=z)
    target = step.s.alpha * y + (step.s.sigma * operator(z) if noisy else 0)  # Song 2022, eq. 8
    torch.testing.assert_close(operator(guide.state(x, step)), target)
    torch.testing.assert_close(operator(run(prior, x, 6, guide, solver=DDIM(1.0))), y)


def test_state_projection_by_half_leaves_half_the_misfit() -> None:
    operator = OPERATORS["coarse"]
    prior, y, x = wiener(*SIZE).prior(VP), measured(operator), white(3, 1, *SIZE)
    moved = ProjectState(operator, y, weight=0.5).state(x, at(x, VP.levels[0], CLEAN, prior))
    torch.testing.assert_close(y - operator(moved), (y - operator(x)) / 2)


def test_low_frequencies_come_from_the_reference_and_the_rest_from_the_prior() -> None:
    low, reference = LowPass(0.5), wiener(*SIZE).draw(white(2, 1, *SIZE, seed=5))
    prior, x, z = wiener(*SIZE).prior(VP), white(2, 1, *SIZE), white(2, 1, *SIZE, seed=3)
    step = at(x, VP.levels[500], VP.levels[400], prior, z=z)
    moved = LowFrequency(low, reference).state(x, step)
    torch.testing.assert_close(low(moved), low(step.s.alpha * reference + step.s.sigma * z))  # Choi 2021, eq. 8
    torch.testing.assert_close(moved - low(moved), x - low(x))
    half = LowFrequency(low, reference, weight=0.5, noisy=False).state(x, step)
    torch.testing.assert_close(low(half), (low(x) + step.s.alpha * low(reference)) / 2)
    result = run(prior, x, 5, LowFrequency(low, reference), solver=DDIM(1.0))
    torch.testing.assert_close(low(result), low(reference))
    assert (result - reference).abs().max() > 0.1


# ---------------------------------------------------------------- inpainting


def inpainted(times: int) -> Tensor:
    """Pixel 1 of a correlated pair when pixel 0 is known to be 1.5; 2000 pairs."""
    problem = correlated(torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64))
    known = torch.tensor([1.5, 0.0], dtype=torch.float64).expand(1, 2000, 2)
    guide = Replace(known, torch.tensor([1.0, 0.0], dtype=torch.float64))
    path = repaint_path(VP.path(50, spacing="log-snr"), jump=5, times=times)
    x = white(1, 2000, 2)
    result = drain(sample(problem.prior(VP), x, path, solver=DDIM(1.0), guides=(guide,), noise=gaussian(1, 1)))
    assert torch.equal(result[..., 0], known[..., 0])
    return result[..., 1]


def test_plain_replacement_is_biased_and_resampling_cures_it() -> None:
    mean, std = 0.8 * 1.5, math.sqrt(1 - 0.8**2)  # the exact conditional
    once, often = inpainted(1), inpainted(10)
    assert mean - once.mean() > 0.3
    assert often.mean() == pytest.approx(mean, abs=0.12)
    assert often.std() == pytest.approx(std, abs=0.06)
    assert mean - once.mean() > 4 * (mean - often.mean()).abs()


def test_replacement_is_the_known_image_at_the_noise_of_the_level() -> None:
    prior, x, z = scalar().prior(VP), white(2, 1, 4), white(2, 1, 4, seed=1)
    known, mask = white(2, 1, 4, seed=2), torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    step = at(x, VP.levels[500], VP.levels[400], prior, z=z)
    moved = Replace(known, mask).state(x, step)
    torch.testing.assert_close(moved[..., ::2], (step.s.alpha * known + step.s.sigma * z)[..., ::2])
    assert torch.equal(moved[..., 1::2], x[..., 1::2])


# ---------------------------------------------------------------- the Langevin corrector


@pytest.mark.parametrize("name", SCHEDULES)
def test_langevin_leaves_the_right_marginal_alone_and_leads_to_it(name: str) -> None:
    problem, levels = scalar(0.7, 0.3), SCHEDULES[name].levels
    level, prior = levels[400], problem.prior(SCHEDULES[name])
    noise = gaussian(2, 1)
    mean, std = level.alpha * 0.7, math.hypot(level.alpha * 0.3, level.sigma)
    step = Step(white(1, 1, 1), levels[401], level, DDIM().coeffs(levels[401], level), prior.denoise, noise)
    right = problem.marginal(white(1, 1, 5_000), level)
    kept = Langevin(snr=0.1, steps=100).state(right, step)
    assert kept.mean() == pytest.approx(mean, abs=0.04 * std) and kept.std() == pytest.approx(std, rel=0.03)
    wrong = mean + std * (2 + 0.3 * white(1, 1, 5_000))
    led = Langevin(snr=0.1 / level.alpha, steps=400).state(wrong, step)
    assert led.mean() == pytest.approx(mean, abs=0.04 * std) and led.std() == pytest.approx(std, rel=0.03)


def test_langevin_step_is_algorithm_4_for_each_image() -> None:
    problem, (s, t) = scalar(), SCHEDULES["vp"].levels[400:402]
    prior, x, z = problem.prior(VP), white(2, 1, 6) * torch.tensor([1.0, 9.0]).reshape(2, 1, 1), white(2, 1, 6, seed=1)
    ours = Langevin(snr=0.2).state(x, at(x, t, s, prior, z=z))
    for k in range(2):
        score = (s.alpha * problem.denoise(x[k], s) - x[k]) / s.sigma**2
        size = 2 * s.alpha**2 * (0.2 * z[k].norm() / score.norm()) ** 2  # Song 2021, algorithms 4 and 5
        torch.testing.assert_close(ours[k], x[k] + size * score + (2 * size).sqrt() * z[k])


def test_langevin_does_nothing_to_a_clean_image() -> None:
    x = white(1, 1, 4)
    counter = Counter()
    prior = counter.watch(scalar().prior(VP))
    assert Langevin(steps=3).state(x, at(x, VP.levels[0], CLEAN, prior)) is x
    Langevin(steps=3).state(x, at(x, VP.levels[1], VP.levels[0], prior))
    assert counter.calls == 3


# ---------------------------------------------------------------- guidance without a classifier


def two_classes(means: tuple[float, ...] = (0.0, 2.0, 0.5)) -> Prior:
    """Classes that differ in their mean alone; the last one stands for "nothing was said"."""

    def denoise(x: Tensor, level: Level, cond: Condition | None) -> Tensor:
        label = cond.label if cond is not None and cond.label is not None else torch.tensor([len(means) - 1])
        mean = torch.tensor(means, dtype=x.dtype)[label].reshape(-1, 1, 1)
        return replace(scalar(0.0, 0.3), mean=mean).denoise(x, level)

    return exact_prior(denoise, VP)


@pytest.mark.parametrize("solver", SOLVERS)
def test_free_guidance_spans_unconditional_to_conditional_and_beyond(solver: str) -> None:
    prior, x = two_classes(), white(1, 1, 50)
    said = Condition(label=torch.tensor([1]), null_label=2)

    def carry(cond: Condition, *guides: Guide) -> Tensor:
        path = VP.path(30, spacing="log-snr")
        noise = gaussian(0, 1)
        return drain(sample(prior, x, path, solver=SOLVERS[solver](), guides=guides, cond=cond, noise=noise))

    conditional, unconditional = carry(said), carry(said.null())
    assert (conditional - unconditional).abs().min() > 1
    torch.testing.assert_close(carry(said, FreeGuidance(1.0, said.null())), conditional)
    torch.testing.assert_close(carry(said, FreeGuidance(0.0, said.null())), unconditional)
    # with one variance for all classes, everything is linear in the mean: scale 3 extrapolates
    torch.testing.assert_close(
        carry(said, FreeGuidance(3.0, said.null())), unconditional + 3 * (conditional - unconditional)
    )


# ---------------------------------------------------------------- clipping


@given(
    scale=st.floats(0.01, 20.0),
    shift=st.floats(-5.0, 5.0),
    low=st.floats(-2.0, 0.5),
    width=st.floats(0.1, 3.0),
    quantile=st.one_of(st.none(), st.floats(0.5, 1.0)),
)
def test_clipped_estimates_stay_in_range(
    scale: float, shift: float, low: float, width: float, quantile: float | None
) -> None:
    x = shift + scale * white(3, 1, 8, 8)
    clipped = Clip(low, low + width, quantile).estimate(x, _step(x))
    assert clipped.min() >= low - 1e-9 and clipped.max() <= low + width + 1e-9
    order = x.flatten(1).argsort(1)
    assert (clipped.flatten(1).gather(1, order).diff(dim=1) >= 0).all()  # nothing darker becomes brighter


@pytest.mark.parametrize("quantile", [None, 0.9, 1.0])
def test_an_image_in_range_is_left_alone(quantile: float | None) -> None:
    x = torch.linspace(-1, 3, 50, dtype=torch.float64).reshape(1, 1, 50)
    torch.testing.assert_close(Clip(-1.0, 3.0, quantile).estimate(x, _step(x)), x)


def test_dynamic_clipping_scales_each_image_by_its_own_bound() -> None:
    x = torch.stack([torch.linspace(-4, 4, 101), torch.linspace(-0.5, 0.5, 101)]).double().reshape(2, 1, 101)
    clipped = Clip(-1.0, 1.0, quantile=0.5).estimate(x, _step(x))
    torch.testing.assert_close(clipped[0], (x[0] / 2).clamp(-1, 1))  # half of |x| lies below 2
    torch.testing.assert_close(clipped[1], x[1])
    torch.testing.assert_close(Clip(-1.0, 1.0).estimate(x, _step(x)), x.clamp(-1, 1))


def _step(x: Tensor) -> Step:
    return at(x, VP.levels[10], VP.levels[9], scalar().prior(VP))
