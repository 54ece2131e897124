"""Anomalies: every method on a patient with real lesions whom no model has seen, and on slices with painted ones.

What may be chosen (thresholds, healthy limits) was chosen on the person of the train split, by
`meddiff train thresholds`. Every method gets the same brain, the same smoothing and the same polarity.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path
from statistics import fmean

import numpy as np

from . import anomaly_cases
from .anomaly import anomaly_map
from .anomaly_cases import BRIGHTER, CONTRASTS, PERSONS, REAL, Case
from .anomaly_pictures import keep
from .bench import Row, Say, bar
from .bench_speed import measured
from .detection import Detection, detect
from .errors import BadInput, Notice, choose
from .job import Job
from .metrics import auprc, auroc, best_dice, dice, lesion_recall, lesion_recall_at
from .models import Model
from .registry import Recipe, recipes
from .sampling import drain
from .store import WEIGHTS, find
from .volume import read

TASK = "anomaly"
RIVALS = ("denoising-autoencoder", "intensity-threshold")  # what a diffusion method should be better than
OTHERS = (*RIVALS, "ensemble")  # no diffusion method by itself
# of a table that fits a terminal; the rows hold more
COLUMNS = {"calls": "{:.0f}"} | dict.fromkeys(
    ("auprc", "best_dice", "dice", "auroc", "recall_at_1", "told_auprc"), "{:.3f}"
)
COLUMNS |= {"seconds": "{:.0f}"}
MINIMUM = 10.0  # mm3 of a lesion that is found
WHOLE = "whole volume"


def methods(model: Model, wanted: Sequence[str] = ()) -> list[Recipe]:
    """The recipes of the task that this model can run: all, or the `wanted`; raises BadInput for unknown ones."""
    known = {r.name: r for r in recipes(TASK) if r.name in model.card.recipes}
    if not known:
        raise BadInput(f"{model.card.id} has no method that finds anomalies; expected a model such as brain-anomaly")
    chosen = [choose(name, known, "method of this model") for name in wanted] or list(known)
    return [known[n] for n in chosen if not known[n].part or known[n].part in model.card.companions]


def cases(data: Path, contrast: str, quick: bool) -> list[Case]:
    """Real lesions in every slice of the brain and 40 slices with painted ones; with `quick` half as many."""
    real = anomaly_cases.patient(data, contrast, step=2 if quick else 1)
    return [real, anomaly_cases.simulated(data, contrast, count=20 if quick else 40)]


def look(case: Case, model: Model, recipe: str, preset: str, samples: int) -> tuple[Detection, float]:
    """What a method finds in a case, as `meddiff run` finds it, and how many seconds that took."""
    known = model.card.healthy.get(recipe)
    has = known is not None and case.contrast in known.levels
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # of one sample, of slices far apart
        run = detect(
            case.volume,
            model,
            method=recipe,
            preset=preset,
            contrast=case.contrast,
            samples=samples,
            threshold="healthy" if has else "otsu",
            # of a slice by itself as many voxels as of a volume of 1 mm
            minimum_volume=MINIMUM * (case.volume.spacing[2] if case.planar else 1.0),
            mask=case.brain,
        )
        return drain(run), time.perf_counter() - began


def judge(case: Case, found: Detection) -> Row:
    """All figures of what was found. Areas, Dice and rates are those of the brain; `told_...` are those of a method
    that was told whether lesions are brighter or darker than they should be; `change_percent` is the mean absolute
    change away from lesions, relative to the range of the brain (0.1 to 99.9 %)."""
    counted, healthy = case.counted, case.healthy
    image, twin = case.volume.array, found.healthy.array
    low, high = np.percentile(image[counted], [0.1, 99.9])
    row: Row = {"prevalence": float(case.truth[counted].mean())} | curves(case, found.anomaly.array)
    mask = (found.lesions.array > 0) & counted
    row |= {"dice": dice(case.truth[counted], mask[counted])}
    row |= {"recall": lesion_recall(case.truth & counted, mask, planar=case.planar)}
    row |= {"change_percent": float(100 * np.abs(image - twin)[healthy].mean() / (high - low))}
    told = curves(case, directed(case, found))
    return row | {f"told_{name}": value for name, value in told.items()}


def curves(case: Case, score: np.ndarray) -> dict[str, float]:
    """The figures of a map that need no threshold."""
    counted = case.counted
    truth = case.truth & counted
    kept = np.where(counted, score, score[counted].min())
    best, _ = best_dice(truth[counted], score[counted])
    found = {"auprc": auprc(truth[counted], score[counted]), "auroc": auroc(truth[counted], score[counted])}
    return {**found, "best_dice": best, "recall_at_1": lesion_recall_at(truth, kept, 1.0, planar=case.planar)}


def directed(case: Case, found: Detection) -> np.ndarray:
    """The map (Z, Y, X) of what is brighter than its healthy twin, or darker, as lesions of this contrast are."""
    polarity = "brighter" if BRIGHTER[case.contrast] else "darker"
    brain = found.brain.array > 0
    image, twin = case.volume.array, found.healthy.array
    smoothing = found.settings["smoothing"]
    return anomaly_map(image, twin, brain, case.volume.spacing, polarity=polarity, smoothing=smoothing)


def compare(
    data: Path,
    model: Model,
    known: Sequence[Row] = (),
    *,
    contrasts: Sequence[str] = CONTRASTS,
    wanted: Sequence[str] = (),
    preset: str = "balanced",
    samples: int = 1,
    quick: bool = False,
    pictures: Path | None = None,
    say: Say,
) -> Iterator[Row]:
    """Rows one by one, each as soon as it is measured; those that are `known` of the same weights are not measured
    again. Last come the fast and the best preset of the method that was best."""
    rows: list[Row] = []
    for contrast in contrasts:
        for case in cases(data, choose(contrast, CONTRASTS, "contrast"), quick):
            for recipe in methods(model, wanted):
                rows.append(_row(case, model, recipe, preset, samples, known, pictures, say))
                yield rows[-1]
    best = winner(rows, preset)
    if best is None or quick:
        return
    recipe = next(r for r in methods(model) if r.name == best)
    for contrast in contrasts:
        case = cases(data, contrast, quick)[0]
        for other in ("fast", "best"):
            if other != preset:
                yield _row(case, model, recipe, other, samples, known, None, say)


def _row(
    case: Case,
    model: Model,
    recipe: Recipe,
    preset: str,
    samples: int,
    known: Sequence[Row],
    pictures: Path | None,
    say: Say,
) -> Row:
    """The row of one method in one case, from `known` if it is there."""
    about: Row = {"recipe": recipe.name, "case": str(case), "preset": preset, "slices": case.volume.shape[0]}
    about |= {"samples": samples, "of": _identity(model, recipe, preset)}
    for row in known:
        if same(row, about):
            return row
    found, seconds = look(case, model, recipe.name, preset, samples)
    row = about | {"calls": found.calls} | judge(case, found) | {"seconds": seconds}
    if pictures is not None and case.name == REAL:
        keep(pictures, case, found, recipe.name)
    say(f"{case}, {recipe.name}, {preset}: AUPRC {row['auprc']:.3f} in {seconds:.0f} s")
    return row


def same(row: Row, other: Row) -> bool:
    """Whether two rows tell of the same method, settings, weights, images and samples."""
    return all(row.get(name) == other.get(name) for name in ("recipe", "case", "preset", "slices", "samples", "of"))


def whole_volume(data: Path, model: str, device: str, recipe: str, contrast: str = "FLAIR") -> Row:
    """A row for a volume of 160 slices, searched by `meddiff run` in a process of its own, from file to file."""
    path = data / f"{PERSONS['test']}_{contrast}.nii.gz"
    with tempfile.TemporaryDirectory() as folder:
        options = {"contrast": contrast, "preset": "fast"}
        job = Job(recipe, model, {"volume": str(path)}, f"{folder}/out", options, device=device)
        Path(folder, "job.json").write_text(job.to_json(), encoding="utf-8")
        seconds, peak = measured([sys.executable, "-m", "meddiff", "run", f"{folder}/job.json", "--json"])
        told = json.loads(Path(folder, "out", "provenance.json").read_text(encoding="utf-8"))
        slices = read(path).shape[0]
    row: Row = {"recipe": recipe, "case": f"{contrast} {WHOLE}", "preset": "fast", "slices": slices}
    row |= {"samples": told["settings"]["samples"], "calls": told["figures"]["network_calls"], "seconds": seconds}
    return row | ({"peak_gib": peak / 2**30} if peak else {})


def winner(rows: Sequence[Row], preset: str = "balanced") -> str | None:
    """The diffusion method that is better than both rivals in the most cases, and of these the one whose AUPRC is the
    most times theirs (mean of the logarithms); None without a case that it and both rivals have been tried in."""
    ratios = _ratios([r for r in rows if r["preset"] == preset and "auprc" in r])
    most = max((len(found) for found in ratios.values()), default=0)

    def merit(name: str) -> tuple[int, float]:
        return sum(r >= 1 for r in ratios[name].values()), fmean(log(max(r, 1e-9)) for r in ratios[name].values())

    return max((name for name, found in ratios.items() if len(found) == most), key=merit, default=None)


def _ratios(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By diffusion method and case: AUPRC, divided by that of the better of the two rivals."""
    found: dict[str, dict[str, float]] = {}
    for case in dict.fromkeys(r["case"] for r in rows):
        here = {r["recipe"]: r["auprc"] for r in rows if r["case"] == case}
        if set(RIVALS) <= set(here):
            best = max(here[name] for name in RIVALS)
            for name in here.keys() - set(OTHERS):
                found.setdefault(name, {})[case] = here[name] / best
    return found


