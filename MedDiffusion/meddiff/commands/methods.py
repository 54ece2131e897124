"""`meddiff methods`: every recipe, and everything about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from . import console

if TYPE_CHECKING:
    from ..registry import Recipe


def methods(
    name: Annotated[str | None, typer.Argument(help="One method, with its parameters and presets.")] = None,
    task: Annotated[str | None, typer.Option(help="Only the methods of this task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all tasks and methods as JSON.")] = False,
) -> None:
    """List the methods: task, what each needs, paper; with a NAME, its parameters and presets."""
    if as_json:
        from ..tasks import catalogue

        return console.as_json(catalogue())
    from ..errors import choose
    from ..registry import find_recipe, recipes

    if name is not None:
        return _one(find_recipe(name, task))
    if task is not None:
        choose(task, {recipe.task for recipe in recipes()}, "task")
    rows = console.table("method", "task", "what it is")
    for recipe in recipes(task):
        about = f"{escape(recipe.summary)}\nneeds {escape(recipe.needs)}\n[dim]{escape(recipe.paper)}[/]\n"
        rows.add_row(f"[bold]{recipe.name}[/]", recipe.task, about)
    console.out.print(rows)
    console.say("meddiff methods NAME shows the parameters of one.")


def _one(recipe: Recipe) -> None:
    """One method: what it is, its parameters with ranges, and what each preset makes of them."""
    from ..registry import PRESETS

    console.out.print(f"[bold]{recipe.name}[/] ({recipe.task})\n{escape(recipe.summary)}")
    console.out.print(f"needs {escape(recipe.needs)}\n[dim]{escape(recipe.paper)}[/]\n")
    settings = {preset: recipe.settings({}, preset) for preset in PRESETS}
    rows = console.table("parameter", "type", ">from", ">to", *(f">{preset}" for preset in PRESETS), "what it is")
    for name, parameter in recipe.parameters.items():
        values = (_text(settings[preset][name]) for preset in PRESETS)
        limits = (_text(parameter.low), _text(parameter.high))
        rows.add_row(f"[bold]{name}[/]", parameter.kind.__name__, *limits, *values, escape(parameter.about))
    calls = (str(recipe.calls(settings[preset])) for preset in PRESETS)
    rows.add_section()
    rows.add_row("network calls", "", "", "", *calls, "per sample, with these settings")
    console.out.print(rows)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
