"""Translation, measured on a person that no model has seen, beside the same network in one pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .anomaly_cases import PERSONS
from .bench import Row, Say, bar, central_slices
from .metrics import psnr, spearman, ssim
from .models import Model
from .sampling import drain
from .translation import Translation, translate
from .volume import Volume

COUNT, QUICK = 60, 12  # central slices, and every so many of them in a quick run
BINS = 64  # of histograms of gradient magnitudes
SAMPLES = 8
DIRECTIONS = (("T1", "T2"), ("T1", "FLAIR"), ("T2", "T1"))
COLUMNS = {"samples": "{:.0f}", "calls": "{:.0f}", "psnr": "{:.2f}", "ssim": "{:.3f}", "psnr_sample": "{:.2f}"}
COLUMNS |= {"ssim_sample": "{:.3f}", "gradients": "{:.4f}", "spearman": "{:.2f}", "seconds_per_slice": "{:.2f}"}


@dataclass(frozen=True)
class Entry:
    """One way to translate, and how many samples of it are drawn."""

    recipe: str
    preset: str
    samples: int = SAMPLES
    solver: str = ""


ENTRIES = (
    Entry("regression", "balanced", 1),
    Entry("translate", "balanced"),
    Entry("translate", "fast"),
    Entry("translate", "balanced", SAMPLES, "dpm-solver-2m"),
)


def compare(data: Path, model: Model, *, quick: bool, say: Say, split: str = "test", step: int = 1) -> Iterator[Row]:
    """A row for each method and direction; `step`: every so many of the central slices."""
    for source, target in DIRECTIONS:
        person, every = PERSONS[split], QUICK if quick else step
        volume, truth = (central_slices(data, person, name, COUNT, every) for name in (source, target))
        for entry in ENTRIES[:2] if quick else ENTRIES:
            parameters = {"solver": entry.solver} if entry.solver else {}
            run = translate(
                volume,
                model,
                method=entry.recipe,
                preset=entry.preset,
                parameters=parameters,
                contrast=source,
                target=target,
                samples=entry.samples,
            )
            began = time.perf_counter()
            found = drain(run)
            seconds = (time.perf_counter() - began) / volume.shape[0]
            words = f"{entry.preset}, {entry.solver}" if entry.solver else entry.preset
            row = {"recipe": entry.recipe, "preset": words, "case": f"{source} to {target}", "samples": entry.samples}
            row |= {**measured(model, volume, truth, found), "seconds_per_slice": seconds}
            say(f"{row['case']}, {entry.recipe}, {words}: {row['psnr']:.2f} dB, {seconds:.1f} s a slice")
            yield row


def measured(model: Model, volume: Volume, truth: Volume, found: Translation) -> Row:
    """Errors of the mean and of one sample in network units, each image scaled by its own brightest tissue; the
    distance of the histograms of gradients; how well the spread ranks the errors within the head."""
    scale, own = model.intensity.fit(volume.array), model.intensity.fit(truth.array)
    real = np.asarray(own.forward(truth.array), np.float32)
    mean, sample = (np.asarray(scale.forward(v.array), np.float32) for v in (found.mean, found.sample))
    head = real > 0
    row: Row = {"calls": found.calls, "psnr": psnr(real, mean), "ssim": ssim(real, mean)}
    row |= {"psnr_sample": psnr(real, sample), "ssim_sample": ssim(real, sample)}
    row |= {"gradients": gradient_distance(real, sample, head)}
    if found.spread.array.any():
        row["spearman"] = spearman(found.spread.array[head], np.abs(mean - real)[head])
    return row


def gradient_distance(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> float:
    """Half the summed difference of the histograms of in-plane gradient magnitudes (0: as sharp, 1: nothing alike)."""
    sizes = [np.hypot(*np.gradient(x, axis=(1, 2)))[inside] for x in (a, b)]
    top = float(np.quantile(sizes[0], 0.999))
    shares = [np.histogram(np.minimum(s, top), BINS, (0.0, top))[0] / s.size for s in sizes]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def bars(rows: list[Row]) -> list[Row]:
    """What was promised of translation, against what the rows say; what was not measured is left out."""
    found: list[Row] = []
    pairs = []
    for source, target in DIRECTIONS:
        case = f"{source} to {target}"
        ours = next((r for r in rows if (r["recipe"], r["preset"], r["case"]) == ("translate", "balanced", case)), None)
        theirs = next((r for r in rows if (r["recipe"], r["case"]) == ("regression", case)), None)
        if ours and theirs:
            pairs.append((case, ours, theirs))
    for case, ours, theirs in pairs:
        gap = ours["psnr"] - theirs["psnr"]
        found.append(bar(f"{case}: dB above the regression, mean of {ours['samples']}", gap, ">= -0.3", gap >= -0.3))
        share = ours["gradients"] / theirs["gradients"]
        words = f"{case}: distance of gradient histograms, one sample, relative to the regression"
        found.append(bar(words, share, "< 1", share < 1))
        found.append(
            bar(f"{case}: rank correlation of spread and error", ours["spearman"], ">= 0.3", ours["spearman"] >= 0.3)
        )
    return found