def bars(rows: Sequence[Row], preset: str = "balanced") -> list[Row]:
    """What was promised of anomalies, against what the rows say; what they do not tell is left out."""
    tried = [r for r in rows if r["preset"] == preset and "auprc" in r]
    best = winner(rows, preset)
    found = []
    for case, ratio in (_ratios(tried)[best] if best else {}).items():
        flair = case.startswith("FLAIR")
        name = f"AUPRC of {best}, times that of the better rival, {case}"
        found.append(bar(name, ratio, ">= 1" if flair else "> 1", ratio >= 1 if flair else ratio > 1))
    changes = [r["change_percent"] for r in tried if r["recipe"] == "counterfactual"]
    if changes:
        name = "change of counterfactual away from lesions, % of the range of the brain, worst"
        found.append(bar(name, max(changes), "< 3", max(changes) < 3))
    return found + _speed_bars(rows, best)


def _speed_bars(rows: Sequence[Row], best: str | None) -> list[Row]:
    by = {p: {r["case"]: r for r in rows if r["recipe"] == best and r["preset"] == p} for p in ("fast", "best")}
    both = [(fast, by["best"][case]) for case, fast in by["fast"].items() if case in by["best"]]
    found = []
    if both:
        loss = max(100 * (1 - fast["auprc"] / slow["auprc"]) for fast, slow in both)
        fewer = min(slow["calls"] / fast["calls"] for fast, slow in both)
        found.append(bar(f"AUPRC lost by the fast preset of {best}, %, worst", loss, "<= 2", loss <= 2))
        found.append(bar("times fewer network calls than the best preset", fewer, ">= 10", fewer >= 10))
    for row in rows:
        if row["case"].endswith(WHOLE):
            seconds = row["seconds"]
            found.append(
                bar(f"seconds for 160 slices, fast preset of {row['recipe']}", seconds, "< 180", seconds < 180)
            )
    return found


def _identity(model: Model, recipe: Recipe, preset: str) -> str:
    """Twelve digits that change with anything that a row depends on: weights, settings, healthy levels."""
    card = model.card
    parts = {recipe.part} & set(card.companions)
    weights = [find(card.companions[part]).card.files[WEIGHTS].sha256 for part in sorted(parts)]
    healthy = card.healthy.get(recipe.name)
    told = [card.files[WEIGHTS].sha256, *weights, recipe.settings(card.recipes[recipe.name], preset)]
    told += [[healthy.levels, healthy.limits, healthy.smoothing_mm] if healthy else []]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
