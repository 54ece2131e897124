"""MONAI's UNet behind one signature: any size, any channel count, two and three dimensions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from meddiff.errors import BadInput, BadModel
from meddiff.levels import vp_linear
from meddiff.networks import NETWORKS, build
from meddiff.networks.patches import to_depth, to_space
from meddiff.networks.unet import DiffusionUNet, diffusion_unet
from meddiff.noises import gaussian
from meddiff.prior import Condition, Prior
from meddiff.sampling import drain, sample


def unet(**arguments: object) -> DiffusionUNet:
    """A small network of random weights; MONAI's own are zero in the last layer, and hide what came before."""
    small = {"widths": (8, 16), "blocks": 1, "groups": 4, "head_channels": 8}
    network = diffusion_unet(**{**small, **arguments}).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            fan = math.prod(weight.shape[1:]) if weight.ndim > 1 else 4
            weight.copy_(torch.randn(weight.shape, generator=generator) / fan**0.5)
    return network


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (13, 21), (5, 3), (1, 9)])
@torch.no_grad()
def test_the_answer_has_the_shape_of_the_image(size: tuple[int, int], patch: int) -> None:
    x = image(2, 1, *size)
    out = unet(patch=patch)(x, 3.0)
    assert out.shape == x.shape and out.isfinite().all() and out.std() > 1e-3


@pytest.mark.parametrize("patch", [1, 2])
@torch.no_grad()
def test_it_works_in_three_dimensions(patch: int) -> None:
    network = unet(spatial_dims=3, patch=patch, attention=(False, True))
    x = image(1, 1, 5, 8, 7)
    out = network(x, 3.0)
    assert out.shape == x.shape and out.std() > 1e-3
    changed = x.clone()
    changed[0, 0, 0] += 1  # the slices know of each other
    assert (network(changed, 3.0) - out)[0, 0, -1].abs().max() > 1e-6


@torch.no_grad()
def test_padding_does_not_shift_the_image() -> None:
    network, x = unet(patch=2), image(1, 1, 14, 13)  # four voxels make one of the coarsest level
    padded = functional.pad(x, (1, 2, 1, 1))
    torch.testing.assert_close(network(x, 3.0), network(padded, 3.0)[..., 1:15, 1:14])


@torch.no_grad()
def test_unknown_channels_are_folded_into_the_batch() -> None:
    network = unet(labels=3, concat_channels=1)
    x, concat, label = image(2, 2, 8, 8), image(2, 1, 8, 8, seed=1), torch.tensor([0, 1])
    both = network(x, 7.0, Condition(concat, label=label))
    for channel in range(2):
        one = network(x[:, [channel]], 7.0, Condition(concat, label=label))
        torch.testing.assert_close(both[:, [channel]], one)


@torch.no_grad()
def test_a_network_of_two_channels_takes_them_together() -> None:
    network, x = unet(channels=2), image(1, 2, 8, 8)
    changed = x.clone()
    changed[:, 1] += 1
    assert (network(changed, 1.0) - network(x, 1.0))[:, 0].abs().max() > 1e-6
    assert network(image(1, 4, 8, 8), 1.0).shape == (1, 4, 8, 8)
    for channels in (1, 3):
        with pytest.raises(BadInput, match=f"takes images of 2 channel.*got {channels}"):
            network(image(1, channels, 8, 8), 1.0)


@pytest.mark.parametrize("size", [(4, 6), (2, 4, 6)])
@pytest.mark.parametrize("patch", [1, 2])
def test_depth_and_space_are_exact_inverses(patch: int, size: tuple[int, ...]) -> None:
    x = image(2, 3, *size)
    deep = to_depth(x, patch)
    assert deep.shape == (2, 3 * patch ** len(size), *(n // patch for n in size))
    assert torch.equal(to_space(deep, patch), x)
    deep = image(*deep.shape, seed=1)
    assert torch.equal(to_depth(to_space(deep, patch), patch), deep)


def test_a_patch_is_made_of_neighbours_of_one_channel() -> None:
    x = torch.arange(2 * 4 * 4 * 4).reshape(1, 2, 4, 4, 4).float()
    deep = to_depth(x, 2)
    assert torch.equal(deep[0, 8:, 1, 0, 1], x[0, 1, 2:4, 0:2, 2:4].flatten())


@torch.no_grad()
def test_no_label_means_the_null_label() -> None:
    network, x = unet(labels=4), image(2, 1, 8, 8)
    null, other = (Condition(label=torch.full((2,), k), null_label=3) for k in (3, 1))
    assert torch.equal(network(x, 5.0), network(x, 5.0, null))
    assert torch.equal(network(x, 5.0, other.null()), network(x, 5.0, null))
    assert not torch.allclose(network(x, 5.0, other), network(x, 5.0, null))


@torch.no_grad()
def test_context_reaches_the_attention() -> None:
    network, x = unet(context_features=6, attention=(False, True)), image(2, 2, 8, 8)
    first, second = image(2, 3, 6, seed=1), image(2, 3, 6, seed=2)
    out = network(x, 5.0, Condition(context=first))
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, 5.0, Condition(context=second)))
    crossed = torch.stack([first[0], second[1]])  # the first image keeps its context, in both of its channels
    torch.testing.assert_close(network(x, 5.0, Condition(context=crossed))[0], out[0])


@torch.no_grad()
def test_time_may_differ_in_a_batch_and_matters() -> None:
    network, x = unet(), image(2, 2, 8, 8)
    out = network(x, torch.tensor([3.0, 600.0]))
    torch.testing.assert_close(out[:1], network(x[:1], 3.0))
    torch.testing.assert_close(out[1:], network(x[1:], 600))
    assert not torch.allclose(network(x, 3.0), network(x, 600.0))


def test_attention_is_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, fused = [], functional.scaled_dot_product_attention

    def count(*arguments: object, **names: object) -> Tensor:
        calls.append(arguments)
        return fused(*arguments, **names)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", count)
    with torch.no_grad():
        unet(attention=(False, True))(image(1, 1, 8, 8), 1.0)
    assert calls


def test_half_precision_weights_answer_in_the_precision_of_the_image() -> None:
    network, x = unet().to(torch.bfloat16), image(1, 1, 8, 8).to(torch.bfloat16)
    with torch.no_grad():
        assert network(x, 4.0).dtype == torch.bfloat16


def test_it_is_a_prior_that_gradients_pass_through() -> None:
    prior = Prior(unet(), vp_linear(20), "v")
    x = image(1, 2, 9, 9).requires_grad_()
    level = prior.schedule.levels[10]
    (slope,) = torch.autograd.grad(prior.denoise(x, level)[:, 0].sum(), x)
    assert slope[:, 0].abs().min() > 0 and not slope[:, 1].any()
    result = drain(sample(prior, x.detach(), prior.path(3), noise=gaussian(0, 1)))
    assert result.shape == x.shape and result.isfinite().all()


def test_networks_are_reached_by_name_alone() -> None:
    assert NETWORKS["diffusion-unet"] is diffusion_unet
    network = build("diffusion-unet", {"widths": [8, 16], "blocks": 1, "groups": 4, "head_channels": 8})
    assert isinstance(network, DiffusionUNet)
    with pytest.raises(BadInput, match="did you mean diffusion-unet"):
        build("difusion-unet", {})


@pytest.mark.parametrize(
    "arguments", [{"width": [8]}, {"widths": [8, 16], "groups": 5}, {"widths": [8], "patch": "big"}]
)
def test_impossible_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(BadModel, match="cannot be built"):
        build("diffusion-unet", arguments)
