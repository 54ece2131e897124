"""What people have drawn, as labels on the grid of a volume: from any grid, under any transform."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from meddiff.errors import BadInput, Notice
from meddiff.volume import Volume, same_grid

from .nodes import (
    FLIP,
    array_from_matrix,
    fill_image,
    grid_from_node,
    require_node,
    title,
    volume_from_node,
)
from .segmentations import CLASS, GEOMETRY, LABELMAP, oriented_image, positive

LABEL_VOLUME = "vtkMRMLLabelMapVolumeNode"
ALIGNED = 1e-3  # voxels by which a grid may be off and still be the same


def labels_from_segmentation(
    seg_node: Any, reference_volume_node: Any, segment_ids: Sequence[str] | None = None
) -> tuple[Volume, dict[int, str]]:
    """The segments as labels 1, 2, ... on the grid of the reference volume, and their names; raises `BadInput`.

    The transforms over both nodes count. Where segments overlap the later one wins, and a `Notice` says so.
    """
    require_node(seg_node, CLASS, "segmentation")
    grid = grid_from_node(reference_volume_node)
    segmentation = _with_labelmaps(seg_node, reference_volume_node)
    chosen = _chosen(seg_node, segment_ids)
    labels = np.zeros(grid.shape, np.uint8 if len(chosen) < 256 else np.int32)
    overlaps: set[tuple[int, int]] = set()
    masks = _masks(segmentation, chosen, grid, between_nodes(seg_node, reference_volume_node))
    for label, mask in sorted(masks, key=lambda found: found[0]) if len(chosen) > 1 else masks:
        overlaps |= {(int(value), label) for value in np.flatnonzero(np.bincount(labels[mask])) if value}
        labels[mask] = label
    names = {label: segmentation.GetSegment(one).GetName() for label, one in enumerate(chosen, start=1)}
    if not labels.any():
        came = f"no voxel of {title(reference_volume_node)} lies in a segment of {title(seg_node)}"
        raise BadInput(f"{came}; draw one, or check that both lie at the same place")
    if overlaps:
        pairs = ", ".join(f"“{names[a]}” and “{names[b]}”" for a, b in sorted(overlaps)[:5])
        warnings.warn(
            Notice(f"{title(seg_node)} has segments that overlap ({pairs}); the later one wins"), stacklevel=2
        )
    return grid.with_array(labels), names


def labels_on_grid(
    node: Any, reference_volume_node: Any, names: Sequence[str] = (), whose: str = "the model"
) -> Volume:
    """The labels of a label map or a segmentation on the grid of the reference volume; raises `BadInput`.

    The transforms over both nodes count; between voxels, the nearest one is taken. Segments that are called as one of
    `names` (of the model, or of what `whose` says) have its number, from 1 on, and the others are left out; where none
    is, all are numbered in their order. A `Notice` says what was done.
    """
    if node is not None and node.IsA(CLASS):
        known = _named(node, names, whose)
        with warnings.catch_warnings():
            if not names:  # then nobody asks which segment a voxel belongs to
                warnings.simplefilter("ignore", Notice)
            labels = labels_from_segmentation(node, reference_volume_node, list(known) or None)[0]
        _tell_if_sampled(node, reference_volume_node, *_places(node))
        numbers = np.array([0, *known.values()], labels.array.dtype)
        return labels.with_array(numbers[labels.array]) if known else labels
    require_node(node, LABEL_VOLUME, "label map or segmentation")
    labels = volume_from_node(node)
    grid, between = grid_from_node(reference_volume_node), between_nodes(node, reference_volume_node)
    if between is None and same_grid(labels, grid):
        return labels
    found = _sampled(labels.with_array(positive(labels, node.GetName())), grid, between, node)
    if not found.any():
        came = f"no voxel of {title(reference_volume_node)} has a label of {title(node)}"
        raise BadInput(f"{came}; choose another, or check that both lie at the same place")
    _tell_if_sampled(node, reference_volume_node, labels.affine)
    return grid.with_array(found)


def labels_of(node: Any, names: Sequence[str] = ()) -> Volume:
    """The labels of a label map or a segmentation in their own coordinates; raises `BadInput`.

    Segments that are called as one of `names` have its number, as in `labels_on_grid`; the grid is that on which they
    were drawn.
    """
    if node is None or not node.IsA(CLASS):
        require_node(node, LABEL_VOLUME, "label map or segmentation")
        return volume_from_node(node)
    known = _named(node, names, "the model")
    chosen = list(known) or _chosen(node, None)
    if not node.GetSegmentation().ContainsRepresentation(LABELMAP):
        raise BadInput(f"{title(node)} is made of surfaces; export it to a label map first (Segmentations)")
    image, extent = slicer.vtkOrientedImageData(), slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    ids = vtk.vtkStringArray()
    for one in chosen:
        ids.InsertNextValue(one)
    if not node.GenerateMergedLabelmapForAllSegments(image, extent, None, ids) or image.IsEmpty():
        raise BadInput(f"{title(node)} is empty; draw what is to be shown, or choose another")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = FLIP @ array_from_matrix(matrix)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    origin = affine[:3, :3] @ np.array(image.GetExtent()[::2]) + affine[:3, 3]
    merged = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    numbers = np.array([0, *(known.values() or range(1, len(chosen) + 1))], np.uint8)
    return Volume(numbers[merged], tuple(spacing), tuple(origin), tuple((affine[:3, :3] / spacing).ravel()))


def _places(seg_node: Any) -> list[NDArray[np.float64]]:
    """Where the voxels of each layer of a segmentation lie (LPS), if it has any voxels."""
    segmentation, found = seg_node.GetSegmentation(), []
    for layer in range(segmentation.GetNumberOfLayers(LABELMAP)):
        matrix = vtk.vtkMatrix4x4()
        segmentation.GetLayerDataObject(layer, LABELMAP).GetImageToWorldMatrix(matrix)
        found.append(FLIP @ array_from_matrix(matrix))
    return found


def _tell_if_sampled(node: Any, reference: Any, *places: NDArray[np.float64]) -> None:
    """A `Notice` where the voxels of `node` are not some of those of the reference volume."""
    grid = grid_from_node(reference).affine
    steps = [np.linalg.solve(grid, place) - np.eye(4) for place in places]
    alike = all(np.abs(step[:, :3]).max() < ALIGNED and np.abs(step - np.rint(step)).max() < ALIGNED for step in steps)
    if alike and between_nodes(node, reference) is None:
        return
    text = f"{title(node)} lies on another grid than {title(reference)}: it was sampled at the voxels of that"
    warnings.warn(Notice(text), stacklevel=3)


def image_beside(node: Any, reference_volume_node: Any) -> Volume:
    """The image of a volume node, interpolated on the grid of the reference volume; raises `BadInput`.

    The transforms over both nodes count.
    """
    image, grid = volume_from_node(node), grid_from_node(reference_volume_node)
    image = image.with_array(image.array.astype(np.float32))
    return grid.with_array(_sampled(image, grid, between_nodes(node, reference_volume_node), node, smooth=True))


def _sampled(volume: Volume, grid: Volume, between: Any, node: Any, smooth: bool = False) -> NDArray[Any]:
    """The voxels of a volume on another grid, 0 outside of it."""
    image, found = oriented_image(volume), slicer.vtkOrientedImageData()
    fill_image(image, volume.array)
    sample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not sample(image, oriented_image(grid), found, smooth, False, between):
        raise BadInput(f"{title(node)} cannot be sampled on the grid of the volume; check the transforms over both")
    return vtk_to_numpy(found.GetPointData().GetScalars()).reshape(grid.shape).copy()


def _named(seg_node: Any, names: Sequence[str], whose: str) -> dict[str, int]:
    """The number of a name, from 1 on, by the id of the segment that is called so; raises `BadInput` for too many that
    are not. A `Notice` names those that are left out."""
    segmentation, numbers = seg_node.GetSegmentation(), {name.casefold(): k for k, name in enumerate(names, start=1)}
    called = {one: segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs()}
    found = {one: numbers[name.casefold()] for one, name in called.items() if name.casefold() in numbers}
    if 1 < len(names) < len(called) and not found:
        came = f"{title(seg_node)} has {len(called)} segments, none of which is called as one of those of {whose}"
        raise BadInput(f"{came}; rename those that are meant to {' and '.join(f'“{name}”' for name in names)}")
    if found and len(found) < len(called):
        left = ", ".join(f"“{name}”" for one, name in called.items() if one not in found)
        warnings.warn(Notice(f"of {title(seg_node)}, {whose} does not know {left}: left out"), stacklevel=3)
    return found


def _chosen(seg_node: Any, segment_ids: Sequence[str] | None) -> list[str]:
    known = list(seg_node.GetSegmentation().GetSegmentIDs())
    if not known:
        raise BadInput(f"{title(seg_node)} has no segments; draw one (Segment Editor), or choose another segmentation")
    chosen = known if segment_ids is None else list(dict.fromkeys(segment_ids))
    if not chosen:
        raise BadInput(f"no segment of {title(seg_node)} is chosen; choose one or more")
    if unknown := [one for one in chosen if one not in known]:
        raise BadInput(f"{title(seg_node)} has no segment {', '.join(unknown)}; choose of {', '.join(known)}")
    return chosen


def _with_labelmaps(seg_node: Any, reference: Any) -> Any:
    """The segmentation with voxels; one made of surfaces is converted as a copy, on the grid of `reference`."""
    segmentation = seg_node.GetSegmentation()
    if not segmentation.GetNumberOfSegments() or segmentation.GetSourceRepresentationName() == LABELMAP:
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if seg_node.GetParentTransformNode() is reference.GetParentTransformNode():
        grid = slicer.vtkSegmentationConverter.SerializeImageGeometry(oriented_image(grid_from_node(reference)))
        copy.SetConversionParameter(GEOMETRY, grid)
    whole = copy.GetNumberOfSegments() == segmentation.GetNumberOfSegments()
    if not (whole and copy.CreateRepresentation(LABELMAP)):
        came = f"{title(seg_node)} cannot be turned into voxels"
        raise BadInput(f"{came}; export it to a label map (Segmentations), or choose another")
    return copy


def between_nodes(seg_node: Any, reference: Any) -> Any:
    """The transform from the coordinates of the segmentation to those of the volume; None if they are the same."""
    parents = [node.GetParentTransformNode() for node in (seg_node, reference)]
    if parents[0] is parents[1]:
        return None
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, between)
    return between


def _masks(
    segmentation: Any, chosen: Sequence[str], grid: Volume, between: Any
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The label and the voxels of every chosen segment that has some; segments that share voxels are sampled once."""
    target = oriented_image(grid)
    for layer in range(segmentation.GetNumberOfLayers(LABELMAP)):
        inside = [one for one in segmentation.GetSegmentIDsForLayer(layer, LABELMAP) if one in chosen]
        image = segmentation.GetLayerDataObject(layer, LABELMAP)
        if not inside or image is None or image.IsEmpty():
            continue
        sampled = slicer.vtkOrientedImageData()
        sample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
        if not sample(image, target, sampled, False, False, between):
            raise BadInput("a segment cannot be sampled on the grid of the volume; check the transforms over both")
        voxels = vtk_to_numpy(sampled.GetPointData().GetScalars()).reshape(grid.shape)
        for one in inside:
            mask = voxels == segmentation.GetSegment(one).GetLabelValue()
            if mask.any():
                yield chosen.index(one) + 1, mask
