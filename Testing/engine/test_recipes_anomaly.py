"""Methods that find anomalies, in a world where the healthy twin of every image is a closed formula."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from gaussians import SCHEDULES, Counter, Normal, mirrored
from states import STATES, World, told, world
from torch import Tensor

from meddiff.errors import BadInput
from meddiff.levels import Level
from meddiff.likelihood import band, latent_kl
from meddiff.noises import gaussian
from meddiff.prior import Prior
from meddiff.recipes.anomaly import Subject
from meddiff.registry import PRESETS, recipes
from meddiff.sampling import drain
from meddiff.simplex import Simplex
from meddiff.solvers import kernel
from meddiff.spaces import Pixel

RECIPES = {r.name: r for r in recipes("anomaly")}
VP = SCHEDULES["vp"]
WORLD = world()
SICK = WORLD.image("diseased")


def twin(name: str, data: Subject | None = None, where: World = WORLD, seed: int = 0, **given: Any) -> Tensor:
    """The method's answer, with all that is not told free of noise."""
    data, method = data or where.subject(SICK), RECIPES[name]
    still = {"jitter": 0.0} if "jitter" in method.parameters else {}
    settings = method.settings({**still, **given})
    return drain(method.run(where.prior(VP), data, noise=gaussian(seed, len(data.image)), **settings))


def shift(truth: Normal, before: Tensor, after: Tensor, top: Level) -> Tensor:
    """Where the flow from `top` takes an image that was encoded around the mean `before`, when it is decoded around
    `after`: a shift of 1 - a sqrt(v) / sqrt(a^2 v + s^2) of the difference, mode by mode."""
    total = (top.alpha**2 * truth.variance + top.sigma**2).sqrt()
    return truth.back((1 - top.alpha * truth.variance.sqrt() / total) * truth.to(after - before))


# ---------------------------------------------------------------- counterfactuals


def test_the_counterfactual_moves_the_lesion_to_healthy_and_nothing_else() -> None:
    """The texture of the patient stays, in the lesion, too."""
    moved = twin("counterfactual", steps=100, depth=0.4, scale=1.0, contrast=False) - SICK
    assert (moved[..., WORLD.region] + 0.5).abs().max() < 0.06  # what disease had added
    assert moved[..., ~WORLD.region].abs().max() < 0.03


def test_it_is_the_exact_flow_from_one_state_to_the_other() -> None:
    """Where no state is told the network thinks of both; encoded as what it is, the image has a twin in closed form."""
    data = replace(WORLD.subject(SICK), told={**told(1), "null": told(1)["diseased"]})
    top = WORLD.prior(VP).path(1, 0.4)[0]
    exact = SICK + shift(WORLD.healthy, WORLD.diseased.mean, WORLD.healthy.mean, top)

    def error(steps: int) -> Tensor:
        found = twin("counterfactual", data, steps=steps, depth=0.4, scale=1.0, contrast=False)
        return (found - exact).abs().max()

    assert error(400) < 0.007 and error(400) < 0.7 * error(200)


def test_more_guidance_takes_the_rest_of_the_lesion_and_no_more() -> None:
    moved = [twin("counterfactual", steps=20, depth=0.4, scale=scale) - SICK for scale in (1.0, 3.0, 6.0)]
    inside = [float(m[..., WORLD.region].mean()) for m in moved]
    assert -0.4 > inside[0] > inside[1] > inside[2] > -0.52
    assert all(m[..., ~WORLD.region].abs().max() < 0.03 for m in moved)


@pytest.mark.parametrize("name", ["counterfactual", "classifier-guided", "diff-scm"])
def test_errors_of_inversion_cancel_in_the_contrast(name: str) -> None:
    """With few steps the plain twin is off everywhere; the contrast moves the lesion alone."""
    given = {"steps": 4, "depth": 0.4, "scale": 1.0}
    plain, contrast = (twin(name, contrast=c, **given) - SICK for c in (False, True))
    inside, outside = WORLD.region, ~WORLD.region
    assert plain[..., outside].abs().mean() > 5 * contrast[..., outside].abs().mean()
    assert (contrast[..., inside] + 0.5).abs().max() < 0.15


