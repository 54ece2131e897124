"""Networks that are taught by others: critics that tell what is drawn from what is real, left behind by the export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

TAUGHT = "taught."  # what the names of the weights begin with that go into the model


class Critic(nn.Sequential):
    """How real each patch of (B, 1, Y, X) looks (Isola 2017, PatchGAN). Spectral normalisation (Miyato 2018) bounds its
    slope but for the last layer, so that no gradient penalty is needed."""

    def __init__(self, widths: Sequence[int]):
        layers: list[nn.Module] = []
        for a, b in zip((1, *widths), widths, strict=False):
            conv = nn.Conv2d(a, b, 4, stride=2, padding=1)
            layers += [spectral_norm(conv), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))


class Taught(nn.Module):
    """The network of a model, and the critics of what it makes, by name; one checkpoint holds them all."""

    def __init__(self, taught: nn.Module, critics: dict[str, Critic]):
        super().__init__()
        self.taught, self.critics = taught, nn.ModuleDict(critics)

    def fooled(self, name: str, made: Tensor) -> Tensor:
        """(1 - D(made))^2 (Mao 2017, LSGAN): how far the critic is from taking it for real. It learns nothing here."""
        critic = self.critics[name]
        with _frozen(critic):
            return (critic(made).float() - 1).square().mean()

    def told_apart(self, name: str, real: Tensor, made: Tensor) -> Tensor:
        """(1 - D(real))^2 + D(made)^2: the critic's own loss. What made the images learns nothing here."""
        critic = self.critics[name]
        return (critic(real).float() - 1).square().mean() + critic(made.detach()).float().square().mean()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Gradients pass through the network, and leave none in it."""
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


def shipped(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights of `network` alone, of a checkpoint that holds its teachers, too."""
    if not any(name.startswith(TAUGHT) for name in weights):
        return weights
    return {name: weights[TAUGHT + name] for name in network.state_dict()}


def grain(like: Tensor, size: float, seed: int) -> Tensor:
    """Gaussian noise of this standard deviation: what is soft and what is sharp look more alike to a critic."""
    g = torch.Generator().manual_seed(seed)
    return (size * torch.randn(like.shape, generator=g)).to(like)
