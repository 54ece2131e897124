"""Inpainting, measured: lesions painted on healthy tissue are taken away again; what was there is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from .anomaly_cases import CONTRASTS, Case, simulated, unpainted
from .bench import Row, Say, bar
from .inpainting import inpaint
from .models import Model
from .sampling import drain
from .volume import Volume

COUNT, QUICK = 12, 4  # slices
GROWN = 2.0  # mm: the rim of a painted lesion is faint, and hidden from every method
SAMPLES = 4
COLUMNS = {"samples": "{:.0f}", "calls": "{:.0f}", "psnr": "{:.2f}", "psnr_sample": "{:.2f}", "seam": "{:.2f}"}
COLUMNS |= {"seconds_per_slice": "{:.2f}"}


@dataclass(frozen=True)
class Entry:
    """One way to fill a hole, and how it is named in the table."""

    recipe: str
    preset: str
    samples: int = SAMPLES
    passes: int | None = None


ENTRIES = (
    Entry("biharmonic", "one pass", 1),
    Entry("repaint", "balanced"),
    Entry("repaint", "fast"),
    Entry("repaint", "balanced, walked once", SAMPLES, 1),
)


def compare(data: Path, model: Model, *, quick: bool, say: Say, split: str = "test") -> Iterator[Row]:
    """A row for each method and contrast."""
    count = QUICK if quick else COUNT
    for contrast in CONTRASTS:
        case, before = simulated(data, contrast, split, count), unpainted(data, contrast, split, count)
        holes = hidden(case)
        for entry in ENTRIES[:2] if quick else ENTRIES:
            began = time.perf_counter()
            images, calls = filled(model, entry, case, holes)
            seconds = (time.perf_counter() - began) / len(before)
            row = {"recipe": entry.recipe, "preset": entry.preset, "case": f"{contrast}, painted lesions"}
            row |= {"samples": entry.samples, "calls": calls, **measured(images, before, holes.array)}
            say(f"{row['case']}, {entry.recipe}, {entry.preset}: {row['psnr']:.2f} dB")
            yield row | {"seconds_per_slice": seconds}


def hidden(case: Case) -> Volume:
    """What every method is to fill: the lesions and their rim, slice by slice."""
    spacing = case.volume.spacing[:2][::-1]
    grown = [np.asarray(ndimage.distance_transform_edt(~row, spacing)) <= GROWN for row in case.truth]
    return case.volume.with_array(np.stack(grown))


def filled(model: Model, entry: Entry, case: Case, holes: Volume) -> tuple[np.ndarray, int]:
    """The samples (S, N, Y, X) of one method, and its network calls."""
    if entry.recipe == "biharmonic":
        return np.stack([biharmonic(*each) for each in zip(case.volume.array, holes.array, strict=True)])[None], 0
    parameters: dict[str, Any] = {} if entry.passes is None else {"passes": entry.passes}
    about: dict[str, Any] = {"preset": entry.preset.split(",")[0], "parameters": parameters, "contrast": case.contrast}
    found = drain(inpaint(case.volume, holes, model, method=entry.recipe, samples=entry.samples, **about))
    return np.stack([image.array for image in found.images]), found.calls


def biharmonic(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A slice (Y, X) whose hole continues its rim smoothly (Damelin 2018, as scikit-image has it)."""
    from skimage.restoration import inpaint_biharmonic

    top = float(image.max())
    return top * inpaint_biharmonic(image.astype(np.float64) / top, hole)


def measured(images: np.ndarray, before: np.ndarray, hole: np.ndarray) -> Row:
    """PSNR (dB, of the brightest tissue) in the hole, of the mean and of one sample, and how much larger the steps are
    from the rim into the hole than they were (1: no seam)."""
    top = float(np.quantile(before[before > 0], 0.999))

    def quality(image: np.ndarray) -> float:
        return 10 * log10(top**2 / max(float(np.mean((image - before)[hole] ** 2)), 1e-12))

    return {
        "psnr": quality(images.mean(0)),
        "psnr_sample": quality(images[0]),
        "seam": steps(images[0], hole) / max(steps(before, hole), 1e-9),
    }


def steps(image: np.ndarray, hole: np.ndarray) -> float:
    """The mean absolute difference of neighbours in a slice (N, Y, X), one of them in the hole and one not."""
    found = []
    for axis in (1, 2):
        across = np.diff(hole.astype(np.int8), axis=axis) != 0
        found.append(np.abs(np.diff(image.astype(np.float64), axis=axis))[across])
    return float(np.concatenate(found).mean())


def bars(rows: list[Row]) -> list[Row]:
    """What was promised of inpainting, against what the rows say; what was not measured is left out."""
    found: list[Row] = []

    def one(recipe: str, preset: str, case: str) -> Row | None:
        return next((r for r in rows if (r["recipe"], r["preset"], r["case"]) == (recipe, preset, case)), None)

    for case in dict.fromkeys(row["case"] for row in rows):
        ours, smooth = one("repaint", "balanced", case), one("biharmonic", "one pass", case)
        if ours and smooth:
            gap = ours["psnr"] - smooth["psnr"]
            found.append(bar(f"{case}: dB above biharmonic inpainting, mean of samples", gap, "> 0", gap > 0))
            found.append(bar(f"{case}: steps across the seam, relative", ours["seam"], "<= 1.1", ours["seam"] <= 1.1))
        once = one("repaint", "balanced, walked once", case)
        if ours and once:
            gap = ours["psnr"] - once["psnr"]
            found.append(bar(f"{case}: dB above a path walked once", gap, "> 0", gap > 0))
    return found
