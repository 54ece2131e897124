"""Segmentation, measured: overlap, borders, whether probabilities come true, and whether a model knows its failures.

Crops of the hippocampus that no model has seen; every method sees the same ones, with the same seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .bench import Row, Say, bar
from .errors import BadInput
from .metrics import dice, spearman
from .models import Model
from .overlap import calibration_error, hd95
from .sampling import drain
from .segmentation import Segmentation, segment
from .splits import MANIFEST, files_of
from .volume import Volume, read

FOLDER = "hippocampus"
MARGIN = 3  # voxels around the truth within which the probabilities are judged once more: far away all is easy
FEW, MANY, DRAWS = 8, 250, 2  # network calls of the short and of the long way, and segmentations of each in that test
COMPARED, QUICK = 8, 6  # crops on which these are compared; crops of a quick run
COLUMNS = {"samples": "{:.0f}", "calls": "{:.0f}", "dice": "{:.4f}", "dice_1": "{:.4f}", "dice_2": "{:.4f}"}
COLUMNS |= {"hd95_mm": "{:.2f}", "ece": "{:.4f}", "ece_near": "{:.4f}", "pearson": "{:.2f}", "spearman": "{:.2f}"}
COLUMNS |= {"predicted_dice": "{:.3f}", "worst_dice": "{:.3f}", "seconds": "{:.2f}"}


@dataclass(frozen=True)
class Entry:
    """One way to segment, and how it is named in the table."""

    recipe: str
    preset: str
    samples: int
    parameters: dict[str, Any]


MAIN = (
    Entry("unet", "one pass", 1, {}),
    Entry("unet", "balanced", 8, {}),
    Entry("implicit-ensemble", "fast", 8, {}),
    Entry("implicit-ensemble", "balanced", 8, {}),
    Entry("pd-ddpm", "fast", 8, {}),
    Entry("pd-ddpm", "balanced", 8, {}),
    Entry("medsegdiff", "balanced", 8, {}),
)
WAYS = (
    Entry("implicit-ensemble", f"{MANY} ancestral", DRAWS, {"steps": MANY, "solver": "ancestral"}),
    Entry("implicit-ensemble", f"{FEW} ancestral", DRAWS, {"steps": FEW, "solver": "ancestral"}),
    Entry("implicit-ensemble", f"{FEW} ddim", DRAWS, {"steps": FEW, "solver": "ddim"}),
    Entry("implicit-ensemble", f"{FEW} dpm-solver-2m", DRAWS, {"steps": FEW, "solver": "dpm-solver-2m"}),
    Entry("pd-ddpm", "balanced", DRAWS, {}),
)


class Known(NamedTuple):
    """An image, its true labels, and its further channels."""

    image: Volume
    truth: Volume
    others: tuple[Volume, ...] = ()


@dataclass(frozen=True)
class Scored:
    """One crop, segmented: Dice and HD95 (mm) by segment, the foretold Dice, and the voxels by confidence."""

    dice: tuple[float, ...]
    hd95: tuple[float, ...]
    predicted: float
    probabilities: np.ndarray  # (K, N) of all voxels
    truth: np.ndarray  # (N,)
    near: np.ndarray  # (N,) bool
    calls: int
    seconds: float


def crops(data: Path, split: str = "test", count: int | None = None) -> list[Known]:
    """Images and label maps of a split, the first `count` of them; raises BadInput where there are none."""
    found = [data / name for name in files_of(data, split) if name.startswith(f"{FOLDER}/images/")]
    if not found:
        raise BadInput(f"no crop of the split {split!r} is named in {data / MANIFEST}; expected {FOLDER}/images/...")
    return [Known(read(path), read(data / FOLDER / "labels" / path.name)) for path in found[:count]]


def compare(
    data: Path, model: Model, *, quick: bool, say: Say, split: str = "test", only: Sequence[str] = ()
) -> Iterator[Row]:
    """A row for every method that the model offers, on all crops of the split, and for the short and the long way on
    a few of them."""
    pairs = crops(data, split, QUICK if quick else None)
    offered = [name for name in model.card.recipes if not only or name in only]
    for entry in MAIN:
        if entry.recipe in offered:
            yield measure(model, entry, pairs, f"{len(pairs)} {split} crops", say)
    some = pairs[:: max(len(pairs) // COMPARED, 1)][: 2 if quick else COMPARED]
    for entry in WAYS:
        if entry.recipe in offered:
            yield measure(model, entry, some, f"{len(some)} {split} crops, {DRAWS} draws", say)


def measure(model: Model, entry: Entry, pairs: Sequence[Known], case: str, say: Say) -> Row:
    """The row of one method on some crops."""
    scored = [judged(*answer(model, entry, pair)) for pair in pairs]
    row = about(entry, case) | {"crops": len(pairs)} | summary(scored)
    say(f"{entry.recipe}, {entry.preset}: Dice {row['dice']:.4f}, {row['seconds']:.2f} s a crop ({case})")
    return row


def about(entry: Entry, case: str) -> Row:
    """How a row begins."""
    return {"recipe": entry.recipe, "preset": entry.preset, "case": case, "samples": entry.samples}


def answer(model: Model, entry: Entry, known: Known) -> tuple[Segmentation, Volume, float]:
    """What one method makes of an image, the truth, and the seconds that it took."""
    told: dict[str, Any] = {"method": entry.recipe, "parameters": entry.parameters, "samples": entry.samples}
    preset = entry.preset if entry.preset in ("fast", "best") else "balanced"
    began = time.perf_counter()
    found = drain(segment(known.image, model, preset=preset, others=known.others, **told))
    return found, known.truth, time.perf_counter() - began


def judged(found: Segmentation, truth: Volume, seconds: float = 0.0, inside: NDArray[np.bool_] | None = None) -> Scored:
    """What a segmentation is worth, its probabilities `inside` of a mask (Z, Y, X); HD95 of a segment that was missed
    is left out of means as infinite."""
    labels, mine = truth.array.astype(int), found.labels.array
    numbers = range(1, len(found.names) + 1)
    each = [volume.array for volume in found.each.values()]
    probabilities = np.stack([1 - np.sum(each, axis=0), *each])
    near = ndimage.binary_dilation(labels > 0, iterations=MARGIN)
    here = np.ones(labels.shape, bool) if inside is None else inside
    return Scored(
        dice=tuple(dice(labels == k, mine == k) for k in numbers),
        hd95=tuple(hd95(labels == k, mine == k, truth.spacing) for k in numbers),
        predicted=found.quality or 0.0,
        probabilities=probabilities[:, here].astype(np.float32),
        truth=labels[here],
        near=near[here],
        calls=found.calls,
        seconds=seconds,
    )


def summary(scored: Sequence[Scored]) -> Row:
    """Means over crops, the calibration over all their voxels, and the correlation of foretold and true Dice."""
    true, foretold = [fmean(s.dice) for s in scored], [s.predicted for s in scored]
    p, truth, near = (
        np.concatenate([getattr(s, name) for s in scored], -1) for name in ("probabilities", "truth", "near")
    )
    row: Row = {"dice": fmean(true)}
    row |= {f"dice_{k + 1}": fmean(s.dice[k] for s in scored) for k in range(len(scored[0].dice))}
    far = [d for s in scored for d in s.hd95 if isfinite(d)]
    row |= {"hd95_mm": fmean(far)} if far else {}
    row |= {"ece": calibration_error(p, truth), "ece_near": calibration_error(p, truth, near)}
    if len(scored) > 2 and np.ptp(foretold) > 0 and np.ptp(true) > 0:
        row["pearson"] = float(np.corrcoef(foretold, true)[0, 1])
        row["spearman"] = spearman(foretold, true)
    row |= {"predicted_dice": fmean(foretold), "worst_dice": min(true), "calls": scored[0].calls}
    return row | {"seconds": fmean(s.seconds for s in scored)}


def bars(rows: Sequence[Row]) -> list[Row]:
    """What was promised of segmentation, against what the rows say; what was not measured is left out."""

    def find(recipe: str, preset: str, few: bool = False) -> Row | None:
        return next(
            (r for r in rows if (r["recipe"], r["preset"]) == (recipe, preset) and ("draws" in r["case"]) == few), None
        )

    found: list[Row] = []
    diffusion, baseline = find("implicit-ensemble", "balanced"), find("unet", "balanced")
    fast, long = find("implicit-ensemble", "fast"), find("implicit-ensemble", f"{MANY} ancestral", True)
    if diffusion:
        value = diffusion["dice"]
        found.append(bar("mean Dice of both labels, implicit-ensemble", value, ">= 0.86", value >= 0.86))
        value = diffusion["seconds"]
        found.append(bar("seconds a crop with 8 members", value, "< 10", value < 10))
    if fast:
        found.append(bar("seconds a crop, preset fast", fast["seconds"], "< 2", fast["seconds"] < 2))
    if diffusion and baseline:
        found += _against(diffusion, baseline)
    start = find("pd-ddpm", "balanced")
    if diffusion and start:
        gap = diffusion["dice"] - start["dice"]
        found.append(bar("Dice that pd-ddpm loses to implicit-ensemble, all crops", gap, "<= 0.005", gap <= 0.005))
    return found + (_shortcuts(long, find) if long else [])


def _shortcuts(long: Row, find: Callable[[str, str, bool], Row | None]) -> list[Row]:
    """The short ways against the long one, on the same crops."""
    ways = [find("implicit-ensemble", f"{FEW} {solver}", True) for solver in ("ancestral", "ddim", "dpm-solver-2m")]
    found, short = [], [row for row in ways if row]
    if short:
        gap = long["dice"] - min(row["dice"] for row in short)
        found.append(bar(f"Dice lost by {FEW} steps to {MANY}, worst solver", gap, "<= 0.01", gap <= 0.01))
    if start := find("pd-ddpm", "balanced", True):
        gap, fewer = long["dice"] - start["dice"], long["calls"] / start["calls"]
        found.append(bar(f"Dice lost by pd-ddpm to {MANY} steps from noise", gap, "<= 0.005", gap <= 0.005))
        found.append(bar("times fewer calls of pd-ddpm", fewer, ">= 10", fewer >= 10))
    return found


def _against(diffusion: Row, baseline: Row) -> list[Row]:
    """Mask diffusion against the U-Net of its size with as many views as it has members."""
    above = diffusion["dice"] - baseline["dice"]
    found = [bar("Dice above that of the U-Net of the same size", above, ">= 0", above >= 0)]
    for name, where in (("ece", "all voxels"), ("ece_near", f"within {MARGIN} voxels of the truth")):
        share = diffusion[name] / max(baseline[name], 1e-9)
        found.append(bar(f"calibration error relative to that of the U-Net, {where}", share, "< 1", share < 1))
    if "pearson" in diffusion and "pearson" in baseline:
        more = diffusion["pearson"] - baseline["pearson"]
        found.append(bar("correlation of foretold and true Dice above that of the U-Net", more, "> 0", more > 0))
    return found
