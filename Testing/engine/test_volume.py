"""Volumes keep every voxel at its place in the patient, whatever is done to their grid."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from meddiff import volume as module
from meddiff.errors import BadInput
from meddiff.volume import (
    IDENTITY,
    Restore,
    Volume,
    canonical,
    crop_or_pad,
    read,
    require_usable,
    resample,
    resample_like,
    same_grid,
    write,
)

AFFINE_FIELD = np.array([0.7, -1.3, 2.1])  # intensity per mm along L, P, S


def places(volume: Volume) -> np.ndarray:
    """LPS mm of every voxel, (Z, Y, X, 3)."""
    z, y, x = np.indices(volume.shape)
    return np.stack([x, y, z], -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def ramp(volume: Volume) -> Volume:
    """The linear field on the grid of `volume`."""
    return volume.with_array((places(volume) @ AFFINE_FIELD + 5).astype(np.float64))


@st.composite
def grids(draw: st.DrawFn, low: int = 1, high: int = 6) -> Volume:
    """Oblique, anisotropic volumes of either handedness with distinct voxels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.choice([-1, 1], 3)
    shape = tuple(rng.integers(low, high + 1, 3))
    array = rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    return Volume(array, tuple(rng.uniform(0.5, 4, 3)), tuple(rng.uniform(-99, 99, 3)), tuple(matrix.ravel()))


def example(array: np.ndarray | None = None) -> Volume:
    """An oblique, anisotropic, left-handed volume."""
    c, s = np.cos(0.3), np.sin(0.3)
    data = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6) if array is None else array
    return Volume(data, (0.8, 1.5, 3.0), (-20.0, 31.0, 7.5), (c, -s, 0, s, c, 0, 0, 0, -1))


def by_place(volume: Volume) -> dict[float, np.ndarray]:
    """Where each (distinct) intensity lies."""
    return dict(zip(volume.array.ravel().tolist(), places(volume).reshape(-1, 3), strict=True))


# --- the type


def test_affine_agrees_with_simpleitk() -> None:
    volume = example()
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    assert np.allclose(volume.affine @ [5, 2, 3, 1], [*image.TransformIndexToPhysicalPoint((5, 2, 3)), 1])
    assert image.GetPixel(5, 2, 3) == volume.array[3, 2, 5]


@pytest.mark.parametrize(
    ("change", "came"),
    [
        ({"array": np.zeros((4, 5))}, r"\(4, 5\)"),
        ({"array": np.zeros((0, 5, 5))}, r"\(0, 5, 5\)"),
        ({"array": np.full((2, 2, 2), "a")}, "<U1"),
        ({"spacing": (1.0, 0.0, 1.0)}, r"1\.0, 0\.0, 1\.0.*mm"),
        ({"spacing": (1.0, -2.0, 1.0)}, "-2"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "nan"),
        ({"spacing": (1.0, 1.0)}, "expected 3"),
        ({"origin": (0.0, float("inf"), 0.0)}, "origin.*inf"),
        ({"direction": (1.0,) * 9}, "orthonormal"),
        ({"direction": (1, 0, 0, 0, 1, 0.1, 0, 0, 1)}, "0.1.*sheared"),
        ({"direction": IDENTITY[:4]}, "expected 9"),
    ],
)
def test_refuses_what_is_no_volume(change: dict, came: str) -> None:
    good = {"array": np.zeros((2, 2, 2)), "spacing": (1, 1, 1), "origin": (0, 0, 0), "direction": IDENTITY}
    Volume(**good)
    with pytest.raises(BadInput, match=came):
        Volume(**(good | change))


def test_with_array_keeps_the_grid_and_refuses_another_shape() -> None:
    volume = example()
    other = volume.with_array(volume.array > 3)
    assert other.array.dtype == bool and same_grid(volume, other, 0)
    with pytest.raises(BadInput, match=r"\(1, 2, 3\).*\(4, 5, 6\)"):
        volume.with_array(np.zeros((1, 2, 3)))


def test_same_grid_sees_a_turn_about_the_first_voxel() -> None:
    volume = example()
    turned = Volume(volume.array, volume.spacing, volume.origin, IDENTITY)
    assert not same_grid(volume, turned)
    assert not same_grid(volume, crop_or_pad(volume, (4, 5, 5)))
    nudged = Volume(volume.array, volume.spacing, (-20.0005, 31.0, 7.5), volume.direction)
    assert same_grid(volume, nudged) and not same_grid(volume, nudged, 1e-4)


