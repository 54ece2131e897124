"""Labelled images in one cache file, and random crops of them; batch k is the same on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ..counting import some
from ..errors import BadInput
from ..intensity import Intensity
from ..noises import seed_of
from ..volume import Volume, canonical, read, require_usable, same_grid
from .case_plans import CasePlan, Labelled, SegmentPlan
from .crops import place, recolour
from .draws import stratified
from .painting import Painter, healthy_images
from .prepare import listed, read_cache, require_some, shapes_of, write_cache


def prepare_cases(
    plan: CasePlan,
    data: Path,
    cache: Path,
    say: Callable[[str], None],
    *,
    split: str = "train",
    more: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda _: {},
) -> int:
    """Write `cache` (.safetensors: float16 images (C, Z, Y, X) and uint8 labels (Z, Y, X) of each case, what `more`
    makes of them, JSON plan and fingerprint); count cases. Only files whose split in `manifest.csv` is `split` are
    used. Raises BadInput."""
    tensors: dict[str, Tensor] = {}
    rows: list[dict[str, object]] = []
    for source in plan.images:
        for path in listed(source.files, data, split):
            key = f"{len(rows):04d}"
            image, labels = read_case(plan, source, path, data)
            tensors[f"images.{key}"] = torch.from_numpy(image)
            if labels is not None:
                tensors[f"labels.{key}"] = torch.from_numpy(labels)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            about = {"file": path.relative_to(data).as_posix(), "sha256": digest, "weight": source.weight}
            rows.append({"key": key, **about})
    require_some(rows, plan, data, split)
    say(f"{some(len(rows), 'case')} of {some(len(plan.segments), 'segment')}")
    write_cache(cache, tensors | more(tensors), rows, plan, split)
    return len(rows)


def prepare_segments(
    plan: SegmentPlan, data: Path, cache: Path, say: Callable[[str], None], *, split: str = "train"
) -> int:
    """`prepare_cases`; where lesions are painted, with the cases without their own and the shapes of other lesions."""

    def more(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**healthy_images(plan, tensors), **shapes_of(plan, data, split)} if plan.shapes else {}

    return prepare_cases(plan, data, cache, say, split=split, more=more)


def read_case(plan: CasePlan, source: Labelled, path: Path, data: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The channels of one case in network units (C, Z, Y, X), and its labels, if it has any; raises BadInput."""

    def beside(pattern: str) -> Path:
        return data / pattern.format(name=path.name, stem=path.name.rsplit("_", 1)[0])

    images = [_usable(plan, each) for each in (path, *map(beside, source.others))]
    labels = canonical(read(beside(source.labels)))[0] if source.labels else None
    for other in (*images[1:], labels or images[0]):
        if not same_grid(other, images[0], 0.1):
            raise BadInput(f"{path.name}: its label map or another channel lies on another grid; resample it first")
    scale = Intensity.from_dict(plan.intensity)
    stack = np.stack([scale.fit(v.array).forward(v.array) for v in images]).astype(np.float16)
    if labels is None:
        return stack, None
    values = [int(v) if v == int(v) else float(v) for v in np.unique(labels.array)]
    if not np.isin(values, np.arange(len(plan.segments) + 1)).all():
        raise BadInput(f"{path.name}: labels {values}; the plan has 0 and 1 to {len(plan.segments)}")
    return stack, labels.array.astype(np.uint8)


def _usable(plan: CasePlan, path: Path) -> Volume:
    volume, _ = canonical(read(path))
    require_usable(volume, path.name)
    if not np.allclose(volume.spacing[: len(plan.spacing_mm)], plan.spacing_mm, rtol=0.15):
        raise BadInput(f"{path.name}: spacing {volume.spacing} mm, the plan wants {plan.spacing_mm} mm")
    return volume


class CropBatch(NamedTuple):
    """Images (B, C, *spatial), labels (B, *spatial), and stratified uniform numbers (B,) for the levels."""

    images: Tensor
    labels: Tensor
    uniform: Tensor


class CaseFile:
    """The cases of one cache file, read as `kind` of plan; `chosen` keeps some of them alone."""

    def __init__(self, path: Path, kind: type[CasePlan], chosen: slice = slice(None)):
        with read_cache(path) as (file, metadata):
            self.told = kind.model_validate_json(metadata["plan"])
            self.rows = json.loads(metadata["images"])[chosen]
            self.images = [file.get_tensor(f"images.{row['key']}").float() for row in self.rows]
            self.labels = [file.get_tensor(f"labels.{row['key']}").long() for row in self.rows]
            more = [name for name in file.keys() if name.split(".")[0] not in ("images", "labels")]  # noqa: SIM118
            self.more = {name: file.get_tensor(name) for name in more}
        self.weights = torch.tensor([float(row["weight"]) for row in self.rows])


class CaseCache(CaseFile):
    """Crops of cases or of their slices, drawn in proportion to the plan's weights."""

    def __init__(self, path: Path, chosen: slice = slice(None)):
        super().__init__(path, SegmentPlan, chosen)
        self.plan = plan = cast(SegmentPlan, self.told)
        keys = [row["key"] for row in self.rows]
        self.painter = Painter(plan, keys, self.images, self.labels, self.more) if plan.planar else None

    def batch(self, step: int, size: int | None = None) -> CropBatch:
        """Batch number `step` of random crops."""
        fit = self.plan.training
        size = size or fit.batch
        g = torch.Generator().manual_seed(seed_of(self.plan.seed, "batch", step))
        pairs = []
        for row in torch.multinomial(self.weights, size, replacement=True, generator=g).tolist():
            pair = self.painter.draw(row, g) if self.painter else (self.images[row], self.labels[row])
            image, labels = place(*pair, (1, *fit.crop)[-3:], fit.augment, g)
            image = recolour(image, fit.augment, g)
            pairs.append((image[:, 0], labels[0]) if self.painter else (image, labels))
        images, labels = (torch.stack(each) for each in zip(*pairs, strict=True))
        return CropBatch(images, labels, stratified(size, g))
