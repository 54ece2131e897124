"""Several segmentations become one as the papers say, and the figures are those that a count by hand gives."""

from __future__ import annotations

import itertools
from math import inf, log

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from meddiff.errors import BadInput
from meddiff.fusion import agreement, entropy, expected_dice, fuse, staple, tidy, vote
from meddiff.metrics import dice
from meddiff.overlap import calibration_error, hd95

MASKS = nps.arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 2))


def raters(classes: int, shape: tuple[int, int, int] = (6, 14, 16)) -> tuple[np.ndarray, np.ndarray]:
    """A truth, and four raters: three good ones, and one who errs in a third of the voxels."""
    random = np.random.default_rng(0)
    z, y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    truth = (z**2 + y**2 + x**2 < 0.8).astype(np.uint8) * (1 + (classes > 2) * (np.broadcast_to(x, shape) > 0))
    members = []
    for error in (0.02, 0.02, 0.02, 0.33):
        wrong = random.random(shape) < error
        members.append(np.where(wrong, random.integers(0, classes, shape), truth))
    return truth.astype(np.uint8), np.stack(members).astype(np.uint8)


def shares(members: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([(members == k).mean(0) for k in range(classes)]).astype(np.float32)


# --- fusion -----------------------------------------------------------------------------------------------------------


def test_staple_of_two_classes_is_that_of_itk() -> None:
    truth, members = raters(2)
    found = staple(members, shares(members, 2))
    filter = sitk.STAPLEImageFilter()
    probability = sitk.GetArrayFromImage(filter.Execute([sitk.GetImageFromArray(m) for m in members]))
    assert np.array_equal(found, probability > 0.5)
    assert np.argmin(filter.GetSensitivity()) == np.argmin(filter.GetSpecificity()) == 3  # it finds out who errs
    assert dice(found, truth) > 0.99 and dice(found, truth) > dice(vote(members, shares(members, 2)), truth)


def test_staple_of_several_classes_is_that_of_itk() -> None:
    truth, members = raters(3)
    found = staple(members, shares(members, 3))
    itk = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE([sitk.GetImageFromArray(m) for m in members], 9))
    assert np.array_equal(found[itk < 9], itk[itk < 9]) and found.max() == 2
    assert (found == truth).mean() > 0.99 > (members[3] == truth).mean()


def test_staple_has_a_known_answer() -> None:
    """Raters who all say the same are right; a fourth who says nothing is not heard."""
    truth, _ = raters(2)
    members = np.stack([truth, truth, truth, 0 * truth])
    assert np.array_equal(staple(members, shares(members, 2)), truth)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_for_staple_are_left_to_the_mean(count: int) -> None:
    _, members = raters(3)
    mean = shares(members, 3)
    assert np.array_equal(staple(members[:count], mean), mean.argmax(0))
    assert not staple(np.zeros_like(members), shares(0 * members, 3)).any()


@given(nps.arrays(np.uint8, (5, 2, 3, 4), elements=st.integers(0, 2)))
def test_most_votes_win_and_ties_go_to_the_more_probable(members: np.ndarray) -> None:
    mean = np.random.default_rng(0).dirichlet(np.ones(3), (2, 3, 4)).transpose(3, 0, 1, 2).astype(np.float32)
    found = vote(members, mean)
    for at in np.ndindex(2, 3, 4):
        counts = [int((members[(slice(None), *at)] == k).sum()) for k in range(3)]
        best = [k for k in range(3) if counts[k] == max(counts)]
        assert found[at] == max(best, key=lambda k: mean[(k, *at)])
    assert np.array_equal(fuse("vote", members, mean), found)
    assert np.array_equal(fuse("mean", members, mean), mean.argmax(0))
    with pytest.raises(BadInput, match="unknown fusion 'stapel'; did you mean staple"):
        fuse("stapel", members, mean)


def test_entropy_is_one_where_nothing_is_known() -> None:
    p = np.array([[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]], np.float32).T
    assert entropy(p) == pytest.approx([0, 1, log(2) / log(3)], abs=1e-4)


@given(nps.arrays(np.uint8, (4, 3, 3, 3), elements=st.integers(0, 2)))
def test_agreement_is_the_mean_dice_of_all_pairs(members: np.ndarray) -> None:
    found = agreement(members, 3)
    for k in (1, 2):
        if (members == k).any():
            each = [dice(a == k, b == k) for a, b in itertools.combinations(members, 2)]
            assert found[k] == pytest.approx(np.mean(each), abs=1e-6)
        else:
            assert k not in found
    with pytest.raises(BadInput, match="one member"):
        agreement(members[:1], 3)


