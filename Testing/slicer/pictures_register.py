"""The pictures of Diffusion Register: its panel, and what it made: before and after, checkerboard, grid and path."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import panels
from pictures_segment import tile
from screenshots import picture

WIDTH = 460  # of Slicer's module panel, in pixels
METHOD, PRESET = "", "balanced"  # an empty method is the one that the panel chooses first
CUT = {"orientation": "Sagittal", "aligned": True, "through": (-2.0, 0.0, 0.0)}
SQUARES = 6
ETAS = (0.0, 0.5, 1.0)  # of the path


def load() -> tuple[Any, Any]:
    """(fixed, moving): the crops of Sample Data, as the slice views show them."""
    from pictures_results import window

    from MedDiffusionLib.samples import loadPhantom

    return window(loadPhantom("Hippocampus")), window(loadPhantom("HippocampusOther"))


def choose(host: Any) -> Any:
    """The panel, with what the tutorial tells to choose."""
    fixed, moving = load()
    widget = panels.load(host, "DiffusionRegister").enter()
    parameters = widget._parameterNode
    parameters.fixedVolume, parameters.movingVolume = fixed, moving
    parameters.fixedLabels, parameters.movingLabels = truth("Hippocampus", "fixed"), truth("HippocampusOther", "moving")
    methods = widget.ui.method.method
    if METHOD:
        methods.setCurrentIndex(methods.findData(METHOD))
    widget.ui.method.presets[PRESET].click()
    host.process_events(0.3)
    return widget


def truth(name: str, which: str) -> Any:
    """The segments of a crop of Sample Data, as the tutorial makes them."""
    from MedDiffusionLib.hippocampus import NAMES, hippocampus_labels
    from MedDiffusionLib.samples import CROPS
    from MedDiffusionLib.segmentations import segmentation_from_labels

    labels = hippocampus_labels(CROPS[name])
    return segmentation_from_labels(labels, dict(enumerate(NAMES, start=1)), f"Truth of {which}")


def run(host: Any) -> SimpleNamespace:
    """The panel when it has just finished, and the nodes that it made, by output name."""
    widget = choose(host)
    panels.press(widget, "applyButton")
    host.wait(panels.finished(widget), 600)
    if problem := panels.find(widget, "problemText").text:
        raise RuntimeError(problem)
    parameters = widget._parameterNode
    made = {role.name: getattr(parameters, role.parameter) for role in widget.logic.outputs()}
    host.process_events(0.2)
    return SimpleNamespace(fixed=parameters.fixedVolume, moving=parameters.movingVolume, widget=widget, **made)


def tiles(found: SimpleNamespace, size: tuple[int, int]) -> dict[str, Any]:
    """Both volumes, the warped one, how they fit, the grid, the Jacobian, and the path."""
    from host.render import slice_picture

    from MedDiffusionLib.compare import checkerboard, show_grid
    from MedDiffusionLib.hierarchy import proxy
    from MedDiffusionLib.sequences import browser_of

    cut = {**CUT, "size": size}
    show_grid(found.displacement, found.warped, True)
    made = {
        "Fixed": tile(slice_picture(found.fixed, **cut).pixels, "Fixed", ""),
        "Moving": tile(slice_picture(found.moving, **cut).pixels, "Moving", "before"),
        "Warped": tile(slice_picture(found.warped, **cut).pixels, "Warped", "after"),
        "Grid": tile(slice_picture(found.warped, transform=found.displacement, **cut).pixels, "Grid", "the transform"),
    }
    shown = slice_picture(found.jacobian, legend=found.jacobian, legend_title="", **cut).pixels
    made["Jacobian"] = tile(shown, "Jacobian", "grown and shrunk")
    if found.labels is not None:
        shown = slice_picture(found.fixed, segmentation=found.labels, **cut).pixels
        made["Labels"] = tile(shown, "Labels", "of moving, on fixed")
    board = checkerboard(found.fixed, found.warped, SQUARES)
    made["Checkerboard"] = tile(slice_picture(board, **cut).pixels, "Checkerboard", "fixed and warped")
    browser = browser_of(found.frames)
    for eta in ETAS:
        browser.SetSelectedItemNumber(round(eta * (found.frames.GetNumberOfDataNodes() - 1)))
        shown = slice_picture(proxy(found.frames), **cut).pixels
        value = found.frames.GetNthIndexValue(browser.GetSelectedItemNumber())
        made[f"Path {eta:g}"] = tile(shown, "Path", f"eta {float(value):.2g}")
    return made


@picture("MedDiffusion/Resources/Icons/SamplePhantomHippocampusOther")
def thumbnail(host: Any, path: Path) -> None:
    from host.render import slice_png

    slice_png(path, load()[1], size=(256, 192), zoom=1.1, **CUT)


@picture("panel-register")
def panel(host: Any, path: Path) -> None:
    """The panel when the crops of Sample Data were just loaded, with the section Registration in view."""
    widget = choose(host)
    widget.options.form.parentWidget().collapsed = False
    host.process_events(0.3)
    host.grab(widget, path, width=WIDTH)


@picture("register-workspace")
def workspace(host: Any, path: Path) -> None:
    """The panel beside the views of what it made."""
    from host import boards

    found = run(host)

    def views(high: int) -> list[Any]:
        made = tiles(found, (int(1.35 * high), high))
        return [made[name] for name in ("Fixed", "Warped", "Checkerboard", "Grid", "Path 0", "Path 1")]

    spare = boards.GAP + boards.LINE
    boards.workspace(path, lambda part: host.grab(found.widget, part, width=WIDTH), 3, views, spare)


@picture("register-result")
def result(host: Any, path: Path) -> None:
    """What was put in, and what came out: checkerboard, grid, Jacobian and path."""
    from host.boards import board

    made = tiles(run(host), (400, 300))
    names = ("Fixed", "Moving", "Warped", "Checkerboard", "Grid", "Jacobian", *(f"Path {eta:g}" for eta in ETAS))
    board(path, [made[name] for name in names], columns=3)
