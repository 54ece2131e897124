"""Slices, padding and patches come back as the volume that they were taken from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddiff.cuts import patches
from meddiff.errors import BadInput
from meddiff.tiling import batches, blend, occupied, pad_to_multiple, slices, stack

PLANES = ["axial", "coronal", "sagittal"]


def noise(*shape: int) -> torch.Tensor:
    """Float32 noise of a fixed seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("plane", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_slices_cut_across_their_axis(plane: str, axis: int) -> None:
    volume = noise(3, 4, 5)
    images = slices(volume, plane)
    assert images.shape == (volume.shape[axis], 1, *(n for i, n in enumerate(volume.shape) if i != axis))
    assert torch.equal(images[2, 0], volume.select(axis, 2))
    assert images.data_ptr() == volume.data_ptr()
    assert torch.equal(stack(images, plane), volume)


@pytest.mark.parametrize("plane", PLANES)
def test_numpy_and_complex_volumes_are_sliced_without_a_copy(plane: str) -> None:
    array = noise(3, 4, 5).numpy() * np.complex64(1j)
    images = slices(array, plane)
    array[1, 1, 1] = 99
    assert np.array_equal(stack(images, plane).numpy(), array) and 99 in images.real


def test_slices_refuse_what_they_cannot_cut() -> None:
    with pytest.raises(BadInput, match=r"\(4, 5\)"):
        slices(noise(4, 5), "axial")
    with pytest.raises(BadInput, match="unknown plane 'axal'; did you mean axial"):
        slices(noise(3, 4, 5), "axal")
    with pytest.raises(BadInput, match=r"\(3, 2, 4, 5\); expected one channel"):
        stack(noise(3, 2, 4, 5), "axial")


@pytest.mark.parametrize("unit", [1.0, 1j])
def test_occupied_finds_the_slices_that_vary(unit: complex) -> None:
    images = torch.zeros(5, 1, 3, 3, dtype=torch.complex64 if unit == 1j else torch.float32)
    images[1] = 7 * unit  # constant, though not empty
    images[2, 0, 2, 2] = 1e-6 * unit
    images[4, 0, 0, 0] = -unit
    assert occupied(images).tolist() == [2, 4]
    assert occupied(images[:2]).tolist() == []


@given(st.integers(0, 50), st.integers(1, 60))
def test_batches_cover_each_index_once(count: int, size: int) -> None:
    parts = [list(range(count))[part] for part in batches(count, size)]
    assert [i for part in parts for i in part] == list(range(count))
    assert all(len(part) == size for part in parts[:-1]) and all(parts)


@pytest.mark.parametrize("size", [0, -3])
def test_batches_refuse_an_empty_batch_at_once(size: int) -> None:
    with pytest.raises(BadInput, match=f"batch size is {size}"):
        batches(10, size)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 8)), min_size=1, max_size=3), st.booleans())
def test_padding_is_symmetric_minimal_and_undone(axes: list[tuple[int, int]], is_complex: bool) -> None:
    shape, multiple = zip(*axes, strict=True)
    x = noise(2, 3, *shape) + 10
    x = x * (1 + 1j) if is_complex else x
    padded, crop = pad_to_multiple(x, multiple)
    for old, new, step, part in zip(shape, padded.shape[2:], multiple, crop, strict=True):
        assert new % step == 0 and 0 <= new - old < step
        assert 0 <= (new - part.stop) - part.start <= 1
    assert torch.equal(padded[(..., *crop)], x)
    assert torch.count_nonzero(padded) == x.numel()


def test_padding_by_one_multiple_and_a_value() -> None:
    padded, crop = pad_to_multiple(torch.zeros(1, 1, 5, 8), 4, value=-1.0)
    assert padded.shape == (1, 1, 8, 8) and crop == (slice(1, 6), slice(0, 8))
    assert (padded == -1).sum() == 3 * 8 and (padded[0, 0, 0] == -1).all() and (padded[0, 0, 6:] == -1).all()


@pytest.mark.parametrize(("shape", "multiple"), [((1, 1, 4, 4), 0), ((1, 1, 4, 4), (2, 2, 2)), ((1, 1), 2)])
def test_padding_refuses_what_does_not_fit(shape: tuple[int, ...], multiple: int | tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"multiple .* and shape \(1, 1"):
        pad_to_multiple(torch.zeros(shape), multiple)


def test_patches_are_as_few_as_the_overlap_allows() -> None:
    assert [window[0].start for window in patches((20,), 10, 0.8)] == [0, 2, 4, 6, 8, 10]
    assert len(patches((96, 96, 96), 64, 0.5)) == 8
    assert patches((5, 4), 8) == [(slice(0, 5), slice(0, 4))]