@pytest.mark.parametrize("state", ["healthy", "diseased"])
def test_inversion_and_decoding_without_guidance_return_the_image(state: str) -> None:
    """To first order in the steps; with the contrast exactly."""
    image = WORLD.image(state)

    def error(steps: int, contrast: bool = False) -> float:
        given = {"steps": steps, "depth": 0.5, "scale": 0.0, "contrast": contrast}
        return float((twin("counterfactual", WORLD.subject(image), **given) - image).abs().max())

    errors = [error(steps) for steps in (25, 50, 100, 200)]
    assert all(1.7 < a / b < 2.4 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.02 and error(5, contrast=True) < 1e-9


def test_guidance_by_the_exact_classifier_is_decoding_told_the_state() -> None:
    """grad log p(x_t | healthy) = grad log p(x_t) + grad log p(healthy | x_t), at each step of a rough path."""
    given = {"steps": 7, "depth": 0.5, "scale": 1.0, "contrast": False}
    by_label, by_classifier = twin("counterfactual", **given), twin("classifier-guided", **given)
    torch.testing.assert_close(by_classifier, by_label, rtol=0, atol=1e-9)
    torch.testing.assert_close(twin("diff-scm", **given), by_classifier)


def test_any_cause_can_be_set() -> None:
    """do(diseased) adds what disease adds; do(what it is) changes nothing; do and undo return the image."""
    well, given = WORLD.image("healthy"), {"steps": 100, "depth": 0.5, "contrast": True}
    ill = twin("diff-scm", WORLD.subject(well), state="diseased", **given)
    assert ((ill - well)[..., WORLD.region] - 0.5).abs().max() < 0.05
    assert (ill - well)[..., ~WORLD.region].abs().max() < 0.03
    assert (twin("diff-scm", WORLD.subject(well), state="healthy", **given) - well).abs().max() < 0.01
    assert (twin("diff-scm", WORLD.subject(ill), state="healthy", **given) - well).abs().max() < 0.05


def test_the_twin_is_of_the_image_and_not_of_its_jitter() -> None:
    plain, shaken = (twin("counterfactual", steps=10, contrast=True, jitter=j) for j in (0.0, 0.05))
    assert 0 < (plain - shaken).abs().max() < 0.02


# ---------------------------------------------------------------- diffusion contrast


def white_world(spread: float = 1.0) -> World:
    """The same with independent pixels, where a factor is a number."""
    where = world(spread=spread)
    healthy, diseased = (replace(t, to=lambda x: x, back=lambda x: x) for t in (where.healthy, where.diseased))
    variance = torch.tensor(0.01, dtype=torch.float64)
    return World(replace(healthy, variance=variance), replace(diseased, variance=spread * variance), where.region)


@pytest.mark.parametrize("against", ["diseased", "null"])
def test_the_contrast_is_the_difference_of_the_expectations(against: str) -> None:
    """d - h = (m_d - m_h) s^2 / (a^2 v + s^2) at each level, whatever the noise: with little of it in the image, the
    null state knows what it sees."""
    where = white_world()
    given = {"levels": 5, "draws": 1, "high": 0.4, "low": 0.1, "against": against, "measure": "difference"}
    found = twin("diffusion-contrast", where=where, **given)
    prior = where.prior(VP)
    path = prior.path(5, VP.fraction(0.4), "log-snr", VP.fraction(0.1))[:-1]
    assert path[0].ratio == pytest.approx(0.4, rel=0.02) and path[-1].ratio == pytest.approx(0.1, rel=0.1)
    share = sum(t.sigma**2 / (t.alpha**2 * 0.01 + t.sigma**2) for t in path) / 5
    torch.testing.assert_close(found, SICK - share * 0.5 * where.region, rtol=0, atol=1e-4)


def test_the_likelihood_is_what_disease_explains_of_the_healthy_error() -> None:
    """x - h = g (x - m) and some noise, g = s^2 / (a^2 v + s^2): two opposite draws leave, with the mean of g over the
    levels, r^2 = g^2 ((x - m_h)^2 - (x - m_d)^2), and nothing where disease explains less."""
    where = white_world()
    found = twin("diffusion-contrast", where=where, levels=4, draws=2, measure="likelihood")
    path = where.prior(VP).path(4, VP.fraction(1.0), "log-snr", VP.fraction(0.2))[:-1]
    share = sum(t.sigma**2 / (t.alpha**2 * 0.01 + t.sigma**2) for t in path) / 4
    gain = (SICK - where.healthy.mean) ** 2 - (SICK - where.diseased.mean) ** 2
    torch.testing.assert_close(SICK - found, share * gain.clamp_min(0).sqrt(), rtol=0, atol=1e-9)


def test_restoration_takes_away_what_was_added_and_nothing_else() -> None:
    """Whatever the noise and the texture, in the contrast; without it what noise hides is lost, too."""
    exact = WORLD.image("diseased") - 0.5 * WORLD.region
    found = twin("restoration", levels=3, draws=1, measure="difference")
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)
    white = white_world()
    path = white.prior(VP).path(4, VP.fraction(1.0), "log-snr", VP.fraction(0.2))[:-1]
    rest = sum(t.sigma**2 / (t.alpha**2 * 0.01 + t.sigma**2) for t in path) / 4 * (SICK - white.diseased.mean)
    gain = ((0.5 * white.region + rest) ** 2 - rest**2).clamp_min(0)  # (x - h)^2 - (x - d)^2 with d - h = 0.5
    likely = twin("restoration", where=white, levels=4, draws=2, high=1.0, low=0.2)
    torch.testing.assert_close(SICK - likely, gain.sqrt(), rtol=0, atol=1e-9)
    plain = twin("restoration", levels=3, draws=1, contrast=False, high=1.0, low=0.25)
    assert (plain - exact).abs().mean() > 0.01
    finer = twin("restoration", levels=3, draws=1, contrast=False, high=0.1, low=0.02)
    assert (finer - exact).abs().mean() < 0.5 * (plain - exact).abs().mean()


