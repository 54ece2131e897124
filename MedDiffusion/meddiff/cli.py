"""The command `meddiff`. Exit codes: 0 done, 1 failed, 2 bad input (one sentence), 130 stopped by Ctrl-C."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import __version__
from .commands import (
    anomaly,
    bench,
    console,
    inpaint,
    jobs,
    methods,
    models,
    register,
    segment,
    synthesise,
    train,
    translate,
)
from .errors import BadInput, Cancelled, hint

app = typer.Typer(
    name="meddiff",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Generative diffusion models for medical images. For research, not for diagnosis.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(jobs.reconstruct)
app.command()(segment.segment)
app.command()(anomaly.anomaly)
app.command()(register.register)
app.command()(synthesise.synthesise)
app.command()(translate.translate)
app.command()(inpaint.inpaint)
app.command()(jobs.demo)
app.command()(jobs.run)
app.command()(methods.methods)
app.add_typer(models.app, name="models")
app.add_typer(train.app, name="train")
app.add_typer(bench.app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        console.say(f"meddiff {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
) -> None:
    """Options of every verb; `main` takes `--debug` out wherever it stands."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app([word for word in given if word != "--debug"], prog_name="meddiff")
    except BadInput as error:
        _fail(2, str(error))
    except Cancelled as error:
        _fail(130, str(error), "Stopped:", "bold yellow")
    except Exception as error:  # the last line of defence: one sentence, and the traceback for who asks
        if "--debug" in given:
            console.err.print_exception()
        advice = hint(error) or "--debug shows where; please report it"
        _fail(1, f"{type(error).__name__}: {error} ({advice})")


def _fail(code: int, message: str, mark: str = "Error:", style: str = "bold red") -> None:
    console.tell(message, mark, style)
    sys.exit(code)
