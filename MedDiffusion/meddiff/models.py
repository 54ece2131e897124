"""A model ready to run: card, verified weights, network, prior and intensity scale."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from safetensors.torch import save_file

from .card import Card
from .devices import InPrecision, channels_last, pick_device, pick_precision
from .errors import BadInput, BadModel
from .files import whole
from .intensity import Intensity
from .levels import make_schedule
from .networks import build
from .prior import Condition, Network, Prior
from .store import WEIGHTS, ModelFolder, check_state, find, load_weights, seal
from .store import models as installed


@dataclass(frozen=True)
class Model:
    """What recipes are given: the network on its device, how intensities map to it, and the card that says the rest."""

    card: Card
    sha256: str
    network: Network
    intensity: Intensity
    device: torch.device
    dtype: torch.dtype
    companions: dict[str, Model] = field(default_factory=dict, compare=False)  # those that were asked for so far

    @cached_property
    def prior(self) -> Prior:
        """The network as a diffusion prior; raises BadModel for one that makes its output in one pass."""
        schedule = self.card.schedule
        if schedule is None:
            raise BadModel(f"{self.card.id} is a network of one pass; expected a diffusion model, with a schedule")
        return Prior(self.network, make_schedule(schedule.name, **schedule.arguments), self.card.predicts)

    def companion(self, part: str) -> Model:
        """The model that plays `part` beside this one; raises BadInput where the card names none or it is missing."""
        if part not in self.companions:
            if part not in self.card.companions:
                has = ", ".join(self.card.companions) or "none"
                raise BadInput(f"this method needs a {part}, and {self.card.id} comes with {has}; choose another method")
            precision = "bf16" if self.dtype is torch.bfloat16 else "fp32"
            self.companions[part] = load(self.card.companions[part], str(self.device), precision)
        return self.companions[part]

    def uncalibrated(self) -> Model:
        """This model, its uncertainty as it comes out of the samples: what calibration starts from."""
        return replace(self, card=self.card.model_copy(update={"uncertainty": {}}))

    def condition(self, label: str | None, batch: int, state: str | None = None) -> Condition | None:
        """The condition "all images show `label`, in `state`" (None: not told); raises BadInput for unknown words."""
        labels = self.card.labels
        if labels is None:
            return None
        index = torch.full((batch,), labels.index(label, state), device=self.device)
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
    return Model(card, found.sha256, InPrecision(network, dtype), Intensity.from_dict(card.intensity), where, dtype)


Loader = Callable[[str, str, str], Model]  # model, device, precision; `load` is one


class Keeper:
    """`load` that keeps the last `size` models: a run with one of them starts at once, with the same voxels."""

    def __init__(self, size: int = 2):
        self._size, self._kept = size, dict[tuple[str, ...], Model]()

    def __call__(self, model: str, device: str = "auto", precision: str = "auto") -> Model:
        found = find(model)
        where = pick_device(device)
        # the card's sha256 stands for every byte of the weights: a model that was replaced is another one
        others = [m.sha256 for m in installed() if m.card.id in found.card.companions.values()]
        key = (str(found.folder), found.sha256, str(where), str(pick_precision(precision, where)), *others)
        kept = self._kept.pop(key, None)
        while len(self._kept) >= self._size:  # before the next one is loaded: never more than `size` in memory
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept or load(model, device, precision)
        return self._kept[key]


def save(card: Card, weights: dict[str, torch.Tensor], folder: str | os.PathLike[str]) -> ModelFolder:
    """Write a model folder: weights in half precision, then the card with their size and sha256."""
    os.makedirs(folder, exist_ok=True)
    with whole(os.path.join(folder, WEIGHTS)) as part:
        save_file({name: value.half().contiguous() for name, value in weights.items()}, part)
    seal(card, folder)
    return find(os.path.join(folder, ""))
