"""`meddiff models`: the models on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .. import store
from ..card import Card
from ..errors import BadInput, BadModel, notices
from ..places import search_path
from . import console

if TYPE_CHECKING:
    from ..bundle_questions import Question

app = typer.Typer(no_args_is_help=True, help="List, inspect, check, install, import, export and remove models.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsEvents = Annotated[bool, typer.Option("--json", help="Answer in JSON, an event a line, for other programs.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="A model's id, or its folder.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models that were found."""
    found = sorted(store.models(), key=lambda model: model.card.id)
    if as_json:
        return console.as_json([{**model.card.model_dump(mode="json"), "folder": model.folder} for model in found])
    rows = console.table("model", "task", "images", ">size", "licence", "what it is")
    for card, _ in found:
        images = f"{card.anatomy} {card.modality}, {_spacing(card)}"
        rows.add_row(f"[bold]{card.id}[/]", card.task, escape(images), _size(card), card.licence, escape(card.summary))
    if found:
        console.out.print(rows)
    else:
        console.say("No models were found; meddiff models path tells where they are looked for.")
    for problem in store.broken():
        console.note(str(problem))


@app.command()
def show(model: Id, as_json: AsJson = False) -> None:
    """Show the card of one model."""
    card, folder = store.find(model)
    if as_json:
        return console.as_json({**card.model_dump(mode="json"), "folder": folder})
    console.out.print(f"[bold]{card.id}[/] {escape(f'{card.version}: {card.name}')}\n{escape(card.summary)}\n")
    rows = console.table("", "")
    for name, text in _facts(card).items():
        rows.add_row(f"[bold cyan]{name}[/]", escape(text))
    rows.show_header = False
    console.out.print(rows)
    if card.quality:
        measured = console.table("data set", "metric", ">value", "measured by", title="\nquality")
        for row in card.quality:
            measured.add_row(*map(escape, (row.dataset, row.metric, f"{row.value:g}", row.command)))
        console.out.print(measured)
    console.say(f"\n{folder}")


def _schedule(card: Card) -> str:
    return f"schedule {card.schedule.name}" if card.schedule else "in one pass"


def _training(card: Card) -> str:
    made = card.training
    if made.steps is None or made.seconds is None:
        return made.command
    return f"{made.steps} steps, {made.seconds / 60:.0f} min on {made.device}"


def _facts(card: Card) -> dict[str, str]:
    """What people ask about a model, in words."""
    labels = card.labels.names if card.labels else ()
    return {
        "task": card.task,
        "images": f"{card.anatomy} {card.modality}, {card.orientation}, {_spacing(card)}",
        "labels": ", ".join(labels) or "none",
        "network": f"{card.network.name}, predicts {card.predicts}, {_schedule(card)}",
        **({"companions": ", ".join(card.companions.values())} if card.companions else {}),
        "trained on": "; ".join(f"{data.name} ({data.licence})" for data in card.training.data),
        "training": _training(card),
        "size": _size(card),
        "licence": card.licence,
        "citation": card.citation,
        "intended use": card.intended_use,
        "limitations": card.limitations,
    }


@contextmanager
def _answering(as_events: bool) -> Iterator[None]:
    """Errors as an event where a program listens; else they go on to where all others are shown."""
    try:
        yield
    except BadInput as error:
        if not as_events:
            raise
        console.event("error", kind="bad-input", message=str(error), hint="")
        raise typer.Exit(2) from None


@app.command()
def verify(
    model: Annotated[str | None, typer.Argument(metavar="[ID]", help="One model; all if left out.")] = None,
    as_events: AsEvents = False,
) -> None:
    """Check that models are whole and unaltered, by the sha256 of every file."""
    with _answering(as_events):
        found = store.models() if model is None else [store.find(model)]
        problems = store.broken() if model is None else []
        whole = []
        for card, folder in found:
            try:
                store.verify(folder)
                whole.append({"id": card.id, "folder": folder})
                if not as_events:
                    console.say(f"{card.id}: whole and unaltered, {_size(card)}")
            except BadModel as error:
                problems.append(error)
        for problem in problems[:-1]:
            console.tell(str(problem), "Error:", "bold red")
        if problems:
            raise problems[-1]
        if as_events:
            console.event("result", models=whole)


@app.command()
def install(
    source: Annotated[str, typer.Argument(help="A folder, a zip file, or an https address of one.")],
    sha256: Annotated[str | None, typer.Option(help="sha256 of the zip file; needed with an address.")] = None,
    as_events: AsEvents = False,
) -> None:
    """Install a model, whole or not at all."""
    told = 0.0

    def tell(size: int) -> None:
        nonlocal told
        if as_events and time.monotonic() - told > 0.2:
            told = time.monotonic()
            console.event("progress", step=size)

    if as_events:
        console.event("ready", pid=os.getpid())  # who ends this process can tell what it leaves: .install-PID-...
    with _answering(as_events):
        card, folder = store.install(source, sha256, on_bytes=tell)
        if as_events:
            return console.event("result", id=card.id, version=card.version, folder=folder)
        console.say(f"{card.id} {card.version} is installed in {folder}")


