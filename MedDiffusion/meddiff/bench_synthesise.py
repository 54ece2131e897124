"""Synthesis, measured: does a classifier know what was made, can it learn from that alone, is it as varied as real
images are, and is any of it a copy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics.regression import MultiScaleSSIMMetric
from torch import Tensor, nn
from torch.nn import functional

from .bench import Row, Say, bar
from .errors import BadInput
from .models import Model
from .noises import seed_of
from .registry import find_recipe
from .sampling import drain
from .splits import files_of
from .synthesis import synthesise
from .volume import read

FOLDER = "mednist"
MANY, SOME, FEW = 200, 20, 10  # images of a class: of the main rows, of the long way, of a quick run
LONG, SHORT = 500, 25  # steps
EPOCHS, BATCH, RATE, WIDTHS = 8, 50, 2e-3, (16, 32, 64)
PAIRS = 200  # of images of a class whose similarity is measured
NEAREST = 0.05  # the quantile of distances at which copies would show
COLUMNS = {"images": "{:.0f}", "calls": "{:.0f}", "called": "{:.4f}", "learnt": "{:.4f}", "learnt_real": "{:.4f}"}
COLUMNS |= {"ms_ssim": "{:.3f}", "ms_ssim_real": "{:.3f}", "nearest": "{:.3f}", "nearest_low": "{:.3f}"}
COLUMNS |= {"change": "{:.4f}", "seconds": "{:.1f}"}
Images = Mapping[str, Tensor]  # of each class (N, Y, X), 0 to 1


@dataclass(frozen=True)
class Entry:
    """One way to make images, and how it is named in the table."""

    recipe: str
    preset: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


MAIN = (
    Entry("synthesise", f"{SHORT} steps", {"steps": SHORT}),
    Entry("synthesise", "10 steps", {"steps": 10}),
    Entry("guided-synthesis", f"{SHORT} steps, guidance 2", {"steps": SHORT, "guidance": 2.0}),
)
WAYS = tuple(Entry("synthesise", f"{steps} steps", {"steps": steps}) for steps in (LONG, SHORT))


def real(data: Path, model: Model, split: str) -> Images:
    """The images of each class that the model knows; raises BadInput where there are none."""
    scaling, names = model.intensity.fit(np.zeros(1, np.float32)), model.card.labels.names if model.card.labels else ()
    files = {name: f"{FOLDER}/{name}_{split}.nrrd" for name in names}
    if not files or not {*files.values()} <= {*files_of(data, split)}:
        raise BadInput(f"{model.card.id} makes {', '.join(names) or 'no classes'}; expected the classes of {FOLDER}")
    low, high = model.intensity.target
    return {
        name: (torch.from_numpy(scaling.forward(read(data / file).array)).float() - low) / (high - low)
        for name, file in files.items()
    }


def made(model: Model, entry: Entry, count: int) -> Images:
    """So many images of each class; the first of them are the same whatever the count."""
    low, high = model.intensity.target
    scaling, found = model.intensity.fit(np.zeros(1, np.float32)), {}
    for k, name in enumerate(model.card.labels.names if model.card.labels else ()):
        about: dict[str, Any] = {"method": entry.recipe, "parameters": entry.parameters, "label": name}
        run = synthesise(model, samples=count, batch=32, seed=seed_of(0, k) % 2**31, **about)
        stack = scaling.forward(drain(run).stack.array)
        found[name] = ((torch.from_numpy(stack).float() - low) / (high - low)).clamp(0, 1)
    return found


def compare(data: Path, model: Model, *, quick: bool, say: Say) -> Iterator[Row]:
    """A row for each way to make images, and for a long and a short one from the same noise."""
    train, test = real(data, model, "train"), real(data, model, "test")
    judge = classifier(train)
    known, similar = accuracy(judge, test), variety(test)
    say(f"a classifier of real images knows {known:.1%} of the test images")
    near = nearest(test, train)
    for entry in MAIN[:1] if quick else MAIN:
        began = time.perf_counter()
        images = made(model, entry, FEW if quick else MANY)
        seconds = time.perf_counter() - began
        row = _row(model, entry, images, seconds) | {"called": accuracy(judge, images)}
        row |= {"learnt": accuracy(classifier(images), test), "learnt_real": known}
        row |= {"ms_ssim": variety(images), "ms_ssim_real": similar}
        mine = nearest(images, train)
        row |= {"nearest": float(mine.median() / near.median())}
        row |= {"nearest_low": float(mine.quantile(NEAREST) / near.quantile(NEAREST))}
        say(f"{entry.recipe}, {entry.preset}: {row['called']:.1%} are called what they are; {seconds:.0f} s")
        yield row
    if not quick:
        yield from _ways(model, judge, say)


def _ways(model: Model, judge: nn.Module, say: Say) -> Iterator[Row]:
    """The long way, and the short one beside it, from the same noise."""
    longest: Images = {}
    for entry in WAYS:
        began = time.perf_counter()
        images = made(model, entry, SOME)
        row = _row(model, entry, images, time.perf_counter() - began, ", same noise")
        row |= {"called": accuracy(judge, images), "ms_ssim": variety(images)}
        if longest:
            row["change"] = float(torch.stack([(images[k] - longest[k]).abs().mean() for k in images]).mean())
        longest = longest or images
        say(f"{entry.preset}: {row['called']:.1%}")
        yield row


def _row(model: Model, entry: Entry, images: Images, seconds: float, what: str = "") -> Row:
    count = sum(map(len, images.values()))
    recipe = find_recipe(entry.recipe)
    calls = recipe.calls(recipe.settings(entry.parameters))
    about = {"recipe": entry.recipe, "preset": entry.preset, "case": f"{len(images)} classes{what}"}
    return about | {"images": count, "samples": count, "calls": calls, "seconds": seconds / count * len(images)}


# ---------------------------------------------------------------- figures


def classifier(images: Images, epochs: int = EPOCHS) -> nn.Module:
    """A small network that learns the classes of images, always alike, in as many steps however many there are."""
    x, y = _stacked(images)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for before, after in zip((1, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTHS[-1], len(images)))
    g, steps = torch.Generator().manual_seed(0), epochs * 2400 // BATCH
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=g)
        loss = functional.cross_entropy(network(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Images) -> float:
    """The share of images that are called what they are."""
    x, y = _stacked(images)
    return float((torch.cat([network(part) for part in x.split(200)]).argmax(1) == y).float().mean())


def _stacked(images: Images) -> tuple[Tensor, Tensor]:
    """All images (N, 1, Y, X) and the numbers of their classes (N,)."""
    classes = torch.cat([torch.full((len(stack),), k) for k, stack in enumerate(images.values())])
    return torch.cat([*images.values()])[:, None], classes


def variety(images: Images) -> float:
    """How alike two images of a class are: the mean multi-scale SSIM (Wang 2003) of random pairs, over three scales,
    which is what 64 pixels hold; lower is more varied."""
    measure, found = MultiScaleSSIMMetric(2, data_range=1.0, kernel_size=11, weights=(0.2, 0.3, 0.5)), []
    for k, stack in enumerate(images.values()):
        g = torch.Generator().manual_seed(k)
        first = torch.randint(len(stack), (PAIRS,), generator=g)
        other = (first + torch.randint(1, len(stack), (PAIRS,), generator=g)) % len(stack)
        found.append(torch.as_tensor(measure(stack[first][:, None], stack[other][:, None])).mean())
    return float(torch.stack(found).mean())


def nearest(images: Images, among: Images) -> Tensor:
    """The root mean square distance (N,) of each image to the nearest one among others of its class."""
    found = [torch.cdist(stack.flatten(1), among[name].flatten(1)).min(1).values for name, stack in images.items()]
    return torch.cat(found) / next(iter(images.values()))[0].numel() ** 0.5


def bars(rows: list[Row]) -> list[Row]:
    """What was promised of synthesis, against what the rows say; what was not measured is left out."""
    found: list[Row] = []
    main = next((r for r in rows if r["recipe"] == "synthesise" and "learnt" in r), None)
    if main:
        value, share = main["called"], main["learnt"] / main["learnt_real"]
        found.append(bar("samples that are called what they are", value, ">= 0.95", value >= 0.95))
        found.append(bar("accuracy learnt from samples, relative to real images", share, ">= 0.92", share >= 0.92))
        value = main["ms_ssim"] / main["ms_ssim_real"]
        found.append(bar("likeness within a class, relative to real images", value, "0.9 to 1.1", 0.9 <= value <= 1.1))
        value = main["nearest_low"]
        words = f"nearest training image, {NEAREST:.0%} quantile, relative to real images"
        found.append(bar(words, value, ">= 1", value >= 1))
    ways = {r["calls"]: r for r in rows if r["case"].endswith("same noise")}
    if {LONG, SHORT} <= {*ways}:
        value = abs(ways[SHORT]["called"] - ways[LONG]["called"])
        found.append(bar(f"samples called otherwise than with {LONG} steps", value, "<= 0.01", value <= 0.01))
        value = ways[SHORT]["change"]
        found.append(bar(f"change of images to those of {LONG} steps, of their range", value, "<= 0.01", value <= 0.01))
    return found
