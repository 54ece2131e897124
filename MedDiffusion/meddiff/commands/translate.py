"""`meddiff translate`: one contrast of a body from others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInput
from . import console
from .jobs import AsJson, Batch, Device, Output, Precision, Preset, Seed, Settings, make_job

if TYPE_CHECKING:
    from ..job import Result

INPUT, HOW = "What is translated", "How it is translated"
_option = console.option


def translate(
    source: Annotated[
        list[str], typer.Argument(metavar="CONTRAST=IMAGE...", help="A 3D image and what it shows: T1=t1.nii.gz.")
    ],
    output: Output,
    to: Annotated[str, _option(INPUT, "The contrast that is wanted, such as T2.")],
    reference: Annotated[Path | None, _option(INPUT, "An image in it, to compare the result with.")] = None,
    model: Annotated[str, _option(HOW, "A model's id or its folder; see `meddiff models list`.")] = "brain-translate",
    method: Annotated[str, _option(HOW, "See `meddiff methods`; `meddiff methods NAME` lists what --set takes.")] = (
        "translate"
    ),
    preset: Preset = None,
    settings: Settings = None,
    samples: Annotated[int | None, _option(HOW, "Images to draw and take the mean of.", default="4")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Batch = None,
    as_json: AsJson = False,
) -> None:
    """Make one contrast from others of the same body: T1, T2 or FLAIR from any of the other two, say.

    Writes translated.nrrd (the mean of the samples), uncertainty.nrrd (their
    standard deviation), sample.nrrd (the first of them) and provenance.json.
    """
    from ..task_translate import CHANNELS

    if len(source) > len(CHANNELS):
        raise BadInput(f"{len(source)} images came; expected {len(CHANNELS)} at most")
    pairs = [each.partition("=") for each in source]
    if any(not (name and path) for name, _, path in pairs):
        raise BadInput(f"{' '.join(source)} came; expected CONTRAST=IMAGE, such as T1=t1.nii.gz")
    files: dict[str, Path | None] = {key: Path(path) for key, (_, _, path) in zip(CHANNELS, pairs, strict=False)}
    names = zip(("contrast", "contrast2", "contrast3"), (name for name, _, _ in pairs), strict=False)
    told = {**dict(names), "target": to, "preset": preset, "samples": samples, "batch": batch}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    job = make_job({**files, "reference": reference}, output, told, settings, **about)
    report(console.execute(job, "translate"), as_json)


def report(result: Result, as_json: bool = False) -> None:
    """The figures and where the files are, or everything as JSON."""
    if as_json:
        return console.report(result, True)
    table = console.table("against the reference", ">PSNR [dB]", ">SSIM")
    for name, words in (("translated", "mean of the samples"), ("sample", "first sample")):
        if f"psnr_{name}" in result.figures:
            table.add_row(words, *(f"{result.figures[f'{figure}_{name}']:.4g}" for figure in ("psnr", "ssim")))
    if table.row_count:
        console.out.print(table)
    console.ending(result)
