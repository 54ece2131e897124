"""Raw scans, simulated and written as files, reconstructed as `meddiff reconstruct FILE` does, beside total variation.

Coils and phase are estimated from the scan, by every method alike. What can be chosen was chosen on a person of the
train split, by `meddiff bench raw --tune`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from .baselines import total_variation, zero_filled
from .bench import TEST, TRAIN, Row, Say, bar, central_slices, quality, uncertainty
from .errors import BadInput
from .job import Job, run
from .kspace import noise_level
from .models import Model
from .rawfiles import read_raw
from .reconstruction import Acquisition, Reconstruction, measure
from .recorded import Recorded, calibrate
from .sampling import drain
from .volume import Volume, read

CONTRAST, BRIGHTEST = "T1", 1000.0  # of `central_slices`
COILS, NOISE, CENTRE = 8, 0.02, 0.08
# What is added to a phase that a polynomial of second order describes: standard deviation in rad, and that of the
# Gaussian which smoothed it, in voxels of 1 mm; its full width at half maximum stands in the name.
PHASES = {"smooth": (0.0, 1.0), "+ 0.15 rad over 6 mm": (0.15, 2.5), "+ 0.3 rad over 14 mm": (0.3, 6.0)}
LAMBDAS = (3e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
STRAYS = (0.0, 0.05, 0.1, 0.2, 0.4)  # rad, compared for the option `phase`
# Total variation: its strength, and whether the image without its smooth phase is held to be real; by `--tune`.
TUNED: dict[tuple[int, str], tuple[float, bool]] = {
    (4, "smooth"): (2e-3, True),
    (4, "+ 0.15 rad over 6 mm"): (2e-3, False),
    (4, "+ 0.3 rad over 14 mm"): (4e-3, False),
    (8, "smooth"): (2e-3, True),
    (8, "+ 0.15 rad over 6 mm"): (1e-3, False),
    (8, "+ 0.3 rad over 14 mm"): (1e-3, False),
}


@dataclass(frozen=True)
class Case:
    """One simulated scan: how undersampled, and what the phase of the image is like."""

    acceleration: int
    phase: str

    def __str__(self) -> str:
        return f"{CONTRAST} {self.acceleration}x {COILS} coils, phase {self.phase}"


def cases(quick: bool) -> list[Case]:
    """All of them, or with `quick` the easiest and the hardest."""
    found = [Case(*c) for c in product((4, 8), PHASES)]
    return [found[0], found[-1]] if quick else found


def phase_of(case: Case, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """The phase (slices, Y, X) of the image, in rad."""
    _, y, x = np.meshgrid(np.zeros(shape[0]), *(np.linspace(-1, 1, n) for n in shape[1:]), indexing="ij")
    spread, width = PHASES[case.phase]
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, width, width))
    return 1.5 * y + 0.8 * x**2 - 1.2 * x * y + 0.7 + rough * (spread / rough.std())


def simulate(volume: Volume, case: Case, path: Path, seed: int) -> None:
    """Write the scan of a volume of magnitudes: its k-space and the size of its voxels, and nothing else."""
    phase = phase_of(case, volume.shape, seed)
    truth = torch.from_numpy(np.stack([np.cos(phase), np.sin(phase)], 1) * volume.array[:, None]).float()
    scan = Acquisition(acceleration=case.acceleration, centre=CENTRE, coils=COILS, mask_seed=seed)
    operator = scan.operator((truth.shape[2], truth.shape[3]), 2, torch.device("cpu"))
    y = measure(truth, torch.arange(len(truth)), operator, NOISE * BRIGHTEST, seed)
    np.savez(path, kspace=y.numpy(), spacing=volume.spacing)


def calibrated(path: Path) -> Recorded:
    """The scan in a file, its coils and its smooth phase, as our own recipes find them."""
    raw = read_raw(path)
    try:
        return drain(calibrate(raw, noise_level(raw), 0.0, torch.device("cpu"), len(raw.kspace)))
    except ImportError as error:
        raise BadInput(f"total variation needs sigpy: {error}; install with: python -m pip install sigpy") from None


def classical(scan: Recorded, method: Any, lam: float = 0.0, real: bool = False) -> np.ndarray:
    """The image (slices, Y, X) of a method of `baselines`, 0 where no coil sees anything."""
    images = [
        method((y / BRIGHTEST).numpy(), mask[0].numpy(), maps.numpy(), lam, real)
        for y, mask, maps in zip(scan.kspace, scan.mask, scan.maps, strict=True)
    ]
    return BRIGHTEST * np.stack(images) * scan.seen.numpy()


def rivals(truth: Volume, case: Case, path: Path) -> Iterator[Row]:
    """Rows of what needs no prior."""
    scan = calibrated(path)
    lam, real = TUNED[case.acceleration, case.phase]
    chosen = {"zero-filled": (zero_filled, 0.0, False), "total-variation": (total_variation, lam, real)}
    for name, (method, strength, real) in chosen.items():
        began = time.perf_counter()
        image = classical(scan, method, strength, real)
        seconds = (time.perf_counter() - began) / len(image)
        about = {"recipe": name, "case": str(case), "slices": len(image), "lambda": strength, "real": real, "calls": 0}
        yield {**about, **quality(truth.array, image), "seconds_per_slice": seconds}


def ours(truth: Volume, case: Case, path: Path, model: Model, **options: Any) -> tuple[Row, Row]:
    """Rows of the first image (SENSE with Tikhonov's regularisation) and of `pnp`, from file to file."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job("pnp", model.card.id, {"kspace": str(path)}, folder, {"contrast": CONTRAST, **options})
        made = run(job, loader=lambda *_: model)
        names = ("reconstruction", "uncertainty", "zero-filled", "residual")
        mean, spread, initial, leftover = (read(made.outputs[name]) for name in names)
    calls, speed = int(made.figures["network_calls"]), made.provenance["speed"]
    misfit = made.figures["data_residual"]
    result = Reconstruction(mean, spread, initial, leftover, misfit, calls, speed["megapixels"])
    about = {"case": str(case), "slices": truth.shape[0]}
    first = {"recipe": "sense", **about, "calls": 0, **quality(truth.array, initial.array)}
    row: Row = {"recipe": "pnp", **about, "samples": made.provenance["settings"]["samples"], "calls": calls}
    row |= quality(truth.array, mean.array) | {"seconds_per_slice": speed["seconds"] / truth.shape[0]}
    return first, row | {"residual": misfit} | uncertainty(truth, result)


def compare(data: Path, model: Model, *, quick: bool, samples: int, preset: str, say: Say) -> list[Row]:
    """All rows, on a person whom no model has seen."""
    truth = central_slices(data, TEST, CONTRAST, 60, 60 if quick else 20)
    rows: list[Row] = []
    for case in cases(quick):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "scan.npz")
            simulate(truth, case, path, seed=0)
            simple, variation = rivals(truth, case, path)
            first, found = ours(truth, case, path, model, samples=samples, preset=preset)
        rows += [simple, first, variation, found]
        say(f"{case}: {found['psnr']:.2f} dB, total variation {variation['psnr']:.2f} dB")
    return rows


