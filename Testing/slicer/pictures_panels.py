"""Pictures of the panels, as a person sees them beside the views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panels
from screenshots import picture

WIDTH = 460  # of Slicer's module panel, in pixels


def _panel(name: str) -> None:
    @picture(f"panel-{name.removeprefix('Diffusion').lower()}")
    def draw(host: Any, path: Path) -> None:
        """The panel of a module when the phantom of Sample Data was just loaded."""
        panels.brain("Phantom T1")
        module = panels.load(host, name) if name != "MedDiffusion" else host.load_module(_hub())
        widget = module.enter()
        host.process_events(0.3)
        host.grab(widget, path, width=WIDTH)


def _hub() -> Path:
    return panels.ROOT / "MedDiffusion" / "MedDiffusion.py"


for _name in ("MedDiffusion", "DiffusionRecon"):  # the others have pictures of their own
    _panel(_name)


@picture("recon-workspace")
def workspace(host: Any, path: Path) -> None:
    """Diffusion Recon when it has just finished, beside the slice views of what it made."""
    import slicer
    from host.boards import Tile, beside
    from host.render import slice_picture
    from pictures_results import window

    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    node = window(node_from_volume(phantom("T1", (5, 192, 160)), "Phantom T1"))
    widget = panels.load(host, "DiffusionRecon").enter()
    panels.find(widget, "want_outputZeroFilled").click()
    contrast = panels.find(widget, "contrast")
    contrast.setCurrentIndex(contrast.findText("T1"))
    panels.press(widget, "applyButton")
    host.wait(panels.finished(widget), 300)
    host.process_events(0.2)
    panel = path.with_suffix(".part.png")
    host.grab(widget, panel, width=WIDTH)
    keys = ("reconstruction", "uncertainty", "zero-filled")
    made = {key: slicer.util.getFirstNodeByName(f"Phantom T1 {key}") for key in keys}
    high = _height(panel) // 2 - 50
    view = {"aligned": True, "size": (int(0.86 * high), high), "through": (0, 0, 0)}
    spread = {"foreground": made["uncertainty"], "opacity": 0.6}
    tiles = [
        Tile(slice_picture(node, **view).pixels, "Input"),
        Tile(slice_picture(made["zero-filled"], **view).pixels, "Zero-filled", "a quarter of k-space"),
        Tile(slice_picture(made["reconstruction"], **view).pixels, "Reconstruction", "mean of 4 samples"),
        Tile(slice_picture(made["reconstruction"], **spread, **view).pixels, "Uncertainty", "over the reconstruction"),
    ]
    beside(path, panel, tiles)
    panel.unlink()


def _height(path: Path) -> int:
    from PySide6.QtGui import QImage

    return QImage(str(path)).height()
