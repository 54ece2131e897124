"""Pictures of the tabs that make images: the panels, and what came out beside what went in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import makings
import numpy as np
import panels
from screenshots import picture

WIDTH = 480
SLICES = 5  # of a phantom that is translated


@picture("panel-hub-synthesise")
def synthesise(host: Any, path: Path) -> None:
    """Twelve hands, and the sheet of them."""
    tab = makings.open_tab(host, "Synthesise")
    chosen = {"model": "mednist-64", "label": "Hand", "samples": 12, "seed": 3, "preset": "balanced"}
    for name, value in chosen.items():
        setattr(tab.parameters, name, value)
    run(host, tab)
    host.grab(tab.hub, path, width=WIDTH)


@picture("heights-workspace")
def heights(host: Any, path: Path) -> None:
    """Frames on the way from low to high through a brain, all of one seed."""
    from host import boards
    from host.boards import Tile
    from host.render import slice_picture

    tab = makings.open_tab(host, "Synthesise")
    asked = {"label": "T1", "covariates": '{"height": 0.15}', "way": "covariate", "along": "height", "alongTo": 0.9}
    makings.set_up(tab, model="brain-slices", method="guided-synthesis", **asked, samples=6, preset="balanced", seed=5)
    run(host, tab)
    sequence = tab.parameters.outputSequence
    captions = [f"height {sequence.GetNthIndexValue(k)}" for k in range(sequence.GetNumberOfDataNodes())]
    frames = _frames(sequence)

    def views(high: int) -> list[Any]:
        view = {"aligned": True, "size": (int(0.86 * high), high)}
        each = zip(frames, captions, strict=True)
        return [Tile(slice_picture(frame, **view).pixels, caption, "T1, seed 5") for frame, caption in each]

    boards.workspace(path, lambda part: host.grab(tab.hub, part, width=WIDTH), 3, views, 50)


@picture("shapes-workspace")
def shapes(host: Any, path: Path) -> None:
    """Two images of one label map in 3D: that of the phantom of Sample Data."""
    from host import boards
    from host.boards import Tile
    from host.render import slice_picture

    from MedDiffusionLib.hippocampus import NAMES, hippocampus_labels
    from MedDiffusionLib.segmentations import segmentation_from_labels

    drawn = segmentation_from_labels(hippocampus_labels(), dict(enumerate(NAMES, start=1)), "Drawn hippocampus")
    tab = makings.open_tab(host, "Synthesise")
    makings.set_up(tab, model="hippocampus-3d", inputLabels=drawn, samples=2, preset="balanced", seed=3)
    run(host, tab)
    images = _frames(tab.parameters.outputSequence)

    def views(high: int) -> list[Any]:
        made = []
        for image, caption in zip(images, ("First image", "Second image"), strict=True):
            for plane in ("Coronal", "Sagittal"):
                view = {"aligned": True, "through": (2.0, 0.0, -5.0), "size": (high, high), "orientation": plane}
                shown = slice_picture(image, segmentation=drawn, fill=0.0, **view)
                made.append(Tile(shown.pixels, f"{caption}, {plane.lower()}", "what was drawn in outline"))
        return made

    boards.workspace(path, lambda part: host.grab(tab.hub, part, width=WIDTH), 2, views, 50)


def _frames(sequence: Any) -> list[Any]:
    """A node of each frame, in grey levels that suit it."""
    from pictures_results import window

    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.sequences import volumes_from_sequence

    volumes = enumerate(volumes_from_sequence(sequence))
    return [window(node_from_volume(volume, f"Image {number}")) for number, volume in volumes]


def run(host: Any, tab: SimpleNamespace) -> None:
    """Press Apply, and wait for a good end."""
    panels.press(tab.widget, "applyButton")
    host.wait(panels.finished(tab.widget), 1200)
    if problem := panels.find(tab.widget, "problemText").text:
        raise RuntimeError(problem)
    host.process_events(0.2)


@picture("translate-workspace")
def translate(host: Any, path: Path) -> None:
    """The T1 of a phantom as T2, beside the true one, which the panel compares it with."""
    from host import boards
    from host.boards import Tile
    from host.render import slice_picture

    source, truth = (_part(f"Phantom {contrast}", contrast) for contrast in ("T1", "T2"))
    tab = makings.open_tab(host, "Translate")
    makings.set_up(tab, model="brain-translate", inputVolume=source, target="T2", reference=truth, preset="balanced")
    run(host, tab)
    parameters = tab.parameters

    def views(high: int) -> list[Any]:
        view = {"aligned": True, "size": (int(0.86 * high), high)}
        made, spread = parameters.outputVolume, parameters.outputUncertainty
        return [
            Tile(slice_picture(source, **view).pixels, "T1", "what came in"),
            Tile(slice_picture(made, **view).pixels, "as T2", "mean of the samples"),
            Tile(slice_picture(spread, **view).pixels, "Uncertainty", "where the samples differ"),
            Tile(slice_picture(truth, **view).pixels, "T2", "the true one"),
        ]

    boards.workspace(path, lambda part: host.grab(tab.hub, part, width=WIDTH), 2, views, 50)


def _part(name: str, contrast: str) -> Any:
    """A few slices through the middle of a phantom."""
    from pictures_results import window

    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    whole = phantom(contrast)
    first = whole.shape[0] // 2
    origin = tuple(map(float, (whole.affine @ [0, 0, first, 1])[:3]))
    part = type(whole)(whole.array[first : first + SLICES], whole.spacing, origin, whole.direction)
    return window(node_from_volume(part, name))


@picture("inpaint-workspace")
def inpaint(host: Any, path: Path) -> None:
    """A lesion that was outlined, and healthy tissue in its place."""
    import pictures_anomaly
    from host import boards
    from host.boards import Tile
    from host.render import slice_picture

    source = pictures_anomaly.load(pictures_anomaly.SLICES)
    outlined, truth = _outlined(source)
    tab = makings.open_tab(host, "Inpaint")
    makings.set_up(tab, model="brain-anomaly", inputVolume=source, inputSegments=outlined, grow=1.0, samples=2)
    makings.set_up(tab, preset="balanced")
    run(host, tab)
    parameters = tab.parameters

    def views(high: int) -> list[Any]:
        place = tuple(pictures_anomaly._lesion(source))
        view = {"aligned": True, "through": place, "size": (int(0.86 * high), high)}
        made, spread = parameters.outputVolume, parameters.outputUncertainty
        return [
            Tile(slice_picture(source, segmentation=outlined, **view).pixels, "Input", "the lesion in outline"),
            Tile(slice_picture(made, **view).pixels, "Healthy", "the first answer"),
            Tile(slice_picture(truth, **view).pixels, "Phantom without a lesion", "the true one"),
            Tile(slice_picture(spread, **view).pixels, "Uncertainty", "where the answers differ"),
        ]

    boards.workspace(path, lambda part: host.grab(tab.hub, part, width=WIDTH), 2, views, 50)


def _outlined(volume: Any) -> tuple[Any, Any]:
    """The lesion of the phantom as somebody would draw it, and the same slices of the phantom without it."""
    from meddiff.volume import resample_like
    from MedDiffusionLib.display import show
    from MedDiffusionLib.nodes import node_from_volume, volume_from_node
    from MedDiffusionLib.phantom import phantom
    from MedDiffusionLib.segmentations import segmentation_from_labels

    image = volume_from_node(volume)
    healthy = resample_like(phantom("FLAIR"), image)
    lesion = np.abs(healthy.array - image.array) > 0.05 * image.array.max()
    drawn = segmentation_from_labels(
        image.with_array(lesion.astype(np.uint8)), {1: "Lesion"}, "Drawn", reference=volume
    )
    truth = node_from_volume(healthy, "Healthy phantom")
    show(truth, "image", like=volume)
    return drawn, truth
