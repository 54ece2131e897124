"""`meddiff reconstruct`, `meddiff run` and `meddiff demo`: jobs from options, from a file, and ready made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput
from . import console

if TYPE_CHECKING:
    from ..job import Job

ACQUISITION, RECORDED = "What is measured", "Raw k-space"
PRIOR, MACHINE = "How it is computed", "Where it runs"
_option = console.option

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; made if need be.")]
Device = Annotated[str, _option(MACHINE, "auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str, _option(MACHINE, "auto, fp32 or bf16; auto takes bf16 where that is faster.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")]
Input = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="A 3D image file (.nii.gz, .nii, .nrrd, .mha, ...), or raw k-space: fastMRI or ISMRMRD (.h5), .npz, .npy.",
    ),
]
Acceleration = Annotated[float | None, _option(ACQUISITION, "Keep one part in so many.", default="4.0")]
Pattern = Annotated[
    str | None,
    _option(ACQUISITION, "cartesian-random, cartesian-equispaced, poisson-disc or radial.", default="cartesian-random"),
]
Centre = Annotated[
    float | None, _option(ACQUISITION, "Fraction of k-space, in its centre, kept whole.", default="0.32/acceleration")
]
Mask = Annotated[
    Path | None,
    _option(
        ACQUISITION,
        "Sampling mask (Y, X) of a slice, k = 0 in its centre, instead of the three above: .npy, .npz or an image.",
    ),
]
MaskSeed = Annotated[int | None, _option(ACQUISITION, "Seed of the mask, the coils and the noise.", default="0")]
Coils = Annotated[int | None, _option(ACQUISITION, "Simulated receiver coils.", default="1")]
Noise = Annotated[
    float | None, _option(ACQUISITION, "Noise of k-space (SD), relative to the brightest tissue.", default="0.0")
]
Reference = Annotated[Path | None, _option(ACQUISITION, "An image to compare the result with.", default="the input")]
Phase = Annotated[
    float | None,
    _option(RECORDED, "How far the phase strays from a smooth one (SD, rad); 0: not at all.", default="0.1"),
]
Resolution = Annotated[
    float | None, _option(RECORDED, "In-plane voxels of so many mm, where finer ones came.", default="as they came")
]
Turn = Annotated[str | None, _option(RECORDED, "Turns the image upright: none, left, right or half.", default="none")]
Spacing = Annotated[
    tuple[float, float, float] | None,
    _option(RECORDED, "Voxel size in mm, where the file does not tell it.", metavar="X Y Z", default="the file's"),
]
Model = Annotated[str, _option(PRIOR, "A model's id or its folder; see `meddiff models list`.")]
Method = Annotated[str, _option(PRIOR, "See `meddiff methods`; `meddiff methods NAME` lists what --set takes.")]
Preset = Annotated[str | None, _option(PRIOR, "fast, balanced or best.", default="balanced")]
Settings = Annotated[
    list[str] | None,
    _option(PRIOR, "A parameter of the method; may be repeated.", "--set", metavar="NAME=VALUE"),
]
Contrast = Annotated[str | None, _option(PRIOR, "What the image shows, such as T1.", default="not told")]
Plane = Annotated[str | None, _option(PRIOR, "Slices: axial, coronal or sagittal.", default="axial")]
Samples = Annotated[int | None, _option(PRIOR, "Posterior samples to take mean and spread of.", default="4")]
Seed = Annotated[int, _option(PRIOR, "The same seed gives the same voxels.")]
Batch = Annotated[int | None, _option(MACHINE, "Slices at a time; more needs more memory.", default="8")]


def reconstruct(
    source: Input,
    output: Output,
    acceleration: Acceleration = None,
    pattern: Pattern = None,
    centre: Centre = None,
    mask: Mask = None,
    mask_seed: MaskSeed = None,
    coils: Coils = None,
    noise: Noise = None,
    reference: Reference = None,
    phase: Phase = None,
    resolution: Resolution = None,
    turn: Turn = None,
    spacing: Spacing = None,
    model: Model = "brain-mr",
    method: Method = "pnp",
    preset: Preset = None,
    settings: Settings = None,
    contrast: Contrast = None,
    plane: Plane = None,
    samples: Samples = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Batch = None,
    as_json: AsJson = False,
) -> None:
    """Undersample a volume and reconstruct it: what would a faster scan have shown? Or reconstruct raw k-space.

    Writes reconstruction.nrrd, uncertainty.nrrd (the standard deviation of the
    samples), residual.nrrd (what the data leave over), zero-filled.nrrd and
    provenance.json.
    """
    from ..rawfiles import is_raw

    told = {"acceleration": acceleration, "pattern": pattern, "centre": centre, "mask_seed": mask_seed, "coils": coils}
    told |= {"noise": noise, "preset": preset, "contrast": contrast, "plane": plane, "samples": samples, "batch": batch}
    told |= {"phase": phase, "resolution": resolution, "turn": turn}
    told |= dict(zip(("spacing_x", "spacing_y", "spacing_z"), spacing or (None,) * 3, strict=True))
    files = {"kspace" if is_raw(source) else "volume": source, "mask": mask, "reference": reference}
    about = {"method": method, "model": model, "seed": seed, "device": device, "precision": precision}
    job = make_job(files, output, told, settings, **about)
    console.report(console.execute(job, "reconstruct"), as_json)


def make_job(
    files: Mapping[str, Path | None],
    output: Path,
    options: Mapping[str, Any],
    settings: list[str] | None,
    *,
    method: str,
    model: str,
    seed: int,
    device: str,
    precision: str,
) -> Job:
    """The job that a verb's arguments stand for; what is None was not said, and is left to the task."""
    from ..job import Job

    return Job(
        recipe=method,
        model=model,
        inputs={name: str(path) for name, path in files.items() if path},
        output=str(output),
        options={name: value for name, value in options.items() if value is not None},
        parameters=parse_settings(settings or []),
        seed=seed,
        device=device,
        precision=precision,
    )


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`name=value` pairs as parameters; raises BadInput for what is no pair."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise BadInput(f"--set {pair} came; expected NAME=VALUE, such as --set steps=20")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[name.strip()] = value
    return found


