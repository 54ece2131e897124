"""What the tests of Diffusion Segment share: tiny models, a crop of a phantom, results that nobody computed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anomalies
import numpy as np
import panels

SHAPE = (12, 20, 18)  # of the crop
NAMES = ("Anterior hippocampus", "Posterior hippocampus")
COLUMNS = ("segment", "label", "volume_mm3", "expected_volume_mm3", "predicted_dice")
FIGURES = {"network_calls": 64.0, "predicted_dice": 0.87}
_CORNER = np.array([[0, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
TRAINING = panels.ROOT / "MedDiffusion" / "meddiff" / "training"


def models(folder: Path) -> Path:
    """A folder with `tiny-seg`, random, its baseline `tiny-unet`, a part that is missing, one of three channels, a
    network of one pass that stands alone, and one of lesions in slices of three channels, with its baseline."""
    from meddiff import models as engine
    from meddiff.card import Card

    companions = {"baseline": "tiny-unet", "medsegdiff": "not-here"}
    channels = [{"name": name, "unit": "1"} for name in ("FLAIR", "T1", "T2")]
    for id, name, more in (
        ("tiny-seg", "hippocampus-seg", {"companions": companions}),
        ("tiny-unet", "hippocampus-unet", {}),
        ("tiny-unet-alone", "hippocampus-unet", {"recipes": {"unet": {}}}),
        ("tiny-three", "hippocampus-seg", {"channels": channels, "recipes": {"implicit-ensemble": {}, "pd-ddpm": {}}}),
        ("tiny-slices", "ms-lesion-seg", {"companions": {"baseline": "tiny-slices-unet"}}),
        ("tiny-slices-unet", "ms-lesion-unet", {}),
    ):
        card = Card.model_validate_json(json.dumps({**_card(id, name), **more}))
        engine.save(card, anomalies.weights(card), folder / id)
    return folder


def _card(id: str, name: str) -> dict[str, Any]:
    """The card of a model that is to be trained, its network made small."""
    plan, about = (json.loads((TRAINING / part / f"{name}.json").read_text()) for part in ("plans", "cards"))
    network = plan["network"]
    network["arguments"] |= {"widths": [8, 8], "groups": 4, "head_channels": 8}
    network["arguments"] |= {"images": 3} if id == "tiny-three" else {}
    made = {key: plan[key] for key in ("network", "predicts", "intensity", "spacing_mm")}
    made |= {"schedule": plan.get("schedule"), "shape_multiple": 4, "labels": None}
    made["window"] = [16, 20, 16][-len(plan["spacing_mm"]) :]
    base = anomalies.card_of(id)
    return {**base, **about, **made, "training": {**base["training"], **about["training"]}, "id": id}


def crop(name: str = "Patient", shape: tuple[int, int, int] = SHAPE) -> Any:
    """A volume node with an oblique crop of a phantom at 1 mm, which the models take."""
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    return node_from_volume(phantom("T1", shape), name)


def blocks(shape: tuple[int, ...]) -> np.ndarray:
    """Two blocks beside each other, 1 and 2."""
    labels = np.zeros(shape, np.uint8)
    labels[3:9, 4:10, 5:12], labels[3:9, 10:15, 5:12] = 1, 2
    return labels


def results(node: Any, folder: Path, figures: dict[str, float] | None = None) -> SimpleNamespace:
    """Files as the worker would write them for a volume."""
    from meddiff.volume import write
    from MedDiffusionLib.nodes import volume_from_node

    folder.mkdir(parents=True, exist_ok=True)
    volume = volume_from_node(node)
    labels = blocks(volume.shape)
    each = [0.9 * (labels == k).astype(np.float32) for k in (1, 2)]
    files = {"labels": labels, "probability": sum(each), "uncertainty": 0.3 * (labels > 0).astype(np.float32)}
    for name, array in (files | {"probability-1": each[0], "probability-2": each[1]}).items():
        write(volume.with_array(array), folder / f"{name}.nrrd")
    sizes = [float((labels == k).sum()) for k in (1, 2)]
    write_table(folder, [(NAMES[k], k + 1, sizes[k], 0.9 * sizes[k], 0.9 - 0.1 * k) for k in (0, 1)])
    (folder / "figures.json").write_text(json.dumps(FIGURES if figures is None else figures))
    return SimpleNamespace(folder=folder, labels=labels, each=each, sizes=sizes, files=files)


def write_table(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    text = "\n".join(",".join(map(str, row)) for row in (COLUMNS, *rows))
    (folder / "segments.csv").write_text(text + "\n", encoding="utf-8")


def to_world(volume: Any) -> np.ndarray:
    """From voxel (i, j, k, 1) to the world, through linear transforms."""
    import mrml

    origin, *axes = mrml.to_world(volume, (anomalies.matrix_of(volume) @ _CORNER.T).T[:, :3])
    return np.column_stack([*(axis - origin for axis in axes), origin])


def drawn(volume: Any, names: tuple[str, str], shift: float = 0.0) -> Any:
    """A segmentation of the blocks on another grid, in the world, `shift` mm from where they are.

    The first name is that of block 2, the second that of block 1.
    """
    import mrml

    from meddiff.volume import Volume
    from MedDiffusionLib.segmentations import segmentation_from_labels

    low, high, step = mrml.corners(volume).min(0), mrml.corners(volume).max(0), 0.8
    size = np.ceil((high - low) / step).astype(int) + 1
    k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    places = np.stack([low[0] + step * i, low[1] + step * j, low[2] + step * k], -1)
    whole = to_world(volume)
    index = np.rint((places - whole[:, 3]) @ np.linalg.inv(whole[:, :3]).T).astype(int)
    labels, image = blocks(panels.voxels(volume).shape), np.zeros(k.shape, np.uint8)
    inside = ((index >= 0) & (index < np.array(labels.shape[::-1]))).all(-1)
    x, y, z = index[inside].T
    image[inside] = np.array([0, 2, 1])[labels[z, y, x]]
    r, a, s = low + shift
    grid = Volume(image, (step, step, step), (-r, -a, s), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    return segmentation_from_labels(grid, dict(enumerate(names, start=1)), "drawn")


def open_panel(host: Any, folder: Path, **options: Any) -> Any:
    """Diffusion Segment with a crop in the scene, and a worker that hands out prepared results."""
    volume = crop()
    made = results(volume, folder / "prepared", **options)
    return panels.open_prepared(host, "DiffusionSegment", volume, made)
