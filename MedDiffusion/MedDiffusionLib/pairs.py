"""Two volumes as they lie in the world: which they are, where the one lies in the other, what keeps them apart."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _

from meddiff.errors import BadInput, Notice
from meddiff.volume import Volume, write

from . import snippets
from .labels import labels_on_grid
from .nodes import FLIP, array_from_matrix, grid_from_node, title, to_file
from .roles import SCALAR, SEGMENTATION, InputRole
from .transforms import write_linear

Matrix = NDArray[np.float64]
APART = 0.05  # of the fixed volume that lies in the moving one: less is no overlap, as in the engine
POINTS = 16  # along each axis tell how much that is
SAME = 1e-9


def pair(arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    """The moving and the fixed volume node, of two volumes or of two frames of a sequence; None for what is missing."""
    sequence = arguments["sequence"]
    if sequence is None:
        return arguments["movingVolume"], arguments["fixedVolume"]
    numbers = arguments["firstFrame"], arguments["lastFrame"] or sequence.GetNumberOfDataNodes()
    return tuple(sequence.GetNthDataNode(number - 1) for number in numbers)


def problems(arguments: Mapping[str, Any]) -> list[str]:
    """Why two volumes, or two frames, cannot be registered; a sentence each."""
    if arguments["sequence"] is not None:
        return _of_frames(arguments)
    moving, fixed = pair(arguments)
    if moving is None or fixed is None:
        return []
    if moving is fixed:
        text = _("“{name}” is chosen as the fixed and as the moving volume; choose two.")
        return [text.format(name=fixed.GetName())]
    return _flat(moving, fixed) + _bent(arguments) + _of_initial(arguments) + _of_labels(arguments)


def _of_frames(arguments: Mapping[str, Any]) -> list[str]:
    sequence, count = arguments["sequence"], arguments["sequence"].GetNumberOfDataNodes()
    name, names = sequence.GetName(), ("fixedVolume", "movingVolume", "fixedLabels", "movingLabels", "initialTransform")
    if any(arguments[other] is not None for other in names):
        return [_("Choose two volumes, with their labels and transforms, or a sequence, not both.")]
    first, last = arguments["firstFrame"], arguments["lastFrame"] or count
    if count < 2 or not (1 <= first <= count and 1 <= last <= count):
        text = _("“{name}” has {count} frames; choose two of them.")
        return [text.format(name=name, count=count)]
    if first == last:
        return [_("Frame {number} of “{name}” is chosen twice; choose two.").format(number=first, name=name)]
    for number, node in zip((first, last), pair(arguments), strict=False):
        if not node.IsA(SCALAR) or node.IsA("vtkMRMLLabelMapVolumeNode"):
            text = _("Frame {number} of “{name}” is no scalar volume; choose another sequence.")
            return [text.format(number=number, name=name)]
    return _flat(*pair(arguments))


def _flat(*nodes: Any) -> list[str]:
    """A slice is no volume, neither two nor one of them."""
    flat = [node for node in nodes if node.GetImageData() is not None and 1 in node.GetImageData().GetDimensions()]
    names = _(" and ").join(f"“{node.GetName()}”" for node in flat)
    text = _("Choose volumes in 3D, not a single slice: {names}; take the volume that it was cut from.")
    return [text.format(names=names)] if flat else []


def _bent(arguments: Mapping[str, Any]) -> list[str]:
    """Transforms over the volumes that are no matrix."""
    found = []
    for name in ("movingVolume", "fixedVolume"):
        parent = arguments[name].GetParentTransformNode()
        if parent is not None and not parent.IsTransformToWorldLinear():
            text = _(
                "“{name}” lies under “{parent}”, which is not linear: harden it (module Transforms), or take the "
                "volume out of it (module Data)."
            )
            found.append(text.format(name=arguments[name].GetName(), parent=parent.GetName()))
    return found


def _of_initial(arguments: Mapping[str, Any]) -> list[str]:
    initial, above = arguments["initialTransform"], arguments["movingVolume"].GetParentTransformNode()
    if initial is None:
        return []
    name = initial.GetName()
    if not initial.IsA("vtkMRMLTransformNode") or not initial.IsTransformToWorldLinear():
        return [_("The initial transform “{name}” is not linear; choose a rigid or affine one.").format(name=name)]
    if arguments["align"] == "centres":
        return [_("An initial transform places the volume: choose another alignment than the centres.")]
    while above is not None:
        if above is initial:
            text = _("“{name}” lies over the moving volume and counts already: leave the initial transform out.")
            return [text.format(name=name)]
        above = above.GetParentTransformNode()
    return []


def _of_labels(arguments: Mapping[str, Any]) -> list[str]:
    alone = arguments["fixedLabels"] is not None and arguments["movingLabels"] is None
    return [_("Choose labels of the moving volume, too: they are compared with those of the fixed one.")] * alone


# Where the one lies in the other


def start(arguments: Mapping[str, Any]) -> Matrix | None:
    """Where the registration starts: from places (LPS mm) of the fixed volume, in its own coordinates, to those of the
    moving one, as both are seen in the world; None where that is no other place, and the engine may look by itself.

    Two volumes that are apart, or whose centres are asked for, are put on each other.
    """
    moving, fixed = pair(arguments)
    matrix = between(moving, fixed, arguments["initialTransform"])
    if arguments["initialTransform"] is not None:
        return matrix
    if np.abs(matrix - np.eye(4)).max() < SAME:
        return None
    apart = arguments["align"] != "none" and are_apart(arguments)
    if not (apart or arguments["align"] == "centres"):
        return matrix
    here, there = (_centre(grid_from_node(node)) for node in (fixed, moving))
    centred = matrix.copy()
    centred[:3, 3] = there - matrix[:3, :3] @ here
    return centred


def between(moving: Any, fixed: Any, initial: Any = None) -> Matrix:
    """From places of the fixed volume (LPS mm, own coordinates) to those of the moving one, through the transforms over
    both, and through that which is to be applied to the moving one where it lies. Raises BadInput for bent ones."""
    here, there = (node.GetParentTransformNode() for node in (fixed, moving))
    if initial is None:
        return _through(here, there)
    return _through(None, there) @ _through(here, initial)


def _through(source: Any, target: Any) -> Matrix:
    """From the coordinates below one transform node to those below another, LPS mm; None is the world."""
    matrix = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix):
        names = [node for node in (source, target) if node is not None]
        raise BadInput(f"{' or '.join(map(title, names))} is not linear; harden it first (module Transforms)")
    return FLIP @ array_from_matrix(matrix) @ FLIP


def are_apart(arguments: Mapping[str, Any]) -> bool:
    """Whether the volumes, as they are seen in the world, have next to nothing of their room in common."""
    moving, fixed = pair(arguments)
    matrix = between(moving, fixed, arguments["initialTransform"])
    return _shared(matrix, grid_from_node(fixed), grid_from_node(moving)) < APART


def _shared(matrix: Matrix, fixed: Volume, moving: Volume) -> float:
    """The share of the fixed grid that lies in the moving one."""
    axes = [np.linspace(0, n - 1, min(n, POINTS)) for n in fixed.shape[::-1]]
    index = np.stack([*np.meshgrid(*axes, indexing="ij"), np.ones([len(axis) for axis in axes])], -1)
    there = index @ (np.linalg.inv(moving.affine) @ matrix @ fixed.affine).T
    last = np.array(moving.shape[::-1]) - 0.5
    return float(((there[..., :3] >= -0.5) & (there[..., :3] <= last)).all(-1).mean())


def _centre(grid: Volume) -> NDArray[np.float64]:
    return (grid.affine @ [*((np.array(grid.shape[::-1]) - 1) / 2), 1])[:3]


# To the worker


def export(arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The files of a pair, by the engine's name; a `Notice` tells what the transforms over them mean. Raises
    BadInput."""
    moving, fixed = pair(arguments)
    files = {"volume": to_file(moving, folder / "volume.nrrd"), "fixed": to_file(fixed, folder / "fixed.nrrd")}
    files |= _labels(arguments, folder)
    if (matrix := start(arguments)) is not None:
        files["initial"] = write_linear(matrix, folder / "initial.tfm")
        _tell(arguments)
    return {name: str(path) for name, path in files.items()}


