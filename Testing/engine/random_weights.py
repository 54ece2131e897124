"""Images and networks of random numbers, the same each time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random(network: nn.Module) -> nn.Module:
    """Random weights: MONAI's own are zero in the last layer, and hide what came before."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=g)
    return network.eval()
