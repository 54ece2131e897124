"""`meddiff anomaly`: what should not be in a brain, as a map, as a label map and as a list."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..counting import some
from . import console
from .jobs import (
    PRIOR,
    AsJson,
    Batch,
    Device,
    Method,
    Model,
    Output,
    Plane,
    Precision,
    Preset,
    Seed,
    Settings,
    make_job,
)

if TYPE_CHECKING:
    from ..job import Result

INPUT, LESION = "What is looked at", "What counts as a lesion"
MOST = 12  # lesions that are shown
_option = console.option
FIGURES = {
    "auprc": "area under precision and recall {:.3f}",
    "auroc": "under ROC {:.3f}",
    "dice": "Dice {:.3f}",
    "lesion_recall": "lesions found {:.0%}",
    "false_positives": "false ones {:.0f}",
}


def anomaly(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A 3D MR image of a brain without its skull.")],
    output: Output,
    mask: Annotated[
        Path | None, _option(INPUT, "Where the brain is: an image that is not 0 there.", default="found in the image")
    ] = None,
    contrast: Annotated[
        str | None, _option(INPUT, "What the image shows, such as FLAIR.", default="found by the model")
    ] = None,
    reference: Annotated[Path | None, _option(INPUT, "The lesions that are there, to compare the result with.")] = None,
    model: Model = "brain-anomaly",
    method: Method = "restoration",
    preset: Preset = None,
    settings: Settings = None,
    plane: Plane = None,
    samples: Annotated[int | None, _option(PRIOR, "Healthy twins to take mean and spread of.", default="2")] = None,
    seed: Seed = 0,
    threshold: Annotated[
        str | None,
        _option(LESION, "healthy (above what the model knows as healthy), otsu, or a number.", default="healthy"),
    ] = None,
    polarity: Annotated[
        str | None, _option(LESION, "any, brighter or darker than the healthy twin.", default="any")
    ] = None,
    minimum_volume: Annotated[float | None, _option(LESION, "The smallest lesion in mm3.", default="10.0")] = None,
    smoothing: Annotated[
        float | None, _option(LESION, "Smoothing of the map (SD, mm).", default="the model's, or 1.5")
    ] = None,
    structural: Annotated[
        float | None, _option(LESION, "How much the structure must differ, too: 0 to 1.", default="0.0")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Batch = None,
    as_json: AsJson = False,
) -> None:
    """Find what should not be in a brain: what would it look like if it were healthy, and where does it differ?

    Writes healthy.nrrd (the healthy twin), anomaly.nrrd (how far the image is
    from it; 2 is the brightest tissue), lesions.nrrd (a label map),
    uncertainty.nrrd, table.csv (the lesions) and provenance.json.
    """
    told: dict[str, Any] = {"contrast": contrast, "preset": preset, "plane": plane, "samples": samples, "batch": batch}
    told |= {"polarity": polarity, "minimum_volume": minimum_volume, "smoothing": smoothing, "structural": structural}
    told |= parse_threshold(threshold)
    files = {"volume": image, "mask": mask, "reference": reference}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    job = make_job(files, output, told, settings, **about)
    report(console.execute(job, "anomaly"), as_json)


def parse_threshold(text: str | None) -> dict[str, Any]:
    """The options that `--threshold` stands for: a number is a fixed level."""
    try:
        return {} if text is None else {"threshold": "fixed", "level": float(text)}
    except ValueError:
        return {"threshold": text}


def report(result: Result, as_json: bool = False) -> None:
    """The largest lesions as a table, the figures and where the files are, or everything as JSON."""
    if as_json:
        return console.report(result, True)
    with result.outputs["table"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shown = console.table(">lesion", ">volume [mm3]", ">peak", ">mean", ">R [mm]", ">A [mm]", ">S [mm]", ">slices")
    for row in rows[:MOST]:
        numbers = (f"{float(row[name]):.2f}" for name in ("peak", "mean"))
        places = (f"{float(row[name]):.1f}" for name in ("r_mm", "a_mm", "s_mm"))
        shown.add_row(row["lesion"], f"{float(row['volume_mm3']):.0f}", *numbers, *places, row["slices"])
    if rows:
        console.out.print(shown)
    if len(rows) > MOST:
        console.say(f"and {len(rows) - MOST} smaller ones, in {result.outputs['table'].name}")
    figures = result.figures
    console.say(
        f"{some(figures['lesions'], 'lesion')} of {figures['lesion_volume_mm3'] / 1000:.2f} cm3 "
        f"above {figures['threshold']:.3f}"
    )
    if told := [text.format(figures[name]) for name, text in FIGURES.items() if name in figures]:
        console.say(f"against the reference: {', '.join(told)}")
    console.ending(result)
