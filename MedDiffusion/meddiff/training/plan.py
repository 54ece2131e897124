"""A training plan: every number that decides what a model becomes, as data in one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from ..domain import HEIGHT
from ..errors import BadInput, choose
from .case_plans import ContrastPlan, PairPlan, SegmentPlan, VesselPlan
from .course import Augment, Course, Optimisation, Strict

PLANS = Path(__file__).parent / "plans"
SEGMENTERS = ("segmenter", "unet", "medsegdiff", "imager")  # of SegmentPlan
MORPHERS = ("morph", "voxelmorph")  # of PairPlan
TRANSLATORS = ("translator", "regressor")  # of ContrastPlan
Kind = Literal["prior", "classifier", "denoiser", "autoencoder", "latent"]


class Source(Strict):
    """Some files (a pattern below the data folder), what they show, and how often they are drawn.

    Their lesions are drawn in the file `lesions`, or read off the FLAIR image `flair`; in both, {stem} stands for the
    file's name up to its last underscore. With neither, the images are healthy as they are. `covariates` are those of
    the person, such as the age.
    """

    files: str
    label: str
    weight: float = Field(1.0, gt=0)
    lesions: str = ""
    flair: str = ""
    covariates: dict[str, float] = Field(default_factory=dict)


class Fit(Optimisation):
    """How slices are drawn, and how much the network is told of them."""

    crop: tuple[int, int]
    drop_label: float = 0.1
    unknown_label: float = 0.1
    drop_state: float = 0.25
    drop_covariates: float = Field(0.1, ge=0, le=1)
    lesion_weight: float = Field(1.0, ge=1)
    augment: Augment = Augment()


class Plan(Course):
    """A model of slices: what to train on, which network, and how."""

    kind: Kind = "prior"
    plane: str = "axial"
    minimum_foreground: float = 0.05
    images: tuple[Source, ...]
    shapes: str = ""  # label maps whose lesions are painted on healthy slices
    resample: bool = False  # images of another voxel size are brought to that of the plan, not refused
    training: Fit

    @model_validator(mode="after")
    def _check(self) -> Plan:
        if self.labels and (self.labels[-1] != "null" or not {image.label for image in self.images} <= {*self.labels}):
            raise ValueError("labels must end in null and hold the label of every image")
        if self.resample and self.shapes:
            raise ValueError("lesions are painted on images as they come: leave out resample, or shapes")
        if self.states and not self.shapes:
            raise ValueError("states need the shapes of lesions")
        self._check_covariates()
        return self

    def _check_covariates(self) -> None:
        told, of_people = len(self.covariates), {*self.covariates} - {HEIGHT}
        if any(image.covariates.keys() != of_people for image in self.images):
            raise ValueError(f"every image must name its covariates: {', '.join(sorted(of_people)) or 'none'}")
        for image in self.images:
            for name, value in image.covariates.items():
                if not self.covariates[name].min <= value <= self.covariates[name].max:
                    raise ValueError(f"{name} {value:g} of {image.files} lies outside of its range")
        if self.training.drop_covariates and any(about.null is None for about in self.covariates.values()):
            raise ValueError("covariates that are dropped need a null value")
        room = self.network["arguments"]
        if told and told not in (room.get("concat_channels", 0), room.get("context_features", 0)):
            raise ValueError(f"covariates need {told} concat_channels or context_features of the network")


AnyPlan = Plan | SegmentPlan | PairPlan | ContrastPlan | VesselPlan


def read_plan(name_or_path: str) -> AnyPlan:
    """A plan of this package by its name, or a JSON file; raises BadInput for anything else or unknown keys."""
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = PLANS / f"{choose(name_or_path, (p.stem for p in PLANS.glob('*.json')), 'training plan')}.json"
    try:
        told = json.loads(path.read_text())
        kind = told.get("kind") if isinstance(told, dict) else None
        kinds = {**dict.fromkeys(SEGMENTERS, SegmentPlan), **dict.fromkeys(MORPHERS, PairPlan), "darl": VesselPlan}
        kinds |= dict.fromkeys(TRANSLATORS, ContrastPlan)
        return kinds.get(str(kind), Plan).model_validate(told)
    except OSError as error:
        raise BadInput(f"cannot read the plan {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
