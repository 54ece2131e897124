"""What every training plan says, of whatever kind of model: `fit` and `export` need no more than this."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..card import Covariate


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Augment(Strict):
    """Random changes that keep a slice plausible; probabilities, degrees, and relative sizes."""

    flip: float = 0.5
    affine: float = 0.5
    rotate_degrees: float = 10.0
    scale: float = 0.1
    shear: float = 0.05
    gamma: float = 0.2
    gain: float = 0.1


class Optimisation(Strict):
    """AdamW, cosine decay to zero, exponential moving average of the weights."""

    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = 100
    ema: float = Field(0.999, gt=0, lt=1)


class Course(Strict):
    """A plan without what only its kind of model has: which images, and how they are drawn."""

    id: str
    seed: int = 0
    spacing_mm: tuple[float, ...]
    intensity: dict[str, Any]
    labels: tuple[str, ...] = ()
    states: dict[str, float] = {}  # of a label, and how often each is drawn
    covariates: dict[str, Covariate] = {}  # in the order in which the network is told of them
    network: dict[str, Any]
    schedule: dict[str, Any] | None = None
    predicts: str
    start_from: str = ""  # a model whose weights the network starts with
    autoencoder: str = ""  # a model (its id, or a folder) whose codes a latent prior is trained on
    companions: dict[str, str] = {}
    training: Optimisation

    @property
    def classes(self) -> int:
        """How many classes the network is told: names in every state, and none; `Labels.index` has their order."""
        return len(self.labels[:-1]) * (1 + len(self.states)) + 1


class _ToldOptimisation(Optimisation, extra="ignore"):
    """The part of a training that every kind of plan has."""


class _ToldCourse(Course, extra="ignore"):
    """The part of a plan that every kind has."""

    training: _ToldOptimisation


def read_course(text: str) -> Course:
    """What a checkpoint says of its plan, of whatever kind."""
    return _ToldCourse.model_validate_json(text)