def run(
    job: Annotated[Path, typer.Argument(metavar="JOB.json", help="A job, as provenance.json holds one under `job`.")],
    as_json: AsJson = False,
) -> None:
    """Run a job from a file: the same voxels as from the panel, the console or the cluster."""
    from ..job import read_job
    from ..registry import find_recipe
    from . import anomaly, inpaint, register, segment, synthesise, translate  # these import this module

    verbs = (anomaly, inpaint, register, segment, synthesise, translate)  # each named as its task is
    reports = {verb.__name__.rpartition(".")[2]: verb.report for verb in verbs}
    made = read_job(job)
    report = reports.get(find_recipe(made.recipe).task, console.report)
    report(console.execute(made), as_json)


def demo(
    source: Annotated[
        Path | None,
        _option(None, "Your own 3D brain image.", "--input", default="the MNI152 T1 template of nilearn"),
    ] = None,
    output: Output = Path("demo-output"),
    acceleration: Annotated[float, typer.Option(help="Keep one part in so many.")] = 4.0,
    contrast: Annotated[
        str | None, _option(None, "What your image shows, such as FLAIR.", default="T1 for the template")
    ] = None,
    slices: Annotated[int, typer.Option(min=0, help="How many central axial slices; 0 takes all of them.")] = 24,
    device: Device = "auto",
) -> None:
    """Reconstruct a real brain from a part of its k-space, and draw what came of it."""
    from ..demo import picture, prepare, require_extras

    require_extras(template=source is None)
    with prepare(source, output, slices, acceleration, contrast, device, console.say) as job:
        result = console.execute(job)
    drawn = {"truth": Path(job.inputs["volume"]), "picture": picture(result)}
    console.report(replace(result, outputs=result.outputs | drawn))
