"""`meddiff inpaint`: a segment of an image drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .jobs import AsJson, Batch, Device, Output, Precision, Preset, Seed, Settings, make_job

if TYPE_CHECKING:
    from ..job import Result

INPUT, HOW = "What is painted", "How it is painted"
_option = console.option


def inpaint(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A 3D image file (.nii.gz, .nii, .nrrd, .mha, ...).")],
    mask: Annotated[Path, typer.Argument(metavar="MASK", help="An image that is not 0 where to paint.")],
    output: Output,
    put: Annotated[
        str | None, _option(INPUT, "What is put there: healthy, lesion or anything.", default="healthy")
    ] = None,
    contrast: Annotated[str | None, _option(INPUT, "What the image shows, such as FLAIR.", default="not told")] = None,
    grow: Annotated[float | None, _option(INPUT, "Grow the segment by so many mm before.", default="0.0")] = None,
    model: Annotated[str, _option(HOW, "A model's id or its folder; see `meddiff models list`.")] = "brain-anomaly",
    method: Annotated[str, _option(HOW, "See `meddiff methods`; `meddiff methods NAME` lists what --set takes.")] = (
        "repaint"
    ),
    preset: Preset = None,
    settings: Settings = None,
    samples: Annotated[int | None, _option(HOW, "Different answers.", default="1")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Batch = None,
    as_json: AsJson = False,
) -> None:
    """Paint over a part of an image: what would be there if it were healthy, or if it were a lesion?

    Writes inpainted.nrrd, which is the input outside of the mask, voxel for
    voxel; with several samples inpainted-2.nrrd, ..., too, and
    uncertainty.nrrd, their standard deviation; and provenance.json.
    """
    told = {"put": put, "contrast": contrast, "grow": grow, "preset": preset, "samples": samples, "batch": batch}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    job = make_job({"volume": image, "mask": mask}, output, told, settings, **about)
    report(console.execute(job, "inpaint"), as_json)


def report(result: Result, as_json: bool = False) -> None:
    """How much was painted and where the files are, or everything as JSON."""
    if as_json:
        return console.report(result, True)
    console.say(f"{result.figures['volume_mm3'] / 1000:.2f} cm3 were painted over")
    console.ending(result)
