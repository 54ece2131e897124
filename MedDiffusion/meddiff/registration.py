"""Registration of two volumes on any grids: one transform between the original ones, and the images on their way."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .alignment import ALIGN, Matrix, align, begin, correlation, frame, likeness, placed
from .cuts import seen
from .devices import memory
from .errors import BadInput, Notice
from .facing import Facing, astray
from .models import Model
from .noises import Gaussian, seed_of
from .placing import Placed
from .players import deformer, denoiser, of_two_kinds
from .recipes.register import TASK, Pair
from .reconstruction import Preset
from .registry import OneOf, Recipe, find_recipe, parameters_of
from .sampling import Run
from .similarity import mind
from .vectors import Vectors
from .volume import Volume
from .warp import SQUARINGS, exponential, folded, folds, jacobian_determinant, warp

DEFORMATIONS = ("diffeomorphic", "free")
SIMILARITIES = ("auto", "correlation", "mind")
ALIKE = 0.3  # correlation of intensities after an affine map, below which two images look like different modalities
SAME = "the same image came as fixed and as moving; expected two; choose another"


class Frame(NamedTuple):
    """One image on the way: how far it is (0 to 1), how alike to the fixed image, the folds (%), and how far from its
    place the deformation moves a voxel of the working grid, mean and largest (voxels)."""

    eta: float
    similarity: float
    folds: float
    mean_voxels: float
    largest_voxels: float


@dataclass(frozen=True)
class Registration:
    """The moving image on the fixed grid, `frames` of its way there (eta from 0 to 1), and the whole transform: points
    of the fixed image to points of the moving one, and back (None where it need not exist), mm; its affine part, and
    what the headers (or a given transform) said before, as matrices (LPS mm); the Jacobian determinant.

    `similarity` is the mean squared local correlation (0 to 1) before, after the affine map, and after all, `folds` the
    percentage of voxels where the Jacobian is not above 0, `consistency_mm` how far there and back leads astray, and
    `bent_mm` how far the deformation moves a point without the affine part, both means. `path` tells of each frame.
    """

    warped: Volume
    frames: tuple[Volume, ...]
    displacement: Vectors
    inverse: Vectors | None
    jacobian: Volume
    affine: Matrix
    before: Matrix
    similarity: tuple[float, float, float]
    folds: float
    consistency_mm: float | None
    bent_mm: float
    path: tuple[Frame, ...] = ()
    calls: int = 0
    megapixels: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)


def register(
    moving: Volume,
    fixed: Volume,
    model: Model,
    *,
    method: str = "diffusemorph",
    parameters: Mapping[str, Any] | None = None,
    preset: Preset = "balanced",
    align: Annotated[
        str, OneOf(ALIGN, "what comes before the deformation; auto: affine, if nothing is given")
    ] = "auto",
    deformation: Annotated[str, OneOf(DEFORMATIONS, "can be undone, or need not be")] = "diffeomorphic",
    similarity: Annotated[
        str, OneOf(SIMILARITIES, "what is compared: intensities, or, across modalities, textures (MIND)")
    ] = "auto",
    seed: int = 0,
    initial: Matrix | None = None,
) -> Run[Registration]:
    """Register `moving` to `fixed`; yields Progress. `initial` takes points of the fixed image to points of the moving
    one (4x4, LPS mm). Raises BadInput."""
    recipe = find_recipe(method, TASK)
    settings = recipe.settings(parameters or {}, preset)
    known = parameters_of(register)
    told = {"align": align, "deformation": deformation, "similarity": similarity}
    told = {name: known[name].check(value) for name, value in told.items()}
    if told["align"] == "auto":
        told["align"] = "none" if initial is not None or recipe.name == "ddm-4d" else "affine"
    player = played(model, recipe)
    _check_pair(moving, fixed)
    sides = [Placed.of((v,), player, f"the {word} volume") for v, word in ((fixed, "fixed"), (moving, "moving"))]
    _afford(fixed, sides[0].grid, settings)
    images = [side.stack[None] for side in sides]
    start, found, told["similarity"] = _aligned(sides, images, initial, told["align"], told["similarity"])
    facing = Facing(sides[0], sides[1], found, fixed, moving)
    before, on_grid = (placed(images[1], m, sides[0].grid, sides[1].grid) for m in (start, found))
    features = mind if told["similarity"] == "mind" else None
    pair = Pair(on_grid.to(player.device), images[0].to(player.device), _deform(player), features)
    noise = Gaussian([seed_of(seed, 0)])
    v: Tensor = yield from recipe.run(denoiser(player), pair, noise=noise, **settings)
    v = v[0].float().cpu()
    u, w = fields(v, told["deformation"] == "diffeomorphic")
    calls = recipe.calls(settings)
    pixels = seen(sides[0].grid.shape, player.card.window, player.card.shape_multiple)
    after = warp(on_grid, u[-1:])
    return Registration(
        **finish(facing, u, w),
        before=frame(sides[1].grid) @ start @ np.linalg.inv(frame(sides[0].grid)),
        similarity=(likeness(before, images[0]), likeness(on_grid, images[0]), likeness(after, images[0])),
        path=tuple(_frame(k / (len(u) - 1), each[None], on_grid, images[0]) for k, each in enumerate(u)),
        calls=calls,
        megapixels=calls * pixels / 1e6,
        settings={**settings, **told, "affine": np.round(facing.affine, 9).tolist()},
    )


def played(model: Model, recipe: Recipe) -> Model:
    """The model whose networks a recipe runs: this one, or its companion of that part; raises BadInput."""
    if recipe.part and recipe.part in model.card.companions:
        return model.companion(recipe.part)
    if deformer(model) is None:
        raise BadInput(f"{model.card.id} registers nothing (its task is {model.card.task}); choose another model")
    return of_two_kinds(model, recipe, model.card.schedule is None, "voxelmorph")


def fields(v: Tensor, diffeomorphic: bool) -> tuple[Tensor, Tensor | None]:
    """Displacements (F, 3, Z, Y, X) of velocities, and the inverse (1, 3, Z, Y, X) of the last, if it has to exist."""
    if not diffeomorphic:
        return v, None
    return torch.cat([exponential(each[None], SQUARINGS) for each in v]), exponential(-v[-1:], SQUARINGS)


def _frame(eta: float, u: Tensor, moving: Tensor, fixed: Tensor) -> Frame:
    """What there is to say of the displacements (1, 3, Z, Y, X) of a frame."""
    far = u.square().sum(1).sqrt()
    return Frame(eta, likeness(warp(moving, u), fixed), folds(u), float(far.mean()), float(far.max()))


def finish(facing: Facing, u: Tensor, w: Tensor | None) -> dict[str, Any]:
    """The volumes and figures of a `Registration`."""
    volume = facing.moving_volume
    outside = min(0.0, float(volume.array.min()))
    displacement = facing.there(u[-1:])
    warped = displacement.resample(volume, outside=outside)
    before = (facing.there(each[None] if bool(each.any()) else None) for each in u[:-1])
    determinant = jacobian_determinant(torch.from_numpy(displacement.voxels)[None])
    spacing = torch.tensor(facing.fixed.grid.spacing[::-1]).reshape(1, 3, 1, 1, 1)
    return {
        "warped": warped,
        "frames": (*(each.resample(volume, outside=outside) for each in before), warped),
        "displacement": displacement,
        "inverse": None if w is None else facing.back(w),
        "jacobian": facing.fixed_volume.with_array(determinant[0].numpy()),
        "affine": facing.affine,
        "folds": folded(determinant),
        "consistency_mm": None if w is None else astray(u[-1:], w, spacing),
        "bent_mm": float((u[-1:] * spacing).square().sum(1).sqrt().mean()),
    }


def _aligned(
    sides: list[Placed], images: list[Tensor], initial: Matrix | None, how: str, similarity: str
) -> tuple[Matrix, Matrix, str]:
    """The maps between working grids before and after the alignment, and what is compared from there on."""
    (fixed, moving), grids = images, [side.grid for side in sides]
    start = begin((grids[0], fixed), (grids[1], moving), initial, how)

    def fitted(compared: str) -> Matrix:
        if how not in ("affine", "rigid"):
            return start
        a, b = (mind(x) for x in images) if compared == "mind" else images
        found, better = align((grids[0], a), (grids[1], b), start, how == "rigid")
        if not better:
            warnings.warn(
                f"no {how} map was found that is better than the start: it was left out", Notice, stacklevel=4
            )
        return found

    found = fitted("correlation" if similarity == "auto" else similarity)
    if similarity != "auto":
        return start, found, similarity
    if correlation(placed(moving, found, *grids), fixed) >= ALIKE:
        return start, found, "correlation"
    warnings.warn(
        "the intensities of the two images do not go together, as those of different modalities do: their textures "
        "(MIND) were compared; a network that has seen one modality may mislead here: look at the result",
        Notice,
        stacklevel=3,
    )
    return start, fitted("mind"), "mind"


def _deform(model: Model) -> Any:
    found = deformer(model)
    if found is None:
        raise BadInput(f"{model.card.id} registers nothing; choose another model")
    return found


def _check_pair(moving: Volume, fixed: Volume) -> None:
    """Raises BadInput for 2D against 3D, and for one image twice."""
    flat = [min(volume.shape) == 1 for volume in (fixed, moving)]
    if any(flat):
        told = "both volumes are" if all(flat) else "the fixed volume is" if flat[0] else "the moving volume is"
        raise BadInput(f"{told} a single slice; expected two volumes in 3D; choose the volume that it was cut from")
    if moving is fixed:
        raise BadInput(SAME)


def _afford(fixed: Volume, grid: Volume, settings: Mapping[str, Any]) -> None:
    """Raises BadInput for what will not fit into the free memory of this computer."""
    frames, refine = int(settings.get("frames", 2)), bool(settings.get("refine", 0))
    need = prod(grid.shape) * (24 * frames + (1400 if refine else 700)) + prod(fixed.shape) * (4 * frames + 100)
    free = memory()[1]
    if free and need > free:
        size = " x ".join(str(n) for n in grid.shape[::-1])
        raise BadInput(
            f"registering {size} voxels ({frames} frames) needs about {need / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; crop both volumes to what matters, or ask for fewer frames"
        )