def test_require_usable_counts_what_is_wrong() -> None:
    require_usable(example())
    array = example().array.copy()
    array[0, 0, :3] = [np.nan, np.inf, -np.inf]
    with pytest.raises(BadInput, match="the fixed volume has 3 NaN or infinite voxels of 120"):
        require_usable(example(array), "the fixed volume")
    with pytest.raises(BadInput, match=r"is 7\.0 in every voxel"):
        require_usable(example(np.full((2, 2, 2), 7.0)))
    with pytest.raises(BadInput, match="1 NaN"):
        require_usable(example(np.array([[[1j, complex(0, np.nan)]]])))


# --- files


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha", ".NRRD"])
@pytest.mark.parametrize("kind", [np.float32, np.int16, bool, np.float16])
def test_files_keep_values_and_places(tmp_path: Path, extension: str, kind: type) -> None:
    volume = example((np.arange(120).reshape(4, 5, 6) % 7).astype(kind))
    write(volume, tmp_path / f"a.b{extension}")
    again = read(tmp_path / f"a.b{extension}")
    assert again.array.dtype == np.float32
    assert np.array_equal(again.array, volume.array.astype(np.float32))
    assert same_grid(again, volume, 1e-4)
    assert [file.name for file in tmp_path.iterdir()] == [f"a.b{extension}"]


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd"])
def test_complex_files(tmp_path: Path, extension: str) -> None:
    volume = example((np.arange(120) * (1 - 2j)).reshape(4, 5, 6))
    write(volume, tmp_path / f"k{extension}")
    again = read(tmp_path / f"k{extension}")
    assert again.array.dtype == np.complex64 and np.array_equal(again.array, volume.array)


def test_complex_mha_would_come_back_as_a_vector_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"k\.mha cannot hold complex.*\.nrrd"):
        write(example(np.ones((2, 2, 2), complex)), tmp_path / "k.mha")


@pytest.mark.parametrize("extension", ["nrrd", "nii.gz"])
def test_a_singleton_fourth_axis_is_dropped(tmp_path: Path, extension: str) -> None:
    array = example().array
    image = sitk.JoinSeries([sitk.GetImageFromArray(array)])
    image.SetSpacing((1.0, 2.0, 3.0, 4.0))
    sitk.WriteImage(image, str(tmp_path / f"t.{extension}"))
    again = read(tmp_path / f"t.{extension}")
    assert np.array_equal(again.array, array) and again.spacing == (1, 2, 3)


@pytest.mark.parametrize(
    ("size", "kind", "name", "came"),
    [
        ([4, 5], sitk.sitkFloat32, "a.nii", "2D image of 4 x 5"),
        ([4, 5], sitk.sitkUInt8, "a.png", "2D image of 4 x 5"),
        ([4, 5, 6, 2], sitk.sitkFloat32, "a.nrrd", "4D image of 4 x 5 x 6 x 2"),
        ([4, 5, 6, 2], sitk.sitkFloat32, "a.nii.gz", "4D image of 4 x 5 x 6 x 2"),
        ([4, 5, 6], sitk.sitkVectorFloat32, "a.nrrd", "3D image of 4 x 5 x 6 with 3 values a voxel"),
    ],
)
def test_what_is_not_one_3d_volume_is_named(tmp_path: Path, size: list[int], kind: int, name: str, came: str) -> None:
    sitk.WriteImage(sitk.Image(size, kind), str(tmp_path / name))
    with pytest.raises(BadInput, match=f"{name} is a {came}.*expected 3D.*save one"):
        read(tmp_path / name)


def test_missing_folder_and_junk_are_named(tmp_path: Path) -> None:
    (tmp_path / "junk.nrrd").write_bytes(b"hello")
    with pytest.raises(BadInput, match="no.nii does not exist"):
        read(tmp_path / "no.nii")
    with pytest.raises(BadInput, match="is a folder.*DICOM"):
        read(tmp_path)
    with pytest.raises(BadInput, match=r"junk.nrrd cannot be read: .*expected a 3D image file \(.*\.nrrd") as caught:
        read(tmp_path / "junk.nrrd")
    assert "\n" not in str(caught.value) and "sitk::" not in str(caught.value)


