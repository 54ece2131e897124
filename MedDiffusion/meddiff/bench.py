"""Measured quality and speed of reconstruction on people that no model has seen, beside the classical methods."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from . import __version__, baselines
from .baselines import Example
from .devices import describe
from .errors import BadInput
from .metrics import coverage, psnr, spearman, ssim
from .models import Model
from .multicoil import MultiCoil
from .reconstruction import Acquisition, Reconstruction, measure, reconstruct
from .sampling import drain
from .store import WEIGHTS
from .volume import Volume, canonical, read

CONTRASTS = ("FLAIR", "T1", "T1POST", "T2")
TEST, TRAIN = "brain_ms_mni/patient07", "brain_ms_mni/patient19"
LAMBDAS = (1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 8e-3)
METHODS = {1: tuple(baselines.METHODS), 8: ("zero-filled", "bart-wavelet", "bart-total-variation")}
# Regularisation of l1-wavelet, total-variation, bart-wavelet, bart-total-variation, found on a person of the
# train split. Total variation is nearly flat towards 1e-4, the smallest that was tried.
SEVERAL_COILS = 4e-3  # for both methods that are fast enough for several coils, found on T1 at 4x
TUNED = {
    (1, "T1", 4): (1e-3, 1e-4, 1e-3, 1e-3),
    (1, "T1", 8): (2e-3, 3e-4, 2e-3, 1e-3),
    (1, "T1POST", 4): (1e-3, 1e-4, 1e-3, 1e-3),
    (1, "T1POST", 8): (2e-3, 3e-4, 2e-3, 1e-3),
    (1, "T2", 4): (1e-3, 1e-4, 1e-3, 1e-3),
    (1, "T2", 8): (2e-3, 1e-4, 2e-3, 1e-3),
    (1, "FLAIR", 4): (1e-3, 2e-3, 1e-3, 2e-3),
    (1, "FLAIR", 8): (2e-3, 2e-3, 2e-3, 4e-3),
}
ONE = "one sample"  # how the cases are marked in which score-mri is compared with the fast recipe
Row = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One question of the benchmark: which image, how undersampled, how many coils."""

    contrast: str
    acceleration: int
    coils: int

    def __str__(self) -> str:
        return f"{self.contrast} {self.acceleration}x {self.coils} coil{'s' if self.coils > 1 else ''}"

    @property
    def step(self) -> int:
        """Every how many of the 60 central slices: the classical methods need up to half a minute for one."""
        return 6 if self.coils == 1 else 15

    @property
    def lambdas(self) -> dict[str, float]:
        """The tuned regularisation of each classical method."""
        names = ("l1-wavelet", "total-variation", "bart-wavelet", "bart-total-variation")
        found = TUNED.get((self.coils, self.contrast, self.acceleration), (SEVERAL_COILS,) * 4)
        return dict(zip(names, found, strict=True))

    @property
    def acquisition(self) -> Acquisition:
        """One coil without noise; several coils with the noise that a scan of this kind has (2 % of the brightest)."""
        return Acquisition(acceleration=self.acceleration, coils=self.coils, noise=0.02 if self.coils > 1 else 0.0)


def cases(quick: bool) -> list[Case]:
    """All of them, or with `quick` one contrast and one coil at both accelerations."""
    if quick:
        return [Case("FLAIR", a, 1) for a in (4, 8)]
    return [Case(*c) for c in product(CONTRASTS, (4, 8), (1, 8))]


def central_slices(data: Path, person: str, contrast: str, count: int, step: int = 1) -> Volume:
    """`count` central axial slices of a volume of the data folder (every `step`-th), canonical, 1000 = brightest."""
    path = data / f"{person}_{contrast}.nii.gz"
    if not path.is_file():
        raise BadInput(f"{path} is missing; --data names the folder that holds {person}_*.nii.gz")
    volume, _ = canonical(read(path))
    first = (volume.shape[0] - count) // 2
    array = np.ascontiguousarray(volume.array[first : first + count : step])
    return Volume(array, volume.spacing, volume.origin, volume.direction)


