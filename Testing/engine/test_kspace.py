"""Raw k-space: read as it was written, changed as its image is, and reconstructed as the volume it came from."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from gaussians import SCHEDULES, white, wiener
from numpy.typing import NDArray

from meddiff import recorded
from meddiff.coils import simulate_sensitivities
from meddiff.errors import BadInput, Notice
from meddiff.job import Job, run
from meddiff.kspace import (
    Raw,
    centred,
    coarser,
    compress,
    crop_readout,
    fft1c,
    ifft1c,
    noise_level,
    oriented,
    whiten,
)
from meddiff.masks import make_mask
from meddiff.models import Model, load
from meddiff.operators import fft2c
from meddiff.phase import NearlyReal, calibration_box, low_resolution
from meddiff.posterior import posterior
from meddiff.rawfiles import read_raw
from meddiff.reconstruction import Acquisition, Reconstruction, Simulated, reconstruct
from meddiff.recorded import Recorded, reconstruct_raw
from meddiff.registry import find_recipe
from meddiff.sampling import Progress, drain
from meddiff.volume import Volume, read, write

Array = NDArray[Any]
Run = Callable[..., tuple[int, str, str]]
REAL = Path(__file__).parents[3] / "shared" / "data" / "kspace" / "brain_8coil_poisson.npz"
FEW = {"steps": 2}


def forward(images: Array) -> Array:
    return fft1c(fft1c(images, -1), -2)


def backward(kspace: Array) -> Array:
    return ifft1c(ifft1c(kspace, -1), -2)


def noise(*shape: int, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(np.complex64)


def raw_of(images: Array, mask: Array | None = None, **more: Any) -> Raw:
    """The k-space of coil images (slices, coils, Y, X)."""
    shape = (len(images), *images.shape[-2:])
    there = np.broadcast_to(np.ones(shape[1:], bool) if mask is None else mask, shape)
    return Raw(forward(images) * there[:, None], there, "test", **{"spacing": (1.0, 1.0, 2.0), **more})


# --- files ------------------------------------------------------------------------------------------------------------

SPACE = (
    "<matrixSize><x>{0}</x><y>{1}</y><z>{2}</z></matrixSize>"
    "<fieldOfView_mm><x>{3}</x><y>{4}</y><z>{5}</z></fieldOfView_mm>"
)
HEADER = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace>{encoded}'
    "</encodedSpace><reconSpace>{wanted}</reconSpace><encodingLimits><kspace_encoding_step_1><center>{centre}</center>"
    "</kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory></encoding></ismrmrdHeader>"
)


def header(columns: int, rows: int, *, deep: int = 1, trajectory: str = "cartesian", centre: int = 0) -> str:
    """Readout oversampled twofold, voxels of 1 x 1.5 mm, slices of 5 mm."""
    encoded = SPACE.format(2 * columns, rows, deep, 2.0 * columns, 1.5 * rows, 5)
    wanted = SPACE.format(columns, rows, deep, 1.0 * columns, 1.5 * rows, 5)
    return HEADER.format(encoded=encoded, wanted=wanted, trajectory=trajectory, centre=centre or rows // 2)


HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("number_of_samples", "<u2"),
        ("active_channels", "<u2"),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("sample_time_us", "<f4"),
        *((name, "<f4", (3,)) for name in ("position", "read_dir", "phase_dir", "slice_dir")),
        (
            "idx",
            [
                (name, "<u2")
                for name in ("kspace_encode_step_1", "slice", "average", "contrast", "phase", "repetition", "set")
            ],
        ),
    ]
)


def write_ismrmrd(path: Path, acquisitions: list[tuple[dict[str, Any], Array]], xml: str) -> Path:
    """Acquisitions: what their heads say, and their samples (coils, samples)."""
    floats = h5py.vlen_dtype(np.dtype("<f4"))
    rows = np.zeros(len(acquisitions), np.dtype([("head", HEAD), ("traj", floats), ("data", floats)]))
    for row, (told, samples) in zip(rows, acquisitions, strict=True):
        head = row["head"]
        head["active_channels"], head["number_of_samples"] = samples.shape
        head["center_sample"] = samples.shape[1] // 2
        for name, value in told.items():
            part = head["idx"] if name in HEAD["idx"].names else head
            part[name] = value
        row["traj"], row["data"] = np.zeros(0, "<f4"), samples.astype(np.complex64).view("<f4").ravel()
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/data", data=rows)
        file.create_dataset("dataset/xml", data=[xml.encode()], dtype=h5py.string_dtype())
    return path


def coil_images(slices: int = 3, coils: int = 2, rows: int = 20, columns: int = 24) -> tuple[Array, Array]:
    """Images, and the same in a field of view that the readout oversamples twofold."""
    images = noise(slices, coils, rows, columns)
    wide = np.zeros((slices, coils, rows, 2 * columns), np.complex64)
    wide[..., columns // 2 : columns // 2 + columns] = images
    return images, wide


OBLIQUE = np.array([[0.0, -0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, 0.6]])  # columns: read, phase, slice


def acquisitions(wide: Array, order: list[int]) -> list[tuple[dict[str, Any], Array]]:
    """Line by line; slice number s of the file is slice `order[s]` of space, 6 mm from its neighbours."""
    kspace, found = forward(wide), []
    for number, place in enumerate(order):
        about = {"slice": number, "position": np.array([3.0, 4.0, 5.0]) + 6 * place * OBLIQUE[:, 2]}
        about |= {"read_dir": OBLIQUE[:, 0], "phase_dir": OBLIQUE[:, 1], "slice_dir": OBLIQUE[:, 2]}
        for line in range(wide.shape[-2]):
            found.append(({**about, "kspace_encode_step_1": line}, kspace[place, :, line]))
    return found


def test_an_ismrmrd_file_lies_where_the_scanner_says(tmp_path: Path) -> None:
    images, wide = coil_images()
    raw = read_raw(write_ismrmrd(tmp_path / "a.h5", acquisitions(wide, [1, 2, 0])[::-1], header(24, 20)))
    np.testing.assert_allclose(backward(raw.kspace), images, atol=1e-5)
    assert raw.mask.all() and raw.noise is None
    grid = raw.grid()
    assert grid.spacing == pytest.approx((1.0, 1.5, 6.0))
    for place in range(3):
        expected = np.array([3.0, 4.0, 5.0]) + 6 * place * OBLIQUE[:, 2]
        np.testing.assert_allclose(grid.affine @ [12, 10, place, 1], [*expected, 1], atol=1e-4)
    np.testing.assert_allclose(grid.affine[:3, 0], OBLIQUE[:, 0], atol=1e-6)


def test_an_ismrmrd_scan_of_some_lines(tmp_path: Path) -> None:
    """Lines that came twice are averaged, others were left out; a partial echo; calibration lines of their own."""
    images, wide = coil_images(slices=1)
    lines = acquisitions(wide, [0])
    kept = [(told, samples) for told, samples in lines if told["kspace_encode_step_1"] % 2 == 0]
    twice = [({**told, "average": 1}, 3 * samples) for told, samples in kept]
    early = [({**told, "center_sample": 20}, samples[:, 4:]) for told, samples in kept]
    calibration = [({**told, "flags": 1 << 19}, samples) for told, samples in lines[6:14]]
    raw = read_raw(write_ismrmrd(tmp_path / "a.h5", kept + twice + calibration, header(24, 20)))
    assert raw.mask[:, ::2].all() and not raw.mask[:, 1::2].any()
    expected = forward(images)
    np.testing.assert_allclose(raw.kspace[:, :, ::2], 2 * expected[:, :, ::2], atol=1e-5)
    assert raw.calibration is not None and raw.calibration.any((0, 1, 3)).nonzero()[0].tolist() == [*range(6, 14)]
    partial = read_raw(write_ismrmrd(tmp_path / "b.h5", early, header(24, 20)))
    assert not partial.mask[:, :, :2].any() and partial.mask[:, ::2, 3:].all()


def test_a_noise_scan_makes_the_noise_white(tmp_path: Path) -> None:
    _, wide = coil_images(slices=1)
    mix = np.array([[2.0, 0.0], [1.5j, 0.5]])
    scan = [({"flags": 1 << 18, "sample_time_us": 2.0}, mix @ noise(2, 4000, seed=k)) for k in range(2)]
    only_noise = [
        ({**told, "sample_time_us": 1.0}, 2**0.5 * mix @ noise(2, 48, seed=10 + k))
        for k, (told, _) in enumerate(acquisitions(wide, [0]))
    ]
    raw = read_raw(write_ismrmrd(tmp_path / "a.h5", scan + only_noise, header(24, 20)))
    flat = raw.kspace[0].reshape(2, -1)
    assert raw.noise == 1.0 and noise_level(raw) == 1.0
    np.testing.assert_allclose(flat @ flat.conj().T / (2 * flat.shape[1]), np.eye(2), atol=0.15)


def test_the_first_of_several_contrasts(tmp_path: Path) -> None:
    images, wide = coil_images(slices=1)
    lines = acquisitions(wide, [0])
    second = [({**told, "contrast": 1}, 9 * samples) for told, samples in lines]
    with pytest.warns(Notice, match="2 of the kind contrast"):
        raw = read_raw(write_ismrmrd(tmp_path / "a.h5", second + lines, header(24, 20)))
    np.testing.assert_allclose(backward(raw.kspace), images, atol=1e-5)


@pytest.mark.parametrize("coils", [1, 2])
def test_a_fastmri_file(tmp_path: Path, coils: int) -> None:
    """(slices, coils, readout, phase), readout oversampled, a mask of columns."""
    images, wide = coil_images(coils=coils)
    mask = np.arange(20) % 3 > 0
    kspace = forward(wide.swapaxes(-2, -1)) * mask
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = kspace[:, 0] if coils == 1 else kspace
        file["mask"] = mask
        file["ismrmrd_header"] = header(24, 20)
        file.attrs["acquisition"] = "AXT1"
    raw = read_raw(tmp_path / "a.h5")
    expected = forward(images.swapaxes(-2, -1)) * mask
    np.testing.assert_allclose(raw.kspace, expected, atol=1e-5)
    assert (raw.mask == mask).all() and raw.shape == (3, 24, 20)
    assert raw.grid().spacing == pytest.approx((1.5, 1.0, 5.0)) and raw.facts == {"acquisition": "AXT1"}
    np.testing.assert_allclose(raw.grid().affine @ [10, 12, 1, 1], [0, 0, 0, 1], atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 24), (2, 20, 24), (3, 2, 20, 24)])
def test_numpy_files(tmp_path: Path, shape: tuple[int, ...]) -> None:
    kspace = forward(noise(*shape))
    np.save(tmp_path / "a.npy", kspace)
    np.savez(tmp_path / "a.npz", kspace=kspace, spacing=[1, 2, 3], noise=0.5, mask=np.arange(24) % 2)
    raw = read_raw(tmp_path / "a.npy")
    assert raw.kspace.shape == (1,) * (4 - len(shape)) + shape
    np.testing.assert_array_equal(raw.kspace.reshape(shape), kspace)
    with pytest.raises(BadInput, match="does not tell the size of its voxels; give it by the options spacing_x"):
        raw.grid()
    told = read_raw(tmp_path / "a.npz")
    assert (told.spacing, told.noise) == ((1, 2, 3), 0.5)
    assert told.mask[..., 1::2].all() and not told.kspace[..., ::2].any()


def test_k_space_in_the_order_of_an_fft_is_shifted() -> None:
    raw = raw_of(noise(1, 2, 21, 24) + 20)
    astray = replace(raw, kspace=np.fft.ifftshift(raw.kspace, (-2, -1)))
    with pytest.warns(Notice, match="zero frequency at the edge"):
        np.testing.assert_array_equal(centred(astray).kspace, raw.kspace)
    assert centred(raw) is raw


def make(path: Path, **arrays: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file[name.replace("__", "/")] = value
    return path


K = noise(2, 16, 16)
WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda p: p / "none.h5", "does not exist"),
    "a folder": (lambda p: p, "is a folder"),
    "twix": (lambda p: make(p / "meas.dat", kspace=K), "siemens_to_ismrmrd"),
    "text": (lambda p: (p / "a.h5", (p / "a.h5").write_text("no"))[0], "cannot be read"),
    "no array": (lambda p: (p / "a.npy", (p / "a.npy").write_text("no"))[0], "something else than arrays"),
    "torn": (lambda p: (p / "a.npz", (p / "a.npz").write_bytes(b"PK"))[0], "cannot be read"),
    "other names": (lambda p: make(p / "a.npz", data=K), "holds data; expected an array named kspace"),
    "other datasets": (lambda p: make(p / "a.h5", image=K), "holds image; expected the kspace"),
    "real": (lambda p: make(p / "a.npz", kspace=K.real), "expected complex numbers"),
    "five axes": (lambda p: make(p / "a.npz", kspace=K[None, None, None]), "expected complex numbers"),
    "nan": (lambda p: make(p / "a.npz", kspace=K * np.nan), "NaN or infinite samples"),
    "zero": (lambda p: make(p / "a.h5", kspace=0 * K), "k-space is zero everywhere"),
    "mask": (lambda p: make(p / "a.npz", kspace=K, mask=np.ones(7)), r"the mask in .* has shape \(7,\)"),
    "maps": (lambda p: make(p / "a.npz", kspace=K, sensitivities=K[:1]), "sensitivities in"),
    "spacing": (lambda p: make(p / "a.npz", kspace=K, spacing=[1, 2]), "expected three positive numbers"),
    "header": (lambda p: make(p / "a.h5", kspace=K, ismrmrd_header="<a>"), "is not XML"),
    "entities": (lambda p: make(p / "a.h5", kspace=K, ismrmrd_header="<!DOCTYPE a><a/>"), "entities of its own"),
    "no field": (lambda p: make(p / "a.h5", kspace=K, ismrmrd_header="<a/>"), "lacks encodedSpace/fieldOfView_mm/x"),
    "radial": (lambda p: write_ismrmrd(p / "a.h5", [({}, K[0])], header(16, 16, trajectory="radial")), "radial trajec"),
    "3D": (lambda p: write_ismrmrd(p / "a.h5", [({}, K[0])], header(16, 16, deep=9)), "encoded in 3D"),
    "noise alone": (
        lambda p: write_ismrmrd(p / "a.h5", [({"flags": 1 << 18}, K[0])], header(16, 16)),
        "no acquisition",
    ),
    "a line outside": (
        lambda p: write_ismrmrd(p / "a.h5", [({"kspace_encode_step_1": 99}, K[0])], header(16, 16)),
        "acquisition 0 has",
    ),
    "no heads": (lambda p: make(p / "a.h5", dataset__data=K, dataset__xml=[header(16, 16)]), "no head and data"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_get_a_sentence(tmp_path: Path, case: str) -> None:
    spoil, sentence = WRONG[case]
    with pytest.raises(BadInput, match=sentence):
        read_raw(spoil(tmp_path))


# --- what is done to it -----------------------------------------------------------------------------------------------


def test_the_fourier_transform_is_that_of_the_operators() -> None:
    x = noise(2, 21, 24)
    np.testing.assert_allclose(forward(x), fft2c(torch.from_numpy(x)).numpy(), atol=1e-5)
    np.testing.assert_allclose(backward(forward(x)), x, atol=1e-5)


@pytest.mark.parametrize("rows", [20, 21])
@pytest.mark.parametrize("turn", ["none", "left", "half", "right"])
def test_a_turn_is_one_of_the_image(turn: str, rows: int) -> None:
    images = np.zeros((1, 2, rows, 24), np.complex64)
    images[..., 3:-2, 4:-7] = noise(1, 2, rows - 5, 13)  # the first voxel of an even size is its own mirror image
    found = oriented(raw_of(images), turn)
    quarters = ("none", "left", "half", "right").index(turn)
    expected = np.rot90(images, quarters, axes=(-2, -1))
    # np.rot90 turns about the middle of the array, the engine about its voxel n // 2
    shifts = [(-1, -2), (-1, -1)]
    close = [np.abs(np.roll(expected, (a, b), (-2, -1)) - backward(found.kspace)).max() for a in (0, 1) for b in (0, 1)]
    assert min(close) < 1e-5 and shifts
    assert found.spacing == (1.0, 1.0, 2.0) and found.direction == raw_of(images).direction


@pytest.mark.parametrize("seed", range(6))
def test_orientation_leaves_every_voxel_in_its_place(seed: int) -> None:
    random = np.random.default_rng(seed)
    axes, signs = random.permutation(3), random.choice([-1.0, 1.0], 3)
    tilt = np.linalg.qr(np.eye(3) + 0.1 * random.standard_normal((3, 3)))[0]
    tilt *= np.sign(np.diag(tilt))
    direction = (tilt[:, axes] * signs).ravel()
    images = np.zeros((2, 1, 20, 24), np.complex64)
    place = (1, 0, 5, 17)
    images[place] = 100
    raw = raw_of(images, spacing=(1.0, 1.5, 4.0), direction=tuple(direction), centre=(3.0, -7.0, 11.0))
    turned = oriented(raw)
    peak = np.unravel_index(int(np.abs(backward(turned.kspace)).argmax()), turned.kspace.shape)
    here, there = (g.affine @ [p[3], p[2], p[0], 1] for g, p in ((raw.grid(), place), (turned.grid(), peak)))
    np.testing.assert_allclose(here, there, atol=1e-6)
    columns = np.reshape(turned.direction, (3, 3))
    leading = [int(np.abs(columns[:, k]).argmax()) for k in (0, 1)]
    assert leading[0] < leading[1] and all(columns[leading[k], k] > 0 for k in (0, 1))
    assert (
        turned.plane
        == raw.plane
        == ("sagittal", "coronal", "axial")[int(np.abs(direction.reshape(3, 3)[:, 2]).argmax())]
    )


def test_the_middle_of_an_oversampled_readout() -> None:
    images, wide = coil_images()
    np.testing.assert_allclose(backward(crop_readout(raw_of(wide), -1, 24).kspace), images, atol=1e-5)
    assert crop_readout(raw := raw_of(wide), -1, 48) is raw


def test_a_coarser_image_of_the_same_place() -> None:
    """A band-limited image sampled at every second voxel."""
    small = noise(1, 2, 20, 24)
    kspace = np.zeros((1, 2, 40, 48), np.complex64)
    kspace[:, :, 10:30, 12:36] = forward(small)
    fine = Raw(kspace, np.ones((1, 40, 48), bool), "test", (0.5, 0.5, 3.0), centre=(1.0, 2.0, 3.0))
    made = coarser(fine, 1.0)
    assert made.grid().spacing == (1.0, 1.0, 3.0)
    np.testing.assert_allclose(2 * backward(fine.kspace)[..., ::2, ::2], backward(made.kspace), atol=1e-5)
    np.testing.assert_allclose(made.grid().affine[:3, 3], fine.grid().affine[:3, 3], atol=1e-9)
    assert coarser(fine, 0.2).shape == fine.shape
    with pytest.raises(BadInput, match="leave 5 x 4 of them"):
        coarser(fine, 5.0)


def test_virtual_coils_keep_the_image_and_the_noise() -> None:
    maps = simulate_sensitivities(16, (32, 32)).numpy()
    image = np.zeros((32, 32)) + 10.0
    raw = raw_of((maps * image)[None])
    fewer = compress(raw, 8)
    assert fewer.kspace.shape[1] <= 8
    power = [np.square(np.abs(r.kspace)).sum() for r in (raw, fewer)]
    assert 0.98 < power[1] / power[0] <= 1 + 1e-5
    hiss = compress(raw_of(noise(1, 16, 64, 64)), 8)
    flat = hiss.kspace[0].reshape(8, -1)
    np.testing.assert_allclose(flat @ flat.conj().T / (2 * flat.shape[1]), np.eye(8), atol=0.1)
    assert compress(fewer, 8) is fewer


def test_too_short_a_noise_scan_is_left_alone() -> None:
    raw = raw_of(noise(1, 4, 8, 8))
    assert whiten(raw, noise(4, 5)) is raw
    assert whiten(raw, np.zeros((4, 100), np.complex64)) is raw


def test_the_noise_level_is_found(small_volume: Volume) -> None:
    image = np.kron(small_volume.array[1], np.ones((6, 6))).astype(np.complex64)
    maps = simulate_sensitivities(4, image.shape).numpy()
    mask = make_mask("poisson-disc", image.shape, 4, centre_fraction=0.15).numpy()
    kspace = forward((maps * image)[None]) + 30 * noise(1, 4, *image.shape)
    raw = Raw(kspace * mask, mask[None], "test")
    assert noise_level(raw) == pytest.approx(30, rel=0.1)
    assert noise_level(replace(raw, noise=2.0)) == 2.0


# --- phase ------------------------------------------------------------------------------------------------------------


def test_the_box_in_the_centre() -> None:
    lines = np.zeros((40, 60), bool)
    lines[:, 25:37] = True
    assert calibration_box(lines, 8, 100) == (40, 11)  # from 25 to 35: one more on the left would not be sampled
    assert calibration_box(lines, 8, 20) == (20, 11)
    assert calibration_box(np.zeros((40, 60), bool), 16) == (16, 16)
    assert calibration_box(np.ones((10, 60), bool)) == (10, 48)


def test_a_smooth_phase_is_found() -> None:
    y, x = np.ogrid[-1:1:64j, -1:1:48j]
    image = np.exp(-2 * (y**2 + x**2))
    phase = 1 + 1.5 * y - x * y
    kspace = torch.from_numpy(forward((image * np.exp(1j * phase))[None]))
    low = low_resolution(kspace, torch.ones_like(kspace), (24, 24))
    error = np.angle(low.numpy() * np.exp(-1j * phase))
    assert np.abs(error[16:48, 12:36]).max() < 0.02
    real = low_resolution(torch.from_numpy(forward(image[None])), torch.ones_like(kspace), (16, 17))
    assert real.imag.abs().max() < 1e-6 * real.abs().max()


FIELD = wiener(16, 16)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_nearly_real_images_have_their_exact_posterior_mean(schedule: str) -> None:
    """The real part is that of the prior, the imaginary part an independent Gaussian of known spread."""
    levels = SCHEDULES[schedule]
    prior = FIELD.prior(levels)
    spread = 0.1 + white(1, 1, 16, 16, seed=3).abs()
    both = NearlyReal(prior.network, prior.schedule, prior.predicts, spread=spread)
    for fraction in (0.1, 0.5, 0.9):
        level = levels.levels[round(fraction * (len(levels.levels) - 1))]
        x = white(1, 2, 16, 16, seed=1)
        found = both.denoise(x, level)
        torch.testing.assert_close(found[:, :1], prior.denoise(x[:, :1], level))
        precision = level.alpha**2 / level.sigma**2 + 1 / spread.square()
        torch.testing.assert_close(found[:, 1:], level.alpha * x[:, 1:] / level.sigma**2 / precision)


# --- reconstruction ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tiny_model: Path) -> Model:
    return load("tiny-brain", "cpu", "fp32")


@pytest.fixture
def bright(small_volume: Volume) -> Volume:
    """Positive everywhere: its low-resolution image has no phase."""
    return Volume(small_volume.array + 900, (1.0, 1.1, 3.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def simulated(volume: Volume, model: Model, acquisition: Acquisition) -> Raw:
    """What the volume path measures, as raw data with known coils and noise."""
    scan = Simulated.of(volume.array, "axial", acquisition, model)
    data = scan.measured(scan.kept)
    mask = np.broadcast_to(scan.operator.mask.numpy(), volume.shape)
    maps = getattr(scan.operator, "sensitivities", torch.ones(1, *volume.shape[1:], dtype=torch.complex64)).numpy()
    maps = np.broadcast_to(maps, (volume.shape[0], *maps.shape))
    return Raw(data.y.numpy(), mask, "test", volume.spacing, noise=scan.sigma, maps=maps)


SCANS = {
    "one coil": Acquisition(acceleration=2),
    "coils": Acquisition("radial", 2, coils=6),
    "noisy coils": Acquisition("radial", 2, coils=6, noise=0.02),
}


@pytest.mark.parametrize("case", SCANS)
@pytest.mark.parametrize("method", ["pnp", "ddnm", "ccdf"])
def test_recorded_data_give_the_voxels_of_the_volume_they_came_from(
    bright: Volume, tiny: Model, case: str, method: str
) -> None:
    """With the coils, the noise and the phase (none) known, that of the volume is the same scan."""
    volume, raw = Simulated.of(bright.array, "axial", SCANS[case], tiny), simulated(bright, tiny, SCANS[case])
    kspace, mask, maps = (torch.from_numpy(np.array(a)) for a in (raw.kspace, raw.mask[:, None], raw.maps))
    scan = Recorded(kspace, mask, maps, noise_level(raw), tiny.device, None)
    recipe = find_recipe(method)
    given = {"contrast": "T1", "samples": 2, "batch": 3, "seed": 4}
    ours, theirs = (drain(posterior(s, tiny, recipe, recipe.settings(FEW), **given)) for s in (scan, volume))
    for name in ("mean", "spread", "first", "leftover"):
        assert (getattr(ours, name) - getattr(theirs, name)).abs().max() < 1e-3 * theirs.mean.abs().max(), name
    assert ours.residual == pytest.approx(theirs.residual, abs=1e-4)
    assert ours.megapixels == theirs.megapixels


def test_the_operator_of_each_slice_is_its_own_and_has_its_adjoint(bright: Volume, tiny: Model) -> None:
    raw = simulated(bright, tiny, Acquisition(acceleration=2, coils=3))
    masks = np.stack([make_mask("cartesian-random", bright.shape[1:], 2, seed=k).numpy() for k in range(4)])
    scan = Recorded(
        torch.from_numpy(raw.kspace),
        torch.from_numpy(masks)[:, None],
        torch.from_numpy(noise(*raw.kspace.shape)),
        0.1,
        torch.device("cpu"),
        torch.ones(4, 1, *bright.shape[1:]),
    )
    operator = scan.measured(torch.tensor([2, 0])).operator
    x, y = torch.randn(2, 2, 24, 20), torch.from_numpy(noise(2, 3, 24, 20, seed=5))
    here, there = (operator(x).conj() * y).sum().real, (x * operator.adjoint(y)).sum()
    assert float(here) == pytest.approx(float(there), rel=1e-4)
    alone = scan.measured(torch.tensor([2])).operator
    torch.testing.assert_close(alone(x[:1]), operator(x)[:1])
    assert not operator(x)[1][:, torch.from_numpy(~masks[0])].any()


@pytest.mark.parametrize("coils", [1, 3])
def test_the_smooth_phase_of_a_complex_volume_makes_no_difference(bright: Volume, tiny: Model, coils: int) -> None:
    """A volume turned by one angle gives the turned reconstruction, although the prior knows real images alone."""
    turn = np.exp(2.5j).astype(np.complex64)
    smooth = bright.array * np.exp(1j * np.linspace(-1, 1, bright.shape[1]))[:, None].astype(np.complex64)
    acquisition = Acquisition("radial", 2, coils=coils)
    given = {"acquisition": acquisition, "parameters": FEW, "samples": 2}
    ours, turned = (drain(reconstruct(bright.with_array(a), tiny, **given)) for a in (smooth, turn * smooth))
    size = np.abs(ours.mean.array).max()
    for name in ("mean", "first"):
        a, b = getattr(ours, name).array, getattr(turned, name).array
        np.testing.assert_allclose(turn * a, b, atol=1e-3 * size)
    np.testing.assert_allclose(ours.spread.array, turned.spread.array, atol=1e-3 * size)
    assert ours.residual < 1e-3 and ours.megapixels == drain(reconstruct(bright, tiny, **given)).megapixels
    off = np.abs(np.angle(ours.mean.array * smooth.conj()))
    assert off.mean() < 0.1  # the phase was put back


def test_what_the_data_leave_over_is_an_image(bright: Volume, tiny: Model) -> None:
    acquisition = Acquisition(acceleration=2, coils=3, noise=0.1)
    result = drain(reconstruct(bright, tiny, acquisition=acquisition, parameters=FEW, samples=2))
    scan = Simulated.of(bright.array, "axial", acquisition, tiny)
    data = scan.measured(scan.kept)
    rest = data.y - data.operator(torch.from_numpy(result.mean.array)[:, None])
    expected = data.operator.adjoint(rest)[:, 0].abs().numpy()
    np.testing.assert_allclose(result.leftover.array, expected, atol=1e-3 * expected.max())
    assert result.residual == pytest.approx(float(rest.norm() / data.y.norm()), rel=1e-3)


@pytest.fixture(scope="module")
def head() -> tuple[Array, Raw]:
    """A head of smooth phase seen by four coils, as complex (slices, coils, Y, X), and its magnitude."""
    z, y, x = np.ogrid[0:2, -1:1:48j, -1:1:40j]
    truth = (np.hypot(y, 1.2 * x) < 0.8) * (500 + 200 * np.sin(9 * x + 4 * y + z))
    maps = simulate_sensitivities(4, (48, 40)).numpy()
    images = maps * (truth * np.exp(1j * (1 + y - x * y)))[:, None]
    return truth, raw_of(images + 3 * noise(2, 4, 48, 40))


def test_coils_phase_and_noise_are_found(head: tuple[Array, Raw], tiny: Model) -> None:
    truth, raw = head
    scan = drain(recorded.calibrate(raw, 3.0, 0.1, torch.device("cpu"), 2))
    image = scan.combined().numpy()
    inside = truth > 0
    assert np.abs(np.angle(image[inside])).mean() < 0.05  # nearly real, and positive
    assert np.abs(image.real - truth)[inside].mean() < 15
    assert scan.shape == (2, 2, 48, 40) and scan.kept.tolist() == [0, 1]
    seen = list[Progress]()
    result: Reconstruction = drain(
        reconstruct_raw(raw, tiny, parameters=FEW, samples=2, undersampling=Acquisition(acceleration=2, centre=0.4)),
        seen.append,
    )
    assert [p.step for p in seen] == list(range(1, seen[-1].of + 1)) and seen[-1].of == 2 + 2 + 2 * 2
    assert result.reference is not None and np.abs(result.reference.array - truth)[inside].mean() < 15
    outside = result.first.array == 0
    assert outside.any() and not result.mean.array[outside].any() and not result.spread.array[outside].any()
    assert np.iscomplexobj(result.mean.array) and result.settings["acceleration"] == pytest.approx(2)
    assert {"noise_sd", "coils", "virtual_coils", "source", "plane"} <= set(result.settings)


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({"spacing": None}, {}, "give it by the options spacing_x"),
        ({"spacing": None}, {"spacing_x": 1.0, "spacing_y": 1.0}, "expected three positive numbers"),
        ({"spacing": (2.0, 2.0, 2.0)}, {}, "spacing of 2 x 2 mm; model 'tiny-brain' .* choose another model"),
        ({"spacing": (0.5, 0.5, 2.0)}, {}, "set the option resolution to 1"),
        ({}, {"turn": "upside"}, "unknown turn"),
        ({}, {"method": "pmp"}, "did you mean pnp"),
        ({}, {"undersampling": Acquisition(coils=3)}, "coils and noise of its own"),
        ({}, {"undersampling": Acquisition(acceleration=8)}, "fully sampled centre of k-space is"),
    ],
)
def test_recorded_data_that_cannot_be_used(
    head: tuple[Array, Raw], tiny: Model, changes: dict[str, Any], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        drain(reconstruct_raw(replace(head[1], **changes), tiny, **{"parameters": FEW, **options}))


def test_without_sigpy_there_is_a_sentence(
    head: tuple[Array, Raw], tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sigpy.mri.app", None)
    with pytest.raises(BadInput, match="sigpy is needed .* pip install sigpy"):
        drain(reconstruct_raw(head[1], tiny, parameters=FEW))


def test_finer_voxels_are_reconstructed_at_the_resolution_asked_for(head: tuple[Array, Raw], tiny: Model) -> None:
    fine = replace(head[1], spacing=(0.5, 0.5, 2.0), noise=0.0)
    result = drain(reconstruct_raw(fine, tiny, parameters=FEW, samples=1, resolution=1.0))
    assert result.mean.shape == (2, 24, 20) and result.mean.spacing == (1.0, 1.0, 2.0)


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_signal_outside_of_the_coil_maps_is_told(head: tuple[Array, Raw]) -> None:
    raw = head[1]
    maps = np.ones_like(raw.kspace)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)  # maps that see all have nothing to be told
        drain(recorded.calibrate(replace(raw, maps=maps), 3.0, 0.1, torch.device("cpu"), 2))
    half = maps.copy()
    half[..., :20] = 0
    with pytest.warns(Notice, match=r"leave out up to [3-7]\d%"):
        drain(recorded.calibrate(replace(raw, maps=half), 3.0, 0.1, torch.device("cpu"), 2))


@pytest.fixture
def raw_file(head: tuple[Array, Raw], tmp_path: Path) -> Path:
    np.savez(tmp_path / "raw.npz", kspace=head[1].kspace, spacing=[1.0, 1.0, 2.0])
    return tmp_path / "raw.npz"


def test_a_job_of_raw_data(raw_file: Path, head: tuple[Array, Raw], tiny_model: Path, tmp_path: Path, cli: Run) -> None:
    truth = Volume(7.0 * head[0].astype(np.float32), (1.0, 1.0, 1.0), (50, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    write(truth, tmp_path / "truth.nrrd")
    inputs = {"kspace": str(raw_file), "reference": str(tmp_path / "truth.nrrd")}
    options = {"samples": 2, "acceleration": 2, "centre": 0.4, "contrast": "T1"}
    result = run(Job("pnp", "tiny-brain", inputs, str(tmp_path / "out"), options, FEW))
    assert set(result.outputs) == {"reconstruction", "uncertainty", "residual", "zero-filled", "provenance"}
    for name in ("reconstruction", "uncertainty", "residual", "zero-filled"):
        image = read(result.outputs[name])
        assert image.shape == (2, 48, 40) and image.spacing == (1.0, 1.0, 2.0) and image.array.dtype == np.float32
    assert result.figures["psnr_zero-filled"] > 15  # the reference is in other units, and elsewhere
    told = result.provenance["speed"]
    assert (
        told["seconds"] > 0 and told["device"] and told["megapixels"] == pytest.approx((2 * 2 * 2 + 16) * 48 * 48 / 1e6)
    )
    told = json.loads(json.dumps(result.provenance))["settings"]
    assert told["source"] == ".npz" and told["coils"] == 4
    arguments = ("--acceleration", 2, "--centre", 0.4, "--contrast", "T1", "--samples", 2, "--set", "steps=2")
    code, out, _ = cli(
        "reconstruct",
        raw_file,
        "-o",
        tmp_path / "cli",
        "--model",
        "tiny-brain",
        *arguments,
        "--reference",
        tmp_path / "truth.nrrd",
    )
    assert code == 0 and "against the reference" in out
    same = [read(folder / "reconstruction.nrrd").array for folder in (tmp_path / "out", tmp_path / "cli")]
    assert np.array_equal(*same)


def test_the_command_line_takes_the_options_of_raw_data(
    raw_file: Path, tiny_model: Path, tmp_path: Path, cli: Run
) -> None:
    arguments = ("--phase", 0, "--turn", "left", "--spacing", 1.1, 1.2, 3, "--set", "steps=2", "--samples", 2)
    code, out, _ = cli("reconstruct", raw_file, "-o", tmp_path / "out", "--model", "tiny-brain", *arguments)
    assert code == 0 and "PSNR" not in out
    image = read(tmp_path / "out" / "reconstruction.nrrd")
    assert image.shape == (2, 40, 48) and image.spacing == pytest.approx((1.2, 1.1, 3.0))


@pytest.mark.parametrize(
    ("inputs", "options", "sentence"),
    [
        ({"volume": "x.nrrd"}, {}, "both an input 'volume' and an input 'kspace'"),
        ({"reference": "none.nrrd"}, {}, "none.nrrd does not exist"),
        ({}, {"coils": 4}, "unknown option 'coils'"),
        ({}, {"plane": "axial"}, "unknown option 'plane'"),
        ({}, {"phase": "much"}, "phase must be a number"),
    ],
)
def test_jobs_of_raw_data_that_cannot_be_run(
    raw_file: Path, tiny_model: Path, tmp_path: Path, inputs: dict[str, str], options: dict[str, Any], sentence: str
) -> None:
    job = Job("pnp", "tiny-brain", {"kspace": str(raw_file), **inputs}, str(tmp_path / "out"), options, FEW)
    with pytest.raises(BadInput, match=sentence):
        run(job)
    assert not (tmp_path / "out").exists()


def test_a_reference_of_a_volume(small_file: Path, small_volume: Volume, tiny_model: Path, tmp_path: Path) -> None:
    grid = {"spacing": small_volume.spacing, "origin": small_volume.origin, "direction": small_volume.direction}
    write(Volume(small_volume.array / 2, **grid), tmp_path / "half.nrrd")
    far = {**grid, "origin": (900.0, 0.0, 0.0)}
    write(Volume(small_volume.array, **far), tmp_path / "far.nrrd")

    def psnr(**inputs: str) -> float:
        job = Job("pnp", "tiny-brain", {"volume": str(small_file), **inputs}, str(tmp_path / "out"), {}, FEW)
        return run(job).figures["psnr_zero-filled"]

    assert psnr(reference=str(small_file)) == psnr() > psnr(reference=str(tmp_path / "half.nrrd"))
    with pytest.raises(BadInput, match="lies elsewhere"):
        psnr(reference=str(tmp_path / "far.nrrd"))


@pytest.mark.skipif(not REAL.is_file(), reason="the real k-space slice is not here")
def test_a_real_slice_is_reconstructed() -> None:
    """Eight coils, about 8x, no reference: what is left of the data is at the level of their noise, the head bright,
    the air dark."""
    raw = replace(read_raw(REAL), spacing=(1.0, 1.0, 1.0))
    assert raw.kspace.shape == (1, 8, 230, 180) and raw.mask.mean() == pytest.approx(0.124, abs=0.001)
    sigma = noise_level(raw)
    model = load("brain-mr", "cpu", "fp32")
    result = drain(reconstruct_raw(raw, model, contrast="T1", samples=2, parameters={"steps": 6}))
    misfit = result.residual * np.linalg.norm(raw.kspace) / np.sqrt(2 * raw.mask.sum() * 8)
    assert 0.5 * sigma < misfit < 1.5 * sigma
    image = np.abs(result.mean.array[0])
    assert image[:15, :15].mean() < 0.05 * image[60:170, 50:130].mean()
