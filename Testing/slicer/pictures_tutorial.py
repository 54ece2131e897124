"""The pictures of docs/tutorial-reconstruction.md, in its order: the same choices, on the phantom of Sample Data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panels
from screenshots import picture

WIDTH = 460  # of Slicer's module panel, in pixels
MIDDLE = slice(66, 71)  # slices that are enough for a picture


def _load(slices: slice | None = None) -> Any:
    """The phantom, or a few of its slices, as the slice views show it."""
    from pictures_results import window

    from MedDiffusionLib.nodes import node_from_volume, volume_from_node
    from MedDiffusionLib.samples import loadPhantom

    node = loadPhantom("T1")
    if slices is not None:
        volume = volume_from_node(node)
        x, y, z = (volume.affine @ [0, 0, slices.start, 1])[:3]
        cut = type(volume)(volume.array[slices], volume.spacing, (x, y, z), volume.direction)
        node = node_from_volume(cut, node.GetName(), node=node)
    return window(node)


def _choose(host: Any) -> Any:
    """What the tutorial tells to choose; the panel."""
    widget = panels.load(host).enter()
    contrast = panels.find(widget, "contrast")
    contrast.setCurrentIndex(contrast.findText("T1"))
    panels.find(widget, "samples").setValue(2)
    panels.find(widget, "want_outputZeroFilled").click()
    next(button for button in widget.ui.method.presets.values() if button.text == "Fast").click()
    host.process_events(0.3)
    return widget


@picture("tutorial-1-data")
def data(host: Any, path: Path) -> None:
    """The phantom in the three slice views."""
    from host.boards import Tile, board
    from host.render import slice_picture

    node = _load()
    views = ("Axial", "Coronal", "Sagittal")
    shown = (slice_picture(node, orientation=view, aligned=True, through=(0, 0, 0), size=(300, 300)) for view in views)
    board(path, [Tile(each.pixels, view) for each, view in zip(shown, views, strict=True)], columns=3)


@picture("tutorial-2-choices")
def choices(host: Any, path: Path) -> None:
    """The panel before Apply."""
    _load()
    host.grab(_choose(host), path, width=WIDTH)


@picture("tutorial-3-running")
def running(host: Any, path: Path) -> None:
    """The lower end of the panel while the job runs."""
    _load()
    widget = _choose(host)
    panels.press(widget, "applyButton")
    bar = panels.find(widget, "progress")
    host.wait(lambda: bar.maximum > 0 and bar.value > 0.45 * bar.maximum, 600)  # the middle of the brain
    host.process_events(1.2)  # a picture comes every second
    whole = path.with_suffix(".part.png")
    host.grab(widget, whole, width=WIDTH)
    top = panels.find(widget, "applyButton").y - 8
    widget.job.cancel()
    host.wait(panels.finished(widget), 10)
    crop(whole, path, top)


def crop(whole: Path, path: Path, top: int) -> None:
    """The picture `whole` from `top` down, in `path`; `whole` goes."""
    from PySide6.QtGui import QImage

    image = QImage(str(whole))
    image.copy(0, top, image.width(), image.height() - top).save(str(path))
    whole.unlink()


@picture("tutorial-4-result")
def result(host: Any, path: Path) -> None:
    """What was put in, and what came out."""
    import slicer
    from host.boards import Tile, board
    from host.render import slice_picture

    node = _load(MIDDLE)
    widget = _choose(host)
    panels.press(widget, "applyButton")
    host.wait(panels.finished(widget), 300)
    name = node.GetName()
    about = {
        "zero-filled": ("Zero-filled", "a quarter of k-space"),
        "reconstruction": ("Reconstruction", "mean of 2 samples"),
        "uncertainty": ("Uncertainty", "their spread"),
    }
    look = {"aligned": True, "offset": _middle(node), "size": (300, 340)}
    tiles = [Tile(slice_picture(node, **look).pixels, "Input")]
    for key, (title, note) in about.items():
        made = slicer.util.getFirstNodeByName(f"{name} {key}")
        tiles.append(Tile(slice_picture(made, **look).pixels, title, note))
    board(path, tiles, columns=4)


def _middle(node: Any) -> float:
    """The height of the middle of a volume, mm."""
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return (bounds[4] + bounds[5]) / 2
