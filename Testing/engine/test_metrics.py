"""Truths of the figures of quality: closed forms, calibrated noise, known overlaps."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scipy.stats import spearmanr

from meddiff.errors import BadInput
from meddiff.metrics import (
    auprc,
    auroc,
    best_dice,
    coverage,
    dice,
    lesion_recall,
    lesion_recall_at,
    nmse,
    psnr,
    spearman,
    ssim,
)


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


def _counted(truth: np.ndarray, score: np.ndarray) -> list[tuple[int, int, float]]:
    """True and false positives at each distinct threshold, by counting."""
    levels = sorted(set(score.ravel().tolist()), reverse=True)
    return [(int((truth & (score >= t)).sum()), int((~truth & (score >= t)).sum()), t) for t in levels]


@pytest.mark.parametrize("levels", [2, 5, 1000], ids="{} levels".format)
@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_that_counting_gives(levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random((4, 5, 6)) < 0.2
    score = np.round(levels * (random.random(truth.shape) + 0.3 * truth))
    counted, positives, negatives = _counted(truth, score), truth.sum(), (~truth).sum()
    recalls = np.array([0, *(hit / positives for hit, _, _ in counted)])
    precision = [hit / (hit + false) for hit, false, _ in counted]
    assert auprc(truth, score) == pytest.approx(np.sum(np.diff(recalls) * precision))
    above = score[truth][:, None] - score[~truth][None]
    assert auroc(truth, score) == pytest.approx(((above > 0).sum() + 0.5 * (above == 0).sum()) / positives / negatives)
    dices = {t: 2 * hit / (hit + false + positives) for hit, false, t in counted}
    best, threshold = best_dice(truth, score)
    assert best == pytest.approx(max(dices.values())) and dices[threshold] == pytest.approx(best)
    assert best == pytest.approx(dice(truth, score >= threshold))


def test_perfect_useless_and_inverted_scores() -> None:
    random = np.random.default_rng(0)
    truth = random.random((20, 40, 50)) < 0.1
    perfect = truth + 0.5 * random.random(truth.shape)
    assert auprc(truth, perfect) == auroc(truth, perfect) == best_dice(truth, perfect)[0] == 1
    noise = random.random(truth.shape)
    assert auprc(truth, noise) == pytest.approx(truth.mean(), abs=0.01)
    assert auroc(truth, noise) == pytest.approx(0.5, abs=0.02)
    flat = np.ones(truth.shape)
    assert auprc(truth, flat) == pytest.approx(truth.mean()) and auroc(truth, flat) == pytest.approx(0.5)
    assert auroc(truth, -perfect) == 0
    assert auroc(truth, noise) == pytest.approx(auroc(truth, np.exp(9 * noise)))


def test_lesions_are_counted_one_by_one() -> None:
    truth, found = np.zeros((3, 8, 8)), np.zeros((3, 8, 8))
    truth[0, 0, 0] = truth[1, 1, 1] = 1  # one lesion by a corner, two in slices taken by themselves
    truth[2, 5:7, 5:7] = 1
    found[0, 0, 0] = 1
    assert lesion_recall(truth, found) == 1 / 2
    assert lesion_recall(truth, found, planar=True) == 1 / 3
    assert lesion_recall(truth, np.ones_like(truth)) == 1
    assert lesion_recall(truth, 0 * truth) == 0


def test_lesions_at_a_rate_of_false_positives() -> None:
    truth, score = np.zeros((2, 9, 9)), np.zeros((2, 9, 9))
    for rank, (z, y, x, real) in enumerate(
        [(0, 0, 0, 1), (0, 0, 4, 0), (1, 2, 7, 1), (0, 4, 0, 0), (0, 4, 4, 1), (1, 8, 8, 0), (0, 8, 8, 1)]
    ):
        score[z, y, x], truth[z, y, x] = 10 - rank, real
    recalls = {0.0: 1 / 4, 0.5: 2 / 4, 1.0: 3 / 4, 1.5: 1.0}
    for rate, recall in recalls.items():
        assert lesion_recall_at(truth, score, rate) == recall
        assert lesion_recall_at(truth, 0.01 * np.exp(score), rate) == recall
    assert lesion_recall_at(truth, np.ones_like(score)) == 0
    assert lesion_recall_at(truth, truth, 0) == 1
    few = score * (score > 7)  # fewer voxels than may be false
    assert lesion_recall_at(truth, few, 5.0) == 2 / 4


@pytest.mark.parametrize("planar", [False, True])
def test_the_rate_is_kept_down_to_the_threshold_that_counting_finds(planar: bool) -> None:
    random = np.random.default_rng(5)
    truth = np.zeros((4, 24, 24), bool)
    truth[:, 3:6, 3:6] = truth[1:3, 15:18, 9:12] = truth[0, 20, 20] = True
    score = random.random(truth.shape) + 0.35 * truth
    links = np.ones((3, 3, 3))
    links[[0, 2]] = not planar
    recall = 0.0
    for threshold in sorted(set(score.ravel().tolist()), reverse=True):
        found, count = label(score >= threshold, links)
        if count - len(set(found[truth]) - {0}) > 4:
            break
        recall = lesion_recall(truth, score >= threshold, planar=planar)
    assert 0 < recall < 1 and lesion_recall_at(truth, score, planar=planar) == recall


@pytest.mark.parametrize("metric", [auprc, auroc, best_dice, lesion_recall, lesion_recall_at])
def test_without_a_lesion_there_is_nothing_to_find(metric: Callable[..., object]) -> None:
    with pytest.raises(BadInput, match="marks nothing"):
        metric(np.zeros((2, 3, 3)), np.ones((2, 3, 3)))


def test_a_reference_without_negatives_and_a_slice_are_refused() -> None:
    with pytest.raises(BadInput, match="every voxel"):
        auroc(np.ones(3), np.arange(3))
    with pytest.raises(BadInput, match=r"volumes \(Z, Y, X\)"):
        lesion_recall(np.ones((3, 3)), np.ones((3, 3)))
