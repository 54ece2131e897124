"""What people see: sentences, progress bars and tables. Results go to standard output, all else to standard error."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ..stopping import stop_on

if TYPE_CHECKING:
    from ..job import Job, Result

out = Console(highlight=False)
err = Console(highlight=False, stderr=True)

FIGURES = {"psnr": ("PSNR [dB]", "{:.2f}"), "ssim": ("SSIM", "{:.4f}"), "nmse": ("NMSE", "{:.5f}")}


def say(text: str) -> None:
    """One line of plain text on standard output, as long as it is: a path cut in two cannot be copied."""
    out.print(escape(text), soft_wrap=True)


def tell(text: str, mark: str = "", style: str = "") -> None:
    """One sentence on standard error, after a coloured mark such as "Error:"."""
    err.print(f"[{style}]{mark}[/] {escape(text)}" if mark else escape(text), soft_wrap=True)


def note(text: str) -> None:
    """Something that the user should know, while the work goes on."""
    tell(text, "Note:", "bold yellow")


def option(panel: str | None, text: str, *names: str, default: str | None = None, **more: Any) -> Any:
    """An option of a panel of the help; where its default lies deeper than here, `default` says it in words."""
    shown = f"{text} [dim]\\[default: {default}][/]" if default else text
    return typer.Option(*names, help=shown, show_default=not default, rich_help_panel=panel, **more)


def as_json(data: Any) -> None:
    """`data` as JSON on standard output, for other programs."""
    out.print(json.dumps(data, indent=2, default=os.fspath), markup=False, soft_wrap=True)


def event(name: str, **fields: Any) -> None:
    """One line of JSON on standard output, at once: the answer to a program that waits for it."""
    out.print(json.dumps({"event": name, **fields}, default=os.fspath), markup=False, soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house style; a column that starts with > is set flush right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    made.title_style, made.header_style = "bold", "bold cyan"
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return made


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """A bar that is moved by calling `show(done, of, text="")`; it waits as a spinner until the first call."""
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(title, total=None, text="")

        def show(done: int, of: int, text: str = "") -> None:
            progress.update(task, completed=done, total=of, text=text)

        yield show


def execute(job: Job, task: str | None = None) -> Result:
    """Run a job (of `task`) under a progress bar; Ctrl-C stops it, with nothing left behind."""
    with progress_bar(job.recipe) as show:
        from ..errors import notices
        from ..job import run
        from ..registry import find_recipe

        find_recipe(job.recipe, task)  # a method of another task writes other files than the caller reports
        with stop_on(signal.SIGINT) as should_stop, notices(note):
            return run(job, lambda progress: show(progress.step, progress.of), should_stop)


def report(result: Result, json_wanted: bool = False) -> None:
    """The figures as a table and one line that says where the files are, or everything as JSON."""
    if json_wanted:
        outputs = {name: str(path) for name, path in result.outputs.items()}
        return as_json({"outputs": outputs, "figures": result.figures, "provenance": result.provenance})
    figures = result.figures
    shown = {key: value for key, value in FIGURES.items() if f"{key}_reconstruction" in figures}
    against = "the reference" if "reference" in result.provenance["job"]["inputs"] else "the input"
    rows = table(f"against {against}", *(f">{escape(title)}" for title, _ in shown.values()))
    for name in ("zero-filled", "reconstruction"):
        values = ((figures.get(f"{key}_{name}"), text) for key, (_, text) in shown.items())
        rows.add_row(name, *("" if value is None else text.format(value) for value, text in values))
    if shown:  # of recorded data without a reference there is nothing to say
        out.print(rows)
    ending(result, f", data residual {figures['data_residual']:.1e}")


def ending(result: Result, told: str = "") -> None:
    """What it took, and where the files are."""
    made, calls = result.provenance, result.figures["network_calls"]
    say(f"{calls:.0f} network calls a slice{told}, {made['seconds']:.0f} s on {made['device']} in {made['precision']}")
    places(result)


def places(result: Result) -> None:
    """Where the files are."""
    folder = result.outputs["provenance"].parent
    say(f"{', '.join(path.name for path in result.outputs.values())} are in {folder.resolve()}")
