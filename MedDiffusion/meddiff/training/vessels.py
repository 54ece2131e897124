"""DARL, taught without a label (Kim 2023, arXiv:2209.14566): angiograms, frames without contrast, and fractals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..angiograms import angiogram
from ..errors import BadInput
from ..intensity import Intensity
from ..networks import build
from ..networks.darl import Darl, two
from ..noises import seed_of
from ..vessels import fractal
from .adversaries import Critic, Taught, grain
from .case_plans import Frames, VesselPlan
from .draws import noised, stratified
from .lessons import Planned
from .prepare import listed, read_cache, write_cache
from .segment import soft_dice_loss

KINDS = ("angiograms", "backgrounds")
SOFTENED = 0.1  # standard deviation of noise on masks, real and made, that their critic sees

Stack = NDArray[np.float32]


def prepare_frames(
    plan: VesselPlan, data: Path, cache: Path, say: Callable[[str], None], *, split: str = "train"
) -> int:
    """Write `cache` (.safetensors: float16 frames (N, Y, X) of each source, uint8 fractal masks, JSON plan and
    fingerprint); count frames. Only files whose split in `manifest.csv` is `split` are used. Raises BadInput."""
    scale, crop = Intensity.from_dict(plan.intensity), plan.training.crop
    tensors: dict[str, Tensor] = {}
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        for source in getattr(plan, kind):
            for about, stack in _stacks(plan, source, kind, data, split):
                if stack.shape[1] < crop[0] or stack.shape[2] < crop[1]:
                    came = f"{about['file']} has {stack.shape[2]} x {stack.shape[1]} pixels"
                    raise BadInput(f"{came}; expected {crop[1]} x {crop[0]} or more, the size of a crop")
                scaled = np.stack([scale.fit(frame).forward(frame) for frame in stack])
                key = f"{kind}.{len(rows):04d}"
                tensors[key] = torch.from_numpy(scaled.astype(np.float16))
                rows.append({"key": key, **about, "weight": source.weight * len(stack)})
                say(f"{about['file']}: {len(stack)} {kind}")
    for kind in KINDS:
        if not any(row["key"].startswith(kind) for row in rows):
            wanted = ", ".join(source.files for source in getattr(plan, kind))
            raise BadInput(f"no {kind} of the split {split!r} were found below {data}; expected {wanted}")
    marks = [fractal(plan.size, seed_of(plan.seed, split, "mask", k)) for k in range(plan.masks)]
    tensors["masks"] = torch.from_numpy(np.stack(marks).astype(np.uint8))
    write_cache(cache, tensors, rows, plan, split)
    return sum(len(tensors[row["key"]]) for row in rows)


def _stacks(
    plan: VesselPlan, source: Frames, kind: str, data: Path, split: str
) -> Iterator[tuple[dict[str, Any], Stack]]:
    """The frames (N, Y, X) of a source, and where they came from. Phantoms without contrast agent are of other people
    than those with it: no two share a background."""
    if source.phantoms:
        seeds = [seed_of(plan.seed, split, kind, k) for k in range(source.phantoms)]
        images = [angiogram(plan.size, seed, vessels=kind == "angiograms").image for seed in seeds]
        yield {"file": "phantoms"}, np.stack(images)
        return
    for path in listed(source.files, data, split):
        name = path.relative_to(data).as_posix()
        yield {"file": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}, read_frames(path)


def read_frames(path: Path) -> Stack:
    """The frames (N, Y, X) of an image file, 2D (such as PNG) or 3D; colours become their mean. Raises BadInput."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise BadInput(f"{path} cannot be read; expected a 2D or 3D image file") from None
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = array[..., :3].mean(-1)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or not np.isfinite(array).all():
        raise BadInput(f"{path} is a {array.ndim}D image, or not finite; expected frames, 2D or 3D")
    return array


def softened(change: Tensor) -> Tensor:
    """(B, 1, Y, X) as a detector blurs it, whose finest pattern vanishes: nothing can be hidden in it."""
    kernel = change.new_tensor([0.25, 0.5, 0.25])
    padded = functional.pad(change, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, (kernel[:, None] * kernel)[None, None])


class VesselBatch(NamedTuple):
    """Angiograms, backgrounds and masks (B, 1, Y, X), which have nothing to do with each other; two sets of stratified
    uniform numbers (B,) for the levels, and relative amounts of contrast agent (B, 1, Y, X)."""

    angiograms: Tensor
    backgrounds: Tensor
    masks: Tensor
    uniform: tuple[Tensor, Tensor]
    contrast: Tensor