def tune(data: Path, model: Model, *, quick: bool, samples: int, preset: str, say: Say) -> list[Row]:
    """What there was to choose from, on a person of the train split: total variation, and how far the phase strays."""
    truth = central_slices(data, TRAIN, CONTRAST, 60, 60 if quick else 30)
    rows: list[Row] = []
    for case in cases(quick):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "scan.npz")
            simulate(truth, case, path, seed=1)  # of the mask, the coils, the phase and the noise
            scan = calibrated(path)
            for real, lam in product((False, True), LAMBDAS):
                name = f"total-variation {lam:g}{' real' if real else ''}"
                about = {"recipe": name, "case": str(case), "lambda": lam, "real": real}
                rows.append(about | quality(truth.array, classical(scan, total_variation, lam, real)))
            for phase in STRAYS:
                row = ours(truth, case, path, model, samples=samples, preset=preset, phase=phase)[1]
                rows.append({**row, "recipe": f"pnp --phase {phase:g}", "phase": phase})
        for kind in ("total-variation", "pnp"):
            best = max((r for r in rows if r["case"] == str(case) and kind in r["recipe"]), key=lambda r: r["psnr"])
            say(f"{case}: {best['recipe']}, {best['psnr']:.2f} dB")
    return rows


def bars(rows: Sequence[Row]) -> list[Row]:
    """What was promised of raw scans, against what the rows say."""
    found = {(r["case"], r["recipe"]): r["psnr"] for r in rows}
    least = min(psnr - found[case, "total-variation"] for (case, name), psnr in found.items() if name == "pnp")
    return [bar("dB above total variation, worst case", least, "> 0", least > 0)]
