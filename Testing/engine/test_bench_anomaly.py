"""The benchmark of anomalies: lesions lie where they are said to, figures are those of the map, bars tell the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from meddiff import anomaly_cases
from meddiff.anomaly_cases import BRIGHTER, CONTRASTS, NEAR, PERSONS, SHAPES, SMALLEST
from meddiff.errors import BadInput
from meddiff.volume import Volume, read, write

SHAPE = (16, 48, 40)
LPS = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def ball(z: float, y: float, x: float, radius: float) -> np.ndarray:
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (k - z) ** 2 + (j - y) ** 2 + (i - x) ** 2 < radius**2


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A person of each split with one lesion of the raters on the left, and patients with lesions on the right."""
    random = np.random.default_rng(0)
    brain, lesion = ball(8, 24, 20, 18) & (np.arange(SHAPE[0]) % 15 > 0)[:, None, None], ball(8, 24, 9, 3)
    rows = ["file,split"]
    for split, person in PERSONS.items():
        (tmp_path / person).parent.mkdir(exist_ok=True)
        for contrast in CONTRASTS:
            tissue = 600 + 10 * random.standard_normal(SHAPE)
            array = brain * tissue * np.where(lesion, 1.6 if BRIGHTER[contrast] else 0.6, 1)
            write(Volume(array.astype(np.float32), *LPS), tmp_path / f"{person}_{contrast}.nii.gz")
        write(Volume(lesion.astype(np.uint8), *LPS), tmp_path / f"{person}_lesions.nii.gz")
        for number in (1, 2) if split == "test" else (3,):
            name = f"{SHAPES}/patient{number:02d}_lesions.nii.gz"
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shape = ball(8, 20 + 3 * number, 26, 4) | ball(8, 24, 12, 2) | ball(8, 24, 38, 2)  # far, near and outside
            write(Volume(shape.astype(np.uint8), *LPS), tmp_path / name)
            rows.append(f"{name},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_painted_lesions_are_where_they_are_said_to_be(data: Path, contrast: str) -> None:
    case = anomaly_cases.simulated(data, contrast, count=6)
    assert case.volume.shape == (6, *SHAPE[1:]) and str(case) == f"{contrast} simulated"
    original = read(data / f"{PERSONS['test']}_{contrast}.nii.gz").array
    rows = [row for _, row in anomaly_cases._chosen(data, "test", 6)]
    change = case.volume.array - original[rows]
    assert not (case.truth & case.left_out).any() and (case.truth.sum((1, 2)) >= SMALLEST).all()
    assert np.abs(change[~binary_dilation(case.truth, np.ones((1, 9, 9)))]).max() < 1
    assert (np.sign(change[case.truth].mean()) > 0) == BRIGHTER[contrast]
    again = anomaly_cases.simulated(data, contrast, count=6)
    assert np.array_equal(again.volume.array, case.volume.array)
    raters = read(data / f"{PERSONS['test']}_lesions.nii.gz").array > 0
    assert case.left_out[raters[rows]].all() and not case.counted[raters[rows]].any()
    assert not case.healthy[binary_dilation(case.truth, np.ones((1, 3, 3)))].any()


def test_the_same_slices_in_every_contrast_and_as_many_of_each_patient(data: Path) -> None:
    chosen = anomaly_cases._chosen(data, "test", 6)
    assert [name for name, _ in chosen] == [f"{SHAPES}/patient0{k}_lesions.nii.gz" for k in (1, 1, 1, 2, 2, 2)]
    assert {name for name, _ in anomaly_cases._chosen(data, "train", 2)} == {f"{SHAPES}/patient03_lesions.nii.gz"}
    truths = [anomaly_cases.simulated(data, contrast, count=6).truth for contrast in CONTRASTS]
    assert all(np.array_equal(truth, truths[0]) for truth in truths)


def test_a_patient_is_every_slice_of_the_brain(data: Path) -> None:
    case = anomaly_cases.patient(data, "T2")
    original = read(data / f"{PERSONS['test']}_T2.nii.gz")
    filled = (original.array > 0).mean((1, 2)) > anomaly_cases.BRAIN
    assert np.array_equal(case.volume.array, original.array[filled]) and case.truth.sum() == ball(8, 24, 9, 3).sum()
    assert case.volume.origin[2] == np.flatnonzero(filled)[0] and not case.left_out.any()
    assert not case.healthy[case.truth].any() and case.healthy.sum() > case.counted.sum() / 2
    half = anomaly_cases.patient(data, "T2", step=2)
    assert half.volume.spacing == (1, 1, 2) and half.volume.shape[0] == -(-case.volume.shape[0] // 2)
    assert np.array_equal(half.truth, case.truth[::2])
    assert NEAR > 3  # what a lesion's soft edge reaches


def test_data_that_are_not_there_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"patient07_T1\.nii\.gz is missing"):
        anomaly_cases.patient(tmp_path / "nowhere", "T1")
    (data / "manifest.csv").write_text("file,split\n")
    anomaly_cases.shapes.cache_clear()
    with pytest.raises(BadInput, match="expected lesions to paint"):
        anomaly_cases.shapes(data, "test")
    (data / "manifest.csv").unlink()
    with pytest.raises(BadInput, match=r"manifest\.csv is missing"):
        anomaly_cases.shapes(data, "train")