class VesselCache:
    """The frames of one cache file; batch k is the same on every machine and after every resumption."""

    def __init__(self, path: Path):
        with read_cache(path) as (file, metadata):
            self.plan = VesselPlan.model_validate_json(metadata["plan"])
            self.rows = json.loads(metadata["images"])
            self._frames = {row["key"]: file.get_tensor(row["key"]) for row in self.rows}
            self._masks = file.get_tensor("masks")

    def batch(self, step: int, size: int | None = None) -> VesselBatch:
        """Batch number `step` of random crops."""
        fit = self.plan.training
        size = size or fit.batch
        g = torch.Generator().manual_seed(seed_of(self.plan.seed, "batch", step))
        angiograms, backgrounds = (
            torch.stack([self._recoloured(self._drawn(kind, g), g) for _ in range(size)]) for kind in KINDS
        )
        blank = torch.rand(size, generator=g) < fit.blank
        masks = torch.stack([self._crop(self._masks, g) for _ in range(size)])
        masks = torch.where(blank.reshape(-1, 1, 1, 1), 0, masks)
        contrast = torch.stack([self._contrast(g) for _ in range(size)])
        uniform = stratified(size, g), stratified(size, g)
        return VesselBatch(angiograms, backgrounds, masks, uniform, contrast)

    def _drawn(self, kind: str, g: torch.Generator) -> Tensor:
        rows = [row for row in self.rows if row["key"].startswith(kind)]
        weights = torch.tensor([float(row["weight"]) for row in rows])
        return self._crop(self._frames[rows[int(torch.multinomial(weights, 1, generator=g))]["key"]], g)

    def _crop(self, stack: Tensor, g: torch.Generator) -> Tensor:
        """A window (1, Y, X) of one of the frames, turned by quarters and mirrored at random."""
        room = torch.tensor([1, *self.plan.training.crop])
        number, top, left = (torch.rand(3, generator=g) * (torch.tensor(stack.shape) - room + 1)).long().tolist()
        (height, width), random = self.plan.training.crop, torch.randint(4, (2,), generator=g).tolist()
        out = stack[number, top : top + height, left : left + width].float()[None]
        out = out.rot90(random[0], (1, 2)) if height == width else out
        return out.flip(-1) if random[1] % 2 else out

    def _contrast(self, g: torch.Generator) -> Tensor:
        """How much contrast agent there is (1, Y, X): any order of magnitude alike, and unevenly mixed."""
        fit = self.plan.training
        low, high = fit.contrast
        amount = low * (high / low) ** float(torch.rand((), generator=g))
        coarse = fit.mixing * torch.randn(1, 1, 4, 4, generator=g)
        return amount * functional.interpolate(coarse, fit.crop, mode="bicubic")[0].exp()

    def _recoloured(self, image: Tensor, g: torch.Generator) -> Tensor:
        """Another brightness and contrast."""
        gain, offset = (2 * torch.rand(2, generator=g) - 1).tolist()
        return image * (1 + self.plan.training.gain * gain) + self.plan.training.gain * offset


class VesselLesson(Planned):
    """The losses of DARL (Kim 2023, eq. 5 to 11). The generator draws vessels in the shape of fractal masks on frames
    without contrast agent (SPADE on), and must find them again, and those of real angiograms (SPADE off); critics
    compare drawn with real angiograms, and masks that were found with fractals.

    Other than in the paper, it draws the change to the frame and not the whole frame anew, times a random amount of
    contrast agent; and no gradient goes through the noise estimate of what it has drawn.
    """

    plan: VesselPlan

    def __init__(self, cache: VesselCache):
        self.cache, self.plan = cache, cache.plan

    def build(self) -> nn.Module:
        network = build(self.plan.network["name"], {**self.plan.network["arguments"], "spade": True})
        widths = self.plan.training.critic_widths
        return Taught(network, {name: Critic(widths) for name in ("image", "mask")})

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        network = cast(Taught, network)
        rate = self.plan.training.critic_rate
        return [{"params": [*network.taught.parameters()]}, {"params": [*network.critics.parameters()], "share": rate}]

    def noised(self, x: Tensor, uniform: Tensor, step: int, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """x_t, the times (B,), and the noise in it, at the lower levels of the schedule."""
        levels = self.schedule.levels
        lower = levels[: max(1, round(self.plan.training.reach * len(levels)))]
        noisy, times, eps = noised(x, lower, uniform, self.plan.seed, step, name)
        return noisy, times.to(x), eps

    def loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        network, fit = cast(Taught, network), self.plan.training
        net, batch = cast(Darl, network.taught), self.cache.batch(step)
        images, plain, masks, contrast = (each.to(device) for each in (*batch[:3], batch.contrast))
        noisy, times, eps = self.noised(plain, batch.uniform[0], step, "background")
        guess = net(noisy, times)
        diffusion = (guess.float() - eps).square().mean()
        change = net.read(noisy, guess.detach(), masks).float()
        drawn = plain + softened(masks * contrast * change)

        both, uniform = torch.cat([images, drawn]), batch.uniform[1].repeat(2)
        noisy, times, _ = self.noised(both, uniform, step, "angiogram")
        with torch.no_grad():
            guess = net(noisy, times)
        logits = net.read(noisy, guess).float()
        found, again = logits.chunk(2)
        cycle = functional.binary_cross_entropy_with_logits(again, masks)
        cycle = cycle + soft_dice_loss(two(again), masks[:, 0].long())

        soft = [
            each + grain(each, SOFTENED, seed_of(self.plan.seed, "grain", step, k))
            for k, each in enumerate((masks, found.sigmoid()))
        ]
        adversarial = fit.image_weight * network.fooled("image", drawn) + fit.mask_weight * network.fooled(
            "mask", soft[1]
        )
        critics = network.told_apart("image", images, drawn) + network.told_apart("mask", *soft)
        return diffusion + fit.cycle_weight * cycle + adversarial + critics
