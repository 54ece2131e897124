"""`meddiff bench`: quality and speed, measured on people that no model has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput
from ..files import whole
from . import console

if TYPE_CHECKING:
    from ..bench import Row
    from ..models import Model

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


@app.command()
def anomaly(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "brain-anomaly",
    method: Annotated[list[str] | None, typer.Option(help="Methods to compare; all of the model by default.")] = None,
    contrast: Annotated[list[str] | None, typer.Option(help="FLAIR, T2 or T1; all by default.")] = None,
    preset: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    samples: Annotated[int, typer.Option(min=1, help="Healthy twins of which the mean is taken.")] = 1,
    picture: Annotated[Path | None, typer.Option(help="Folder for pictures of all methods, one a contrast.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure what is in the --json file anew, too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="Every second slice; no other presets.")] = False,
    output: Json = None,
) -> None:
    """Anomalies: every method on real lesions and on painted ones, FLAIR, T2 and T1, beside simple methods.

    On two processor cores about one and a half minutes a contrast for ten network calls of a method, so hours for all.
    Each row goes to the --json file at once, and the same command goes on where it stopped: rows of the same weights,
    settings and healthy levels are not measured again.
    """
    from .. import bench, bench_anomaly
    from ..models import load

    _parent(output)
    loaded = load(model, device)
    known = [] if again or output is None or not output.exists() else _rows(output, "auprc")
    rows: list[Row] = []
    chosen = {"contrasts": contrast or bench_anomaly.CONTRASTS, "wanted": method or ()}
    settings = {"preset": preset, "samples": samples, "quick": quick, "pictures": picture}
    for row in bench_anomaly.compare(data, loaded, known, **chosen, **settings, say=console.tell):
        rows.append(row)
        if output:  # with those that are still to come from the file as it was
            rest = [k for k in known if not any(bench_anomaly.same(k, r) for r in rows)]
            _write(bench.report("anomaly", loaded, rows + rest, bench_anomaly.bars(rows, preset)), output)
    best = None if quick else bench_anomaly.winner(rows, preset)
    if best:
        rows.append(bench_anomaly.whole_volume(data, model, device, best))
    for case, used in dict.fromkeys((row["case"], row["preset"]) for row in rows):
        console.out.print()
        shown = [row for row in rows if (row["case"], row["preset"]) == (case, used)]
        _show(shown, bench_anomaly.COLUMNS, f"{case}, {used}")
    _finish("anomaly", bench.report("anomaly", loaded, rows, bench_anomaly.bars(rows, preset)), output)


@app.command()
def segment(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "hippocampus-seg",
    method: Annotated[list[str] | None, typer.Option(help="Methods to compare; all of the model by default.")] = None,
    split: Annotated[str, typer.Option(help="test; train to choose settings by.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Segmentation of the hippocampus, of lesions, or of vessels: overlap, borders, calibration, and whether a method
    knows its failures."""
    from .. import bench_lesions, bench_segment, bench_vessels
    from ..models import load

    loaded = load(model, device)
    kinds = {"brain": bench_lesions, "vessels": bench_vessels}
    kind = kinds.get("vessels" if "darl" in loaded.card.recipes else loaded.card.anatomy, bench_segment)
    _measure("segment", kind, data, loaded, output, quick=quick, split=split, only=method or ())


