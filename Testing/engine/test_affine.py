"""The affine map between two images: found again where it is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meddiff.affine import Affine, fit_affine
from meddiff.errors import BadInput
from meddiff.similarity import box
from meddiff.warp import compose, warp


def texture(*size: int) -> Tensor:
    x = box(box(torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0)), 5), 5)
    return x / x.std()


def known(dims: int) -> Affine:
    g = torch.Generator().manual_seed(1)
    matrix = torch.matrix_exp(0.05 * torch.randn(dims, dims, generator=g))
    return Affine(matrix, 1.5 * torch.randn(dims, generator=g))


@pytest.mark.parametrize("size", [(40, 46), (30, 34, 28)])
def test_a_known_map_is_found_again(size: tuple[int, ...]) -> None:
    truth, moving = known(len(size)), texture(*(n + 4 for n in size))
    fixed = warp(moving, truth.field(size, moving.shape[2:]))
    found = fit_affine(moving, fixed)
    miss = found.field(size, moving.shape[2:]) - truth.field(size, moving.shape[2:])
    before = truth.field(size, size)
    assert miss.square().sum(1).sqrt().mean() < 0.25 < 0.8 < before.square().sum(1).sqrt().mean()
    assert not found.matrix.requires_grad and torch.is_grad_enabled()


@pytest.mark.parametrize("size", [(12, 15), (9, 11, 13)])
def test_the_field_is_the_map(size: tuple[int, ...]) -> None:
    there = known(len(size))
    back = Affine(there.matrix.inverse(), -there.matrix.inverse() @ there.shift)
    inner = compose(there.field(size, size), back.field(size, size))[(..., *(slice(4, n - 4) for n in size))]
    assert inner.abs().max() < 1e-4
    torch.testing.assert_close(there.after(back).field(size, size), torch.zeros(1, len(size), *size), atol=1e-5, rtol=0)
    torch.testing.assert_close(there.after(there).matrix, there.matrix @ there.matrix)
    same = Affine(torch.eye(len(size)), torch.zeros(len(size)))
    assert same.field(size, size).abs().max() == 0
    half = tuple(n // 2 for n in size)
    torch.testing.assert_close(same.places(size, size, 2)[0, 0].flatten()[0], torch.tensor(0.5))
    assert same.places(size, size, 2).shape[2:] == half


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(BadInput, match="expected more"):
        fit_affine(torch.zeros(1, 1, 7, 9, 9), torch.zeros(1, 1, 9, 9, 9))


def test_a_constant_image_stays_where_it_is() -> None:
    found = fit_affine(torch.zeros(1, 1, 12, 12, 12), texture(12, 12, 12), steps=5)
    torch.testing.assert_close(found.matrix, torch.eye(3))
    assert found.shift.abs().max() < 1e-3
