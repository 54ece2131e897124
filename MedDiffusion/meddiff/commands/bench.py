"""`meddiff bench`: quality and speed, measured on people that no model has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput
from ..files import whole
from . import console

if TYPE_CHECKING:
    from ..bench import Row

app = typer.Typer(no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="Folder of images with test and train splits (manifest.csv).")]
Quick = Annotated[bool, typer.Option("--quick", help="A subset, in under three minutes.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the table and the bars to this file.")]


@app.callback()
def bench() -> None:
    """Measure quality and speed on people that no model has seen, beside other methods."""


@app.command()
def reconstruct(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "brain-mr",
    samples: Annotated[int, typer.Option(min=2, help="Samples of which the mean is taken.")] = 4,
    preset: Annotated[str, typer.Option(help="fast, balanced or best.")] = "best",
    classical: Annotated[Path | None, typer.Option(help="Rows of `meddiff bench classical`, if made before.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Reconstruction at 4x and 8x, one coil and eight, beside zero-filled, wavelets and total variation."""
    from .. import bench, bench_speed
    from ..models import load

    _parent(output)
    known = _rows(classical) if classical else []
    loaded = load(model, device)
    rows = bench.compare(data, loaded, known, quick=quick, samples=samples, preset=preset, say=console.tell)
    bars = bench.bars(rows)
    if not quick:
        speed = [bench_speed.whole_volume(data, model, device), *bench_speed.precision(data, model, device)]
        rows, bars = rows + speed, bars + bench_speed.bars(speed)
    _show(rows)
    _finish("reconstruct", bench.report("reconstruct", loaded, rows, bars), output)


@app.command()
def classical(
    data: Data,
    output: Annotated[Path, typer.Option("--json", help="File of rows.")],
    quick: Quick = False,
) -> None:
    """The classical methods alone: slow, and the same whatever the model."""
    from .. import bench

    _parent(output)
    rows: list[Row] = []
    for case in bench.cases(quick):
        rows += bench.classical(data, case)
        _write(rows, output)
        console.tell(str(case))
    _show(rows)


@app.command()
def tune(data: Data, quick: Quick = False) -> None:
    """The regularisation of the classical methods, on a person of the train split."""
    from .. import bench

    table = console.table("case", "method", ">lambda")
    for case in bench.cases(quick):
        for name, lam in bench.tune(data, case).items():
            table.add_row(str(case), name, f"{lam:g}")
    console.out.print(table)


@app.command()
def raw(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "brain-mr",
    samples: Annotated[int, typer.Option(min=2, help="Samples of which the mean is taken.")] = 4,
    preset: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    tune: Annotated[
        bool, typer.Option("--tune", help="Compare settings on a person of the train split instead.")
    ] = False,
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Raw k-space of eight coils whose phase varies, at 4x and 8x, beside zero-filled, SENSE and total variation."""
    from .. import bench, bench_raw
    from ..models import load

    _parent(output)
    loaded = load(model, device)
    measured = bench_raw.tune if tune else bench_raw.compare
    rows = measured(data, loaded, quick=quick, samples=samples, preset=preset, say=console.tell)
    _show(rows)
    bars = [] if tune else bench_raw.bars(rows)
    _finish("raw-tune" if tune else "raw", bench.report("raw-tune" if tune else "raw", loaded, rows, bars), output)


def _parent(output: Path | None) -> None:
    """Raises BadInput before an hour of computing, not after it."""
    if output and not output.resolve().parent.is_dir():
        raise BadInput(f"the folder of {output} does not exist; create it, or choose another")


def _rows(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if all("case" in row and "psnr" in row for row in rows):
            return rows
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from None
    raise BadInput(f"{path} holds no rows of `meddiff bench classical`")


def _write(data: Any, output: Path) -> None:
    with whole(output) as part:
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _show(rows: list[Row]) -> None:
    columns = {"psnr": "{:.2f}", "ssim": "{:.3f}", "calls": "{:.0f}"}
    columns |= {f"{name}{where}": "{:.2f}" for name in ("spearman", "coverage90") for where in ("", "_inside")}
    columns |= {"seconds_per_slice": "{:.2f}", "peak_gib": "{:.2f}", "relative_l2": "{:.4f}"}
    table = console.table("case", "recipe", *(f">{name.replace('_', ' ')}" for name in columns))
    for row in rows:
        cells = [form.format(row[name]) if name in row else "" for name, form in columns.items()]
        table.add_row(row["case"], row["recipe"], *cells)
    console.out.print(table)


def _finish(task: str, report: dict[str, Any], output: Path | None) -> None:
    table = console.table("bar", ">value", "target", "met")
    for bar in report["bars"]:
        table.add_row(bar["name"], f"{bar['value']:g}", bar["target"], "yes" if bar["met"] else "NO")
    console.out.print(table)
    if output:
        _write(report, output)
        console.say(f"the {task} benchmark is in {output}")
