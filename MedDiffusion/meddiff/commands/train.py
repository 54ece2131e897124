"""`meddiff train`: from images to a model, in two steps that can run on two machines."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BadInput, Cancelled
from ..stopping import stop_on
from . import console

app = typer.Typer(no_args_is_help=True, help="Train a model: prepare the images, fit the network, export it.")


@app.command()
def prepare(
    plan: Annotated[str, typer.Argument(help="A training plan by its name, such as brain-mr, or a JSON file.")],
    data: Annotated[Path, typer.Option(help="Folder of images, with their manifest.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The cache file to write (.safetensors).")],
) -> None:
    """Turn images into one cache file, so that training needs no image library."""
    from ..training.kinds import prepare
    from ..training.plan import read_plan

    made = prepare(read_plan(plan), data, output, console.say)
    console.say(f"{made} are in {output}")


@app.command()
@app.command("prior", hidden=True)  # its first name
@app.command("autoencoder", hidden=True)
@app.command("latent", hidden=True)
def fit(
    cache: Annotated[Path, typer.Argument(help="A cache file of `meddiff train prepare`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the checkpoint; a run in it goes on.")],
    minutes: Annotated[
        float | None, console.option(None, "Stop after so many minutes in all.", min=0.01, default="the plan's steps")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Train what the plan says. It saves a checkpoint now and then; the same command goes on where it stopped."""
    import torch

    from ..devices import pick_device, pick_precision
    from ..job import output_folder
    from ..training.fit import fit
    from ..training.kinds import lesson

    where = pick_device(device)
    dtype = pick_precision(precision, where)
    learnt = lesson(cache)
    checkpoint, report = output / "checkpoint.pt", None
    with output_folder(output), console.progress_bar("training") as show, stop_on(signal.SIGINT) as should_stop:
        run = fit(
            learnt,
            checkpoint,
            device=str(where),
            minutes=minutes,
            precision=None if dtype is torch.float32 else dtype,
            should_stop=should_stop,
        )
        for report in run:
            # whichever of the two budgets is nearer its end
            share = min(1.0, report.seconds / (60 * minutes)) if minutes else 0.0
            of = min(report.of, round(report.step / share)) if share else report.of
            show(report.step, of, f"loss {report.loss:.4f}")
        stopped = should_stop()
    if stopped:
        raise Cancelled(f"stopped; {checkpoint} holds what was learnt, and the same command goes on from there")
    if report is None:
        raise BadInput(f"{checkpoint} has had its steps and its minutes; give it more, or export it")
    console.say(f"{report.step} steps in {report.seconds / 60:.1f} min, loss {report.loss:.4f}; {checkpoint}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A folder of `meddiff train fit`, or its checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model's folder.")],
    device: Annotated[str, typer.Option(help="What the run was made on, in words, for the model card.")] = "CPU",
) -> None:
    """Turn a run into a model folder: averaged weights in half precision, and the card."""
    from ..training.export import export

    checkpoint = run / "checkpoint.pt" if run.is_dir() else run
    found = export(checkpoint, output, device=device, command="meddiff train fit")
    console.say(f"model {found.card.id} {found.card.version} is in {found.folder}")


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="The model's folder; its card is written anew.")],
    data: Annotated[Path, typer.Option(help="Folder of images; the train split is used.")],
    recipe: Annotated[str, typer.Option(help="The method whose uncertainty is calibrated.")] = "pnp",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Find how large the errors are beside the spread of the samples, and write it into the model's card."""
    from ..calibration import measure_spread, write_calibration
    from ..models import load

    pairs = []
    for case, pair in measure_spread(data, load(model, device), recipe):
        pairs.append(pair)
        console.tell(str(case))
    found = write_calibration(model, recipe, pairs, f"meddiff train calibrate --recipe {recipe}")
    console.say(f"the uncertainty of {recipe} is {found.scale:g} times the pooled spread; {model} says so now")


@app.command()
def thresholds(
    model: Annotated[Path, typer.Argument(help="The model's folder; its card is written anew.")],
    data: Annotated[Path, typer.Option(help="Folder of images; the train split is used.")],
    method: Annotated[list[str] | None, typer.Option(help="Methods to do; all by default.")] = None,
    preset: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    slices: Annotated[int, typer.Option(min=6, help="Of the person of the train split; more take longer.")] = 30,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Find what each method that finds anomalies makes of healthy tissue, and write it into the model's card.

    About a minute and a half on two processor cores for ten network calls of a method, at 30 slices.
    """
    from .. import bench_anomaly
    from .. import thresholds as found
    from ..models import load

    loaded = load(model, device)
    cases = found.train_cases(data, slices)
    for recipe in bench_anomaly.methods(loaded, method or ()):
        healthy = found.measure(loaded, recipe, cases, preset, console.tell)
        found.write_healthy(model, recipe.name, healthy)  # at once: the next one takes a while
        levels = ", ".join(f"{name} {level:g}" for name, level in healthy.levels.items())
        console.say(f"{recipe.name}: {100 * healthy.quantile:g} % of healthy tissue stays below {levels}")


@app.command()
def quality(
    model: Annotated[Path, typer.Argument(help="The model's folder; its card is written anew.")],
    report: Annotated[Path, typer.Argument(help="What `meddiff bench TASK --json` wrote for this model.")],
) -> None:
    """Write measured figures into the model's card."""
    from ..calibration import read_quality, write_quality

    found = write_quality(model, read_quality(report, model))
    console.say(f"{len(found.card.quality)} figures are in the card of {found.card.id}")
