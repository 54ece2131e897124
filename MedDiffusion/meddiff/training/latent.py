"""Latent models in two lessons: an autoencoder, then a diffusion prior of its codes."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..devices import InPrecision
from ..errors import BadInput
from ..models import load
from ..networks.autoencoder import KLAutoencoder, VQAutoencoder
from ..noises import Gaussian, seed_of
from ..spaces import Latent
from ..store import find
from .course import Course
from .lessons import Slices
from .slices import SliceCache

KL_WEIGHT = 1e-6  # Rombach 2022, app. G
REVIVE_EVERY, LIVELY = 20, 0.25  # steps; uses of a code a batch, below which it is dead
MEASURED = 128  # images that the scale of codes is measured on


class AutoencoderLesson(Slices):
    """|x - D(E(x))| + |grad x - grad D(E(x))|, with the codes pulled to the book (van den Oord 2017, VQ-VAE, eq. 3;
    its entries are moving averages, app. A) or to N(0, 1) (Kingma 2014). No network judges the images: none is
    downloaded, and textures that are not there are not invented."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        x = self.cache.batch(step).images.to(device)
        if isinstance(network, VQAutoencoder):
            out, prior = self._quantised(network, x, step)
        else:
            out, prior = self._gaussian(cast(KLAutoencoder, network), x, step)
        error = out.float() - x
        return error.abs().mean() + sum(d.abs().mean() for d in _slopes(error)) + prior

    def _quantised(self, network: VQAutoencoder, x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        z = network.encode(x)
        with torch.autocast(x.device.type, enabled=False):  # distances in bfloat16 would find other codes
            z = z.float()
            if step % REVIVE_EVERY == 0:
                revive(network, z.detach(), seed_of(self.plan.seed, "revive", step), everything=step == 0)
            commitment, codes = network.vqvae.quantizer(z)
        return network.decode(codes), commitment

    def _gaussian(self, network: KLAutoencoder, x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        mean, std = (each.float() for each in network.posterior(x))
        noise = Gaussian([seed_of(self.plan.seed, "code", step, k) for k in range(len(x))])
        divergence = 0.5 * (mean.square() + std.square() - 2 * std.clamp_min(1e-12).log() - 1)
        return network.decode(mean + std * noise(mean)), KL_WEIGHT * divergence.flatten(1).sum(1).mean()


def _slopes(x: Tensor) -> list[Tensor]:
    return [x.diff(dim=axis) for axis in range(2, x.ndim)]


@torch.no_grad()
def revive(network: VQAutoencoder, z: Tensor, seed: int, everything: bool = False) -> int:
    """Move codes that nobody uses to where codes are missing: onto z (B, C, *), drawn in proportion to the squared
    distance to the book (Dhariwal 2020, Jukebox, sec. 3.1; Arthur 2007, k-means++). Returns how many were moved."""
    quantiser = network.vqvae.quantizer.quantizer
    dead = quantiser.ema_cluster_size < LIVELY
    if everything:
        dead = torch.ones_like(dead)
    count = int(dead.sum())
    if not count:
        return 0
    rows = z.movedim(1, -1).flatten(0, -2)
    distance = (rows - network.quantise(z).movedim(1, -1).flatten(0, -2)).square().sum(1)
    g = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(distance.cpu().double() + 1e-12, count, replacement=count > len(rows), generator=g)
    places = rows[chosen.to(z.device)]
    quantiser.embedding.weight[dead] = places
    quantiser.ema_cluster_size[dead] = 4 * LIVELY  # alive for some hundred batches
    quantiser.ema_w[dead] = 4 * LIVELY * places
    return count


class LatentNetwork(nn.Module):
    """What is trained and what it stands on: one checkpoint holds the prior, the frozen autoencoder and the scale."""

    scale: Tensor

    def __init__(self, prior: nn.Module, autoencoder: VQAutoencoder | KLAutoencoder):
        super().__init__()
        self.prior, self.autoencoder = prior, autoencoder.requires_grad_(False).eval()
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        space = Latent(cast(VQAutoencoder, self.autoencoder), float(self.scale), getattr(self.prior, "multiple", 1))
        return space.encode(x).float()


class LatentLesson(Slices):
    """A diffusion prior (Ho 2020, eq. 14) of the codes that the plan's autoencoder makes of the slices, scaled to unit
    variance (Rombach 2022, app. G)."""

    def __init__(self, cache: SliceCache):
        super().__init__(cache)
        if not self.plan.autoencoder:
            raise BadInput(f"the plan {self.plan.id} names no autoencoder; expected the id or the folder of a model")

    def build(self) -> nn.Module:
        network = LatentNetwork(super().build(), trained_autoencoder(self.plan.autoencoder))
        network.scale.fill_(1 / float(self._codes(network).std()))
        return network

    def _codes(self, network: LatentNetwork) -> Tensor:
        size = self.plan.training.batch
        return torch.cat([network.encode(self.cache.batch(k).images) for k in range(-(-MEASURED // size))])

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch, network = self.cache.batch(step), cast(LatentNetwork, network)
        codes = network.encode(batch.images.to(device))
        x, times, target = self.noised(batch._replace(images=codes, targets=codes), step)
        cond = self.told(batch, x.shape[2:], device)
        return (network.prior(x, times.to(device), cond).float() - target).square().mean()


def trained_autoencoder(model: str) -> VQAutoencoder | KLAutoencoder:
    """The network of an autoencoder's model folder; raises BadInput for a model of another kind."""
    loaded = load(model, "cpu", "fp32")
    network = cast(InPrecision, loaded.network).network
    if not isinstance(network, VQAutoencoder | KLAutoencoder):
        raise BadInput(f"{model} is a {loaded.card.network.name}; expected an autoencoder, as plans of that kind make")
    return network


class Halves(NamedTuple):
    """The weights of a model, and for a latent one those of its autoencoder, the card's `latent`, pixels a code."""

    weights: dict[str, Tensor]
    autoencoder: dict[str, Tensor] | None = None
    latent: dict[str, Any] | None = None
    downsample: int = 1


def split(plan: Course, state: dict[str, Tensor]) -> Halves:
    """What the checkpoint of a `LatentNetwork` holds, in its parts."""
    prior, autoencoder = (
        {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
        for part in ("prior.", "autoencoder.")
    )
    latent = {
        "autoencoder": find(plan.autoencoder).card.network.model_dump(),
        "weights": "autoencoder.safetensors",
        "scale": float(f"{float(state['scale']):.6g}"),
    }
    return Halves(prior, autoencoder, latent, trained_autoencoder(plan.autoencoder).downsample)