boxes = st.lists(st.tuples(st.integers(1, 13), st.integers(1, 7)), min_size=1, max_size=3)


@settings(max_examples=60)
@given(boxes, st.sampled_from([0, 0.25, 0.5, 0.9]))
def test_patches_cover_evenly_with_the_overlap_asked_for(axes: list[tuple[int, int]], overlap: float) -> None:
    shape, size = zip(*axes, strict=True)
    windows = patches(shape, size, overlap)
    covered = np.zeros(shape, int)
    for window in windows:
        covered[window] += 1
        assert tuple(w.stop - w.start for w in window) == tuple(map(min, size, shape))
    assert covered.min() >= 1 and len({tuple(w.start for w in window) for window in windows}) == len(windows)
    for axis, (n, p) in enumerate(axes):
        starts = sorted({window[axis].start for window in windows})
        steps = np.diff(starts)
        assert starts[0] == 0 and starts[-1] == max(0, n - p)
        assert (steps <= max(1, p * (1 - overlap) + 1e-9)).all()
        assert not steps.size or np.ptp(steps) <= 1


@settings(max_examples=40)
@given(boxes, st.sampled_from([(0, torch.float32), (0.3, torch.complex64), (0.5, torch.float32), (0.8, torch.float64)]))
def test_blending_the_identity_is_exact(axes: list[tuple[int, int]], how: tuple[float, torch.dtype]) -> None:
    shape, size = zip(*axes, strict=True)
    overlap, kind = how
    x = torch.randn(2, *shape, dtype=kind, generator=torch.Generator().manual_seed(1)) + 3
    out = blend(((window, x[(..., *window)]) for window in patches(shape, size, overlap)), shape)
    assert out.dtype == kind and torch.allclose(out, x, rtol=1e-6, atol=1e-6)


def test_blending_is_exact_for_a_large_patch() -> None:
    x = noise(96, 80, 64)
    out = blend(((window, x[window]) for window in patches(x.shape, 64, 0.25)), x.shape)
    assert (out - x).abs().max() < 1e-6


def test_blending_hides_the_seams() -> None:
    """Each patch adds its own constant, as a network of limited view does: the sum changes slowly all the same."""
    windows = patches((64,), 32, 0.5)
    out = blend(((window, torch.full((32,), float(i))) for i, window in enumerate(windows)), (64,))
    assert len(windows) == 3 and out[0] == 0 and out[-1] == 2
    assert out.diff().min() > -1e-6 and out.diff().abs().max() < 0.11  # 1 without the taper, 0.5 with equal weights
    assert out[32] == pytest.approx(1, abs=0.02)  # the centre of the middle patch is its own


def test_blend_takes_pieces_one_at_a_time() -> None:
    alive: list[int] = []

    def pieces() -> Iterator[tuple[tuple[slice, ...], torch.Tensor]]:
        for i, window in enumerate(patches((12,), 4, 0.5)):
            alive.append(i)
            yield window, torch.full((4,), float(len(alive)))

    out = blend(pieces(), (12,))
    assert alive == [0, 1, 2, 3, 4] and out[0] == 1 and out[-1] == 5


def test_blend_sums_half_precision_as_float32_and_has_a_gradient() -> None:
    x = noise(20).half().requires_grad_()
    out = blend(((window, x[window]) for window in patches((20,), 8, 0.5)), (20,))
    assert out.dtype == torch.float32 and torch.allclose(out, x.float(), atol=1e-6)
    out.sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, torch.ones_like(x), atol=2e-3)


def test_patches_and_blend_refuse_what_does_not_fit() -> None:
    with pytest.raises(BadInput, match="overlap is 1.0"):
        patches((8, 8), 4, 1.0)
    with pytest.raises(BadInput, match=r"patch size \(4, 4, 4\) and shape \(8, 8\)"):
        patches((8, 8), (4, 4, 4))
    with pytest.raises(BadInput, match=r"patch size 0 and shape \(8,\)"):
        patches((8,), 0)
    with pytest.raises(BadInput, match=r"shape \(3,\) came for a window of \(4,\)"):
        blend([((slice(0, 4),), torch.ones(3))], (8,))
    with pytest.raises(BadInput, match="4 of 8 voxels of .* came without a patch"):
        blend([((slice(0, 4),), torch.ones(4))], (8,))
    with pytest.raises(BadInput, match="every voxel"):
        blend([], (8,))
