"""A training plan: every number that decides what a model becomes, as data in one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import BadInput, choose

PLANS = Path(__file__).parent / "plans"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Some files (a pattern below the data folder), what they show, and how often they are drawn."""

    files: str
    label: str
    weight: float = Field(1.0, gt=0)


class Augment(_Strict):
    """Random changes that keep a slice plausible; probabilities, degrees, and relative sizes."""

    flip: float = 0.5
    affine: float = 0.5
    rotate_degrees: float = 10.0
    scale: float = 0.1
    shear: float = 0.05
    gamma: float = 0.2
    gain: float = 0.1


class Fit(_Strict):
    """The optimisation: AdamW, cosine decay to zero, exponential moving average of the weights."""

    crop: tuple[int, int]
    batch: int = Field(gt=0)
    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = 100
    ema: float = Field(0.999, gt=0, lt=1)
    drop_label: float = 0.1
    unknown_label: float = 0.1
    augment: Augment = Augment()


class Plan(_Strict):
    """What to train on, which network, and how."""

    id: str
    seed: int = 0
    plane: str = "axial"
    spacing_mm: tuple[float, float]
    minimum_foreground: float = 0.05
    intensity: dict[str, Any]
    labels: tuple[str, ...] = ()
    images: tuple[Source, ...]
    network: dict[str, Any]
    schedule: dict[str, Any]
    predicts: str
    training: Fit

    @model_validator(mode="after")
    def _check(self) -> Plan:
        if self.labels and (self.labels[-1] != "null" or not {image.label for image in self.images} <= {*self.labels}):
            raise ValueError("labels must end in null and hold the label of every image")
        return self


def read_plan(name_or_path: str) -> Plan:
    """A plan of this package by its name, or a JSON file; raises BadInput for anything else or unknown keys."""
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = PLANS / f"{choose(name_or_path, (p.stem for p in PLANS.glob('*.json')), 'training plan')}.json"
    try:
        return Plan.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise BadInput(f"cannot read the plan {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
