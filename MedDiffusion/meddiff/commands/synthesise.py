"""`meddiff synthesise`: images of what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from . import console
from .jobs import AsJson, Device, Output, Precision, Preset, Seed, Settings, make_job

if TYPE_CHECKING:
    from ..job import Result

WHAT, HOW, MACHINE = "What is made", "How it is made", "Where it runs"
_option = console.option
Number = Annotated[list[str] | None, _option(WHAT, "A covariate of the model; may be repeated.", metavar="NAME=NUMBER")]


def synthesise(
    output: Output,
    label: Annotated[str | None, _option(WHAT, "A class of the model, such as Hand.", default="any")] = None,
    state: Annotated[str | None, _option(WHAT, "Of the class, such as healthy.", default="any")] = None,
    covariate: Number = None,
    covariate_to: Annotated[
        list[str] | None,
        _option(WHAT, "Frames: what that covariate is in the last one.", metavar="NAME=NUMBER"),
    ] = None,
    labels: Annotated[Path | None, _option(WHAT, "A label map that the images are to show.")] = None,
    samples: Annotated[int | None, _option(WHAT, "Images, or frames.", default="4")] = None,
    seed: Seed = 0,
    other_seed: Annotated[int | None, _option(WHAT, "Frames: the last is the first image of this seed.")] = None,
    size: Annotated[
        tuple[int, int, int] | None,
        _option(WHAT, "Voxels; Z is 1 for models of slices.", metavar="X Y Z", default="as the model was trained"),
    ] = None,
    model: Annotated[str, _option(HOW, "A model's id or its folder; see `meddiff models list`.")] = "mednist-64",
    method: Annotated[str, _option(HOW, "See `meddiff methods`; `meddiff methods NAME` lists what --set takes.")] = (
        "synthesise"
    ),
    preset: Preset = None,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Annotated[int | None, _option(MACHINE, "Images at a time.", default="16")] = None,
    as_json: AsJson = False,
) -> None:
    """Make images: of anything that a model knows, of a class, of covariates, or of a label map.

    Writes samples.nrrd (images of a model of slices, one upon the other) or
    sample-1.nrrd, ...; with --other-seed or --covariate-to frame-0.nrrd, ...,
    the way from one image to another; table.csv and provenance.json.
    """
    from ..task_synthesise import parse_covariates

    told = {"label": label, "state": state, "samples": samples, "other_seed": other_seed, "preset": preset}
    sizes = dict(zip(("size_x", "size_y", "size_z"), size or (None,) * 3, strict=True))
    told |= {name: None if name == "size_z" and value == 1 else value for name, value in sizes.items()}
    told |= {"covariates": parse_covariates(covariate) if covariate else None, "batch": batch}
    told |= {"covariates_to": parse_covariates(covariate_to) if covariate_to else None}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    report(console.execute(make_job({"labels": labels}, output, told, settings, **about), "synthesise"), as_json)


def report(result: Result, as_json: bool = False) -> None:
    """How many images were made and where they are, or everything as JSON."""
    if as_json:
        return console.report(result, True)
    made, figures = result.provenance, result.figures
    console.say(
        f"{figures['images']:.0f} images of {made['model']['id']}, {figures['network_calls']:.0f} network calls, "
        f"{made['seconds']:.1f} s on {made['device']} in {made['precision']}"
    )
    console.places(result)
