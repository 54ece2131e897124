"""Truths of all operators: adjointness, Penrose's conditions, normal equations, autograd, symmetry of k-space."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from meddiff.coils import calibration_width, estimate_sensitivities, simulate_sensitivities
from meddiff.errors import BadInput
from meddiff.masks import cartesian_random, make_mask
from meddiff.multicoil import MultiCoil
from meddiff.operators import Downsample, Fourier, Identity, Inpaint, LowPass, Operator, fft2c, reflect

Make = Callable[[tuple[int, int], int], Operator]


def _scattered(shape: tuple[int, int], seed: int = 5) -> Tensor:
    """A mask without any symmetry: pairs k, -k are sampled twice, once and never, on the Nyquist lines too."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4


OPERATORS: dict[str, Make] = {
    "identity": lambda shape, channels: Identity(),
    "inpaint": lambda shape, channels: Inpaint(_scattered(shape)),
    "downsample": lambda shape, channels: Downsample((1, 3) if shape[0] % 2 else (2, 3)),
    "low-pass": lambda shape, channels: LowPass(0.5),
    "fourier": lambda shape, channels: Fourier(_scattered(shape), channels),
    "fourier-lines": lambda shape, channels: Fourier(cartesian_random(shape, 3, 0.2, seed=1), channels),
    "coils": lambda shape, channels: MultiCoil(
        _scattered(shape), simulate_sensitivities(4, shape).to(torch.complex128), channels, 400, 1e-13
    ),
}
CASES = [
    pytest.param(make, shape, channels, id=f"{name}-{shape[0]}x{shape[1]}-{channels}")
    for name, make in OPERATORS.items()
    for shape in ((8, 12), (9, 6), (7, 9))
    for channels in (1, 2)
]


def _image(shape: tuple[int, int], channels: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, channels, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _like(y: Tensor, seed: int = 1) -> Tensor:
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).sum().real


@pytest.mark.parametrize(("make", "shape", "channels"), CASES)
def test_adjoint(make: Make, shape: tuple[int, int], channels: int) -> None:
    operator, x = make(shape, channels), _image(shape, channels)
    y = _like(operator(x))
    torch.testing.assert_close(_inner(operator(x), y), _inner(x, operator.adjoint(y)))


@pytest.mark.parametrize(("make", "shape", "channels"), CASES)
def test_penrose_conditions(make: Make, shape: tuple[int, int], channels: int) -> None:
    operator, x = make(shape, channels), _image(shape, channels)
    y, z = _like(operator(x)), _image(shape, channels, 2)
    tolerance = {"rtol": 1e-6, "atol": 1e-7}
    torch.testing.assert_close(operator(operator.pinv(operator(x))), operator(x), **tolerance)
    torch.testing.assert_close(operator.pinv(operator(operator.pinv(y))), operator.pinv(y), **tolerance)
    w = _like(y, 3)
    onto, along = operator(operator.pinv(y)), operator.pinv(operator(x))  # both must be orthogonal projections
    torch.testing.assert_close(_inner(onto, w), _inner(y, operator(operator.pinv(w))), **tolerance)
    torch.testing.assert_close(_inner(along, z), _inner(x, operator.pinv(operator(z))), **tolerance)


@pytest.mark.parametrize("weight", [0.0, 0.3, 50.0])
@pytest.mark.parametrize(("make", "shape", "channels"), CASES)
def test_solve_meets_its_normal_equations(make: Make, shape: tuple[int, int], channels: int, weight: float) -> None:
    operator, x0 = make(shape, channels), _image(shape, channels)
    y = _like(operator(x0))
    x = operator.solve(x0, y, weight)
    gradient = weight * operator.adjoint(operator(x) - y) + (x - x0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-8, rtol=0)


def test_solve_takes_a_weight_for_each_image() -> None:
    for make in OPERATORS.values():
        operator, x0 = make((8, 12), 1), _image((8, 12), 1)
        y, weights = _like(operator(x0)), torch.tensor([0.5, 4.0], dtype=torch.float64)
        both = operator.solve(x0, y, weights[:, None, None, None])
        for i, weight in enumerate(weights):
            torch.testing.assert_close(both[i : i + 1], operator.solve(x0[i : i + 1], y[i : i + 1], float(weight)))


