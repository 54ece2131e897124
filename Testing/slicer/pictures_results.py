"""Pictures of data and results, drawn by Slicer's own slice views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from screenshots import picture

ICONS = "MedDiffusion/Resources/Icons"
VIEWS = ("Axial", "Coronal", "Sagittal")
THUMBNAIL = (256, 192)


def _load(name: str, **options: Any) -> Any:
    from MedDiffusionLib.samples import loadPhantom

    node = loadPhantom(name, **options)
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    bright = float(np.percentile(_array(node)[_array(node) > 50], 99.5))
    display.SetWindowLevel(bright, bright / 2)
    return node


def _array(node: Any) -> Any:
    import slicer

    return slicer.util.arrayFromVolume(node)


def _thumbnail(name: str) -> None:
    @picture(f"{ICONS}/SamplePhantom{name}")
    def draw(host: Any, path: Path) -> None:
        from host.render import slice_png

        node = _load(name)
        offset = 22.0 if "Lesion" in name else 6.0
        slice_png(path, node, aligned=True, offset=offset, size=THUMBNAIL, zoom=1.08)


for _name in ("T1", "T2", "FLAIR", "FLAIRLesion"):
    _thumbnail(_name)


@picture("phantom")
def phantom_board(host: Any, path: Path) -> None:
    """The four phantoms of Sample Data, as the slice views show them."""
    from host.boards import Tile, board
    from host.render import slice_picture

    tiles = []
    for name, note in (("T1", ""), ("T2", ""), ("FLAIR", ""), ("FLAIRLesion", "with lesion")):
        node = _load(name)
        offset = 22.0 if "Lesion" in name else 6.0
        shown = slice_picture(node, aligned=True, offset=offset, size=(300, 330), zoom=1.05)
        tiles.append(Tile(shown.pixels, name.removesuffix("Lesion"), note))
    board(path, tiles, columns=4)


@picture("phantom-views")
def phantom_views(host: Any, path: Path) -> None:
    """One phantom in three orientations, with its lesion as a segmentation, and the lesion's surface."""
    from host.boards import Tile, board
    from host.render import slice_picture, surface_picture

    from MedDiffusionLib.phantom import phantom_labels
    from MedDiffusionLib.segmentations import segmentation_from_labels

    node = _load("FLAIRLesion")
    labels = phantom_labels(lesion=True)
    names = {5: "oedema", 6: "lesion"}
    kept = labels.with_array(np.where(labels.array >= 5, labels.array, 0))
    colours = {5: (0.95, 0.75, 0.25), 6: (0.85, 0.25, 0.25)}
    segmentation = segmentation_from_labels(kept, names, "Lesion", reference=node, colours=colours)
    tiles = []
    x, y, z = (labels.affine @ [*np.argwhere(labels.array == 6).mean(0)[::-1], 1])[:3]
    for view in VIEWS:
        shown = slice_picture(
            node, segmentation=segmentation, orientation=view, aligned=True, through=(-x, -y, z), size=(380, 380)
        )
        tiles.append(Tile(shown.pixels, view))
    tiles.append(Tile(surface_picture(segmentation, size=(380, 380), azimuth=200), "Surface"))
    board(path, tiles, columns=4)
