"""Brains with known lesions: those of a patient, and those painted on slices of the same patient, away from his own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_fill_holes, label

from .errors import BadInput
from .lesions import paint, white_matter
from .noises import seed_of
from .splits import MANIFEST, files_of
from .volume import Volume, canonical, read

CONTRASTS = ("FLAIR", "T2", "T1")
BRIGHTER = {"FLAIR": True, "T2": True, "T1": False}  # lesions of multiple sclerosis, compared with white matter
PERSONS = {"test": "brain_ms_mni/patient07", "train": "brain_ms_mni/patient19"}
REAL, PAINTED = "lesions", "simulated"  # what the lesions of a case are
SHAPES = "brain_ms_lesion_masks"
BRAIN = 0.05  # of the field of view: slices with less brain are left out, as in training
NEAR = 5  # voxels around real lesions: no lesion is painted there, and no change there counts as one of healthy tissue
SMALLEST = 20  # painted voxels of a slice


@dataclass(frozen=True, eq=False)
class Case:
    """A canonical volume of one contrast and the lesions `truth` in it (bool, Z, Y, X); `left_out` counts neither as
    lesion nor as healthy. In a `planar` volume every slice stands by itself."""

    name: str
    contrast: str
    volume: Volume
    truth: np.ndarray
    left_out: np.ndarray
    planar: bool = False

    def __str__(self) -> str:
        return f"{self.contrast} {self.name}"

    @property
    def counted(self) -> np.ndarray:
        """The voxels that figures are made of: the brain (the images are skull-stripped: above 0)."""
        return (self.volume.array > 0) & ~self.left_out

    @property
    def brain(self) -> Volume:
        """Where the brain is, holes and all."""
        filled = [np.asarray(binary_fill_holes(row)) for row in self.volume.array > 0]
        return self.volume.with_array(np.stack(filled).astype(np.uint8))

    @property
    def healthy(self) -> np.ndarray:
        """The brain away from every lesion."""
        return self.counted & ~near(self.truth, self.planar)


def near(lesions: np.ndarray, planar: bool = False) -> np.ndarray:
    """Lesions (Z, Y, X) and what is within `NEAR` voxels of them (city-block distance)."""
    cross = np.zeros((3, 3, 3), bool)
    cross[1, 1] = cross[1, :, 1] = cross[:, 1, 1] = True
    if planar:
        cross[[0, 2]] = False
    return binary_dilation(lesions, cross, iterations=NEAR)


def patient(data: Path, contrast: str, split: str = "test", step: int = 1, count: int | None = None) -> Case:
    """The lesions of the person of a split, which three raters agreed on, in every `step`-th slice of the brain, or in
    `count` slices: three runs of neighbours, low, in the middle and high in the brain."""
    image, lesions = person(data, contrast, split), person(data, "lesions", split)
    truth = lesions.array > 0
    rows = _filled(image)[::step]
    if count is not None and count < len(rows):
        parts, wanted = np.array_split(rows, 3), (count // 3, count - 2 * (count // 3), count // 3)
        starts = [(len(part) - size) // 2 for part, size in zip(parts, wanted, strict=True)]
        rows = np.concatenate([p[s : s + n] for p, s, n in zip(parts, starts, wanted, strict=True)])
    return Case(REAL, contrast, _rows(image, rows, step), truth[rows], np.zeros_like(truth[rows]))


def simulated(data: Path, contrast: str, split: str = "test", count: int = 40) -> Case:
    """`count` slices of the person of a split with lesions in the shapes of other patients of that split, painted in
    as `lesions.paint` does; the slices are the same for all contrasts. What is near real lesions is left out."""
    image, real = person(data, contrast, split), person(data, "lesions", split).array > 0
    white, around = white_matter(image.array, contrast), near(real)
    painted, truths, rows = [], [], []
    for name, row in _chosen(data, split, count):
        array, inside = _painted(image.array[row], shapes(data, split)[name][row], contrast, white, name, row)
        painted.append(array)
        truths.append(inside)
        rows.append(row)
    # the slices lie far apart, so that nothing that looks at neighbours mixes them
    apart = Volume(np.stack(painted), (*image.spacing[:2], 20.0), image.origin, image.direction)
    return Case(PAINTED, contrast, apart, np.stack(truths), around[rows], planar=True)


def unpainted(data: Path, contrast: str, split: str = "test", count: int = 40) -> np.ndarray:
    """The slices (N, Y, X) of `simulated` before anything was painted on them."""
    return person(data, contrast, split).array[[row for _, row in _chosen(data, split, count)]]


def person(data: Path, what: str, split: str) -> Volume:
    """A canonical volume of the person of a split: a contrast, or "lesions"."""
    path = data / f"{PERSONS[split]}_{what}.nii.gz"
    if not path.is_file():
        raise BadInput(f"{path} is missing; --data names the folder that holds {PERSONS[split]}_*.nii.gz")
    return canonical(read(path))[0]


@lru_cache(maxsize=2)
def shapes(data: Path, split: str) -> dict[str, np.ndarray]:
    """The lesions (bool, Z, Y, X) of the other patients of a split, by name, less those components of a slice that
    are near a lesion of the person of that split or reach out of the brain."""
    files = [name for name in files_of(data, split) if name.startswith(SHAPES)]
    lesions = person(data, "lesions", split).array > 0
    forbidden = near(lesions) | (person(data, CONTRASTS[0], split).array <= 0)
    links = np.zeros((3, 3, 3), bool)
    links[1] = True
    found = {}
    for name in files:
        mask = canonical(read(data / name))[0].array > 0
        if mask.shape != forbidden.shape:
            raise BadInput(f"{data / name} has the shape {mask.shape}, the person's images {forbidden.shape}")
        parts: np.ndarray = label(mask, links)[0]  # type: ignore[index]
        allowed = np.ones(int(parts.max()) + 1, bool)
        allowed[np.unique(parts[forbidden])] = False
        allowed[0] = False
        found[name] = allowed[parts]
    if not found:
        raise BadInput(f"{data / MANIFEST} names no file of {SHAPES} in the split {split}; expected lesions to paint")
    return found


@lru_cache(maxsize=4)
def _chosen(data: Path, split: str, count: int) -> tuple[tuple[str, int], ...]:
    """Shapes and slices: as many of each patient as of the others, spread evenly over the slices where the lesions can
    be painted in every contrast."""
    found: list[tuple[str, int]] = []
    images = {contrast: person(data, contrast, split).array for contrast in CONTRASTS}
    whites = {contrast: white_matter(array, contrast) for contrast, array in images.items()}
    filled = set(_filled(person(data, CONTRASTS[0], split)).tolist())
    known = shapes(data, split)
    for i, (name, mask) in enumerate(known.items()):
        able = [
            row
            for row in np.flatnonzero(mask.sum((1, 2)) >= SMALLEST).tolist()
            if row in filled
            and all(
                _painted(images[c][row], mask[row], c, whites[c], name, row)[1].sum() >= SMALLEST for c in CONTRASTS
            )
        ]
        wanted = (i + 1) * count // len(known) - i * count // len(known)
        places = np.linspace(0, len(able) - 1, min(wanted, len(able))).round().astype(int)
        found += [(name, able[place]) for place in places]
    if not found:
        raise BadInput(f"no lesion of {SHAPES} fits into the brain of {PERSONS[split]}; expected images of one space")
    return tuple(found)


def _painted(
    image: np.ndarray, mask: np.ndarray, contrast: str, white: float, name: str, row: int
) -> tuple[np.ndarray, np.ndarray]:
    """A slice (Y, X) with lesions and where they are; of the same strength and softness in every contrast."""
    number = int(re.sub(r"\D", "", Path(name).name) or 0)
    generator = torch.Generator().manual_seed(seed_of(0, number, f"lesions of slice {row}"))
    sliced, where = (torch.from_numpy(np.ascontiguousarray(a))[None] for a in (image.astype(np.float32), mask))
    array, inside = paint(sliced, where, contrast, generator, white)
    return array[0].numpy(), inside[0].numpy()


def _filled(image: Volume) -> np.ndarray:
    """The slices that hold enough brain."""
    rows = np.flatnonzero((image.array > 0).mean((1, 2)) >= BRAIN)
    if not len(rows):
        raise BadInput("no slice holds a brain; expected an MR volume without skull, 0 outside of the brain")
    return rows


def _rows(image: Volume, rows: np.ndarray, step: int) -> Volume:
    """Every `step`-th slice, as a volume of its own."""
    origin = image.affine[:3] @ np.array([0, 0, float(rows[0]), 1])
    spacing = (*image.spacing[:2], image.spacing[2] * step)
    return Volume(np.ascontiguousarray(image.array[rows]).astype(np.float32), spacing, tuple(origin), image.direction)