def _told(name: str, text: str) -> Any:
    return typer.Option(f"--{name}", help=text, rich_help_panel="What the bundle may leave out")


@app.command("import")
def import_(
    bundle: Annotated[Path, typer.Argument(help="The folder of a MONAI bundle.")],
    spacing: Annotated[str, _told("spacing", "mm along x, y(, z), as in 1,1,1.")] = "",
    size: Annotated[str, _told("size", "Voxels of an image along x, y(, z), as in 160,224,160.")] = "",
    axes: Annotated[str, _told("axes", "Where the axes of its images lead to, as in RAS.")] = "",
    scale: Annotated[str, _told("scale", "The factor of its codes.")] = "",
    covariates: Annotated[str, _told("covariates", "What it is told: NAME=MIN:MAX:UNIT, with commas between.")] = "",
    licence: Annotated[str, _told("licence", "Of the weights, as in Apache-2.0.")] = "",
    id_: Annotated[str, typer.Option("--id", help="What the model is to be called here.")] = "",
    ask: Annotated[bool, typer.Option("--ask", help="Only list what the bundle leaves out.")] = False,
    as_events: AsEvents = False,
) -> None:
    """Install a generative model of others, published as a MONAI bundle.

    A bundle is read as data: networks by a list of names, weights without code,
    and expressions are not run. What it leaves out is asked for, never guessed.
    """
    from .. import bundle_import, bundle_questions  # lazy: the other verbs need no torch
    from ..bundles import read_bundle

    names = ("spacing", "size", "axes", "scale", "covariates", "licence")
    given: dict[str, str] = dict(zip(names, (spacing, size, axes, scale, covariates, licence), strict=True))
    if as_events:
        console.event("ready", pid=os.getpid())
    notes: list[str] = []
    with _answering(as_events), notices(notes.append if as_events else console.note):
        open_ = bundle_questions.questions(read_bundle(bundle))
        if ask:
            return _list_questions(open_, as_events)
        if sys.stdin.isatty() and not as_events:
            given |= {q.name: typer.prompt(f"{q.title}: {q.about}", q.hint) for q in open_ if not given[q.name]}
        card, folder = bundle_import.import_bundle(bundle, given, id_)
        if as_events:
            return console.event("result", id=card.id, version=card.version, folder=folder, notes=notes)
        console.say(f"{card.id} {card.version} is installed in {folder}")


def _list_questions(asked: Sequence[Question], as_events: bool) -> None:
    if as_events:
        return console.event("result", questions=[asdict(question) for question in asked])
    for q in asked:
        console.say(f"--{q.name}: {q.about}" + (f"; its files suggest {q.hint}" if q.hint else ""))


@app.command()
def export(
    model: Id,
    target: Annotated[Path, typer.Argument(help="The zip file to write, or the folder of the bundle.")],
    bundle: Annotated[bool, typer.Option("--bundle", help="As a MONAI bundle, which needs nothing of ours.")] = False,
    as_events: AsEvents = False,
) -> None:
    """Write a model to a zip file, to install it elsewhere, and tell its sha256; or to a folder as a MONAI bundle."""
    with _answering(as_events):
        if bundle:
            from ..bundle_export import export_bundle  # lazy, for torch

            folder = export_bundle(store.find(model), target)
            return console.event("result", file=folder) if as_events else console.say(f"{folder} is a MONAI bundle")
        entry = store.export(store.find(model).folder, target)
        if as_events:
            return console.event("result", file=target, sha256=entry.sha256, bytes=entry.bytes)
        console.say(f"{target}: {entry.bytes / 2**20:.1f} MiB, sha256 {entry.sha256}")


@app.command()
def remove(model: Id, as_events: AsEvents = False) -> None:
    """Remove an installed model."""
    with _answering(as_events):
        folder = store.remove(model)
        if as_events:
            return console.event("result", id=model, folder=folder)
        console.say(f"{model} is removed from {folder}")


@app.command()
def path() -> None:
    """Print where models are looked for; the first match wins."""
    for folder in search_path():
        console.say(str(Path(folder)))


def _spacing(card: Card) -> str:
    return f"{' x '.join(f'{value:g}' for value in card.spacing_mm)} mm"


def _size(card: Card) -> str:
    return f"{sum(file.bytes for file in card.files.values()) / 2**20:.1f} MiB"
