"""Maps of what should not be there: widths in mm, volumes in mm3, places in the patient; and what is no brain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from meddiff.anomaly import COLUMNS, anomaly_map, dissimilarity, find_lesions, otsu, smooth
from meddiff.brain import check_image, find_brain, shows_skull
from meddiff.errors import BadInput
from meddiff.volume import IDENTITY, Volume

SPACING = (0.8, 1.3, 2.5)


def oblique(array: NDArray[Any], spacing: tuple[float, float, float] = SPACING) -> Volume:
    """`array` on a left-handed grid that is turned about two axes."""
    a, b = 0.4, -0.3
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    direction = about_z @ about_x @ np.diag([1.0, -1.0, 1.0])
    return Volume(array, spacing, (-12.5, 40.0, 903.25), tuple(direction.ravel()))


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# --- lesions ----------------------------------------------------------------------------------------------------------


def test_a_blob_has_its_volume_and_lies_where_it_lies() -> None:
    array = 0.1 * np.ones((12, 30, 28), np.float32)
    z, y, x = np.ogrid[:12, :30, :28]
    blob = ((z - 5) / 2.0) ** 2 + ((y - 20) / 4.0) ** 2 + ((x - 8) / 6.0) ** 2 <= 1
    array[blob] = 1.0
    array[5, 20, 8] = 3.0
    volume = oblique(array)
    labels, (lesion,) = find_lesions(volume, 0.5)
    assert np.array_equal(labels.array > 0, blob)
    assert lesion.volume_mm3 == pytest.approx(np.count_nonzero(blob) * np.prod(SPACING), rel=1e-9)
    assert (lesion.peak, lesion.slices) == (3.0, 5)
    assert lesion.mean == pytest.approx(float(array[blob].mean(dtype=np.float64)))
    index = np.argwhere(blob)[:, ::-1]
    left, posterior, superior = (volume.affine @ np.c_[index, np.ones(len(index))].T).mean(1)[:3]
    assert (lesion.r_mm, lesion.a_mm, lesion.s_mm) == pytest.approx((-left, -posterior, superior), abs=1e-6)
    assert dict(zip(COLUMNS, lesion.row(), strict=True))["volume_mm3"] == lesion.volume_mm3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_counted_across_the_plane(axis: int) -> None:
    array = np.zeros((8, 9, 10), np.float32)
    array[2:4, 3:6, 4:8] = 1
    _, (lesion,) = find_lesions(oblique(array), 0.5, axis=axis)
    assert lesion.slices == (2, 3, 4)[axis]


def test_small_ones_go_the_largest_comes_first_and_corners_touch() -> None:
    array = np.zeros((6, 20, 20), np.float32)
    array[1, 2, 2:5] = 1  # three voxels
    array[3, 10:14, 10] = 2  # four, and one that touches by a corner
    array[4, 14, 11] = 2
    array[5, 18, 18] = 5  # one
    voxel = float(np.prod(SPACING))
    labels, found = find_lesions(oblique(array), 0.5, 3 * voxel)
    assert [round(lesion.volume_mm3 / voxel) for lesion in found] == [5, 3]
    assert [lesion.lesion for lesion in found] == [1, 2]
    assert labels.array[4, 14, 11] == labels.array[3, 10, 10] == 1 and labels.array[1, 2, 3] == 2
    assert labels.array[5, 18, 18] == 0
    assert len(find_lesions(oblique(array), 0.5, 3.01 * voxel)[1]) == 1
    assert len(find_lesions(oblique(array), 0.5)[1]) == 3
    assert find_lesions(oblique(array), 5.0)[1] == ()  # above means above


def test_more_lesions_than_a_short_number_counts() -> None:
    array = np.zeros((70, 64, 64), np.float32)
    array[::2, ::2, ::2] = 1  # 35 * 32 * 32
    labels, found = find_lesions(oblique(np.concatenate([array, array])), 0.5)
    assert len(found) == labels.array.max() == 70 * 32 * 32


# --- maps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.6, 1.0, 2.5])
def test_smoothing_has_the_asked_width_in_mm(width: float) -> None:
    array = np.zeros((31, 51, 71), np.float32)
    array[15, 25, 35] = 1.0
    found = smooth(array, np.ones(array.shape, bool), SPACING, width).astype(np.float64)
    assert found.sum() == pytest.approx(1.0, abs=1e-3)
    for axis, (middle, spacing) in enumerate(zip((15, 25, 35), SPACING[::-1], strict=True)):
        profile = found.sum(axis=tuple(k for k in range(3) if k != axis))
        where = spacing * (np.arange(len(profile)) - middle)
        assert np.sqrt((profile * where**2).sum()) == pytest.approx(width, rel=0.01)


def test_smoothing_does_not_dim_the_rim_and_stays_in_the_brain() -> None:
    z, y, x = np.ogrid[-1:1:12j, -1:1:30j, -1:1:28j]
    brain = z**2 + y**2 + x**2 < 0.6
    found = smooth(np.where(brain, 2.0, 99.0), brain, SPACING, 2.0)
    assert np.allclose(found[brain], 2.0, atol=1e-5) and not found[~brain].any()
    assert np.array_equal(smooth(np.where(brain, 2.0, 99.0), brain, SPACING, 0.0), np.where(brain, 2.0, 0.0))


def test_polarity() -> None:
    image, twin = noise(4, 9, 10), noise(4, 9, 10, seed=1)
    brain = noise(4, 9, 10, seed=2) > -1
    made = {p: anomaly_map(image, twin, brain, SPACING, polarity=p) for p in ("any", "brighter", "darker")}
    assert np.array_equal(made["any"], np.maximum(made["brighter"], made["darker"]))
    assert not np.minimum(made["brighter"], made["darker"]).any()
    assert np.array_equal(made["darker"], anomaly_map(twin, image, brain, SPACING, polarity="brighter"))
    plain = anomaly_map(image, twin, brain, SPACING, smoothing=0.0)
    assert np.allclose(plain, np.where(brain, np.abs(image - twin), 0), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_structure_is_that_of_ssim(axis: int) -> None:
    image = gaussian_filter(noise(16, 17, 18), 1.0)
    twin = image + 0.2 * gaussian_filter(noise(16, 17, 18, seed=1), 1.0)
    found = dissimilarity(image, twin, axis, 2.0)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0, "full": True}
    for a, b, mine in zip(*(np.moveaxis(v, axis, 0) for v in (image, twin, found)), strict=True):
        assert np.allclose(mine, (1 - structural_similarity(a, b, **window)[1]).clip(0, 1), atol=1e-5)


def test_the_weight_of_structure_goes_from_none_to_all() -> None:
    image, twin = noise(4, 16, 17), noise(4, 16, 17, seed=1)
    brain = np.ones(image.shape, bool)
    none, half, full = (anomaly_map(image, twin, brain, SPACING, structural=w) for w in (0.0, 0.5, 1.0))
    assert np.allclose(full, none * dissimilarity(image, twin), atol=1e-6)
    assert np.allclose(half, (none + full) / 2, atol=1e-6)
    assert not anomaly_map(image, image, brain, SPACING, structural=1.0).any()


def test_otsu_is_that_of_itk_within_a_mask() -> None:
    array = np.abs(noise(8, 30, 30)) + np.where(noise(8, 30, 30, seed=1) > 1.5, 3.0, 0.0).astype(np.float32)
    brain = noise(8, 30, 30, seed=2) > -0.5
    itk = sitk.OtsuThresholdImageFilter()
    itk.SetMaskValue(1)
    itk.Execute(sitk.GetImageFromArray(array), sitk.GetImageFromArray(brain.astype(np.uint8)))
    found = otsu(array[brain])
    assert found == pytest.approx(itk.GetThreshold(), rel=1e-6)

    def between(threshold: float) -> float:
        low, high = array[brain & (array <= threshold)], array[brain & (array > threshold)]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    assert between(found) > 0.995 * max(between(t) for t in np.linspace(0.1, 5, 200))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda a, b: anomaly_map(a, a, b, SPACING, polarity="bright"), "did you mean brighter"),
        (lambda a, b: anomaly_map(a, a, b, SPACING, structural=1.5), "weight of structure is 1.5"),
        (lambda a, b: anomaly_map(a, a, b, SPACING, smoothing=-1.0), "smoothing is -1.0 mm"),
        (lambda a, b: find_lesions(oblique(a), -1.0), "threshold -1.0"),
        (lambda a, b: otsu(np.zeros(5)), "the same everywhere"),
        (lambda a, b: otsu(np.zeros(0)), "the same everywhere"),
    ],
)
def test_what_makes_no_map(call: Callable[..., Any], sentence: str) -> None:
    array = noise(4, 5, 6)
    with pytest.raises(BadInput, match=sentence):
        call(array, np.ones(array.shape, bool))


# --- brains -----------------------------------------------------------------------------------------------------------


def head(skull: bool, *, slices: int = 3) -> tuple[Volume, NDArray[np.bool_]]:
    """Slices of 100 x 110 mm of a noisy brain with dark ventricles, in a skull or not, and where the brain is."""
    y, x = np.mgrid[-55:55, -50:50].astype(np.float32)
    radius = np.hypot(y / 50, x / 44)
    brain = radius < (0.72 if skull else 0.95)
    image = np.where(brain, 600.0, 0.0) * (np.hypot(y / 12, x / 8) > 1)
    if skull:
        image += np.where((radius > 0.88) & (radius < 1), 1000.0, 0.0) + np.where(
            (radius > 0.72) & (radius < 0.88), 60, 0
        )
    array = np.stack([image] * slices) + 8 * np.abs(noise(slices, 110, 100))
    return Volume(array.astype(np.float32), (1.0, 1.0, 5.0), (0, 0, 0), IDENTITY), np.stack([brain] * slices)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_brain_is_found_whole_and_nothing_else(axis: int) -> None:
    volume, brain = head(False, slices=1)
    volume.array[0, 2:5, 2:5] = 500  # something bright that is not connected
    volume = Volume(np.moveaxis(volume.array, 0, axis), (1, 1, 1), (0, 0, 0), IDENTITY)
    found = find_brain(volume, axis)
    assert found.shape == volume.shape
    wrong = np.count_nonzero(found != np.moveaxis(brain[:1], 0, axis))
    assert wrong < 0.005 * brain[0].sum()  # the ventricles are in it


@pytest.mark.parametrize("skull", [True, False])
def test_a_skull_is_seen(skull: bool) -> None:
    volume, _ = head(skull)
    assert shows_skull(volume, find_brain(volume, 0), 0) is skull


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: 3 * a - 1024, "down to -1024, as CT in Hounsfield units"),
        (lambda a: (a - a.mean()) / a.std(), "of the voxels are below 0"),
        (lambda a: -np.abs(a), "no voxel above 0"),
        (lambda a: np.where(a > 300, 7.0, 0.0), "2 whole numbers"),
        (lambda a: np.kron(np.floor(a[:, ::9, ::9]), np.ones((1, 9, 9))), "whole numbers in flat regions"),
    ],
)
def test_what_is_no_mr_image(change: Callable[..., Any], sentence: str) -> None:
    volume, _ = head(False)
    check_image(volume, "m")
    check_image(volume.with_array(np.round(volume.array)), "m")  # whole numbers alone make no label map
    changed = change(volume.array)
    with pytest.raises(BadInput, match=sentence):
        check_image(Volume(changed, (1, 1, 1), (0, 0, 0), IDENTITY), "m")


@pytest.mark.parametrize(
    ("spacing", "sentence"), [((0.1, 0.1, 1.0), "covers 0.6 cm2"), ((3.0, 3.0, 3.0), "covers 5[0-9][0-9]")]
)
def test_what_is_no_brain(spacing: tuple[float, float, float], sentence: str) -> None:
    volume, _ = head(False)
    with pytest.raises(BadInput, match=sentence):
        find_brain(Volume(volume.array, spacing, (0, 0, 0), IDENTITY), 0)
