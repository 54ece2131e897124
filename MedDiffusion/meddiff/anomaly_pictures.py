"""What each method shows of the same slice, side by side: its healthy twin and its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .anomaly_cases import Case
from .detection import Detection
from .files import whole
from .metrics import auprc
from .pictures import Panel, draw

MARGIN = 6  # voxels around the brain


def keep(folder: Path, case: Case, found: Detection, recipe: str) -> Path:
    """Store what `recipe` shows of the slice with the most lesion, and draw all methods of this contrast that are
    stored in the folder so far; returns the picture."""
    row = int(case.truth.sum((1, 2)).argmax())
    places = np.argwhere(case.volume.array[row] > 0)
    (top, left), (bottom, right) = np.maximum(places.min(0) - MARGIN, 0), places.max(0) + MARGIN
    window = (row, slice(top, bottom), slice(left, right))
    arrays = (case.volume.array, case.truth, found.healthy.array, found.anomaly.array)
    image, truth, twin, anomaly = (array[window].astype(np.float32) for array in arrays)
    figure = auprc(case.truth[case.counted], found.anomaly.array[case.counted])
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / f"{case.contrast}-{recipe}.npz") as part, open(part, "wb") as file:
        np.savez(file, image=image, truth=truth, twin=twin, map=anomaly, auprc=figure)
    return compose(folder, case.contrast)


def compose(folder: Path, contrast: str) -> Path:
    """Draw the stored methods of a contrast: the image and its lesions, then for each method its map over its twin."""
    panels: list[Panel] = []
    for path in sorted(folder.glob(f"{contrast}-*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            image, truth, twin, anomaly = (stored[name] for name in ("image", "truth", "twin", "map"))
            figure = float(stored["auprc"])
        bright = float(np.percentile(image[image > 0], 99.8))
        if not panels:
            panels.append(Panel(image, contrast, "image", bright, outline=truth > 0))
            panels.append(Panel(image, "", "the same, without outlines", bright))
        top = max(float(np.percentile(anomaly[image > 0], 99.8)), 1e-6)
        name = path.stem.removeprefix(f"{contrast}-")
        panels.append(Panel(anomaly, name, f"map, AUPRC {figure:.3f}", top, "above the healthy twin", truth > 0))
        panels.append(Panel(twin, "", "healthy twin", bright))
    return draw(panels, f"{contrast}: lesions that three raters agreed on (outlined), and what each method shows",
                folder / f"anomaly-{contrast}.png")  # fmt: skip
