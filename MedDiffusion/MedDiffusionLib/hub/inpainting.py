"""Inpainting as a panel sees it: what was drawn, what is put there, and where that is in the volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from meddiff.domain import CONTEXT, LEAST
from meddiff.volume import Volume, nearest_axes

from .. import segmenting
from ..cards import ModelInfo
from ..labels import between_nodes, labels_from_segmentation, labels_on_grid
from ..nodes import FLIP, array_from_matrix, grid_from_node
from ..roles import LABELS, SEQUENCE, InputRole, OutputRole
from ..segmentations import CLASS, LABELMAP
from ..tables import to_world

PUT = {"healthy": "healthy", "lesion": "diseased", "anything": ""}  # the state of a model that each asks for
Box = tuple[tuple[float, float], ...]  # first and last voxel of a grid along x, y, z


def inputs() -> tuple[InputRole, ...]:
    """The volume, and what is painted over."""
    volume = _("The volume to paint on: what is not drawn stays as it is, voxel for voxel")
    drawn = _("What is painted over: draw it in the Segment Editor. On any grid, under any transform")
    return (
        InputRole("volume", "inputVolume", _("Volume"), volume),
        InputRole("mask", "inputSegments", _("Paint over"), drawn, LABELS, labels=True),
    )


def outputs() -> tuple[OutputRole, ...]:
    """The volume with something else in it."""
    image = _("The volume, painted: the first of the answers")
    many = _("All answers, one after the other, as a sequence to step through")
    spread = _("Where the answers differ: their standard deviation")
    return (
        OutputRole("image", "outputVolume", _("Inpainted"), image, always=True),
        OutputRole("sequence", "outputSequence", _("All answers"), many, SEQUENCE, always=True, index="answer"),
        OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="spread"),
    )


def named(arguments: Mapping[str, Any]) -> tuple[OutputRole, ...]:
    """The outputs as a job of these arguments makes them: called after what is put there, the answers from 1 on."""
    image, sequence, spread = outputs()
    words = {"healthy": _("Healthy"), "lesion": _("With a lesion")}
    image = replace(image, title=words.get(arguments["put"], image.title))
    return image, replace(sequence, values=tuple(range(1, arguments["samples"] + 1))), spread


def sorted_out(files: Mapping[str, Any]) -> dict[str, Any]:
    """The files of the engine by the outputs that they become."""
    answers = {name: path for name, path in files.items() if name.partition("-")[0] == "inpainted"}
    found = {name: path for name, path in files.items() if name not in answers} | {"image": answers["inpainted"]}
    if len(answers) > 1:
        found |= {f"sequence-{name.partition('-')[2] or 1}": path for name, path in answers.items()}
    return found


def puts(model: ModelInfo | None) -> list[tuple[str, str]]:
    """What a model can be asked to put into a hole."""
    words = {"healthy": _("Healthy tissue"), "lesion": _("A lesion"), "anything": _("Anything that fits")}
    states = () if model is None else (*model.states, "")
    return [(words[name], name) for name, state in PUT.items() if state in states]


def problems(arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
    """What is not told yet, or cannot be; a sentence each."""
    node, found = arguments["inputSegments"], []
    if node is not None and node.IsA(CLASS) and not segments(node):
        text = _("Nothing is drawn in “{name}”: draw what is to be painted over, in the Segment Editor.")
        found.append(text.format(name=node.GetName()))
    elif arguments["segment"] and arguments["segment"] not in {segment for _name, segment in segments(node)}:
        found.append(_("There is no segment “{segment}”; choose another.").format(segment=arguments["segment"]))
    if model is None:
        return found
    put, contrast = arguments["put"], arguments["contrast"]
    if put not in {name for _words, name in puts(model)}:
        text = _("The model “{model}” cannot be asked for “{put}”; it knows {known}.")
        known = ", ".join(name for _words, name in puts(model))
        found.append(text.format(model=model.id, put=put, known=known))
    if contrast is not None and contrast not in model.labels:
        text = _("The model “{model}” does not know the contrast “{what}”.")
        found.append(text.format(model=model.id, what=contrast))
    if contrast is None and model.labels and PUT.get(put):
        found.append(_("Say what the volume shows: choose its contrast."))
    return found


# --- what was drawn, and where


def segments(node: Any) -> list[tuple[str, str]]:
    """Names and ids of the segments of a segmentation; none of another node."""
    if node is None or not node.IsA(CLASS):
        return []
    segmentation = node.GetSegmentation()
    return [(segmentation.GetSegment(one).GetName(), one) for one in segmentation.GetSegmentIDs()]


def name_of(node: Any, segment: str) -> str:
    """The name of a segment."""
    return next((name for name, one in segments(node) if one == segment), segment)


def marked(arguments: Mapping[str, Any]) -> Volume:
    """What is painted over, on the grid of the volume; raises BadInput where nothing is."""
    node, volume, segment = (arguments[name] for name in ("inputSegments", "inputVolume", "segment"))
    return labels_from_segmentation(node, volume, [segment])[0] if segment else labels_on_grid(node, volume)


def box(arguments: Mapping[str, Any]) -> Box | None:
    """Where in the volume something is drawn, or a little more; None where nothing is, or only surfaces are."""
    node, volume = arguments["inputSegments"], arguments["inputVolume"]
    corners = [corner for extent, affine in _extents(node, arguments["segment"]) for corner in _corners(extent, affine)]
    if not corners:
        return None
    between = between_nodes(node, volume)
    places = np.array([corner if between is None else between.TransformPoint(corner) for corner in corners])
    inverse = np.linalg.inv(FLIP @ grid_from_node(volume).affine)
    index = places @ inverse[:3, :3].T + inverse[:3, 3]
    return tuple(zip(index.min(0), index.max(0), strict=True))


def _extents(node: Any, segment: str) -> Iterator[tuple[Sequence[float], np.ndarray]]:
    """First and last voxel along x, y and z of each drawing, and where its voxels lie (RAS)."""
    if not node.IsA(CLASS):
        found = _extent(slicer.util.arrayFromVolume(node) != 0)
        if found:
            yield found, FLIP @ grid_from_node(node).affine
        return
    segmentation = node.GetSegmentation()
    for one in [segment] if segment else segmentation.GetSegmentIDs():
        image = segmentation.GetSegment(one).GetRepresentation(LABELMAP)
        if image is None or image.IsEmpty():
            continue
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
        found, start = _extent(voxels == segmentation.GetSegment(one).GetLabelValue()), image.GetExtent()[::2]
        if found:
            matrix = vtk.vtkMatrix4x4()
            image.GetImageToWorldMatrix(matrix)
            yield [n + start[k // 2] for k, n in enumerate(found)], array_from_matrix(matrix)


def _extent(inside: np.ndarray) -> list[int]:
    """First and last voxel along x, y and z; empty for nothing."""
    lines = [np.flatnonzero(inside.any(tuple(k for k in range(3) if k != axis))) for axis in (2, 1, 0)]
    return [int(n) for line in lines for n in (line[0], line[-1])] if lines[0].size else []


def _corners(extent: Sequence[float], affine: np.ndarray) -> list[np.ndarray]:
    pairs = [(extent[2 * k] - 0.5, extent[2 * k + 1] + 0.5) for k in range(3)]
    return [affine[:3, :3] @ corner + affine[:3, 3] for corner in product(*pairs)]


def seen(model: ModelInfo, grid: Volume, drawn: Box | None) -> tuple[int, ...] | None:
    """Voxels (Z, Y, X) that the network sees: the slices with something drawn, and what is around it in them."""
    if drawn is None:
        return None
    shares = [(last - first) / n for (first, last), n in zip(drawn, grid.shape[::-1], strict=True)]
    along = [shares[axis] for axis in nearest_axes(grid.direction)]
    found = []
    for axis, (share, (_spacing, count)) in enumerate(zip(along, segmenting.sizes(model, grid), strict=True)):
        voxels = max(1, min(round(share * count), count))
        wide = axis < model.dims  # along the others a network of slices sees one voxel at a time
        found.append(min(count, max(voxels + 2 * CONTEXT, LEAST)) if wide else voxels)
    return tuple(found[::-1])


def centre(arguments: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The middle of what was drawn, RAS mm in the world; None where nothing is."""
    drawn, volume = box(arguments), arguments["inputVolume"]
    if drawn is None:
        return None
    place = FLIP @ grid_from_node(volume).affine @ (*((first + last) / 2 for first, last in drawn), 1.0)
    return to_world(place[:3], volume.GetParentTransformNode())
