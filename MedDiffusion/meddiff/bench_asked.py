"""Synthesis of what was asked for, measured: is the label map in the image, and is the slice as high up as was said."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from .anomaly_cases import person
from .bench import Row, Say, bar
from .bench_segment import Known, crops
from .bench_synthesise import accuracy, classifier
from .domain import HEIGHT, heights_of
from .errors import BadInput
from .metrics import dice, spearman
from .models import Model, load
from .noises import seed_of
from .registry import find_recipe
from .sampling import drain
from .segmentation import segment
from .splits import files_of
from .synthesis import synthesise
from .volume import Volume, canonical, read, resample, resample_like

JUDGE = "hippocampus-unet"  # a network that has learnt from real images where the segments are
TAUGHT = (
    "brain_ms_mni/*_{name}.nii.gz",
    "brain_ms_longitudinal/*_{name}.nii.gz",
    "brain_ms_longitudinal/*_{name}W.nii.gz",
)
# voxels: a network that has seen sharp slices alone takes all blurred ones, real ones too, for one contrast
BLURS = (0.0, 0.7, 1.2)
HEIGHTS = tuple(k / 20 for k in range(2, 19))
QUICK = 4  # crops, or every so many heights, of a quick run
COLUMNS = {"images": "{:.0f}", "calls": "{:.0f}", "dice": "{:.4f}", "dice_1": "{:.4f}", "dice_2": "{:.4f}"}
COLUMNS |= {"likeness": "{:.3f}", "contrast": "{:.3f}", "off": "{:.3f}", "rank": "{:.3f}", "seconds": "{:.2f}"}
Slices = tuple[NDArray[np.float32], NDArray[np.float32]]  # images (N, Y, X), and how high up each lies (N,)


@dataclass(frozen=True)
class Entry:
    """One way to make images, how it is named in the table, and whether it is told what is asked for."""

    recipe: str
    preset: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    told: bool = True

    @property
    def base(self) -> str:
        """The preset that the parameters change."""
        return self.preset.split(",")[0]


ENTRIES = (
    Entry("synthesise", "balanced"),
    Entry("synthesise", "fast"),
    Entry("guided-synthesis", "balanced, guidance 2", {"guidance": 2.0}),
    Entry("synthesise", "balanced, untold", told=False),
)


def compare(data: Path, model: Model, *, quick: bool, say: Say) -> Iterator[Row]:
    """Rows for models that are told a label map, or a height; raises BadInput for others."""
    if model.card.segments:
        yield from _shapes(crops(data)[: QUICK if quick else None], model, say)
    elif HEIGHT in model.card.covariates and model.card.window is not None:
        yield from _heights(data, model, HEIGHTS[::QUICK] if quick else HEIGHTS, say)
    else:
        told = "is told neither label maps nor, of images of one size, a height"
        raise BadInput(f"{model.card.id} {told}; choose another model")


# ---------------------------------------------------------------- label maps


def _shapes(known: Sequence[Known], model: Model, say: Say) -> Iterator[Row]:
    """What the judge finds in the real images of the label maps, and in those that were made of them."""
    judge, case = load(JUDGE, str(model.device)), f"{len(known)} label maps"
    yield {"recipe": "real images", "preset": "", "case": case, "images": len(known)} | _found(known, judge)
    for entry in ENTRIES:
        began, made = time.perf_counter(), []
        for k, each in enumerate(known):
            grid = canonical(each.truth)[0]
            size = dict(zip(("size_z", "size_y", "size_x"), grid.shape, strict=True))
            image = _made(model, entry, k, **({"labels": each.truth} if entry.told else size))
            made.append(Known(resample_like(grid.with_array(image.array), each.truth), each.truth))
        seconds = (time.perf_counter() - began) / len(known)
        row = (
            _about(entry, case, len(known))
            | {"seconds": seconds}
            | _found(made, judge)
            | {"likeness": _likeness(made, known)}
        )
        say(f"{entry.recipe}, {entry.preset}: Dice {row['dice']:.3f}, {seconds:.1f} s an image")
        yield row


def _made(model: Model, entry: Entry, number: int, **asked: Any) -> Volume:
    """One image, and the same for all ways to make it."""
    about: dict[str, Any] = {"method": entry.recipe, "preset": entry.base, "parameters": entry.parameters}
    return drain(synthesise(model, samples=1, seed=seed_of(0, number) % 2**31, **about, **asked)).images[0]


def _found(known: Sequence[Known], judge: Model) -> Row:
    """The overlap of what the judge finds in images with what was asked for."""
    each = []
    for image, truth, *_ in known:
        labels = drain(segment(image, judge, method="unet", samples=1)).labels.array
        each.append([dice(truth.array == k, labels == k) for k in range(1, len(judge.card.segments) + 1)])
    columns = [fmean(column) for column in zip(*each, strict=True)]
    return {"dice": fmean(columns)} | {f"dice_{k}": value for k, value in enumerate(columns, start=1)}


def _likeness(made: Sequence[Known], known: Sequence[Known]) -> float:
    """The mean correlation of images with the real ones of their label maps, which they need not be like."""
    pairs = zip((m.image.array for m in made), (k.image.array for k in known), strict=True)
    return fmean(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in pairs)


# ---------------------------------------------------------------- heights


def _heights(data: Path, model: Model, heights: Sequence[float], say: Say) -> Iterator[Row]:
    """What judges that know the slices of the train split say of images; first, of the real ones of the test person."""
    names = model.card.labels.names if model.card.labels else ()
    known = {name: _taught(data, name, model) for name in names}
    judge = classifier(
        {name: torch.cat([_seen(_blurred(slices, s)) for s in BLURS]) for name, (slices, _) in known.items()}
    )
    among = _joined([*known.values()])
    asked = [(name, height) for name in names for height in heights]
    case = f"{len(heights)} heights of {len(names)} contrasts"
    real = {name: _slices(person(data, name, "test"), model) for name in names}
    images = [real[name][0][np.abs(real[name][1] - height).argmin()] for name, height in asked]
    for blur in BLURS[::2]:
        about = {"recipe": "real images", "preset": f"blurred by {blur:g} voxels" if blur else "", "case": case}
        yield about | _obeyed(asked, [*_blurred(np.stack(images), blur)], among, judge)
    for entry in ENTRIES:
        began = time.perf_counter()
        told = [{"label": name, "covariates": {HEIGHT: height}} if entry.told else {} for name, height in asked]
        images = [_made(model, entry, k, **each).array[0] for k, each in enumerate(told)]
        seconds = (time.perf_counter() - began) / len(images)
        row = _about(entry, case, len(images)) | {"seconds": seconds} | _obeyed(asked, images, among, judge)
        say(f"{entry.recipe}, {entry.preset}: {row['contrast']:.0%} in the right contrast, off by {row['off']:.3f}")
        yield row


def _taught(data: Path, name: str, model: Model) -> Slices:
    """All slices of a contrast of the train split; raises BadInput where there are none."""
    patterns = [pattern.format(name=name) for pattern in TAUGHT]
    files = [file for file in files_of(data, "train") if any(fnmatch(file, pattern) for pattern in patterns)]
    if not files:
        raise BadInput(f"no {name} in the train split of {data}; expected {' or '.join(patterns)}")
    return _joined([_slices(canonical(read(data / file))[0], model) for file in files])


def _joined(several: Sequence[Slices]) -> Slices:
    images, heights = zip(*several, strict=True)
    return np.concatenate(images), np.concatenate(heights)


def _obeyed(asked: Sequence[tuple[str, float]], images: Sequence[NDArray[Any]], among: Slices, judge: nn.Module) -> Row:
    """How often a network finds the contrast that was asked for, and how near the most similar slice is in height."""
    found, alike = zip(*(_nearest(image, among) for image in images), strict=True)
    wanted = np.array([height for _, height in asked])
    contrasts = dict.fromkeys(name for name, _ in asked)  # in the order in which the judge knows them
    rows = {name: _seen([i for (n, _), i in zip(asked, images, strict=True) if n == name]) for name in contrasts}
    return {
        "images": len(images),
        "contrast": accuracy(judge, rows),
        "off": float(np.abs(wanted - found).mean()),
        "rank": spearman(wanted, np.array(found)),
        "likeness": fmean(alike),
    }


def _slices(volume: Volume, model: Model) -> Slices:
    """The slices of a canonical volume that show a brain, as the model makes them, each of mean 0 and length 1."""
    spacing = (*model.card.spacing_mm[:2], volume.spacing[2])
    volume = volume if np.allclose(volume.spacing, spacing, rtol=0.01) else resample(volume, spacing)
    stack = volume.array.astype(np.float32)
    height = heights_of(stack > 0.05 * np.percentile(stack, 99.9))
    body = (height >= 0) & (height <= 1)
    fitted = np.asarray(ResizeWithPadOrCrop(model.card.window)(torch.from_numpy(stack[body])))
    return np.stack([_unit(image) for image in fitted]), height[body].astype(np.float32)


def _blurred(images: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(gaussian_filter(images, (0, sigma, sigma)), np.float32) if sigma else images


def _unit(image: NDArray[Any]) -> NDArray[np.float32]:
    centred = image.astype(np.float32) - image.mean(dtype=np.float32)
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


def _seen(images: Sequence[NDArray[Any]] | NDArray[Any]) -> Tensor:
    """Images (N, Y, X) as the network looks at them, of mean 0 and deviation 1."""
    return torch.from_numpy(np.stack([_unit(image) * image.size**0.5 for image in images]))


def _nearest(image: NDArray[Any], among: Slices) -> tuple[float, float]:
    """Height and correlation of the slice, of any contrast, that is most like an image of the same size."""
    slices, heights = among
    if image.shape != slices.shape[1:]:
        came = f"an image of {image.shape} voxels was made, and the slices have {slices.shape[1:]}"
        raise BadInput(f"{came}; expected as many")
    alike = np.tensordot(slices, _unit(image), 2)
    best = int(alike.argmax())
    return float(heights[best]), float(alike[best])


def _about(entry: Entry, case: str, count: int) -> Row:
    recipe = find_recipe(entry.recipe)
    calls = recipe.calls(recipe.settings(entry.parameters, entry.base))
    about: Row = {"recipe": entry.recipe, "preset": entry.preset, "case": case}
    return about | {"images": count, "samples": count, "calls": calls}


def bars(rows: list[Row]) -> list[Row]:
    """Nothing was promised but that what is asked for is in the image, as well as a judge can tell."""
    told = next((row for row in rows if (row["recipe"], row["preset"]) == ("synthesise", "balanced")), None)
    if told is None:
        return []
    real = next(row for row in rows if row["recipe"] == "real images")
    if "dice" in told:
        share = told["dice"] / real["dice"]
        return [bar("overlap of what was asked for, relative to real images", share, ">= 0.9", share >= 0.9)]
    contrast, rank = told["contrast"] / real["contrast"], told["rank"] / real["rank"]
    return [
        bar("images in the contrast that was asked for, relative to real images", contrast, ">= 0.9", contrast >= 0.9),
        bar("rank correlation of asked and found heights, relative to real images", rank, ">= 0.9", rank >= 0.9),
    ]
