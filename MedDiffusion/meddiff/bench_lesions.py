"""Lesions of multiple sclerosis, measured on the one patient that the model ms-lesion-seg has not seen.

One patient, of few and small lesions: the figures say that it works, not how well it would elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .anomaly_cases import PERSONS, person
from .bench import Row, Say, bar
from .bench_segment import Entry, Known, about, answer, judged, summary
from .lesions import white_matter
from .metrics import best_dice, dice, lesion_recall
from .models import Model
from .overlap import hd95
from .volume import Volume

QUICK = slice(76, 100)  # axial slices of a quick run
THRESHOLD = "flair-threshold"  # the rival
ENTRIES = (
    Entry("unet", "one pass", 1, {}),
    Entry("unet", "balanced", 8, {}),
    Entry("implicit-ensemble", "balanced", 8, {}),
    Entry("pd-ddpm", "balanced", 8, {}),
    Entry("implicit-ensemble", "fast", 8, {}),
)
COLUMNS = {"samples": "{:.0f}", "calls": "{:.0f}", "dice": "{:.3f}", "hd95_mm": "{:.1f}", "recall": "{:.2f}"}
COLUMNS |= {"precision": "{:.2f}", "f1": "{:.2f}", "volume_ml": "{:.2f}", "ece": "{:.4f}", "ece_near": "{:.4f}"}
COLUMNS |= {"predicted_dice": "{:.3f}", "seconds": "{:.0f}"}


def patient(data: Path, channels: Sequence[str], split: str = "test", rows: slice = slice(None)) -> Known:
    """The contrasts of the person of a split, and the lesions that three raters agreed on, in some slices."""
    image, *others = (_cut(person(data, name, split), rows) for name in channels)
    lesions = _cut(person(data, "lesions", split), rows)
    return Known(image, lesions.with_array((lesions.array > 0).astype(np.uint8)), tuple(others))


def compare(
    data: Path, model: Model, *, quick: bool, say: Say, split: str = "test", only: Sequence[str] = ()
) -> Iterator[Row]:
    """A row for every method that the model offers, and one for a threshold of FLAIR, chosen on the train split."""
    channels = [channel.name for channel in model.card.channels]
    known = patient(data, channels, split, QUICK if quick else slice(None))
    truth, brain = known.truth.array > 0, known.image.array > 0
    case = f"{Path(PERSONS[split]).name} ({split} split){', some slices' if quick else ''}"
    if not only or THRESHOLD in only:
        found, level = _threshold(data, known)
        row = {"recipe": THRESHOLD, "preset": "", "case": case, "settings": {"of_white_matter": level}}
        yield row | {"dice": dice(truth, found)} | _lesion_wise(known.truth, found)
    for entry in ENTRIES:
        if entry.recipe not in model.card.recipes or (only and entry.recipe not in only):
            continue
        found, _, seconds = answer(model, entry, known)
        scored = judged(found, known.truth, seconds, brain)
        row = about(entry, case) | summary([scored]) | _lesion_wise(known.truth, found.labels.array > 0)
        say(f"{entry.recipe}, {entry.preset}: Dice {row['dice']:.3f}, {seconds:.0f} s ({case})")
        yield row


def bars(rows: Sequence[Row]) -> list[Row]:
    """Nothing was promised of a demonstration but that the ensemble is not below the U-Net of its size."""
    found = {(row["recipe"], row["preset"]): row for row in rows}
    ours, theirs = (found.get((name, "balanced")) for name in ("implicit-ensemble", "unet"))
    if ours is None or theirs is None:
        return []
    above, share = ours["dice"] - theirs["dice"], ours["ece"] / max(theirs["ece"], 1e-9)
    return [
        bar("Dice above that of the U-Net of the same size", above, ">= 0", above >= 0),
        bar("calibration error relative to that of the U-Net, inside the brain", share, "< 1", share < 1),
    ]


def _threshold(data: Path, known: Known) -> tuple[NDArray[np.bool_], float]:
    """FLAIR above a multiple of white matter: the one that is best on the person of the train split."""
    train = patient(data, ("FLAIR",), "train")
    _, level = best_dice(train.truth.array, _relative(train.image))
    return _relative(known.image) >= level, level


def _relative(flair: Volume) -> NDArray[np.float32]:
    return flair.array.astype(np.float32) / white_matter(flair.array, "FLAIR")


def _lesion_wise(truth: Volume, found: NDArray[np.bool_]) -> Row:
    """The share of true lesions that were touched, of found ones that touch a true one, their harmonic mean; volume in
    ml, HD95 in mm."""
    real = truth.array > 0
    recall = lesion_recall(real, found)
    precision = lesion_recall(found, real) if found.any() else 0.0
    row = {"recall": recall, "precision": precision, "f1": 2 * recall * precision / max(recall + precision, 1e-9)}
    far = hd95(real, found, truth.spacing)
    row |= {"volume_ml": float(found.sum() * np.prod(truth.spacing)) / 1000}
    return row | ({"hd95_mm": far} if isfinite(far) else {})


def _cut(volume: Volume, rows: slice) -> Volume:
    """Some axial slices."""
    first = rows.indices(len(volume.array))[0]
    corner = tuple(volume.affine[:3] @ np.array([0, 0, float(first), 1]))
    return replace(volume, array=np.ascontiguousarray(volume.array[rows]), origin=corner)
