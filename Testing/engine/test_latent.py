"""Latent models: one folder with two weight files, the lessons that make them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from meddiff import models
from meddiff.card import Card
from meddiff.errors import BadModel
from meddiff.networks import build
from meddiff.networks.autoencoder import VQAutoencoder
from meddiff.noises import gaussian
from meddiff.sampling import drain, sample
from meddiff.spaces import Latent, Pixel

VQ = {"name": "vqvae", "arguments": {"widths": [8, 8], "blocks": 1, "codes": 16, "code_channels": 3}}
KL = {"name": "autoencoder-kl", "arguments": {"widths": [8, 8], "code_channels": 3, "groups": 4}}
UNET = {
    "name": "diffusion-unet",
    "arguments": {"channels": 3, "widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8, "labels": 3},
}


def image(*shape: int, seed: int = 0) -> Tensor:
    return gaussian(seed, shape[0])(torch.empty(shape))


def random_state(named: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = build(named["name"], named["arguments"]).state_dict()
    return {name: 0.2 * torch.randn(value.shape, generator=generator) for name, value in sorted(state.items())}


@pytest.fixture
def latent_card(tiny_card: Card) -> Card:
    latent = {"autoencoder": VQ, "weights": "autoencoder.safetensors", "scale": 0.5}
    return Card.model_validate({**tiny_card.model_dump(), "id": "tiny-latent", "network": UNET, "latent": latent})


@pytest.fixture
def latent_folder(latent_card: Card, tmp_path: Path) -> Path:
    return models.save(latent_card, random_state(UNET), tmp_path / "tiny-latent", random_state(VQ, 1)).folder


def test_a_latent_model_comes_back_with_its_space(latent_folder: Path) -> None:
    model, state = models.load(latent_folder, "cpu", "fp32"), random_state(VQ, 1)
    assert isinstance(model.space, Latent)
    assert (model.space.scale, model.space.multiple) == (0.5, 2)
    twin = build("vqvae", VQ["arguments"])
    twin.load_state_dict({name: value.half().float() for name, value in state.items()})
    assert isinstance(twin, VQAutoencoder)
    x = image(2, 1, 18, 25)
    torch.testing.assert_close(model.space.encode(x), Latent(twin, 0.5, 2).encode(x))
    z = drain(sample(model.prior, image(*model.space.shape(x.shape)), model.prior.path(3), noise=gaussian(0, 2)))
    out = model.space.decode(z, x.shape[2:])
    assert out.shape == x.shape and out.isfinite().all()
    assert not any(p.requires_grad for p in model.space.autoencoder.network.parameters())  # type: ignore[attr-defined]


def test_a_model_of_images_lives_in_pixels(tiny_model: Path) -> None:
    assert models.load(tiny_model, "cpu").space == Pixel()


def test_an_altered_autoencoder_is_refused(latent_folder: Path) -> None:
    path = latent_folder / "autoencoder.safetensors"
    state = load_file(path)
    name = "vqvae.encoder.blocks.0.conv.weight"
    save_file({**state, name: state[name] + 0.01}, path)
    with pytest.raises(BadModel, match=r"autoencoder\.safetensors was altered"):
        models.load(latent_folder, "cpu")
    path.unlink()
    with pytest.raises(BadModel, match=r"autoencoder\.safetensors is missing"):
        models.load(latent_folder, "cpu")


def test_weights_of_another_autoencoder_are_refused(latent_card: Card, tmp_path: Path) -> None:
    other = {"name": "vqvae", "arguments": {**VQ["arguments"], "codes": 32}}
    folder = models.save(latent_card, random_state(UNET), tmp_path / "other", random_state(other)).folder
    with pytest.raises(BadModel, match=r"has shape \(32,\); the network of the card expects \(16,\)"):
        models.load(folder, "cpu")


def test_a_latent_model_without_its_autoencoder_is_refused(latent_card: Card, tmp_path: Path) -> None:
    folder = models.save(latent_card, random_state(UNET), tmp_path / "half").folder
    with pytest.raises(BadModel, match=r"lists no autoencoder\.safetensors"):
        models.load(folder, "cpu")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"network": {**UNET, "arguments": {**UNET["arguments"], "channels": 4}}}, "has 4 channels; its codes have 3"),
        ({"latent": {"autoencoder": UNET, "weights": "autoencoder.safetensors", "scale": 1.0}}, "which is none"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    latent_card: Card, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    card = Card.model_validate({**latent_card.model_dump(), **change})
    assert card.latent is not None
    other = random_state(card.latent.autoencoder.model_dump())
    folder = models.save(card, random_state(card.network.model_dump()), tmp_path / "odd", other).folder
    with pytest.raises(BadModel, match=complaint):
        models.load(folder, "cpu")


def test_numbers_too_large_for_half_precision_stay_whole(latent_card: Card, tmp_path: Path) -> None:
    state = random_state(VQ)
    name = "vqvae.quantizer.quantizer.ema_cluster_size"
    state[name] = torch.full_like(state[name], 1e6)  # uses of a code, of a large batch
    folder = models.save(latent_card, random_state(UNET), tmp_path / "large", state).folder
    found = load_file(folder / "autoencoder.safetensors")
    assert torch.equal(found[name], state[name])
    assert found["vqvae.quantizer.quantizer.ema_w"].dtype is torch.float16
    models.load(folder, "cpu")
