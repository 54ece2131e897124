"""Vessels in phantoms of angiograms, measured: DARL, which never saw a label, beside Frangi's filter, tuned with some.

The vessels of the phantoms grow otherwise than the fractals that DARL learns from, and no background was seen before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .angiograms import Angiogram, angiogram
from .bench import Row, Say, bar
from .metrics import dice
from .models import Model
from .noises import seed_of
from .overlap import calibration_error, hd95
from .reconstruction import Preset
from .sampling import drain
from .segmentation import segment
from .vesselness import tuned
from .volume import IDENTITY, Volume

SIZE, COUNT, QUICK, TUNING = (128, 128), 60, 12, 30  # pixels; test phantoms, those of a quick run, and train phantoms
BAR = 0.6
WAYS: tuple[tuple[int, Preset], ...] = ((1, "fast"), (8, "balanced"))  # samples: one pass, as in the paper, or several
COLUMNS = {"samples": "{:.0f}", "calls": "{:.0f}", "dice": "{:.4f}", "precision": "{:.3f}", "recall": "{:.3f}"}
COLUMNS |= {"hd95_mm": "{:.2f}", "worst_dice": "{:.3f}", "ece": "{:.4f}", "seconds": "{:.3f}"}

Answer = Callable[[Angiogram], tuple[NDArray[np.bool_], NDArray[np.floating] | None, int]]


def phantoms(split: str, count: int) -> list[Angiogram]:
    """The phantoms of a split; no plan draws these."""
    return [angiogram(SIZE, seed_of("bench", split, k)) for k in range(count)]


def compare(
    data: Path, model: Model, *, quick: bool, say: Say, split: str = "test", only: Sequence[str] = ()
) -> Iterator[Row]:
    """A row for DARL with one pass and with several, and one for Frangi's filter; `data` is not needed."""
    cases = phantoms(split, QUICK if quick else COUNT)
    spacing = (model.card.spacing_mm[0], model.card.spacing_mm[1], 1.0)

    def darl(samples: int, preset: Preset) -> Answer:
        def answer(case: Angiogram) -> tuple[NDArray[np.bool_], NDArray[np.floating], int]:
            volume = Volume(case.image[None], spacing, (0.0, 0.0, 0.0), IDENTITY)
            found = drain(segment(volume, model, method="darl", samples=samples, preset=preset))
            return found.labels.array[0] > 0, found.probability.array[0], found.calls

        return answer

    if not only or "darl" in only:
        for samples, preset in WAYS:
            row = measure("darl", cases, darl(samples, preset), spacing, split, say)
            yield row | {"samples": samples, "preset": preset}
    if not only or "frangi" in only:
        best = tuned((case.image, case.vessels) for case in phantoms("train", QUICK if quick else TUNING))
        say(f"Frangi's filter: scales {best.scales}, beta {best.beta}, threshold {best.threshold}")
        row = measure("frangi", cases, lambda case: (best(case.image), None, 0), spacing, split, say)
        yield row | {"settings": {"scales": best.scales, "beta": best.beta, "threshold": best.threshold}}


def measure(
    name: str, cases: Sequence[Angiogram], answer: Answer, spacing: Sequence[float], split: str, say: Say
) -> Row:
    """The row of one way to find vessels: means over the phantoms."""
    scores: list[dict[str, float]] = []
    probabilities: list[NDArray[np.floating]] = []
    calls = 0
    for case in cases:
        began = time.perf_counter()
        found, p, calls = answer(case)
        seconds = time.perf_counter() - began
        hit = float((found & case.vessels).sum())
        scores.append(
            {
                "dice": dice(case.vessels, found),
                "precision": hit / max(float(found.sum()), 1.0),
                "recall": hit / max(float(case.vessels.sum()), 1.0),
                "hd95_mm": hd95(case.vessels, found, spacing[:2]),
                "seconds": seconds,
            }
        )
        probabilities += [] if p is None else [p]
    row: Row = {"recipe": name, "preset": "balanced", "case": f"{len(cases)} {split} phantoms", "calls": calls}
    for figure in scores[0]:
        values = [score[figure] for score in scores if isfinite(score[figure])]
        row |= {figure: fmean(values)} if values else {}
    row["worst_dice"] = min(score["dice"] for score in scores)
    if probabilities:
        p = np.stack(probabilities)
        row["ece"] = calibration_error(np.stack([1 - p, p]), np.stack([case.vessels for case in cases]).astype(int))
    say(f"{name}: Dice {row['dice']:.4f}, {row['seconds']:.3f} s a phantom ({row['case']})")
    return row


def bars(rows: Sequence[Row]) -> list[Row]:
    """What was promised: without a label, a Dice above 0.6, and, to know what that is worth, above Frangi's."""

    def find(recipe: str) -> Any:
        return next((row["dice"] for row in rows if row["recipe"] == recipe), None)

    ours, theirs = find("darl"), find("frangi")
    found = [] if ours is None else [bar("Dice of darl without a label, one pass", ours, f"> {BAR}", ours > BAR)]
    if ours is not None and theirs is not None:
        found.append(bar("Dice above that of Frangi's filter", ours - theirs, "> 0", ours > theirs))
    return found