def test_more_draws_come_nearer_to_the_mean() -> None:
    where = white_world(spread=4.0)  # now the noise does not cancel in the difference

    def apart(draws: int) -> Tensor:
        return (twin("diffusion-contrast", draws=draws, seed=1, **given) - exact).abs().mean()

    given: dict[str, Any] = {"where": where, "levels": 2, "measure": "difference"}
    exact = twin("diffusion-contrast", draws=64, seed=2, **given)
    assert apart(2) < 0.1 * apart(1)  # the second is the negative of the first, and the mean is affine
    assert apart(3) < apart(1)


# ---------------------------------------------------------------- drawn anew


def test_the_mean_of_partial_diffusion_is_a_closed_form() -> None:
    """q(x_t | image), then the exact posterior of x_t: the image's part a^2 v / (a^2 v + s^2) of each mode stays."""
    noise = mirrored(3, 16)
    data, method = WORLD.subject(SICK.expand(16, -1, -1, -1)), RECIPES["anoddpm"]
    settings = method.settings({"kind": "gaussian", "steps": 250, "depth": 0.25})
    found = drain(method.run(WORLD.prior(VP), data, noise=noise, **settings)).mean(0)
    top, truth = WORLD.prior(VP).path(250, 0.25)[0], WORLD.healthy
    kept = top.alpha**2 * truth.variance / (top.alpha**2 * truth.variance + top.sigma**2)
    exact = truth.mean + truth.back(kept * truth.to(SICK[0] - truth.mean))
    assert (found - exact).abs().max() < 0.01
    assert (found - truth.mean)[..., WORLD.region].mean() < 0.2  # of 0.5


def test_simplex_noise_goes_up_and_comes_back_down() -> None:
    """Wyatt 2022, algorithm 2, written out."""
    noise, prior = Simplex(gaussian(4, 1).seeds), WORLD.prior(VP)
    levels = prior.path(5, 0.25)
    x = levels[0].alpha * SICK + levels[0].sigma * noise(SICK)
    for t, s in itertools.pairwise(levels):
        c = kernel(t, s, 1.0)
        x = c.x * x + c.x0 * WORLD.healthy.denoise(x, t) + (c.noise * noise(x) if s.sigma else 0)
    torch.testing.assert_close(twin("anoddpm", steps=5, seed=4), x)


def latent_world() -> tuple[World, Subject]:
    where = white_world()
    return where, replace(where.subject(SICK), space=Pixel(), told={"null": None})


def test_improbable_codes_are_healed_and_the_others_kept() -> None:
    """The codes are the image itself here, and independent: those of the lesion are resampled."""
    where, data = latent_world()
    healthy = Prior(exact(where.healthy), VP)
    levels = band(healthy, 10, 0.6, 0.4)
    kl = drain(latent_kl(healthy, SICK, levels, gaussian(0, 1)))
    limit = float(kl[..., ~where.region].max()) * 1.01  # as if healthy codes never came above it
    method = RECIPES["latent-healing"]

    def heal(data: Subject, **given: Any) -> Tensor:
        return drain(method.run(healthy, data, noise=gaussian(0, 1), **method.settings({"steps": 20, **given})))

    known = replace(data, levels={"kl": limit})
    odd = torch.nn.functional.max_pool2d((kl > limit).double(), 3, stride=1, padding=1).bool()
    assert odd[..., where.region].all() and odd.sum() <= (4 + 2) * (3 + 2)
    found = heal(known)
    assert torch.equal(found[~odd], SICK[~odd])
    assert (found[..., where.region] - 0.8).abs().mean() < 0.25
    assert torch.equal(heal(replace(data, levels={"kl": 1e9})), SICK)
    own = heal(data, quantile=0.9)  # without a known limit, by the image's own divergence
    assert (own != SICK).sum() < 0.5 * SICK.numel() and ((own - SICK)[..., where.region] != 0).any()


