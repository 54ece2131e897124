"""Spaces: what was encoded comes back, whatever its size; MONAI's autoencoders behind one signature."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from meddiff.errors import BadInput
from meddiff.networks import build
from meddiff.networks.autoencoder import AutoencoderInPrecision, KLAutoencoder, VQAutoencoder
from meddiff.noises import gaussian
from meddiff.spaces import Latent, Pixel

SMALL = {"widths": (8, 8), "blocks": 1, "codes": 16, "code_channels": 3}


class Shuffle:
    """An autoencoder that loses nothing: neighbours become channels, turned by an orthogonal matrix."""

    channels, code_channels, downsample = 1, 4, 2

    def __init__(self) -> None:
        self.turn = torch.linalg.qr(image(4, 4))[0]

    def encode(self, x: Tensor) -> Tensor:
        return torch.einsum("cd,bdyx->bcyx", self.turn, functional.pixel_unshuffle(x, 2))

    def quantise(self, z: Tensor) -> Tensor:
        return z

    def decode(self, z: Tensor) -> Tensor:
        return functional.pixel_shuffle(torch.einsum("cd,bcyx->bdyx", self.turn, z), 2)


def image(*shape: int, seed: int = 0) -> Tensor:
    return gaussian(seed, shape[0])(torch.empty(shape, dtype=torch.float64))


def vq(**arguments: object) -> VQAutoencoder:
    torch.manual_seed(0)
    network = build("vqvae", {**SMALL, **arguments}).eval()
    assert isinstance(network, VQAutoencoder)
    return network


@given(st.tuples(st.integers(1, 19), st.integers(1, 19)), st.sampled_from([1, 2, 3]), st.sampled_from([0.25, 1.0, 3.0]))
def test_what_was_encoded_comes_back(size: tuple[int, int], multiple: int, scale: float) -> None:
    space, x = Latent(Shuffle(), scale, multiple), image(2, 1, *size)
    z = space.encode(x)
    assert tuple(z.shape) == space.shape(x.shape)
    assert all(n % multiple == 0 for n in z.shape[2:])
    torch.testing.assert_close(space.decode(z, size), x)


def test_codes_have_the_scale_asked_for() -> None:
    x = image(4, 1, 32, 32)
    assert float(Latent(Shuffle(), 2.5).encode(x).norm()) == pytest.approx(2.5 * float(x.norm()), rel=1e-9)


def test_pixels_are_left_as_they_are() -> None:
    x = image(1, 2, 5, 7)
    assert Pixel().encode(x) is x and Pixel().decode(x, (5, 7)) is x and Pixel().enlarge(x, (5, 7)) is x
    assert Pixel().shape(x.shape) == (1, 2, 5, 7)
    with pytest.raises(BadInput, match=r"expected \(5, 8\)"):
        Pixel().decode(x, (5, 8))


def test_a_map_of_codes_lies_over_its_image() -> None:
    space, x = Latent(Shuffle(), multiple=4), torch.zeros(1, 1, 13, 18, dtype=torch.float64)
    x[..., 6:8, 9:11] = 1  # by the padding of 1 and 3 pixels, in the middle of one code and its neighbour
    loud = space.encode(x).abs().sum(1, keepdim=True)
    large = space.enlarge((loud > 0).double(), (13, 18))
    assert large.shape == x.shape
    assert large[x > 0].min() > 0.5
    y, col = (torch.arange(n, dtype=x.dtype) for n in x.shape[2:])
    weight = large[0, 0] / large.sum()
    centre = float((weight.sum(1) * y).sum()), float((weight.sum(0) * col).sum())
    assert centre == pytest.approx((6.5, 9.5), abs=1.0)


def test_codes_of_another_image_are_refused() -> None:
    space = Latent(Shuffle(), multiple=2)
    with pytest.raises(BadInput, match=r"codes of \(4, 4\) positions came; an image of \(9, 4\) pixels has \(6, 2\)"):
        space.decode(torch.zeros(1, 4, 4, 4), (9, 4))
    with pytest.raises(BadInput, match="codes of"):
        space.enlarge(torch.zeros(1, 1, 4, 4), (9, 4))
    with pytest.raises(BadInput, match=r"takes \(B, 1, \*spatial\)"):
        space.encode(torch.zeros(1, 2, 8, 8))
    with pytest.raises(FrozenInstanceError):
        space.scale = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(("name", "kind"), [("vqvae", VQAutoencoder), ("autoencoder-kl", KLAutoencoder)])
@pytest.mark.parametrize("size", [(16, 24), (13, 5), (8, 9, 7)])
@torch.no_grad()
def test_an_image_of_any_size_goes_there_and_back(name: str, kind: type, size: tuple[int, ...]) -> None:
    special = {"codes": 16} if name == "vqvae" else {"groups": 4}
    network = build(
        name, {"spatial_dims": len(size), "widths": [8, 8], "blocks": 1, "code_channels": 3, **special}
    ).eval()
    assert isinstance(network, kind)
    space, x = Latent(network, 0.5), image(2, 1, *size).float()
    z = space.encode(x)
    assert tuple(z.shape) == space.shape(x.shape) and z.std() > 1e-4
    assert space.decode(z, size).shape == x.shape
    torch.testing.assert_close(network(x), Latent(network).decode(z / 0.5, size))


@torch.no_grad()
def test_decoding_takes_the_nearest_codes_of_the_book() -> None:
    network = vq()
    z = network.encode(image(2, 1, 16, 16).float()) + network.book[5, :, None, None]
    distance = (z[:, None] - network.book[None, :, :, None, None]).square().sum(2)
    codes = network.quantise(z)
    torch.testing.assert_close(codes, network.book[distance.argmin(1)].movedim(-1, 1))
    torch.testing.assert_close(network.quantise(codes), codes)
    torch.testing.assert_close(Latent(network).decode(z, (16, 16)), network.decode(codes))
    torch.testing.assert_close(Latent(network, quantise=False).decode(z, (16, 16)), network.decode(z))
    indices = network.vqvae.quantizer.quantize(z)  # MONAI's own search
    assert torch.equal(network.nearest(z), indices)


def test_gradients_pass_the_codes() -> None:
    network = vq()
    x = image(1, 1, 8, 8).float().requires_grad_()
    Latent(network).decode(Latent(network).encode(x), (8, 8)).square().sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0


@torch.no_grad()
def test_lower_precision_keeps_types_and_the_book() -> None:
    network = vq(codes=64)
    low, x = AutoencoderInPrecision(network, torch.bfloat16), image(1, 1, 32, 32).float()
    z = low.encode(x)
    assert z.dtype is torch.float32 and low.decode(z).dtype is torch.float32
    torch.testing.assert_close(z, network.encode(x), atol=0.05, rtol=0.1)
    assert (low.channels, low.code_channels, low.downsample) == (1, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):  # the search is not done in eight bits
        assert torch.equal(low.quantise(z), network.quantise(z))