def test_expected_dice_is_that_of_truths_drawn_from_the_probabilities() -> None:
    random = np.random.default_rng(0)
    p = np.clip(np.linspace(-0.5, 1.5, 4000) + 0.1 * random.standard_normal(4000), 0, 1).reshape(10, 20, 20)
    labels = (p > 0.5).astype(np.uint8)
    drawn = [dice(random.random(p.shape) < p, labels) for _ in range(50)]
    found = expected_dice(np.stack([1 - p, p]).astype(np.float32), labels)
    assert found[1] == pytest.approx(np.mean(drawn), abs=2e-3)
    assert (
        expected_dice(
            np.stack([np.ones((2, 2, 2)), np.zeros((2, 2, 2))]).astype(np.float32), np.zeros((2, 2, 2), np.uint8)
        )
        == {}
    )


# --- clean-up ---------------------------------------------------------------------------------------------------------


def test_nothing_is_tidied_unless_asked() -> None:
    _, members = raters(3)
    assert np.array_equal(tidy(members[3], (1, 1, 1), 0, 0), members[3])


def test_islands_are_measured_in_mm() -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1:3, 1:3, 1:3], labels[5, 5, 5], labels[6, 6, 6], labels[2:6, 7, 7] = 1, 1, 1, 2
    voxel = 0.5 * 1 * 2
    assert np.array_equal(tidy(labels, (0.5, 1, 2), 2 * voxel, 0), labels)  # corners hold the two voxels together
    found = tidy(labels, (0.5, 1, 2), 2 * voxel + 0.1, 0)
    assert (found == 1).sum() == 8 and (found == 2).sum() == 4
    assert (tidy(labels, (0.5, 1, 2), 4 * voxel + 0.1, 0) == 2).sum() == 0
    assert labels[5, 5, 5] == 1  # what came is as it was


def test_smoothing_takes_off_what_is_thin_along_mm() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15], labels[9, 9, 15:19] = 1, 1
    smooth = tidy(labels, (1, 1, 1), 0, 1.0)
    assert smooth[9, 9, 17] == 0 and smooth[10, 10, 10] == 1
    assert tidy(labels, (5, 5, 5), 0, 1.0)[9, 9, 17] == 1  # much less than a voxel


# --- figures ----------------------------------------------------------------------------------------------------------


def borders(mask: np.ndarray) -> np.ndarray:
    padded, found = np.pad(mask, 1), []
    for z, y, x in np.argwhere(mask):
        around = [
            padded[z + 1 + a, y + 1 + b, x + 1 + c]
            for a, b, c in [*itertools.permutations((1, 0, 0)), *itertools.permutations((-1, 0, 0))]
        ]
        if not all(around):
            found.append((z, y, x))
    return np.array(found)


@given(MASKS, MASKS)
def test_hd95_is_that_of_a_count_by_hand(a: np.ndarray, b: np.ndarray) -> None:
    a, b = a > 0, b > 0
    a[0, 0, 0] = b[3, 4, 5] = True
    spacing = (0.5, 1.0, 3.0)
    points = [borders(mask) * spacing[::-1] for mask in (a, b)]
    far = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    expected = np.percentile(np.concatenate([far.min(1), far.min(0)]), 95)
    assert hd95(a, b, spacing) == pytest.approx(expected) == hd95(b, a, spacing)
    assert hd95(a, a, spacing) == 0


def test_hd95_of_nothing() -> None:
    nothing, something = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert hd95(nothing, nothing, (1, 1, 1)) == 0 and hd95(nothing, something, (1, 1, 1)) == inf
    with pytest.raises(BadInput, match="expected the same sizes"):
        hd95(nothing, something[:2], (1, 1, 1))


@given(st.integers(0, 2**31 - 1), st.integers(2, 20))
def test_the_calibration_error_is_that_of_a_count_by_hand(seed: int, bins: int) -> None:
    random = np.random.default_rng(seed)
    p, truth = random.dirichlet(np.ones(3), 60).T, random.integers(0, 3, 60)
    total = 0.0
    for k in range(bins):
        inside = [i for i in range(60) if min(int(p[:, i].max() * bins), bins - 1) == k]
        if inside:
            right = np.mean([p[:, i].argmax() == truth[i] for i in inside])
            total += len(inside) / 60 * abs(right - np.mean([p[:, i].max() for i in inside]))
    assert calibration_error(p, truth, bins=bins) == pytest.approx(total)


def test_probabilities_that_come_true_are_calibrated() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(3), 200_000).T
    truth = (random.random(200_000) > np.cumsum(p, 0)).sum(0)
    assert calibration_error(p, truth) < 0.005 < 0.1 < calibration_error(p**3 / (p**3).sum(0), truth)
    some = np.arange(200_000) < 500
    assert calibration_error(p, truth, some) == calibration_error(p[:, some], truth[some])
    with pytest.raises(BadInput, match="no voxel"):
        calibration_error(p, truth, truth > 5)
