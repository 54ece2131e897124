"""A training plan: every number that decides what a model becomes, as data in one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..card import Covariate
from ..domain import HEIGHT
from ..errors import BadInput, choose

PLANS = Path(__file__).parent / "plans"
SEGMENTERS = ("segmenter", "unet", "medsegdiff", "imager")  # of SegmentPlan
MORPHERS = ("morph", "voxelmorph")  # of PairPlan
TRANSLATORS = ("translator", "regressor")  # of ContrastPlan
Kind = Literal["prior", "classifier", "denoiser", "autoencoder", "latent"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
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
    covariates: dict[str, float] = {}


class Augment(_Strict):
    """Random changes that keep a slice plausible; probabilities, degrees, and relative sizes."""

    flip: float = 0.5
    affine: float = 0.5
    rotate_degrees: float = 10.0
    scale: float = 0.1
    shear: float = 0.05
    gamma: float = 0.2
    gain: float = 0.1


class Optimisation(_Strict):
    """AdamW, cosine decay to zero, exponential moving average of the weights."""

    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = 100
    ema: float = Field(0.999, gt=0, lt=1)


class Fit(Optimisation):
    """How slices are drawn, and how much the network is told of them."""

    crop: tuple[int, int]
    drop_label: float = 0.1
    unknown_label: float = 0.1
    drop_state: float = 0.25
    drop_covariates: float = Field(0.1, ge=0, le=1)
    lesion_weight: float = Field(1.0, ge=1)
    augment: Augment = Augment()


class Course(_Strict):
    """What the plan of every kind of model says: `fit` and `export` need no more than this."""

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


class Pose(_Strict):
    """Random affine maps: degrees, relative sizes, voxels."""

    rotate_degrees: float = 12.0
    scale: float = 0.12
    shear: float = 0.05
    shift: float = 2.0


class AugmentCrop(Pose):
    """Random changes that keep a crop plausible: probabilities, affine maps, voxels, network units."""

    flip: tuple[float, ...] = (0.0, 0.0, 0.5)  # (Z, Y, X): left and right may look alike, top and bottom do not
    affine: float = 0.8
    elastic: float = 1.5  # standard deviation of smooth displacements
    gamma: float = 0.3
    gain: float = 0.2
    offset: float = 0.1
    noise: float = 0.08


class FitCrops(Optimisation):
    """How crops are drawn, and what the loss weighs."""

    crop: tuple[int, int, int] | tuple[int, int]  # voxels (Z, Y, X), or (Y, X) of a slice
    painted: float = Field(0.0, ge=0, le=1)  # share of slices that show painted lesions in place of their own
    faintest: float = Field(0.0, ge=0, lt=1)  # share of the strengths of painted lesions, from below, that is left out
    dice_weight: float = Field(1.0, ge=0)
    coarse_weight: float = Field(10.0, ge=0)  # of the map beside a MedSegDiff (Wu 2023)
    drop_labels: float = Field(0.1, ge=0, le=1)  # share of label maps that an imager is not told
    recycled: float = Field(0.0, ge=0, le=1)  # share of noisy masks made of the network's own answer, not of the truth
    augment: AugmentCrop = AugmentCrop()


class Labelled(_Strict):
    """Some images (a pattern below the data folder), one of each channel, and the pattern of their label maps; in these
    and in the `others`, {name} stands for the file's name and {stem} for what comes before its last underscore."""

    files: str
    others: tuple[str, ...] = ()
    labels: str
    weight: float = Field(1.0, gt=0)


class Drawn(Labelled):
    """As `Labelled`; where nobody drew lesions, the bright ones are filled, and others painted."""

    labels: str = ""


class CasePlan(Course):
    """A model of images and their label maps, in which 0 is background and k the k-th of `segments`."""

    segments: tuple[str, ...] = Field(min_length=1)
    images: tuple[Labelled, ...] = Field(min_length=1)


class SegmentPlan(CasePlan):
    """A model that segments volumes, or axial slices (`training.crop`); or, the other way about, one that makes the
    images of label maps."""

    kind: Literal["segmenter", "unet", "medsegdiff", "imager"]
    images: tuple[Drawn, ...] = Field(min_length=1)
    plane: Literal["axial"] = "axial"
    shapes: str = ""  # label maps whose lesions are painted on slices without
    contrasts: tuple[Literal["FLAIR", "T1", "T2"], ...] = ()  # of the channels: how lesions look in each
    training: FitCrops

    @property
    def planar(self) -> bool:
        return len(self.training.crop) == 2

    @model_validator(mode="after")
    def _check(self) -> SegmentPlan:
        dims = self.network["arguments"].get("spatial_dims", 2)
        if not dims == len(self.training.crop) == len(self.spacing_mm):
            raise ValueError(f"crop and spacing of {dims} numbers each, as the network has dimensions")
        paints = self.planar and len(self.segments) == 1 and self.contrasts[:1] == ("FLAIR",)
        if self.shapes and not paints:
            raise ValueError("shapes are painted on slices with one segment, and contrasts that begin with FLAIR")
        if not self.shapes and (self.training.painted or not all(image.labels for image in self.images)):
            raise ValueError("shapes, where lesions are to be painted or some images have no labels")
        return self


