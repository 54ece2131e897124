"""A model ready to run: card, verified weights, network, prior and intensity scale."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .card import Card, Named
from .devices import InPrecision, channels_last, check_room, pick_device, pick_precision
from .errors import BadInput, BadModel
from .files import whole
from .intensity import Intensity
from .levels import make_schedule
from .networks import build
from .networks.autoencoder import AutoencoderInPrecision, KLAutoencoder, VQAutoencoder
from .prior import Condition, Network, Prior
from .spaces import Latent, Pixel, Space
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
    space: Space = Pixel()  # noqa: RUF009 - frozen, holds no state; where the prior lives
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
                raise BadInput(
                    f"this method needs a {part}, and {self.card.id} comes with {has}; choose another method"
                )
            precision, name = "bf16" if self.dtype is torch.bfloat16 else "fp32", self.card.companions[part]
            try:
                found = find(name)
            except BadModel:
                raise
            except BadInput as error:
                raise BadInput(
                    f"this method needs the {part} of {self.card.id}, the model {name!r}, which is not installed "
                    f"({error}); install it, or choose another method"
                ) from None
            self.companions[part] = load(found.folder, str(self.device), precision)
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
    dtype = pick_precision(precision, where)
    check_room(sum(file.bytes for name, file in card.files.items() if name.endswith(".safetensors")), where, card.id)
    network = _built(card.network, load_weights(found.folder), where)
    space = _space(found, getattr(network, "multiple", 1), where, dtype)
    if isinstance(space, Latent) and space.autoencoder.code_channels != getattr(network, "channels", 0):
        has = getattr(network, "channels", "no")
        raise BadModel(f"the network of {card.id} has {has} channels; its codes have {space.autoencoder.code_channels}")
    intensity = Intensity.from_dict(card.intensity)
    return Model(card, found.sha256, InPrecision(network, dtype), intensity, where, dtype, space)


def _built(named: Named, state: dict[str, Tensor], where: torch.device) -> nn.Module:
    """The network of that name with these weights; raises BadModel where they do not belong together."""
    network = build(named.name, dict(named.arguments))
    check_state(state, {name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict({name: value.float() for name, value in state.items()})
    return channels_last(network.eval().requires_grad_(False).to(where))


def _space(found: ModelFolder, multiple: int, where: torch.device, dtype: torch.dtype) -> Space:
    latent = found.card.latent
    if latent is None:
        return Pixel()
    autoencoder = _built(latent.autoencoder, load_weights(found.folder, latent.weights), where)
    if not isinstance(autoencoder, VQAutoencoder | KLAutoencoder):
        raise BadModel(f"the autoencoder of {found.card.id} is named {latent.autoencoder.name}, which is none")
    return Latent(AutoencoderInPrecision(autoencoder, dtype), latent.scale, multiple)


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


def save(
    card: Card,
    weights: dict[str, Tensor],
    folder: str | os.PathLike[str],
    autoencoder: dict[str, Tensor] | None = None,
    *,
    half: bool = True,
) -> ModelFolder:
    """Write a model folder: weights, in half precision unless they are to stay as they are, then the card with their
    size and sha256.

    `autoencoder` are the weights of a latent model's other half; the card names their file.
    """
    os.makedirs(folder, exist_ok=True)
    parts = {WEIGHTS: weights}
    if card.latent is not None and autoencoder is not None:
        parts[card.latent.weights] = autoencoder
    for name, state in parts.items():
        with whole(os.path.join(folder, name)) as part:
            save_file({key: (_half(value) if half else value).contiguous() for key, value in state.items()}, part)
    seal(card, folder)
    return find(os.path.join(folder, ""))


def _half(value: Tensor) -> Tensor:
    """The tensor in half precision, where its numbers fit: counts may be larger than 65504."""
    half = value.half()
    return half if bool(half.isfinite().all()) or not bool(value.isfinite().all()) else value
