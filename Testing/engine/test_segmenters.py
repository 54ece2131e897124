"""Networks that segment: any size, both codes, and a frequency filter that fits spectra of any size."""

from __future__ import annotations

import pytest
import torch
from random_weights import image, random
from torch import nn

from meddiff.codes import CODES, decode
from meddiff.errors import BadInput
from meddiff.networks import build
from meddiff.networks.medsegdiff import FrequencyParser, MedSegDiff
from meddiff.networks.segmenter import MaskDenoiser
from meddiff.prior import Condition

SMALL = {"classes": 3, "widths": (8, 16), "groups": 4, "patch": 2}
UNET = {**SMALL, "blocks": 1, "head_channels": 8}
SIZES = [(13, 21), (16, 16), (5, 9, 7), (8, 8, 8)]


def made(name: str, dims: int, **arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return random(build(name, {**(SMALL if name == "medsegdiff" else UNET), "spatial_dims": dims, **arguments}))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", ["mask-denoiser", "medsegdiff"])
@torch.no_grad()
def test_a_denoiser_gives_means_of_codes_of_any_size(name: str, code: str, size: tuple[int, ...]) -> None:
    network = made(name, len(size), code=code, images=2)
    assert isinstance(network, MaskDenoiser | MedSegDiff)
    x, cond = image(2, network.channels, *size), Condition(concat=image(2, 2, *size, seed=1))
    out = network(x, torch.tensor([3.0, 500.0]), cond)
    assert out.shape == x.shape and out.abs().max() <= 1 and out.std() > 1e-3
    if code == "one-hot":  # 2 p - 1 of three classes
        torch.testing.assert_close(out.sum(1), torch.full((2, *size), -1.0))
    assert (network(x, 3.0, cond) - out)[1].abs().max() > 1e-6  # the time counts
    other = Condition(concat=image(2, 2, *size, seed=2))
    assert (network(x, torch.tensor([3.0, 500.0]), other) - out).abs().max() > 1e-4  # and so does the image
    assert decode(out, 3, code).sum(1).sub(1).abs().max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_baseline_has_the_size_of_the_denoiser_and_needs_no_noise(size: tuple[int, ...]) -> None:
    baseline, denoiser = (made(name, len(size)) for name in ("one-pass-unet", "mask-denoiser"))
    count = [sum(p.numel() for p in network.parameters()) for network in (baseline, denoiser)]
    assert count[0] == count[1]
    logits = baseline(image(2, 1, *size))
    assert logits.shape == (2, 3, *size) and logits.std() > 1e-3
    blank = Condition(concat=image(2, 1, *size))
    assert isinstance(denoiser, MaskDenoiser)
    torch.testing.assert_close(logits, denoiser.logits(torch.zeros(2, 3, *size), 0.0, blank))


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_medsegdiff_makes_a_coarse_map_of_the_image_alone(size: tuple[int, ...]) -> None:
    network = made("medsegdiff", len(size))
    assert isinstance(network, MedSegDiff)
    picture = image(2, 1, *size)
    coarse = network.coarse(picture)
    assert coarse.shape == (2, 3, *size)
    for seed, time in ((0, 3.0), (1, 900.0)):
        _, beside = network.logits(image(2, 3, *size, seed=seed), time, Condition(concat=picture))
        torch.testing.assert_close(beside, coarse)
    with pytest.raises(BadInput, match="none came with the mask"):
        network(image(1, 3, *size), 3.0)


# --- the frequency parser ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(9,), (16, 16), (15, 10), (1, 7), (5, 6, 7)])
@torch.no_grad()
def test_a_new_parser_changes_nothing(size: tuple[int, ...]) -> None:
    x = image(2, 3, *size)
    torch.testing.assert_close(FrequencyParser(3, len(size))(x), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (15, 10), (32, 18)])
@torch.no_grad()
def test_a_filter_means_the_same_at_every_size(size: tuple[int, int]) -> None:
    """A map that falls linearly with the last frequency halves a wave of a quarter cycle a voxel, whatever the size."""
    parser = FrequencyParser(1, 2)
    parser.real.copy_(torch.linspace(1, 0, parser.real.shape[-1]).expand_as(parser.real))
    at = torch.fft.rfftfreq(size[1])
    torch.testing.assert_close(parser.filter(size).real[0, 0, 0], 1 - 2 * at)
    wave = torch.cos(2 * torch.pi * float(at[3]) * torch.arange(size[1])).expand(1, 1, *size)
    torch.testing.assert_close(parser(wave), (1 - 2 * float(at[3])) * wave, rtol=1e-4, atol=1e-5)


def test_negative_frequencies_have_places_of_their_own() -> None:
    parser = FrequencyParser(1, 2, grid=5)
    with torch.no_grad():
        parser.real.copy_(torch.linspace(-1, 1, 5)[:, None].expand_as(parser.real))  # the frequency along y, twice
    torch.testing.assert_close(parser.filter((12, 8)).real[0, 0, :, 0], 2 * torch.fft.fftfreq(12))


def test_the_parser_learns_in_half_precision() -> None:
    parser = FrequencyParser(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        out = parser(image(1, 2, 6, 7, 8).bfloat16())
    out.float().square().sum().backward()
    assert out.dtype == torch.bfloat16 and parser.real.grad is not None and parser.real.grad.abs().max() > 0