@app.command()
def register(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "hippocampus-morph",
    method: Annotated[
        list[str] | None, typer.Option(help="A method, or one with its preset ('diffusemorph fast'); all by default.")
    ] = None,
    split: Annotated[str, typer.Option(help="test; train to choose settings by.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Registration of hippocampi of different people: overlap of labels, folds, consistency, and landmarks that are
    known; beside SimpleITK's demons and, if antspyx is installed, ANTs' SyN."""
    from .. import bench_register
    from ..models import load

    _measure("register", bench_register, data, load(model, device), output, quick=quick, split=split, only=method or ())


@app.command()
def synthesise(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "mednist-64",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Synthesis of six classes: whether a classifier knows them and can learn from them, how varied they are, and how
    near to what was learnt from. Of label maps, or heights of slices: whether they are in the image."""
    from .. import bench_asked, bench_synthesise
    from ..models import load

    loaded = load(model, device)
    asked = loaded.card.segments or loaded.card.covariates
    _measure("synthesise", bench_asked if asked else bench_synthesise, data, loaded, output, quick=quick)


@app.command()
def translate(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "brain-translate",
    split: Annotated[str, typer.Option(help="test; train to choose settings by.")] = "test",
    step: Annotated[int, typer.Option(min=1, help="Every so many of the 60 central slices.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Translation of brain contrasts, beside the same network in one pass: errors, sharpness, and whether the spread
    tells of them."""
    from .. import bench_translate
    from ..models import load

    _measure("translate", bench_translate, data, load(model, device), output, quick=quick, split=split, step=step)


@app.command()
def inpaint(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's id or folder.")] = "brain-anomaly",
    split: Annotated[str, typer.Option(help="test; train to choose settings by.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quick: Quick = False,
    output: Json = None,
) -> None:
    """Inpainting of painted lesions, beside biharmonic inpainting: errors, and steps across the seam."""
    from .. import bench_inpaint
    from ..models import load

    _measure("inpaint", bench_inpaint, data, load(model, device), output, quick=quick, split=split)


def _measure(task: str, kind: Any, data: Path, loaded: Model, output: Path | None, **about: Any) -> None:
    """Run a benchmark that has `compare`, `bars` and `COLUMNS`; each row goes to the file at once."""
    from .. import bench
    from ..errors import notices

    _parent(output)
    rows: list[Row] = []
    with notices(lambda _: None):  # the same for every image
        for row in kind.compare(data, loaded, say=console.tell, **about):
            rows.append(row)
            if output:
                _write(bench.report(task, loaded, rows, kind.bars(rows)), output)
    for case in dict.fromkeys(row["case"] for row in rows):
        console.out.print()
        _show([row for row in rows if row["case"] == case], kind.COLUMNS, case)
    _finish(task, bench.report(task, loaded, rows, kind.bars(rows)), output)


def _parent(output: Path | None) -> None:
    """Raises BadInput before an hour of computing, not after it."""
    if output and not output.resolve().parent.is_dir():
        raise BadInput(f"the folder of {output} does not exist; create it, or choose another")


def _rows(path: Path, figure: str = "psnr") -> list[Row]:
    """The rows in a file of them, or of a report; raises BadInput where they hold no such figure."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        rows = told["rows"] if isinstance(told, dict) else told
        if all("case" in row and (figure in row or "seconds" in row) for row in rows):
            return rows
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from None
    raise BadInput(f"{path} holds no rows of such a benchmark; expected {figure} in each")


def _write(data: Any, output: Path) -> None:
    with whole(output) as part:
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


COLUMNS = {"psnr": "{:.2f}", "ssim": "{:.3f}", "calls": "{:.0f}"}
COLUMNS |= {f"{name}{where}": "{:.2f}" for name in ("spearman", "coverage90") for where in ("", "_inside")}
COLUMNS |= {"seconds_per_slice": "{:.2f}", "peak_gib": "{:.2f}", "relative_l2": "{:.4f}"}


def _show(rows: list[Row], columns: Mapping[str, str] = COLUMNS, case: str = "") -> None:
    """A table of all rows, or of those of one case, whose name stands in its head."""
    names = (case,) if case else ("case", "recipe")
    table = console.table(*names, *(f">{name.replace('_', ' ')}" for name in columns))
    table.columns[0].no_wrap = True
    for row in rows:
        about = (row["recipe"],) if case else (row["case"], row["recipe"])
        cells = [form.format(row[name]) if name in row else "" for name, form in columns.items()]
        table.add_row(*about, *cells)
    console.out.print(table)


def _finish(task: str, report: dict[str, Any], output: Path | None) -> None:
    table = console.table("bar", ">value", "target", "met")
    for bar in report["bars"]:
        table.add_row(bar["name"], f"{bar['value']:g}", bar["target"], "yes" if bar["met"] else "NO")
    console.out.print(table)
    if output:
        _write(report, output)
        console.say(f"the {task} benchmark is in {output}")
