"""Noise levels are what the papers say, and a path through them is what was asked for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from gaussians import SCHEDULES
from hypothesis import given
from hypothesis import strategies as st

from meddiff.errors import BadInput
from meddiff.levels import CLEAN, SPACINGS, Level, Schedule, flow, make_schedule, ve, vp_cosine, vp_linear
from meddiff.levels import SCHEDULES as BUILDERS

VP = SCHEDULES["vp"]


def test_ratio_and_log_snr_order_levels_of_all_families() -> None:
    level = Level(3.0, 0.6, 0.3)
    assert level.ratio == pytest.approx(0.5)
    assert level.log_snr == pytest.approx(math.log(2))
    assert CLEAN.ratio == 0 and CLEAN.log_snr == math.inf
    assert Level(0.0, 0.0, 1.0).ratio == math.inf and Level(0.0, 0.0, 1.0).log_snr == -math.inf


@pytest.mark.parametrize("name", BUILDERS)
def test_every_schedule_by_name_is_told_apart_by_its_index(name: str) -> None:
    schedule = make_schedule(name, steps=100)
    assert [level.time for level in schedule.levels] == list(range(100))
    assert all(a.ratio < b.ratio for a, b in pairwise(schedule.levels))
    assert schedule.levels[0].ratio < 0.05 and schedule.levels[-1].ratio > 0.6


@pytest.mark.parametrize("name", ["vp-linear", "vp-scaled-linear", "vp-cosine"])
def test_variance_preserving_means_unit_norm(name: str) -> None:
    for level in make_schedule(name).levels:
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)


def test_schedules_reproduce_published_numbers() -> None:
    # Ho 2020: 1 - beta_1 = 0.9999, and prod(1 - beta) = 4.04e-5 after 1000 steps
    assert VP.levels[0].alpha ** 2 == pytest.approx(0.9999)
    assert VP.levels[-1].alpha ** 2 == pytest.approx(4.04e-5, rel=1e-2)
    # Rombach 2022: sqrt(beta) is linear
    squares = [level.alpha**2 for level in make_schedule("vp-scaled-linear").levels]
    betas = [math.sqrt(1 - b / a) for a, b in pairwise([1.0, *squares])]
    assert betas[0] ** 2 == pytest.approx(0.0015) and betas[-1] ** 2 == pytest.approx(0.0195)
    assert max(abs(a + c - 2 * b) for a, b, c in zip(betas, betas[1:], betas[2:], strict=False)) < 1e-9
    # Song 2021: geometric between sigma_min and sigma_max
    sigmas = [level.sigma for level in ve(50, 0.01, 50.0).levels]
    assert sigmas[0] == pytest.approx(0.01) and sigmas[-1] == pytest.approx(50)
    assert all(b / a == pytest.approx(5000 ** (1 / 49)) for a, b in pairwise(sigmas))
    # Lipman 2023: a straight line between image and noise
    assert all(level.alpha + level.sigma == pytest.approx(1) for level in flow(10).levels)
    # Hoogeboom 2023: the shift moves log-SNR by one constant
    for plain, moved in zip(vp_cosine(20).levels, vp_cosine(20, shift=4.0).levels, strict=True):
        assert plain.log_snr - moved.log_snr == pytest.approx(math.log(4))
    assert vp_cosine(3).levels[1].ratio == pytest.approx(1)  # half-way: as much noise as signal


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    spacing=st.sampled_from(["uniform", "log-snr", "karras"]),
    steps=st.integers(1, 60),
    start=st.floats(0.1, 1.0),
    stop=st.floats(0.0, 0.04),
)
def test_a_path_falls_to_the_clean_image_in_as_many_calls_as_asked(
    name: str, spacing: str, steps: int, start: float, stop: float
) -> None:
    schedule = SCHEDULES[name]
    path = schedule.path(steps, start, spacing, stop)
    assert len(path) == steps + 1  # the network is called at every level but the last
    assert path[-1] == CLEAN
    assert all(a.ratio > b.ratio for a, b in pairwise(path))
    assert path[0] == schedule.levels[round(start * 1000) - 1]
    assert set(path[:-1]) <= set(schedule.levels)


@pytest.mark.parametrize("spacing", ["log-snr", "karras"])
def test_a_path_ends_at_the_level_that_was_named(spacing: str) -> None:
    assert VP.path(20, spacing=spacing)[-2] == VP.levels[0]
    for spacing in SPACINGS:
        assert VP.path(20, spacing=spacing, stop=0.05)[-2] == VP.levels[50]


@pytest.mark.parametrize("name", SCHEDULES)
def test_log_snr_spacing_is_uniform_in_log_snr(name: str) -> None:
    schedule = SCHEDULES[name]
    path = schedule.path(9, 0.95, "log-snr", 0.1)[:-1]
    top, bottom = path[0].log_snr, path[-1].log_snr
    for k, level in enumerate(path):
        wanted = top + (bottom - top) * k / 8
        best = min(schedule.levels, key=lambda candidate: abs(candidate.log_snr - wanted))
        assert level == best
        assert abs(level.log_snr - wanted) < 0.1 * (bottom - top) / 8


def test_karras_spacing_is_the_formula_of_the_paper() -> None:
    schedule = ve(20000, 0.002, 80.0)  # so fine that rounding to a level is below 0.1 %
    path = schedule.path(18, spacing="karras")
    for i, level in enumerate(path[:-1]):  # Karras 2022, eq. 5, with N = 18 and rho = 7
        sigma = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        assert level.sigma == pytest.approx(sigma, rel=1e-3)


def test_uniform_spacing_is_uniform_in_index_down_to_the_clean_image() -> None:
    assert [level.time for level in VP.path(4)] == [999, 749, 499, 249, -1]
    assert [level.time for level in VP.path(5, 1.0, "uniform", 0.2)] == [999, 799, 600, 400, 200, -1]
    assert VP.path(1000) == [*reversed(VP.levels), CLEAN]


def test_native_spacing_visits_every_level() -> None:
    assert VP.path(1, 0.5, "native", 0.1) == [*reversed(VP.levels[100:500]), CLEAN]


@pytest.mark.parametrize("spacing", ["uniform", "log-snr", "karras"])
def test_a_path_may_take_every_level_there_is(spacing: str) -> None:
    assert VP.path(100, 0.1, spacing) == [*reversed(VP.levels[:100]), CLEAN]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((0,), "got 0"),
        ((1001,), "1 to 1000 steps, got 1001"),
        ((11, 0.01), "1 to 10 steps, got 11"),
        ((10, 1.5), "start=1.5"),
        ((10, 0.0), "start=0"),
        ((10, math.nan), "start=nan"),
        ((10, 0.5, "uniform", 0.5), "stop=0.5"),
        ((10, 0.5, "uniform", -0.1), "stop=-0.1"),
        ((10, 1.0, "log_snr"), "did you mean log-snr"),
    ],
)
def test_impossible_paths_are_refused(arguments: tuple, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        VP.path(*arguments)


def test_nearest_and_fraction_find_a_level_by_its_noise() -> None:
    for i in (0, 17, 500, 999):
        ratio = VP.levels[i].ratio
        assert VP.nearest(ratio) == i
        assert VP.path(1, VP.fraction(ratio))[0] == VP.levels[i]
    assert VP.nearest(1e9) == 999 and VP.nearest(0.0) == 0
    low, high = VP.levels[40].ratio, VP.levels[41].ratio
    assert VP.nearest(math.sqrt(low * high) * 1.001) == 41 and VP.nearest(math.sqrt(low * high) / 1.001) == 40


@pytest.mark.parametrize(
    "levels",
    [(), (Level(0, 1.0, 0.5), Level(1, 1.0, 0.2)), (Level(0, 1.0, 0.5), Level(1, 2.0, 1.0)), (CLEAN, Level(0, 1, 1))],
)
def test_a_schedule_out_of_order_is_refused(levels: tuple[Level, ...]) -> None:
    with pytest.raises(BadInput, match="schedule"):
        Schedule(levels)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vp-linera", {}),
        ("ve", {"sigma": 3.0}),
        ("ve", {"steps": 1}),
        ("ve", {"sigma_min": 0.0}),
        ("ve", {"sigma_min": 50.0, "sigma_max": 0.01}),
        ("vp-linear", {"beta_end": 1.5}),
        ("vp-linear", {"steps": "many"}),
        ("vp-cosine", {"steps": 0}),
        ("flow", {"steps": 2.5}),
    ],
)
def test_a_card_cannot_ask_for_an_impossible_schedule(name: str, arguments: dict) -> None:
    with pytest.raises(BadInput):
        make_schedule(name, **arguments)


def test_one_schedule_is_one_value() -> None:
    assert vp_linear(10) == vp_linear(10)