class FitPairs(Optimisation):
    """How pairs are drawn, and what the losses weigh; labels are looked at only where their Dice counts."""

    crop: tuple[int, int, int]  # voxels (Z, Y, X)
    window: int = Field(5, gt=1)  # voxels of the local correlation
    smooth_weight: float = Field(0.05, ge=0)
    dice_weight: float = Field(0.0, ge=0)
    noise_weight: float = Field(0.05, ge=0)  # of the error of the noise: 1 / lambda of DiffuseMorph
    pose: Pose = Pose(rotate_degrees=8.0, scale=0.08)  # of both images of a pair
    apart: Pose = Pose(rotate_degrees=3.0, scale=0.03, shear=0.02, shift=0.7)  # what an affine registration leaves


class PairPlan(CasePlan):
    """A model that registers one case to another."""

    spacing_mm: tuple[float, float, float]
    kind: Literal["morph", "voxelmorph"]
    training: FitPairs


class Contrasts(_Strict):
    """Aligned contrasts of some people: the pattern of one of them, below the data folder, and where each lies; {stem}
    stands for the file's name up to its last underscore. Those that are not there are left out."""

    files: str
    contrasts: dict[str, str] = Field(min_length=2)
    weight: float = Field(1.0, gt=0)


class FitContrasts(Optimisation):
    """How slices are drawn: contrast and brightness of the sources change, those of the target never do."""

    crop: tuple[int, int]
    augment: Augment = Augment()


class ContrastPlan(Course):
    """A model that makes one contrast of any others; its labels are the contrasts, and null."""

    kind: Literal["translator", "regressor"]
    spacing_mm: tuple[float, float]
    labels: tuple[str, ...] = Field(min_length=3)
    plane: str = "axial"
    minimum_foreground: float = 0.05
    images: tuple[Contrasts, ...] = Field(min_length=1)
    training: FitContrasts

    @property
    def contrasts(self) -> tuple[str, ...]:
        return self.labels[:-1]

    @model_validator(mode="after")
    def _check(self) -> ContrastPlan:
        if self.labels[-1] != "null" or not {name for each in self.images for name in each.contrasts} <= {*self.labels}:
            raise ValueError("labels must end in null and hold every contrast of the images")
        return self


class Frames(_Strict):
    """Some 2D frames: image files (a pattern below the data folder), or so many phantoms, and how often they are
    drawn."""

    files: str = ""
    phantoms: int = Field(0, ge=0)
    weight: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Frames:
        if bool(self.files) == bool(self.phantoms):
            raise ValueError("either files or a number of phantoms")
        return self


class FitVessels(Optimisation):
    """How crops are drawn, how much of the noise schedule is learnt, and what the losses weigh (Kim 2023, eq. 11)."""

    crop: tuple[int, int]  # pixels (Y, X)
    reach: float = Field(0.1, gt=0, le=1)  # fraction of the schedule
    cycle_weight: float = Field(5.0, ge=0)
    mask_weight: float = Field(0.2, ge=0)  # of the critic of masks
    image_weight: float = Field(0.2, ge=0)  # of the critic of images
    blank: float = Field(0.15, ge=0, lt=1)  # share of masks without any vessel: most of a large frame has none
    contrast: tuple[float, float] = (0.2, 1.4)  # least and largest relative amount of contrast agent that is drawn
    mixing: float = Field(0.3, ge=0)  # how unevenly: standard deviation of its logarithm
    critic_widths: tuple[int, ...] = (32, 64, 96)
    critic_rate: float = Field(1.0, gt=0)  # learning rate of the critics, relative
    gain: float = 0.1


class VesselPlan(Course):
    """A model that finds vessels and never sees a label: angiograms, frames without contrast agent, of whomever, and
    fractal masks."""

    kind: Literal["darl"]
    spacing_mm: tuple[float, float]
    segments: tuple[str] = ("Vessel",)
    angiograms: tuple[Frames, ...] = Field(min_length=1)
    backgrounds: tuple[Frames, ...] = Field(min_length=1)
    masks: int = Field(gt=0)  # fractals to draw
    size: tuple[int, int] = (128, 128)  # pixels (Y, X) of what is drawn
    training: FitVessels


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


class _ToldOptimisation(Optimisation, extra="ignore"):
    """The part of a training that every kind of plan has."""


class _ToldCourse(Course, extra="ignore"):
    """The part of a plan that every kind has."""

    training: _ToldOptimisation


def read_course(text: str) -> Course:
    """What a checkpoint says of its plan, of whatever kind."""
    return _ToldCourse.model_validate_json(text)