def _labels(arguments: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Labels of either volume on its own grid; segments of the same name have the same number in both."""
    moving, fixed = arguments["movingLabels"], arguments["fixedLabels"]
    names = [segment.GetName() for segment in segments_of(moving)]
    names = names if len({name.casefold() for name in names}) == len(names) else []
    found = {}
    if moving is not None:
        found["moving_labels"] = labels_on_grid(moving, arguments["movingVolume"], names, title(moving))
    if fixed is not None:
        found["fixed_labels"] = labels_on_grid(fixed, arguments["fixedVolume"], names, title(moving))
    for name, volume in found.items():
        write(volume, folder / f"{name}.nrrd")
    return {name: folder / f"{name}.nrrd" for name in found}


def segments_of(node: Any) -> list[Any]:
    """The segments of a segmentation in their order; none of anything else."""
    if node is None or not node.IsA(SEGMENTATION):
        return []
    found = node.GetSegmentation()
    return [found.GetSegment(one) for one in found.GetSegmentIDs()]


def _tell(arguments: Mapping[str, Any]) -> None:
    moving, fixed = pair(arguments)
    parents = [node.GetParentTransformNode() for node in (moving, fixed)]
    if arguments["initialTransform"] is None and arguments["align"] != "none" and are_apart(arguments):
        text = f"{title(moving)} and {title(fixed)} have no room in common: their centres were put on each other"
        warnings.warn(Notice(text), stacklevel=3)
    if parents[0] is not None and parents[0] is not parents[1]:
        text = (
            f"{title(moving)} lies under {title(parents[0])}: it starts from where it is seen, and the transform that"
        )
        warnings.warn(Notice(f"{text} comes out goes in the place of that one"), stacklevel=3)


def on_disk(arguments: Mapping[str, Any], roles: Sequence[InputRole]) -> dict[str, tuple[str, str]]:
    """Where the parts of a pair lie on disk, by the engine's name, and what is to be done before."""
    if arguments["sequence"] is not None:
        return _frames_on_disk(arguments)
    by_name = {role.name: role for role in roles}
    found = {}
    for name, volume in (("volume", "movingVolume"), ("fixed", "fixedVolume")):
        path, note = snippets.file_of(arguments[volume], by_name[name])
        parent = arguments[volume].GetParentTransformNode()
        text = _("# First harden the transforms over “{name}” (module Transforms)").format(
            name=arguments[volume].GetName()
        )
        found[name] = (path, (f"{text}\n" if parent is not None else "") + note)
        labels = by_name["moving_labels" if name == "volume" else "fixed_labels"]
        if (node := arguments[labels.parameter]) is not None:
            found[labels.name] = snippets.file_of(node, labels, arguments[volume])
    if (initial := arguments["initialTransform"]) is not None:
        path = f"{snippets.file_name(initial.GetName())}.tfm"
        text = _("# First save “{name}” (File > Save) as {path}").format(name=initial.GetName(), path=path)
        found["initial"] = (path, f"{text}\n")
    return found


def _frames_on_disk(arguments: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    name = arguments["sequence"].GetName()
    numbers = arguments["firstFrame"], arguments["lastFrame"] or arguments["sequence"].GetNumberOfDataNodes()
    paths = {number: f"{snippets.file_name(name)}-{number}.nrrd" for number in numbers}
    text = _("# First save frame {number} of “{name}” as {path}")
    notes = {k: text.format(number=k, name=name, path=path) + "\n" for k, path in paths.items()}
    return {role: (paths[k], notes[k]) for role, k in zip(("volume", "fixed"), numbers, strict=True)}
