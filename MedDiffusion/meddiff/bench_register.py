"""Registration, measured: overlap of labels that no method sees, folds, consistency, and a deformation that is known.

Pairs of people's hippocampi that no model has seen, listed in `register_pairs.csv`; all methods see the same ones.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from . import rivals
from .alignment import Matrix, begin, frame
from .bench import Row, Say, bar
from .bench_segment import FOLDER, Known
from .errors import BadInput
from .metrics import dice
from .models import Model, load
from .overlap import hd95
from .registration import Registration, played, register
from .registry import find_recipe
from .sampling import drain
from .splits import files_of
from .store import WEIGHTS
from .task_register import carry, linear
from .vectors import Vectors
from .volume import Volume, read
from .warp import exponential, folded, jacobian_determinant, warp

PAIRS = Path(__file__).with_name("register_pairs.csv")
COUNT, QUICK, KNOWN = 60, 4, 10  # pairs in all, and of a quick run; images that are deformed in a known way
TAUGHT = "hippocampus-morph-labels"  # the model that labels were shown to
REFINED = 50  # steps of optimisation
BEND, SMOOTH, GRAIN = 3.0, 6.0, 0.03  # a known deformation: largest shift, smoothness (SD); noise, of the brightest
EDGE = 4  # voxels at the border of an image that are no landmarks
WITHIN = 0.002  # of similarity that the path may lose from one frame to the next
COLUMNS = {"dice": "{:.4f}", "dice_1": "{:.4f}", "dice_2": "{:.4f}", "worst_dice": "{:.3f}", "hd95_mm": "{:.2f}"}
COLUMNS |= {"folds_percent": "{:.4f}", "consistency_mm": "{:.3f}", "similarity": "{:.3f}", "error_voxels": "{:.3f}"}
COLUMNS |= {"calls": "{:.0f}", "seconds": "{:.2f}"}


@dataclass(frozen=True)
class Entry:
    """One way to register with a model, and how it is named in the table."""

    recipe: str
    preset: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""  # another one than that which is measured


MAIN = (
    Entry("voxelmorph", "fast"),
    Entry("voxelmorph", "balanced"),
    Entry("voxelmorph", "refined", {"refine": REFINED}),
    Entry("diffusemorph", "fast"),
    Entry("diffusemorph", "balanced"),
    Entry("diffusemorph", "refined", {"refine": REFINED}),
    Entry("diffusemorph", "with labels", model=TAUGHT),
)
RIVALS: dict[str, Callable[[Volume, Volume, Matrix], Vectors]] = {
    "affine of SimpleITK": rivals.affine,
    "demons": rivals.demons,
    "SyN": rivals.syn,
}


class Answer(NamedTuple):
    """A transform from the fixed to the moving image, the seconds it took, and what our methods know of it."""

    displacement: Vectors
    seconds: float
    told: Registration | None = None


def pairs(data: Path, split: str = "test", count: int = COUNT) -> list[tuple[Known, Known]]:
    """(moving, fixed) of a split: those of the list, or, of the train split, drawn from a seed; raises BadInput."""
    found = {Path(name).name for name in files_of(data, split) if name.startswith(f"{FOLDER}/images/")}
    if split == "test":
        with PAIRS.open(newline="", encoding="utf-8") as file:
            names = [(row["moving"], row["fixed"]) for row in csv.DictReader(file)][:count]
    else:
        names = draw(sorted(found), count)
    if missing := {name for pair in names for name in pair} - found:
        raise BadInput(f"{data} lacks {min(missing)} of the split {split!r}; {PAIRS.name} lists what is measured")
    known = {
        n: Known(read(data / FOLDER / "images" / n), read(data / FOLDER / "labels" / n)) for pair in names for n in pair
    }
    return [(known[a], known[b]) for a, b in names]


def draw(names: Sequence[str], count: int, seed: int = 0) -> list[tuple[str, str]]:
    """So many different ordered pairs of different names: how the list of the test split was made."""
    every = [(a, b) for a in names for b in names if a != b]
    return [every[k] for k in np.random.default_rng(seed).permutation(len(every))[:count]]


def compare(
    data: Path, model: Model, *, quick: bool, say: Say, split: str = "test", only: Sequence[str] = ()
) -> Iterator[Row]:
    """A row for every method on all pairs of the split, and for ours on deformations that are known."""
    chosen = pairs(data, split, QUICK if quick else COUNT)
    case = f"{len(chosen)} {split} pairs"

    def wanted(name: str) -> bool:
        return not only or name in only

    starts: list[Matrix] = []
    if any(map(wanted, ("centred", "affine", *RIVALS))):
        yield measure("centred", "", case, chosen, _centred, say)
        found = [_ours(model, Entry("voxelmorph", "fast"), *pair) for pair in chosen]
        starts = [each.told.affine for each in found if each.told]
        answers = iter([Answer(linear(m, fixed.image), 0.0) for m, (_, fixed) in zip(starts, chosen, strict=True)])
        yield measure("affine", "", case, chosen, lambda *_: next(answers), say)
    for name, method in RIVALS.items():
        if wanted(name):
            try:
                yield measure(name, "", case, chosen, partial(_rival, method, iter(starts)), say)
            except BadInput as error:
                say(str(error))
    for entry, used in _entries(model, wanted, say):
        row = measure(entry.recipe, entry.preset, case, chosen, partial(_ours, used, entry), say)
        yield row | {"weights": played(used, find_recipe(entry.recipe)).card.files[WEIGHTS].sha256}
    images = [fixed.image for _, fixed in chosen][: 2 if quick else KNOWN]
    known = [(bent(image, k), image) for k, image in enumerate(images)]
    for entry, used in _entries(model, wanted, say):
        if entry.preset != "with labels":
            yield landmarks(used, entry, known, split, say)


def _entries(model: Model, wanted: Callable[[str], bool], say: Say) -> Iterator[tuple[Entry, Model]]:
    for entry in MAIN:
        if not wanted(entry.recipe) and not wanted(f"{entry.recipe} {entry.preset}"):
            continue
        try:
            yield entry, load(entry.model, str(model.device)) if entry.model else model
        except BadInput as error:
            say(f"{entry.recipe}, {entry.preset}, is left out: {error}")


Method = Callable[[Known, Known], Answer]
Pairs = Sequence[tuple[Known, Known]]  # moving and fixed


def measure(recipe: str, preset: str, case: str, chosen: Pairs, method: Method, say: Say) -> Row:
    """The row of one method on all pairs."""
    rows = []
    for moving, fixed in chosen:
        found = method(moving, fixed)
        rows.append(scored(found, moving, fixed))
    row: Row = {"recipe": recipe, "preset": preset, "case": case, "pairs": len(chosen)}
    shared = [name for name in rows[0] if all(name in each for each in rows)]
    row |= {name: fmean(each[name] for each in rows) for name in shared} | {"worst_dice": min(r["dice"] for r in rows)}
    for name in ("largest_start", "falls", "early_folds"):
        if name in row:
            row[name] = max(each[name] for each in rows)
    say(f"{recipe} {preset}: Dice {row['dice']:.4f}, {row['folds_percent']:.4f} % folds, {row.get('seconds', 0):.2f} s")
    return row


def scored(found: Answer, moving: Known, fixed: Known) -> Row:
    """What one transform is worth by the labels, and what our methods say of it."""
    truth, made = fixed.truth.array, carry(moving.truth, found.displacement).array
    each = [dice(truth == k, made == k) for k in (1, 2)]
    row: Row = {"dice": fmean(each), "dice_1": each[0], "dice_2": each[1]}
    row["hd95_mm"] = fmean(hd95(truth == k, made == k, fixed.truth.spacing) for k in (1, 2))
    row["folds_percent"] = folded(jacobian_determinant(torch.from_numpy(found.displacement.voxels)[None]))
    row |= {"seconds": found.seconds} if found.seconds else {}
    told = found.told
    if told is None:
        return row
    row |= {"similarity": told.similarity[2], "calls": told.calls}
    row |= {} if told.consistency_mm is None else {"consistency_mm": told.consistency_mm}
    row["largest_start"] = told.path[0].largest_voxels
    row["falls"] = max(a.similarity - b.similarity for a, b in pairwise(told.path))
    row["early_folds"] = max(frame.folds for frame in told.path) - told.path[-1].folds
    return row


def _centred(moving: Known, fixed: Known) -> Answer:
    sides = [
        (each.image, torch.from_numpy(each.image.array.astype(np.float32))[None, None]) for each in (fixed, moving)
    ]
    matrix = begin(sides[0], sides[1], None, "centres")
    whole = frame(moving.image) @ matrix @ np.linalg.inv(frame(fixed.image))
    return Answer(linear(whole, fixed.image), 0.0)


def _rival(
    method: Callable[[Volume, Volume, Matrix], Vectors], starts: Iterator[Matrix], moving: Known, fixed: Known
) -> Answer:
    start, began = next(starts), time.perf_counter()
    return Answer(method(moving.image, fixed.image, start), time.perf_counter() - began)


def _ours(model: Model, entry: Entry, moving: Known, fixed: Known, **about: Any) -> Answer:
    preset: Any = entry.preset if entry.preset in ("fast", "best") else "balanced"
    told: dict[str, Any] = {"method": entry.recipe, "parameters": entry.parameters, "preset": preset, **about}
    began = time.perf_counter()
    found = drain(register(moving.image, fixed.image, model, **told))
    return Answer(found.displacement, time.perf_counter() - began, found)


def bent(image: Volume, seed: int) -> tuple[Volume, Vectors]:
    """An image m(q) = i(exp(w)(q)) with noise and another contrast, and the displacements of exp(-w), which take the
    points of i to those of m."""
    x = torch.from_numpy(image.array.astype(np.float32))[None, None]
    g = np.random.default_rng(seed)
    w = torch.from_numpy(np.stack([ndimage.gaussian_filter(g.standard_normal(image.shape), SMOOTH) for _ in range(3)]))
    w = (BEND * w / w.square().sum(0).sqrt().max()).float()[None]
    moved, brightest = warp(x, exponential(w))[0, 0].numpy(), float(x.max())
    noisy = moved + GRAIN * brightest * g.standard_normal(image.shape)
    changed = brightest * (np.clip(noisy, 0, None) / brightest) ** 0.8
    return image.with_array(changed.astype(np.float32)), Vectors.of_voxels(exponential(-w)[0].numpy(), image)


def landmarks(
    model: Model, entry: Entry, known: Sequence[tuple[tuple[Volume, Vectors], Volume]], split: str, say: Say
) -> Row:
    """How far from their true places the voxels of a deformed image are found, those near its edge left out (mean)."""
    errors, apart, seconds = [], [], []
    for (moving, truth), fixed in known:
        answer = _ours(model, entry, Known(moving, moving), Known(fixed, fixed), align="none")
        inner = (slice(None), *(slice(EDGE, -EDGE),) * 3)
        miss, far = answer.displacement.voxels - truth.voxels, truth.voxels
        errors.append(float(np.sqrt(np.square(miss[inner]).sum(0)).mean()))
        apart.append(float(np.sqrt(np.square(far[inner]).sum(0)).mean()))
        seconds.append(answer.seconds)
    say(f"{entry.recipe} {entry.preset}: {fmean(errors):.3f} voxels off, of {fmean(apart):.3f}")
    row: Row = {
        "recipe": entry.recipe,
        "preset": entry.preset,
        "case": f"{len(known)} {split} images, known deformation",
    }
    return row | {"error_voxels": fmean(errors), "before_voxels": fmean(apart), "seconds": fmean(seconds)}


def bars(rows: Sequence[Row]) -> list[Row]:
    """What was promised of registration, against what the rows say; what was not measured is left out."""
    found: list[Row] = []
    by = {(r["recipe"], r["preset"]): r for r in rows if "dice" in r}
    ours, fast, fine, taught = (by.get(("diffusemorph", p)) for p in ("balanced", "fast", "refined", "with labels"))
    if ours:
        found.append(bar("mean Dice, unsupervised", ours["dice"], ">= 0.79", ours["dice"] >= 0.79))
        found.append(bar("folds, %", ours["folds_percent"], "<= 0.1", ours["folds_percent"] <= 0.1))
        for name, preset in (("demons", ""), ("SyN", ""), ("voxelmorph", "balanced")):
            if other := by.get((name, preset)):
                above = ours["dice"] - other["dice"]
                found.append(bar(f"Dice above that of {name}", above, "> 0", above > 0))
        start, falls, early = (ours[name] for name in ("largest_start", "falls", "early_folds"))
        found.append(bar("displacement at eta = 0, largest (voxels)", start, "<= 0.001", start <= 0.001))
        found.append(bar("similarity lost from frame to frame, largest", falls, f"<= {WITHIN}", falls <= WITHIN))
        found.append(bar("folds of a frame more than of the last, %", early, "<= 0", early <= 0))
        lost = ours["consistency_mm"]
        found.append(bar("inverse consistency, mm", lost, "< 0.5", lost < 0.5))
    if fine:
        found.append(bar("mean Dice with optimisation of the pair", fine["dice"], ">= 0.81", fine["dice"] >= 0.81))
    if taught:
        found.append(bar("mean Dice, taught with labels", taught["dice"], ">= 0.84", taught["dice"] >= 0.84))
    if fast:
        found.append(bar("seconds a pair, preset fast", fast["seconds"], "< 0.5", fast["seconds"] < 0.5))
    found += [
        bar("error at landmarks, refined (voxels)", r["error_voxels"], "< 0.5", r["error_voxels"] < 0.5)
        for r in rows
        if "error_voxels" in r and (r["recipe"], r["preset"]) == ("diffusemorph", "refined")
    ]
    return found
