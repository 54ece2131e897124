"""Images to one cache file (tensors and a fingerprint), so that training needs torch, MONAI and numpy alone."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ..errors import BadInput
from ..files import whole
from ..intensity import Intensity
from ..tiling import slices
from ..volume import canonical, read, require_usable
from .plan import Plan, Source


def prepare(plan: Plan, data: Path, cache: Path, say: Callable[[str], None], *, split: str = "train") -> int:
    """Write `cache` (.safetensors: float16 slices (N, Y, X) of each image, JSON plan and fingerprint); count slices.

    Only files whose split in the folder's `manifest.csv` is `split` are used. Raises BadInput where nothing is left.
    """
    tensors: dict[str, torch.Tensor] = {}
    rows: list[dict[str, object]] = []
    for source in plan.images:
        for path in _files(source, data, split):
            stack = _stack(plan, path)
            if not len(stack):
                say(f"{path.name}: no slice has enough foreground; left out")
                continue
            key = f"images.{len(rows):03d}"
            tensors[key] = torch.from_numpy(stack.astype(np.float16))
            rows.append(
                {
                    "key": key,
                    "file": path.relative_to(data).as_posix(),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    "label": source.label,
                    "weight": source.weight,
                    "slices": len(stack),
                }
            )
            say(f"{rows[-1]['file']}: {len(stack)} slices of {stack.shape[2]}x{stack.shape[1]}")
    if not rows:
        raise BadInput(f"no file of the split {split!r} was found below {data}; expected {plan.images[0].files}, ...")
    with whole(cache) as part:
        save_file(tensors, part, metadata={"plan": plan.model_dump_json(), "images": json.dumps(rows), "split": split})
    return sum(len(t) for t in tensors.values())


def _files(source: Source, data: Path, split: str) -> list[Path]:
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        raise BadInput(f"{manifest} is missing; it names the split (train or test) of every file")
    with manifest.open(newline="") as file:
        wanted = {row["file"] for row in csv.DictReader(file) if row["split"] == split}
    return [p for p in sorted(data.glob(source.files)) if p.relative_to(data).as_posix() in wanted]


def _stack(plan: Plan, path: Path) -> np.ndarray:
    volume, _ = canonical(read(path))
    require_usable(volume, path.name)
    if not np.allclose(volume.spacing[:2], plan.spacing_mm, rtol=0.15):
        raise BadInput(f"{path.name}: in-plane spacing {volume.spacing[:2]} mm, the plan wants {plan.spacing_mm} mm")
    scaled = Intensity.from_dict(plan.intensity).fit(volume.array).forward(volume.array)
    stack = np.asarray(slices(scaled, plan.plane))[:, 0]
    keep = (stack > 0.05).mean(axis=(1, 2)) >= plan.minimum_foreground
    return np.ascontiguousarray(stack[keep])
