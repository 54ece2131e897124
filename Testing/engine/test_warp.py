"""Fields: closed forms of exponentials, compositions, inverses and determinants, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from meddiff.errors import BadInput
from meddiff.warp import (
    compose,
    exponential,
    folds,
    identity,
    jacobian_determinant,
    resized,
    roughness,
    warp,
)

SIZES = [(21, 26), (17, 22, 19)]


def places(size: Sequence[int]) -> Tensor:
    return identity(torch.zeros(1, len(size), *size, dtype=torch.float64))


def centred(size: Sequence[int]) -> Tensor:
    middle = torch.tensor([(n - 1) / 2 for n in size], dtype=torch.float64)
    return places(size) - middle.reshape(1, -1, *(1,) * len(size))


def linear(matrix: Tensor, size: Sequence[int]) -> Tensor:
    """A (p - c), c the centre of the grid."""
    return torch.einsum("ij,bj...->bi...", matrix, centred(size))


def matrix(dims: int, seed: int = 0, size: float = 0.15) -> Tensor:
    return size * torch.randn(dims, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth(size: Sequence[int], height: float, seed: int = 0) -> Tensor:
    """Sines that vanish at the edge, so that nothing flows in or out."""
    g = torch.Generator().manual_seed(seed)
    phase = [torch.sin(torch.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n) ** 2 for n in size]
    window = torch.ones((), dtype=torch.float64)
    for each in phase:
        window = window.unsqueeze(-1) * each
    waves = []
    for _ in size:
        wave = torch.zeros(1, dtype=torch.float64)
        for axis, n in enumerate(size):
            shift = float(torch.rand((), generator=g)) * 6
            along = torch.sin(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n + shift)
            wave = wave + along.reshape([-1 if a == axis else 1 for a in range(len(size))])
        waves.append(wave / len(size))
    return height * window * torch.stack(waves)[None]


def inside(x: Tensor, margin: int) -> Tensor:
    return x[(..., *(slice(margin, n - margin) for n in x.shape[2:]))]


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_shift_moves_voxels_and_order_is_that_of_the_axes(size: tuple[int, ...]) -> None:
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([2.0, -1.0, 3.0][: len(size)]).reshape(1, -1, *(1,) * len(size))
    u = shift.expand(2, -1, *size)
    for mode in ("bilinear", "nearest"):
        moved = warp(image, u, mode)
        rolled = torch.roll(image, [-2, 1, -3][: len(size)], tuple(range(2, image.ndim)))
        torch.testing.assert_close(inside(moved, 4), inside(rolled, 4), atol=1e-5, rtol=0)
    assert warp(image, u, outside="zeros")[:, :, -1].abs().max() == 0
    torch.testing.assert_close(warp(image, u)[:, :, -1], warp(image, u)[:, :, -2])  # the edge holds
    torch.testing.assert_close(warp(image, 0 * u), image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_warping_is_linear_and_its_gradient_is_its_adjoint(size: tuple[int, ...]) -> None:
    """<W x, y> = <x, W^T y> with W^T by backpropagation; and the gradient in u is that of finite differences."""
    u = smooth(size, 1.5)
    g = torch.Generator().manual_seed(1)
    x, y, d = (torch.randn(1, 1, *size, generator=g, dtype=torch.float64).requires_grad_() for _ in range(3))
    moved = warp(x, u, outside="zeros")
    (back,) = torch.autograd.grad((moved * y).sum(), x)
    torch.testing.assert_close((warp(d, u, outside="zeros") * y).sum(), (d * back).sum())
    ramp = linear(matrix(len(size)), size)[:, :1].requires_grad_(False)
    v = u.clone().requires_grad_()
    (slope,) = torch.autograd.grad(warp(ramp, v).sum(), v)
    torch.testing.assert_close(inside(slope, 4)[0, :, 3, 3].reshape(len(size), -1)[:, 0], matrix(len(size))[0])


@pytest.mark.parametrize("size", SIZES)
def test_the_exponential_of_a_linear_velocity_is_the_matrix_exponential(size: tuple[int, ...]) -> None:
    a = matrix(len(size), size=0.08)
    a = a - a.T + 0.02 * matrix(len(size), 1)  # nearly a rotation: little leaves the grid
    expected = linear(torch.matrix_exp(a) - torch.eye(len(size)), size)
    torch.testing.assert_close(inside(exponential(linear(a, size), 10), 6), inside(expected, 6), atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_exponentials_compose_as_a_group(size: tuple[int, ...]) -> None:
    v = smooth(size, 2.0)
    there, back = exponential(v), exponential(-v)
    assert there.abs().max() > 0.8
    for loop in (compose(there, back), compose(back, there)):
        assert loop.abs().max() < 0.1  # of trilinear interpolation
    halves = exponential(0.5 * v)
    assert (compose(halves, halves) - there).abs().max() < 0.1
    assert torch.equal(exponential(0 * v), 0 * v) and torch.equal(exponential(v, 0), v)
    assert folds(there) == 0 == folds(back)


@pytest.mark.parametrize("size", SIZES)
def test_composition_warps_twice(size: tuple[int, ...]) -> None:
    outer, inner = smooth(size, 1.5, 1), smooth(size, 1.5, 2)
    ramp = linear(matrix(len(size)), size)
    torch.testing.assert_close(
        inside(warp(warp(ramp, outer), inner), 3), inside(warp(ramp, compose(outer, inner)), 3), atol=2e-2, rtol=0
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_determinant_of_an_affine_field_is_that_of_its_matrix(size: tuple[int, ...]) -> None:
    a = matrix(len(size))
    expected = torch.linalg.det(torch.eye(len(size)) + a)
    found = jacobian_determinant(linear(a, size))
    assert found.shape == (1, *size)
    torch.testing.assert_close(found, expected.expand_as(found))


@pytest.mark.parametrize("size", SIZES)
def test_folds_are_counted(size: tuple[int, ...]) -> None:
    u = torch.zeros(1, len(size), *size)
    assert folds(u) == 0
    mirrored = -2 * centred(size)
    assert folds(mirrored) == (100 if len(size) == 3 else 0)  # two mirrors are a rotation
    u[0, 0, 5:] = -2 * torch.arange(size[0] - 5).reshape(-1, *(1,) * (len(size) - 1)).float()
    assert folds(u) == pytest.approx(100 * (size[0] - 5) / size[0])  # from the slope's foot on
    mask = torch.zeros(1, *size, dtype=torch.bool)
    assert folds(u, mask) == 0
    mask[:, :4] = True
    assert folds(u, mask) == 0
    u[0, 0, 0] = torch.nan
    assert folds(u, mask) > 0


@pytest.mark.parametrize("size", SIZES)
def test_smoothness_knows_affine_fields(size: tuple[int, ...]) -> None:
    a = matrix(len(size))
    torch.testing.assert_close(roughness(linear(a, size)), a.square().sum())
    assert roughness(torch.ones(1, len(size), *size)) == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_field_is_resized_with_its_voxels(size: tuple[int, ...]) -> None:
    """u in millimetres stays what it is: linear fields about the centre, away from the edge."""
    twice = tuple(2 * n for n in size)
    a = matrix(len(size))
    torch.testing.assert_close(inside(resized(linear(a, size), twice), 2), inside(linear(a, twice), 2))
    torch.testing.assert_close(inside(resized(linear(a, twice), size), 2), inside(linear(a, size), 2))
    u = linear(a, size)
    assert resized(u, size) is u


def test_half_precision_moves_by_the_same_places() -> None:
    image, u = torch.randn(1, 1, 16, 18, 20), smooth((16, 18, 20), 2.0).float()
    exact = warp(image, u)
    assert (warp(image.bfloat16(), u) - exact).abs().max() < 0.05
    assert warp(image.bfloat16(), u).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(warp(image, u), exact)
        torch.testing.assert_close(jacobian_determinant(u), jacobian_determinant(u.double()).float())


def test_far_displacements_stay_numbers() -> None:
    image, u = torch.randn(1, 1, 5, 6, 7), torch.full((1, 3, 5, 6, 7), 1e6)
    assert torch.equal(warp(image, u, outside="zeros"), torch.zeros_like(image))
    torch.testing.assert_close(warp(image, u), image[..., -1:, -1:, -1:].expand_as(image))
    assert exponential(u).isfinite().all()


@pytest.mark.parametrize(
    ("image", "u"), [((1, 1, 8, 8), (1, 3, 8, 8)), ((2, 1, 8, 8), (1, 2, 8, 8)), ((1, 1, 8, 8), (1, 3, 8, 8, 8))]
)
def test_what_does_not_belong_together_is_refused(image: tuple[int, ...], u: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"expected \(B, C, \*size\)"):
        warp(torch.zeros(image), torch.zeros(u))
    with pytest.raises(BadInput, match="2 or more along each axis"):
        jacobian_determinant(torch.zeros(1, 2, 1, 5))
    with pytest.raises(BadInput, match="unknown interpolation"):
        warp(torch.zeros(1, 1, 8, 8), torch.zeros(1, 2, 8, 8), "cubic")