@pytest.mark.parametrize("extension", ["nii", "nii.gz", "nrrd", "mha"])
def test_a_truncated_file_is_never_filled_with_zeros(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    write(example(np.random.default_rng(0).normal(size=(10, 10, 10))), path)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(BadInput, match=f"a.{extension} "):
        read(path)


def test_uncompressed_nifti_named_gz_is_read(tmp_path: Path) -> None:
    write(example(), tmp_path / "a.nii")
    (tmp_path / "a.nii").rename(tmp_path / "b.nii.gz")
    assert np.array_equal(read(tmp_path / "b.nii.gz").array, example().array)


def test_nifti_namesakes_are_refused_because_itk_mixes_them_up(tmp_path: Path) -> None:
    write(example(), tmp_path / "a.nii")
    with pytest.raises(BadInput, match=r"a\.nii exists.*a\.nii\.gz"):
        write(example(), tmp_path / "a.nii.gz")
    write(example(), tmp_path / "b.nii.gz")
    with pytest.raises(BadInput, match=r"b\.nii\.gz exists.*b\.nii"):
        write(example(), tmp_path / "b.nii")
    (tmp_path / "b.nii.gz").rename(tmp_path / "a.nii.gz")
    with pytest.raises(BadInput, match=r"a\.nii lies beside .*a\.nii\.gz"):
        read(tmp_path / "a.nii.gz")
    assert np.array_equal(read(tmp_path / "a.nii").array, example().array)


def test_metadata_survives_in_nrrd_alone(tmp_path: Path) -> None:
    note = '{"seed": 3, "note": "line\\nq := é"}\nsecond line'
    write(example(), tmp_path / "a.nrrd", {"MedDiffusion": note})
    assert sitk.ReadImage(str(tmp_path / "a.nrrd")).GetMetaData("MedDiffusion") == note
    with pytest.raises(BadInput, match=r"a\.nii cannot hold metadata \(seed\)"):
        write(example(), tmp_path / "a.nii", {"seed": "3"})


def test_write_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.mhd has no known extension; expected.*\.nrrd"):
        write(example(), tmp_path / "a.mhd")
    with pytest.raises(BadInput, match="the folder .*none does not exist"):
        write(example(), tmp_path / "none" / "a.nrrd")
    (tmp_path / "taken.nrrd").mkdir()
    with pytest.raises(BadInput, match="taken.nrrd cannot be written"):
        write(example(), tmp_path / "taken.nrrd")
    assert [file.name for file in tmp_path.iterdir()] == ["taken.nrrd"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(example(), tmp_path / "a.nrrd")
    before = (tmp_path / "a.nrrd").read_bytes()

    def full(source: Path, target: Path) -> None:
        assert Path(source).name == "a.part.nrrd" and Path(source).stat().st_size > 0
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BadInput, match="no space left on device"):
        write(example(example().array * 2), tmp_path / "a.nrrd")
    assert (tmp_path / "a.nrrd").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.nrrd"]


# --- orientation


@settings(max_examples=60)
@given(grids())
def test_canonical_keeps_every_voxel_in_place_and_is_undone(volume: Volume) -> None:
    upright, restore = canonical(volume)
    want, got = by_place(volume), by_place(upright)
    assert want.keys() == got.keys() and all(np.allclose(want[key], got[key], atol=1e-9) for key in want)
    back = restore.volume(upright)
    assert np.array_equal(back.array, volume.array) and back.array.flags.c_contiguous
    assert np.allclose(back.spacing, volume.spacing) and np.allclose(back.direction, volume.direction)
    assert np.allclose(back.origin, volume.origin, atol=1e-6)


@settings(max_examples=100)
@given(grids())
def test_canonical_is_right_handed_nearest_to_lps_and_idempotent(volume: Volume) -> None:
    upright, _ = canonical(volume)
    matrix = np.reshape(upright.direction, (3, 3))
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert (np.diag(matrix) > 0).all()
    again, restore = canonical(upright)
    assert same_grid(again, upright, 1e-9) and np.array_equal(again.array, upright.array)
    assert restore == Restore((0, 1, 2), (False, False, False))


def test_canonical_of_a_sagittal_ras_scan() -> None:
    """Columns of the direction: x runs anterior, y inferior, z right."""
    array = np.arange(24.0).reshape(2, 3, 4)
    volume = Volume(array, (1.0, 2.0, 5.0), (0.0, 0.0, 0.0), (0, 0, -1, -1, 0, 0, 0, -1, 0))
    upright, restore = canonical(volume)
    assert upright.direction == IDENTITY and upright.spacing == (5.0, 1.0, 2.0) and upright.shape == (3, 4, 2)
    assert upright.origin == (-5.0, -3.0, -4.0)
    assert upright.array[0, 0, 0] == array[1, 2, 3]  # most right, anterior, inferior: the last of z, x and y
    assert upright.array[2, 3, 1] == array[0, 0, 0]
    many = np.stack([upright.array, -upright.array])
    assert np.array_equal(restore.array(many), np.stack([array, -array]))


def test_restore_applies_to_another_grid_in_the_same_orientation() -> None:
    volume = example()
    upright, restore = canonical(volume)
    fine = ramp(resample(upright, (0.7, 0.7, 0.7)))
    back = restore.volume(fine)
    assert np.allclose(back.direction, volume.direction)
    assert np.allclose(back.array, places(back) @ AFFINE_FIELD + 5)


# --- grids


def interior(grid: Volume, source: Volume, margin: float) -> np.ndarray:
    """Voxels of `grid` that lie at least `margin` voxels inside the outermost voxels of `source`."""
    index = (places(grid) - source.origin) @ np.linalg.inv(source.affine[:3, :3]).T
    last = np.array(source.shape[::-1]) - 1
    return ((index >= margin) & (index <= last - margin)).all(-1)


@settings(max_examples=25)
@given(grids(8, 10), st.floats(0.3, 1.0), st.sampled_from(["linear", "bspline"]))
def test_resample_reproduces_a_linear_field(grid: Volume, factor: float, interpolation: str) -> None:
    source = ramp(grid)
    fine = resample(source, tuple(s * factor for s in source.spacing), interpolation)
    inside = interior(fine, source, 0.0 if interpolation == "linear" else 2.0)
    error = np.abs(fine.array - places(fine) @ AFFINE_FIELD - 5)[inside]
    span = np.ptp(source.array)  # a cubic spline mirrors at the edge, which decays by 0.27 a voxel
    assert inside.any() and error.max() < (1e-9 if interpolation == "linear" else 0.05) * span


@settings(max_examples=25)
@given(grids(), st.tuples(*[st.floats(0.5, 6)] * 3))
def test_resample_keeps_centre_and_extent(volume: Volume, spacing: tuple[float, float, float]) -> None:
    other = resample(volume, spacing, "nearest")
    assert other.spacing == spacing and other.direction == volume.direction
    middle = [v.affine @ [*((np.array(v.shape[::-1]) - 1) / 2), 1] for v in (volume, other)]
    assert np.allclose(*middle)
    extents = [np.array(v.shape[::-1]) * v.spacing for v in (volume, other)]
    assert (np.abs(extents[0] - extents[1]) <= np.array(spacing) * 0.5 + 1e-9).all() or 1 in other.shape


def test_coarser_linear_field_is_kept_and_noise_is_averaged() -> None:
    rng = np.random.default_rng(1)
    volume = Volume(np.zeros((24, 24, 24)), (1.0, 1.0, 1.0), (3.0, 4.0, 5.0), IDENTITY)
    coarse = resample(ramp(volume), (3.0, 3.0, 3.0))
    assert coarse.shape == (8, 8, 8)
    inside = interior(coarse, volume, 5)
    assert np.allclose(coarse.array[inside], (places(coarse) @ AFFINE_FIELD + 5)[inside], atol=1e-6)
    noise = resample(volume.with_array(rng.normal(size=volume.shape)), (3.0, 3.0, 3.0)).array
    assert noise.std() < 0.3  # 1 without smoothing, since every coarse voxel lies on a fine one


@settings(max_examples=40)
@given(grids(3), st.tuples(*[st.floats(0.2, 9)] * 3), st.sampled_from(["linear", "nearest", "bspline"]))
def test_resample_never_looks_outside(grid: Volume, spacing: tuple[float, float, float], interpolation: str) -> None:
    # At least three voxels an axis: on two, the splines of ITK are off by 0.4 %.
    air = grid.with_array(np.full(grid.shape, -1000.0))
    assert np.allclose(resample(air, spacing, interpolation).array, -1000)


def test_resample_like_fills_the_outside() -> None:
    volume = example(np.full((4, 5, 6), -700.0) + np.arange(6) * 0.001)
    beyond = resample_like(volume, crop_or_pad(volume, (8, 9, 10)), outside=-1000)
    assert np.allclose(beyond.array[2:6, 2:7, 2:8], volume.array) and (beyond.array[0] == -1000).all()


@settings(max_examples=25)
@given(grids(6, 9), grids(4, 6))
def test_resample_like_lands_on_the_reference(source: Volume, target: Volume) -> None:
    """Any two oblique grids: the target is put amid the source so that they overlap."""
    middle = source.affine @ [*((np.array(source.shape[::-1]) - 1) / 2), 1]
    spacing = (0.4,) * 3
    target = Volume(target.array, spacing, tuple(middle[:3]), target.direction)
    got = resample_like(ramp(source), target)
    inside = interior(target, source, 0)
    assert same_grid(got, target, 0) and inside.any()
    assert np.allclose(got.array[inside], (places(target) @ AFFINE_FIELD + 5)[inside], atol=1e-6)
    assert (got.array[~interior(target, source, -0.5 - 1e-6)] == 0).all()


def test_only_the_axis_that_gets_coarser_is_smoothed() -> None:
    """Stripes along x survive on a grid whose first axis, three times coarser, is the z of the source."""
    stripes = np.broadcast_to([1.0, -1.0] * 4, (9, 8, 8))
    source = Volume(stripes, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    target = Volume(np.zeros((8, 8, 3)), (3.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0, 0, 1, 0, 1, 0, 1, 0, 0))
    got = resample_like(source, target)
    assert np.allclose(got.array, np.transpose(stripes[:3], (2, 1, 0)))


def test_resample_keeps_labels_complex_values_and_equal_grids() -> None:
    labels = example((np.arange(120).reshape(4, 5, 6) % 3 * 5).astype(np.uint8))
    fine = resample(labels, (0.4, 0.7, 1.1), "nearest")
    assert fine.array.dtype == np.uint8 and set(np.unique(fine.array)) == {0, 5, 10}
    assert set(np.unique(resample(labels, (2.0, 4.0, 6.0), "nearest").array)) <= {0, 5, 10}
    assert resample(labels, (0.4, 0.7, 1.1)).array.dtype == np.float32
    wave = example(example().array * np.complex64(1 - 2j))
    real = resample(example(), (0.5, 1.1, 2.0)).array
    got = resample(wave, (0.5, 1.1, 2.0)).array
    assert got.dtype == np.complex64 and np.allclose(got, real * (1 - 2j), rtol=1e-5, atol=1e-3)
    beyond = resample_like(wave, crop_or_pad(wave, (6, 7, 8)), outside=9)
    assert beyond.array[0, 0, 0] == 9
    assert np.array_equal(resample(labels, labels.spacing, "bspline").array, labels.array)


def test_resample_refuses_bad_requests() -> None:
    with pytest.raises(BadInput, match="unknown interpolation 'linar'; did you mean linear"):
        resample(example(), (1, 1, 1), "linar")
    with pytest.raises(BadInput, match=r"0\.0.*mm; expected"):
        resample(example(), (1, 0, 1))


@settings(max_examples=40)
@given(grids(), st.tuples(*[st.integers(1, 9)] * 3))
def test_crop_or_pad_keeps_places_and_padding_is_undone(volume: Volume, shape: tuple[int, int, int]) -> None:
    other = crop_or_pad(volume, shape, fill=-1)
    want, got = by_place(volume), {k: v for k, v in by_place(other).items() if k != -1}
    kept = np.minimum(shape, volume.shape)
    assert other.shape == shape and len(got) == kept.prod()
    assert all(np.allclose(want[key], place, atol=1e-9) for key, place in got.items())
    grown = crop_or_pad(volume, tuple(np.maximum(shape, volume.shape)))
    back = crop_or_pad(grown, volume.shape)
    assert np.array_equal(back.array, volume.array) and same_grid(back, volume, 1e-9)


def test_crop_or_pad_refuses_an_empty_shape() -> None:
    with pytest.raises(BadInput, match=r"\(4, 0, 6\)"):
        crop_or_pad(example(), (4, 0, 6))


def test_inputs_are_left_alone() -> None:
    volume = example()
    before = volume.array.copy()
    for result in (canonical(volume)[0], resample(volume, (1, 1, 1)), crop_or_pad(volume, volume.shape)):
        result.array[:] = -1
    assert np.array_equal(volume.array, before)


def test_simpleitk_is_imported_only_when_needed() -> None:
    assert not [name for name in vars(module) if name.lower() in ("simpleitk", "sitk", "torch")]
