"""Lesions, painted and filled: what they change, what they leave alone, and that they are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meddiff.errors import BadInput
from meddiff.lesions import RATIOS, blur, bright_lesions, deep_white, fill, paint, white_matter

SHAPE = (12, 96, 96)


def brain(white: float = 600.0, noise: float = 6.0) -> np.ndarray:
    """A ball of white matter with a ventricle in it, and air around."""
    _, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    inside = (y**2 + x**2) < 40**2
    ventricle = (y**2 + x**2) < 8**2
    values = np.random.default_rng(0).normal(white, noise, SHAPE)
    return np.where(ventricle, 0.2 * white, np.where(inside, values, 0.0)).astype(np.float32)


def disc(y: int, x: int, radius: float = 5.0) -> np.ndarray:
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return np.broadcast_to(mask, SHAPE) & (np.arange(SHAPE[0]) > 3)[:, None, None]


@pytest.mark.parametrize("contrast", RATIOS)
def test_a_painted_lesion_has_the_contrast_of_lesions_and_nothing_else_changes(contrast: str) -> None:
    image, mask = torch.tensor(brain()[6:7]), torch.tensor(disc(30, 30)[6:7])
    low, high = RATIOS[contrast]
    for seed in range(8):
        g = torch.Generator().manual_seed(seed)
        out, painted = paint(image, mask, contrast, g, 600.0)
        assert painted.equal(mask)  # all of it is white matter
        core = torch.tensor(disc(30, 30, 2.0)[6:7])
        assert low * 0.9 - 0.05 < float((out[core] / image[core]).mean()) < high * 1.1 + 0.05
        far = ~torch.tensor(disc(30, 30, 10.0)[6:7])
        assert out[far].equal(image[far])
        assert out.equal(paint(image, mask, contrast, torch.Generator().manual_seed(seed), 600.0)[0])


def test_the_faintest_lesions_can_be_left_out() -> None:
    image, mask, core = (
        torch.tensor(brain()[6:7]),
        torch.tensor(disc(30, 30)[6:7]),
        torch.tensor(disc(30, 30, 2.0)[6:7]),
    )
    low, high = RATIOS["FLAIR"]

    def strengths(faintest: float) -> list[float]:
        drawn = (paint(image, mask, "FLAIR", torch.Generator().manual_seed(k), 600.0, faintest) for k in range(24))
        return [float((out[core] / image[core]).mean()) for out, _ in drawn]

    assert min(strengths(0.0)) < low + 0.1 * (high - low) < low + 0.5 * (high - low) < min(strengths(0.6)) * 1.05


def test_deep_white_matter_is_what_t1_shows_bright() -> None:
    t1 = torch.full((1, 40, 40), 800.0)
    t1[:, :, 20:] = 560.0  # grey matter
    t1[:, 30:] = 0.0
    found = deep_white(t1, 800.0)
    assert found[0, 4:26, :18].all() and not found[0, :, 22:].any() and not found[0, 32:].any()


def test_only_white_matter_takes_a_lesion() -> None:
    image, everywhere = torch.tensor(brain()[6:7]), torch.ones(1, *SHAPE[1:], dtype=torch.bool)
    out, painted = paint(image, everywhere, "FLAIR", torch.Generator().manual_seed(0), 600.0)
    assert not painted[image < 300].any() and painted.float().mean() > 0.4
    assert out[image == 0].abs().max() == 0
    empty, none = paint(image, torch.zeros_like(everywhere), "FLAIR", torch.Generator().manual_seed(0), 600.0)
    assert not none.any() and empty.equal(image)


def test_filling_takes_a_lesion_away() -> None:
    healthy, mask = brain(), disc(30, 30)
    ill = np.where(mask, healthy * 1.5, healthy).astype(np.float32)
    filled = fill(ill, mask)
    assert abs(filled[mask].mean() / healthy[mask].mean() - 1) < 0.02
    assert 0.3 < filled[mask].std() / healthy[mask].std() < 1.7  # it has the grain of tissue: it is no flat patch
    far = ~np.broadcast_to(disc(30, 30, 12.0).any(0), SHAPE)
    np.testing.assert_array_equal(filled[far], ill[far])
    np.testing.assert_array_equal(fill(ill, np.zeros_like(mask)), ill)


def test_filling_beside_a_ventricle_does_not_let_it_flow_in() -> None:
    healthy, mask = brain(), disc(48, 60, 3.5)  # it touches the ventricle
    filled = fill(np.where(mask, healthy * 1.5, healthy).astype(np.float32), mask)
    core = mask & (healthy > 300)
    assert abs(filled[core].mean() / 600 - 1) < 0.05


def test_bright_spots_are_taken_for_lesions_and_small_ones_are_not() -> None:
    image, mask = brain(), disc(30, 30)
    image = np.where(mask, image * 1.6, image)
    image[6, 60, 30] *= 1.6
    found = bright_lesions(image.astype(np.float32))
    assert found[mask].mean() > 0.9 and not found[6, 60, 30] and found[~disc(30, 30, 7.0)].mean() < 0.001


def test_white_matter_of_what_is_no_brain() -> None:
    assert white_matter(brain(), "FLAIR") == pytest.approx(600, rel=0.02)
    with pytest.raises(BadInput, match="no voxel above 0"):
        white_matter(np.zeros((3, 3)), "FLAIR")
    with pytest.raises(BadInput, match="contrast"):
        white_matter(brain(), "PET")


def test_blur_has_the_width_that_it_says() -> None:
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    soft = blur(point, 2.0)[0]
    x = torch.arange(41.0) - 20
    assert float((soft.sum(0) * x**2).sum()) == pytest.approx(4.0, rel=0.03) and float(soft.sum()) == pytest.approx(1)
