"""Slices of volumes to segment lesions in: real ones, and others painted on the tissue that was filled below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..lesions import bright_lesions, deep_white, fill, paint, white_matter
from .case_plans import SegmentPlan
from .slices import random_shape

BRAIN = 0.1  # of the field of view: slices with less brain are left out


def healthy_images(plan: SegmentPlan, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of every `images.*` (C, Z, Y, X) of a cache, `healthy.*` with its lesions filled and `white.*` (C,), what white
    matter looks like. Images without labels become those without the bright lesions of their first contrast: nobody
    drew their lesions, and none is learnt from; neither is what was missed."""
    found = {}
    for name in [name for name in tensors if name.startswith("images.")]:
        key, image = name.split(".")[1], tensors[name].float().numpy()
        drawn = tensors.get(f"labels.{key}")
        lesions = bright_lesions(image[0]) if drawn is None else drawn.numpy() > 0
        filled = torch.from_numpy(np.stack([fill(channel, lesions, plan.seed) for channel in image]).astype(np.float16))
        if drawn is None:
            found |= {name: filled, f"labels.{key}": torch.zeros(lesions.shape, dtype=torch.uint8)}
        else:
            found[f"healthy.{key}"] = filled
        white = [white_matter(channel, c) for channel, c in zip(filled.float(), plan.contrasts, strict=True)]
        found[f"white.{key}"] = torch.tensor(white)
    return found


class Painter:
    """Draws slices: `images` (C, Z, Y, X) and `labels` (Z, Y, X) of the cases `keys`, and `more` tensors of the cache,
    among them the shapes (N, Y, X) of the lesions of other people."""

    def __init__(
        self,
        plan: SegmentPlan,
        keys: Sequence[str],
        images: Sequence[Tensor],
        labels: Sequence[Tensor],
        more: Mapping[str, Tensor],
    ):
        self.plan, self.images, self.labels = plan, images, labels
        self.healthy = [more.get(f"healthy.{key}", image) for key, image in zip(keys, images, strict=True)]
        self.white = [more.get(f"white.{key}") for key in keys]
        self.shapes = [more[name] for name in sorted(more) if name.startswith("shapes.")]
        self.rows = [((image[0] != 0).float().mean((1, 2)) >= BRAIN).nonzero().flatten() for image in images]

    def draw(self, case: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """A slice (C, 1, Y, X) of a case and its labels (1, Y, X): as it came, or healthy with painted lesions."""
        rows, white = self.rows[case], self.white[case]
        row = int(rows[int(torch.randint(len(rows), (), generator=g))])
        if white is None or float(torch.rand((), generator=g)) >= self.plan.training.painted:
            return self.images[case][:, row, None], self.labels[case][row, None]
        return self._painted(self.healthy[case][:, row, None].float(), white.tolist(), g)

    def _painted(self, image: Tensor, white: Sequence[float], g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Lesions in one shape for all contrasts, in each as strong and as soft as it happens; they are where the
        first contrast shows them, as the raters saw them."""
        seen, out, names = random_shape(self.shapes, (image.shape[2], image.shape[3]), g), [], self.plan.contrasts
        if "T1" in names:
            k = names.index("T1")
            seen = seen & deep_white(image[k], white[k])
        for number, (channel, contrast, level) in enumerate(zip(image, names, white, strict=True)):
            painted, inside = paint(channel, seen, contrast, g, level, 0 if number else self.plan.training.faintest)
            seen = inside if not number else seen
            out.append(painted)
        return torch.stack(out), seen.long()