def exact(truth: Normal) -> Any:
    return truth.prior(VP).network


# ---------------------------------------------------------------- baselines


def test_the_autoencoder_is_asked_once() -> None:
    counter = Counter()
    found = twin("denoising-autoencoder", WORLD.subject(SICK, counter))
    torch.testing.assert_close(found, 0.5 * SICK + 0.4)
    assert counter.calls == 1


def test_intensities_are_clipped_to_healthy_limits() -> None:
    data = replace(WORLD.subject(SICK), levels={"low": 0.7, "high": 0.9})
    torch.testing.assert_close(twin("intensity-threshold", data), SICK.clamp(0.7, 0.9))


def test_without_limits_they_are_the_brains_own_quantiles() -> None:
    """The background, and other images of the batch, do not count."""
    ramp = torch.arange(144, dtype=torch.float64).reshape(1, 1, 12, 12) / 144
    image, brain = torch.cat([ramp, 2 * ramp]), torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    brain[..., 6:, :] = True
    data = replace(WORLD.subject(image), brain=brain)
    low, high = (float(torch.quantile(ramp[..., 6:, :], q)) for q in (0.1, 0.9))
    wanted = torch.cat([ramp.clamp(low, high), 2 * ramp.clamp(low, high)])
    torch.testing.assert_close(twin("intensity-threshold", data, quantile=0.9), wanted)
    nowhere = replace(data, brain=torch.zeros_like(brain))
    assert twin("intensity-threshold", nowhere, quantile=0.9).isfinite().all()


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    given = {"restoration": False, "autoencoder": True, "counterfactual": True, "steps": 3}
    noise = gaussian(0, 1)  # shared: each member goes on where the last one stopped
    members = [("denoising-autoencoder", {}), ("counterfactual", {"steps": 3})]
    prior, data = WORLD.prior(VP), WORLD.subject(SICK)
    twins = [
        drain(RECIPES[name].run(prior, data, noise=noise, **RECIPES[name].settings(settings)))
        for name, settings in members
    ]
    torch.testing.assert_close(twin("ensemble", **given), sum(twins) / 2)
    with pytest.raises(BadInput, match="choose one or more"):
        twin("ensemble", restoration=False, autoencoder=False)


# ---------------------------------------------------------------- what is told, and what is missing


@pytest.mark.parametrize(
    ("name", "lacks", "reason"),
    [
        ("classifier-guided", {"log_prob": None}, "needs a classifier of noised images"),
        ("diff-scm", {"log_prob": None}, "needs a classifier of noised images"),
        ("denoising-autoencoder", {"denoise": None}, "needs a denoising autoencoder"),
        ("latent-healing", {"space": None}, "needs a latent prior"),
        ("counterfactual", {"told": {"null": None}}, "tells the model 'healthy', and it knows null"),
        ("diffusion-contrast", {"told": {}}, "tells the model 'healthy', and it knows none"),
        ("anoddpm", {"told": {"null": None}}, "tells the model 'simplex'"),
    ],
)
def test_what_is_missing_is_told(name: str, lacks: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        twin(name, replace(WORLD.subject(SICK), **lacks))


def test_a_model_of_healthy_images_alone_will_do() -> None:
    data = replace(WORLD.subject(SICK), told={"null": told(1)["healthy"]})
    assert twin("anoddpm", data, kind="gaussian", steps=5).isfinite().all()


def test_every_state_has_its_class() -> None:
    conditions = told(2)
    assert [int(c.label[0]) for c in conditions.values() if c is not None and c.label is not None] == [0, 1, 2, 3, 4]
    assert tuple(conditions) == STATES


def test_the_fast_presets_are_fast() -> None:
    """About ten calls a slice; the best ones take ten times as many."""
    for method in RECIPES.values():
        fast, _, best = (method.calls(method.settings({}, preset)) for preset in PRESETS)
        assert fast <= 10
        assert best >= 10 * fast or fast <= 1
