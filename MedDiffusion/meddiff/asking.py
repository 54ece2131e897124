"""What a network that makes images is told: a class, covariates and a label map, and what stands for "not told"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .card import Card
from .codes import encode, spread
from .errors import BadInput, BadModel, choose
from .prior import Condition


@dataclass(frozen=True)
class Asked:
    """A class by its name, in a state; covariates, in their units; which of both are left out is not told."""

    label: str | None = None
    state: str | None = None
    covariates: Mapping[str, float] = field(default_factory=dict)

    def check(self, card: Card) -> None:
        """Raises BadInput for what the model cannot be told, or has never seen."""
        for name, value in self.covariates.items():
            about = card.covariates[choose(name, card.covariates, f"covariate of {card.id}")]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BadInput(f"the covariate {name} is {value!r}; expected a number in {about.unit}")
            if not about.min <= value <= about.max:
                raise BadInput(
                    f"the covariate {name} is {value:g} {about.unit}; {card.id} knows {about.min:g} to {about.max:g}"
                )
        needed = [name for name, about in card.covariates.items() if about.null is None]
        if untold := [name for name in needed if name not in self.covariates]:
            raise BadInput(
                f"{card.id} must be told {', '.join(needed)}, and {', '.join(untold)} did not come; it has learnt no "
                "value that stands for being told nothing"
            )
        if card.labels is None:
            if self.label is not None:
                raise BadInput(f"{card.id} knows no classes, and {self.label!r} was asked for; leave it out")
            return
        if self.state is not None and self.label is None:
            raise BadInput(f"the state {self.state!r} was asked for without a class; expected one of both")
        card.labels.index(self.label, self.state)

    def towards(self, other: Asked, share: float) -> Asked:
        """Covariates on the way to those of `other`; both name the same ones."""
        ends = {name: (value, other.covariates[name]) for name, value in self.covariates.items()}
        values = {name: (1 - share) * first + share * last for name, (first, last) in ends.items()}
        return Asked(self.label, self.state, values)


def tell(
    card: Card, rows: Sequence[Asked], size: Sequence[int], device: torch.device, labels: Tensor | None = None
) -> Condition | None:
    """What the network is told of the images of a batch, of `size` in its own space; `labels` (*size) is a label map.

    Covariates are scaled to [0, 1] by the range in the card, and go to cross-attention (B, 1, K), to constant channels
    beside the image, or to both (Pinaya 2022), as the network has room for; the label map stands beside it, too, coded
    as `codes.encode` does, or 0 for "not told". None for a network that can be told nothing.
    """
    parts = []
    numbers = torch.tensor([_scaled(card, row) for row in rows], dtype=torch.float32, device=device)
    classes, constants = beside_image(card)
    if constants:
        parts.append(spread(numbers, size))
    if classes:
        coded = torch.zeros(1, classes, *size) if labels is None else encode(labels[None], classes, "one-hot")
        parts.append(coded.to(device).expand(len(rows), *coded.shape[1:]))
    context = numbers[:, None] if card.network.arguments.get("context_features") else None
    names = card.labels
    index = None if names is None else torch.tensor([names.index(r.label, r.state) for r in rows], device=device)
    if not parts and context is None and index is None:
        return None
    return Condition(torch.cat(parts, 1) if parts else None, context, index, names.null if names else None)


def beside_image(card: Card) -> tuple[int, int]:
    """How many channels beside the image are for a label map and for covariates; raises BadModel for any others."""
    channels = card.network.arguments.get("concat_channels", 0)
    classes, numbers = len(card.segments) + 1, len(card.covariates)
    ways = {0: (0, 0), numbers: (0, numbers)}
    if card.segments:
        ways |= {classes: (classes, 0), classes + numbers: (classes, numbers)}
    if not isinstance(channels, int) or channels not in ways:
        raise BadModel(
            f"the network of {card.id} has {channels} channels beside the image; expected {classes} for its segments, "
            f"{numbers} for its covariates, or all of these"
        )
    return ways[channels]


def _scaled(card: Card, row: Asked) -> list[float]:
    """Each covariate from 0 to 1 in its range, its null value where it is not told."""
    told = ((row.covariates.get(name, about.null), about) for name, about in card.covariates.items())
    return [((about.min if value is None else value) - about.min) / (about.max - about.min) for value, about in told]


def may_be_untold(card: Card) -> bool:
    """Whether the network knows what "nothing is asked for" means: what guidance compares with."""
    return all(about.null is not None for about in card.covariates.values())
