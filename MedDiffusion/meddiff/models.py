"""A model ready to run: card, verified weights, network, prior and intensity scale."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from safetensors.torch import save_file

from .card import Card
from .devices import InPrecision, channels_last, pick_device, pick_precision
from .files import whole
from .intensity import Intensity
from .levels import make_schedule
from .networks import build
from .prior import Condition, Prior
from .store import WEIGHTS, ModelFolder, check_state, find, load_weights, seal


@dataclass(frozen=True)
class Model:
    """What recipes are given: the prior on its device, how intensities map to it, and the card that says the rest."""

    card: Card
    sha256: str
    prior: Prior
    intensity: Intensity
    device: torch.device
    dtype: torch.dtype

    def condition(self, label: str | None, batch: int) -> Condition | None:
        """The condition "all images show `label`" (None: not told); raises BadInput for a label the card lacks."""
        labels = self.card.labels
        if labels is None:
            return None
        index = torch.full((batch,), labels.index(label), device=self.device)
        return Condition(label=index, null_label=labels.null)


def load(model: str | os.PathLike[str], device: str = "auto", precision: str = "auto") -> Model:
    """Find, verify and build a model. Raises BadInput (unknown) or BadModel (altered, cut short, of another shape)."""
    found = find(model)
    card, where = found.card, pick_device(device)
    state = load_weights(found.folder)
    network = build(card.network.name, dict(card.network.arguments))
    check_state(state, {name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict({name: value.float() for name, value in state.items()})
    network = channels_last(network.eval().requires_grad_(False).to(where))
    dtype = pick_precision(precision, where)
    schedule = make_schedule(card.schedule.name, **card.schedule.arguments)
    prior = Prior(InPrecision(network, dtype), schedule, card.predicts)
    return Model(card, found.sha256, prior, Intensity.from_dict(card.intensity), where, dtype)


def save(card: Card, weights: dict[str, torch.Tensor], folder: str | os.PathLike[str]) -> ModelFolder:
    """Write a model folder: weights in half precision, then the card with their size and sha256."""
    os.makedirs(folder, exist_ok=True)
    with whole(os.path.join(folder, WEIGHTS)) as part:
        save_file({name: value.half().contiguous() for name, value in weights.items()}, part)
    seal(card, folder)
    return find(os.path.join(folder, ""))
