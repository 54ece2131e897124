"""Lessons of translation: one contrast of a slice from any of the others, by diffusion, and in one pass beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..codes import beside
from ..errors import BadInput
from ..intensity import Intensity
from ..noises import seed_of
from ..prior import Condition
from ..tiling import slices
from ..volume import Volume, canonical, read, require_usable, same_grid
from .case_plans import ContrastPlan, Contrasts
from .draws import aims, noised, stratified
from .lessons import Planned
from .prepare import listed, read_cache, require_some, write_cache
from .slices import augment, crop


def prepare_contrasts(
    plan: ContrastPlan, data: Path, cache: Path, say: Callable[[str], None], *, split: str = "train"
) -> int:
    """Write `cache` (.safetensors: float16 slices (N, C, Y, X) of each person, 0 where a contrast is not there, JSON
    plan and fingerprint); count slices. Only files whose split in `manifest.csv` is `split` are used. Raises
    BadInput."""
    tensors: dict[str, Tensor] = {}
    rows: list[dict[str, object]] = []
    for source in plan.images:
        for path in listed(source.files, data, split):
            has, stack = _person(plan, source, path, data)
            if sum(has) < 2 or not len(stack):
                say(f"{path.name}: fewer than two contrasts, or no foreground; left out")
                continue
            key = f"images.{len(rows):03d}"
            tensors[key] = torch.from_numpy(stack)
            digest = hashlib.sha256(stack.tobytes()).hexdigest()
            about = {"file": path.relative_to(data).as_posix(), "sha256": digest, "weight": source.weight}
            rows.append({"key": key, **about, "has": has})
            names = ", ".join(name for name, there in zip(plan.contrasts, has, strict=True) if there)
            say(f"{about['file']}: {len(stack)} slices of {names}")
    require_some(rows, plan, data, split)
    write_cache(cache, tensors, rows, plan, split)
    return sum(len(t) for t in tensors.values())


def _person(plan: ContrastPlan, source: Contrasts, path: Path, data: Path) -> tuple[list[bool], np.ndarray]:
    """Which contrasts there are, and their slices (N, C, Y, X) in network units."""
    stem = path.name.rsplit("_", 1)[0]
    found: dict[str, Volume] = {}
    for name, pattern in source.contrasts.items():
        file = data / pattern.format(stem=stem)
        if not file.is_file():
            continue
        volume, _ = canonical(read(file))
        require_usable(volume, file.name)
        if not np.allclose(volume.spacing[:2], plan.spacing_mm, rtol=0.15):
            raise BadInput(f"{file.name}: in-plane spacing {volume.spacing[:2]} mm, the plan wants {plan.spacing_mm}")
        if found and not same_grid(volume, next(iter(found.values())), 0.1):
            raise BadInput(f"{file.name} lies on another grid than the other contrasts; resample it first")
        found[name] = volume
    intensity, blank = Intensity.from_dict(plan.intensity), np.zeros(next(iter(found.values())).shape, np.float32)
    scaled = [
        intensity.fit(found[name].array).forward(found[name].array) if name in found else blank
        for name in plan.contrasts
    ]
    stack = np.stack([np.asarray(slices(array, plan.plane))[:, 0] for array in scaled], 1)
    keep = (stack > 0.05).any(1).mean(axis=(1, 2)) >= plan.minimum_foreground
    return [name in found for name in plan.contrasts], np.ascontiguousarray(stack[keep].astype(np.float16))


class ContrastBatch(NamedTuple):
    """What is to come out (B, 1, Y, X), the sources and which of them are there (B, 2 C, Y, X), the number of the
    contrast that is asked for (B,), and stratified uniform numbers (B,) for the levels."""

    target: Tensor
    sources: Tensor
    asked: Tensor
    uniform: Tensor


class ContrastCache:
    """The slices of people in several contrasts, people drawn in proportion to the plan's weights."""

    def __init__(self, path: Path):
        with read_cache(path) as (file, metadata):
            self.rows = json.loads(metadata["images"])
            self.plan = ContrastPlan.model_validate_json(metadata["plan"])
            self.images = [file.get_tensor(row["key"]) for row in self.rows]
        self._weights = torch.tensor([float(row["weight"]) for row in self.rows])

    def batch(self, step: int, size: int | None = None) -> ContrastBatch:
        """Batch number `step`: of each slice a contrast that is to come out, and any other ones, at least one."""
        size = size or self.plan.training.batch
        g = torch.Generator().manual_seed(seed_of(self.plan.seed, "batch", step))
        drawn = []
        for row in torch.multinomial(self._weights, size, replacement=True, generator=g).tolist():
            image = self.images[row][int(torch.randint(len(self.images[row]), (), generator=g))].float()
            image = crop(image, self.plan.training.crop, self.plan.training.augment, g)
            drawn.append((image, *_roles(torch.tensor(self.rows[row]["has"]), g)))
        images, asked, given = (torch.stack(each) for each in zip(*drawn, strict=True))
        target = images[torch.arange(size), asked][:, None]
        change = self.plan.training.augment
        seen = torch.stack([torch.stack([augment(c[None], change, g)[0] for c in image]) for image in images])
        return ContrastBatch(target, beside(seen, given), asked, stratified(size, g))


def _roles(has: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of contrasts (C,) bool: the number of the one that is to come out, and which others are given (C,) bool; all
    choices are equally likely."""
    there = has.nonzero().flatten()
    there = there[torch.randperm(len(there), generator=g)]
    asked, others = there[0], there[1:]
    chosen = int(torch.randint(1, 2 ** len(others), (), generator=g))
    given = torch.zeros_like(has)
    given[[int(k) for i, k in enumerate(others) if chosen >> i & 1]] = True
    return asked, given


class Translations(Planned):
    """The base of both lessons."""

    plan: ContrastPlan

    def __init__(self, cache: ContrastCache):
        self.cache, self.plan = cache, cache.plan


class TranslatorLesson(Translations):
    """Paired conditional diffusion (Lyu 2022; Saharia 2022, Palette, eq. 1), every pattern of missing contrasts in
    one network (Meng 2022): the noisy target beside the sources and a code of which there are."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch, levels = self.cache.batch(step), self.schedule.levels
        x, times, _ = noised(batch.target, levels, batch.uniform, self.plan.seed, step)
        wanted = aims(batch.target, x, times, levels, self.plan.predicts)
        cond = Condition(concat=batch.sources.to(device), label=batch.asked.to(device))
        out = network(x.to(device), times.to(device), cond).float()
        return (out - wanted.to(device)).square().mean()


class RegressorLesson(Translations):
    """|network(nothing, sources) - target|^2: the same network, told the same, in one pass."""

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        batch = self.cache.batch(step)
        cond = Condition(concat=batch.sources.to(device), label=batch.asked.to(device))
        blank = torch.zeros_like(batch.target, device=device)
        out = network(blank, torch.zeros(len(blank), device=device), cond).float()
        return (out - batch.target.to(device)).square().mean()
