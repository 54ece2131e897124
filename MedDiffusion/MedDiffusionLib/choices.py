"""What was chosen in a panel, as the engine understands it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from meddiff.errors import BadInput
from meddiff.volume import write

from .cards import SINGLE
from .catalogue import Cost, ParameterInfo, estimate
from .labels import image_beside, labels_on_grid
from .nodes import grid_from_node, title, to_file
from .roles import InputRole, OutputRole
from .sequences import volumes_from_sequence

VALUES = 100_000
SEED = ParameterInfo("seed", "int", 0, 0, 2**31 - 1, "")  # what a panel can show


def overrides(parameterNode: Any) -> dict[str, Any]:
    """The recipe's parameters that were set by hand; those of a damaged or foreign scene are left out."""
    try:
        found = json.loads(parameterNode.recipeParameters)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def complaints(infos: Iterable[ParameterInfo], given: Mapping[str, Any]) -> list[str]:
    """What is out of range, of another kind, or unknown where all must be known; a sentence each."""
    known = {info.name: info for info in infos}
    found = [_("The setting “{name}” is not known.").format(name=name) for name in given if name not in known]
    return found + [text for name in given if name in known and (text := _complaint(known[name], given[name]))]


def of_recipe(recipe: Any, seed: Any, parameters: Any) -> list[str]:
    """What is wrong with the seed, and with what was set by hand of a recipe; a sentence each."""
    found = complaints([SEED], {"seed": seed})
    if not isinstance(parameters, Mapping):
        text = _("The parameters of the method are {given!r}; expected names and values.")
        return [*found, text.format(given=parameters)]
    return found + (complaints(recipe.parameters, parameters) if recipe is not None else [])


def missing_part(model: Any, recipe: Any, installed: Collection[str]) -> list[str]:
    """The companion of a model that a recipe needs, where it is not there; a sentence, or none."""
    needed = model.companions.get(recipe.part, "")
    if set(SINGLE) & set(model.plays) and recipe.part not in model.plays:
        text = _("Choose another method, or another model: “{model}” is a network of one pass.")
        return [text.format(model=model.id)]
    if not recipe.part or needed in installed or (not needed and recipe.part in model.plays):
        return []
    if needed:
        text = _(
            "Install the model “{needed}” in the module MedDiffusion, or choose another method: {method} needs it."
        )
    else:
        text = _("Choose another method: the model “{model}” has no {part}, which {method} needs.")
    return [text.format(needed=needed, model=model.id, part=recipe.part, method=recipe.title)]


def _complaint(info: ParameterInfo, value: Any) -> str:
    if value is None and info.default is None:
        return ""
    if info.kind == "choice":
        fits, expected = not info.choices or value in info.choices, ", ".join(info.choices)
    elif info.kind == "bool":
        fits, expected = isinstance(value, bool), _("true or false")
    else:
        fits = isinstance(value, Real) and not isinstance(value, bool) and bool(info.low <= value <= info.high)
        fits = fits and (info.kind == "float" or float(value).is_integer())
        text = _("a whole number from {low} to {high}") if info.kind == "int" else _("a number from {low} to {high}")
        expected = text.format(low=f"{info.low:.10g}", high=f"{info.high:.10g}")
    text = _("{title} is {value}; expected {expected}.")
    return "" if fits else text.format(title=info.title, value=f"{value!r:.40}", expected=expected)


def as_data(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job as JSON tells it: numbers of numpy and paths, which scripts have, in plain words. Raises BadInput."""
    try:
        return json.loads(json.dumps(job, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(_("A job holds numbers, text and paths only: {error}.").format(error=error)) from None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else os.fspath(value)


def unusable(node: Any) -> list[str]:
    """Why a volume node cannot be used, if so; other nodes are taken as they are."""
    if not isinstance(node, slicer.vtkMRMLNode):
        return [_("{what} is not a node of the scene.").format(what=title(node))]
    if not node.IsA("vtkMRMLVolumeNode"):
        return []
    try:
        grid_from_node(node)
    except BadInput as error:
        return [str(error)]
    return []


def no_labels(role: InputRole, node: Any) -> list[str]:
    """What is wrong with a node that is to hold labels and cannot; a sentence, or none."""
    if not role.labels or any(node.IsA(kind) for kind in role.nodeTypes):
        return []
    text = _("Choose a label map or a segmentation for “{title}”, not “{name}”.")
    return [text.format(title=role.title, name=node.GetName())]


def some_values(node: Any) -> Any:
    """Voxels from all over a volume, as many as tell what kind of image it is; None for a node without voxels."""
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        return None
    values = slicer.util.arrayFromVolume(node).reshape(-1)
    return values[:: max(1, values.size // VALUES)]


def settings_of(recipe: Any, preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a recipe: its defaults, then the preset's, then those set by hand."""
    return {p.name: p.default for p in recipe.parameters} | dict(recipe.presets.get(preset, {})) | dict(given)


def cost(model: Any, recipe: Any, arguments: Mapping[str, Any], size: Sequence[int]) -> Cost:
    """Time and memory that a job takes for voxels (Z, Y, X) of the grid that the network sees."""
    settings = settings_of(recipe, arguments["preset"], arguments["parameters"])
    how = (arguments["samples"], size, "axial", arguments["device"])
    return estimate(model, recipe, settings, *how, batch=arguments["batch"])


def unknown_outputs(roles: Sequence[OutputRole], wanted: Sequence[str] | None) -> list[str]:
    """Wanted outputs that the task does not make, a sentence each."""
    names = [role.name for role in roles]
    text = _("There is no output “{name}”; there are {names}.")
    asked = [wanted] if isinstance(wanted, str) else wanted or ()
    return [text.format(name=name, names=", ".join(names)) for name in asked if name not in names]


def is_wanted(role: OutputRole, wanted: Sequence[str] | None) -> bool:
    """Whether an output is among the wanted, or, where nothing was said, wanted by default."""
    return role.wanted if wanted is None else role.name in wanted


def call_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """What says what to compute and where it goes, of the local names with which `process` begins."""
    return {name: value for name, value in values.items() if name not in ("self", "showResult", "onEvent")}


def export(role: InputRole, value: Any, folder: Path, source: Any = None, names: Sequence[str] = ()) -> dict[str, str]:
    """The files of an input, by name: none that was not chosen, one for each volume of a sequence.

    Labels are sampled on the grid of `source`, segments with one of `names` having its number.
    """
    if not value:
        return {}
    if role.isFile:
        return {role.name: str(value)}
    if role.labels:
        write(labels_on_grid(value, source, names), folder / f"{role.name}.nrrd")
        return {role.name: str(folder / f"{role.name}.nrrd")}
    if role.beside and value.GetParentTransformNode() is not source.GetParentTransformNode():
        write(image_beside(value, source), folder / f"{role.name}.nrrd", compress=False)
        return {role.name: str(folder / f"{role.name}.nrrd")}
    if not value.IsA("vtkMRMLSequenceNode"):
        return {role.name: str(to_file(value, folder / f"{role.name}.nrrd"))}
    paths = {}
    for number, volume in enumerate(volumes_from_sequence(value)):
        name = f"{role.name}-{number:04d}"
        write(volume, folder / f"{name}.nrrd")
        paths[name] = str(folder / f"{name}.nrrd")
    return paths
