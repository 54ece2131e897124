"""What was chosen in a panel, as the engine understands it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer

from meddiff.errors import BadInput
from meddiff.volume import write

from .nodes import grid_from_node, to_file
from .roles import InputRole, OutputRole
from .sequences import volumes_from_sequence

VALUES = 100_000


def overrides(parameterNode: Any) -> dict[str, Any]:
    """The recipe's parameters that were set by hand; those of a damaged or foreign scene are left out."""
    try:
        found = json.loads(parameterNode.recipeParameters)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def unusable(node: Any) -> list[str]:
    """Why a volume node cannot be used, if so; other nodes are taken as they are."""
    if not node.IsA("vtkMRMLVolumeNode"):
        return []
    try:
        grid_from_node(node)
    except BadInput as error:
        return [str(error)]
    return []


def some_values(node: Any) -> Any:
    """Voxels from all over a volume, as many as tell what kind of image it is; None for a node without voxels."""
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        return None
    values = slicer.util.arrayFromVolume(node).reshape(-1)
    return values[:: max(1, values.size // VALUES)]


def settings_of(recipe: Any, preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a recipe: its defaults, then the preset's, then those set by hand."""
    return {p.name: p.default for p in recipe.parameters} | dict(recipe.presets.get(preset, {})) | dict(given)


def is_wanted(role: OutputRole, wanted: Sequence[str] | None) -> bool:
    """Whether an output is among the wanted, or, where nothing was said, wanted by default."""
    return role.wanted if wanted is None else role.name in wanted


def call_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """What says what to compute and where it goes, of the local names with which `process` begins."""
    return {name: value for name, value in values.items() if name not in ("self", "showResult", "onEvent")}


def export(role: InputRole, value: Any, folder: Path) -> dict[str, str]:
    """The files of an input, by name: none that was not chosen, one for each volume of a sequence."""
    if not value:
        return {}
    if role.isFile:
        return {role.name: str(value)}
    if not value.IsA("vtkMRMLSequenceNode"):
        return {role.name: str(to_file(value, folder / f"{role.name}.nrrd"))}
    paths = {}
    for number, volume in enumerate(volumes_from_sequence(value)):
        name = f"{role.name}-{number:04d}"
        write(volume, folder / f"{name}.nrrd")
        paths[name] = str(folder / f"{name}.nrrd")
    return paths
