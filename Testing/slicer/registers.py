"""What the tests of Diffusion Register share: tiny models, two crops of a phantom, results that nobody computed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anomalies
import numpy as np
import panels
from segments import TRAINING

MOVING, FIXED = (14, 20, 18), (12, 18, 22)  # voxels of the crops
FRAMES = 4
FIGURES = {
    "similarity_before": 0.31,
    "similarity_affine": 0.4,
    "similarity_after": 0.62,
    "folds_percent": 0.0,
    "inverse_consistency_mm": 0.021,
    "displacement_mm": 1.2,
    "seconds": 0.4,
}
DICE = {"dice_before": 0.52, "dice_after": 0.78}


def models(folder: Path) -> Path:
    """A folder with `tiny-morph`, random, its baseline `tiny-voxelmorph`, and one whose baseline is missing."""
    from meddiff import models as engine
    from meddiff.card import Card

    every = {"diffusemorph": {}, "diffusemorph-synthetic": {}, "ddm-4d": {}, "voxelmorph": {}}
    for id, name, more in (
        ("tiny-morph", "hippocampus-morph", {"companions": {"baseline": "tiny-voxelmorph"}, "recipes": every}),
        ("tiny-voxelmorph", "hippocampus-voxelmorph", {"recipes": {"voxelmorph": {}}}),
        ("tiny-alone", "hippocampus-morph", {"companions": {"baseline": "not-here"}, "recipes": every}),
    ):
        card = Card.model_validate_json(json.dumps({**_card(id, name), **more}))
        engine.save(card, _weights(card), folder / id)
    return folder


def _card(id: str, name: str) -> dict[str, Any]:
    """The card of a model that is to be trained, its network made small."""
    plan, about = (json.loads((TRAINING / part / f"{name}.json").read_text()) for part in ("plans", "cards"))
    network = plan["network"]
    network["arguments"] |= {name: [8, 8] for name in network["arguments"] if name.endswith("widths")} | {"groups": 4}
    made = {key: plan[key] for key in ("network", "predicts", "intensity", "spacing_mm")}
    made |= {"schedule": plan.get("schedule"), "shape_multiple": 4, "window": [16, 20, 20], "labels": None}
    base = anomalies.card_of(id)
    return {**base, **about, **made, "training": {**base["training"], **about["training"]}, "id": id}


def _weights(card: Any) -> dict[str, Any]:
    """Random ones, of which the last layer of the deformer moves things by a few voxels."""
    found = anomalies.weights(card)
    for name in found:
        if name.startswith("deform") and ".out." in name:
            found[name] = found[name] * 0.5
    return found


def crop(name: str, shape: tuple[int, int, int], tilt: tuple[float, float, float], **options: Any) -> Any:
    """A volume node with an oblique crop of a phantom, which the models take."""
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    return node_from_volume(phantom("T1", shape, tilt=tilt, **options), name)


def crops() -> tuple[Any, Any]:
    """(moving, fixed), of other grids that meet at an angle."""
    return crop("Moving", MOVING, (7.0, -4.0, 3.0)), crop("Fixed", FIXED, (-12.0, 9.0, -14.0), spacing=(0.9, 1.1, 1.0))


def blocks(volume: Any, names: tuple[str, ...] = ("Front", "Back")) -> Any:
    """A segmentation of two blocks of a volume, on its grid."""
    from MedDiffusionLib.nodes import volume_from_node
    from MedDiffusionLib.segmentations import segmentation_from_labels

    grid, labels = volume_from_node(volume), block_labels(volume)
    colours = {1: (0.2, 0.6, 0.4), 2: (0.9, 0.5, 0.1)}
    made = segmentation_from_labels(
        grid.with_array(labels), dict(enumerate(names, start=1)), f"{volume.GetName()} blocks", colours=colours
    )
    made.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return made


def block_labels(volume: Any) -> Any:
    """Two blocks beside each other, 1 and 2, on the grid of a volume."""
    labels = np.zeros(panels.voxels(volume).shape, np.uint8)
    labels[3:9, 4:10, 5:14], labels[3:9, 10:15, 5:14] = 1, 2
    return labels


def bend(grid: Any, mm: float = 1.5) -> Any:
    """Displacements (Z, Y, X, 3) that a smooth wave makes on a grid."""
    z, y, x = np.indices(grid.shape)
    waves = [np.sin(x / 4.0) * np.cos(y / 5.0), np.cos(x / 5.0 + z / 4.0), np.sin(y / 4.0 + z / 6.0)]
    return (mm * np.stack(waves, -1)).astype(np.float32)


def results(moving: Any, fixed: Any, folder: Path, labels: bool = False) -> SimpleNamespace:
    """Files as the worker would write them for a pair: a wave bends the moving volume."""
    from meddiff.vectors import Vectors, write_vectors
    from meddiff.volume import write
    from MedDiffusionLib.nodes import volume_from_node

    folder.mkdir(parents=True, exist_ok=True)
    image, grid = (volume_from_node(node) for node in (moving, fixed))
    there = Vectors(bend(grid), grid)
    write_vectors(there, folder / "displacement.nrrd")
    write_vectors(Vectors(-bend(image), image), folder / "inverse.nrrd")
    frames = [Vectors(bend(grid, 1.5 * k / (FRAMES - 1)), grid).resample(image) for k in range(FRAMES)]
    for k, frame in enumerate(frames):
        write(frame, folder / f"frame-{k}.nrrd")
    write(frames[-1], folder / "warped.nrrd")
    write(grid.with_array(np.ones(grid.shape, np.float32)), folder / "jacobian.nrrd")
    figures = FIGURES | (DICE if labels else {})
    if labels:
        carried = np.zeros(grid.shape, np.uint8)
        carried[2:6, 3:8, 4:9], carried[6:9, 3:8, 4:9] = 1, 2
        write(grid.with_array(carried), folder / "labels.nrrd")
    rows = ",".join(figures), ",".join(str(value) for value in figures.values())
    (folder / "registration.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    steps = [f"{k / (FRAMES - 1):.6g},{0.4 + 0.07 * k:.6g},0.0" for k in range(FRAMES)]
    (folder / "path.csv").write_text("\n".join(["eta,similarity,folds", *steps]) + "\n", encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(figures))
    return SimpleNamespace(folder=folder, there=there, frames=[frame.array for frame in frames])


def open_panel(host: Any, folder: Path, labels: bool = False) -> SimpleNamespace:
    """Diffusion Register with two crops chosen, and a worker that hands out prepared results."""
    moving, fixed = crops()
    made = results(moving, fixed, folder / "prepared", labels)
    found = panels.open_prepared(host, "DiffusionRegister", fixed, made)
    found.moving, found.fixed = moving, fixed
    found.parameters.fixedVolume, found.parameters.movingVolume = fixed, moving
    found.parameters.model = "tiny-morph"
    return found
