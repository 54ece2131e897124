"""Truths of the figures of quality: closed forms, calibrated noise, known overlaps."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from meddiff.errors import BadInput
from meddiff.metrics import coverage, dice, nmse, psnr, spearman, ssim


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).random((3, 24, 20))


def test_a_constant_error_has_a_closed_form(volume: np.ndarray) -> None:
    assert psnr(volume, volume + 0.1, data_range=1.0) == pytest.approx(20)
    assert psnr(volume, volume + 0.1, data_range=10.0) == pytest.approx(40)
    assert psnr(volume, volume + 0.1) == pytest.approx(20 + 20 * np.log10(volume.max()))
    assert nmse(volume, 0.9 * volume) == pytest.approx(0.01)


def test_identical_images_are_perfect(volume: np.ndarray) -> None:
    assert psnr(volume, volume) == inf
    assert ssim(volume, volume) == pytest.approx(1)
    assert nmse(volume, volume) == 0
    assert spearman(volume, volume) == pytest.approx(1)


def test_the_range_is_that_of_the_volume_not_of_the_slice(volume: np.ndarray) -> None:
    scaled = volume * np.array([1.0, 2.0, 3.0])[:, None, None]
    noisy = scaled + np.random.default_rng(1).normal(0, 0.1, volume.shape)
    each = [ssim(a, b, data_range=float(scaled.max())) for a, b in zip(scaled, noisy, strict=True)]
    assert ssim(scaled, noisy) == pytest.approx(np.mean(each))
    assert ssim(scaled, noisy) != pytest.approx(ssim(scaled, noisy, data_range=1.0))


def test_ssim_of_two_constants_is_its_luminance_term() -> None:
    a, b, c1 = np.full((16, 16), 0.8), np.full((16, 16), 0.5), 0.01**2
    assert ssim(a, b, data_range=1.0) == pytest.approx((2 * 0.8 * 0.5 + c1) / (0.8**2 + 0.5**2 + c1))


def test_spearman_sees_order_only(volume: np.ndarray) -> None:
    assert spearman(volume, np.exp(5 * volume)) == pytest.approx(1)
    assert spearman(volume, -(volume**3)) == pytest.approx(-1)
    tied = np.round(volume * 5)
    other = volume + np.random.default_rng(2).random(volume.shape)
    assert spearman(tied, other) == pytest.approx(spearmanr(tied.ravel(), other.ravel()).statistic)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_calibrated_noise_is_covered_at_its_level(level: float) -> None:
    random = np.random.default_rng(3)
    sd = random.uniform(0.5, 2, (200, 200))
    truth = random.normal(7, sd)
    # 40 000 voxels: the standard error is at most 0.0025.
    assert coverage(truth, np.full_like(truth, 7), sd, level) == pytest.approx(level, abs=0.01)
    assert coverage(truth, np.full_like(truth, 7), 0.3 * sd, level) < level - 0.1
    assert coverage(truth, truth, 0 * sd, level) == 1


def test_dice_of_known_masks() -> None:
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    assert dice(a, b) == 1
    a[:2], b[1:3] = 1, 2
    assert dice(a, b) == pytest.approx(0.5)
    assert dice(a > 0, np.zeros((4, 4), bool)) == 0


def test_tensors_are_as_good_as_arrays(volume: np.ndarray) -> None:
    noisy = volume + np.random.default_rng(4).normal(0, 0.1, volume.shape)
    for metric in (psnr, ssim, nmse, spearman, dice):
        assert metric(torch.from_numpy(volume), torch.from_numpy(noisy)) == metric(volume, noisy)


@pytest.mark.parametrize("metric", [psnr, ssim, nmse, spearman, dice])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones((12, 12)), np.ones((12, 13)), r"\(12, 12\) and \(12, 13\)"),
        (np.ones((0, 12)), np.ones((0, 12)), "empty"),
        (np.ones((12, 12)), np.ones((12, 12)) * 1j, "magnitude"),
        (np.ones((12, 12)), np.full((12, 12), np.nan), "not finite"),
    ],
)
def test_unusable_images_are_refused(metric: Callable[..., float], a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        metric(a, b)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: psnr(np.zeros((12, 12)), np.ones((12, 12))), "data range is 0"),
        (lambda: ssim(np.ones((8, 20)), np.zeros((8, 20))), "at least 11"),
        (lambda: nmse(np.zeros(3), np.ones(3)), "zero everywhere"),
        (lambda: spearman(np.zeros(3), np.arange(3)), "constant"),
        (lambda: coverage(np.ones(3), np.ones(3), -np.ones(3)), "below 0"),
        (lambda: coverage(np.ones(3), np.ones(3), np.ones(3), 90), "level 90"),
    ],
)
def test_wrong_input_is_explained(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        wrong()
