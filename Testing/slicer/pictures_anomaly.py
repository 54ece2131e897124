"""The pictures of Diffusion Anomaly: its panel, the map over the volume with the lesions' outlines, and their list."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import panels
from screenshots import picture

WIDTH = 460  # of Slicer's module panel, in pixels
NAME = "FLAIRLesion"  # of the phantoms of Sample Data
SLICES = 9  # around the lesion: enough for a picture
METHOD, PRESET = "", "balanced"  # an empty method is the one that the panel chooses first
OPACITY = 0.7  # of the map over the volume


def load(slices: int = 0) -> Any:
    """The phantom with a lesion, or a few slices through it, as the slice views show it."""
    from pictures_results import window

    from MedDiffusionLib.nodes import node_from_volume, volume_from_node
    from MedDiffusionLib.samples import loadPhantom

    node = loadPhantom(NAME)
    if slices:
        volume = volume_from_node(node)
        first = round(_voxel(node, _lesion(node))[2]) - slices // 2
        origin = (volume.affine @ [0, 0, first, 1])[:3]
        part = volume.array[first : first + slices]
        cut = type(volume)(part, volume.spacing, tuple(map(float, origin)), volume.direction)
        node = node_from_volume(cut, node.GetName(), node=node)
    return window(node)


def _lesion(node: Any) -> np.ndarray:
    """Where the phantom has its lesion, RAS mm."""
    from MedDiffusionLib.phantom import TISSUES, phantom_labels

    labels = phantom_labels(lesion=True)
    place = np.argwhere(labels.array == 1 + TISSUES.index("lesion")).mean(0)[::-1]
    return (np.diag([-1, -1, 1, 1]) @ labels.affine @ [*place, 1])[:3]


def _voxel(node: Any, place: Any) -> np.ndarray:
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix) @ [*place, 1]


def choose(host: Any) -> Any:
    """The panel, with what the tutorial tells to choose."""
    widget = panels.load(host, "DiffusionAnomaly").enter()
    contrast = panels.find(widget, "contrast")
    contrast.setCurrentIndex(contrast.findText("FLAIR"))
    polarity = panels.find(widget, "polarity")
    polarity.setCurrentIndex(polarity.findData("brighter"))
    methods = widget.ui.method.method
    if METHOD:
        methods.setCurrentIndex(methods.findData(METHOD))
    widget.ui.method.presets[PRESET].click()
    host.process_events(0.3)
    return widget


def run(host: Any) -> SimpleNamespace:
    """The panel when it has just finished, and the nodes that it made, by output name."""
    node = load(SLICES)
    widget = choose(host)
    panels.press(widget, "applyButton")
    host.wait(panels.finished(widget), 1200)
    if problem := panels.find(widget, "problemText").text:
        raise RuntimeError(problem)
    parameters = widget._parameterNode
    made = {role.name: getattr(parameters, role.parameter) for role in widget.logic.outputs()}
    widget.lesions.rows.choose(0 if widget.lesions.rows.widget.rowCount else -1)
    host.process_events(0.2)
    return SimpleNamespace(node=node, widget=widget, **made)


def tiles(found: SimpleNamespace, size: tuple[int, int]) -> list[Any]:
    """Input, healthy image, map with the outlines of the lesions over the input, and uncertainty."""
    from host.boards import Tile
    from host.render import slice_picture

    view = {"aligned": True, "through": tuple(_lesion(found.node)), "size": size}
    wide = {**view, "size": (size[0] + size[0] // 3, size[1])}
    over = {"foreground": found.anomaly, "opacity": OPACITY, "segmentation": found.lesions, "legend": found.anomaly}
    return [
        Tile(slice_picture(found.node, **view).pixels, "Input", "with a lesion"),
        Tile(slice_picture(found.healthy, **view).pixels, "Healthy image", "as the model expects"),
        Tile(slice_picture(found.node, **over, legend_title="", **wide).pixels, "Anomaly map", "lesions in outline"),
        Tile(slice_picture(found.uncertainty, **view).pixels, "Uncertainty", "of the healthy image"),
    ]


@picture("panel-anomaly")
def panel(host: Any, path: Path) -> None:
    """The panel when the phantom of Sample Data was just loaded, with the settings of the detection in view."""
    load(SLICES)
    widget = choose(host)
    widget.detection.form.parentWidget().collapsed = False
    host.process_events(0.3)
    host.grab(widget, path, width=WIDTH)


@picture("anomaly-workspace")
def workspace(host: Any, path: Path) -> None:
    """The panel with the list of lesions, beside the slice views of what it made."""
    from host import boards

    found = run(host)

    def views(high: int) -> list[Any]:
        made = tiles(found, (int(0.86 * high), high))
        made[2], made[3] = made[3], made[2]  # the wide one, with its legend, at the right
        return made

    boards.workspace(path, lambda part: host.grab(found.widget, part, width=WIDTH), 2, views, 50)


@picture("anomaly-result")
def result(host: Any, path: Path) -> None:
    """What was put in, and what came out."""
    from host.boards import board

    board(path, tiles(run(host), (300, 350)), columns=4)


@picture("anomaly-lesions")
def lesions(host: Any, path: Path) -> None:
    """The lower end of the panel when a run is done: what came of it, and the list of lesions."""
    from pictures_tutorial import crop

    found = run(host)
    whole = path.with_suffix(".part.png")
    host.grab(found.widget, whole, width=WIDTH)
    crop(whole, path, panels.find(found.widget, "applyButton").y - 8)