def examples(volume: Volume, case: Case) -> Iterator[Example]:
    """The slices of a volume (brightest about 1) as the classical methods see them, noise and all."""
    truth = torch.from_numpy(volume.array / 1000)[:, None]
    acquisition = case.acquisition
    operator = acquisition.operator((truth.shape[2], truth.shape[3]), 1, torch.device("cpu"))
    maps = operator.sensitivities.numpy() if isinstance(operator, MultiCoil) else None
    y = measure(truth, torch.arange(len(truth)), operator, acquisition.noise, acquisition.mask_seed)
    for kspace, image in zip(y, truth, strict=True):
        yield Example(kspace.numpy(), operator.mask.numpy(), image[0].numpy(), maps)


def rivals(case: Case) -> list[str]:
    """The classical methods that run here on this case."""
    return [name for name in METHODS[case.coils] if name in baselines.available()]


def tune(data: Path, case: Case, slices: int = 4) -> dict[str, float]:
    """The best regularisation of each classical method, on a person of the train split."""
    volume = central_slices(data, TRAIN, case.contrast, 60, 60 // slices)
    shown = list(examples(volume, case))
    names = [name for name in rivals(case) if name != "zero-filled"]
    return {name: baselines.tune(baselines.METHODS[name], shown, LAMBDAS, real=True).lam for name in names}


def classical(data: Path, case: Case) -> Iterator[Row]:
    """A row for every classical method; each knows, as the prior does, that the image is real and not negative."""
    volume = central_slices(data, TEST, case.contrast, 60, case.step)
    for name in rivals(case):
        began = time.perf_counter()
        lam = case.lambdas.get(name, 0.0)
        images = [baselines.METHODS[name](e.kspace, e.mask, e.sensitivities, lam, True) for e in examples(volume, case)]
        seconds = (time.perf_counter() - began) / len(images)
        figures = quality(volume.array / 1000, np.stack(images))
        about = {"recipe": name, "case": str(case), "slices": len(images), "lambda": lam, "calls": 0}
        yield {**about, **figures, "seconds_per_slice": seconds}


def quality(truth: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """PSNR in dB (range: the maximum of the reference volume) and SSIM."""
    return {"psnr": psnr(truth, image), "ssim": ssim(truth, image)}


def ours(data: Path, model: Model, case: Case, step: int, samples: int, **settings: Any) -> Row:
    """A row for one of our recipes, run end to end as `meddiff reconstruct` runs it."""
    volume = central_slices(data, TEST, case.contrast, 60, step)
    began = time.perf_counter()
    run = reconstruct(
        volume, model, acquisition=case.acquisition, contrast=case.contrast, samples=samples, batch=10, **settings
    )
    result = drain(run)
    seconds = (time.perf_counter() - began) / volume.shape[0]
    row: Row = {"recipe": settings.get("method", "pnp"), "case": str(case), "slices": volume.shape[0]}
    row |= {"samples": samples, "calls": result.calls} | quality(volume.array, result.mean.array)
    row |= {"seconds_per_slice": seconds, "residual": result.residual}
    return row | (uncertainty(volume, result) if samples > 1 else {})


def compare(
    data: Path, model: Model, known: Sequence[Row], *, quick: bool, samples: int, preset: str, say: Say
) -> list[Row]:
    """All rows: the classical methods (those `known` are not run again), the fast recipe, and on eight slices the
    fast recipe against a thousand calls of score-mri, one sample each."""
    rows: list[Row] = []
    missing = [c for c in cases(quick) if rivals(c) == ["zero-filled"] and not any(r["case"] == str(c) for r in known)]
    if missing:
        raise BadInput(f"only zero-filling runs here for {missing[0]}; install BART and sigpy, or give --classical")
    for case in cases(quick):
        rows += [r for r in known if r["case"] == str(case)] or list(classical(data, case))
        rows.append(ours(data, model, case, case.step, samples, preset=preset))
        say(f"{case}: {rows[-1]['psnr']:.2f} dB")
    case = cases(quick)[0]
    calls = {"steps": 50} if quick else {"steps": 501}
    for method, parameters in {"pnp": {}, "score-mri": calls}.items():
        row = ours(data, model, case, 8, 1, method=method, parameters=parameters, preset=preset)
        rows.append({**row, "case": f"{case}, {row['slices']} slices, {ONE}"})
        say(f"{method}: {row['psnr']:.2f} dB in {row['calls']} calls")
    return rows


def uncertainty(volume: Volume, result: Reconstruction) -> dict[str, float]:
    """Does the uncertainty tell where the error is, and how large? Over all voxels, and inside the head alone, which
    is harder: the background is easy, and both know it."""
    found = {}
    for where, chosen in {"": np.ones_like(volume.array, bool), "_inside": volume.array > 0}.items():
        truth, mean, spread = (a[chosen] for a in (volume.array, result.mean.array, result.spread.array))
        found[f"spearman{where}"] = spearman(np.abs(truth - mean), spread)
        found[f"coverage90{where}"] = coverage(truth, mean, spread, 0.9)
    return found


def gain(ours: Sequence[Row], rows: Sequence[Row], acceleration: int) -> float:
    """Mean over the cases at one acceleration of our PSNR above that of the best classical method, in dB."""
    return fmean(
        row["psnr"] - max(r["psnr"] for r in rows if r["case"] == row["case"] and r["calls"] == 0)
        for row in ours
        if f" {acceleration}x " in row["case"]
    )


def bar(name: str, value: float, target: str, met: bool) -> Row:
    """One line of what was promised and what was found."""
    return {"name": name, "value": float(f"{value:.4g}"), "target": target, "met": bool(met)}


def bars(rows: Sequence[Row]) -> list[Row]:
    """What was promised of reconstruction, against what the rows say."""
    found = [r for r in rows if r["recipe"] == "pnp" and "spearman" in r]
    exact = [r["residual"] for r in found if " 1 coil" in r["case"]]
    fast, slow = (next(r for r in rows if r["recipe"] == name and ONE in r["case"]) for name in ("pnp", "score-mri"))
    four, eight = (gain(found, rows, a) for a in (4, 8))
    lowest, inside = (min(r[f"spearman{where}"] for r in found) for where in ("", "_inside"))
    cover = [r[f"coverage90{where}"] for r in found for where in ("", "_inside")]
    near, fewer = slow["psnr"] - fast["psnr"], slow["calls"] / fast["calls"]
    return [
        bar("dB above the best classical method at 4x, mean of cases", four, ">= 1.5", four >= 1.5),
        bar("dB above the best classical method at 8x, mean of cases", eight, ">= 4", eight >= 4),
        bar("dB below score-mri with 1000 calls", near, "<= 0.3", near <= 0.3 and slow["calls"] >= 1000),
        bar("times fewer calls than score-mri", fewer, ">= 40", fewer >= 40),
        bar("relative k-space residual, noise-free, worst", max(exact), "<= 1e-4", max(exact) <= 1e-4),
        bar("Spearman correlation of uncertainty and error, all voxels, worst", lowest, ">= 0.4", lowest >= 0.4),
        bar("the same inside the head", inside, ">= 0.4", inside >= 0.4),
        bar("coverage of the 90 % interval, lowest, inside or out", min(cover), ">= 0.80", min(cover) >= 0.8),
        bar("coverage of the 90 % interval, highest, inside or out", max(cover), "<= 0.97", max(cover) <= 0.97),
    ]


def report(task: str, model: Model, rows: Sequence[Row], bars: Sequence[Row]) -> dict[str, Any]:
    """The file that a benchmark writes."""
    weights = model.card.files[WEIGHTS].sha256
    about = {"task": task, "commit": commit(), "device": describe(model.device), "weights": weights}
    return {**about, "rows": list(rows), "bars": list(bars)}


def commit() -> str:
    """The commit of the code that is running, or its version where there is no repository."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return __version__
    return done.stdout.strip() or __version__
