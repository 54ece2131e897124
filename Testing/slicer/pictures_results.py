"""Pictures of data and results, drawn by Slicer's own slice views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from screenshots import picture

from meddiff.volume import IDENTITY, Volume

ICONS = "MedDiffusion/Resources/Icons"
VIEWS = ("Axial", "Coronal", "Sagittal")
THUMBNAIL = (256, 192)
CLOSE = {"aligned": True, "through": (0.0, 0.0, 0.0), "size": (300, 350)}


def _load(name: str, **options: Any) -> Any:
    from MedDiffusionLib.samples import loadPhantom

    return window(loadPhantom(name, **options))


def window(node: Any) -> Any:
    """Grey levels from 0 to nearly the brightest voxel."""
    import slicer

    node.CreateDefaultDisplayNodes()
    array = slicer.util.arrayFromVolume(node)
    bright = float(np.percentile(array[array > 50], 99.5))
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(bright, bright / 2)
    return node


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


@picture("recon-result")
def reconstruct_phantom(host: Any, path: Path) -> None:
    """What Diffusion Recon gives of a quarter of the k-space of the phantom, by the starter model."""
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    _reconstruction(host, path, node_from_volume(phantom("T1", (5, 192, 160)), "Phantom T1"))


@picture("recon-brain")
def reconstruct_brain(host: Any, path: Path) -> None:
    """The same of a real anatomy: central slices of the MNI152 T1 template, the mean of 152 brains."""
    from nilearn.datasets import load_mni152_template

    from MedDiffusionLib.nodes import node_from_volume

    image = load_mni152_template(resolution=1)
    array = np.asarray(image.dataobj, np.float32).transpose(2, 1, 0)[80:85, 10:-8, 16:-18]
    # The template runs to the right, to the front, up: its first two axes are turned to left and back
    array = np.ascontiguousarray(array[:, ::-1, ::-1]) * np.float32(1000 / array.max())
    size = np.array(array.shape[::-1])
    volume = Volume(array, (1, 1, 1), tuple(-(size - 1) / 2), IDENTITY)
    _reconstruction(host, path, node_from_volume(volume, "MNI152 T1"))


def _reconstruction(host: Any, path: Path, node: Any) -> None:
    import panels
    from host.boards import Tile, board
    from host.render import slice_picture

    panels.load(host)
    from DiffusionRecon import DiffusionReconLogic

    window(node)
    wanted = ("reconstruction", "uncertainty", "zero-filled")
    made = DiffusionReconLogic().process(
        node, contrast="T1", acceleration=4.0, preset="balanced", samples=4, wanted=wanted
    )
    tiles = [Tile(slice_picture(node, **CLOSE).pixels, "Input", "the truth here")]
    tiles += [Tile(slice_picture(made["zero-filled"], **CLOSE).pixels, "Zero-filled", "a quarter of k-space")]
    tiles += [Tile(slice_picture(made["reconstruction"], **CLOSE).pixels, "Reconstruction", "mean of 4 samples")]
    spread = slice_picture(
        made["uncertainty"], **{**CLOSE, "legend": made["uncertainty"], "legend_title": "", "size": (410, 350)}
    )
    tiles += [Tile(spread.pixels, "Uncertainty", "of the samples")]
    board(path, tiles, columns=4)
