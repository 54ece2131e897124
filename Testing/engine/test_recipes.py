"""Every registered method keeps the same promises, and samples the exact posterior as well as it claims to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import pytest
import torch
from gaussians import SCHEDULES, Counter, mirrored, white, wiener
from questions import FIELD, QUESTIONS, SIZE, Question, fourier, measure, misfit
from torch import Tensor

from meddiff.errors import BadInput
from meddiff.guides import Project, Proximal
from meddiff.levels import CLEAN, Level, Schedule, ve
from meddiff.noises import Noise, gaussian
from meddiff.operators import Downsample, Fourier, Inpaint, Operator, fft2c, reflect, to_complex
from meddiff.prior import Condition, Prior
from meddiff.recipes.reconstruct import Measured
from meddiff.registry import PRESETS, Between, Parameter, Recipe, find_recipe, recipe, recipes
from meddiff.sampling import Progress, drain
from meddiff.solvers import kernel

RECIPES = {r.name: r for r in recipes("reconstruct")}
ASKED = {r.name: (r, {k: q for k, q in QUESTIONS.get(r.task, {}).items() if q.asks(r)}) for r in recipes()}
CASES = {f"{r.name}, {name}": (r, question) for r, asked in ASKED.values() for name, question in asked.items()}
FIRST = {r.name: (r, next(iter(asked.values()))) for r, asked in ASKED.values() if asked}
VP, VE = SCHEDULES["vp"], ve(sigma_max=10.0)


def every(cases: dict[str, tuple[Recipe, Question]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("method", "question"), cases.values(), ids=cases)


def one_pass(method: Recipe) -> bool:
    """Whether no setting changes how long it takes."""
    return all(isinstance(factor, int) for term in method.terms for factor in term)


# ---------------------------------------------------------------- promises


def test_the_methods_of_every_task_are_asked() -> None:
    assert {r.task for r in recipes()} == set(QUESTIONS) and set(FIRST) == {r.name for r in recipes()}


@every(CASES)
def test_a_run_reports_counts_fits_and_touches_nothing(method: Recipe, question: Question) -> None:
    counter, seen, settings = Counter(), list[Progress](), question.small(method)
    data, run = question.run(method, 2, counter=counter, **settings)
    before = [(x, x.clone(), x._version) for x in question.inputs(data)]

    def look(progress: Progress) -> None:
        seen.append(progress)
        assert torch.is_grad_enabled(), "grad mode leaks"

    result = drain(run, look)
    assert [p.step for p in seen] == list(range(1, seen[0].of + 1)) and {p.of for p in seen} == {seen[0].of}
    assert counter.calls == method.calls(settings)
    assert result.shape == question.first(data).shape
    assert result.isfinite().all() and not result.requires_grad
    assert question.fits(method, data, result)
    apart = (result[0] - result[1]).abs().max()
    assert apart == 0 if method.name in question.certain else apart > question.apart
    assert all(torch.equal(x, was) and x._version == version for x, was, version in before)


@every(CASES)
def test_a_run_is_deterministic_in_its_seed_and_does_not_know_its_batch(method: Recipe, question: Question) -> None:
    def answer(seed: int, batch: int) -> Tensor:
        return drain(question.run(method, batch, seed, **question.small(method))[1])

    first = answer(3, 2)
    assert torch.equal(first, answer(3, 2))
    assert torch.allclose(first, answer(4, 2)) == (method.name in question.certain)
    torch.testing.assert_close(answer(3, 1), first[:1], rtol=1e-6, atol=1e-6)


@every(FIRST)
def test_a_run_can_be_stopped_at_any_step(method: Recipe, question: Question) -> None:
    counter, settings = Counter(), question.small(method)
    _, run = question.run(method, 1, counter=counter, **settings)
    next(run)
    if not one_pass(method):
        next(run)
        assert 0 < counter.calls < method.calls(settings)
    run.close()
    assert torch.is_grad_enabled()
    with pytest.raises(StopIteration):
        next(run)


@every(FIRST)
def test_a_run_keeps_single_precision_and_passes_its_condition_on(method: Recipe, question: Question) -> None:
    heard = []

    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        heard.append((x.dtype, cond))
        return 0.5 * x

    data = question.single(question.data(1, Counter()))
    run = method.run(Prior(network, VP), data, noise=gaussian(0, 1), **question.given, **question.small(method))
    assert drain(run).dtype == torch.float32
    said = question.conditions(data)
    passed_on = [any(cond is s for s in said) for _, cond in heard]
    assert all(dtype == torch.float32 for dtype, _ in heard)
    assert all(passed_on[:1] if method.name in question.retelling else passed_on)


@pytest.mark.parametrize("method", recipes(), ids=[r.name for r in recipes()])
def test_a_method_says_what_it_is(method: Recipe) -> None:
    assert method.summary.strip().endswith(".") and method.needs.strip()
    assert any(name in method.paper for name in ("arXiv:", "doi:"))
    assert method.run.__doc__
    for parameter in method.parameters.values():
        assert parameter.about and parameter.check(parameter.default) == parameter.default


@pytest.mark.parametrize("preset", PRESETS)
@every(FIRST)
def test_presets_can_be_run(method: Recipe, question: Question, preset: str) -> None:
    assert set(method.presets) == set(PRESETS)
    assert set(method.presets[preset]) <= set(method.parameters)
    settings = method.settings({}, preset)
    assert method.presets[preset].items() <= settings.items()
    _, run = question.run(method, 1, **settings)
    first = next(run)  # the path could be made, and a step along it
    run.close()
    assert first.step == 1 <= first.of
    fast, balanced, best = (method.calls(method.settings({}, p)) for p in PRESETS)
    assert fast == balanced == best if one_pass(method) else 1 <= fast < balanced < best


# ---------------------------------------------------------------- the papers' algorithms, written out


def written_out(name: str, prior: Prior, data: Measured, path: list[Level], noise: Noise) -> Tensor:
    """The same with nothing of guides, solvers and the loop in it."""
    operator, y, top, snr, zeta = data.operator, data.y, path[0], 0.16, 0.3
    nothing = torch.zeros_like(data.initial)

    def length(x: Tensor) -> Tensor:
        return x.square().sum((1, 2, 3), keepdim=True).sqrt()

    def merge(x: Tensor, y: Tensor = y) -> Tensor:
        return x + operator.pinv(y - operator(x))

    match name:
        case "score-mri":
            x = top.sigma * noise(nothing)
        case "ccdf":
            x = top.alpha * data.initial + top.sigma * noise(nothing)
        case "pnp":
            x = top.alpha * data.initial + zeta * top.sigma * noise(nothing)
        case _:
            x = top.sigma * noise(nothing)
    for t, s in pairwise(path):
        last = s == CLEAN
        x = x.detach().requires_grad_(name == "mcg")
        x0 = prior.denoise(x, t)
        c = kernel(t, s, eta=1.0)
        match name:
            case "score-mri":  # Chung & Ye 2022, algorithm 2, for levels x = x0 + sigma z
                drop = t.sigma**2 - s.sigma**2
                x = x0 if last else x + drop * (x0 - x) / t.sigma**2 + drop**0.5 * noise(x)
                x = merge(x)
                if not last:
                    score, z = (prior.denoise(x, s) - x) / s.sigma**2, noise(x)
                    size = 2 * (snr * length(z) / length(score)) ** 2
                    x = merge(x + size * score + (2 * size).sqrt() * z)
            case "ccdf":  # Chung 2022, algorithm 3
                x = c.x * x + c.x0 * x0 + (0 if last else c.noise * noise(x))
                x = merge(x, y if last else s.alpha * y + s.sigma * operator(noise(x)))
            case "pnp":  # Zhang 2021, algorithm 1, and some noise
                x = s.alpha * merge(x0) + (0 if last else zeta * s.sigma * noise(x))
            case _:  # Chung 2022, MCG, algorithm 1, with step length 1
                distance = (operator(x0) - y).abs().square().sum((1, 2, 3)).sqrt().sum()
                (slope,) = torch.autograd.grad(distance, x)
                x = (c.x * x + c.x0 * x0 + (0 if last else c.noise * noise(x))).detach()
                x = x - (slope - operator.pinv(operator(slope)))
                x = merge(x, y if last else s.alpha * y + s.sigma * operator(noise(x)))
    return x.detach()


@pytest.mark.parametrize("name", ["score-mri", "ccdf", "pnp", "mcg"])
def test_a_method_is_the_algorithm_of_its_paper(name: str) -> None:
    holes = Inpaint((white(*SIZE) > 0).double())  # mixes the modes of the prior, so that the order of things matters
    method, data, prior = RECIPES[name], measure(holes, 2, 2), FIELD.prior(VE)
    counter, seen = Counter(), list[Progress]()
    ours = drain(
        method.run(counter.watch(prior), data, noise=gaussian(3, 2), **method.settings({"steps": 6})), seen.append
    )
    path = [VE.levels[round(counter.times[0])], *(p.level for p in seen)]
    theirs = written_out(name, prior, data, path, gaussian(3, 2))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- the exact posterior


@dataclass(frozen=True)
class Claim:
    """How a method is run, and which fraction of a mode's true variance it should leave where nothing was measured:
    a function of that variance and of the noise-to-signal ratios along the path, 1 for an exact sampler."""

    settings: dict[str, Any]
    schedule: Schedule
    tolerance: float
    fraction: Callable[[Tensor, list[float]], Tensor] = lambda s, ratios: torch.ones_like(s)


def deterministic(s: Tensor, ratios: list[float]) -> Tensor:
    """The probability flow from noise without the image in it, cut off by one denoising step."""
    first, last = ratios[0], ratios[-2]
    return first**2 / (s + first**2) * s / (s + last**2)


def shortcut(s: Tensor, ratios: list[float]) -> Tensor:
    """Exact reverse steps from noise without the image in it."""
    r = ratios[0]
    return r**2 / (s + r**2) + s * r**2 / (s + r**2) ** 2


def memoryless(s: Tensor, ratios: list[float]) -> Tensor:
    """Each estimate with 0.3 of the noise of its level: no sampler of the posterior, but of a known spread."""
    variance = torch.zeros_like(s)
    for r in ratios[:-1]:
        variance = (variance + (0.3 * r) ** 2) * (s / (s + r**2)) ** 2
    return variance / s


CLAIMS = {
    "pnp": Claim({}, VP, 0.05, memoryless),
    "ddnm": Claim({"steps": 30}, VP, 0.05, deterministic),
    "ddnm to the end": Claim({"steps": 30, "stop": 0.0}, VE, 0.05, deterministic),
    # few ancestral steps lose some variance, about 1 / steps
    "ccdf": Claim({"steps": 100, "start": 0.5}, VP, 0.1, shortcut),
    "ccdf from little noise": Claim({"steps": 100, "start": 0.4}, VE, 0.1, shortcut),
    # Langevin steps of this snr add snr^2, reverse diffusion some more
    "score-mri": Claim({"steps": 60}, VE, 0.1),
    "score-mri of a flow": Claim({"steps": 60}, SCHEDULES["flow"], 0.1),
    "mcg": Claim({"steps": 80}, VP, 0.15),
    "dps": Claim({"steps": 80}, VP, 0.15),
}


def test_every_method_makes_a_claim() -> None:
    assert {name.split(" ")[0] for name in CLAIMS} == set(ACCURACY) == set(RECIPES)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", CLAIMS)
def test_unmeasured_frequencies_follow_the_prior(name: str, channels: int) -> None:
    """With a stationary prior, k-space is independent from point to point: what was not measured keeps its mean, zero,
    and its variance."""
    claim, method, batch = CLAIMS[name], RECIPES[name.split(" ")[0]], 24
    operator, counter, seen = fourier(channels), Counter(), list[Progress]()
    data, prior = measure(operator, batch, channels), counter.watch(FIELD.prior(claim.schedule))
    run = method.run(prior, data, noise=gaussian(0, batch), **method.settings(claim.settings))
    x = drain(run, seen.append)
    ratios = [claim.schedule.levels[round(counter.times[0])].ratio, *(p.level.ratio for p in seen)]
    unseen = ~(operator.mask | reflect(operator.mask)) if channels == 1 else ~operator.mask
    power = torch.fft.fftshift(FIELD.variance)[unseen]
    expected = power * claim.fraction(power, ratios)
    values = fft2c(to_complex(x))[:, 0, unseen] / channels**0.5
    assert (values.abs().square().mean(0) / expected).mean() == pytest.approx(1, abs=claim.tolerance)
    assert (values.mean(0).abs().square() / expected).mean() * batch == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("channels", [1, 2])
def test_dps_follows_the_data_as_closely_as_its_step_allows(channels: int) -> None:
    data, method = measure(fourier(channels), 4, channels), RECIPES["dps"]

    def rest(zeta: float) -> float:
        settings = method.settings({"steps": 60, "zeta": zeta})
        return misfit(data, drain(method.run(FIELD.prior(VP), data, noise=gaussian(0, 4), **settings)))

    assert rest(0.0) > 1  # an image that never heard of the data
    assert rest(0.3) < 0.1 and rest(1.0) < 0.3


# The distance of the mean of the samples to the exact posterior mean, where 1 is that of the zero-filled image. Methods
# that replace or project are known to be biased where the operator mixes the modes of the prior (measured here: at most
# 0.24 for plug-and-play, 0.66 for DDNM, 0.54 for CCDF, 0.37 for score-MRI, 0.13 for MCG, 0.24 for DPS).
ACCURACY = {"pnp": 0.3, "ddnm": 0.75, "ccdf": 0.6, "score-mri": 0.45, "mcg": 0.2, "dps": 0.3}
# The variance of the samples, where 1 is that of the posterior: plug-and-play does not sample it.
VARIANCE = {"pnp": 0.045}
SETTINGS: dict[str, dict[str, Any]] = {
    "ddnm": {"stop": 0.0},
    "ccdf": {"start": 1.0, "steps": 50},
    "score-mri": {"steps": 50},
    "mcg": {"steps": 50},
    "dps": {"steps": 50},
}
COARSE: dict[str, Operator] = {
    "super-resolution": Downsample(2),
    "inpainting": Inpaint(torch.rand(8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.4),
}


@pytest.mark.parametrize("problem", COARSE)
@pytest.mark.parametrize("name", RECIPES)
def test_samples_come_near_the_exact_posterior(name: str, problem: str) -> None:
    operator, field, method, batch = COARSE[problem], wiener(8, 8), RECIPES[name], 48
    data = measure(operator, batch, field=field)
    pixels = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    covariance = field.back(field.variance * field.to(pixels)).flatten(1)
    matrix = operator(pixels).flatten(1).T
    gain = covariance @ matrix.T @ torch.linalg.pinv(matrix @ covariance @ matrix.T, rtol=1e-9)
    mean = (gain @ data.y[0].flatten()).reshape(1, 8, 8)
    variance = (covariance - gain @ matrix @ covariance).trace()

    settings = method.settings(SETTINGS.get(name, {}))
    x = drain(method.run(field.prior(VP), data, noise=mirrored(1, batch), **settings))
    assert (x.mean(0) - mean).norm() < ACCURACY[name] * (data.initial[0] - mean).norm()
    assert x.var(0).sum() / variance == pytest.approx(VARIANCE.get(name, 1.0), rel=0.3)


@pytest.mark.parametrize("channels", [1, 2])
def test_noisy_data_are_weighed_against_the_prior(channels: int) -> None:
    operator, spread, batch = Fourier(torch.ones(SIZE, dtype=torch.bool), channels), 0.2, 16
    clean = measure(operator, 1, channels).y
    y = clean + spread * torch.complex(white(*clean.shape, seed=6), white(*clean.shape, seed=7))
    data = Measured(operator, y.expand(batch, -1, -1, -1), spread)
    assert isinstance(data.consistency(), Proximal) and isinstance(Measured(operator, y).consistency(), Project)
    x = drain(RECIPES["ddnm"].run(FIELD.prior(VP), data, noise=gaussian(0, batch)))
    # Wiener's filter of the noisy image; the point k of a real image is measured twice, at k and at -k
    power, noisy = torch.fft.fftshift(FIELD.variance), fft2c(to_complex(operator.pinv(data.y)))
    filtered = power / (power + spread**2 * channels / 2) * noisy
    error = (fft2c(to_complex(x)).mean(0) - filtered[0]).norm()
    assert error < 0.2 * filtered[0].norm() and error < 0.5 * (noisy - filtered)[0].norm()


def test_ccdf_starts_from_the_image_that_it_is_given() -> None:
    operator, method = fourier(1), RECIPES["ccdf"]
    image = FIELD.draw(white(2, 1, *SIZE, seed=5))
    settings = method.settings({"steps": 10, "start": 0.05})

    def error(first: Tensor | None) -> Tensor:
        data = Measured(operator, operator(image), first=first)
        return (drain(method.run(FIELD.prior(VP), data, noise=gaussian(0, 2), **settings)) - image).norm()

    assert error(image) < 0.7 * error(None)


# ---------------------------------------------------------------- the registry


def test_recipes_are_found_by_name() -> None:
    assert find_recipe("ddnm", "reconstruct") is RECIPES["ddnm"]
    assert {r.name for r in recipes()} >= set(RECIPES) >= {"ddnm", "score-mri", "ccdf", "dps", "mcg"}
    with pytest.raises(BadInput, match="unknown reconstruct method 'dnm'; did you mean ddnm"):
        find_recipe("dnm", "reconstruct")


def test_settings_are_defaults_then_preset_then_given() -> None:
    method = RECIPES["score-mri"]
    assert method.settings({})["steps"] == method.presets["balanced"]["steps"]
    assert method.settings({}, "fast")["steps"] == method.presets["fast"]["steps"]
    assert method.settings({"steps": 7}, "fast") == {"steps": 7, "snr": 0.16, "corrections": 1}


@pytest.mark.parametrize(
    ("given", "preset", "reason"),
    [
        ({"step": 5}, "balanced", "unknown parameter of ddnm 'step'; did you mean step"),
        ({"steps": 0}, "balanced", "steps must be between 1 and 2000, got 0"),
        ({"steps": 2.5}, "balanced", "whole number, got 2.5"),
        ({"steps": "many"}, "balanced", "steps must be int, got 'many'"),
        ({"steps": math.inf}, "balanced", "steps must be int, got inf"),
        ({"start": math.nan}, "balanced", "start must be between 0.05 and 1, got nan"),
        ({"start": None}, "balanced", "start must be float"),
        ({}, "fastest", "unknown preset 'fastest'; did you mean fast"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, Any], preset: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        RECIPES["ddnm"].settings(given, preset)


def test_parameters_are_read_from_the_signature() -> None:
    start = RECIPES["ddnm"].parameters["start"]
    assert start == Parameter("start", float, 0.9, 0.05, 1.0, "fraction of the noise schedule to start from")
    assert start.check("0.5") == 0.5 and RECIPES["ddnm"].parameters["steps"].check(12.0) == 12
    assert set(RECIPES["dps"].parameters) == {"steps", "zeta"}


@pytest.mark.parametrize(("given", "kept"), [(True, True), (0, False), (1.0, True)])
def test_a_switch_is_on_or_off(given: Any, kept: bool) -> None:
    contrast = find_recipe("counterfactual").parameters["contrast"]
    assert contrast.check(given) is kept and contrast.to_dict()["kind"] == "bool"
    with pytest.raises(BadInput, match="contrast must be true or false, got 'no'"):
        contrast.check("no")


def test_a_name_is_taken_once() -> None:
    def run(*, steps: Annotated[int, Between(1, 2, "steps")] = 1) -> None: ...

    with pytest.raises(ValueError, match="two recipes are named 'ddnm'"):
        recipe("ddnm", task="reconstruct", summary="", paper="", needs="", calls=((1,),))(run)
