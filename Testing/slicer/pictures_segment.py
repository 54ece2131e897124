"""The pictures of Diffusion Segment: its panel, and what it made in slices, as maps and as surfaces."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import panels
from screenshots import picture

WIDTH = 460  # of Slicer's module panel, in pixels
METHOD, PRESET = "", "balanced"  # an empty method is the one that the panel chooses first
OPACITY = 0.75  # of a map over the volume
STEP = 6  # of 256 grey levels
EYE = {"azimuth": 75.0, "elevation": 20.0}  # from the left, a little from above


def load() -> Any:
    """The crop of Sample Data, as the slice views show it."""
    from pictures_results import window

    from MedDiffusionLib.samples import loadPhantom

    return window(loadPhantom("Hippocampus"))


def choose(host: Any) -> Any:
    """The panel, with what the tutorial tells to choose."""
    widget = panels.load(host, "DiffusionSegment").enter()
    methods = widget.ui.method.method
    if METHOD:
        methods.setCurrentIndex(methods.findData(METHOD))
    widget.ui.method.presets[PRESET].click()
    host.process_events(0.3)
    return widget


def run(host: Any) -> SimpleNamespace:
    """The panel when it has just finished, and the nodes that it made, by output name."""
    node = load()
    widget = choose(host)
    panels.press(widget, "applyButton")
    host.wait(panels.finished(widget), 600)
    if problem := panels.find(widget, "problemText").text:
        raise RuntimeError(problem)
    parameters = widget._parameterNode
    made = {role.name: getattr(parameters, role.parameter) for role in widget.logic.outputs()}
    host.process_events(0.2)
    return SimpleNamespace(node=node, widget=widget, **made)


def _middle(found: SimpleNamespace) -> tuple[float, ...]:
    """Between the two segments, RAS mm."""
    from MedDiffusionLib.segmentations import place_of_segment

    ids = found.labels.GetSegmentation().GetSegmentIDs()
    places = [place for one in ids if (place := place_of_segment(found.labels, one)) is not None]
    return tuple(sum(values) / len(places) for values in zip(*places, strict=True))


def tile(pixels: Any, caption: str, note: str) -> Any:
    """A view in steps of grey and colour that nobody sees, but that make half a file of it."""
    from host.boards import Tile

    return Tile(pixels // STEP * STEP, caption, note)


def tiles(found: SimpleNamespace, size: tuple[int, int]) -> dict[str, Any]:
    """Three slices with the outlines of the segments, both maps over the volume, and the surfaces."""
    from host.render import slice_picture, surface_picture

    view = {"aligned": True, "through": _middle(found), "size": size}
    cut = {**view, "orientation": "Sagittal"}
    made = {}
    for plane in ("Axial", "Coronal", "Sagittal"):
        shown = slice_picture(found.node, segmentation=found.labels, orientation=plane, **view)
        made[plane] = tile(shown.pixels, plane, "segments in outline")
    for name, note in (("probability", "of any segment"), ("uncertainty", "where the samples differ")):
        over = {"foreground": getattr(found, name), "opacity": OPACITY, "legend": getattr(found, name)}
        made[name] = tile(slice_picture(found.node, **over, legend_title="", **cut).pixels, name.capitalize(), note)
    made["3D"] = tile(surface_picture(found.labels, size=size, **EYE), "3D", "the segments as surfaces")
    made["Input"] = tile(slice_picture(found.node, **cut).pixels, "Input", "a crop at 1 mm")
    return made


@picture("MedDiffusion/Resources/Icons/SamplePhantomHippocampus")
def thumbnail(host: Any, path: Path) -> None:
    from host.render import slice_png

    slice_png(path, load(), orientation="Sagittal", aligned=True, through=(-2, 0, 0), size=(256, 192), zoom=1.1)


@picture("panel-segment")
def panel(host: Any, path: Path) -> None:
    """The panel when the crop of Sample Data was just loaded, with what becomes of the samples in view."""
    load()
    widget = choose(host)
    widget.options.form.parentWidget().collapsed = False
    host.process_events(0.3)
    host.grab(widget, path, width=WIDTH)


@picture("segment-workspace")
def workspace(host: Any, path: Path) -> None:
    """The panel beside the views of what it made."""
    from host import boards

    found = run(host)

    def views(high: int) -> list[Any]:
        made = tiles(found, (int(1.35 * high), high))
        return [made[name] for name in ("Axial", "Coronal", "Sagittal", "3D", "probability", "uncertainty")]

    spare = boards.GAP + boards.LINE
    boards.workspace(path, lambda part: host.grab(found.widget, part, width=WIDTH), 3, views, spare)


@picture("segment-result")
def result(host: Any, path: Path) -> None:
    """What was put in, and what came out."""
    from host.boards import board

    made = tiles(run(host), (400, 300))
    board(
        path, [made[name] for name in ("Input", "Sagittal", "3D", "Coronal", "probability", "uncertainty")], columns=3
    )
