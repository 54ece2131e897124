"""Images to one cache file (tensors and a fingerprint), so that training needs torch, MONAI and numpy alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..domain import HEIGHT, heights_of
from ..errors import BadInput
from ..files import whole
from ..intensity import Intensity
from ..lesions import bright_lesions, fill, white_matter
from ..splits import files_of
from ..tiling import slices
from ..volume import canonical, read, require_usable, resample
from .case_plans import CasePlan, ContrastPlan, SegmentPlan
from .course import Course
from .plan import Plan, Source

SMALLEST = 10  # voxels of lesions in a slice that is painted after


def prepare(plan: Plan, data: Path, cache: Path, say: Callable[[str], None], *, split: str = "train") -> int:
    """Write `cache` (.safetensors: float16 slices (N, Y, X) of each image, JSON plan and fingerprint); count slices.

    Where the plan paints lesions, `images` are healthy, real lesions filled; `seen` and `masks` are the slices as they
    came and where their lesions lie; `shapes` are masks to paint; `covariates` (N, K) are in their units. Only files
    whose split in the folder's `manifest.csv` is `split` are used. Raises BadInput where nothing is left.
    """
    tensors: dict[str, torch.Tensor] = {}
    rows: list[dict[str, Any]] = []
    for source in plan.images:
        for path in listed(source.files, data, split):
            stacks = _stacks(plan, source, path)
            stack = stacks["images"]
            if not len(stack):
                say(f"{path.name}: no slice has enough foreground; left out")
                continue
            key = f"images.{len(rows):03d}"
            tensors |= {key.replace("images", name): torch.from_numpy(array) for name, array in stacks.items()}
            rows.append(
                {
                    "key": key,
                    "file": path.relative_to(data).as_posix(),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    "label": source.label,
                    "weight": source.weight,
                    "slices": len(stack),
                    "white": white_matter(stack.astype(np.float32), source.label) if plan.shapes else 0.0,
                }
            )
            say(f"{rows[-1]['file']}: {len(stack)} slices of {stack.shape[2]}x{stack.shape[1]}")
    require_some(rows, plan, data, split)
    tensors |= shapes_of(plan, data, split)
    write_cache(cache, tensors, rows, plan, split)
    return sum(row["slices"] for row in rows)


def require_some(rows: Sequence[Any], plan: Plan | CasePlan | ContrastPlan, data: Path, split: str) -> None:
    """Raises BadInput where the data folder held nothing for a plan."""
    if not rows:
        raise BadInput(f"no file of the split {split!r} was found below {data}; expected {plan.images[0].files}, ...")


@contextmanager
def read_cache(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The open file of `write_cache` and its metadata; raises BadInput for another file, whenever it shows."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file, file.metadata() or {}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"{path} is not a cache made by `meddiff train prepare`: {error}") from None


def write_cache(
    cache: Path,
    tensors: Mapping[str, torch.Tensor],
    rows: Sequence[Mapping[str, object]],
    plan: Course,
    split: str,
) -> None:
    """The cache file of a plan: tensors, and as its metadata the plan, a row for each image, and the split."""
    with whole(cache) as part:
        about = {"plan": plan.model_dump_json(), "images": json.dumps(rows), "split": split}
        save_file(dict(tensors), part, metadata=about)


def listed(pattern: str, data: Path, split: str) -> list[Path]:
    """The files of a pattern below the data folder that its manifest has in `split`, sorted; raises BadInput."""
    wanted = set(files_of(data, split))
    return [p for p in sorted(data.glob(pattern)) if p.relative_to(data).as_posix() in wanted]


def _stacks(plan: Plan, source: Source, path: Path) -> dict[str, np.ndarray]:
    """The slices of one image, and what is known of its lesions."""
    volume, _ = canonical(read(path))
    require_usable(volume, path.name)
    if plan.resample:
        volume = resample(volume, (*plan.spacing_mm, volume.spacing[2]))
    if not np.allclose(volume.spacing[:2], plan.spacing_mm, rtol=0.15):
        raise BadInput(f"{path.name}: in-plane spacing {volume.spacing[:2]} mm, the plan wants {plan.spacing_mm} mm")
    scaled = Intensity.from_dict(plan.intensity).fit(volume.array).forward(volume.array)
    images = scaled = np.asarray(scaled, np.float32)
    lesions = _lesions(source, path) if plan.shapes else None
    if lesions is not None:
        images = fill(scaled, lesions, plan.seed)
    keep = (_slices(scaled, plan) > 0.05).mean(axis=(1, 2)) >= plan.minimum_foreground
    found = {"images": _slices(images, plan)[keep].astype(np.float16)}
    if plan.covariates:
        found["covariates"] = _covariates(plan, source, _slices(scaled, plan))[keep]
    if lesions is not None and source.lesions:  # what was guessed is good enough to fill, not to learn from
        found["seen"] = _slices(scaled, plan)[keep].astype(np.float16)
        found["masks"] = _slices(lesions.astype(np.uint8), plan)[keep]
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def _covariates(plan: Plan, source: Source, stack: np.ndarray) -> np.ndarray:
    """The covariates (N, K) of all slices (N, Y, X) of an image, in the order of the plan."""
    height = heights_of(stack > 0.05)
    columns = [height if name == HEIGHT else np.full(len(stack), source.covariates[name]) for name in plan.covariates]
    return np.stack(columns, 1).astype(np.float32)


def _slices(array: np.ndarray, plan: Plan | SegmentPlan) -> np.ndarray:
    return np.asarray(slices(array, plan.plane))[:, 0]


def _lesions(source: Source, path: Path) -> np.ndarray | None:
    """The lesions (Z, Y, X) of an image, drawn by people or read off its FLAIR; None for healthy images."""
    told = source.lesions or source.flair
    if not told:
        return None
    other = path.with_name(Path(told.format(stem=path.name.rsplit("_", 1)[0])).name)
    volume, _ = canonical(read(other))
    return volume.array > 0 if source.lesions else bright_lesions(volume.array.astype(np.float32))


def shapes_of(plan: Plan | SegmentPlan, data: Path, split: str) -> dict[str, torch.Tensor]:
    """The slices with lesions of every label map that the plan names, by number."""
    found = {}
    for path in listed(plan.shapes, data, split) if plan.shapes else []:
        stack = _slices((canonical(read(path))[0].array > 0).astype(np.uint8), plan)
        stack = stack[stack.sum(axis=(1, 2)) >= SMALLEST]
        found[f"shapes.{len(found):03d}"] = torch.from_numpy(np.ascontiguousarray(stack))
    return found