@pytest.mark.parametrize(("make", "shape", "channels"), CASES)
def test_autograd_is_the_adjoint(make: Make, shape: tuple[int, int], channels: int) -> None:
    operator, x = make(shape, channels), _image(shape, channels).requires_grad_()
    y = _like(operator(x.detach()))
    (gradient,) = torch.autograd.grad((operator(x) - y).abs().square().sum() / 2, x)
    torch.testing.assert_close(gradient, operator.adjoint(operator(x) - y).detach())
    (through,) = torch.autograd.grad(operator.pinv(operator(x)).square().sum(), x)
    assert through.isfinite().all()
    (through,) = torch.autograd.grad(operator.solve(x, y, 2.0).square().sum(), x)
    assert through.isfinite().all()


@pytest.mark.parametrize(("make", "shape", "channels"), CASES)
def test_single_precision_and_untouched_inputs(make: Make, shape: tuple[int, int], channels: int) -> None:
    operator, x = make(shape, channels), _image(shape, channels, dtype=torch.float32)
    y = operator(x)
    assert (y.real if y.is_complex() else y).dtype == torch.float32
    before = x.clone(), y.clone()
    for result in (operator.adjoint(y), operator.pinv(y), operator.solve(x, y, 1.5)):
        assert result.dtype == torch.float32 and result.shape == x.shape
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])
    reference = make(shape, channels).pinv(y.to(torch.complex128 if y.is_complex() else torch.float64))
    torch.testing.assert_close(operator.pinv(y).double(), reference, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("shape", [(6, 4), (5, 4), (5, 3)])
def test_fourier_inverse_is_that_of_its_matrix(shape: tuple[int, int], channels: int) -> None:
    operator = Fourier(_scattered(shape), channels)
    size = channels * shape[0] * shape[1]
    columns = operator(torch.eye(size, dtype=torch.float64).reshape(size, channels, *shape)).flatten(1).T
    matrix = torch.cat([columns.real, columns.imag])
    y = _like(operator(torch.zeros(1, channels, *shape, dtype=torch.float64)))
    expected = torch.linalg.pinv(matrix) @ torch.cat([y.real.flatten(), y.imag.flatten()])
    torch.testing.assert_close(operator.pinv(y).flatten(), expected)


@pytest.mark.parametrize("shape", [(6, 8), (7, 8), (7, 5)])
def test_k_space_of_a_real_image_is_hermitian(shape: tuple[int, int]) -> None:
    y = fft2c(_image(shape, 1).to(torch.complex128))
    torch.testing.assert_close(reflect(y).conj(), y)
    assert torch.equal(reflect(reflect(y)), y)
    flat = fft2c(torch.ones(shape, dtype=torch.complex128))
    assert flat.abs().argmax() == (shape[0] // 2) * shape[1] + shape[1] // 2


def test_half_of_k_space_determines_a_real_image_only() -> None:
    x = _image((8, 10), 1)
    half = torch.zeros(8, 10, dtype=torch.bool)
    half[:, :6] = True  # k <= 0
    half[0] = True
    torch.testing.assert_close(Fourier(half, 1).pinv(Fourier(half, 1)(x)), x)
    as_complex = torch.cat([x, torch.zeros_like(x)], 1)
    assert (Fourier(half, 2).pinv(Fourier(half, 2)(as_complex)) - as_complex).norm() > 0.1 * x.norm()


@pytest.mark.parametrize("channels", [1, 2])
def test_one_coil_of_ones_is_fourier(channels: int) -> None:
    shape = (8, 9)
    fourier = Fourier(_scattered(shape), channels)
    coil = MultiCoil(fourier.mask, torch.ones(1, *shape, dtype=torch.complex128), channels, tolerance=1e-12)
    x = _image(shape, channels)
    y = _like(fourier(x))
    torch.testing.assert_close(coil(x), fourier(x))
    torch.testing.assert_close(coil.adjoint(y), fourier.adjoint(y))
    torch.testing.assert_close(coil.pinv(y), fourier.pinv(y))
    torch.testing.assert_close(coil.solve(x, y, 3.0), fourier.solve(x, y, 3.0))


def test_each_image_of_a_batch_has_its_own_conjugate_gradients() -> None:
    operator = OPERATORS["coils"]((8, 12), 2)
    y = operator(_image((8, 12), 2)) * torch.tensor([1e4, 0.0], dtype=torch.float64)[:, None, None, None]
    both = operator.pinv(y)
    torch.testing.assert_close(both[:1], operator.pinv(y[:1]), rtol=1e-5, atol=1e-4)
    assert torch.equal(both[1], torch.zeros_like(both[1]))


def test_downsampling_a_constant_keeps_it() -> None:
    x = torch.full((1, 1, 6, 6), 3.0)
    assert torch.equal(Downsample(2)(x), torch.full((1, 1, 3, 3), 3.0))
    assert torch.equal(Downsample((3, 1)).pinv(torch.full((1, 1, 2, 6), 3.0)), x)


def test_low_pass_keeps_low_and_removes_high_frequencies() -> None:
    n = torch.arange(16)
    low, high = torch.cos(2 * torch.pi * 3 * n / 16), torch.cos(2 * torch.pi * 5 * n / 16)
    x = (low + high + 1).expand(1, 1, 16, 16)
    torch.testing.assert_close(LowPass(0.5)(x), (low + 1).expand(1, 1, 16, 16))


def test_simulated_sensitivities_are_smooth_normalised_and_seeded() -> None:
    maps = simulate_sensitivities(6, (40, 30), seed=3)
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(40, 30))
    assert torch.equal(maps, simulate_sensitivities(6, (40, 30), seed=3))
    assert not torch.equal(maps, simulate_sensitivities(6, (40, 30), seed=4))
    assert maps.diff(dim=1).abs().max() < 0.15 and maps.diff(dim=2).abs().max() < 0.15


def test_estimated_sensitivities_agree_up_to_the_phase_of_the_first_coil() -> None:
    shape = (48, 40)
    true = simulate_sensitivities(4, shape)
    image = torch.zeros(shape)
    image[8:40, 8:32] = 1 + torch.rand(32, 24, generator=torch.Generator().manual_seed(0))
    mask = cartesian_random(shape, 2, 0.4)
    kspace = mask * fft2c(true * image)
    assert calibration_width(kspace) == 16
    maps = estimate_sensitivities(kspace)
    inside = image > 0
    overlap = (true.conj() * maps).sum(0).abs()[inside]
    assert overlap.min() > 0.98 and maps.isfinite().all()
    torch.testing.assert_close(maps.abs().square().sum(0)[inside], torch.ones(int(inside.sum())), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Fourier(torch.zeros(4, 4)), "empty"),
        (lambda: Fourier(torch.full((4, 4), 0.5)), "other values"),
        (lambda: Fourier(torch.ones(4, 4), 3), "3 image channels"),
        (lambda: Fourier(torch.ones(4, 4))(torch.ones(1, 1, 4, 5)), r"\(4, 5\).*\(4, 4\)"),
        (lambda: Fourier(torch.ones(4, 4))(torch.ones(1, 2, 4, 4)), r"expected \(B, 1, Y, X\)"),
        (lambda: MultiCoil(torch.ones(4, 4), torch.ones(2, 4, 4)), "complex"),
        (lambda: MultiCoil(torch.ones(4, 4), torch.ones(2, 4, 5, dtype=torch.complex64)), r"\(4, 5\)"),
        (lambda: Downsample(2)(torch.ones(1, 1, 5, 4)), "4 x 4"),
        (lambda: Downsample(0), "factor 0"),
        (lambda: LowPass(0), "fraction 0"),
        (lambda: simulate_sensitivities(0, (4, 4)), "0 coils"),
        (lambda: estimate_sensitivities(fft2c(torch.ones(1, 9, 9) + 0j)), "at least 2 coils"),
        (
            lambda: estimate_sensitivities(
                make_mask("cartesian-random", (32, 32), 8, centre_fraction=0.1) * (torch.ones(3, 32, 32) + 0j)
            ),
            "3 points wide",
        ),
    ],
)
def test_wrong_input_is_explained(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        wrong()


@pytest.mark.parametrize("channels", [1, 2])
def test_whole_lines_give_what_conjugate_gradients_give(channels: int) -> None:
    shape = (12, 17)
    mask = make_mask("cartesian-random", shape, 3, centre_fraction=0.2, seed=1)
    maps = simulate_sensitivities(3, shape, 0).to(torch.complex128)
    lines = MultiCoil(mask, maps, channels)
    # sensitivities with a batch axis have no common eigenvectors, so this one iterates
    steps = MultiCoil(mask, maps[None], channels, iterations=2000, tolerance=1e-13)
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, channels, *shape, generator=g, dtype=torch.float64) for _ in range(2))
    assert torch.allclose(lines.solve(x, lines(y), 7.0), steps.solve(x, steps(y), 7.0), atol=1e-9)
    assert lines.adjoint(lines(lines.pinv(lines(y))) - lines(y)).abs().max() < 1e-5 * y.abs().max()
