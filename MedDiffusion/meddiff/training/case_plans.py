"""Plans of models that look at more than a slice: images and their labels, pairs, aligned contrasts, frames."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .course import Augment, Course, Optimisation, Strict


class Pose(Strict):
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


class Labelled(Strict):
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


class Contrasts(Strict):
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


class Frames(Strict):
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
