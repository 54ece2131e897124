"""Truths of the classical reconstructions: exact limits, what the real constraint is worth, agreement with BART."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meddiff.baselines import (
    Example,
    Method,
    available,
    bart_total_variation,
    bart_wavelet,
    l1_wavelet,
    read_cfl,
    total_variation,
    tune,
    write_cfl,
    zero_filled,
)
from meddiff.coils import simulate_sensitivities
from meddiff.errors import BadInput
from meddiff.masks import cartesian_random
from meddiff.metrics import psnr
from meddiff.operators import Fourier, fft2c

SHAPE = (40, 33)
needs_bart = pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")
SHORT: dict[str, Method] = {
    "zero-filled": zero_filled,
    "l1-wavelet": partial(l1_wavelet, iterations=40),
    "total-variation": partial(total_variation, iterations=80),
    "bart-wavelet": partial(bart_wavelet, iterations=40),
    "bart-total-variation": partial(bart_total_variation, iterations=40),
}
ITERATIVE = pytest.mark.parametrize("name", [name for name in available() if name != "zero-filled"])


@pytest.fixture
def image() -> np.ndarray:
    """Piecewise constant: an ellipse with two holes, 0 to 1."""
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    body = ((y / 0.85) ** 2 + (x / 0.7) ** 2 < 1).astype(np.float32)
    return body - 0.5 * ((y - 0.3) ** 2 + x**2 < 0.06) - 0.25 * ((y + 0.2) ** 2 + (x - 0.3) ** 2 < 0.04)


def _measure(
    image: np.ndarray, acceleration: float = 2.5, coils: int = 0, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray, Any]:
    maps = simulate_sensitivities(coils, SHAPE) if coils else torch.ones(1, *SHAPE)
    mask = cartesian_random(SHAPE, acceleration, 0.2, seed=3)
    kspace = fft2c(maps * torch.from_numpy(image).to(torch.complex64))
    # complex64 noise has a variance of one in all, half of it in each part
    random = torch.Generator().manual_seed(0)
    kspace = mask * (kspace + noise * 2**0.5 * torch.randn(kspace.shape, generator=random, dtype=torch.complex64))
    return kspace.numpy(), mask.numpy(), maps.numpy() if coils else None


@pytest.mark.parametrize("coils", [0, 3])
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("name", available())
def test_fully_sampled_gives_the_image_back(name: str, real: bool, coils: int, image: np.ndarray) -> None:
    result = SHORT[name](*_measure(image, 1, coils), 1e-5, real)
    assert result.shape == SHAPE and result.dtype == np.float32 and result.min() >= 0
    assert psnr(image, result) > 45


@ITERATIVE
@pytest.mark.parametrize("coils", [0, 3])
def test_sparsity_helps_and_so_does_knowing_that_the_image_is_real(name: str, coils: int, image: np.ndarray) -> None:
    data = _measure(image, 4 if coils else 2, coils, noise=0.02)
    complex_valued, real_valued = (psnr(image, SHORT[name](*data, 3e-3, real)) for real in (False, True))
    assert complex_valued > psnr(image, zero_filled(*data)) + 3
    assert real_valued > psnr(image, zero_filled(*data, real=True)) + 3
    assert real_valued > complex_valued + 0.5


@pytest.mark.parametrize("name", ["zero-filled", "l1-wavelet", "total-variation"])
def test_a_real_reconstruction_cannot_see_the_imaginary_part(name: str, image: np.ndarray) -> None:
    """An image's imaginary part is anti-Hermitian in k-space: the virtual conjugate coils cancel it where k and -k are
    sampled, as the least-squares solution among real images must."""
    everywhere, mask, _ = _measure(image, 1)
    imaginary = fft2c(1j * torch.from_numpy(image[::-1].copy()).to(torch.complex64)).numpy()
    a, b = (SHORT[name](y, mask, None, 1e-3, True) for y in (everywhere, everywhere + imaginary))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_zero_filled_is_the_operators_pseudo_inverse(image: np.ndarray) -> None:
    kspace, mask, _ = _measure(image)
    y, sampled = torch.from_numpy(kspace)[None], torch.from_numpy(mask)
    expected = Fourier(sampled, 1).pinv(y)[0, 0].clamp_min(0).numpy()
    np.testing.assert_allclose(zero_filled(kspace, mask, real=True), expected, atol=1e-6)
    expected = Fourier(sampled, 2).pinv(y)[0].norm(dim=0).numpy()
    np.testing.assert_allclose(zero_filled(kspace, mask), expected, atol=1e-6)


def test_zero_filled_without_sensitivities_is_the_root_of_the_sum_of_squares(image: np.ndarray) -> None:
    kspace, mask, maps = _measure(image, 1, coils=3)
    np.testing.assert_allclose(zero_filled(kspace, mask), image, atol=1e-5)
    with pytest.raises(BadInput, match="without sensitivities"):
        zero_filled(kspace, mask, real=True)
    np.testing.assert_allclose(zero_filled(kspace, mask, maps, real=True), image, atol=1e-5)


@needs_bart
@pytest.mark.parametrize(("real", "coils"), [(False, 0), (True, 0), (True, 3)])
@pytest.mark.parametrize("name", ["wavelet", "total-variation"])
def test_bart_and_sigpy_agree_on_the_weight(name: str, real: bool, coils: int, image: np.ndarray) -> None:
    data, ours, bart = _measure(image, 2.5, coils), SHORT[name.replace("wav", "l1-wav")], SHORT[f"bart-{name}"]
    a, b = ours(*data, 3e-3, real), bart(*data, 3e-3, real)
    assert np.linalg.norm(a - b) < 0.1 * np.linalg.norm(image)
    # With ten times the weight BART is elsewhere: `lam` has the same units in both.
    assert np.linalg.norm(a - bart(*data, 3e-1, real)) > 2 * np.linalg.norm(a - b)


@ITERATIVE
def test_deterministic_and_free_of_side_effects(name: str, image: np.ndarray) -> None:
    kspace, mask, _ = _measure(image)
    before, state = kspace.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = SHORT[name](kspace, mask, None, 1e-3, True)
    np.testing.assert_array_equal(first, SHORT[name](kspace, mask, None, 1e-3, True))
    np.testing.assert_array_equal(kspace, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_tuning_finds_the_best_weight(image: np.ndarray) -> None:
    kspace, mask, _ = _measure(image)
    found = tune(SHORT["total-variation"], [Example(kspace, mask, image)], [1e-3, 1.0, 10.0])
    assert found.lam == 1e-3 and found.at_edge
    assert found.psnr[1e-3] == pytest.approx(psnr(image, SHORT["total-variation"](kspace, mask, lam=1e-3)))
    assert found.psnr[1e-3] > found.psnr[1.0] > found.psnr[10.0]
    with pytest.raises(BadInput, match="0 examples"):
        tune(zero_filled, [], [1e-3])


def test_cfl_files_have_the_layout_of_bart(tmp_path: Path) -> None:
    array = (np.arange(24) + 1j).reshape(2, 1, 3, 4).astype(np.complex64)  # (coils, Z, Y, X)
    write_cfl(tmp_path / "a", array)
    assert (tmp_path / "a.hdr").read_text() == "# Dimensions\n4 3 1 2\n"
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.cfl", np.complex64), array.ravel())
    np.testing.assert_array_equal(read_cfl(tmp_path / "a"), array)


def test_without_bart_it_says_so(monkeypatch: pytest.MonkeyPatch, image: np.ndarray) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert available() == ["zero-filled", "l1-wavelet", "total-variation"]
    with pytest.raises(BadInput, match="not on the PATH"):
        bart_wavelet(*_measure(image)[:2])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: zero_filled(np.ones((4, 4)) + 0j, np.ones((4, 4))), r"expected complex \(coils, Y, X\)"),
        (lambda: zero_filled(np.ones((1, 4, 4)), np.ones((4, 4))), "float64"),
        (lambda: zero_filled(np.ones((1, 4, 4)) + 0j, np.ones((4, 5))), r"\(4, 5\)"),
        (lambda: l1_wavelet(np.ones((2, 4, 4)) + 0j, np.ones((4, 4))), "without sensitivities"),
        (lambda: l1_wavelet(np.ones((2, 4, 4)) + 0j, np.ones((4, 4)), np.ones((1, 4, 4))), r"\(1, 4, 4\)"),
    ],
)
def test_wrong_input_is_explained(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        wrong()
