"""What the tests of Diffusion Anomaly share: tiny models, a phantom with a lesion, results that nobody computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import panels

SHAPE, SPACING = (6, 96, 80), 2.0  # of the small phantom; mm
COLUMNS = ("lesion", "volume_mm3", "peak", "mean", "r_mm", "a_mm", "s_mm", "slices")
STATES = ("healthy", "diseased", "restored", "simplex")
FIGURES = {"lesions": 2.0, "lesion_volume_mm3": 1234.0, "threshold": 0.25, "network_calls": 20.0}


def models(folder: Path) -> Path:
    """A folder with `tiny-anomaly`, random, its companion `tiny-dae`, and a third that it names and that is missing."""
    from meddiff import models as engine
    from meddiff.card import Card
    from meddiff.recipes import anomaly
    from meddiff.registry import recipes

    names = ("FLAIR", "T1", "T2")
    offered: dict[str, Any] = {recipe.name: {} for recipe in recipes(anomaly.TASK)}
    companions = {"denoiser": "tiny-dae", "classifier": "not-here"}
    labels = {"names": names, "states": STATES, "null": 15}
    for id, more in {
        "tiny-anomaly": {"recipes": offered, "companions": companions, "labels": labels, "predicts": "v"},
        "tiny-dae": {"recipes": {}, "labels": {"names": names, "null": 3}, "predicts": "image", "schedule": None},
    }.items():
        card = Card.model_validate_json(json.dumps({**card_of(id), **more}))
        engine.save(card, weights(card), folder / id)
    return folder


def card_of(id: str) -> dict[str, Any]:
    shipped = panels.ROOT / "MedDiffusion" / "Resources" / "Models" / "brain-mr" / "model.json"
    card = json.loads(shipped.read_text(encoding="utf-8"))
    arguments = {"widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8, "patch": 2, "labels": 16}
    network = {"name": "diffusion-unet", "arguments": arguments}
    about = {
        "task": "anomaly",
        "network": network,
        "spacing_mm": [1.0, 1.0],
        "spacing_tolerance": 1.5,
        "quality": [],
        "uncertainty": {},
    }
    return {**card, **about, "id": id, "name": id.replace("-", " ").capitalize(), "files": {}}


def weights(card: Any) -> dict[str, Any]:
    import torch

    from meddiff.networks import build

    random = torch.Generator().manual_seed(0)
    state = build(card.network.name, dict(card.network.arguments)).state_dict()
    return {name: 0.2 * torch.randn(value.shape, generator=random) for name, value in sorted(state.items())}


def brain(name: str = "Patient", lesion: bool = True) -> Any:
    """A volume node with a coarse, oblique FLAIR phantom with a lesion, which the models take."""
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    return node_from_volume(phantom("FLAIR", SHAPE, spacing=(SPACING, SPACING, 8.0), lesion=lesion), name)


def oblique(node: Any, name: str = "moved") -> Any:
    """A transform that turns, shifts and stretches a node, which now lies under it."""
    import mrml
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    a, b = np.radians([25.0, -15.0])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn @ np.diag([1.1, 0.9, 1.0]), (12.0, -7.0, 31.0)
    transform.SetMatrixTransformToParent(mrml.matrix(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def matrix_of(node: Any) -> np.ndarray:
    """From voxel (i, j, k, 1) to the node's own RAS."""
    import mrml
    import vtk

    found = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(found)
    return mrml.array_of(found)


def results(node: Any, folder: Path, figures: dict[str, float] | None = None) -> SimpleNamespace:
    """Files as the worker would write them for a volume: two lesions, of which `centres` are the places (own RAS)."""
    from meddiff.volume import write
    from MedDiffusionLib.nodes import volume_from_node

    folder.mkdir(parents=True, exist_ok=True)
    volume = volume_from_node(node)
    labels = np.zeros(volume.shape, np.uint16)
    labels[2:4, 30:41, 20:33] = 1
    labels[3, 60:64, 50:53] = 2
    image = volume.array.astype(np.float32)
    score = np.where(image > 0, 0.02, 0).astype(np.float32) + 0.5 * (labels == 1) + 0.3 * (labels == 2)
    files = {"healthy": 0.9 * image, "anomaly": score, "lesions": labels, "uncertainty": 0.01 * (image > 0)}
    for name, array in files.items():
        write(
            volume.with_array(array.astype(labels.dtype if name == "lesions" else np.float32)), folder / f"{name}.nrrd"
        )
    size = float(np.prod(volume.spacing))
    rows, centres = [], []
    for label, peak in ((1, 0.52), (2, 0.32)):
        z, y, x = np.nonzero(labels == label)
        centres.append((matrix_of(node) @ [x.mean(), y.mean(), z.mean(), 1])[:3])
        place = (round(float(value), 4) for value in centres[-1])
        rows.append((label, round(z.size * size, 4), peak, peak - 0.02, *place, len(np.unique(z))))
    write_table(folder / "table.csv", rows)
    (folder / "figures.json").write_text(json.dumps({**FIGURES, **(figures or {})}))
    return SimpleNamespace(folder=folder, labels=labels, score=score, centres=np.array(centres), rows=rows)


def write_table(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    path.write_text("\n".join(",".join(map(str, row)) for row in (COLUMNS, *rows)) + "\n", encoding="utf-8")


def open_panel(host: Any, folder: Path, **options: Any) -> Any:
    """Diffusion Anomaly with a patient in the scene, and a worker that hands out prepared results."""
    volume = brain()
    made = results(volume, folder / "prepared", **options)
    return panels.open_prepared(host, "DiffusionAnomaly", volume, made)
