"""`meddiff register`: a moving image on a fixed one, the transform between them, and the way there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .jobs import AsJson, Device, Output, Precision, Preset, Seed, Settings, make_job

if TYPE_CHECKING:
    from ..job import Result

INPUT, HOW = "What is registered", "How it is registered"
_option = console.option
FIGURES = {
    "similarity": ("local correlation", "{:.3f}"),
    "dice": ("Dice", "{:.3f}"),
}


def register(
    moving: Annotated[
        Path, typer.Argument(metavar="MOVING", help="The 3D image that moves (.nii.gz, .nii, .nrrd, .mha, ...).")
    ],
    output: Output,
    fixed: Annotated[Path, _option(INPUT, "The 3D image that it is brought onto, on any grid.")],
    moving_labels: Annotated[Path | None, _option(INPUT, "A label map of the moving image, brought along.")] = None,
    fixed_labels: Annotated[Path | None, _option(INPUT, "One of the fixed image, to compare that with.")] = None,
    initial: Annotated[
        Path | None,
        _option(INPUT, "A linear transform (.tfm, .txt, .h5, .mat) from fixed points to moving ones, to start from."),
    ] = None,
    model: Annotated[str, _option(HOW, "A model's id or its folder; see `meddiff models list`.")] = "hippocampus-morph",
    method: Annotated[str, _option(HOW, "See `meddiff methods`; `meddiff methods NAME` lists what --set takes.")] = (
        "diffusemorph"
    ),
    preset: Preset = None,
    settings: Settings = None,
    align: Annotated[
        str | None,
        _option(HOW, "Before it bends: affine, rigid, centres or none.", default="affine, without --initial"),
    ] = None,
    deformation: Annotated[
        str | None, _option(HOW, "diffeomorphic, which can be undone, or free.", default="diffeomorphic")
    ] = None,
    similarity: Annotated[
        str | None, _option(HOW, "What is compared: correlation, or mind (textures).", default="by what the images are")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Register one image to another: an affine map, then a deformation that a network makes, as one transform.

    Writes warped.nrrd, displacement.nrrd (the transform: mm, LPS, on the fixed
    grid), inverse.nrrd, jacobian.nrrd, labels.nrrd (with --moving-labels), the
    way there as frame-0.nrrd and on, registration.csv, path.csv and provenance.json.
    """
    files = {"volume": moving, "fixed": fixed, "moving_labels": moving_labels, "fixed_labels": fixed_labels}
    told = {"preset": preset, "align": align, "deformation": deformation, "similarity": similarity}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    job = make_job({**files, "initial": initial}, output, told, settings, **about)
    report(console.execute(job, "register"), as_json)


def report(result: Result, as_json: bool = False) -> None:
    """What was gained, what it cost, and where the files are, or everything as JSON."""
    if as_json:
        return console.report(result, True)
    figures = result.figures
    table = console.table("", ">before", ">affine", ">after")
    for name, (title, form) in FIGURES.items():
        if f"{name}_after" in figures:
            values = (figures.get(f"{name}_{when}") for when in ("before", "affine", "after"))
            table.add_row(title, *("" if value is None else form.format(value) for value in values))
    console.out.print(table)
    lost = figures.get("inverse_consistency_mm")
    told = "" if lost is None else f", there and back {lost:.3f} mm off"
    console.say(f"{figures['folds_percent']:.3g} % of the voxels fold{told}")
    console.ending(result)
