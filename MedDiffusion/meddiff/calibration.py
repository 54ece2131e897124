"""Making a model's uncertainty mean something: how large its errors are, compared with the spread of its samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import __version__
from .anomaly_cases import REAL
from .bench import CONTRASTS, TRAIN, Case, central_slices
from .card import Calibration, Quality
from .errors import BadInput
from .models import Model
from .reconstruction import reconstruct
from .sampling import drain
from .store import WEIGHTS, ModelFolder, find, fingerprint, seal
from .uncertainty import SMOOTHING, fit_scale, pooled

CASES = tuple(Case(contrast, a, coils) for contrast in CONTRASTS for a, coils in ((4, 1), (8, 1), (4, 8)))
Pair = tuple[np.ndarray, np.ndarray]


def measure_spread(
    data: Path, model: Model, recipe: str, cases: Sequence[Case] = CASES, samples: int = 4, slices: int = 3
) -> Iterator[tuple[Case, Pair]]:
    """Errors of the mean and pooled spreads of its samples inside the head, on a person of the train split."""
    bare = model.uncalibrated()
    for case in cases:
        volume = central_slices(data, TRAIN, case.contrast, 60, 60 // slices)
        run = reconstruct(
            volume, bare, method=recipe, acquisition=case.acquisition, contrast=case.contrast, samples=samples
        )
        result = drain(run)
        inside = volume.array > 0
        spread = pooled(torch.from_numpy(result.spread.array.astype(np.float32))[:, None], SMOOTHING)[:, 0].numpy()
        yield case, ((result.mean.array - volume.array)[inside], spread[inside])


def write_calibration(folder: Path, recipe: str, pairs: Sequence[Pair], command: str) -> Calibration:
    """Fit the scale of `recipe` and seal it into the card of the model in `folder`."""
    scale = fit_scale([error for error, _ in pairs], [spread for _, spread in pairs])
    found = Calibration(
        scale=float(f"{scale:.3g}"),
        smoothing=SMOOTHING,
        dataset=f"{TRAIN}, inside the head ({len(pairs)} cases; train split)",
        command=command,
        code_version=__version__,
    )
    card = find(folder).card
    seal(card.model_copy(update={"uncertainty": {**card.uncertainty, recipe: found}}), folder)
    return found


def read_quality(report: Path, folder: Path) -> list[Quality]:
    """The figures of our recipes in a report of `meddiff bench`; raises BadInput for that of another model."""
    try:
        told = json.loads(report.read_text(encoding="utf-8"))
        rows = [row for row in told["rows"] if row.get("calls") and _tells(row)]
        task, weights = told["task"], [row.get("weights", told["weights"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{report} is no report of `meddiff bench`: {error}") from None
    mine = fingerprint(folder / WEIGHTS).sha256
    rows = [row for row, its in zip(rows, weights, strict=True) if its == mine]
    if not rows:
        raise BadInput(f"{report} was measured with other weights than those in {folder}; run the benchmark again")
    about = {"command": f"meddiff bench {task}", "code_version": __version__}
    return [
        Quality(dataset=f"test split, {row['case']}", metric=f"{name} of {_method(row)}", value=row[name], **about)
        for row in rows
        for name in ("psnr", "ssim", "auprc", "dice", "called", "contrast", "rank")
        if name in row
    ]


def _tells(row: dict[str, Any]) -> bool:
    """Whether a row belongs into a card: means of samples, and what was found of real lesions."""
    return row["case"].endswith(REAL) if "auprc" in row else row.get("samples", 0) > 1 or "pairs" in row


def _method(row: dict[str, Any]) -> str:
    several = {"auprc", "pairs", "likeness"} & {*row}  # then a method has a row for each of its presets
    return f"{row['recipe']}, {row['preset']}" if several else row["recipe"]


def write_quality(folder: Path, rows: Sequence[Quality]) -> ModelFolder:
    """Seal measured figures into the card of the model in `folder`, in the place of those that were there."""
    seal(find(folder).card.model_copy(update={"quality": tuple(rows)}), folder)
    return find(folder)
