"""`meddiff segment`: a label map of a volume, with how probable and how sure it is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .jobs import AsJson, Device, Output, Precision, Preset, Seed, Settings, make_job

if TYPE_CHECKING:
    from ..job import Result

INPUT, HOW, AFTER, MACHINE = "What is segmented", "How it is segmented", "What is made of it", "Where it runs"
_option = console.option
COLUMNS = {
    "volume_mm3": ("volume [mm3]", "{:.0f}"),
    "expected_volume_mm3": ("expected [mm3]", "{:.0f}"),
    "predicted_dice": ("predicted Dice", "{:.3f}"),
    "dice": ("Dice", "{:.3f}"),
    "hd95_mm": ("HD95 [mm]", "{:.2f}"),
}


def segment(
    volume: Annotated[
        Path, typer.Argument(metavar="VOLUME", help="A 3D image file (.nii.gz, .nii, .nrrd, .mha, ...).")
    ],
    output: Output,
    channel: Annotated[
        list[Path] | None, _option(INPUT, "A further channel, for models that want several; may be repeated.")
    ] = None,
    first: Annotated[
        Path | None, _option(INPUT, "A label map that pd-ddpm starts from.", default="the baseline's")
    ] = None,
    low: Annotated[float | None, _option(INPUT, "Or pd-ddpm starts from voxels of this intensity and more.")] = None,
    high: Annotated[float | None, _option(INPUT, "And from none brighter than this.")] = None,
    reference: Annotated[Path | None, _option(INPUT, "A label map to compare the result with.")] = None,
    model: Annotated[str, _option(HOW, "A model's id or its folder; see `meddiff models list`.")] = "hippocampus-seg",
    method: Annotated[str, _option(HOW, "See `meddiff methods`; `meddiff methods NAME` lists what --set takes.")] = (
        "implicit-ensemble"
    ),
    preset: Preset = None,
    settings: Settings = None,
    samples: Annotated[int | None, _option(HOW, "Segmentations to draw.", default="8")] = None,
    seed: Seed = 0,
    fusion: Annotated[str | None, _option(AFTER, "How they become one: mean, vote or staple.", default="mean")] = None,
    uncertainty: Annotated[
        str | None, _option(AFTER, "entropy (0 to 1) or variance (between them).", default="entropy")
    ] = None,
    minimum_volume: Annotated[
        float | None, _option(AFTER, "Remove islands below so many mm3.", default="0: keep all")
    ] = None,
    smoothing: Annotated[float | None, _option(AFTER, "Smooth the borders (SD, mm).", default="0: leave them")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Annotated[int | None, _option(MACHINE, "Segmentations at a time.", default="8")] = None,
    as_json: AsJson = False,
) -> None:
    """Segment a volume: several plausible answers, what they agree on, and where they do not.

    Writes labels.nrrd, probability.nrrd (of any segment, and of each if there
    are several), uncertainty.nrrd, segments.csv and provenance.json.
    """
    from ..errors import BadInput
    from ..task_segment import CHANNELS

    if len(channel or ()) >= len(CHANNELS):
        raise BadInput(f"{len(channel or ())} further channels came; expected {len(CHANNELS) - 1} at most")
    files = dict(zip(CHANNELS, (volume, *(channel or ())), strict=False)) | {"first": first, "reference": reference}
    told = {"preset": preset, "samples": samples, "fusion": fusion, "uncertainty": uncertainty, "batch": batch}
    told |= {"low": low, "high": high, "minimum_volume": minimum_volume, "smoothing": smoothing}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    job = make_job(files, output, told, settings, **about)
    report(console.execute(job, "segment"), as_json)


def report(result: Result, as_json: bool = False) -> None:
    """A table of the segments and one line that says where the files are, or everything as JSON."""
    if as_json:
        return console.report(result, True)
    with result.outputs["segments"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shown = {key: value for key, value in COLUMNS.items() if any(row.get(key) for row in rows)}
    table = console.table("segment", *(f">{title}" for title, _ in shown.values()))
    for row in rows:
        table.add_row(
            row["segment"], *(form.format(float(row[key])) if row.get(key) else "" for key, (_, form) in shown.items())
        )
    console.out.print(table)
    made, figures = result.provenance, result.figures
    told = f", predicted Dice {figures['predicted_dice']:.3f}" if "predicted_dice" in figures else ""
    console.say(
        f"{figures['network_calls']:.0f} network calls{told}, {made['seconds']:.1f} s on {made['device']} "
        f"in {made['precision']}"
    )
    console.places(result)
