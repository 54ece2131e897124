"""What a recipe is given of a model that segments or registers: its networks as functions, over windows of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .devices import InPrecision
from .errors import BadInput
from .models import Model
from .networks.darl import Darl
from .networks.medsegdiff import MedSegDiff
from .networks.morpher import Morpher, OnePassMorpher
from .prior import Network, Prior
from .registry import Recipe
from .tiling import Index
from .windows import Windowed, in_windows

Call = Callable[..., Tensor]


def denoiser(model: Model) -> Prior | None:
    """The denoiser; None for a network of one pass."""
    if model.card.schedule is None:
        return None
    prior = model.prior
    return Prior(Windowed(prior.network, model.card.window), prior.schedule, prior.predicts)


def one_pass(model: Model) -> Call | None:
    """What makes logits (B, K, *spatial) of images; None for a network that is told a level."""
    if model.card.predicts != "label":
        return None
    return _windowed(model, lambda image: model.network(image, 0.0, None))


def coarse(model: Model) -> Call | None:
    """What makes the coarse map of a MedSegDiff; None for other networks."""
    network = _bare(model)
    return _windowed(model, network.coarse) if isinstance(network, MedSegDiff) else None


def reader(model: Model) -> Call | None:
    """What reads vessels off images and the noise in them; None for other networks."""
    network = _bare(model)
    return _windowed(model, network.read) if isinstance(network, Darl) else None


def deformer(model: Model) -> Call | None:
    """What makes a velocity (B, D, *spatial) of a moving image and another one; None for other networks."""
    network = _bare(model)
    return _windowed(model, network.deform) if isinstance(network, Morpher | OnePassMorpher) else None


def of_two_kinds(model: Model, recipe: Recipe, one_pass: bool, baseline: str) -> Model:
    """The model whose network a recipe runs, where there is one recipe of one pass, `baseline`, beside those of
    diffusion: this one, or its companion; raises BadInput where it is of the other kind."""
    if recipe.part and not one_pass:
        return model.companion(recipe.part)  # or says that there is none
    if one_pass and not recipe.part:
        raise BadInput(f"{model.card.id} is a network of one pass; choose the method {baseline}, or a diffusion model")
    return model


def _bare(model: Model) -> Network | nn.Module:
    """The network without its precision."""
    return model.network.network if isinstance(model.network, InPrecision) else model.network


def _windowed(model: Model, function: Call) -> Call:
    """`function` of images of one size, in the model's precision and over its windows."""

    def call(*images: Tensor) -> Tensor:
        def part(index: Index) -> Tensor:
            return function(*(image[(..., *index)] for image in images))

        with torch.autocast(images[0].device.type, model.dtype, enabled=model.dtype is not torch.float32):
            return in_windows(part, images[0].shape[2:], model.card.window)

    return call
